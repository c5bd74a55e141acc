//! Search in a log of a million audit events: a page of each kind of search, early and late, and what the index costs.

use std::time::Instant;

use attestlog_core::TreeSize;
use attestlog_server::search::{
    Count, Cursor, DEFAULT_LIMIT, Filter, FilterText, IndexStep, Indexer, PageQuery, Place, Search, page,
};
use attestlog_server::store::NewEntry;
use attestlog_server::store::search::Direction;
use attestlog_tests::chance::Chance;
use attestlog_tests::databases::connection;

use super::Bench;
use super::load::{Measured, count};
use super::sample::SampleLog;
use super::table::{Table, milliseconds, number};

/// The first event's time, and the microseconds between two: some ninety days for a million.
const BEGIN: i64 = 1_780_000_000_000_000;
const STEP: i64 = 7_800_000;

/// How often a page is asked for.
const TIMES: u64 = 200;

const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "billing-worker/2.14.1",
];
const KINDS: [&str; 8] = ["invoice", "account", "user", "report", "api_key", "webhook", "project", "session"];
const VERBS: [&str; 6] = ["created", "updated", "viewed", "deleted", "exported", "shared"];

/// Prints the tables.
pub(crate) async fn run(bench: &Bench) {
    let size = bench.scaled(1_000_000);
    let mut log = SampleLog::on_postgres().await;
    let bytes = fill(&mut log, size).await;
    cost(&log, size, bytes).await;
    pages(&log, size).await;
}

/// An event of an application: its words are those of real ones, and some that are as common as their names say.
fn event(number: u64, chance: &mut Chance) -> Vec<u8> {
    // A few users do most; events come a little out of order.
    let user = chance.below(5000) * chance.below(5000) / 5000;
    let kind = KINDS[usize::try_from(chance.below(8)).unwrap()];
    let verb = VERBS[usize::try_from(chance.below(6)).unwrap()];
    let outcome = match chance.below(100) {
        0..=1 => "denied",
        2..=5 => "failure",
        _ => "success",
    };
    let late = i64::try_from(chance.below(30_000_000)).unwrap();
    let time = jiff_time(BEGIN + i64::try_from(number).unwrap() * STEP - late);
    let id = chance.below(u64::MAX);
    let mut note = vec![if number.is_multiple_of(2) { "even" } else { "odd" }];
    for (word, cases) in
        [("half", 5000), ("tenth", 1000), ("percent", 100), ("hundredth", 100), ("mille", 10)]
    {
        if chance.below(10_000) < cases {
            note.push(word);
        }
    }
    if number.is_multiple_of(100_000) {
        note.push("needle");
    }
    let event = serde_json::json!({
        "id": format!("0192{:04x}-{:04x}-7{:03x}-8000-{number:012x}", id & 0xffff, id >> 16 & 0xffff, id >> 32 & 0xfff),
        "action": format!("{kind}.{verb}"), "occurred_at": time,
        "actor": { "type": "user", "id": format!("usr_{user}"), "name": format!("Person {user}") },
        "targets": [{ "type": kind, "id": format!("{kind}_{}", chance.below(100_000)) }],
        "outcome": outcome,
        "context": {
            "ip": format!("10.{}.{}.{}", user % 50, user % 250, id % 250),
            "user_agent": AGENTS[usize::try_from(user % 4).unwrap()],
            "request_id": format!("req_{id:016x}"),
        },
        "changes": { "before": { "state": "open" }, "after": { "state": "closed" } },
        "metadata": { "note": note.join(" ") },
    });
    event.to_string().into_bytes()
}

fn jiff_time(microseconds: i64) -> String {
    jiff::Timestamp::from_microsecond(microseconds).expect("a time").to_string()
}

/// Appends and sequences the events; their bytes.
async fn fill(log: &mut SampleLog, size: u64) -> usize {
    let (mut chance, mut bytes) = (Chance::seeded(6962), 0);
    while log.size < size {
        let end = size.min(log.size + 20_000);
        for from in (log.size..end).step_by(1000) {
            let data: Vec<Vec<u8>> =
                (from..end.min(from + 1000)).map(|number| event(number, &mut chance)).collect();
            bytes += data.iter().map(Vec::len).sum::<usize>();
            let new = |data| NewEntry { log: log.log.id, data, idempotency_key: None };
            let entries: Vec<NewEntry> = data.into_iter().map(new).collect();
            log.store.append(&entries).await.expect("the entries are appended");
        }
        log.size = end;
        log.sequence().await;
    }
    bytes
}

