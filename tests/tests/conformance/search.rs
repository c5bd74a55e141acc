//! The search index: what is found is what reading every entry would find, whatever happens to the index.

use std::sync::Arc;

use attestlog_core::TreeSize;
use attestlog_server::progress::Progress;
use attestlog_server::search::{
    Filter, FilterText, IndexStep, Indexer, MAX_EXPANSION, PageQuery, Place, Search, SearchError, Term, page,
};
use attestlog_server::store::search::Direction;
use attestlog_server::store::{Log, NewEntry, Store};
use attestlog_tests::chance::Chance;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::{Database, append, begin_batch, create, entry, process_all};

const WORDS: [&str; 6] = ["paid", "Void", "Ada", "99", "überall", "long-tail"];

/// An event with some of everything, at a time that is in order, late, the same as others', or missing.
fn event(number: u64, chance: &mut Chance) -> Vec<u8> {
    let mut event = json!({
        "action": format!("{}.{}", ["invoice", "account"][pick(chance, 2)], ["paid", "voided", "seen"][pick(chance, 3)]),
        "actor": { "type": (["user", "service"][pick(chance, 2)]), "id": format!("usr_{}", chance.below(5)) },
        "outcome": (["success", "success", "success", "denied"][pick(chance, 4)]),
        "metadata": { "note": format!("{} {} {number}", WORDS[pick(chance, 6)], WORDS[pick(chance, 6)]) },
    });
    let targets: Vec<Value> = (0..chance.below(3))
        .map(|_| json!({ "type": "invoice", "id": format!("inv_{}", chance.below(9)) }))
        .collect();
    event["targets"] = json!(targets);
    if chance.percent(10) {
        event["actor"]["on_behalf_of"] = json!({ "type": "user", "id": "usr_0" });
    }
    let seconds = match chance.below(4) {
        0 => 50,
        1 => chance.below(4000),
        _ => number * 10,
    };
    if chance.percent(90) {
        let second = i64::try_from(seconds).unwrap() * 1_000_000;
        event["occurred_at"] = json!(jiff::Timestamp::from_microsecond(second).unwrap().to_string());
    }
    event.to_string().into_bytes()
}

fn pick(chance: &mut Chance, end: u64) -> usize {
    usize::try_from(chance.below(end)).unwrap()
}

async fn add(store: &dyn Store, log: &Log, data: impl IntoIterator<Item = Vec<u8>>) {
    let entries: Vec<NewEntry> = data.into_iter().map(|data| entry(log, data)).collect();
    append(store, &entries).await;
    process_all(store).await;
}

async fn index(store: &Arc<dyn Store>) {
    let indexer = Indexer::new(Arc::clone(store));
    while !matches!(indexer.step().await.unwrap(), IndexStep::Idle) {}
}

/// A log of random events, half of which were indexed in small steps.
async fn filled(store: &Arc<dyn Store>, count: u64) -> Log {
    let log = create(&**store, "a").await;
    let mut chance = Chance::announced();
    let events: Vec<Vec<u8>> = (0..count).map(|number| event(number, &mut chance)).collect();
    let (first, second) = events.split_at(events.len() / 2);
    for some in first.chunks(7) {
        add(&**store, &log, some.to_vec()).await;
        index(store).await;
    }
    add(&**store, &log, second.to_vec()).await;
    index(store).await;
    log
}

/// The indexes of all hits, read page by page.
async fn find(
    store: &dyn Store,
    log: &Log,
    text: &FilterText,
    direction: Direction,
    limit: usize,
) -> Vec<u64> {
    let filter = Filter::parse(text, 0).unwrap();
    let search = Search { store, log: log.id, size: TreeSize(u64::MAX), filter: &filter };
    let (mut found, mut from) = (
        Vec::new(),
        match direction {
            Direction::Older => Place::LAST,
            Direction::Newer => Place::FIRST,
        },
    );
    loop {
        let some = search.find(direction, from, limit, 10).await.unwrap();
        found.extend(some.hits.iter().map(|hit| hit.index.0));
        match some.rest {
            Some(rest) => from = rest,
            None => return found,
        }
    }
}

async fn everything(store: &dyn Store, log: &Log) -> Vec<u64> {
    find(store, log, &FilterText::default(), Direction::Older, 1000).await
}

fn with_words(q: &str) -> FilterText {
    FilterText { q: Some(q.to_owned()), ..FilterText::default() }
}

