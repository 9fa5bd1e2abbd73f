//! `db verify`: reads everything and compares it with everything else — the chain over all frames kept, every record
//! against its type and seal, every index entry against its record and back.

use std::ops::ControlFlow;

use crate::catalog::{bare_key, row_key, table_space};
use crate::engine::{EngineView, Space};
use crate::error::{EngineError, ReadError};
use crate::frame::decode;
use crate::head::Head;
use crate::shared::Shared;
use crate::span::{EngineRange, Span};
use crate::stats::TableStats;
use crate::store::Store;
use crate::table::{IndexDef, TableDef};

/// Problems listed in a report; further ones are only counted.
const PROBLEMS_MAX: usize = 1000;
/// Progress is told every so many rows.
const PROGRESS_ROWS: u64 = 100_000;

/// What a verification found.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    /// Frames whose checksum, order and chain were checked.
    pub frames: u64,
    /// Rows of tables that were unsealed and decoded.
    pub rows: u64,
    /// Of these, sealed ones.
    pub sealed_rows: u64,
    /// Index entries that were compared with their records.
    pub index_entries: u64,
    /// Exact size of every table and index.
    pub tables: Vec<TableStats>,
    /// What is wrong, in words, at most 1,000 lines. Values are never shown, keys only as hex digits.
    pub problems: Vec<String>,
    /// How many problems there are.
    pub problem_count: u64,
}

impl VerifyReport {
    /// Nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.problem_count == 0
    }

    fn problem(&mut self, text: String) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(text);
        }
    }
}

impl Store {
    /// Verifies everything on one snapshot; blocks for as long as reading everything takes. `progress` is told what is
    /// being read.
    ///
    /// # Errors
    /// [`ReadError`] when the engine cannot read; what is wrong with the data is in the report.
    pub fn verify(&self, progress: &mut dyn FnMut(&str)) -> Result<VerifyReport, ReadError> {
        let shared = self.shared();
        let view = shared.engine.view();
        let mut verify = Verify {
            shared,
            view: view.as_ref(),
            report: VerifyReport::default(),
            progress,
        };
        verify.frames()?;
        for table in shared.catalog.tables() {
            verify.table(table)?;
            for index in table.indexes {
                verify.index(table, index)?;
            }
        }
        Ok(verify.report)
    }
}

