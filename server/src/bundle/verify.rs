//! Verifies a bundle, offline, in bounded memory, whoever made it.
//!
//! The archive is read as strictly as it is written: these members in this order, and nothing else. With receipts it is
//! read at two places at once, so that each receipt meets the line of its entry.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use attestlog_core::{
    Checkpoint, Error, Hash, MAX_ENTRY_SIZE, Policy, Receipt, RightEdge, SignedCheckpoint, UncheckedError,
    VerifierKey, VerifyError,
};
use flate2::read::MultiGzDecoder;
use serde::Serialize;

use super::{CHECKPOINT, ENTRIES, EntryLine, FORMAT, MANIFEST, Manifest, Proof, receipt_name};

/// The longest manifest, checkpoint or receipt in bytes; these are read as a whole.
const MAX_TEXT: u64 = 1 << 16;

/// The longest line in bytes: JSON needs at most six for one of an entry.
const MAX_LINE: u64 = 6 * MAX_ENTRY_SIZE as u64 + 64;

/// The entries that are hashed at once: 16 MB at most.
const ENTRIES_AT_ONCE: u64 = 256;

/// The most zeros after the archive's end in bytes.
const MAX_PADDING: u64 = 1 << 20;

/// What a bundle has proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BundleReport {
    /// The log's origin.
    pub origin: String,
    /// The size of the checkpoint's tree.
    pub tree_size: u64,
    /// The index of the first entry.
    pub first_index: u64,
    /// The number of entries.
    pub count: u64,
    /// The bytes of the entries.
    pub bytes: u64,
    /// What the entries were searched by, as the bundle says: nothing proves that all that match are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<BTreeMap<String, String>>,
    /// What proves them.
    pub proof: Proof,
}

/// Why a bundle has proven nothing, in the three kinds that a caller acts on differently; and a file that was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The file could not be read.
    #[error("the bundle could not be read: {0}")]
    Io(#[source] io::Error),
    /// It is not a bundle, or contradicts itself.
    #[error("not a bundle: {member}: {reason}")]
    Malformed {
        /// The name in the archive, or what else cannot be read.
        member: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It was read, and its entries are not those of the log.
    #[error(
        "{}: {error}",
        index.map_or("the bundle is not proven".to_owned(), |index| format!("entry {index} is not proven"))
    )]
    NotProven {
        /// The first entry that is not; `None` if the bundle as a whole is not.
        index: Option<u64>,
        /// What was found.
        error: VerifyError,
    },
    /// A key or a cosignature is missing to check it.
    #[error("the bundle could not be checked: {0}")]
    Unchecked(UncheckedError),
}

impl BundleError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "unreadable_bundle",
            Self::Malformed { .. } => "malformed_bundle",
            Self::NotProven { error, .. } => error.code(),
            Self::Unchecked(error) => error.code(),
        }
    }

    fn of(member: &str, index: Option<u64>, error: Error) -> Self {
        match error {
            Error::Parse(error) => malformed(member, error),
            Error::Verify(error) => Self::NotProven { index, error },
            Error::Unchecked(error) => Self::Unchecked(error),
        }
    }
}

/// Verifies a bundle. All that is reported was proven by a checkpoint that `policy` accepts. Blocks while it reads.
///
/// # Errors
/// [`BundleError`].
pub fn verify_bundle(path: &Path, policy: &Policy) -> Result<BundleReport, BundleError> {
    let file = Arc::new(File::open(path).map_err(BundleError::Io)?);
    let mut archive = tar::Archive::new(open(&file)?);
    let mut members = Members::of(&mut archive)?;
    let manifest = read_manifest(&mut members)?;
    let checkpoint = read_checkpoint(&mut members, &manifest, policy)?;
    let bytes = match manifest.proof {
        Proof::Complete => verify_complete(&mut members, &manifest, &checkpoint)?,
        Proof::Receipts => {
            let mut second = tar::Archive::new(open(&file)?);
            let mut entries = Members::of(&mut second)?;
            entries.text(MANIFEST)?;
            entries.text(CHECKPOINT)?;
            members.expect(ENTRIES)?;
            verify_receipts(entries, &mut members, &manifest, &checkpoint, policy)?
        }
    };
    members.end()?;
    check_padding(archive.into_inner())?;
    let Manifest { origin, tree_size, first_index, count, filter, proof, .. } = manifest;
    Ok(BundleReport { origin, tree_size, first_index, count, bytes, filter, proof })
}

