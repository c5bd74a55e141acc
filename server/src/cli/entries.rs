//! Reads the entries of a file: each line's bytes, each line's JSON, or the whole file.
//!
//! It holds one batch at a time, whatever the file's size. A file that can be read twice is checked to its end before
//! its first entry goes anywhere.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use attestlog_core::{MAX_ENTRY_SIZE, validate_entry_size};
use attestlog_server::event::validate_json;
use clap::ValueEnum;
use tokio::sync::mpsc;

use super::failure::Failure;

/// The most entries of a batch.
const BATCH_ENTRIES: usize = 1000;

/// The bytes after which a batch is complete.
const BATCH_BYTES: usize = 1024 * 1024;

/// How a file is divided into entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Each line without its newline is an entry; empty lines are skipped
    Lines,
    /// As lines, and each must be JSON
    Ndjson,
    /// The whole file is one entry
    Raw,
}

/// What makes one line an entry of its log.
pub(crate) type Check = fn(&[u8]) -> Result<(), String>;

/// A file and how to read it.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// `-` is stdin.
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    /// The first line that counts, from 1 on.
    pub(crate) from_line: u64,
    /// What an entry must be, beyond its size.
    pub(crate) check: Check,
}

/// An entry and the line that it stands on.
#[derive(Clone, Debug)]
pub(crate) struct LineEntry {
    pub(crate) line: u64,
    pub(crate) data: Vec<u8>,
}

/// Some entries, in the order of their lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct EntryBatch {
    pub(crate) entries: Vec<LineEntry>,
    /// The bytes of the file that they and the skipped lines before them take.
    pub(crate) file_bytes: u64,
    /// The empty lines that were skipped.
    pub(crate) empty_lines: u64,
    bytes: usize,
}

/// How many entries a file has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) entries: u64,
    pub(crate) file_bytes: u64,
}

impl Source {
    /// Checks every entry, if the file can be read again; `None` if it cannot.
    pub(crate) fn check_all(&self) -> Result<Option<Count>, Failure> {
        if self.is_stdin() {
            return Ok(None);
        }
        let file = std::fs::metadata(&self.path).map_err(|error| Failure::io(&self.path, &error))?;
        if !file.is_file() {
            return Ok(None);
        }
        let mut reader = self.open()?;
        let mut count = Count::default();
        while let Some(batch) = reader.next_batch()? {
            count.entries += batch.entries.len() as u64;
            count.file_bytes += batch.file_bytes;
        }
        Ok(Some(count))
    }

    /// Reads batches in a thread of its own; one waits while another is stored.
    pub(crate) fn batches(self) -> mpsc::Receiver<Result<EntryBatch, Failure>> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            let mut reader = match self.open() {
                Ok(reader) => reader,
                Err(failure) => return drop(sender.blocking_send(Err(failure))),
            };
            // Nobody listens any more after the first failure to store.
            while let Some(batch) = reader.next_batch().transpose() {
                let failed = batch.is_err();
                if sender.blocking_send(batch).is_err() || failed {
                    return;
                }
            }
        });
        receiver
    }

    fn is_stdin(&self) -> bool {
        self.path == Path::new("-")
    }

    fn open(&self) -> Result<EntryReader, Failure> {
        let input: Box<dyn Read> = if self.is_stdin() {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(&self.path).map_err(|error| Failure::io(&self.path, &error))?)
        };
        let input = BufReader::with_capacity(256 * 1024, input);
        Ok(EntryReader { source: self.clone(), input, line: 0, ended: false })
    }
}

struct EntryReader {
    source: Source,
    input: BufReader<Box<dyn Read>>,
    line: u64,
    ended: bool,
}

impl EntryReader {
    /// The next entries; `None` at the end.
    fn next_batch(&mut self) -> Result<Option<EntryBatch>, Failure> {
        let mut batch = EntryBatch::default();
        while !self.ended && batch.entries.len() < BATCH_ENTRIES && batch.bytes < BATCH_BYTES {
            self.read_one(&mut batch)?;
            // The next read of a pipe may take long: what is here goes on first.
            if !batch.entries.is_empty() && !self.input.buffer().contains(&b'\n') && self.source.is_stdin() {
                break;
            }
        }
        Ok(if batch.file_bytes == 0 { None } else { Some(batch) })
    }

    fn read_one(&mut self, batch: &mut EntryBatch) -> Result<(), Failure> {
        let mut data = Vec::new();
        // One byte more than an entry may have, and its newline: enough to tell that it is too long.
        let limit = MAX_ENTRY_SIZE as u64 + 2;
        let read = match self.source.format {
            Format::Raw => self.input.by_ref().take(limit).read_to_end(&mut data),
            Format::Lines | Format::Ndjson => self.input.by_ref().take(limit).read_until(b'\n', &mut data),
        };
        let read = read.map_err(|error| Failure::io(&self.source.path, &error))?;
        if read == 0 && (self.source.format != Format::Raw || self.line > 0) {
            self.ended = true;
            return Ok(());
        }
        self.line += 1;
        batch.file_bytes += read as u64;
        let complete = self.source.format != Format::Raw && data.pop_if(|last| *last == b'\n').is_some();
        if self.line < self.source.from_line {
            return if complete { Ok(()) } else { self.skip_rest(batch) };
        }
        if data.is_empty() && self.source.format != Format::Raw {
            batch.empty_lines += 1;
            return Ok(());
        }
        self.check(&data)?;
        batch.bytes += data.len();
        batch.entries.push(LineEntry { line: self.line, data });
        Ok(())
    }