/// What a person would call a match, written down again without any code of the index.
fn is_searched_for(text: &FilterText, event: &Value, time: i64) -> bool {
    let is = |party: &Value, name: &str| {
        let (kind, id) =
            (party["type"].as_str().unwrap_or_default(), party["id"].as_str().unwrap_or_default());
        name == id || name == format!("{kind}:{id}") || name == format!("{kind}:*")
    };
    let seconds = |when: &String| when.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let content = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all: Vec<String> = [
        content(&event["action"]),
        content(&event["outcome"]),
        content(&event["metadata"]["note"]),
        content(&event["actor"]["type"]),
        content(&event["actor"]["id"]),
        content(&event["actor"]["on_behalf_of"]["type"]),
        content(&event["actor"]["on_behalf_of"]["id"]),
    ]
    .into_iter()
    .chain(
        event["targets"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|target| [content(&target["type"]), content(&target["id"])]),
    )
    .map(|text| text.to_lowercase().replace(['.', '-'], " "))
    .collect();
    let has = |part: &str| {
        let part = part.to_lowercase().replace(['.', '-'], " ");
        let (part, is_prefix) = part.strip_suffix('*').map_or((&*part, false), |part| (part, true));
        all.iter().any(|text| {
            let text = format!(" {text} ");
            if is_prefix { text.contains(&format!(" {part}")) } else { text.contains(&format!(" {part} ")) }
        })
    };
    text.actor
        .as_ref()
        .is_none_or(|name| is(&event["actor"], name) || is(&event["actor"]["on_behalf_of"], name))
        && text
            .target
            .as_ref()
            .is_none_or(|name| event["targets"].as_array().unwrap().iter().any(|one| is(one, name)))
        && text.action.as_ref().is_none_or(|action| match action.strip_suffix('*') {
            Some(beginning) => event["action"].as_str().unwrap().starts_with(beginning),
            None => event["action"] == **action,
        })
        && text.outcome.as_ref().is_none_or(|outcome| event["outcome"] == **outcome)
        && text.since.as_ref().is_none_or(|since| seconds(since) <= time)
        && text.until.as_ref().is_none_or(|until| time < seconds(until))
        && text.q.as_ref().is_none_or(|q| q.split_whitespace().all(has))
}

fn any_filter() -> impl Strategy<Value = FilterText> {
    let one_of = |values: &'static [&'static str]| {
        proptest::option::weighted(0.4, proptest::sample::select(values).prop_map(str::to_owned))
    };
    let time = || {
        proptest::option::weighted(
            0.3,
            (0..4000_i64).prop_map(|second| jiff::Timestamp::from_second(second).unwrap().to_string()),
        )
    };
    let words = &[
        "paid",
        "void",
        "ada void",
        "99",
        "ÜBERALL",
        "long-tail",
        "success",
        "usr_3 paid",
        "no",
        "lo*",
        "invoice.pa*",
        "5",
        "1* paid",
        "account.voided",
        "usr*",
    ];
    (
        one_of(&["usr_0", "usr_3", "user:usr_1", "service:*", "usr_9"]),
        one_of(&["invoice.paid", "account.*", "in*", "invoice", "account.seen"]),
        one_of(&["inv_1", "invoice:inv_2", "invoice:*", "inv_99"]),
        one_of(&["denied", "success", "failure"]),
        time(),
        time(),
        one_of(words),
    )
        .prop_map(|(actor, action, target, outcome, since, until, q)| FilterText {
            actor,
            action,
            target,
            outcome,
            since,
            until,
            q,
        })
}

pub(super) async fn what_is_found_is_what_a_look_at_every_entry_finds(database: &dyn Database) {
    let store = database.open().await;
    let log = filled(&store, 700).await;
    let all: Vec<u64> = (0..700).collect();
    let mut events: Vec<(i64, u64, Value)> = Vec::new();
    for stored in store.search().events(log.id, &all).await.unwrap() {
        let value: Value = serde_json::from_slice(&stored.data).unwrap();
        let said = value["occurred_at"]
            .as_str()
            .map(|time| time.parse::<jiff::Timestamp>().unwrap().as_microsecond());
        events.push((said.unwrap_or(stored.appended_at), stored.index.0, value));
    }
    events.sort_by_key(|(time, index, _)| (*time, *index));
    let (mut runner, strategy, mut hits) = (TestRunner::default(), any_filter(), 0);
    for _ in 0..150 {
        let text = strategy.new_tree(&mut runner).unwrap().current();
        let mut expected: Vec<u64> = events
            .iter()
            .filter(|(time, _, event)| is_searched_for(&text, event, *time))
            .map(|(_, index, _)| *index)
            .collect();
        let limit = (1..60_usize).new_tree(&mut runner).unwrap().current();
        assert_eq!(
            find(&*store, &log, &text, Direction::Newer, limit).await,
            expected,
            "oldest first: {text:?}"
        );
        expected.reverse();
        assert_eq!(
            find(&*store, &log, &text, Direction::Older, limit).await,
            expected,
            "newest first: {text:?}"
        );
        hits += expected.len();
    }
    assert!(hits > 1000, "the filters find something");
}