struct Verify<'a> {
    shared: &'a Shared,
    view: &'a dyn EngineView,
    report: VerifyReport,
    progress: &'a mut dyn FnMut(&str),
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Verify<'_> {
    /// The chain from the oldest frame kept to the head.
    fn frames(&mut self) -> Result<(), EngineError> {
        (self.progress)("verifying the journal");
        let (mut last, mut problems, mut frames) = (None, Vec::new(), 0);
        self.view
            .scan(Space::Journal, &EngineRange::everything(), &mut |key, bytes| {
                frames += 1;
                match decode(bytes) {
                    Err(error) => problems.push(format!("journal {}: {error}", hex(key))),
                    Ok(frame) => {
                        let at = frame.position.lsn;
                        let follows =
                            last.is_none_or(|(lsn, chain)| at == lsn + 1 && frame.position.prev_chain == chain);
                        if key != at.to_be_bytes() || !follows {
                            problems.push(format!(
                                "journal {}: lsn {at} does not follow from the frame before",
                                hex(key)
                            ));
                        }
                        for change in frame.transactions.iter().flat_map(|tx| &tx.rows) {
                            if self.shared.catalog.table(change.table).is_none() {
                                problems.push(format!("journal {}: unknown table {}", hex(key), change.table));
                            }
                        }
                        last = Some((at, frame.chain));
                    }
                }
                ControlFlow::Continue(())
            })?;
        let stored = self
            .view
            .get(Space::Meta, &Head::key())?
            .and_then(|row| Head::decode(&row).ok());
        let head = stored.map_or((0, [0; 32]), |(_, head)| (head.lsn, head.chain));
        if last.unwrap_or((0, [0; 32])) != head {
            problems.push(format!("the journal does not end at the head, lsn {}", head.0));
        }
        self.report.frames = frames;
        problems.into_iter().for_each(|problem| self.report.problem(problem));
        Ok(())
    }

    /// Every row of a table: it opens, decodes, and has its index entries.
    fn table(&mut self, table: &TableDef) -> Result<(), EngineError> {
        (self.progress)(&format!("verifying table {}", table.name));
        let (mut rows, mut bytes, mut failed) = (0u64, 0u64, Ok(()));
        self.view.scan(
            table_space(table),
            &Span::all().numbered(table.number),
            &mut |key, stored| {
                rows += 1;
                bytes += (key.len() + stored.len()) as u64;
                if rows.is_multiple_of(PROGRESS_ROWS) {
                    (self.progress)(&format!("verifying table {}: {rows} rows", table.name));
                }
                match row_problems(self.shared, self.view, table, key, stored) {
                    Ok(problems) => problems.into_iter().for_each(|problem| self.report.problem(problem)),
                    Err(error) => failed = Err(error),
                }
                if failed.is_ok() {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            },
        )?;
        failed?;
        self.report.rows += rows;
        self.report.sealed_rows += if table.sealed { rows } else { 0 };
        self.report.tables.push(TableStats {
            number: table.number,
            name: table.name,
            rows,
            bytes,
            exact: true,
        });
        Ok(())
    }

    /// Every entry of an index belongs to a row that has it.
    fn index(&mut self, table: &TableDef, index: &IndexDef) -> Result<(), EngineError> {
        (self.progress)(&format!("verifying index {}", index.name));
        let (mut rows, mut bytes, mut failed) = (0u64, 0u64, Ok(()));
        self.view.scan(
            Space::Range,
            &Span::all().numbered(index.number),
            &mut |entry, value| {
                rows += 1;
                bytes += (entry.len() + value.len()) as u64;
                match entry_problem(self.shared, self.view, table, index, entry) {
                    Ok(problem) => problem.into_iter().for_each(|problem| self.report.problem(problem)),
                    Err(error) => failed = Err(error),
                }
                if failed.is_ok() {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            },
        )?;
        failed?;
        self.report.index_entries += rows;
        self.report.tables.push(TableStats {
            number: index.number,
            name: index.name,
            rows,
            bytes,
            exact: true,
        });
        Ok(())
    }
}

fn row_problems(
    shared: &Shared,
    view: &dyn EngineView,
    table: &TableDef,
    key: &[u8],
    stored: &[u8],
) -> Result<Vec<String>, EngineError> {
    let name = || format!("{} {}", table.name, hex(bare_key(key)));
    let plain = match shared.rules().plain(table, key, stored.to_vec()) {
        Ok(plain) => plain,
        Err(error) => return Ok(vec![format!("{}: {error}", name())]),
    };
    if let Err(error) = (table.check)(bare_key(key), &plain) {
        return Ok(vec![format!("{}: {error}", name())]);
    }
    let entries = match shared.rules().index_rows(table, key, &plain) {
        Ok(entries) => entries,
        Err(error) => return Ok(vec![format!("{}: {error}", name())]),
    };
    let mut problems = Vec::new();
    for entry in entries {
        if view.get(Space::Range, &entry)?.is_none() {
            problems.push(format!("{}: index entry {} is missing", name(), hex(&entry)));
        }
    }
    Ok(problems)
}

fn entry_problem(
    shared: &Shared,
    view: &dyn EngineView,
    table: &TableDef,
    index: &IndexDef,
    entry: &[u8],
) -> Result<Option<String>, EngineError> {
    let name = || format!("{} {}", index.name, hex(bare_key(entry)));
    let Some(key) = entry.len().checked_sub(table.key_width).and_then(|at| entry.get(at..)) else {
        return Ok(Some(format!("{}: too short for a key of {}", name(), table.name)));
    };
    let full_key = row_key(table.number, key);
    let Some(stored) = view.get(table_space(table), &full_key)? else {
        return Ok(Some(format!("{}: there is no such row of {}", name(), table.name)));
    };
    // A row that does not open or decode is reported with its table.
    let Ok(plain) = shared.rules().plain(table, &full_key, stored) else {
        return Ok(None);
    };
    let mut entries = std::collections::BTreeSet::new();
    match shared
        .rules()
        .index_rows_of(table, index, &full_key, &plain, &mut entries)
    {
        Ok(()) if !entries.contains(entry) => {
            Ok(Some(format!("{}: the row of {} does not have it", name(), table.name)))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{BatchOp, Fetched, Tier};
    use crate::store::tests::{SECRETS, options, put, ship, stamp};

    /// Ten ships, three secrets and a counter.
    fn filled() -> Store {
        let store = Store::open_memory(options()).unwrap();
        for id in 0..10 {
            put(&store, id, ship(1, "gull")).wait().unwrap();
        }
        for id in 0..3 {
            store
                .write(stamp(id.into()), move |tx| tx.put(&SECRETS, &id, &ship(1, "hidden")))
                .wait()
                .unwrap();
        }
        store.write(stamp(1), |tx| tx.next_id("ship")).wait().unwrap();
        store
    }

    fn report(store: &Store) -> VerifyReport {
        store.verify(&mut |_| {}).unwrap()
    }

    /// What verification says after one change underneath the store.
    fn problems_after(change: &[BatchOp<'_>]) -> Vec<String> {
        let store = filled();
        store.shared().engine.commit(change).unwrap();
        report(&store).problems
    }

    fn stored(space: Space, key: &[u8]) -> Vec<u8> {
        match filled().shared().engine.get(space, key, Tier::Disk).unwrap() {
            Fetched::Found(value) => value,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_good_store_is_clean_and_counted() {
        let mut said = Vec::new();
        let report = filled().verify(&mut |text| said.push(text.to_owned())).unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
        assert_eq!(
            (report.frames, report.rows, report.sealed_rows, report.index_entries),
            (14, 14, 3, 10)
        );
        let ships = report.tables.iter().find(|table| table.name == "ships").unwrap();
        assert_eq!((ships.rows, ships.bytes, ships.exact), (10, 10 * (10 + 7), true));
        assert!(said.iter().any(|text| text == "verifying table ships"));
    }

    #[test]
    fn every_kind_of_damage_is_named() {
        let ship_key = row_key(20, &3u64.to_be_bytes());
        let entry = [&[0, 21, 0, 0, 0, 1][..], &3u64.to_be_bytes()].concat();
        let stray = [&[0, 21, 0, 0, 0, 9][..], &3u64.to_be_bytes()].concat();
        let orphan = [&[0, 21, 0, 0, 0, 1][..], &77u64.to_be_bytes()].concat();
        let secret = row_key(22, &1u32.to_be_bytes());
        let mut frame = stored(Space::Journal, &5u64.to_be_bytes());
        frame[120] ^= 1;
        let moved = stored(Space::Point, &secret);
        let elsewhere = row_key(22, &9u32.to_be_bytes());
        let lsn = 5u64.to_be_bytes();
        for (change, wanted) in [
            (
                BatchOp::Put(Space::Range, &ship_key, &[1, 2]),
                "ships 0000000000000003: invalid value: record body",
            ),
            (
                BatchOp::Put(Space::Range, &ship_key, &[9, 2]),
                "unknown record version 9",
            ),
            (
                BatchOp::Delete(Space::Range, &entry),
                "index entry 0015000000010000000000000003 is missing",
            ),
            (
                BatchOp::Put(Space::Range, &stray, &[]),
                "the row of ships does not have it",
            ),
            (
                BatchOp::Put(Space::Range, &orphan, &[]),
                "there is no such row of ships",
            ),
            (
                BatchOp::Put(Space::Range, &[0, 21, 1], &[]),
                "too short for a key of ships",
            ),
            (
                BatchOp::Put(Space::Point, &secret, &[0, 1, 7]),
                "sealed value is cut short",
            ),
            (BatchOp::Put(Space::Point, &elsewhere, &moved), "does not open"),
            (
                BatchOp::Put(Space::Journal, &lsn, &frame),
                "frame checksum does not match",
            ),
            (BatchOp::Delete(Space::Journal, &lsn), "lsn 6 does not follow"),
            (
                BatchOp::Delete(Space::Journal, &14u64.to_be_bytes()),
                "does not end at the head, lsn 14",
            ),
            (
                BatchOp::Put(Space::Meta, &row_key(2, b"ship"), &[1]),
                "counters 73686970: too short",
            ),
        ] {
            let problems = problems_after(&[change]);
            assert!(
                problems.iter().any(|problem| problem.contains(wanted)),
                "{wanted}: {problems:?}"
            );
        }
    }
}