/// Indexes all of it, and prints what that cost.
async fn cost(log: &SampleLog, size: u64, bytes: usize) {
    let mut table = Table::new(
        "What the search index costs",
        "All entries are indexed by steps of 4,000, one after the other, on PostgreSQL. CPU from `/proc`: of this \
         process, which reads the events, and of the backends of PostgreSQL, which store the blocks.",
        &["what", "value"],
    );
    let mut database = connection(log.database().expect("a URL")).await;
    let wal_before = wal(&mut database).await;
    let (began, own, others) = (Instant::now(), cpu_seconds("self"), postgres_cpu());
    let indexer = Indexer::new(std::sync::Arc::clone(&log.store));
    while let IndexStep::Indexed { .. } = indexer.step().await.expect("a step") {}
    let elapsed = began.elapsed().as_secs_f64();
    let (own, others) = (cpu_seconds("self") - own, postgres_cpu() - others);
    let entries = count(usize::try_from(size).unwrap());
    table.row(&["bytes of an event".into(), number(count(bytes) / entries)]);
    table.row(&["events indexed a second".into(), number(entries / elapsed)]);
    table.row(&["CPU of the server, µs an event".into(), number(own * 1e6 / entries)]);
    table.row(&["CPU of PostgreSQL, µs an event".into(), number(others * 1e6 / entries)]);
    table.row(&[
        "write-ahead log, bytes an event".into(),
        number((wal(&mut database).await - wal_before) / entries),
    ]);
    for (what, sql) in [
        ("table `search_block`, bytes an event", "select pg_table_size('attestlog.search_block')::float8"),
        ("its index, bytes an event", "select pg_indexes_size('attestlog.search_block')::float8"),
        (
            "for comparison: `processed_log` with its indexes, bytes an event",
            "select pg_total_relation_size('attestlog.processed_log')::float8",
        ),
    ] {
        let found: f64 = sqlx::query_scalar(sql).fetch_one(&mut database).await.expect("a size");
        table.row(&[what.into(), number(found / entries)]);
    }
    for (what, sql) in [
        ("blocks", "select count(*)::float8 from attestlog.search_block"),
        ("terms", "select count(distinct term)::float8 from attestlog.search_block"),
    ] {
        let found: f64 = sqlx::query_scalar(sql).fetch_one(&mut database).await.expect("a number");
        table.row(&[format!("{what} an event"), number(found / entries)]);
    }
    sqlx::query("vacuum analyze attestlog.search_block").execute(&mut database).await.expect("a vacuum");
    table.print();
}

async fn wal(database: &mut sqlx::PgConnection) -> f64 {
    let sql = "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8";
    sqlx::query_scalar(sql).fetch_one(database).await.expect("an answer")
}

/// The processor time of a process so far.
fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// The processor time of all backends that are connected to a database of this benchmark.
fn postgres_cpu() -> f64 {
    let processes = std::fs::read_dir("/proc").expect("/proc");
    let names = processes.filter_map(|process| process.ok()?.file_name().into_string().ok());
    let ours = names.filter(|process| {
        let command = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains("attestlog_test")
    });
    ours.map(|process| cpu_seconds(&process)).sum()
}

/// A kind of search; `{}` stands for another number each time.
const SEARCHES: [(&str, &[(&str, &str)]); 22] = [
    ("everything", &[]),
    ("actor", &[("actor", "usr_{4000}")]),
    ("actor and time", &[("actor", "usr_{1000}"), ("since", "T40"), ("until", "T60")]),
    ("action of no event", &[("action", "invoice.voided")]),
    ("action of one in 48", &[("action", "invoice.created")]),
    ("action and time", &[("action", "report.viewed"), ("since", "T30"), ("until", "T50")]),
    ("action `report.*`", &[("action", "report.*")]),
    ("target", &[("target", "invoice:invoice_{100000}")]),
    ("outcome of one in 50", &[("outcome", "denied")]),
    (
        "actor, action and outcome",
        &[("actor", "usr_{300}"), ("action", "user.updated"), ("outcome", "success")],
    ),
    ("word of ten events", &[("q", "needle")]),
    ("word of one in 1,000", &[("q", "mille")]),
    ("word of one in 100", &[("q", "percent")]),
    ("word of one in 10", &[("q", "tenth")]),
    ("word of every second event", &[("q", "half")]),
    ("two common words", &[("q", "half even")]),
    ("a common and a rare word", &[("q", "half mille")]),
    ("two words of one in 100", &[("q", "percent hundredth")]),
    ("a word and time", &[("q", "tenth"), ("since", "T20"), ("until", "T40")]),
    ("a phrase", &[("q", "\"half tenth\"")]),
    ("a beginning of a word", &[("q", "perce*")]),
    ("two common words that never meet", &[("q", "even odd")]),
];

async fn pages(log: &SampleLog, size: u64) {
    let mut table = Table::new(
        "A page of 50 hits",
        "Each search 200 times, from cursor to JSON, in this process and over one connection to PostgreSQL; `{n}` is \
         another number each time. The deep page is the ten-thousandth, or the last full one; its depth is given. CPU is of this process and of \
         PostgreSQL together.",
        &[
            "search",
            "hits, counted",
            "first page, p50 ms",
            "p95 ms",
            "CPU ms",
            "deep page",
            "p50 ms",
            "p95 ms",
            "CPU ms",
        ],
    );
    let mut chance = Chance::seeded(1);
    for (name, parameters) in SEARCHES {
        measure(log, size, &mut table, name, parameters, &mut chance).await;
    }
    table.print();
}

