//! `import.chunk`: parses whole lines here and commits them in batches. The batches of a chunk are queued one after
//! the other without waiting, so that reading the next one overlaps with the commit of the last; each checks inside
//! its transaction that it continues where the import stands, so a failed one stops all behind it.

use std::task::Poll;

use super::apply::{Batch, apply_batch, progress};
use super::line::{Fields, read_csv, read_header, read_json};
use super::row::{Plan, RowReader};
use super::{BadLine, CHUNK_MAX_BYTES, ImportFormat, ImportProgress};
use crate::call::Call;
use crate::codes::{IMPORT_CONFLICT, IMPORT_UNKNOWN};
use crate::error::Error;
use crate::normalise::field_error;
use crate::platform::{Platform, defect};
use crate::tables::takeover::{IMPORTS, ImportRow};

/// Most rows of one transaction.
pub const BATCH_MAX_ROWS: usize = 500;
/// A batch is closed at this many bytes of its lines, so that its rows and index rows stay within a transaction.
const BATCH_MAX_BYTES: usize = 160 * 1024;
/// A batch is closed at this many names: a line can hold 64 of them in little text, and each becomes a sealed row.
const BATCH_MAX_NAMES: usize = 2_000;
/// Most lines of one batch, blank and refused ones included.
const BATCH_MAX_LINES: u64 = 50_000;

impl Platform {
    /// `import.chunk`: whole lines, starting at `offset_bytes` (the import's progress, else `import.conflict`).
    ///
    /// # Errors
    /// `import.unknown`, `import.conflict` with `offset_bytes`, `request.field_invalid`, or our own trouble. Batches
    /// before the failed one stay committed; the progress tells how far it came.
    pub async fn import_chunk(
        &self,
        call: &Call,
        import_id: &str,
        offset_bytes: u64,
        lines: Vec<u8>,
    ) -> Result<(ImportProgress, Vec<BadLine>), Error> {
        if lines.len() > CHUNK_MAX_BYTES {
            return Err(field_error("lines", "has at most 4 MiB"));
        }
        let id = parse_id(import_id)?;
        let import = self
            .inner
            .store
            .get(&IMPORTS, &id)
            .await?
            .ok_or_else(|| IMPORT_UNKNOWN.error())?;
        let mut bad = Vec::new();
        let mut commits = Vec::new();
        // The number of the first line is known only when no other chunk is under way, which the offset tells.
        let first_line = import.lines + 1 + u64::from(import.format == ImportFormat::Csv);
        for batch in self.batches(id, &import, (offset_bytes, first_line), &lines, &mut bad)? {
            let stamp = self.stamp(call, "import.chunk");
            commits.push(self.inner.store.write(stamp, move |tx| apply_batch(tx, id, &batch)));
            let_others_run().await;
        }
        let mut reached = progress(id, &import);
        let (mut failure, nothing_to_do) = (None, commits.is_empty());
        for commit in commits {
            match commit.await.map_err(Error::from) {
                Ok((progress, refused)) => {
                    reached = progress;
                    bad.extend(refused);
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if nothing_to_do && reached.offset_bytes != offset_bytes {
            failure = Some(
                IMPORT_CONFLICT
                    .error()
                    .with_number("offset_bytes", reached.offset_bytes),
            );
        }
        bad.sort_by_key(|line| line.line);
        failure.map_or(Ok((reached, bad)), Err)
    }

    /// Cuts a chunk into batches of read rows; an iterator, so that each is queued before the next one is read.
    fn batches<'c>(
        &'c self,
        import_id: [u8; 16],
        import: &'c ImportRow,
        (offset_bytes, first_line): (u64, u64),
        lines: &'c [u8],
        bad: &'c mut Vec<BadLine>,
    ) -> Result<impl Iterator<Item = Batch> + use<'c>, Error> {
        let header = match (&import.format, &import.csv_header) {
            (ImportFormat::Csv, Some(header)) => read_header(header).map_err(|why| defect(&why))?,
            _ => Vec::new(),
        };
        let plan = Plan::new(import_id, import);
        let mut cutter = Cutter {
            rest: lines,
            at_bytes: offset_bytes,
            line: first_line,
        };
        let is_csv = import.format == ImportFormat::Csv;
        Ok(std::iter::from_fn(move || {
            let mut reader = RowReader::new(&plan, &self.inner.lookup);
            cutter.batch(&mut |line, text| {
                let fields: Result<Fields<'_>, String> = if is_csv {
                    read_csv(text, &header)
                } else {
                    read_json(text)
                };
                match fields.and_then(|fields| reader.read(line, text, &fields)) {
                    Ok(row) => Some(row),
                    Err(reason) => {
                        bad.push(BadLine { line, reason });
                        None
                    }
                }
            })
        }))
    }
}

/// Gives the thread to others once: reading a whole chunk takes long enough for a token check to notice.
fn let_others_run() -> impl Future<Output = ()> {
    let mut gave_way = false;
    std::future::poll_fn(move |context| {
        if std::mem::replace(&mut gave_way, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Walks the lines of a chunk.
struct Cutter<'c> {
    rest: &'c [u8],
    at_bytes: u64,
    line: u64,
}

impl Cutter<'_> {
    /// The next batch; `None` at the end.
    fn batch(&mut self, read: &mut dyn FnMut(u64, &[u8]) -> Option<super::row::Row>) -> Option<Batch> {
        if self.rest.is_empty() {
            return None;
        }
        let mut batch = Batch {
            start_bytes: self.at_bytes,
            rows: Vec::with_capacity(BATCH_MAX_ROWS),
            ..Batch::default()
        };
        let (mut bytes, mut names) = (0, 0);
        while batch.rows.len() < BATCH_MAX_ROWS
            && batch.lines < BATCH_MAX_LINES
            && bytes < BATCH_MAX_BYTES
            && names < BATCH_MAX_NAMES
            && !self.rest.is_empty()
        {
            let length = self
                .rest
                .iter()
                .position(|b| *b == b'\n')
                .map_or(self.rest.len(), |at| at + 1);
            let (line, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, &[]));
            let text = line.trim_ascii_end();
            if !text.is_empty() {
                match read(self.line, text) {
                    Some(row) => {
                        names += row.names.len();
                        batch.rows.push(row);
                    }
                    None => batch.refused += 1,
                }
                bytes += text.len();
            }
            self.rest = rest;
            self.line += 1;
            self.at_bytes += length as u64;
            batch.lines += 1;
        }
        batch.end_bytes = self.at_bytes;
        Some(batch)
    }
}

/// The id of an import: 32 hex digits.
pub(super) fn parse_id(text: &str) -> Result<[u8; 16], Error> {
    let number = (text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten();
    number.map(u128::to_be_bytes).ok_or_else(|| IMPORT_UNKNOWN.error())
}