pub(super) async fn pages_backwards_are_the_pages_forwards(database: &dyn Database) {
    let store = database.open().await;
    let log = filled(&store, 300).await;
    for filter in [FilterText::default(), with_words("paid"), with_words("us*"), with_words("\"paid ada\"")] {
        let mut query = PageQuery { filter: filter.clone(), cursor: None, limit: Some(3) };
        let (mut forwards, mut backwards) = (Vec::new(), Vec::new());
        let size = TreeSize(300);
        let cursor = |link: &Option<String>| {
            link.as_ref().map(|link| link.rsplit_once("cursor=").unwrap().1.to_owned())
        };
        let indexes = |answer: &attestlog_server::search::Answer| {
            answer.events.iter().map(|event| event.index).collect::<Vec<_>>()
        };
        let mut answer = page(&*store, &log, size, &query).await.unwrap();
        assert!(answer.previous.is_none());
        let count = (answer.count.value, answer.count.capped);
        loop {
            assert_eq!((answer.count.value, answer.count.capped), count, "the count of the first page");
            forwards.push(indexes(&answer));
            query.cursor = cursor(&answer.next);
            if query.cursor.is_none() {
                break;
            }
            answer = page(&*store, &log, size, &query).await.unwrap();
        }
        loop {
            backwards.push(indexes(&answer));
            query.cursor = cursor(&answer.previous);
            if query.cursor.is_none() {
                break;
            }
            answer = page(&*store, &log, size, &query).await.unwrap();
        }
        backwards.reverse();
        assert_eq!(forwards, backwards, "{filter:?}");
        assert!(!forwards.is_empty(), "{filter:?}");
        let all: Vec<u64> = forwards.concat();
        assert_eq!(all, find(&*store, &log, &filter, Direction::Older, 1000).await);
        if !count.1 {
            assert_eq!(u64::from(count.0), all.len() as u64);
        }
    }
}

pub(super) async fn paging_visits_each_hit_once_while_events_arrive(database: &dyn Database) {
    let store = database.open().await;
    let log = filled(&store, 200).await;
    let before = everything(&*store, &log).await;
    let filter = Filter::default();
    let search = Search { store: &*store, log: log.id, size: TreeSize(u64::MAX), filter: &filter };
    let (mut from, mut visited, mut chance) = (Place::LAST, Vec::new(), Chance::announced());
    for number in 200.. {
        let found = search.find(Direction::Older, from, 9, 0).await.unwrap();
        visited.extend(found.hits.iter().map(|hit| hit.index.0));
        let Some(rest) = found.rest else { break };
        from = rest;
        // Some are newer than all others, some are of the time that is read next.
        add(&*store, &log, [event(number, &mut chance), event(number / 3, &mut chance)]).await;
        index(&store).await;
    }
    let mut once = visited.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), visited.len(), "no hit is visited twice");
    assert_eq!(visited.into_iter().filter(|index| *index < 200).collect::<Vec<_>>(), before);
}

pub(super) async fn an_index_that_was_made_again_finds_the_same(database: &dyn Database) {
    let store = database.open().await;
    let (log, other) = (filled(&store, 400).await, create(&*store, "other").await);
    add(&*store, &other, (0..10).map(|number| format!("{number} paid").into_bytes())).await;
    index(&store).await;
    let filters =
        [FilterText::default(), with_words("paid"), with_words("ada 99"), with_words("invoice.paid")];
    let mut before = Vec::new();
    for filter in &filters {
        before.push(find(&*store, &log, filter, Direction::Older, 50).await);
    }
    let indexer = Indexer::new(Arc::clone(&store));
    indexer.forget(log.id).await.unwrap();
    assert_eq!(store.search().indexed_size(log.id).await.unwrap(), TreeSize(0));
    assert!(everything(&*store, &log).await.is_empty());
    assert_eq!(everything(&*store, &other).await.len(), 10);
    let progress = Progress::default();
    indexer.catch_up(log.id, &progress).await.unwrap();
    assert_eq!((progress.total(), progress.done()), (400, 400));
    for (filter, before) in filters.iter().zip(before) {
        assert_eq!(find(&*store, &log, filter, Direction::Older, 50).await, before, "{filter:?}");
    }
    assert_eq!(everything(&*store, &other).await.len(), 10);
}

