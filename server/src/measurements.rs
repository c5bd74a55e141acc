//! Where measurements are collected: one recorder a process, rendered for Prometheus.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

/// The upper bounds of the buckets of durations, in seconds.
const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// How often what was recorded is put into its buckets, so that it does not pile up where nobody asks for it.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// The recorder of this process, which the first call installs.
pub fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(install).clone()
}

/// What was measured, in Prometheus' text format, and the standard measures of this process: its processor time, its
/// memory, its open files.
pub fn render(recorder: &PrometheusHandle) -> String {
    metrics_process::Collector::default().collect();
    recorder.render()
}

/// Keeps the recorder small until `stop`.
pub async fn tidy(recorder: PrometheusHandle, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(TIDY_EVERY)).await.is_some() {
        recorder.run_upkeep();
    }
}

fn install() -> PrometheusHandle {
    let builder = PrometheusBuilder::new().set_buckets(&SECONDS).unwrap_or_default();
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another recorder collects what this process measures; /metrics stays empty");
    }
    describe();
    handle
}

fn describe() {
    metrics_process::Collector::default().describe();
    describe_counter!("attestlog_http_requests_total", "Requests answered, by method, route and status.");
    describe_histogram!("attestlog_http_request_seconds", "How long requests took.");
    describe_counter!("attestlog_entries_appended_total", "Entries made durable by this server.");
    describe_counter!("attestlog_append_failures_total", "Transactions of appends that failed.");
    describe_counter!("attestlog_appends_refused_total", "Requests refused since too much was waiting.");
    describe_histogram!("attestlog_append_transaction_seconds", "How long transactions of appends took.");
    describe_gauge!("attestlog_unprocessed_rows", "Entries that have no index yet.");
    describe_gauge!("attestlog_oldest_unprocessed_seconds", "The age of the oldest of them; 0 without any.");
    describe_gauge!(
        "attestlog_last_published_head_age_seconds",
        "Seconds since this server last published a head of any log, or since it was started."
    );
    describe_gauge!("attestlog_sequencer_active", "1 while this server processes, 0 while another one does.");
    describe_counter!("attestlog_entries_processed_total", "Entries that this server added to trees.");
    describe_counter!("attestlog_heads_signed_total", "Checkpoints that this server signed.");
    describe_histogram!("attestlog_batch_seconds", "How long batches took.");
    describe_counter!("attestlog_batch_failures_total", "Batches that failed, to be tried again.");
    describe_counter!(
        "attestlog_refused_heads_total",
        "Heads that were not signed: they contradict history."
    );
    describe_gauge!(
        "attestlog_search_lag_entries",
        "Entries of the trees that the search index does not have."
    );
    describe_gauge!(
        "attestlog_search_lag_seconds",
        "The time since the oldest of them was appended; 0 without any."
    );
    describe_counter!(
        "attestlog_search_indexed_total",
        "Entries that this server added to the search index."
    );
    describe_counter!(
        "attestlog_search_failures_total",
        "Steps of the search index that failed, to be tried again."
    );
}
