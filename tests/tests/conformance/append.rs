//! Appends, idempotency keys, tickets, the backlog.

use std::collections::HashSet;

use attestlog_core::LeafIndex;
use attestlog_server::store::{Appended, NewEntry, StoreError, Ticket, TicketState};

use super::{Database, all_entries, append, create, entry, keyed, process, process_all, texts};

pub(super) async fn an_append_of_nothing_answers_nothing(database: &dyn Database) {
    let store = database.open().await;
    assert_eq!(store.append(&[]).await.unwrap(), []);
}

pub(super) async fn each_entry_gets_a_ticket_of_its_own_in_order(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    let mut all = Vec::new();
    // Around the numbers of rows that share a statement.
    for count in [1, 2, 31, 33, 255, 256, 257, 1000] {
        let entries: Vec<_> = (0..count).map(|number| entry(&log, format!("{count} {number}"))).collect();
        all.extend(append(&*store, &entries).await);
    }
    assert!(all.is_sorted());
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    process_all(&*store).await;
    let states = store.tickets(&all).await.unwrap();
    for (index, ticket) in (0..).zip(&all) {
        assert_eq!(states[ticket], TicketState::Processed(log.id, LeafIndex(index)));
    }
}

pub(super) async fn equal_entries_are_two_entries(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    append(&*store, &[entry(&log, "same"), entry(&log, "same")]).await;
    append(&*store, &[entry(&log, "same")]).await;
    process_all(&*store).await;
    assert_eq!(texts(&all_entries(&*store, log.id).await), ["same"; 3]);
}

pub(super) async fn every_size_from_1_to_65535_comes_back_as_it_was(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    let sizes = [1, 2, 255, 256, 1000, 2030, 2031, 4096, 8190, 8192, 16_384, 65_534, 65_535_usize];
    let data = |size: usize| -> Vec<u8> { (0..=255).cycle().take(size).collect() };
    append(&*store, &sizes.map(|size| entry(&log, data(size)))).await;
    process_all(&*store).await;
    assert_eq!(all_entries(&*store, log.id).await, sizes.map(data));
}

pub(super) async fn an_empty_entry_and_one_too_large_are_refused_with_all_others_of_the_call(
    database: &dyn Database,
) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    for bad in [Vec::new(), vec![1; 65_536]] {
        let refused = store.append(&[entry(&log, "good"), entry(&log, bad)]).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    }
    assert_eq!(store.backlog(10).await.unwrap().rows, 0);
    append(&*store, &[entry(&log, "good")]).await;
}

pub(super) async fn one_call_serves_many_logs(database: &dyn Database) {
    let store = database.open().await;
    let (a, b) = (create(&*store, "a").await, create(&*store, "b").await);
    append(&*store, &[entry(&b, "b0"), entry(&a, "a0"), entry(&b, "b1"), entry(&a, "a1"), entry(&a, "a2")])
        .await;
    process_all(&*store).await;
    assert_eq!(texts(&all_entries(&*store, a.id).await), ["a0", "a1", "a2"]);
    assert_eq!(texts(&all_entries(&*store, b.id).await), ["b0", "b1"]);
}

pub(super) async fn a_retry_with_the_same_key_gets_the_first_ticket(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    let first = append(&*store, &[keyed(&log, "1", "k")]).await;
    let retried = append(&*store, &[entry(&log, "0"), keyed(&log, "1", "k"), keyed(&log, "2", "l")]).await;
    assert_eq!(retried[1], first[0]);
    assert_eq!(append(&*store, &[keyed(&log, "2", "l")]).await, retried[2..]);
    assert_eq!(store.backlog(10).await.unwrap().rows, 3);
    process_all(&*store).await;
    assert_eq!(texts(&all_entries(&*store, log.id).await), ["1", "0", "2"]);
}

pub(super) async fn a_retry_after_processing_gets_the_first_ticket(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    let first = append(&*store, &[keyed(&log, "1", "k")]).await;
    process_all(&*store).await;
    assert_eq!(append(&*store, &[keyed(&log, "1", "k")]).await, first);
    assert_eq!(store.append(&[keyed(&log, "2", "k")]).await.unwrap(), [Appended::KeyReused]);
    assert_eq!(store.backlog(10).await.unwrap().rows, 0);
}

pub(super) async fn a_key_belongs_to_one_log(database: &dyn Database) {
    let store = database.open().await;
    let (a, b) = (create(&*store, "a").await, create(&*store, "b").await);
    let tickets = append(&*store, &[keyed(&a, "1", "k"), keyed(&b, "2", "k")]).await;
    assert_ne!(tickets[0], tickets[1]);
    assert_eq!(append(&*store, &[keyed(&b, "2", "k"), keyed(&a, "1", "k")]).await, [tickets[1], tickets[0]]);
}