async fn measure(
    log: &SampleLog,
    size: u64,
    table: &mut Table,
    name: &str,
    parameters: &[(&str, &str)],
    chance: &mut Chance,
) {
    let first_filter = filter(parameters, size, chance);
    let deep = deep_place(log, size, &first_filter).await;
    let (mut first, mut later) = (Measured::default(), Measured::default());
    let mut counted = String::new();
    let before = all_cpu();
    for _ in 0..TIMES {
        let text = filter(parameters, size, chance);
        let (answer, took) = ask(log, size, text, None).await;
        first.times.push(took);
        counted = format!("{}{}", number(f64::from(answer.0)), if answer.1 { "+" } else { "" });
    }
    let between = all_cpu();
    if let Some((_, place)) = deep {
        for _ in 0..TIMES {
            later.times.push(ask(log, size, first_filter.clone(), Some(place)).await.1);
        }
    }
    let after = all_cpu();
    let depth = deep.map_or_else(|| "–".into(), |(depth, _)| number(count(depth)));
    let show = |measured: &Measured, cpu: f64| match measured.times.is_empty() {
        true => ["–".to_owned(), "–".to_owned(), "–".to_owned()],
        false => [
            milliseconds(measured.percentile(50)),
            milliseconds(measured.percentile(95)),
            number(cpu * 1000.0 / count(measured.times.len())),
        ],
    };
    let mut cells = vec![name.to_owned(), counted];
    cells.extend(show(&first, between - before));
    cells.push(depth);
    cells.extend(show(&later, after - between));
    table.row(&cells);
}

/// The processor time of this process and of PostgreSQL's backends, which what else runs here makes no longer.
fn all_cpu() -> f64 {
    cpu_seconds("self") + postgres_cpu()
}

async fn ask(
    log: &SampleLog,
    size: u64,
    filter: FilterText,
    place: Option<Place>,
) -> ((u32, bool), std::time::Duration) {
    let cursor = place.map(|from| {
        let cursor = Cursor { direction: Direction::Older, now: 0, from, count: Count::default() };
        cursor.format(&log.log.name, &filter)
    });
    let query = PageQuery { filter, cursor, limit: Some(DEFAULT_LIMIT) };
    let began = Instant::now();
    let answer = page(&*log.store, &log.log, TreeSize(size), &query).await.expect("a page");
    let text = serde_json::to_vec(&answer).expect("JSON");
    let took = began.elapsed();
    assert!(!text.is_empty());
    ((answer.count.value, answer.count.capped), took)
}

/// A filter with numbers of its own: `{n}` is one below n, `Tn` the time after n hundredths of the events.
fn filter(parameters: &[(&str, &str)], size: u64, chance: &mut Chance) -> FilterText {
    let mut text = FilterText::default();
    for (name, value) in parameters {
        let value = match (value.split_once('{'), value.strip_prefix('T')) {
            (Some((before, end)), _) => {
                format!("{before}{}", chance.below(end.trim_end_matches('}').parse().expect("a number")))
            }
            (None, Some(hundredths)) => {
                let events =
                    i64::try_from(size).unwrap() / 100 * hundredths.parse::<i64>().expect("a number");
                jiff_time(BEGIN + events * STEP)
            }
            (None, None) => (*value).to_owned(),
        };
        let field = match *name {
            "actor" => &mut text.actor,
            "action" => &mut text.action,
            "target" => &mut text.target,
            "outcome" => &mut text.outcome,
            "since" => &mut text.since,
            "until" => &mut text.until,
            _ => &mut text.q,
        };
        *field = Some(value);
    }
    text
}

/// Where the ten-thousandth page begins, or the last full one, and its number; `None` if there is only one page.
async fn deep_place(log: &SampleLog, size: u64, text: &FilterText) -> Option<(usize, Place)> {
    let filter = Filter::parse(text, 0).expect("a filter");
    let search = Search { store: &*log.store, log: log.log.id, size: TreeSize(size), filter: &filter };
    let (mut from, mut hits, mut pages) = (Place::LAST, 0_usize, Vec::new());
    while pages.len() < 10_000 {
        let found = search.find(Direction::Older, from, 1000, 0).await.expect("hits");
        for hit in &found.hits {
            hits += 1;
            if hits.is_multiple_of(50) {
                pages.push(Place { time: hit.time, index: hit.index.0 });
            }
        }
        match found.rest {
            Some(rest) => from = rest,
            None => break,
        }
    }
    // The place after which the last full page begins.
    let depth = pages.len().min(10_000);
    let place = pages.get(depth.checked_sub(2)?)?;
    Some((depth, *place))
}
