//! Row capture: what becomes an event, and what stands in it.

use attestlog::Event;
use attestlog_server::store::postgres::PostgresStore;
use attestlog_server::store::{Events, Log};
use attestlog_tests::databases::{PostgresGuard, connection, fresh_postgres};
use attestlog_tests::sequencing::{create_log_for, process_all};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

/// A database with the strict log `acme` and an application's connection.
pub(super) struct Tracking {
    pub(super) store: PostgresStore,
    pub(super) url: String,
    pub(super) log: Log,
    pub(super) app: PgConnection,
    _guard: PostgresGuard,
}

impl Tracking {
    /// Runs these statements first.
    pub(super) async fn new(sql: &str) -> Self {
        let (store, url, guard) = fresh_postgres().await;
        let log = create_log_for(&store, "acme", Events::Strict).await;
        let mut app = connection(&url).await;
        app.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
        Self { store, url, log, app, _guard: guard }
    }

    pub(super) async fn run(&mut self, sql: &str) {
        if let Err(error) = self.app.execute(AssertSqlSafe(sql.to_owned())).await {
            panic!("{error}, in: {sql}");
        }
    }

    /// The events since the last call. Each is one that a strict log takes, and that the SDK reads.
    pub(super) async fn events(&mut self) -> Vec<Value> {
        let entries = process_all(&self.store, 5000).await;
        for entry in &entries {
            assert_eq!(entry.log, self.log.id);
            let strict: bool = sqlx::query_scalar("select attestlog.is_event($1)")
                .bind(entry.data.to_vec())
                .fetch_one(&mut self.app)
                .await
                .unwrap();
            assert!(strict, "{}", String::from_utf8_lossy(&entry.data));
            Event::parse(&entry.data).unwrap();
        }
        entries.iter().map(|entry| serde_json::from_slice(&entry.data).unwrap()).collect()
    }

    /// Runs the statements and returns their events, each in a line.
    pub(super) async fn lines(&mut self, sql: &str) -> Vec<String> {
        self.run(sql).await;
        self.events().await.iter().map(line).collect()
    }

    pub(super) async fn text(&mut self, sql: &str) -> String {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.app).await.unwrap()
    }
}

/// The action's last word, the target's identifier, and the values before and after.
fn line(event: &Value) -> String {
    let action = event["action"].as_str().unwrap().rsplit('.').next().unwrap();
    let mut line = format!("{action} {}", event["targets"][0]["id"].as_str().unwrap());
    for side in ["before", "after"] {
        if let Some(values) = event["changes"].get(side) {
            line += &format!(" {side} {values}");
        }
    }
    if let Some(omitted) = event["metadata"].get("omitted") {
        line += &format!(" omitted {omitted}");
    }
    line
}

pub(super) const ACCOUNT: &str = "
    create table account (id bigint primary key, name text, balance numeric(12, 2), secret text, updated_at timestamptz);
    select attestlog.track('public.account', log => 'acme', ignore => '{updated_at}', omit => '{secret}')";

#[tokio::test]
async fn an_event_says_who_did_what_to_which_row_when_and_in_which_transaction() {
    let mut t = Tracking::new(ACCOUNT).await;
    t.run("insert into account values (7, 'Ada', 1.5, 'hidden', now())").await;
    t.events().await;
    t.run(
        "begin; select set_config('attestlog.actor', '{\"type\": \"api_key\", \"id\": \"k1\"}', true),
                       set_config('attestlog.context', '{\"ip\": \"::1\"}', true);
         create temporary table transaction on commit drop as select pg_current_xact_id()::text as id, now() as at;
         update account set balance = 2 where id = 7;",
    )
    .await;
    let transaction = t.text("select id from transaction").await;
    t.run("commit").await;
    let mut events = t.events().await;
    let occurred_at = events[0]["occurred_at"].take();
    assert_eq!(
        events,
        [json!({
            "action": "public.account.updated", "occurred_at": null,
            "actor": {"type": "api_key", "id": "k1"},
            "targets": [{"type": "public.account", "id": "7"}],
            "outcome": "success", "context": {"ip": "::1"},
            "changes": {"before": {"balance": 1.5}, "after": {"balance": 2.0}},
            "metadata": {"operation": "UPDATE", "role": "postgres", "transaction": transaction},
        })]
    );
    let occurred_at = occurred_at.as_str().unwrap();
    assert_eq!(
        (occurred_at.len(), &occurred_at[10..11], &occurred_at[26..]),
        (27, "T", "Z"),
        "{occurred_at}"
    );
    let near = format!("select (now() - '{occurred_at}'::timestamptz between '0' and '1 hour')::text");
    assert_eq!(t.text(&near).await, "true");
}

