//! `attestlog search`: finds events by what they say, the newest first.

use std::io::IsTerminal;
use std::sync::Arc;

use attestlog_core::{TreeSize, base64};
use attestlog_server::deployment::SecretSource;
use attestlog_server::progress::Progress;
use attestlog_server::search::{
    Answer, CatchUpError, Count, Fields, FoundEvent, Indexer, MAX_LIMIT, PageError, PageQuery, SearchError,
    page,
};
use attestlog_server::store::{Log, Store};
use clap::Args;

use super::Verdict;
use super::failure::Failure;
use super::filter::FilterOptions;
use super::options::{ServerOptions, StoreOptions, find_log};
use super::output::{self, Watch};
use super::remote::Remote;

/// The most characters of a column when a person looks.
const COLUMN: usize = 40;

/// Find events by what they say, the newest first
///
/// All that is given must hold. QUERY is words that the event has anywhere, in upper or lower case: plain words, "words
/// that stand together" in double quotes, or the beginning of a word and *. A time is RFC 3339, a date (its beginning,
/// UTC), or an age: 30m, 24h, 7d, 2w.
///
/// The answer is that of an index, and proves nothing: "attestlog receipt" and "attestlog verify" prove a hit. Without a
/// server, the index in an SQLite file is brought up to date first; on PostgreSQL it is read as it is.
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

/// Who is asked.
enum Target {
    Store { store: Arc<dyn Store>, log: Log, size: TreeSize },
    Server(Remote),
}

impl SearchCommand {
    pub(crate) async fn run(self) -> Result<Verdict, Failure> {
        let target = self.target().await?;
        let mut query =
            PageQuery { filter: self.filter.text(), cursor: None, limit: Some(self.limit.min(MAX_LIMIT)) };
        let mut found = target.ask(&self.log, &query).await?;
        while let Some((_, cursor)) = found.next.as_deref().and_then(|link| link.rsplit_once("cursor=")) {
            let rest = self.limit.saturating_sub(found.events.len() as u64);
            if rest == 0 {
                break;
            }
            query.cursor = Some(cursor.to_owned());
            query.limit = Some(rest.min(MAX_LIMIT));
            let more = target.ask(&self.log, &query).await?;
            found.events.extend(more.events);
            found.next = more.next;
        }
        self.print(&found)?;
        Ok(Verdict::Holds)
    }

    async fn target(&self) -> Result<Target, Failure> {
        if let Some(remote) = self.server.remote()? {
            return Ok(Target::Server(remote));
        }
        let store = self.store.open().await?;
        let log = find_log(&*store, &self.log).await?;
        if !self.store.deployment(SecretSource::DataDirectory).is_postgres() {
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
                eprintln!("{shown} of more than {} events; --limit shows more", u64::from(value).max(shown))
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
            Self::Server(remote) => remote.events(name, query).await,
            Self::Store { store, log, size } => Ok(page(&**store, log, *size, query).await?),
        }
    }
}

/// Brings the index of a log up to date.
pub(crate) async fn catch_up(indexer: &Indexer, log: &Log, progress: &Progress) -> Result<(), Failure> {
    indexer.catch_up(log.id, progress).await.map_err(|error| match error {
        CatchUpError::Store(error) => error.into(),
        error => Failure::new(format!("{error}; \"attestlog reindex --missing\" goes on")),
    })
}

/// Index, time, actor, action, targets, outcome; of what is no event its text.
fn row(event: &FoundEvent) -> [String; 6] {
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
