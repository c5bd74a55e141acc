//! What an application's tests see of its log.

use attestlog::testing::{assert_logged, assert_not_logged, event, logged};
use attestlog::{DatabaseConnection, Event};
use futures_util::FutureExt;

use super::application::{self, OnPostgres, OnSqlite, voided};

/// An application, as its tests call it.
async fn look<C: DatabaseConnection>(audit: &attestlog::Audit, tx: &mut C, before: &[Event]) {
    let (one, two) = (voided(9).metadata("amount", 30), voided(10));
    audit.append(tx, &one).await.unwrap();
    audit.append_bytes(tx, b"not an event", None).await.unwrap();
    audit.append(tx, &two).await.unwrap();

    let all: Vec<Event> = before.iter().cloned().chain([one.clone(), two.clone()]).collect();
    assert_eq!(logged(tx, "default").await.unwrap(), all);
    assert_eq!(logged(tx, "nowhere").await.unwrap(), []);
    let found =
        assert_logged(tx, "default", event("invoice.voided").actor("usr_7").target("invoice", "9")).await;
    assert_eq!(found, one);
    assert_eq!(assert_logged(tx, "default", |event: &Event| event.id == two.id).await, two);
    assert_logged(tx, "default", "invoice.voided").await;
    assert_not_logged(tx, "default", "invoice.paid").await;

    let failed = assert_logged(tx, "default", event("invoice.paid").target("invoice", "9"));
    let message = panic_of(failed).await;
    assert!(
        message.contains("no event with action invoice.paid, target invoice 9 is logged in \"default\""),
        "{message}"
    );
    assert!(message.contains("invoice.voided by usr_7 to invoice 10"), "{message}");
    assert!(message.contains("not an event: \"not an event\""), "{message}");
    let message = panic_of(assert_not_logged(tx, "default", "invoice.voided")).await;
    assert!(message.starts_with("an event with action invoice.voided is logged"), "{message}");
}

async fn panic_of<T>(call: impl Future<Output = T>) -> String {
    let panic = std::panic::AssertUnwindSafe(call).catch_unwind().await.err().expect("it panics");
    *panic.downcast::<String>().expect("a message")
}

#[tokio::test]
async fn a_transaction_sees_what_is_processed_and_what_it_has_appended_on_postgresql() {
    let app = OnPostgres::start().await;
    let earlier = voided(1);
    let ticket = app.audit.append(&mut *app.pool.acquire().await.unwrap(), &earlier).await.unwrap();
    app.audit.receipt(ticket).await.unwrap();
    let mut tx = app.pool.begin().await.unwrap();
    look(&app.audit, &mut tx, std::slice::from_ref(&earlier)).await;
    tx.rollback().await.unwrap();
    assert_eq!(application::logged(&app.server).await, [earlier]);
}

#[tokio::test]
async fn a_transaction_sees_what_is_processed_and_what_it_has_appended_on_sqlite() {
    let app = OnSqlite::start().await;
    let earlier = voided(1);
    let ticket = app.audit.append(&mut *app.pool.acquire().await.unwrap(), &earlier).await.unwrap();
    app.audit.receipt(ticket).await.unwrap();
    let mut tx = app.pool.begin_with("begin immediate").await.unwrap();
    look(&app.audit, &mut tx, std::slice::from_ref(&earlier)).await;
    tx.rollback().await.unwrap();
    assert_eq!(application::logged(&app.server).await, [earlier]);
}