pub(super) async fn many_indexers_at_once_make_one_index(database: &dyn Database) {
    let stores = [database.open().await, database.open().await];
    let log = create(&*stores[0], "a").await;
    let mut chance = Chance::announced();
    add(&*stores[0], &log, (0..3000).map(|number| event(number, &mut chance))).await;
    let mut indexers = tokio::task::JoinSet::new();
    for number in 0..4 {
        let indexer = Indexer::new(Arc::clone(&stores[number % 2]));
        indexers.spawn(async move { indexer.catch_up(log.id, &Progress::default()).await });
    }
    while let Some(done) = indexers.join_next().await {
        done.unwrap().unwrap();
    }
    let mut found = everything(&*stores[1], &log).await;
    found.sort_unstable();
    assert_eq!(found, (0..3000).collect::<Vec<_>>());
}

pub(super) async fn a_transaction_that_is_dropped_leaves_the_index_as_it_was(database: &dyn Database) {
    let store = database.open().await;
    let log = filled(&store, 20).await;
    let before = everything(&*store, &log).await;
    let mut indexing = begin_indexing(&*store).await;
    indexing.clear(log.id).await.unwrap();
    indexing.write(log.id, &[], &[], 7).await.unwrap();
    drop(indexing);
    assert_eq!(everything(&*store, &log).await, before);
    assert_eq!(store.search().indexed_size(log.id).await.unwrap(), TreeSize(20));
    // And whoever comes next goes on.
    add(&*store, &log, [b"one more".to_vec()]).await;
    drop(begin_indexing(&*store).await);
    assert!(find(&*store, &log, &with_words("more"), Direction::Older, 5).await.is_empty());
    index(&store).await;
    assert_eq!(find(&*store, &log, &with_words("more"), Direction::Older, 5).await, [20]);
}

/// A transaction of the index, once one that was dropped has been rolled back.
async fn begin_indexing(store: &dyn Store) -> Box<dyn attestlog_server::store::search::Indexing> {
    let deadline = attestlog_tests::deadline::Deadline::of("nobody else is in a transaction of the index");
    loop {
        if let Some(indexing) = store.search().begin_indexing().await.unwrap() {
            return indexing;
        }
        deadline.pause().await;
    }
}

pub(super) async fn entries_that_are_added_twice_are_there_once(database: &dyn Database) {
    let store = database.open().await;
    let log = filled(&store, 300).await;
    let before = everything(&*store, &log).await;
    // As if the mark had been lost, and the blocks had not.
    let mut indexing = begin_indexing(&*store).await;
    indexing.write(log.id, &[], &[], 100).await.unwrap();
    indexing.commit().await.unwrap();
    index(&store).await;
    assert_eq!(everything(&*store, &log).await, before);
}

