//! Schema and logs.

use attestlog_core::{RightEdge, TreeSize};
use attestlog_server::store::{Events, NewLog, StoreError, StoredCheckpoint};

use super::{Database, all_entries, append, create, entry, keyed, new_log, process_all, texts};

pub(super) async fn a_migrated_database_stays_migrated(database: &dyn Database) {
    let store = database.open().await;
    assert!(store.is_migrated().await.unwrap());
    store.migrate().await.unwrap();
    assert!(store.is_migrated().await.unwrap());
    assert_eq!(store.durability_warnings().await.unwrap(), Vec::<String>::new());
}

pub(super) async fn many_servers_can_migrate_at_once(database: &dyn Database) {
    let opened = futures_util::future::join_all((0..20).map(|_| database.open())).await;
    for store in opened {
        assert!(store.is_migrated().await.unwrap());
    }
}

pub(super) async fn a_new_database_has_no_logs(database: &dyn Database) {
    let store = database.open().await;
    assert_eq!(store.logs().await.unwrap(), []);
    assert_eq!(store.log("default").await.unwrap(), None);
    assert_eq!(store.backlog(10).await.unwrap().rows, 0);
    assert_eq!(store.backlog(10).await.unwrap().oldest_seconds, 0.0);
}

pub(super) async fn a_new_log_is_empty_and_has_its_checkpoint(database: &dyn Database) {
    let store = database.open().await;
    let new = NewLog { events: Events::Strict, ..new_log("a.b_c-9") };
    let log = store.create_log(&new).await.unwrap();
    assert_eq!(
        (&log.name, &log.origin, &log.vkey, log.events),
        (&new.name, &new.origin, &new.vkey, new.events)
    );
    assert_eq!(store.log("a.b_c-9").await.unwrap().as_ref(), Some(&log));
    let tree = store.tree(log.id).await.unwrap().unwrap();
    assert_eq!((tree.log, tree.edge, tree.signed_size), (log.id, RightEdge::EMPTY, TreeSize(0)));
    let checkpoint = StoredCheckpoint { size: TreeSize(0), note: new.checkpoint };
    assert_eq!(store.checkpoint(log.id).await.unwrap(), Some(checkpoint));
}

pub(super) async fn logs_are_listed_by_name_with_their_signed_size(database: &dyn Database) {
    let store = database.open().await;
    let b = create(&*store, "b").await;
    let a = create(&*store, "a").await;
    append(&*store, &[entry(&b, "1"), entry(&b, "2")]).await;
    process_all(&*store).await;
    append(&*store, &[entry(&b, "3")]).await;
    assert_eq!(store.logs().await.unwrap(), [(a, TreeSize(0)), (b, TreeSize(2))]);
}

pub(super) async fn a_name_or_an_origin_that_exists_is_refused(database: &dyn Database) {
    let store = database.open().await;
    create(&*store, "a").await;
    for new in [
        NewLog { origin: "other".to_owned(), ..new_log("a") },
        NewLog { name: "other".to_owned(), ..new_log("a") },
        new_log("a"),
    ] {
        match store.create_log(&new).await {
            Err(StoreError::LogExists { name, origin }) => {
                assert_eq!((&name, &origin), (&new.name, &new.origin));
            }
            other => panic!("{new:?}: {other:?}"),
        }
    }
    assert_eq!(store.logs().await.unwrap().len(), 1);
    create(&*store, "other").await;
}

pub(super) async fn a_name_that_is_no_path_segment_is_refused(database: &dyn Database) {
    let store = database.open().await;
    let long = "a".repeat(64);
    for name in ["", "A", "aB", ".a", "-a", "_a", "a/b", "a b", "a\n", "ä", "aä", "a%", "a*", long.as_str()]
    {
        let new = NewLog { name: name.to_owned(), ..new_log("x") };
        assert!(matches!(store.create_log(&new).await, Err(StoreError::Refused(_))), "{name:?}");
    }
    assert_eq!(store.logs().await.unwrap(), []);
    for name in ["0", "a-", "a.b", "..".replace("..", "9..").as_str(), &long[1..]] {
        create(&*store, name).await;
    }
}

pub(super) async fn an_origin_that_is_empty_or_too_long_is_refused(database: &dyn Database) {
    let store = database.open().await;
    for origin in [String::new(), "o".repeat(256), "ö".repeat(128)] {
        let new = NewLog { origin, ..new_log("x") };
        assert!(matches!(store.create_log(&new).await, Err(StoreError::Refused(_))), "{new:?}");
    }
    store.create_log(&NewLog { origin: "o".repeat(255), ..new_log("x") }).await.unwrap();
}

pub(super) async fn everything_is_there_after_a_restart(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    append(&*store, &[entry(&log, "1"), keyed(&log, "2", "key")]).await;
    process_all(&*store).await;
    let waiting = append(&*store, &[entry(&log, "3")]).await;
    store.close().await;

    let store = database.open().await;
    assert_eq!(store.log("a").await.unwrap().as_ref(), Some(&log));
    assert_eq!(texts(&all_entries(&*store, log.id).await), ["1", "2"]);
    assert_eq!(store.checkpoint(log.id).await.unwrap().unwrap().size, TreeSize(2));
    assert_eq!(store.backlog(10).await.unwrap().rows, 1);
    assert_eq!(store.tickets(&waiting).await.unwrap().len(), 1);
    let after = append(&*store, &[entry(&log, "4")]).await;
    assert!(after[0] > waiting[0], "no ticket is given twice");
    process_all(&*store).await;
    assert_eq!(texts(&all_entries(&*store, log.id).await), ["1", "2", "3", "4"]);
}

pub(super) async fn nothing_is_answered_after_close(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    store.close().await;
    store.close().await;
    assert!(matches!(store.logs().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.append(&[entry(&log, "1")]).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.begin_batch().await, Err(StoreError::Unavailable(_))));
}
