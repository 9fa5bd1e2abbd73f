//! The tables of the simulated business: every kind the store has — cached and scanned with an index, sealed, small,
//! and one that says which writes happened.

use seawall_storage::{Class, Index, IndexDef, Preset, Record, Table, TableDef, decode_row, table};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub owner: u32,
    pub weight: u64,
    pub ballast: Vec<u8>,
}

impl Record for Item {
    const VERSION: u8 = 1;
}

/// One number as a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Number(pub u64);

impl Record for Number {
    const VERSION: u8 = 1;
}

/// A write that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub now_at: u64,
    pub answer: u64,
}

impl Record for Mark {
    const VERSION: u8 = 1;
}

pub const ITEMS_BY_OWNER: Index<u32, u64> = Index::new(IndexDef {
    number: 21,
    name: "items_by_owner",
    doc: "Items of an owner.",
    of: |key, value, emit| {
        let (_, item) = decode_row::<u64, Item>(key, value)?;
        emit(&item.owner.to_be_bytes());
        Ok(())
    },
});

/// An index that a later release brings along, and that must be built over rows that are there.
pub const ITEMS_BY_WEIGHT: Index<u64, u64> = Index::new(IndexDef {
    number: 25,
    name: "items_by_weight",
    doc: "Items of a weight.",
    of: |key, value, emit| {
        let (_, item) = decode_row::<u64, Item>(key, value)?;
        emit(&item.weight.to_be_bytes());
        Ok(())
    },
});

/// Items by id.
pub static ITEMS: Table<u64, Item> = table(TableDef {
    preset: Preset::Range,
    cached: true,
    indexes: &[ITEMS_BY_OWNER.def],
    ..TableDef::new(20, "items", "Items, by id.")
});

/// The same table as the later release has it.
pub static LATER_ITEMS: Table<u64, Item> = table(TableDef {
    indexes: &[ITEMS_BY_OWNER.def, ITEMS_BY_WEIGHT.def],
    ..ITEMS.def
});

/// Sealed numbers.
pub static SECRETS: Table<u32, Number> = table(TableDef {
    sealed: true,
    cached: true,
    class: Class::RemoteDurable,
    ..TableDef::new(22, "secrets", "Sealed numbers.")
});

/// What an idempotency key was answered.
pub static ANSWERS: Table<u64, Number> = table(TableDef {
    preset: Preset::Small,
    ..TableDef::new(23, "answers", "Answers by idempotency key.")
});

/// Every write that changed something, by its order number.
pub static MARKS: Table<u64, Mark> = table(TableDef::new(24, "marks", "Writes that happened."));

pub static TABLES: &[&TableDef] = &[&ITEMS.def, &SECRETS.def, &ANSWERS.def, &MARKS.def];

pub static LATER_TABLES: &[&TableDef] = &[&LATER_ITEMS.def, &SECRETS.def, &ANSWERS.def, &MARKS.def];
