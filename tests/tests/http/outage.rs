//! A database that goes away while the server runs, and comes back.

use attestlog_core::Receipt;
use attestlog_tests::databases::PostgresCluster;
use attestlog_tests::server::TestServer;

use super::{no_checkpoint, problem};

#[tokio::test(flavor = "multi_thread")]
async fn answers_503_while_the_database_is_down_and_goes_on_by_itself() {
    let cluster = tokio::task::spawn_blocking(PostgresCluster::start).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let server = TestServer::start_on(Some(cluster.url.clone()), directory, |_| {}).await;
    assert_eq!(server.add("before").await, 0);

    cluster.crash();
    let add = async || {
        let request = server.post("/logs/default/add", "text/plain", "during").header("idempotency-key", "1");
        request.send().await.unwrap()
    };
    problem(add().await, 503, "database_unavailable").await;
    problem(server.get("/readyz").await, 503, "database_unavailable").await;
    problem(no_checkpoint(&server).await, 503, "database_unavailable").await;
    assert_eq!(server.get("/healthz").await.status(), 200);

    cluster.start_again();
    // The same request again, as the answer says, until it is taken.
    let index = loop {
        let answer = add().await;
        if answer.status() == 200 {
            break answer.text().await.unwrap();
        }
        problem(answer, 503, "database_unavailable").await;
    };
    assert_eq!(index, "1");
    assert_eq!(server.get("/readyz").await.status(), 200);
    let policy = server.policy().await;
    for (index, entry) in [(0, "before"), (1, "during")] {
        let receipt = server.get(&format!("/logs/default/entries/{index}/receipt")).await;
        let receipt = Receipt::parse(&receipt.bytes().await.unwrap()).unwrap();
        receipt.verify(entry.as_bytes(), &policy).unwrap();
    }
    server.stop().await;
}
