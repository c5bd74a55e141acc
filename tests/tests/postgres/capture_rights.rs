//! Row capture: who may have a table tracked, and what that gives to nobody.

use attestlog_tests::databases::connection;
use sqlx::{AssertSqlSafe, Executor};

use super::capture::{ACCOUNT, Tracking};
use super::rights::{User, refusal};

const DENIED: &str = "42501";

#[tokio::test]
async fn whoever_writes_to_the_table_needs_no_right_to_the_log_and_gets_none() {
    let mut t = Tracking::new(ACCOUNT).await;
    let user = User::member_of("pg_monitor", &t.url).await;
    t.run(&format!("grant select, insert, update, delete, truncate on account to {}", user.name)).await;
    let mut writer = connection(&user.url).await;
    writer
        .execute("insert into account values (1, 'a'); update account set name = 'b'; delete from account; truncate account")
        .await
        .unwrap();
    let events = t.events().await;
    assert_eq!(events.len(), 4);
    for event in &events {
        assert_eq!(event["actor"], serde_json::json!({"type": "service", "id": user.name}));
        assert_eq!(event["metadata"]["role"], user.name);
    }
    let function = t.text("select function_name from attestlog.capture").await;
    t.run(&format!("grant create on schema public to {}", user.name)).await;
    writer.execute("create table mine (id int primary key)").await.unwrap();
    for sql in [
        "select attestlog.track('mine', 'acme')".to_owned(),
        "select attestlog.untrack('account')".to_owned(),
        "select * from attestlog.tracked()".to_owned(),
        "select attestlog.drop_unused_captures()".to_owned(),
        "select attestlog.make_capture('mine'::regclass, 'acme', '{}', '{}')".to_owned(),
        "select * from attestlog.capture".to_owned(),
        "delete from attestlog.capture".to_owned(),
        "select attestlog.shorten_event('{}')".to_owned(),
        "select attestlog.capture_frame('mine'::regclass, 'x')".to_owned(),
        format!(
            "create trigger t after insert on mine for each statement execute function attestlog.{function}()"
        ),
        format!("select attestlog.{function}()"),
        "alter table account disable trigger attestlog_insert".to_owned(),
        "alter table account disable trigger all".to_owned(),
        "drop trigger attestlog_insert on account".to_owned(),
        "set session_replication_role = replica".to_owned(),
    ] {
        assert_eq!(refusal(&mut writer, &sql).await, DENIED, "{sql}");
    }
    // Settings and objects of the writer's own do not hide a change.
    writer
        .execute(
            "create temporary table append_only_log (log_id bigint, data bytea); create temporary table new_rows (id int);
             create temporary table capture (log_id bigint); create temporary table pg_attribute (attrelid oid);
             set search_path = pg_temp, public; set attestlog.actor = 'someone else';
             insert into account values (9)",
        )
        .await
        .unwrap();
    let events = t.events().await;
    assert_eq!(events.len(), 1);
    assert_eq!(
        (&events[0]["actor"]["id"], &events[0]["metadata"]["role"]),
        (&"someone else".into(), &user.name.clone().into())
    );
    drop(writer);
    t.run(&format!("drop owned by {} cascade", user.name)).await;
    user.drop().await;
}

