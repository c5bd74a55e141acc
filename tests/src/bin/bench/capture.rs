//! What row capture adds to a statement that changes many rows, and to one that changes a single row, with its commit and without.

use std::time::{Duration, Instant};

use attestlog_tests::databases::connection;
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::Bench;
use super::sample::SampleLog;
use super::table::{Table, milliseconds, number, ratio};

/// The tables that take turns: nothing; a trigger as one writes it by hand; captured; captured, and changed since.
const TABLES: [(&str, &str); 4] = [
    ("plain", "no trigger"),
    ("audited", "a trigger by hand: `to_jsonb` of each row, old and new, into a plain table"),
    ("tracked", "`attestlog.track`"),
    ("stale", "`attestlog.track`, not up to date: a column was added since"),
];
/// {t} is the table, {rows} the condition that chooses the rows.
const STATEMENTS: [(&str, &str); 4] = [
    ("INSERT", "insert into {t} select * from source where {rows}"),
    (
        "UPDATE of 2 columns",
        "update {t} set balance = balance + 1, updated_at = clock_timestamp() where {rows}",
    ),
    (REFERENCED, "delete from {t} where {rows}"),
    ("DELETE", "delete from {t} where {rows}"),
];
const REFERENCED: &str = "DELETE, another table refers to it";
const ROUNDS: usize = 11;

/// Prints the table.
pub(crate) async fn run(bench: &Bench) {
    let log = SampleLog::on_postgres().await;
    let mut app = connection(log.database().expect("a URL")).await;
    let many = bench.scaled(10_000);
    prepare(&mut app, many).await;
    let mut table = Table::new(
        "Row capture",
        &format!(
            "Tables of 8 columns and 2 indexes; one connection, autocommit; medians of {ROUNDS} rounds in which the \
             tables take turns; the ratio is to the table without a trigger. No server runs."
        ),
        &["statement", "rows", "trigger", "ms", "ratio"],
    );
    // So short that one would not tell.
    let singles: Vec<String> = (1..=many.min(100)).map(|id| format!("id = {id}")).collect();
    for (rows, commits, conditions) in [
        (
            number(f64::from(u32::try_from(many).expect("a number of rows"))),
            true,
            &[format!("id <= {many}")][..],
        ),
        ("1, with its commit".to_owned(), true, &singles),
        ("1, without".to_owned(), false, &singles),
    ] {
        let mut times = vec![[const { Vec::new() }; TABLES.len()]; STATEMENTS.len()];
        for round in 0..ROUNDS {
            for turn in 0..TABLES.len() {
                let position = (turn + round) % TABLES.len();
                for (times, statement) in times.iter_mut().zip(STATEMENTS) {
                    let took = measure(&mut app, TABLES[position].0, statement, conditions, commits).await;
                    times[position].push(took);
                }
            }
        }
        for (times, (statement, _)) in times.iter_mut().zip(STATEMENTS) {
            let medians = times.each_mut().map(|times| median(times));
            for ((_, trigger), median) in TABLES.iter().zip(medians) {
                table.row(&[
                    statement.to_owned(),
                    rows.clone(),
                    (*trigger).to_owned(),
                    milliseconds(median),
                    ratio(median.as_secs_f64() / medians[0].as_secs_f64()),
                ]);
            }
        }
    }
    table.print();
}

async fn prepare(app: &mut PgConnection, rows: u64) {
    let mut sql = format!(
        "create table source as select i::bigint as id, 'user' || i || '@example.com' as email, 'Name ' || i as name,
             (i * 1.37)::numeric(12, 2) as balance, i % 2 = 0 as active, 'basic' as plan,
             now() as created_at, now() as updated_at from generate_series(1, {rows}) i;
         alter table source add primary key (id);
         create table audit (id bigserial primary key, at timestamptz default now(), old jsonb, new jsonb);
         create function by_hand() returns trigger language plpgsql as $$ begin
             if tg_op = 'INSERT' then insert into audit (new) select to_jsonb(n) from new_rows n;
             elsif tg_op = 'DELETE' then insert into audit (old) select to_jsonb(o) from old_rows o;
             else insert into audit (old, new) select to_jsonb(o), to_jsonb(n) from old_rows o join new_rows n using (id);
             end if; return null; end $$;"
    );
    for (table, _) in TABLES {
        sql += &format!(
            "create table {table} (id bigint primary key, email text not null, name text, balance numeric(12, 2) not null,
                 active boolean not null, plan text, created_at timestamptz not null, updated_at timestamptz not null);
             create index on {table} (email);"
        );
    }
    sql += "create trigger i after insert on audited referencing new table as new_rows
                for each statement execute function by_hand();
            create trigger u after update on audited referencing old table as old_rows new table as new_rows
                for each statement execute function by_hand();
            create trigger d after delete on audited referencing old table as old_rows
                for each statement execute function by_hand();
            select attestlog.track(t, 'default') from unnest('{tracked, stale}'::regclass[]) t;
            alter table stale add column later text";
    app.execute(AssertSqlSafe(sql)).await.expect("the tables");
}

/// The time of the statement, the mean where there are several conditions, on a table with all the rows it needs.
async fn measure(
    app: &mut PgConnection,
    table: &str,
    (name, statement): (&str, &str),
    conditions: &[String],
    commits: bool,
) -> Duration {
    let mut run = async |sql: String| app.execute(AssertSqlSafe(sql)).await.expect("a statement");
    run(format!("drop table if exists child; truncate {table}, audit")).await;
    if !statement.starts_with("insert") {
        run(format!("insert into {table} select * from source")).await;
    }
    if name == REFERENCED {
        run(format!("create table child (id bigint primary key, parent bigint references {table})")).await;
        run("create index on child (parent)".to_owned()).await;
    }
    // As a server would have left it.
    run("delete from attestlog.append_only_log".to_owned()).await;
    run(format!("vacuum analyze {table}, attestlog.append_only_log")).await;
    if !commits {
        run("begin".to_owned()).await;
    }
    let started = Instant::now();
    for condition in conditions {
        run(statement.replace("{t}", table).replace("{rows}", condition)).await;
    }
    let took = started.elapsed();
    if !commits {
        run("commit".to_owned()).await;
    }
    took / u32::try_from(conditions.len()).expect("a few conditions")
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
