//! Row capture: which tables it takes, and what happens when they change.

use attestlog_server::store::postgres::PostgresStore;
use attestlog_tests::databases::{connection, empty_postgres, execute};
use attestlog_tests::sequencing::process_all;
use sqlx::{AssertSqlSafe, Executor};

use super::capture::{ACCOUNT, Tracking};
use super::failures::restore;

/// What `attestlog.tracked()` says, a line each.
async fn tracked(t: &mut Tracking) -> Vec<String> {
    sqlx::query_scalar(
        "select concat_ws(' ', tracked, log, ignore, omit, up_to_date, problem) from attestlog.tracked()",
    )
    .fetch_all(&mut t.app)
    .await
    .unwrap()
}

#[tokio::test]
async fn refuses_what_cannot_be_tracked_and_says_why() {
    let mut t = Tracking::new(
        "create table good (id int primary key, v int, w int); create table no_key (id int unique);
         create view a_view as select * from good; create materialized view a_copy as select * from good;
         create sequence a_sequence; create temporary table passing (id int primary key);
         create foreign data wrapper nothing; create server nowhere foreign data wrapper nothing;
         create foreign table far (id int) server nowhere;
         create table parent (id int primary key); create table child (primary key (id)) inherits (parent)",
    )
    .await;
    for (arguments, code, message) in [
        ("'a_view', 'acme'", "42809", "a_view cannot be tracked"),
        ("'a_copy', 'acme'", "42809", "a_copy cannot be tracked"),
        ("'a_sequence', 'acme'", "42809", "a_sequence cannot be tracked"),
        ("'passing', 'acme'", "42809", "passing cannot be tracked"),
        ("'far', 'acme'", "42809", "far cannot be tracked"),
        ("'pg_class', 'acme'", "42809", "pg_class cannot be tracked"),
        ("'information_schema.sql_parts', 'acme'", "42809", "cannot be tracked"),
        ("'attestlog.log', 'acme'", "42809", "log cannot be tracked"),
        ("'parent', 'acme'", "0A000", "it inherits from a table, or one from it"),
        ("'child', 'acme'", "0A000", "it inherits from a table, or one from it"),
        ("'no_key', 'acme'", "55000", "no_key has no primary key"),
        ("'good', 'nowhere'", "42704", "log \"nowhere\" does not exist"),
        ("'good', null", "42704", "does not exist"),
        ("'good', 'acme', omit => '{id}'", "22023", "it is part of the key"),
        ("'good', 'acme', ignore => '{id}'", "22023", "it is part of the key"),
        ("'good', 'acme', '{v}', '{v}'", "22023", "cannot be ignored or omitted at once"),
        ("'good', 'acme', omit => '{x}'", "42703", "good has no column \"x\""),
        ("'good', 'acme', omit => '{ctid}'", "42703", "good has no column \"ctid\""),
        ("'good', 'acme', omit => array[null]", "42703", "good has no column"),
        ("'nowhere', 'acme'", "42P01", "relation \"nowhere\" does not exist"),
    ] {
        let error =
            t.app.execute(AssertSqlSafe(format!("select attestlog.track({arguments})"))).await.unwrap_err();
        let error = error.as_database_error().expect("of the database");
        assert!(error.message().contains(message), "{arguments}: {error}");
        assert_eq!(error.code().unwrap(), code, "{arguments}: {error}");
    }
    let error = t.app.execute("select attestlog.untrack('good')").await.unwrap_err();
    assert!(error.to_string().contains("good is not tracked"), "{error}");
    assert_eq!(tracked(&mut t).await, Vec::<String>::new());
    assert_eq!(t.text("select count(*)::text from attestlog.capture").await, "0");

    t.run("create table late (id int not null unique, v int); alter table late replica identity using index late_id_key").await;
    t.run("select attestlog.track('late', 'acme')").await;
    assert_eq!(
        t.lines("insert into late values (1, 1); update late set v = 2").await,
        [r#"inserted 1 after {"id":1,"v":1}"#, r#"updated 1 before {"v":1} after {"v":2}"#]
    );
}

#[tokio::test]
async fn partitions_are_captured_once_whichever_table_a_statement_names() {
    let mut t = Tracking::new(
        "create table event (day int, id int, v int, primary key (day, id)) partition by range (day);
         create table event_1 partition of event for values from (1) to (2);
         create table event_2 (v int, id int not null, day int not null);
         alter table event_2 drop column v; alter table event_2 add column v int;
         alter table event attach partition event_2 for values from (2) to (4);
         select attestlog.track('event', 'acme')",
    )
    .await;
    assert_eq!(tracked(&mut t).await, ["event acme {} {} t"]);
    assert_eq!(t.lines("insert into event values (1, 1, 1), (2, 2, 2)").await.len(), 2);
    assert_eq!(
        t.lines("insert into event_2 values (7, 3, 3)").await,
        [r#"inserted [3, 7] after {"day":3,"id":7,"v":3}"#]
    );
    t.run("update event_2 set v = 9 where id = 7").await;
    let event = t.events().await.remove(0);
    assert_eq!(event["action"], "public.event.updated");
    assert_eq!(event["metadata"]["partition"], "public.event_2");
    assert_eq!(
        t.lines("update event set v = v + 1").await,
        [
            r#"updated [1, 1] before {"v":1} after {"v":2}"#,
            r#"updated [2, 2] before {"v":2} after {"v":3}"#,
            r#"updated [3, 7] before {"v":9} after {"v":10}"#
        ]
    );
    // A row that moves to another partition has another key.
    assert_eq!(
        t.lines("update event set day = 3 where day = 1").await,
        [
            r#"deleted [1, 1] before {"day":1,"id":1,"v":2}"#,
            r#"inserted [3, 1] after {"day":3,"id":1,"v":2}"#
        ]
    );
    // A partition that comes later: through its parent at once, by itself when it is tracked.
    t.run("create table event_4 partition of event for values from (4) to (5)").await;
    assert_eq!(tracked(&mut t).await, ["event acme {} {} f public.event_4 is not tracked"]);
    assert_eq!(t.lines("insert into event values (4, 1, 1)").await.len(), 1);
    t.run("select attestlog.track('event', 'acme')").await;
    assert_eq!(tracked(&mut t).await, ["event acme {} {} t"]);
    assert_eq!(t.lines("delete from event_4").await, [r#"deleted [4, 1] before {"day":4,"id":1,"v":1}"#]);
    assert_eq!(t.lines("truncate event").await.len(), 4, "one for each table that was emptied");
    // One that goes stays captured, under its own name.
    t.run("alter table event detach partition event_1; insert into event_1 values (1, 1, 1)").await;
    assert_eq!(t.events().await[0]["action"], "public.event_1.inserted");
    assert_eq!(tracked(&mut t).await, ["event acme {} {} t", "event_1 acme {} {} t"]);
    t.run("select attestlog.untrack('event'), attestlog.untrack('event_1')").await;
    assert_eq!(
        t.lines("insert into event values (2, 1, 1); insert into event_2 values (2, 2, 2)").await.len(),
        0
    );
    assert_eq!(t.text("select count(*)::text from attestlog.capture").await, "0");
    assert_eq!(
        t.text("select count(*)::text from pg_proc where proname ~ '^capture_[0-9a-f]{32}$'").await,
        "0"
    );
}

#[tokio::test]
async fn names_are_taken_as_they_are() {
    let mut t = Tracking::new(
        r#"create schema "My Shop"; create table "My Shop"."Order ""Items""'\" (
               "Id" int primary key, "position" int, head text, who text, how text, tail text, n int, o int, t int,
               event int, "it's ""odd"" \\ %s $1 $body$" text, settings int, c1 int, tg_op text, old_rows int);
           select attestlog.track('"My Shop"."Order ""Items""''\"', 'acme', omit => '{tail}', ignore => '{who}')"#,
    )
    .await;
    t.run(
        r#"insert into "My Shop"."Order ""Items""'\" values (1, 2, 'h', 'w', 'o', 't', 1, 2, 3, 4, 'x', 5, 6, 'op', 7);
           update "My Shop"."Order ""Items""'\" set "it's ""odd"" \\ %s $1 $body$" = 'y', "position" = 3, tail = 'T'"#,
    )
    .await;
    let events = t.events().await;
    let name = r#""My Shop"."Order ""Items""'\""#;
    assert_eq!(events[0]["action"], format!("{name}.inserted"));
    assert_eq!(events[0]["targets"][0]["type"], name);
    assert_eq!(events[0]["changes"]["after"].as_object().unwrap().len(), 13);
    assert_eq!(
        events[1]["changes"]["before"],
        serde_json::json!({"position": 2, r#"it's "odd" \\ %s $1 $body$"#: "x"})
    );
    assert_eq!(events[1]["metadata"]["omitted"], serde_json::json!(["tail"]));
}

#[tokio::test]
async fn columns_that_come_go_and_change_break_nothing_and_stay_hidden() {
    let mut t = Tracking::new(
        "create table a (gone int, id int generated always as identity primary key, v int, secret text, noise int,
                         twice int generated always as (v * 2) stored);
         alter table a drop column gone;
         select attestlog.track('a', 'acme', '{noise}', '{secret}')",
    )
    .await;
    assert_eq!(
        t.lines("insert into a (v, secret) values (1, 'hidden')").await,
        [r#"inserted 1 after {"id":1,"twice":2,"v":1} omitted ["secret"]"#]
    );
    for (change, update, expected) in [
        ("add column w text", "w = 'x'", r#"updated 1 before {"w":null} after {"w":"x"}"#),
        (
            "rename column v to value",
            "value = 2",
            r#"updated 1 before {"twice":2,"value":1} after {"twice":4,"value":2}"#,
        ),
        (
            "rename column secret to hash",
            "hash = 'still hidden'",
            r#"updated 1 before {} after {} omitted ["hash"]"#,
        ),
        (
            "rename column w to secret",
            "secret = 'shown'",
            r#"updated 1 before {"secret":"x"} after {"secret":"shown"}"#,
        ),
        (
            "rename column noise to din",
            "din = 4, value = 3",
            r#"updated 1 before {"twice":4,"value":2} after {"twice":6,"value":3}"#,
        ),
        ("drop column twice", "value = 4", r#"updated 1 before {"value":3} after {"value":4}"#),
        (
            "alter column value type text",
            "value = 'now text'",
            r#"updated 1 before {"value":"4"} after {"value":"now text"}"#,
        ),
        (
            "rename column id to number",
            "value = '5'",
            r#"updated 1 before {"value":"now text"} after {"value":"5"}"#,
        ),
        ("drop column number", "value = '6'", r#"updated [] before {"value":"5"} after {"value":"6"}"#),
    ] {
        t.run(&format!("alter table a {change}")).await;
        let said = tracked(&mut t).await;
        assert_eq!(said.len(), 1);
        assert!(
            said[0].contains("f public.a has other columns or another key than when it was tracked"),
            "{said:?}"
        );
        assert_eq!(t.lines(&format!("update a set {update}")).await, [expected], "{change}");
    }
    t.run("alter table a add column key int primary key default 7; select attestlog.track('a', 'acme', '{din}', '{hash}')").await;
    assert_eq!(tracked(&mut t).await, ["a acme {din} {hash} t"]);
    assert_eq!(
        t.lines("update a set value = '7'").await,
        [r#"updated 7 before {"value":"6"} after {"value":"7"}"#]
    );
    // Back to the columns of before, in one session.
    t.run("alter table a add column x int").await;
    assert_eq!(t.lines("update a set x = 1").await, [r#"updated 7 before {"x":null} after {"x":1}"#]);
    t.run("alter table a drop column x").await;
    assert_eq!(
        t.lines("update a set value = '8'").await,
        [r#"updated 7 before {"value":"7"} after {"value":"8"}"#]
    );
}

#[tokio::test]
async fn a_table_keeps_its_capture_through_a_new_name_and_takes_it_along_when_it_goes() {
    let mut t = Tracking::new(ACCOUNT).await;
    t.run("create schema crm; alter table account rename to customer; alter table customer set schema crm")
        .await;
    t.run("insert into crm.customer values (1)").await;
    assert_eq!(t.events().await[0]["action"], "crm.customer.inserted");
    assert_eq!(tracked(&mut t).await, ["crm.customer acme {updated_at} {secret} t"]);
    t.run("alter table crm.customer disable trigger attestlog_update").await;
    assert_eq!(
        tracked(&mut t).await,
        [
            "crm.customer acme {updated_at} {secret} f crm.customer lacks a trigger, or has one that is disabled"
        ]
    );
    t.run("create table heir () inherits (crm.customer); alter table crm.customer enable always trigger attestlog_update").await;
    assert_eq!(tracked(&mut t).await, ["crm.customer acme {updated_at} {secret} f crm.customer has heirs"]);
    t.run("drop table crm.customer cascade").await;
    assert_eq!(tracked(&mut t).await, Vec::<String>::new());
    t.run("create table other (id int primary key); select attestlog.track('other', 'acme')").await;
    assert_eq!(
        t.text("select count(*)::text from attestlog.capture").await,
        "1",
        "what nobody calls is cleared away"
    );
}

#[tokio::test]
async fn tracking_again_replaces_the_settings() {
    let mut t = Tracking::new(ACCOUNT).await;
    t.run("insert into account values (1, 'a', 1, 's', now()); select attestlog.track('account', 'acme', omit => '{name}')").await;
    t.events().await;
    assert_eq!(tracked(&mut t).await, ["account acme {} {name} t"]);
    assert_eq!(
        t.lines("update account set name = 'b', secret = 'shown now'").await,
        [r#"updated 1 before {"secret":"s"} after {"secret":"shown now"} omitted ["name"]"#]
    );
    assert_eq!(t.text("select count(*)::text from attestlog.capture").await, "1");
    assert_eq!(t.text("select count(*)::text from pg_trigger where tgname ~ '^attestlog_'").await, "4");
}

#[tokio::test]
async fn a_restored_dump_goes_on_capturing_and_hides_the_same_columns() {
    let mut t = Tracking::new(
        "create table a (gone int, id int primary key, v int, secret text);
         alter table a drop column gone;
         select attestlog.track('a', 'acme', omit => '{secret}')",
    )
    .await;
    t.run("insert into a values (1, 1, 'hidden')").await;
    t.events().await;
    let (url, _guard) = empty_postgres().await;
    restore(&t.url, &url);
    // Column numbers have moved up there, and then a column comes that nobody has decided about.
    execute(&url, "update a set v = 2, secret = 'other'; alter table a add column token text").await;
    execute(&url, "update a set v = 3, secret = 'third', token = 'hidden too'").await;
    let store = PostgresStore::connect(&url, 4).unwrap();
    let entries = process_all(&store, 10).await;
    let changes: Vec<String> = entries
        .iter()
        .map(|entry| {
            let event: serde_json::Value = serde_json::from_slice(&entry.data).unwrap();
            format!("{} {}", event["changes"], event["metadata"]["omitted"])
        })
        .collect();
    assert_eq!(
        changes,
        [
            r#"{"after":{"v":2},"before":{"v":1}} ["secret"]"#,
            r#"{"after":{"v":3},"before":{"v":2}} ["secret","token"]"#
        ]
    );
    let mut app = connection(&url).await;
    app.execute("select attestlog.track('a', 'acme', omit => '{secret}')").await.unwrap();
    let problem: Option<String> =
        sqlx::query_scalar("select problem from attestlog.tracked()").fetch_one(&mut app).await.unwrap();
    assert_eq!(problem, None);
}
