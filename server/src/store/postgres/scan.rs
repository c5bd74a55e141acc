//! Reads a long range of entries from PostgreSQL, as fast as it gives them out.
//!
//! Implements the binary format of COPY (PostgreSQL manual, "COPY"). Rows are handed on from where they were received:
//! no allocation for each.

use std::ops::Range;

use attestlog_core::LeafIndex;
use futures_util::{FutureExt, StreamExt};
use sqlx::postgres::PgPool;

use super::{STATEMENT_TIMEOUT, failure::classify, timed_out, to_i64, to_u64, within};
use crate::store::{EntrySink, LogId, StoreError};

/// A backend that was set to these has only the index to read in order, and compiles nothing.
const BEGIN: &str = "begin isolation level read committed read only; set local enable_seqscan = off;
    set local enable_bitmapscan = off; set local enable_sort = off; set local jit = off;
    set local max_parallel_workers_per_gather = 0; set local statement_timeout = 0";

/// Hands the entries of a range to the sink, in order.
pub(super) async fn scan(
    pool: &PgPool,
    log: LogId,
    range: Range<u64>,
    sink: EntrySink<'_>,
) -> Result<(), StoreError> {
    let mut connection = pool.acquire().await.map_err(classify)?;
    // Whoever stops in the middle of a COPY leaves the rest of it in the connection.
    connection.close_on_drop();
    within(sqlx::raw_sql(BEGIN).execute(&mut *connection)).await?;
    // COPY takes no parameters; these are numbers.
    let statement = format!(
        "copy (select id, data, leaf_hash from attestlog.processed_log
               where log_id = {} and id >= {} and id < {} order by id) to stdout (format binary)",
        log.0,
        to_i64(range.start),
        to_i64(range.end)
    );
    let mut chunks = within(connection.copy_out_raw(&statement)).await?;
    let mut parser = CopyParser::default();
    loop {
        // A chunk is a row, and most are there already: no timer for those.
        let chunk = match chunks.next().now_or_never() {
            Some(chunk) => chunk,
            None => tokio::time::timeout(STATEMENT_TIMEOUT, chunks.next())
                .await
                .map_err(|_| classify(timed_out()))?,
        };
        match chunk {
            Some(chunk) => parser.feed(&chunk.map_err(classify)?, sink)?,
            None => break,
        }
    }
    if parser.at_end { Ok(()) } else { Err(unreadable()) }
}

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Takes the stream in whatever pieces it comes; PostgreSQL sends a row in one.
#[derive(Default)]
struct CopyParser {
    after_header: bool,
    at_end: bool,
    /// The beginning of a row whose end has not come yet.
    rest: Vec<u8>,
}

impl CopyParser {
    fn feed(&mut self, chunk: &[u8], sink: EntrySink<'_>) -> Result<(), StoreError> {
        if self.rest.is_empty() {
            let unread = self.read(chunk, sink)?;
            self.rest.extend_from_slice(unread);
            return Ok(());
        }
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(chunk);
        self.rest = self.read(&bytes, sink)?.to_vec();
        Ok(())
    }

    /// Reads all that is complete; returns the rest.
    fn read<'b>(&mut self, mut bytes: &'b [u8], sink: EntrySink<'_>) -> Result<&'b [u8], StoreError> {
        if !self.after_header {
            let Some(after) = skip_header(bytes)? else { return Ok(bytes) };
            self.after_header = true;
            bytes = after;
        }
        while !bytes.is_empty() {
            if self.at_end {
                return Err(unreadable());
            }
            let Some((row, after)) = read_row(bytes)? else { break };
            match row {
                Some((id, data, leaf_hash)) => sink(LeafIndex(to_u64(id)?), data, leaf_hash),
                None => self.at_end = true,
            }
            bytes = after;
        }
        Ok(bytes)
    }
}

/// Signature, flags, and an extension that is skipped; `None` if it is not all there yet.
fn skip_header(bytes: &[u8]) -> Result<Option<&[u8]>, StoreError> {
    let Some((signature, rest)) = bytes.split_first_chunk::<11>() else { return Ok(None) };
    if signature != SIGNATURE {
        return Err(unreadable());
    }
    let Some((_flags, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| unreadable())?;
    Ok(rest.get(length..))
}

/// Index, entry, leaf hash.
type Row<'b> = (i64, &'b [u8], &'b [u8]);

/// What was read and what follows it; `None` if it is not all there yet.
type Read<'b, T> = Result<Option<(T, &'b [u8])>, StoreError>;

/// The next row, or `None` in its place at the end of the stream.
#[inline]
fn read_row(bytes: &[u8]) -> Read<'_, Option<Row<'_>>> {
    let Some((columns, rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
    match i16::from_be_bytes(*columns) {
        3 => {}
        -1 => return Ok(Some((None, rest))),
        _ => return Err(unreadable()),
    }
    let Some((id, rest)) = read_field(rest)? else { return Ok(None) };
    let Some((data, rest)) = read_field(rest)? else { return Ok(None) };
    let Some((leaf_hash, rest)) = read_field(rest)? else { return Ok(None) };
    let id = id.try_into().map(i64::from_be_bytes).map_err(|_| unreadable())?;
    Ok(Some((Some((id, data, leaf_hash)), rest)))
}

/// A field is its length and its bytes; there are no nulls here.
#[inline]
fn read_field(bytes: &[u8]) -> Read<'_, &[u8]> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| unreadable())?;
    Ok(rest.split_at_checked(length))
}

fn unreadable() -> StoreError {
    StoreError::Damaged("PostgreSQL sent rows that are not those asked for".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(rows: &[(i64, &[u8])]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        for (id, data) in rows {
            bytes.extend(3_i16.to_be_bytes());
            for field in [id.to_be_bytes().as_slice(), data, &[7; 32]] {
                bytes.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
                bytes.extend(field);
            }
        }
        bytes.extend((-1_i16).to_be_bytes());
        bytes
    }

    type Seen = Vec<(u64, Vec<u8>)>;

    fn read(chunks: &[&[u8]]) -> Result<(Seen, bool), StoreError> {
        let (mut parser, mut seen) = (CopyParser::default(), Vec::new());
        for chunk in chunks {
            parser.feed(chunk, &mut |index, data, hash| {
                assert_eq!(hash, [7; 32]);
                seen.push((index.0, data.to_vec()));
            })?;
        }
        Ok((seen, parser.at_end))
    }

    #[test]
    fn reads_rows_however_the_stream_is_cut() {
        let bytes = stream(&[(0, b"first"), (7, b""), (8, &[9; 300])]);
        let rows = vec![(0, b"first".to_vec()), (7, vec![]), (8, vec![9; 300])];
        for size in 1..=bytes.len() {
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(read(&chunks).unwrap(), (rows.clone(), true), "in pieces of {size}");
        }
        assert!(!read(&[&bytes[..bytes.len() - 1]]).unwrap().1);
    }

    #[test]
    fn refuses_a_stream_that_is_no_copy() {
        let bytes = stream(&[(0, b"first")]);
        let mut changed = bytes.clone();
        changed[0] ^= 1;
        assert!(read(&[&changed]).is_err());
        // A null, another number of columns, a negative index, something after the end.
        for (at, value) in [(19, 9), (21, 0xff), (25, 0xff), (33, 0xff)] {
            let mut changed = bytes.clone();
            changed[at] = value;
            assert!(read(&[&changed]).is_err(), "byte {at}");
        }
        assert!(read(&[&bytes, b"x"]).is_err());
    }
}
