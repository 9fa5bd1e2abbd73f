//! `seawall account import`: sends a file in chunks of whole lines. The platform keeps the offset with the rows it
//! wrote, so a killed import goes on where it stood when the same file is imported again.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use seawall_domain::import::CHUNK_MAX_BYTES;
use seawall_web::wire::{self, Id};
use serde_json::{Value, json};

use super::account_grammar::{ImportFlags, ImportVerb};
use super::ask::{AdminClient, Ask};
use super::failure::{DONE, Failure, WARNINGS};
use super::output::{Output, View};
use super::progress::Progress;
use super::secret_file;

/// Refused lines shown on the terminal; all of them go to `--report`.
const SHOWN_BAD_LINES: usize = 20;

/// Each call works for a bounded time; so many are made until the platform says that it is done.
const FINALIZE_CALLS_MAX: usize = 10_000;

async fn finalize(import: &str, client: &dyn AdminClient, out: &Output) -> Result<u8, Failure> {
    for _ in 0..FINALIZE_CALLS_MAX {
        let call = Ask::post(format!("/admin/v1/imports/{import}/finalize"));
        let answer = client.call(call).await?.success()?;
        if answer.get("finalized_at").is_some_and(Value::is_u64) {
            out.answer(&answer, View::Record);
            return Ok(DONE);
        }
    }
    Err(Failure::Failed(
        "the import is not finalized yet; run the same command again".into(),
    ))
}

/// Runs the verb; answers the exit code.
///
/// # Errors
/// When the file cannot be read or the platform refuses.
pub async fn import(flags: &ImportFlags, client: &dyn AdminClient, out: &Output) -> Result<u8, Failure> {
    if let Some(ImportVerb::Finalize { import }) = &flags.verb {
        return finalize(import, client, out).await;
    }
    let Some(path) = flags.file.as_deref() else {
        return Err(Failure::Usage("which file?".into()));
    };
    let source = Source::open(path, flags.format.as_deref())?;
    let begun = client
        .call(Ask::post("/admin/v1/imports").json(&begin(flags, &source)?))
        .await?
        .success()?;
    let mut run = Run {
        client,
        report: Report::create(flags.report.as_deref())?,
        progress: Progress::start(source.size_bytes.saturating_sub(source.begins_at)),
    };
    let begun: wire::ImportProgress = decode(begun)?;
    let nothing_left = begun.offset_bytes > 0 && source.begins_at + begun.offset_bytes >= source.size_bytes;
    let standing = run.send(path, &source, begun).await?;
    run.progress.finish();
    run.report.finish()?;
    out.answer(&json!(standing), View::Record);
    if nothing_left {
        out.note("This very file was imported before; nothing was left to do, and nothing has changed.");
        return Ok(DONE);
    }
    if standing.refused == 0 {
        return Ok(DONE);
    }
    if flags.report.is_none() {
        run.report.show();
    }
    Ok(WARNINGS)
}

/// The file, looked at once from end to end.
struct Source {
    size_bytes: u64,
    digest: String,
    format: wire::ImportFormat,
    /// The first line of a CSV file.
    header: Option<String>,
    /// Where the lines begin: after the header.
    begins_at: u64,
}

impl Source {
    fn open(path: &Path, format: Option<&str>) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::file(path, "read", &error);
        let mut file = File::open(path).map_err(failed)?;
        let mut hasher = blake3::Hasher::new();
        let size_bytes = std::io::copy(&mut file, &mut hasher).map_err(failed)?;
        let by_name = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
        let is_csv = format.map_or(by_name, |word| word == "csv");
        let (header, begins_at) = if is_csv {
            header(&mut file).map_err(failed)?
        } else {
            (None, 0)
        };
        let format = if is_csv {
            wire::ImportFormat::Csv
        } else {
            wire::ImportFormat::Ndjson
        };
        Ok(Self {
            size_bytes,
            digest: hasher.finalize().to_hex().to_string(),
            format,
            header,
            begins_at,
        })
    }
}

/// The first line, without the mark some programs put before it, and where the next one begins.
fn header(file: &mut File) -> std::io::Result<(Option<String>, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let mut line = String::new();
    let length = BufReader::new(file.take(CHUNK_MAX_BYTES as u64)).read_line(&mut line)?;
    let text = line
        .trim_start_matches('\u{feff}')
        .trim_end_matches(['\r', '\n'])
        .to_owned();
    Ok((Some(text), length as u64))
}

fn begin(flags: &ImportFlags, source: &Source) -> Result<wire::ImportBegin, Failure> {
    Ok(wire::ImportBegin {
        file_digest: source.digest.clone(),
        realm_id: Id(flags.realm.ok_or_else(|| Failure::Usage("--realm is missing".into()))?),
        format: source.format,
        csv_header: source.header.clone(),
        password_recipe: flags.recipe.clone(),
        pepper: flags.pepper_file.as_deref().map(secret_file::read).transpose()?,
        columns: flags
            .columns
            .iter()
            .map(|(column, field)| wire::ColumnName {
                column: column.clone(),
                field: field.clone(),
            })
            .collect(),
        keep_old_hashes: flags.keep_old_hashes,
        uid_is_player_id: !flags.new_player_ids,
        dry_run: flags.dry_run,
    })
}