#[tokio::test]
async fn to_track_a_table_takes_the_table_and_the_right_to_append() {
    let mut t = Tracking::new("create table theirs (id int primary key)").await;
    let user = User::member_of("attestlog_writer", &t.url).await;
    t.run(&format!(
        "grant create on schema public to {0}; grant select, insert, trigger on theirs to {0}",
        user.name
    ))
    .await;
    let mut writer = connection(&user.url).await;
    let sql = "select attestlog.track('theirs', 'acme')";
    assert_eq!(refusal(&mut writer, sql).await, DENIED);
    writer
        .execute(
            "create table mine (id int primary key, v int); select attestlog.track('mine', 'acme', ignore => '{v}');
             insert into mine values (1, 1)",
        )
        .await
        .unwrap();
    assert_eq!(t.lines("select 1").await, [r#"inserted 1 after {"id":1}"#]);
    for sql in [
        "update attestlog.capture set omit = '{v}'",
        "select * from attestlog.capture",
        "select * from attestlog.capture_triggers()",
    ] {
        assert_eq!(refusal(&mut writer, sql).await, DENIED, "{sql}");
    }
    t.run("select attestlog.track('theirs', 'acme')").await;
    assert_eq!(refusal(&mut writer, "select attestlog.untrack('theirs')").await, DENIED);
    // A function made on the side takes nothing away from a table that is tracked.
    writer.execute("select attestlog.make_capture('theirs'::regclass, 'acme', '{}', '{id}')").await.unwrap();
    assert_eq!(t.lines("insert into theirs values (5)").await, [r#"inserted 5 after {"id":5}"#]);
    writer.execute("select attestlog.untrack('mine'); insert into mine values (2, 2)").await.unwrap();
    assert_eq!(t.lines("select 1").await, Vec::<String>::new());
    drop(writer);
    t.run(&format!("drop owned by {} cascade", user.name)).await;
    user.drop().await;
}

#[tokio::test]
async fn nothing_that_a_table_s_owner_has_defined_runs_with_the_rights_of_the_log_s_owner() {
    let mut t = Tracking::new("select 1").await;
    let user = User::member_of("attestlog_writer", &t.url).await;
    let own = format!("{}_own", user.name);
    t.run(&format!("create schema {own} authorization {}", user.name)).await;
    let mut owner = connection(&user.url).await;
    let setup = format!(
        "set search_path = {own}, pg_catalog;
         create table ran (what text, as_whom text);
         create type pair as (x int, y int); create domain number as int; create domain pair_number as pair;
         create type kind as enum ('a', 'b');
         create function spy_json(pair) returns json language plpgsql as $$
             begin insert into {own}.ran values ('json', current_user); return '1'; end $$;
         create function spy_text(pair) returns text language plpgsql as $$
             begin insert into {own}.ran values ('text', current_user); return 'x'; end $$;
         create function spy_kind(kind) returns json language plpgsql as $$
             begin insert into {own}.ran values ('kind', current_user); return '1'; end $$;
         create function spy_equal(pair, pair) returns boolean language plpgsql as $$
             begin insert into {own}.ran values ('=', current_user); return true; end $$;
         create function spy_equal(kind, kind) returns boolean language plpgsql as $$
             begin insert into {own}.ran values ('=', current_user); return true; end $$;
         create function to_json(pair) returns json language plpgsql as $$
             begin insert into {own}.ran values ('to_json', current_user); return '1'; end $$;
         create cast (pair as json) with function spy_json(pair);
         create cast (pair as text) with function spy_text(pair);
         create cast (kind as json) with function spy_kind(kind);
         create operator = (leftarg = pair, rightarg = pair, function = spy_equal);
         create operator = (leftarg = kind, rightarg = kind, function = spy_equal);
         create table t (id int primary key, p pair, ps pair[], k kind, ks kind[], d number, pn pair_number);
         select attestlog.track('{own}.t', 'acme')"
    );
    owner.execute(AssertSqlSafe(setup)).await.unwrap();
    let change = "insert into t values (1, row(1, 2), array[row(1, 2)::pair], 'a', '{a}', 4, row(1, 2));
                  update t set p = row(3, 4), ps = array[row(3, 4)::pair], k = 'b', ks = '{b}', d = 5, pn = row(3, 4);
                  delete from t";
    owner.execute(change).await.unwrap();
    // A column whose type is exchanged for another one, after the function was made for the first.
    owner
        .execute("alter table t alter column d type pair using row(1, 2)::pair; alter table t alter column ps type pair using row(1, 2)")
        .await
        .unwrap();
    owner
        .execute("insert into t values (1, row(1, 2), row(1, 2), 'a', '{a}', row(1, 2), row(1, 2)); update t set d = row(3, 4); delete from t")
        .await
        .unwrap();
    assert_eq!(t.events().await.len(), 6);
    assert_eq!(t.text(&format!("select concat(count(*), string_agg(what, ' ')) from {own}.ran")).await, "0");
    drop(owner);
    t.run(&format!("drop owned by {} cascade", user.name)).await;
    user.drop().await;
}
