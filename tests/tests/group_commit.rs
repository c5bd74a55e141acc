//! Requests that arrive together share transactions. Alone in its file: it reads what the whole process measures.

#![expect(clippy::unwrap_used, reason = "what cannot be unwrapped fails the test")]

use attestlog_tests::server::TestServer;
use futures_util::future::join_all;

#[tokio::test(flavor = "multi_thread")]
async fn many_appends_at_once_take_few_transactions() {
    let server = TestServer::start().await;
    join_all((0..200).map(|number| server.add(format!("entry {number}")))).await;
    let text = server.get("/metrics").await.text().await.unwrap();
    let measure = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(measure("attestlog_entries_appended_total"), 200);
    let transactions = measure("attestlog_append_transaction_seconds_count");
    assert!(transactions < 100, "{transactions} transactions for 200 requests");
    server.stop().await;
}
