//! Row capture: every kind of statement, value and size.

use serde_json::{Value, json};
use sqlx::Executor;

use super::capture::{ACCOUNT, Tracking};

#[tokio::test]
async fn statements_that_do_several_things_make_each_event_once() {
    let mut t = Tracking::new(
        "create table item (id int primary key, v int);
         select attestlog.track('item', 'acme')",
    )
    .await;
    assert_eq!(t.lines("insert into item values (1, 1)").await, [r#"inserted 1 after {"id":1,"v":1}"#]);
    let sql = "insert into item values (1, 5), (2, 2) on conflict (id) do update set v = excluded.v";
    let mut lines = t.lines(sql).await;
    lines.sort();
    assert_eq!(lines, [r#"inserted 2 after {"id":2,"v":2}"#, r#"updated 1 before {"v":1} after {"v":5}"#]);
    let sql = "insert into item values (1, 5) on conflict (id) do update set v = excluded.v";
    assert_eq!(t.lines(sql).await, Vec::<String>::new(), "the same value again");
    assert_eq!(t.lines("insert into item values (1, 9) on conflict do nothing").await, Vec::<String>::new());
    let sql = "with gone as (delete from item where id = 2 returning v),
                    more as (insert into item select 3, v from gone returning v)
               update item set v = 6 where id = 1";
    let mut lines = t.lines(sql).await;
    lines.sort();
    assert_eq!(
        lines,
        [
            r#"deleted 2 before {"id":2,"v":2}"#,
            r#"inserted 3 after {"id":3,"v":2}"#,
            r#"updated 1 before {"v":5} after {"v":6}"#
        ]
    );
    let mut copy = t.app.copy_in_raw("copy item from stdin").await.unwrap();
    copy.send(&b"8\t80\n9\t90\n"[..]).await.unwrap();
    copy.finish().await.unwrap();
    assert_eq!(
        t.lines("select 1").await,
        [r#"inserted 8 after {"id":8,"v":80}"#, r#"inserted 9 after {"id":9,"v":90}"#]
    );
    if t.text("select (current_setting('server_version_num')::int >= 150000)::text").await == "true" {
        let sql = "merge into item using (values (8, 1), (9, 2), (10, 3)) s (id, v) on s.id = item.id
                   when matched and s.id = 8 then delete
                   when matched then update set v = s.v
                   when not matched then insert values (s.id, s.v)";
        let mut lines = t.lines(sql).await;
        lines.sort();
        assert_eq!(
            lines,
            [
                r#"deleted 8 before {"id":8,"v":80}"#,
                r#"inserted 10 after {"id":10,"v":3}"#,
                r#"updated 9 before {"v":90} after {"v":2}"#
            ]
        );
    }
}

#[tokio::test]
async fn cascades_of_foreign_keys_are_captured_also_where_they_change_a_row_twice() {
    let mut t = Tracking::new(
        "create table person (id int primary key);
         create table note (id int primary key, author int references person on delete set null on update cascade,
                            editor int references person on delete set null on update cascade);
         create table tag (id int primary key, note int references note on delete cascade);
         insert into person values (1), (2); insert into note values (1, 1, 1), (2, 1, 2); insert into tag values (5, 1);
         select attestlog.track('note', 'acme'), attestlog.track('tag', 'acme')",
    )
    .await;
    let lines = t.lines("update person set id = id + 10").await;
    assert_eq!(
        lines,
        [
            r#"updated 1 before {"author":1} after {"author":11}"#,
            r#"updated 2 before {"author":1} after {"author":11}"#,
            r#"updated 1 before {"editor":1} after {"editor":11}"#,
            r#"updated 2 before {"editor":2} after {"editor":12}"#
        ]
    );
    let lines = t.lines("delete from person where id = 11").await;
    assert_eq!(
        lines,
        [
            r#"updated 1 before {"author":11} after {"author":null}"#,
            r#"updated 2 before {"author":11} after {"author":null}"#,
            r#"updated 1 before {"editor":11} after {"editor":null}"#
        ]
    );
    assert_eq!(
        t.lines("delete from note where id = 1").await,
        [r#"deleted 1 before {"author":null,"editor":null,"id":1}"#, r#"deleted 5 before {"id":5,"note":1}"#]
    );
}

#[tokio::test]
async fn values_of_all_types_are_shown_alike_whatever_the_session_s_settings() {
    let mut t = Tracking::new(
        "create type mood as enum ('sad', 'happy'); create type point2 as (x int, y text);
         create domain positive as int check (value > 0);
         create table every (id uuid primary key, by bytea, nu numeric, fl float8, ts timestamptz, da date, iv interval,
             jb jsonb, js json, ar int[], ta text[], ra tstzrange, mo mood, co point2, ds positive, bo bool, ch char(3),
             po point, mn money, rc regclass, xs point2[], vc varchar(9), t time, sm int2[][]);
         select attestlog.track('every', 'acme')",
    )
    .await;
    let row = r#"'018f0000-0000-7000-8000-000000000001', '\x00ff', 'NaN', '-infinity', '2026-01-02 03:04:05.000006+01',
        '2026-02-03', '1 day 02:00', '{"k": [1, null, "é"]}', '{"k":"\u0000", "k":1}', '{1,null}', '{"a\"b",null}',
        '[2026-01-01 00:00+00,)', 'happy', '(1,"a b")', 5, true, 'x', '(1,2)', '12.50', 'every',
        array['(1,z)'::point2], 'v', '01:02', '{{1,2}}'"#;
    let mut seen: Vec<Value> = Vec::new();
    for settings in [
        "select 1",
        "set timezone = 'Asia/Tokyo'; set datestyle = 'German'; set intervalstyle = 'iso_8601'; set bytea_output = 'escape';
         set extra_float_digits = -10; set search_path = pg_catalog; set quote_all_identifiers = on;
         set standard_conforming_strings = off; set transform_null_equals = on; set enable_hashjoin = off",
    ] {
        t.run("set search_path = public; set bytea_output = 'hex'; set datestyle = 'ISO'; set timezone = 'UTC'").await;
        t.run(&format!("create table source as select (row({row})::public.every).*")).await;
        t.run(settings).await;
        t.run("insert into public.every select * from public.source; delete from public.every").await;
        t.run("drop table public.source").await;
        let events = t.events().await;
        assert_eq!(events[0]["changes"]["after"], events[1]["changes"]["before"]);
        assert_eq!(events[0]["targets"][0]["id"], "018f0000-0000-7000-8000-000000000001");
        seen.push(events[0]["changes"]["after"].clone());
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(
        seen[0],
        json!({
            "id": "018f0000-0000-7000-8000-000000000001", "by": "\\x00ff", "nu": "NaN", "fl": "-Infinity",
            "ts": "2026-01-02T02:04:05.000006+00:00", "da": "2026-02-03", "iv": "1 day 02:00:00",
            "jb": {"k": [1, null, "é"]}, "js": "{\"k\":\"\\u0000\", \"k\":1}", "ar": [1, null], "ta": ["a\"b", null],
            "ra": "[\"2026-01-01 00:00:00+00\",)", "mo": "happy", "co": "(1,\"a b\")", "ds": 5, "bo": true, "ch": "x  ",
            "po": "(1,2)", "mn": "$12.50", "rc": "public.every", "xs": "{\"(1,z)\"}", "vc": "v", "t": "01:02:00",
            "sm": [[1, 2]],
        })
    );
}

#[tokio::test]
async fn a_change_is_one_of_bytes_and_not_of_what_an_operator_calls_different() {
    let mut t = Tracking::new(
        "create collation loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         create table v (id int primary key, n numeric, t text collate loose, f float8, j json, p point);
         insert into v values (1, 1.0, 'a', 0, '{\"a\":1}', '(1,2)');
         select attestlog.track('v', 'acme')",
    )
    .await;
    assert_eq!(
        t.lines("update v set n = n, t = t, f = f, j = j, p = p").await,
        Vec::<String>::new(),
        "types without an equality too"
    );
    for (set, before, after) in [
        ("n = 1.00", "1.0", "1.00"),
        ("t = 'A'", "\"a\"", "\"A\""),
        ("f = '-0'", "0", "-0"),
        ("j = '{\"a\": 1}'", r#""{\"a\":1}""#, r#""{\"a\": 1}""#),
        ("p = '(1,3)'", "\"(1,2)\"", "\"(1,3)\""),
    ] {
        t.run(&format!("update v set {set}")).await;
        let entries = attestlog_tests::sequencing::process_all(&t.store, 10).await;
        assert_eq!(entries.len(), 1, "{set}");
        let column = &set[..1];
        let changes =
            format!(r#""changes": {{"before": {{"{column}": {before}}}, "after": {{"{column}": {after}}}}}"#);
        let event = String::from_utf8(entries[0].data.to_vec()).unwrap();
        assert!(event.contains(&changes), "{changes} in {event}");
    }
}

#[tokio::test]
async fn values_that_are_too_long_for_an_entry_become_digests_the_longest_first() {
    let mut t = Tracking::new(
        "create table doc (id text primary key, body text, data jsonb, note text, omitted text);
         select attestlog.track('doc', 'acme', omit => '{omitted}')",
    )
    .await;
    let sql = "insert into doc values ('d', repeat('é', 40000), jsonb_build_object('k', repeat('y', 500)), repeat('z', 60000))";
    t.run(sql).await;
    let event = &t.events().await[0];
    let after = &event["changes"]["after"];
    let digest = t.text("select encode(sha256(convert_to(body, 'UTF8')), 'hex') from doc").await;
    assert_eq!(after["body"], json!({"sha256": digest, "bytes": 80_000}));
    assert_eq!(event["metadata"]["digests"], json!(["after.body"]));
    assert_eq!(event["metadata"]["omitted"], json!(["omitted"]));
    assert_eq!(after["note"].as_str().unwrap().len(), 60_000);
    assert_eq!(after["data"]["k"].as_str().unwrap().len(), 500);

    t.run("update doc set body = repeat('b', 3000), note = 'n', data = jsonb_build_object('k', repeat('w', 65536))").await;
    let event = &t.events().await[0];
    let digest = t.text("select encode(sha256(convert_to(data::text, 'UTF8')), 'hex') from doc").await;
    assert_eq!(event["changes"]["after"]["data"]["sha256"], digest);
    assert_eq!(event["metadata"]["digests"], json!(["after.data", "before.body"]));
    assert_eq!(event["changes"]["before"]["note"].as_str().unwrap().len(), 60_000, "it fits by now");
    assert_eq!(event["changes"]["before"]["data"]["k"].as_str().unwrap().len(), 500);

    // A key that only fits its index because it can be compressed.
    t.run("insert into doc values (repeat('k', 100000), 'b')").await;
    let event = &t.events().await[0];
    let digest = t.text("select encode(sha256(repeat('k', 100000)::bytea), 'hex')").await;
    assert_eq!(event["targets"][0]["id"], format!("sha256:{digest}"));
    assert_eq!(event["changes"]["after"]["id"]["sha256"], digest);
    // As long as an entry may be, and one byte more.
    let probe = "truncate doc; insert into doc values ('p', '')";
    t.run(probe).await;
    t.events().await;
    let length = "select octet_length(data)::text from attestlog.processed_log order by id desc limit 1";
    let overhead: usize = t.text(length).await.parse().unwrap();
    for (excess, digests) in [(0, Value::Null), (1, json!(["after.body"]))] {
        t.run(&format!(
            "delete from doc; insert into doc values ('p', repeat('x', {}))",
            65_535 - overhead + excess
        ))
        .await;
        let event = t.events().await.pop().unwrap();
        assert_eq!(event["metadata"].get("digests").unwrap_or(&Value::Null), &digests, "{excess}");
    }
}

#[tokio::test]
async fn a_row_of_eight_hundred_columns_is_captured() {
    let mut t = Tracking::new(
        "do $$ begin
             execute (select format('create table wide (id int primary key, %s)', string_agg(format(
                 'a_column_with_a_name_that_is_as_long_as_names_can_be_number_%s bigint default 1234567890123456789', n), ', '))
                      from generate_series(1, 799) n);
         end $$;
         select attestlog.track('wide', 'acme')",
    )
    .await;
    t.run("insert into wide (id) values (1)").await;
    // The names alone are too long, so the digests of single values would not help.
    let event = &t.events().await[0];
    assert_eq!(event["metadata"]["digests"], json!(["after"]));
    assert_eq!(event["changes"]["after"]["sha256"].as_str().unwrap().len(), 64);
    let sql = "update wide set a_column_with_a_name_that_is_as_long_as_names_can_be_number_7 = 0";
    assert_eq!(t.lines(sql).await.len(), 1);
    assert_eq!(t.lines("delete from wide").await.len(), 1);
    let error = t
        .app
        .execute("alter table wide add more int; select attestlog.track('wide', 'acme')")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("more than 800 columns"), "{error}");
}

#[tokio::test]
async fn ten_thousand_rows_of_a_statement_are_ten_thousand_events_in_their_order() {
    let mut t = Tracking::new(ACCOUNT).await;
    t.run("insert into account select i, 'n' || i, i from generate_series(1, 10000) i").await;
    t.run("update account set balance = balance + 1").await;
    t.run("delete from account").await;
    let ids = "select string_agg(convert_from(data, 'UTF8')::jsonb #>> '{targets,0,id}', ',' order by id)
               from attestlog.processed_log";
    assert_eq!(attestlog_tests::sequencing::process_all(&t.store, 10_000).await.len(), 30_000);
    let expected: Vec<String> = (0..30_000).map(|n| (n % 10_000 + 1).to_string()).collect();
    assert_eq!(t.text(ids).await, expected.join(","));
}

#[tokio::test]
async fn a_superuser_s_replica_mode_does_not_hide_changes() {
    let mut t = Tracking::new(ACCOUNT).await;
    t.run("set session_replication_role = replica").await;
    assert_eq!(t.lines("insert into account values (1); truncate account").await.len(), 2);
    assert_eq!(t.text("show session_replication_role").await, "replica");
}
