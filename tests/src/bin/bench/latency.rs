//! From the moment when an append was due to the answer that a signed head covers it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Bench;
use super::load::{event, open_loop};
use super::process::{Server, client};
use super::sample::SampleLog;
use super::table::{Table, milliseconds, number};

/// Prints the table.
pub(crate) async fn run(bench: &Bench) {
    let mut table = Table::new(
        "From append to signed head",
        "Open loop at a fixed offered rate of HTTP `POST add`, one event each; from the moment when a request was due \
         to its answer, which comes once a published checkpoint covers the entry.",
        &["store", "server every", "offered/s", "answered/s", "p50 ms", "p99 ms", "max ms"],
    );
    let numbers = Arc::new(AtomicU64::new(0));
    for (name, postgres) in [("PostgreSQL", true), ("embedded", false)] {
        let log =
            if postgres { SampleLog::on_postgres().await } else { SampleLog::on_the_embedded_store().await };
        for interval in ["50ms", "100ms"] {
            let server = Server::start(&bench.program, log.database(), log.data(), interval).await;
            for rate in [100, 500, 2000] {
                let (client, url) = (client(), format!("{}/logs/default/add", server.address));
                let call = || {
                    let body = event(numbers.fetch_add(1, Ordering::Relaxed));
                    let request = client.post(&url).body(body);
                    async move {
                        let answer = request.send().await.expect("an answer");
                        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap_or_default());
                    }
                };
                let measured = open_loop(rate, bench.seconds(4.0), call).await;
                table.row(&[
                    name.to_owned(),
                    interval.replace("ms", " ms"),
                    number(f64::from(rate)),
                    number(measured.rate()),
                    milliseconds(measured.percentile(50)),
                    milliseconds(measured.percentile(99)),
                    milliseconds(measured.percentile(100)),
                ]);
            }
            server.stop().await;
        }
    }
    table.print();
}