pub(super) async fn unusual_entries_are_indexed_and_found(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    let long = "x".repeat(30_000);
    let many: Vec<Value> = (0..1500).map(|n| json!({ "type": "t", "id": n })).collect();
    let entries: Vec<Vec<u8>> = vec![
        b"\0".to_vec(),
        b"\xff\xfe not utf8 \0 findme".to_vec(),
        br#"{"action":null,"actor":[],"targets":{"id":5},"outcome":7,"occurred_at":12}"#.to_vec(),
        br#"{"actor":{"id":"nul\u0000inside"},"action":"a\u0000b"}"#.to_vec(),
        br#"{"actor":"\ud800","action":"findme"}"#.to_vec(),
        json!({ "action": long, "actor": { "id": long } }).to_string().into_bytes(),
        json!({ "targets": many }).to_string().into_bytes(),
        br#"{"occurred_at":"9999-12-30T00:00:00Z"}"#.to_vec(),
        br#"{"occurred_at":"-009999-01-01T00:00:00Z","x":1e400}"#.to_vec(),
        br#"{"occurred_at":"-000001-01-01T00:00:00Z"}"#.to_vec(),
        format!("{}{}", "[".repeat(20_000), "]".repeat(20_000)).into_bytes(),
        (0..60_000_u32)
            .map(|n| if n % 5 == 0 { b' ' } else { b'a' + u8::try_from(n * 7 / 5 % 26).unwrap() })
            .collect(),
        "ﬁ İstanbul ǅ findme".as_bytes().to_vec(),
        b"12345678901234567890".to_vec(),
        br#"{"actor":{"type":"user","id":"mallory","name":"\ud800"},"outcome":"denied","metadata":1e999}"#
            .to_vec(),
        format!(
            r#"{{"metadata":{}{},"actor":{{"type":"user","id":"mallory"}},"outcome":"denied"}}"#,
            "[".repeat(20_000),
            "]".repeat(20_000)
        )
        .into_bytes(),
    ];
    let count = entries.len() as u64;
    add(&*store, &log, entries).await;
    index(&store).await;
    let mut all = everything(&*store, &log).await;
    assert_eq!((all.first(), all.last()), (Some(&7), Some(&9)), "by their times");
    all.sort_unstable();
    assert_eq!(all, (0..count).collect::<Vec<_>>());
    assert_eq!(find(&*store, &log, &with_words("findme"), Direction::Newer, 9).await, [1, 4, 12]);
    let actor = |id: &str| FilterText { actor: Some(id.to_owned()), ..FilterText::default() };
    assert_eq!(find(&*store, &log, &actor("nul\0inside"), Direction::Older, 9).await, [3]);
    let target = FilterText { target: Some("t:200".into()), ..FilterText::default() };
    assert_eq!(find(&*store, &log, &target, Direction::Older, 9).await, [6]);
    // One odd value hides no other.
    let hiding = FilterText { outcome: Some("denied".into()), ..actor("user:mallory") };
    assert_eq!(find(&*store, &log, &hiding, Direction::Newer, 9).await, [14, 15]);
    // Longer than a filter may be, so found by its beginning: a value that the index has cut.
    let action = FilterText { action: Some(format!("{}*", &long[..1000])), ..FilterText::default() };
    assert_eq!(find(&*store, &log, &action, Direction::Older, 9).await, [5]);
}

pub(super) async fn a_gap_in_the_entries_does_not_stop_the_index(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    add(&*store, &log, (0..10).map(|number| format!("entry {number}").into_bytes())).await;
    database.delete_entry(log.id, 4).await;
    index(&store).await;
    assert_eq!(
        find(&*store, &log, &with_words("entry"), Direction::Newer, 50).await,
        [0, 1, 2, 3, 5, 6, 7, 8, 9]
    );
    assert_eq!(store.search().search_lag().await.unwrap().entries, 0);
    // One that goes after it was indexed is not found any more.
    database.delete_entry(log.id, 5).await;
    assert_eq!(find(&*store, &log, &with_words("5"), Direction::Newer, 50).await, Vec::<u64>::new());
}

pub(super) async fn an_index_that_says_too_much_finds_nothing_wrong(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    add(&*store, &log, [b"true word".to_vec()]).await;
    index(&store).await;
    let filter = Filter::default();
    let search = Search { store: &*store, log: log.id, size: TreeSize(u64::MAX), filter: &filter };
    let hit = search.find(Direction::Older, Place::LAST, 1, 0).await.unwrap().hits.remove(0);
    let place = Place { time: hit.time, index: 0 };
    let lie = Term::new(attestlog_server::search::TermKind::Word, "lie");
    let block = attestlog_server::search::Block::pack(&[place]).unwrap();
    let mut indexing = begin_indexing(&*store).await;
    indexing.write(log.id, &[(lie, block)], &[], 1).await.unwrap();
    indexing.commit().await.unwrap();
    assert_eq!(find(&*store, &log, &with_words("lie"), Direction::Older, 5).await, Vec::<u64>::new());
    assert_eq!(find(&*store, &log, &with_words("word"), Direction::Older, 5).await, [0]);
}

