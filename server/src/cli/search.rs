//! `attestlog search`: finds events by what they say, the newest first.

use std::io::IsTerminal;
use std::sync::Arc;

use attestlog_core::{TreeSize, base64};
use attestlog_server::progress::Progress;
use attestlog_server::search::{Fields, Indexer, MAX_LIMIT, PageError, PageQuery, SearchError, page};
use attestlog_server::store::{Log, Store, StoreError};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Verdict;
use super::failure::Failure;
use super::filter::FilterOptions;
use super::options::{ServerOptions, StoreOptions, find_log};
use super::output::{self, Watch};
use super::remote::{Remote, prefix};

/// The most characters of a column when a person looks.
const COLUMN: usize = 40;

/// Find events by what they say, the newest first
///
/// All that is given must hold. QUERY is words that the event has anywhere, in upper or lower case: plain words, "words
/// that stand together" in double quotes, or the beginning of a word and *. A time is RFC 3339, a date (its beginning,
/// UTC), or an age: 30m, 24h, 7d, 2w.
///
/// The answer is that of an index, and proves nothing: "attestlog receipt" and "attestlog verify" prove a hit. Without a
/// server, the index of an embedded store is brought up to date first.
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "attestlog search default --since 24h",
    "attestlog search default --actor usr_7 --action 'invoice.*'",
    "attestlog search default --target invoice:inv_9 --outcome denied",
    "attestlog search default --since 2026-11-01 --until 2026-12-01 'password reset'",
    "attestlog search default '\"was voided\" inv*'",
    "attestlog search default --actor 'api_key:*' --limit 1000 --json",
    "attestlog search default --actor usr_7 --server https://log.example.com",
))]
pub(crate) struct SearchCommand {
    /// The log's name
    log: String,
    /// The most events
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Print the answer as one JSON document, each event with its exact text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: FilterOptions,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    server: ServerOptions,
}

/// An answer of a search, from a server or from here.
#[derive(Deserialize, Serialize)]
struct Answer {
    events: Vec<Event>,
    next: Option<String>,
    count: Count,
    indexed_size: u64,
    tree_size: u64,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
struct Count {
    value: u64,
    capped: bool,
}

#[derive(Deserialize, Serialize)]
struct Event {
    index: u64,
    time: String,
    time_from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    entry: String,
    receipt: String,
}

/// Who is asked.
enum Target {
    Store { store: Arc<dyn Store>, log: Log, size: TreeSize },
    Server(Remote),
}

impl SearchCommand {
    pub(crate) async fn run(self) -> Result<Verdict, Failure> {
        let target = self.target().await?;
        let filter = self.filter.text();
        let (mut found, mut next): (Option<Answer>, Option<String>) = (None, None);
        loop {
            let have = found.as_ref().map_or(0, |found| found.events.len() as u64);
            let limit = Some(self.limit.saturating_sub(have).clamp(1, MAX_LIMIT));
            let query = PageQuery { filter: filter.clone(), cursor: next.take(), limit };
            let answer = target.ask(&self.log, &query).await?;
            next = answer
                .next
                .as_deref()
                .and_then(|link| link.rsplit_once("cursor="))
                .map(|(_, cursor)| cursor.to_owned());
            let events = match &mut found {
                None => &found.insert(answer).events,
                Some(found) => {
                    found.events.extend(answer.events);
                    found.next = answer.next;
                    &found.events
                }
            };
            if next.is_none() || events.len() as u64 >= self.limit {
                break;
            }
        }
        if let Some(found) = &found {
            self.print(found)?;
        }
        Ok(Verdict::Holds)
    }

    async fn target(&self) -> Result<Target, Failure> {
        if let Some(remote) = self.server.remote()? {
            prefix(&self.log)?;
            return Ok(Target::Server(remote));
        }
        let store = self.store.open().await?;
        let log = find_log(&*store, &self.log).await?;
        if self.store.database.as_ref().is_none_or(String::is_empty) {
            let progress = Progress::default();
            let watch = Watch::start(&progress, "index");
            let done = catch_up(&Indexer::new(Arc::clone(&store)), &log, &progress).await;
            watch.end();
            done?;
        }
        let size = store.tree(log.id).await?.map_or(TreeSize(0), |tree| tree.signed_size);
        Ok(Target::Store { store, log, size })
    }

