//! The registered tables, indexes and observers, looked up by number. The store's own tables are listed here too.

use hashbrown::HashMap;

use crate::engine::Space;
use crate::error::CodecError;
use crate::key::Key as _;
use crate::limits::RESERVED_TABLES;
use crate::table::{IndexDef, Preset, TableDef};

/// The head: lsn, epoch, chain and now of the last frame. One row, rewritten by every group. Not in frames.
pub(crate) const HEAD_TABLE: u16 = 1;
/// Counters by name (`Tx::next_id`); value `u64` big-endian. In frames like any business row.
pub(crate) const COUNTER_TABLE: u16 = 2;
/// Closed stretches of the journal: first lsn to (last lsn, bytes, now). Not in frames.
pub(crate) const MARK_TABLE: u16 = 3;
/// State of each index: number to building or ready. Not in frames.
pub(crate) const INDEX_STATE_TABLE: u16 = 4;
/// Every table and index number ever declared, with its name. Not in frames.
pub(crate) const DECLARED_TABLE: u16 = 5;

/// Description of the counters, for statistics and verification.
pub(crate) static COUNTERS: TableDef = TableDef {
    preset: Preset::Small,
    check: |_, value| u64::decode(value).map(drop),
    ..TableDef::new(
        COUNTER_TABLE,
        "counters",
        "Last number given out per counter name; written by next_id and raise_counter, never deleted.",
    )
};

/// Told of each committed change of one table: key without number, unsealed value.
pub(crate) type ObserveFn = dyn Fn(&[u8], Option<&[u8]>) -> Result<(), CodecError> + Send + Sync;

/// A registered observer.
pub struct Observer {
    pub(crate) table: u16,
    pub(crate) call: Box<ObserveFn>,
}

/// Everything registered.
pub(crate) struct Catalog {
    tables: HashMap<u16, &'static TableDef>,
    indexes: HashMap<u16, (&'static TableDef, &'static IndexDef)>,
    observers: HashMap<u16, Vec<Observer>>,
}

impl Catalog {
    /// Checks numbers and names; the error says which entry is wrong.
    pub(crate) fn new(tables: &[&'static TableDef], observers: Vec<Observer>) -> Result<Self, String> {
        let mut catalog = Self {
            tables: HashMap::from_iter([(COUNTER_TABLE, &COUNTERS)]),
            indexes: HashMap::new(),
            observers: HashMap::new(),
        };
        for table in tables {
            catalog.add(table)?;
        }
        for observer in observers {
            if !catalog.tables.contains_key(&observer.table) {
                return Err(format!("observer of table {}, which is not registered", observer.table));
            }
            catalog.observers.entry(observer.table).or_default().push(observer);
        }
        Ok(catalog)
    }

    fn add(&mut self, table: &'static TableDef) -> Result<(), String> {
        self.claim(table.number, table.name)?;
        self.tables.insert(table.number, table);
        for index in table.indexes {
            self.claim(index.number, index.name)?;
            self.indexes.insert(index.number, (table, index));
        }
        Ok(())
    }

    fn claim(&self, number: u16, name: &str) -> Result<(), String> {
        if number <= RESERVED_TABLES || number == u16::MAX {
            return Err(format!("{name}: number {number} is reserved"));
        }
        match self
            .names()
            .into_iter()
            .find(|(taken, taken_name)| *taken == number || *taken_name == name)
        {
            Some((taken, taken_name)) => Err(format!("{name} ({number}) clashes with {taken_name} ({taken})")),
            None => Ok(()),
        }
    }

    /// Numbers and names of all tables and indexes.
    pub(crate) fn names(&self) -> Vec<(u16, &'static str)> {
        let tables = self.tables.values().map(|table| (table.number, table.name));
        let mut names: Vec<_> = tables
            .chain(self.indexes.values().map(|(_, index)| (index.number, index.name)))
            .collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn table(&self, number: u16) -> Option<&'static TableDef> {
        self.tables.get(&number).copied()
    }

    pub(crate) fn index(&self, number: u16) -> Option<(&'static TableDef, &'static IndexDef)> {
        self.indexes.get(&number).copied()
    }

    /// All tables by number, counters included.
    pub(crate) fn tables(&self) -> Vec<&'static TableDef> {
        let mut tables: Vec<_> = self.tables.values().copied().collect();
        tables.sort_unstable_by_key(|table| table.number);
        tables
    }

    pub(crate) fn observers(&self, table: u16) -> &[Observer] {
        self.observers.get(&table).map_or(&[], Vec::as_slice)
    }

    /// Where rows of a table or index live; `None` for a number nobody registered.
    pub(crate) fn space(&self, number: u16) -> Option<Space> {
        match self.tables.get(&number) {
            Some(table) => Some(table_space(table)),
            None => self.indexes.contains_key(&number).then_some(Space::Range),
        }
    }
}

/// Where the rows of a table live.
pub(crate) fn table_space(table: &TableDef) -> Space {
    match table.preset {
        Preset::Point => Space::Point,
        Preset::Range => Space::Range,
        Preset::Small => Space::Meta,
    }
}

/// The table number at the head of a full row key.
pub(crate) fn number_of(row_key: &[u8]) -> u16 {
    row_key.first_chunk::<2>().map_or(0, |bytes| u16::from_be_bytes(*bytes))
}

/// The full key of a row: table number, then the key.
pub(crate) fn row_key(number: u16, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(2 + key.len());
    full.extend_from_slice(&number.to_be_bytes());
    full.extend_from_slice(key);
    full
}

/// A full row key without its number.
pub(crate) fn bare_key(row_key: &[u8]) -> &[u8] {
    row_key.get(2..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    static A: TableDef = TableDef::new(10, "a", "");
    static A_AGAIN: TableDef = TableDef::new(10, "other", "");
    static SAME_NAME: TableDef = TableDef::new(11, "a", "");
    static RESERVED: TableDef = TableDef::new(9, "nine", "");
    static INDEXED: TableDef = TableDef {
        indexes: &[IndexDef {
            number: 10,
            name: "b_by_c",
            doc: "",
            of: |_, _, _| Ok(()),
        }],
        ..TableDef::new(12, "b", "")
    };

    #[test]
    fn clashes_are_refused() {
        assert!(Catalog::new(&[&A], Vec::new()).is_ok());
        for (tables, part) in [
            (vec![&A, &A_AGAIN], "other (10) clashes with a (10)"),
            (vec![&A, &SAME_NAME], "a (11) clashes"),
            (vec![&RESERVED], "reserved"),
            (vec![&A, &INDEXED], "b_by_c (10) clashes with a (10)"),
        ] {
            let error = Catalog::new(&tables, Vec::new()).err().unwrap();
            assert!(error.contains(part), "{error}");
        }
        let stray = Observer {
            table: 77,
            call: Box::new(|_, _| Ok(())),
        };
        assert!(Catalog::new(&[&A], vec![stray]).err().unwrap().contains("77"));
    }
}
