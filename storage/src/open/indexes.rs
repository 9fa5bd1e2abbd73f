//! Tables and indexes against what the directory has seen: numbers that changed their name or are unknown stop the
//! start, and an index that is new on a table with rows is built before anyone can use it.

use std::ops::ControlFlow;
use std::path::Path;

use super::{OpenError, OpenFailure};
use crate::catalog::{DECLARED_TABLE, INDEX_STATE_TABLE, bare_key, row_key, table_space};
use crate::engine::{BatchOp, Space};
use crate::error::{EngineError, TxError};
use crate::fault;
use crate::options::ProgressFn;
use crate::overlay::Overlay;
use crate::shared::Shared;
use crate::span::Span;
use crate::table::{IndexDef, TableDef};

/// Rows of a table indexed in one batch.
const BUILD_ROWS: usize = 2000;
const READY: &[u8] = &[2];
const BUILDING: &[u8] = &[1];

/// What stops the preparation.
#[derive(Debug)]
pub(super) enum Stopped {
    Newer(String),
    Rows(TxError),
}

impl From<TxError> for Stopped {
    fn from(error: TxError) -> Self {
        Self::Rows(error)
    }
}

impl From<EngineError> for Stopped {
    fn from(error: EngineError) -> Self {
        Self::Rows(error.into())
    }
}

pub(super) fn open_error(file: &Path, stopped: Stopped) -> OpenError {
    match stopped {
        Stopped::Newer(reason) => OpenError::new(OpenFailure::NewerRelease, file, reason),
        Stopped::Rows(error) => OpenError::row(file, &error),
    }
}

/// Checks and notes the declared numbers, and builds what is new.
pub(super) fn prepare(shared: &Shared, progress: &ProgressFn) -> Result<(), Stopped> {
    declare(shared)?;
    for table in shared.catalog.tables() {
        for index in table.indexes {
            let key = row_key(INDEX_STATE_TABLE, &index.number.to_be_bytes());
            let state = shared.engine.view().get(Space::Meta, &key)?;
            if state.as_deref() != Some(READY) || fault::is_on(fault::Switch::RebuildIndexes) {
                build(shared, table, index, progress)?;
                shared.engine.commit(&[BatchOp::Put(Space::Meta, &key, READY)])?;
            }
        }
    }
    Ok(())
}

/// Every number ever declared must still be declared under its name.
fn declare(shared: &Shared) -> Result<(), Stopped> {
    let names = shared.catalog.names();
    let mut seen = Vec::new();
    shared
        .engine
        .view()
        .scan(Space::Meta, &Span::all().numbered(DECLARED_TABLE), &mut |key, name| {
            let number = bare_key(key)
                .first_chunk()
                .map_or(0, |bytes| u16::from_be_bytes(*bytes));
            seen.push((number, String::from_utf8_lossy(name).into_owned()));
            ControlFlow::Continue(())
        })?;
    for (number, name) in &seen {
        match names.iter().find(|(declared, _)| declared == number) {
            Some((_, declared)) if declared == name => {}
            Some((_, declared)) => {
                return Err(Stopped::Newer(format!(
                    "number {number} is {declared} in this build but {name} in the data"
                )));
            }
            None => {
                return Err(Stopped::Newer(format!(
                    "this build does not have {name} (number {number})"
                )));
            }
        }
    }
    let new: Vec<_> = names
        .iter()
        .filter(|(number, _)| !seen.iter().any(|(known, _)| known == number))
        .collect();
    let rows: Vec<_> = new
        .iter()
        .map(|(number, name)| (row_key(DECLARED_TABLE, &number.to_be_bytes()), name.as_bytes()))
        .collect();
    let batch: Vec<_> = rows
        .iter()
        .map(|(key, name)| BatchOp::Put(Space::Meta, key, name))
        .collect();
    if !batch.is_empty() {
        shared.engine.commit(&batch)?;
    }
    Ok(())
}

/// Builds an index from scratch. A build that was interrupted starts again.
fn build(shared: &Shared, table: &TableDef, index: &IndexDef, progress: &ProgressFn) -> Result<(), Stopped> {
    let state_key = row_key(INDEX_STATE_TABLE, &index.number.to_be_bytes());
    let range = Span::all().numbered(index.number);
    let end = range.end.clone().unwrap_or_else(|| vec![0xff; 3]);
    shared.engine.commit(&[
        BatchOp::Put(Space::Meta, &state_key, BUILDING),
        BatchOp::DeleteRange(Space::Range, &range.start, &end),
    ])?;
    let (mut next, mut done) = (Some(Span::all()), 0);
    while let Some(span) = next {
        let mut rows = Vec::new();
        shared
            .engine
            .view()
            .scan(table_space(table), &span.numbered(table.number), &mut |key, value| {
                rows.push((key.to_vec(), value.to_vec()));
                if rows.len() < BUILD_ROWS {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
        next = rows.last().map(|(key, _)| span.beyond(bare_key(key)));
        done += rows.len();
        fault::hit("index.build");
        commit_entries(shared, table, index, rows)?;
        if done > 0 {
            progress(&format!("building index {}: {done} rows", index.name));
        }
    }
    Ok(())
}

fn commit_entries(
    shared: &Shared,
    table: &TableDef,
    index: &IndexDef,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
) -> Result<(), Stopped> {
    let mut entries = Overlay::default();
    for (key, stored) in rows {
        let plain = shared.rules().plain(table, &key, stored)?;
        let mut emitted = std::collections::BTreeSet::new();
        shared.rules().index_rows_of(table, index, &key, &plain, &mut emitted)?;
        emitted
            .into_iter()
            .for_each(|entry| entries.set(entry, Some(Vec::new())));
    }
    let batch: Vec<_> = entries
        .rows()
        .keys()
        .map(|key| BatchOp::Put(Space::Range, key, &[]))
        .collect();
    Ok(shared.engine.commit(&batch)?)
}