    fn print(&self, found: &Answer) -> Result<(), Failure> {
        if self.json {
            let text = serde_json::to_string(found).map_err(|error| Failure::new(error.to_string()))?;
            return output::line(&text);
        }
        let rows: Vec<[String; 6]> = found.events.iter().map(row).collect();
        let watched = std::io::stdout().is_terminal();
        if watched && !rows.is_empty() {
            output::write(table(&rows))?;
        } else {
            output::write(rows.iter().map(|row| format!("{}\n", row.join("\t"))).collect::<String>())?;
        }
        let shown = found.events.len() as u64;
        let Count { value, capped } = found.count;
        match (shown, found.next.is_some()) {
            (0, false) => eprintln!("no event is found"),
            (_, true) if capped => {
                eprintln!("{shown} of more than {} events; --limit shows more", value.max(shown))
            }
            (_, true) => eprintln!("{shown} of {value} events; --limit shows more"),
            _ => {}
        }
        if found.indexed_size < found.tree_size {
            eprintln!(
                "note: the index has {} of {} entries; a server adds the rest, or \"attestlog reindex --missing\"",
                found.indexed_size, found.tree_size
            );
        }
        Ok(())
    }
}

impl Target {
    async fn ask(&self, name: &str, query: &PageQuery) -> Result<Answer, Failure> {
        match self {
            Self::Server(remote) => remote.events(&query.link(name)).await,
            Self::Store { store, log, size } => {
                let answer = page(&**store, log, *size, query).await?;
                let text = serde_json::to_string(&answer).map_err(|error| Failure::new(error.to_string()))?;
                serde_json::from_str(&text).map_err(|error| Failure::new(error.to_string()))
            }
        }
    }
}

/// Brings the index of a log up to date.
pub(crate) async fn catch_up(indexer: &Indexer, log: &Log, progress: &Progress) -> Result<(), Failure> {
    match indexer.catch_up(Some(log.id), progress).await {
        Err(StoreError::Unavailable(_)) if progress.stop.is_cancelled() => {
            Err(Failure::new("interrupted; \"attestlog reindex --missing\" goes on"))
        }
        done => Ok(done?),
    }
}

/// Index, time, actor, action, targets, outcome; of what is no event its text.
fn row(event: &Event) -> [String; 6] {
    let data = match (&event.event, &event.data) {
        (Some(json), _) => json.get().as_bytes().to_vec(),
        (None, Some(data)) => base64::parse(data.as_bytes()).unwrap_or_default(),
        (None, None) => Vec::new(),
    };
    let fields = Fields::read(&data);
    let party = |party: &attestlog_server::search::Party| match (&party.kind, &party.id) {
        (Some(kind), Some(id)) => format!("{kind}:{id}"),
        (kind, id) => kind.clone().or_else(|| id.clone()).unwrap_or_default(),
    };
    let action = match &fields.action {
        Some(action) => action.clone(),
        None => String::from_utf8_lossy(&data).into_owned(),
    };
    let targets: Vec<String> = fields.targets.iter().map(party).collect();
    let cells = [
        event.index.to_string(),
        event.time.clone(),
        fields.actors.first().map(party).unwrap_or_default(),
        action,
        targets.join(" "),
        fields.outcome.unwrap_or_default(),
    ];
    cells.map(|cell| printable(&cell))
}

/// What somebody wrote into a log shall not move a terminal's cursor, nor end a line.
fn printable(text: &str) -> String {
    let mut line: String =
        text.chars().take(200).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(200).is_some() {
        line.push('…');
    }
    line
}

fn table(rows: &[[String; 6]]) -> String {
    let head = ["INDEX", "TIME", "ACTOR", "ACTION", "TARGETS", "OUTCOME"].map(str::to_owned);
    let cut = |cell: &String| match cell.char_indices().nth(COLUMN) {
        Some((end, _)) => format!("{}…", cell.get(..end).unwrap_or_default()),
        None => cell.clone(),
    };
    let rows: Vec<Vec<String>> =
        std::iter::once(&head).chain(rows).map(|row| row.iter().map(cut).collect()).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

impl From<PageError> for Failure {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Search(SearchError::Store(error)) => error.into(),
            error => Self::new(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_told_what_to_do_by_an_entry() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
        assert_eq!(printable(&"x".repeat(300)).chars().count(), 201);
    }

    #[test]
    fn columns_are_as_wide_as_they_need_be() {
        let row = ["7", "t", "user:a", &"é".repeat(60), "", "denied"].map(str::to_owned);
        let text = table(&[row]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("INDEX  TIME  ACTOR   ACTION"));
        assert!(lines[1].starts_with("7      t     user:a  ééé"));
        assert!(lines[1].ends_with("…           denied"));
    }
}
