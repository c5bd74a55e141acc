//! Writes a bundle: in bounded memory, checked while it is written, and under its name only once it is complete.
//!
//! A crash leaves files that end in `.partial` beside the target, and nothing under its name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use attestlog_core::{
    Checkpoint, Hash, InclusionProof, LeafIndex, ParseError, Receipt, RightEdge, TILE_WIDTH, format_tile,
};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::{CHECKPOINT, ENTRIES, EntryLine, FORMAT, MANIFEST, Manifest, Proof, receipt_name};
use crate::partial_file::PartialFile;
use crate::progress::Progress;
use crate::prover::{self, ProveError};
use crate::store::{Log, LogId, Store, StoreError};

/// The entries that are asked for at once.
const ENTRIES_AT_ONCE: u64 = 4096;

/// What to export.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Which entries.
    pub entries: Entries,
    /// Whether to add receipts also if all entries are there, so that each can be taken out and proven by itself.
    pub receipts: bool,
}

/// Which entries to export.
#[derive(Clone, Debug)]
pub enum Entries {
    /// All that the checkpoint covers.
    All,
    /// Those of a half-open range of indexes.
    Range(Range<u64>),
    /// Those that a search has found.
    Found {
        /// Their indexes, in any order.
        indexes: Vec<u64>,
        /// What was searched for, by the names of the filters.
        filter: BTreeMap<String, String>,
    },
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The range is empty, or not covered by the checkpoint.
    #[error("the checkpoint covers {size} entries, and {} to {} is no part of them", indexes.start, indexes.end)]
    NoSuchEntries {
        /// The half-open range that was asked for.
        indexes: Range<u64>,
        /// The checkpoint's size.
        size: u64,
    },
    /// The search has found no entry that the checkpoint covers.
    #[error("no entry matches, so there is nothing to export")]
    NothingFound,
    /// The stored entries are not those that the checkpoint was signed for.
    #[error(
        "the entries are not those of the checkpoint{}: run attestlog fsck",
        index.map_or(String::new(), |index| format!(", entry {index} to begin with"))
    )]
    NotProven {
        /// The first of them, where it is known.
        index: Option<u64>,
    },
    /// A proof could not be made.
    #[error("a proof could not be made: {0}")]
    Prove(#[from] ProveError),
    /// A receipt could not be made.
    #[error("a receipt could not be made: {0}")]
    Receipt(#[from] ParseError),
    /// The database could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be written.
    #[error("{path}: {source}")]
    Io {
        /// The bundle's name.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The caller asked to stop.
    #[error("the export was ended before it was complete")]
    Cancelled,
}

/// Writes the bundle to `target`, replacing what is there; compressed if the name ends in `.gz` or `.tgz`. Everything is
/// proven by `checkpoint`, which is published. Progress counts each entry once, and once more for its receipt.
///
/// # Errors
/// [`ExportError`]; then nothing has changed under the name.
pub async fn export(
    store: &dyn Store,
    log: &Log,
    checkpoint: &Checkpoint,
    selection: Selection,
    target: &Path,
    progress: &Progress,
) -> Result<Manifest, ExportError> {
    let size = checkpoint.size().0;
    let (runs, filter) = runs(selection.entries, size)?;
    let first_index = runs.first().map_or(0, |run| run.start);
    let count = runs.iter().map(|run| run.end - run.start).sum();
    let proof = if count == size && !selection.receipts { Proof::Complete } else { Proof::Receipts };
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        origin: checkpoint.origin().to_owned(),
        vkey: log.vkey.clone(),
        tree_size: size,
        first_index,
        count,
        filter: filter.filter(|_| proof == Proof::Receipts),
        proof,
        files: proof.files(),
    };
    let passes = if proof == Proof::Receipts { 2 } else { 1 };
    progress.expect(manifest.count.saturating_mul(passes));
    let export = Export { store, log: log.id, checkpoint, runs, progress };
    export.write(&manifest, target).await?;
    Ok(manifest)
}

/// The chosen indexes as runs without gaps, in order, none empty, and what they were searched by.
#[expect(clippy::type_complexity, reason = "it is taken apart at once")]
fn runs(
    entries: Entries,
    size: u64,
) -> Result<(Vec<Range<u64>>, Option<BTreeMap<String, String>>), ExportError> {
    let (mut indexes, filter) = match entries {
        Entries::All => return Ok(((size > 0).then_some(0..size).into_iter().collect(), None)),
        Entries::Range(indexes) if indexes == (0..size) && size == 0 => return Ok((Vec::new(), None)),
        Entries::Range(indexes) if indexes.end > size || indexes.is_empty() => {
            return Err(ExportError::NoSuchEntries { indexes, size });
        }
        Entries::Range(indexes) => return Ok((vec![indexes], None)),
        Entries::Found { indexes, filter } => (indexes, filter),
    };
    indexes.sort_unstable();
    indexes.dedup();
    let mut runs: Vec<Range<u64>> = Vec::new();
    for index in indexes.into_iter().filter(|index| *index < size) {
        match runs.last_mut() {
            Some(run) if run.end == index => run.end += 1,
            _ => runs.push(index..index + 1),
        }
    }
    if runs.is_empty() { Err(ExportError::NothingFound) } else { Ok((runs, Some(filter))) }
}

struct Export<'a> {
    store: &'a dyn Store,
    log: LogId,
    checkpoint: &'a Checkpoint,
    runs: Vec<Range<u64>>,
    progress: &'a Progress,
}