fn read_manifest(members: &mut Members<'_>) -> Result<Manifest, BundleError> {
    let text = members.text(MANIFEST)?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| malformed(MANIFEST, error))?;
    let Manifest { tree_size, first_index, count, proof, .. } = &manifest;
    let end = first_index.checked_add(*count).filter(|end| end <= tree_size);
    let is_complete = (*first_index, *count) == (0, *tree_size);
    let fits = end.is_some()
        && (*count > 0 || is_complete)
        && (*proof == Proof::Receipts || is_complete && manifest.filter.is_none());
    if manifest.format != FORMAT {
        Err(malformed(MANIFEST, format!("the format is not {FORMAT}")))
    } else if !fits || manifest.files != proof.files() {
        Err(malformed(MANIFEST, "indexes, tree size, proof and files contradict each other"))
    } else {
        Ok(manifest)
    }
}

fn read_checkpoint(
    members: &mut Members<'_>,
    manifest: &Manifest,
    policy: &Policy,
) -> Result<Checkpoint, BundleError> {
    let note = members.text(CHECKPOINT)?;
    let signed = SignedCheckpoint::parse(&note).map_err(|error| malformed(CHECKPOINT, error))?;
    let vkey = VerifierKey::parse(&manifest.vkey).map_err(|error| malformed(MANIFEST, error))?;
    let checkpoint = signed.open_with(policy).map_err(|error| BundleError::of(CHECKPOINT, None, error))?;
    // The policy may know several logs: the checkpoint is by the one that the manifest names.
    let fits = checkpoint.origin() == manifest.origin && checkpoint.size().0 == manifest.tree_size;
    if !fits || vkey.name() != manifest.origin || !policy.logs().any(|key| *key == vkey) {
        return Err(malformed(MANIFEST, "the checkpoint is of another log or size"));
    }
    Ok(checkpoint)
}

/// The bytes of all entries, which lead to the root.
fn verify_complete(
    members: &mut Members<'_>,
    manifest: &Manifest,
    checkpoint: &Checkpoint,
) -> Result<u64, BundleError> {
    let mut lines = Lines::of(members.next(ENTRIES)?, manifest);
    let (mut edge, mut full, mut bytes) = (RightEdge::EMPTY, Vec::new(), 0_u64);
    let mut left = manifest.count;
    while left > 0 {
        let some = left.min(ENTRIES_AT_ONCE);
        let entries: Vec<_> = (0..some).map(|_| lines.entry()).collect::<Result<_, _>>()?;
        edge.extend(&Hash::leaves(entries.iter().map(|(_, entry)| &**entry)), &mut full);
        full.clear();
        bytes += entries.iter().map(|(_, entry)| entry.len() as u64).sum::<u64>();
        left -= some;
    }
    lines.end()?;
    if edge.head() == checkpoint.head() {
        return Ok(bytes);
    }
    Err(BundleError::NotProven { index: None, error: VerifyError::RootMismatch })
}

/// The bytes of all entries, each proven by its receipt.
fn verify_receipts(
    mut entries: Members<'_>,
    receipts: &mut Members<'_>,
    manifest: &Manifest,
    checkpoint: &Checkpoint,
    policy: &Policy,
) -> Result<u64, BundleError> {
    let mut lines = Lines::of(entries.next(ENTRIES)?, manifest);
    let mut bytes = 0_u64;
    for _ in 0..manifest.count {
        let (index, entry) = lines.entry()?;
        let name = receipt_name(index);
        let text = receipts.text(&name)?;
        let receipt = Receipt::parse(&text).map_err(|error| malformed(&name, error))?;
        if receipt.index().0 != index {
            return Err(malformed(&name, format!("it is for the index {}", receipt.index())));
        }
        if receipt.verify_under(&entry, checkpoint).is_err() {
            // Say what is wrong; if nothing else is, it has another checkpoint than the bundle.
            receipt.verify(&entry, policy).map_err(|error| BundleError::of(&name, Some(index), error))?;
            return Err(malformed(&name, "its checkpoint is not the bundle's"));
        }
        bytes += entry.len() as u64;
    }
    lines.end()?;
    Ok(bytes)
}

/// The archive's bytes, uncompressed, from the beginning.
fn open(file: &Arc<File>) -> Result<Box<dyn Read>, BundleError> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    let mut first = [0; GZIP.len()];
    let read = file.read_at(&mut first, 0).map_err(BundleError::Io)?;
    let from_start = BufReader::with_capacity(1 << 16, Positioned { file: Arc::clone(file), position: 0 });
    if read == GZIP.len() && first == GZIP {
        return Ok(Box::new(MultiGzDecoder::new(from_start)));
    }
    Ok(Box::new(from_start))
}

/// Reads a file at a position of its own.
struct Positioned {
    file: Arc<File>,
    position: u64,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

/// The members of an archive, each of which must be the one that is expected next.
struct Members<'a> {
    entries: tar::Entries<'a, Box<dyn Read>>,
}