    /// Skips what is left of a line that does not count, and is longer than an entry may be.
    fn skip_rest(&mut self, batch: &mut EntryBatch) -> Result<(), Failure> {
        let skipped = self.input.skip_until(b'\n');
        let skipped = skipped.map_err(|error| Failure::io(&self.source.path, &error))?;
        batch.file_bytes += skipped as u64;
        Ok(())
    }

    fn check(&self, data: &[u8]) -> Result<(), Failure> {
        if validate_entry_size(data.len()).is_err() {
            let (size, most) = (data.len(), MAX_ENTRY_SIZE);
            return Err(self.failure(&if size == 0 {
                "it is empty, and an entry has at least one byte (entry_size)".to_owned()
            } else {
                format!("it has more than {most} bytes, the most of an entry (entry_size)")
            }));
        }
        if self.source.format == Format::Ndjson {
            validate_json(data).map_err(|error| self.failure(&error.to_string()))?;
        }
        (self.source.check)(data).map_err(|reason| self.failure(&reason))
    }

    fn failure(&self, reason: &str) -> Failure {
        let name =
            if self.source.is_stdin() { "stdin".into() } else { self.source.path.display().to_string() };
        match self.source.format {
            Format::Raw => Failure::new(format!("{name}: {reason}")),
            Format::Lines | Format::Ndjson => Failure::new(format!("{name}, line {}: {reason}", self.line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], format: Format, from_line: u64) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let source = Source { path: file.path().to_owned(), format, from_line, check: |_| Ok(()) };
        let mut reader = source.open().map_err(|failure| failure.to_string())?;
        let mut entries = Vec::new();
        while let Some(batch) = reader.next_batch().map_err(|failure| failure.to_string())? {
            entries.extend(batch.entries.into_iter().map(|entry| (entry.line, entry.data)));
        }
        Ok(entries)
    }

    fn entry(line: u64, text: &str) -> (u64, Vec<u8>) {
        (line, text.into())
    }

    #[test]
    fn a_line_is_an_entry_without_its_newline_and_an_empty_one_is_none() {
        let expected = vec![entry(1, "a"), entry(3, "b\r"), entry(4, "c")];
        assert_eq!(read(b"a\n\nb\r\nc", Format::Lines, 1).unwrap(), expected);
        assert_eq!(read(b"a\n\nb\r\nc\n", Format::Lines, 2).unwrap(), expected[1..]);
        assert_eq!(read(b"", Format::Lines, 1).unwrap(), []);
    }

    #[test]
    fn a_raw_file_is_one_entry_with_its_newlines() {
        assert_eq!(read(b"a\n\nb\n", Format::Raw, 1).unwrap(), [entry(1, "a\n\nb\n")]);
        assert!(read(b"", Format::Raw, 1).unwrap_err().contains("entry_size"));
    }

    #[test]
    fn an_entry_has_at_most_65535_bytes() {
        for format in [Format::Lines, Format::Raw] {
            assert_eq!(read(&vec![b'x'; 65_535], format, 1).unwrap().len(), 1);
            assert!(read(&vec![b'x'; 65_536], format, 1).unwrap_err().contains("entry_size"));
            assert!(read(&vec![b'x'; 200_000], format, 1).unwrap_err().contains("entry_size"));
        }
        let mut lines = vec![b'x'; 65_535];
        lines.extend(b"\nnext");
        assert_eq!(read(&lines, Format::Lines, 1).unwrap().len(), 2);
    }

    #[test]
    fn a_line_that_does_not_count_may_be_of_any_length() {
        let text = [&vec![b'x'; 300_000][..], b"\nb\n"].concat();
        assert_eq!(read(&text, Format::Lines, 2).unwrap(), [entry(2, "b")]);
        let text = [&vec![b'x'; 65_536][..], b"\nb\n"].concat();
        assert_eq!(read(&text, Format::Lines, 2).unwrap(), [entry(2, "b")]);
    }

    #[test]
    fn a_line_that_is_not_json_is_named() {
        let error = read(b"{}\n{\"a\":}\n", Format::Ndjson, 1).unwrap_err();
        assert!(error.contains("line 2"), "{error}");
        assert_eq!(read(b"{}\n{\"a\":}\n[]", Format::Ndjson, 3).unwrap(), [entry(3, "[]")]);
    }
}