fn decode<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    serde_json::from_value(answer).map_err(|error| {
        Failure::Failed(format!(
            "the server's answer is not what this program knows (other version?): {error}"
        ))
    })
}

struct Run<'a> {
    client: &'a dyn AdminClient,
    report: Report,
    progress: Progress,
}

impl Run<'_> {
    /// Sends what is left of the file; the next chunk is read while the platform works on the one before.
    async fn send(
        &mut self,
        path: &Path,
        source: &Source,
        mut standing: wire::ImportProgress,
    ) -> Result<wire::ImportProgress, Failure> {
        let mut chunks = Chunks::open(path, source.begins_at, standing.offset_bytes)?;
        self.progress.resume(standing.offset_bytes);
        let mut next = chunks.next(path)?;
        while let Some((offset_bytes, lines)) = next {
            let ask = Ask::post(format!("/admin/v1/imports/{}/chunks", standing.import_id))
                .query(&wire::ImportChunkQuery { offset_bytes })
                .raw(lines);
            let (answer, read) = futures_util::future::join(self.client.call(ask), async { chunks.next(path) }).await;
            let done: wire::ImportChunked = decode(answer?.success()?)?;
            self.report.add(&done.bad_lines)?;
            standing = done.progress;
            self.progress.set(standing.offset_bytes, standing.lines);
            next = read?;
        }
        Ok(standing)
    }
}

/// Cuts a file into chunks of whole lines. Offsets count from the first line after the header.
struct Chunks {
    file: File,
    offset_bytes: u64,
    /// Read, but after the last line end of the chunk before.
    rest: Vec<u8>,
}

impl Chunks {
    fn open(path: &Path, begins_at: u64, offset_bytes: u64) -> Result<Self, Failure> {
        let mut file = File::open(path).map_err(|error| Failure::file(path, "read", &error))?;
        file.seek(SeekFrom::Start(begins_at + offset_bytes))
            .map_err(|error| Failure::file(path, "read", &error))?;
        Ok(Self {
            file,
            offset_bytes,
            rest: Vec::new(),
        })
    }

    /// The next chunk and where it begins; `None` at the end. The last line may lack its line end.
    fn next(&mut self, path: &Path) -> Result<Option<(u64, Vec<u8>)>, Failure> {
        let mut bytes = std::mem::take(&mut self.rest);
        let room = CHUNK_MAX_BYTES.saturating_sub(bytes.len()) as u64;
        let got = (&mut self.file)
            .take(room)
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::file(path, "read", &error))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let at_end = (got as u64) < room;
        let cut = if at_end {
            bytes.len()
        } else {
            end_of_lines(&bytes).ok_or_else(|| line_too_long(path, self.offset_bytes))?
        };
        self.rest = bytes.split_off(cut);
        let begins_at = self.offset_bytes;
        self.offset_bytes += bytes.len() as u64;
        Ok(Some((begins_at, bytes)))
    }
}

/// One past the last byte that ends a line.
fn end_of_lines(bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1)
}

fn line_too_long(path: &Path, offset_bytes: u64) -> Failure {
    Failure::Failed(format!(
        "{}: the line at byte {offset_bytes} is longer than {CHUNK_MAX_BYTES} bytes",
        path.display()
    ))
}

/// Refused lines.
struct Report {
    out: Option<BufWriter<File>>,
    first: Vec<wire::BadLine>,
}

impl Report {
    fn create(path: Option<&Path>) -> Result<Self, Failure> {
        let create = |path: &Path| {
            File::create(path)
                .map(BufWriter::new)
                .map_err(|error| Failure::file(path, "written", &error))
        };
        Ok(Self {
            out: path.map(create).transpose()?,
            first: Vec::new(),
        })
    }

    fn add(&mut self, bad: &[wire::BadLine]) -> Result<(), Failure> {
        self.first.extend(
            bad.iter()
                .take(SHOWN_BAD_LINES.saturating_sub(self.first.len()))
                .cloned(),
        );
        let Some(out) = &mut self.out else { return Ok(()) };
        bad.iter()
            .try_for_each(|line| writeln!(out, "{}\t{}", line.line, line.reason))
            .map_err(|error| report_failed(&error))
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.out
            .as_mut()
            .map_or(Ok(()), BufWriter::flush)
            .map_err(|error| report_failed(&error))
    }

    fn show(&self) {
        if self.first.is_empty() {
            // They were refused in an earlier run of the same import.
            return;
        }
        let mut err = std::io::stderr().lock();
        for line in &self.first {
            let _ = writeln!(err, "line {}: {}", line.line, line.reason);
        }
        let _ = writeln!(
            err,
            "(the first {} refused lines; --report FILE keeps all of them)",
            self.first.len()
        );
    }
}

fn report_failed(error: &std::io::Error) -> Failure {
    Failure::Failed(format!("the report of refused lines cannot be written: {error}"))
}

#[cfg(test)]
#[path = "import/tests.rs"]
mod tests;