impl<'a> Members<'a> {
    fn of(archive: &'a mut tar::Archive<Box<dyn Read>>) -> Result<Self, BundleError> {
        // Raw: an extension that renames the next member would be read into memory, whatever its size.
        let entries = archive.entries().map_err(|error| unreadable("the archive", error))?.raw(true);
        Ok(Self { entries })
    }

    fn next(&mut self, name: &str) -> Result<tar::Entry<'a, Box<dyn Read>>, BundleError> {
        let member = self.entries.next().ok_or_else(|| malformed(name, "it is missing"))?;
        let member = member.map_err(|error| unreadable(name, error))?;
        let header = member.header();
        if header.entry_type() != tar::EntryType::Regular || header.path_bytes() != name.as_bytes() {
            return Err(malformed(name, "another member stands in its place"));
        }
        Ok(member)
    }

    /// Goes past a member.
    fn expect(&mut self, name: &str) -> Result<(), BundleError> {
        self.next(name).map(|_| ())
    }

    fn text(&mut self, name: &str) -> Result<Vec<u8>, BundleError> {
        let member = self.next(name)?;
        if member.size() > MAX_TEXT {
            return Err(malformed(name, format!("it has more than {MAX_TEXT} bytes")));
        }
        let (mut text, size) = (Vec::new(), member.size());
        member.take(MAX_TEXT).read_to_end(&mut text).map_err(|error| unreadable(name, error))?;
        if text.len() as u64 == size { Ok(text) } else { Err(malformed(name, "it is cut off")) }
    }

    fn end(&mut self) -> Result<(), BundleError> {
        match self.entries.next() {
            None => Ok(()),
            Some(Err(error)) => Err(unreadable("the archive", error)),
            Some(Ok(_)) => Err(malformed("the archive", "it has a member too many")),
        }
    }
}

/// After an archive's end there are zeros, which some programs add.
fn check_padding(rest: Box<dyn Read>) -> Result<(), BundleError> {
    let mut padding = Vec::new();
    rest.take(MAX_PADDING + 1).read_to_end(&mut padding).map_err(|error| unreadable("the archive", error))?;
    if padding.len() as u64 > MAX_PADDING || padding.iter().any(|&byte| byte != 0) {
        return Err(malformed("the archive", "something follows its end"));
    }
    Ok(())
}

/// The lines of the entries.
struct Lines<R> {
    reader: BufReader<R>,
    first: u64,
    next: u64,
    /// Whether the next index may be larger than `next`.
    gaps: bool,
    line: Vec<u8>,
}

impl<R: Read> Lines<R> {
    fn of(reader: R, manifest: &Manifest) -> Self {
        let reader = BufReader::with_capacity(1 << 16, reader);
        let first = manifest.first_index;
        Self { reader, first, next: first, gaps: manifest.filter.is_some(), line: Vec::new() }
    }

    /// An entry and its index.
    fn entry(&mut self) -> Result<(u64, Vec<u8>), BundleError> {
        self.line.clear();
        let mut reader = (&mut self.reader).take(MAX_LINE);
        reader.read_until(b'\n', &mut self.line).map_err(|error| unreadable(ENTRIES, error))?;
        let index = self.next;
        let at = move |reason: &dyn std::fmt::Display| malformed(ENTRIES, format!("entry {index}: {reason}"));
        let line =
            self.line.strip_suffix(b"\n").ok_or_else(|| at(&"its line is missing, cut off or too long"))?;
        let line: EntryLine<'_> = serde_json::from_slice(line).map_err(|error| at(&error))?;
        let first = self.next == self.first;
        if line.index != index && (first || !self.gaps || line.index < index) {
            return Err(at(&format!("the index {} stands in its place", line.index)));
        }
        let index = line.index;
        let entry = line.into_entry().map_err(|error| at(&error))?;
        self.next = index.saturating_add(1);
        Ok((index, entry))
    }

    fn end(mut self) -> Result<(), BundleError> {
        let rest = self.reader.fill_buf().map_err(|error| unreadable(ENTRIES, error))?;
        if rest.is_empty() { Ok(()) } else { Err(malformed(ENTRIES, "it has more lines than entries")) }
    }
}

fn malformed(member: &str, reason: impl ToString) -> BundleError {
    BundleError::Malformed { member: member.to_owned(), reason: reason.to_string() }
}

/// What cannot be unpacked is malformed; only the operating system's own errors are not the bundle's fault.
fn unreadable(member: &str, error: io::Error) -> BundleError {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    match error.kind() {
        InvalidData | InvalidInput | Other | UnexpectedEof => malformed(member, error),
        _ => BundleError::Io(error),
    }
}