pub(super) async fn a_key_that_belongs_to_another_entry_stores_nothing(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    append(&*store, &[keyed(&log, "1", "k")]).await;
    let answers = store.append(&[keyed(&log, "2", "k"), entry(&log, "3")]).await.unwrap();
    assert_eq!(answers[0], Appended::KeyReused);
    assert!(matches!(answers[1], Appended::Ticket(_)));
    process_all(&*store).await;
    assert_eq!(texts(&all_entries(&*store, log.id).await), ["1", "3"]);
}

pub(super) async fn the_same_key_twice_in_one_call_is_one_entry(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    let twice = [keyed(&log, "1", "k"), entry(&log, "2"), keyed(&log, "1", "k")];
    let tickets = append(&*store, &twice).await;
    assert_eq!(tickets[0], tickets[2]);
    assert_ne!(tickets[0], tickets[1]);
    process_all(&*store).await;
    assert_eq!(texts(&all_entries(&*store, log.id).await), ["1", "2"]);
}

pub(super) async fn the_same_key_with_other_bytes_in_one_call_is_reused(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    let answers = store.append(&[keyed(&log, "1", "k"), keyed(&log, "2", "k")]).await.unwrap();
    assert!(matches!(answers[0], Appended::Ticket(_)));
    assert_eq!(answers[1], Appended::KeyReused);
    process_all(&*store).await;
    assert_eq!(texts(&all_entries(&*store, log.id).await), ["1"]);
}

pub(super) async fn a_key_is_kept_over_a_restart(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    let first = append(&*store, &[keyed(&log, "1", "k")]).await;
    store.close().await;
    let store = database.open().await;
    assert_eq!(append(&*store, &[keyed(&log, "1", "k")]).await, first);
}

pub(super) async fn two_retries_at_once_store_one_entry(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    for round in 0..20 {
        let key = format!("k{round}");
        let one = [keyed(&log, "1", &key)];
        let (left, right) = tokio::join!(append(&*store, &one), append(&*store, &one));
        assert_eq!(left, right);
    }
    assert_eq!(store.backlog(100).await.unwrap().rows, 20);
}

pub(super) async fn a_thousand_keyed_entries_are_retried_in_one_call(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    let key = |number: usize| "ключ".repeat(30) + &number.to_string();
    let mut entries: Vec<NewEntry> =
        (0..1000).map(|number| keyed(&log, &number.to_string(), &key(number))).collect();
    let first = append(&*store, &entries[..500]).await;
    process(&*store, 250).await;
    let second = append(&*store, &entries).await;
    assert_eq!(second[..500], first);
    entries.reverse();
    let third = append(&*store, &entries).await;
    assert!(third.iter().eq(second.iter().rev()));
    process_all(&*store).await;
    assert_eq!(all_entries(&*store, log.id).await.len(), 1000);
    for length in [0, 256] {
        let bad = store.append(&[keyed(&log, "x", &"k".repeat(length))]).await;
        assert!(matches!(bad, Err(StoreError::Refused(_))), "a key of {length} bytes: {bad:?}");
    }
}

pub(super) async fn the_backlog_is_counted_up_to_a_limit(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    append(&*store, &[1, 2, 3, 4, 5].map(|byte| entry(&log, vec![byte]))).await;
    for (most, rows) in [(0, 0), (1, 1), (4, 4), (5, 5), (6, 5), (u32::MAX, 5)] {
        assert_eq!(store.backlog(most).await.unwrap().rows, rows, "up to {most}");
    }
    let (mut before, mut grew) = (store.backlog(9).await.unwrap().oldest_seconds, false);
    assert!((0.0..600.0).contains(&before));
    while !grew {
        let age = store.backlog(9).await.unwrap().oldest_seconds;
        grew = age > before;
        before = before.min(age);
    }
    process_all(&*store).await;
    assert_eq!(store.backlog(9).await.unwrap().rows, 0);
    assert_eq!(store.backlog(9).await.unwrap().oldest_seconds, 0.0);
}

pub(super) async fn tickets_are_unknown_accepted_or_processed(database: &dyn Database) {
    let store = database.open().await;
    let (a, b) = (create(&*store, "a").await, create(&*store, "b").await);
    let done = append(&*store, &[entry(&a, "1"), entry(&b, "2"), entry(&a, "3")]).await;
    process_all(&*store).await;
    let waiting = append(&*store, &[entry(&b, "4")]).await;
    let unknown = [Ticket(0), Ticket(-1), Ticket(i64::MAX), Ticket(i64::MIN), Ticket(waiting[0].0 + 1)];
    let asked: Vec<Ticket> = [&done[..], &waiting, &unknown, &done[..1]].concat();
    let states = store.tickets(&asked).await.unwrap();
    assert_eq!(states.len(), 4);
    assert_eq!(states[&done[0]], TicketState::Processed(a.id, LeafIndex(0)));
    assert_eq!(states[&done[1]], TicketState::Processed(b.id, LeafIndex(0)));
    assert_eq!(states[&done[2]], TicketState::Processed(a.id, LeafIndex(1)));
    assert_eq!(states[&waiting[0]], TicketState::Accepted(b.id));
    assert!(store.tickets(&[]).await.unwrap().is_empty());
}