impl Export<'_> {
    async fn write(&self, manifest: &Manifest, target: &Path) -> Result<(), ExportError> {
        let io_error = |source| ExportError::Io { path: target.to_owned(), source };
        let entries = PartialFile::create(target, ".entries.partial").map_err(io_error)?;
        let leaves = self.write_entries(manifest, entries.file().map_err(io_error)?, target).await?;
        let archive = PartialFile::create(target, ".partial").map_err(io_error)?;
        let mut tar = Archive::new(target, archive.file().map_err(io_error)?);
        let text = serde_json::to_vec_pretty(manifest).map_err(io::Error::from).map_err(io_error)?;
        tar.add(MANIFEST, &text).map_err(io_error)?;
        tar.add(CHECKPOINT, self.checkpoint.format().as_bytes()).map_err(io_error)?;
        tar.add_file(ENTRIES, entries.path()).map_err(io_error)?;
        drop(entries);
        if manifest.proof == Proof::Receipts {
            self.write_receipts(&mut tar, leaves.path(), target).await?;
        }
        tar.finish().map_err(io_error)?;
        archive.publish(target).map_err(io_error)
    }

    /// Writes a line an entry, and their leaf hashes to a file of their own. Without receipts the root is checked.
    async fn write_entries(
        &self,
        manifest: &Manifest,
        lines: File,
        target: &Path,
    ) -> Result<PartialFile, ExportError> {
        let io_error = |source| ExportError::Io { path: target.to_owned(), source };
        let leaves = PartialFile::create(target, ".leaves.partial").map_err(io_error)?;
        let mut lines = BufWriter::new(lines);
        let mut hashes = BufWriter::new(leaves.file().map_err(io_error)?);
        let (mut edge, mut full) = (RightEdge::EMPTY, Vec::new());
        for run in &self.runs {
            let mut next = run.start;
            while next < run.end {
                let entries = self.read(next..run.end).await?;
                for entry in &entries {
                    serde_json::to_writer(&mut lines, &EntryLine::new(next, entry))
                        .map_err(io::Error::from)
                        .and_then(|()| lines.write_all(b"\n"))
                        .map_err(io_error)?;
                    next += 1;
                }
                let leaves = Hash::leaves(entries.iter().map(Vec::as_slice));
                if manifest.proof == Proof::Complete {
                    edge.extend(&leaves, &mut full);
                    full.clear();
                } else {
                    hashes.write_all(&format_tile(&leaves)).map_err(io_error)?;
                }
            }
        }
        lines.flush().and_then(|()| hashes.flush()).map_err(io_error)?;
        if manifest.proof == Proof::Complete && edge.head() != self.checkpoint.head() {
            return Err(ExportError::NotProven { index: None });
        }
        Ok(leaves)
    }

    /// The first entries of a range, and at least one.
    async fn read(&self, range: Range<u64>) -> Result<Vec<Vec<u8>>, ExportError> {
        if self.progress.stop.is_cancelled() {
            return Err(ExportError::Cancelled);
        }
        let wanted = ENTRIES_AT_ONCE.min(range.end - range.start);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let entries = self.store.entries(self.log, LeafIndex(range.start), wanted).await?;
        if entries.is_empty() {
            return Err(ExportError::NotProven { index: Some(range.start) });
        }
        self.progress.add(entries.len() as u64);
        Ok(entries)
    }

    async fn write_receipts(
        &self,
        tar: &mut Archive,
        leaves: &Path,
        target: &Path,
    ) -> Result<(), ExportError> {
        let io_error = |source| ExportError::Io { path: target.to_owned(), source };
        let mut leaves = io::BufReader::new(File::open(leaves).map_err(io_error)?);
        for group in groups(&self.runs) {
            if self.progress.stop.is_cancelled() {
                return Err(ExportError::Cancelled);
            }
            let proofs = prover::inclusions(self.store, self.log, &group, self.checkpoint.size()).await?;
            for (index, proof) in group.iter().zip(proofs) {
                let mut leaf = [0; Hash::LEN];
                io::Read::read_exact(&mut leaves, &mut leaf).map_err(io_error)?;
                let receipt = self.receipt(index.0, proof, &Hash(leaf))?;
                tar.add(&receipt_name(index.0), receipt.as_bytes()).map_err(io_error)?;
            }
            self.progress.add(group.len() as u64);
        }
        Ok(())
    }

    fn receipt(&self, index: u64, proof: InclusionProof, leaf: &Hash) -> Result<String, ExportError> {
        let index = LeafIndex(index);
        if proof.root(leaf, index, self.checkpoint.size()) != Ok(self.checkpoint.root()) {
            return Err(ExportError::NotProven { index: Some(index.0) });
        }
        Ok(Receipt::new(index, proof, self.checkpoint.clone().into(), None)?.format())
    }
}