pub(super) async fn common_and_rare_words_meet(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    let words = |number: u64| {
        let mut words = vec!["all", if number.is_multiple_of(2) { "even" } else { "odd" }];
        words.extend(number.is_multiple_of(101).then_some("rare"));
        words.extend((number < 300).then_some("early"));
        words.join(" ").into_bytes()
    };
    add(&*store, &log, (0..4000).map(words)).await;
    index(&store).await;
    for (q, expected) in [
        ("all even", (0..4000).filter(|n| n % 2 == 0).collect::<Vec<u64>>()),
        ("even odd", vec![]),
        ("rare even", (0..4000).filter(|n| n % 202 == 0).collect()),
        ("early rare odd", vec![101]),
        ("even early all", (0..300).filter(|n| n % 2 == 0).collect()),
        ("\"all odd\" rar*", (0..4000).filter(|n| n % 101 == 0 && n % 2 == 1).collect()),
        ("none all", vec![]),
    ] {
        assert_eq!(find(&*store, &log, &with_words(q), Direction::Newer, 37).await, expected, "{q}");
        let backwards: Vec<u64> = expected.into_iter().rev().collect();
        assert_eq!(find(&*store, &log, &with_words(q), Direction::Older, 50).await, backwards, "{q}");
    }
    let query = PageQuery { filter: with_words("all"), cursor: None, limit: Some(1) };
    let count = page(&*store, &log, TreeSize(4000), &query).await.unwrap().count;
    assert_eq!((count.value, count.capped), (1000, true));
    let query = PageQuery { filter: with_words("rare"), ..query };
    let count = page(&*store, &log, TreeSize(4000), &query).await.unwrap().count;
    assert_eq!((count.value, count.capped), (40, false));
}

pub(super) async fn a_beginning_of_too_many_words_is_refused(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    add(
        &*store,
        &log,
        (0..=MAX_EXPANSION).map(|number| format!("{{\"action\":\"x{number}\"}}").into_bytes()),
    )
    .await;
    index(&store).await;
    for (beginning, is_found) in [("x*", false), ("x1*", true)] {
        let text = FilterText { action: Some(beginning.into()), ..FilterText::default() };
        let filter = Filter::parse(&text, 0).unwrap();
        let search = Search { store: &*store, log: log.id, size: TreeSize(u64::MAX), filter: &filter };
        let found = search.find(Direction::Older, Place::LAST, 200, 0).await;
        match found {
            Ok(found) => assert!(is_found && found.hits.len() == 111, "{beginning}"),
            Err(error) => {
                assert!(!is_found && matches!(error, SearchError::TooBroad), "{beginning}: {error}")
            }
        }
    }
}

pub(super) async fn entries_beyond_the_published_size_are_not_shown(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    add(&*store, &log, (0..50).map(|number| format!("entry {number}").into_bytes())).await;
    index(&store).await;
    let filter = Filter::default();
    for size in [0, 1, 49, 50] {
        let search = Search { store: &*store, log: log.id, size: TreeSize(size), filter: &filter };
        let found = search.find(Direction::Older, Place::LAST, 100, 1000).await.unwrap();
        assert_eq!(
            (found.hits.len() as u64, found.counted, found.more, found.rest),
            (size, size, false, None)
        );
    }
}

pub(super) async fn logs_do_not_mix_and_all_are_indexed(database: &dyn Database) {
    let began = std::time::Instant::now();
    let store = database.open().await;
    let mut logs = Vec::new();
    for number in 0..20 {
        let log = create(&*store, &format!("log-{number}")).await;
        append(&*store, &[entry(&log, format!("shared own{number}"))]).await;
        logs.push(log);
    }
    process_all(&*store).await;
    let lag = store.search().search_lag().await.unwrap();
    assert_eq!(lag.entries, 20);
    let elapsed = began.elapsed().as_secs_f64();
    assert!((0.0..=elapsed).contains(&lag.seconds), "{} of {elapsed}", lag.seconds);
    index(&store).await;
    assert_eq!(
        store.search().search_lag().await.unwrap(),
        attestlog_server::store::search::SearchLag::default()
    );
    for (number, log) in logs.iter().enumerate() {
        assert_eq!(find(&*store, log, &with_words("shared"), Direction::Older, 5).await, [0]);
        let own = find(&*store, log, &with_words(&format!("own{}", 0)), Direction::Older, 5).await;
        assert_eq!(own.is_empty(), number > 0);
    }
}

pub(super) async fn the_index_and_a_batch_do_not_wait_for_each_other_to_end(database: &dyn Database) {
    let store = database.open().await;
    let log = filled(&store, 10).await;
    append(&*store, &[entry(&log, "waiting")]).await;
    let batch = begin_batch(&*store).await;
    // On the embedded store one of the two has the file; neither fails.
    assert!(matches!(
        Indexer::new(Arc::clone(&store)).step().await.unwrap(),
        IndexStep::Standby | IndexStep::Idle
    ));
    drop(batch);
    process_all(&*store).await;
    index(&store).await;
    let found = find(&*store, &log, &with_words("waiting"), Direction::Older, 5).await;
    assert_eq!(found, [10]);
}