#[tokio::test]
async fn an_event_shows_what_has_changed_and_what_has_not_makes_none() {
    let mut t = Tracking::new(ACCOUNT).await;
    assert_eq!(
        t.lines("insert into account values (1, 'a', 1, 'hidden', now()), (2, null, null, null, null)").await,
        [
            r#"inserted 1 after {"balance":1.0,"id":1,"name":"a"} omitted ["secret"]"#,
            r#"inserted 2 after {"balance":null,"id":2,"name":null} omitted ["secret"]"#
        ]
    );
    assert_eq!(
        t.lines("update account set name = 'b', updated_at = now(), balance = 1").await,
        [
            r#"updated 1 before {"name":"a"} after {"name":"b"}"#,
            r#"updated 2 before {"balance":null,"name":null} after {"balance":1.0,"name":"b"}"#
        ]
    );
    // Nothing, what is ignored, and no row at all.
    for sql in [
        "update account set name = name, balance = balance",
        "update account set updated_at = now() + interval '1 s'",
        "update account set name = 'c' where false",
        "delete from account where false",
        "insert into account select * from account where false",
    ] {
        assert_eq!(t.lines(sql).await, Vec::<String>::new(), "{sql}");
    }
    // What is omitted is named, and nothing more.
    assert_eq!(
        t.lines("update account set secret = 'other', name = case id when 1 then name else 'x' end").await,
        [
            r#"updated 1 before {} after {} omitted ["secret"]"#,
            r#"updated 2 before {"name":"b"} after {"name":"x"} omitted ["secret"]"#
        ]
    );
    assert_eq!(
        t.lines("delete from account where id = 1").await,
        [r#"deleted 1 before {"balance":1.0,"id":1,"name":"b"} omitted ["secret"]"#]
    );
    assert_eq!(t.lines("truncate account").await, ["truncated *"]);
    let found = "select count(*)::text from attestlog.processed_log
                 where position('hidden'::bytea in data) > 0 or position('other'::bytea in data) > 0";
    assert_eq!(t.text(found).await, "0");
}

#[tokio::test]
async fn a_row_is_its_key_so_another_key_is_a_deletion_and_an_insertion() {
    let mut t = Tracking::new(
        "create table pair (a int, b text, v int, primary key (b, a));
         select attestlog.track('pair', 'acme')",
    )
    .await;
    assert_eq!(
        t.lines("insert into pair values (1, 'x\"y', 1), (2, 'z', 2), (3, 'w', 3)").await,
        [
            r#"inserted ["x\"y", 1] after {"a":1,"b":"x\"y","v":1}"#,
            r#"inserted ["z", 2] after {"a":2,"b":"z","v":2}"#,
            r#"inserted ["w", 3] after {"a":3,"b":"w","v":3}"#
        ]
    );
    // Two rows exchange their keys, and a third one is updated.
    t.run("begin; set constraints all deferred").await;
    t.run("alter table pair drop constraint pair_pkey; alter table pair add primary key (b, a) deferrable")
        .await;
    let mut lines = t
        .lines(
            "update pair set a = case a when 1 then 2 when 2 then 1 else a end,
                             b = case a when 1 then 'z' when 2 then 'x\"y' else b end, v = v * 10; commit",
        )
        .await;
    lines.sort();
    assert_eq!(
        lines,
        [
            r#"deleted ["x\"y", 1] before {"a":1,"b":"x\"y","v":1}"#,
            r#"deleted ["z", 2] before {"a":2,"b":"z","v":2}"#,
            r#"inserted ["x\"y", 1] after {"a":1,"b":"x\"y","v":20}"#,
            r#"inserted ["z", 2] after {"a":2,"b":"z","v":10}"#,
            r#"updated ["w", 3] before {"v":3} after {"v":30}"#
        ]
    );
}

#[tokio::test]
async fn an_actor_that_is_none_is_kept_as_an_identifier_and_fails_nothing() {
    let mut t = Tracking::new(ACCOUNT).await;
    let long = "x".repeat(5000);
    let long_object = format!(r#"{{"id": "a", "note": "{long}"}}"#);
    let user = |id: &str| json!({"type": "user", "id": id});
    let digest = t.text(&format!("select 'sha256:' || encode(sha256('{long}'), 'hex')")).await;
    let object_digest = t.text(&format!("select 'sha256:' || encode(sha256('{long_object}'), 'hex')")).await;
    let cases = [
        ("", json!({"type": "service", "id": "postgres"})),
        (" \n", json!({"type": "service", "id": "postgres"})),
        ("usr_7", user("usr_7")),
        ("42", user("42")),
        (r#"{"id": "u"}"#, user("u")),
        (r#" {"type": "system", "id": 7, "name": "N"}"#, json!({"type": "system", "id": "7", "name": "N"})),
        (r#"{"type": "robot", "id": "r"}"#, user(r#"{"type": "robot", "id": "r"}"#)),
        (r#"{"type": "user"}"#, user(r#"{"type": "user"}"#)),
        (r#"{"id": ""}"#, user(r#"{"id": ""}"#)),
        (r#"{"id": "#, user(r#"{"id": "#)),
        (r#"{"id": "\u0000"}"#, user(r#"{"id": "\u0000"}"#)),
        (r#"["u"]"#, user(r#"["u"]"#)),
        (&long, user(&digest)),
        (&long_object, user(&object_digest)),
    ];
    for (number, (given, actor)) in cases.iter().enumerate() {
        sqlx::query("select set_config('attestlog.actor', $1, false)")
            .bind(given)
            .execute(&mut t.app)
            .await
            .unwrap();
        t.run(&format!("insert into account values ({number})")).await;
        assert_eq!(t.events().await[0]["actor"], *actor, "{given:.100}");
    }
}

#[tokio::test]
async fn a_context_that_is_no_object_is_kept_as_text_and_fails_nothing() {
    let mut t = Tracking::new(ACCOUNT).await;
    let long = "x".repeat(20_000);
    let cases = [
        ("", Value::Null),
        (r#"{"ip": "::1", "deep": {"a": [1]}}"#, json!({"ip": "::1", "deep": {"a": [1]}})),
        ("request 7", json!({"malformed": "request 7"})),
        ("[1]", json!({"malformed": "[1]"})),
        ("{", json!({"malformed": "{"})),
        (&long, Value::Null),
    ];
    for (number, (given, context)) in cases.iter().enumerate() {
        sqlx::query("select set_config('attestlog.context', $1, false)")
            .bind(given)
            .execute(&mut t.app)
            .await
            .unwrap();
        t.run(&format!("insert into account values ({number})")).await;
        let event = &t.events().await[0];
        if given.len() < 20_000 {
            assert_eq!(event.get("context").unwrap_or(&Value::Null), context, "{given}");
        } else {
            assert_eq!(event["context"]["too_long"]["bytes"], 20_000);
        }
    }
}

#[tokio::test]
async fn what_is_rolled_back_leaves_no_event() {
    let mut t = Tracking::new(ACCOUNT).await;
    let sql = "begin; insert into account values (1); rollback;
               begin; insert into account values (2); savepoint s; insert into account values (3); rollback to s; commit";
    assert_eq!(
        t.lines(sql).await,
        [r#"inserted 2 after {"balance":null,"id":2,"name":null} omitted ["secret"]"#]
    );
    let sql =
        "begin; select set_config('attestlog.actor', 'local', true); insert into account values (4); commit;
               insert into account values (5)";
    t.run(sql).await;
    let events = t.events().await;
    assert_eq!((&events[0]["actor"]["id"], &events[1]["actor"]["id"]), (&json!("local"), &json!("postgres")));
}
