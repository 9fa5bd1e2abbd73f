//! What a table is. Tables are constants that others declare and hand to the store at open; the store itself knows no
//! business table.

use std::marker::PhantomData;

use crate::error::CodecError;
use crate::key::Key;
use crate::record::{Record, decode_row};

/// How a table is used, which decides where and how the engine keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preset {
    /// Many rows, looked up one at a time by their whole key.
    Point,
    /// Many rows, scanned in key order.
    Range,
    /// Few rows (settings, keys, counters); kept together.
    Small,
}

/// What an acknowledged write of a table has survived. The strictest table of a transaction decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// This node's disk.
    Local,
    /// This node's disk, and the standby's when it answers in time.
    RemotePreferred,
    /// This node's disk and the standby's.
    RemoteDurable,
}

/// When a row goes away by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Never; only an operation deletes it.
    Forever,
    /// The named field of the record holds the instant; a background task deletes such rows through ordinary writes.
    RowExpiry(&'static str),
}

/// A function that derives index entries from a row: `(key, unsealed value, emit)`.
pub type IndexFn = fn(&[u8], &[u8], &mut dyn FnMut(&[u8])) -> Result<(), CodecError>;

/// An index of a table: rows `number ++ emitted ++ primary key` without a value.
#[derive(Debug, Clone, Copy)]
pub struct IndexDef {
    /// Persisted number, from the same space as table numbers, never reused.
    pub number: u16,
    /// Name for people.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Derives the entries. Pure; emitted parts have one fixed width per index.
    pub of: IndexFn,
}

/// The description of a table.
#[derive(Debug, Clone, Copy)]
pub struct TableDef {
    /// Persisted number, never reused; 1..=9 belong to the store itself.
    pub number: u16,
    /// Name for people, `snake_case`.
    pub name: &'static str,
    /// How it is used.
    pub preset: Preset,
    /// What its acknowledged writes survive.
    pub class: Class,
    /// Keep hot decoded rows in memory (`Store::get`).
    pub cached: bool,
    /// Encrypt values under the cluster key.
    pub sealed: bool,
    /// Holds personal data, which erasure must reach.
    pub personal: bool,
    /// When rows go away by themselves.
    pub retention: Retention,
    /// Layout, writer, deleter and row bound, in prose.
    pub doc: &'static str,
    /// Its indexes.
    pub indexes: &'static [IndexDef],
    /// Length of every key in bytes; set by [`table`].
    pub key_width: usize,
    /// Whether key and unsealed value decode; set by [`table`].
    pub check: CheckFn,
}

/// Decodes a row and says what is wrong with it: `(key, unsealed value)`.
pub type CheckFn = fn(&[u8], &[u8]) -> Result<(), CodecError>;

/// A table with the types of its key and record.
#[derive(Debug)]
pub struct Table<K, V> {
    /// The untyped description.
    pub def: TableDef,
    types: PhantomData<fn() -> (K, V)>,
}

/// Declares a table: `pub static ACCOUNTS: Table<AccountId, Account> = table(TableDef { … });`
pub const fn table<K: Key, V: Record>(def: TableDef) -> Table<K, V> {
    Table {
        def: TableDef {
            key_width: K::WIDTH,
            check: check_row::<K, V>,
            ..def
        },
        types: PhantomData,
    }
}

fn check_row<K: Key, V: Record>(key: &[u8], value: &[u8]) -> Result<(), CodecError> {
    decode_row::<K, V>(key, value).map(drop)
}

/// An index with the types of a full emitted prefix and of the primary key.
///
/// ```
/// use seawall_storage::{Index, IndexDef};
/// pub const PLAYERS_BY_ACCOUNT: Index<u64, (u32, u64)> = Index::new(IndexDef {
///     number: 41,
///     name: "players_by_account",
///     doc: "All players of an account.",
///     of: |_key, _value, emit| { emit(&7u64.to_be_bytes()); Ok(()) },
/// });
/// ```
#[derive(Debug)]
pub struct Index<P, K> {
    /// The untyped description, to be listed in [`TableDef::indexes`].
    pub def: IndexDef,
    types: PhantomData<fn() -> (P, K)>,
}

impl<P, K> Index<P, K> {
    /// Gives an index its types.
    pub const fn new(def: IndexDef) -> Self {
        Self {
            def,
            types: PhantomData,
        }
    }
}

impl TableDef {
    /// A description with the usual choices (point look-ups, local, kept for ever), to be completed with struct update:
    /// `TableDef { cached: true, ..TableDef::new(12, "games", "…") }`.
    pub const fn new(number: u16, name: &'static str, doc: &'static str) -> Self {
        Self {
            number,
            name,
            preset: Preset::Point,
            class: Class::Local,
            cached: false,
            sealed: false,
            personal: false,
            retention: Retention::Forever,
            doc,
            indexes: &[],
            key_width: 0,
            check: |_, _| Ok(()),
        }
    }
}