/// The indexes of the runs, those of one tile together: each tile is read once.
fn groups(runs: &[Range<u64>]) -> impl Iterator<Item = Vec<LeafIndex>> {
    let mut indexes = runs.iter().cloned().flatten().peekable();
    std::iter::from_fn(move || {
        let tile = |index: u64| index / TILE_WIDTH as u64;
        let first = indexes.next()?;
        let mut group = vec![LeafIndex(first)];
        while let Some(index) = indexes.next_if(|index| tile(*index) == tile(first)) {
            group.push(LeafIndex(index));
        }
        Some(group)
    })
}

struct Archive {
    tar: tar::Builder<Output>,
}

enum Output {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

impl Archive {
    fn new(target: &Path, file: File) -> Self {
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let file = BufWriter::with_capacity(1 << 16, file);
        let output = if super::is_compressed(&name) {
            Output::Gzip(Box::new(GzEncoder::new(file, Compression::fast())))
        } else {
            Output::Plain(file)
        };
        Self { tar: tar::Builder::new(output) }
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.tar.append_data(&mut header(bytes.len() as u64), name, bytes)
    }

    fn add_file(&mut self, name: &str, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        let mut header = header(file.metadata()?.len());
        self.tar.append_data(&mut header, name, io::BufReader::with_capacity(1 << 16, file))
    }

    fn finish(self) -> io::Result<()> {
        match self.tar.into_inner()? {
            Output::Plain(mut file) => file.flush(),
            Output::Gzip(gzip) => gzip.finish()?.flush(),
        }
    }
}

/// The same for the same bytes, whoever exports them and when.
fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(gzip) => gzip.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(gzip) => gzip.flush(),
        }
    }
}
