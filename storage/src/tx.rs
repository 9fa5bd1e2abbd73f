//! The transaction as a closure sees it: an ordered view of everything before it, and its own changes on top. A failed
//! statement marks the transaction; it then leaves nothing even when the closure ignores the error.

use std::cell::RefCell;
use std::ops::ControlFlow;

use crate::apply::Rules;
use crate::catalog::{COUNTER_TABLE, COUNTERS, row_key, table_space};
use crate::engine::Space;
use crate::error::{CodecError, TxError};
use crate::floors::Floors;
use crate::key::Key;
use crate::keyring::NONCE_BYTES;
use crate::limits::{
    COUNTER_NAME_MAX_BYTES, ID_LIMIT, KEY_MAX_BYTES, SCAN_MAX_BYTES, SCAN_MAX_ROWS, TX_MAX_BYTES, VALUE_MAX_BYTES,
};
use crate::overlay::{Layers, Overlay};
use crate::record::{Record, decode_record, encode_record};
use crate::room::DiskRoom;
use crate::span::{EngineRange, Span};
use crate::stamp::Stamp;
use crate::table::{Class, Index, Table, TableDef};

/// A running transaction. Deterministic: the same closure on the same state with the same stamp does the same.
pub struct Tx<'a> {
    rules: Rules<'a>,
    below: Layers<'a>,
    own: Overlay,
    stamp: &'a Stamp,
    now_at: u64,
    class: Class,
    failure: Option<TxError>,
    room: DiskRoom,
    floors: Option<&'a RefCell<Floors>>,
}

/// Full key and stored value.
pub(crate) type StoredRow = (Vec<u8>, Vec<u8>);

/// What a finished transaction leaves to the sequencer.
pub(crate) struct TxOutcome {
    pub(crate) own: Overlay,
    pub(crate) class: Class,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(rules: Rules<'a>, below: Layers<'a>, stamp: &'a Stamp, now_at: u64) -> Self {
        Self {
            rules,
            below,
            own: Overlay::default(),
            stamp,
            now_at,
            class: Class::Local,
            failure: None,
            room: DiskRoom::Ample,
            floors: None,
        }
    }

    /// With what is known of where indexes begin.
    pub(crate) fn over_floors(self, floors: &'a RefCell<Floors>) -> Self {
        Self {
            floors: Some(floors),
            ..self
        }
    }

    /// With this much room on the disk.
    pub(crate) fn in_room(self, room: DiskRoom) -> Self {
        Self { room, ..self }
    }

    /// Whether it wrote what there is no room for.
    pub(crate) fn lacks_room(&self) -> bool {
        let only_deletes = || self.own.rows().values().all(Option::is_none);
        !self.own.is_empty() && !self.room.admits(self.class, only_deletes())
    }

    pub(crate) fn finish(self) -> TxOutcome {
        TxOutcome {
            own: self.own,
            class: self.class,
        }
    }

    /// The failure of an ignored statement, if any.
    pub(crate) fn failure(&self) -> Option<&TxError> {
        self.failure.as_ref()
    }

    /// Unix milliseconds; never earlier than any transaction before saw.
    pub fn now_at(&self) -> u64 {
        self.now_at
    }

    /// What the caller brought along.
    pub fn stamp(&self) -> &Stamp {
        self.stamp
    }

    /// 32 unpredictable bytes of this transaction for one purpose; the same label gives the same bytes.
    pub fn entropy32(&self, label: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.stamp.entropy);
        hasher.update(label.as_bytes());
        *hasher.finalize().as_bytes()
    }

    /// Reads a row.
    ///
    /// # Errors
    /// [`TxError`] when the engine fails or the stored row is damaged.
    pub fn get<K: Key, V: Record>(&mut self, table: &Table<K, V>, key: &K) -> Result<Option<V>, TxError> {
        let result = self.read(&table.def, key).and_then(|plain| match plain {
            Some(plain) => decode_record(&plain)
                .map(Some)
                .map_err(|error| damaged(&table.def, error)),
            None => Ok(None),
        });
        self.noting(result)
    }

    /// Whether a row exists.
    ///
    /// # Errors
    /// [`TxError`] when the engine fails.
    pub fn exists<K: Key, V: Record>(&mut self, table: &Table<K, V>, key: &K) -> Result<bool, TxError> {
        let result = self.stored(&table.def, key).map(|(_, stored)| stored.is_some());
        self.noting(result)
    }

    /// Writes a row.
    ///
    /// # Errors
    /// [`TxError::TooLarge`] over a limit; otherwise as [`Tx::get`] (indexes need the row's old value).
    pub fn put<K: Key, V: Record>(&mut self, table: &Table<K, V>, key: &K, value: &V) -> Result<(), TxError> {
        let result = encode_record(value)
            .map_err(|error| damaged(&table.def, error))
            .and_then(|plain| self.write(&table.def, full_key(&table.def, key)?, Some(plain)));
        self.noting(result)
    }

    /// Removes a row; an absent one is fine.
    ///
    /// # Errors
    /// As [`Tx::put`].
    pub fn delete<K: Key, V: Record>(&mut self, table: &Table<K, V>, key: &K) -> Result<(), TxError> {
        let result = full_key(&table.def, key).and_then(|full| self.write(&table.def, full, None));
        self.noting(result)
    }

    /// The first `limit` rows of `span`.
    ///
    /// # Errors
    /// [`TxError::TooLarge`] when the rows exceed the scan limits, otherwise as [`Tx::get`].
    pub fn scan<K: Key, V: Record>(
        &mut self,
        table: &Table<K, V>,
        span: &Span,
        limit: usize,
    ) -> Result<Vec<(K, V)>, TxError> {
        let result = self
            .scan_rows(
                &table.def,
                table_space(&table.def),
                &span.numbered(table.def.number),
                limit,
            )
            .and_then(|rows| {
                rows.into_iter()
                    .map(|(full, stored)| decode_pair(&self.rules, &table.def, &full, stored))
                    .collect()
            });
        self.noting(result)
    }

    /// The primary keys of the first `limit` index entries in `span`, which begins with a leading part of what the index
    /// emits: `tx.index(&PLAYERS_BY_ACCOUNT, &Span::prefix(&account), 100)`.
    ///
    /// # Errors
    /// As [`Tx::scan`].
    pub fn index<P, K: Key>(&mut self, index: &Index<P, K>, span: &Span, limit: usize) -> Result<Vec<K>, TxError> {
        let number = index.def.number;
        let result = match self.rules.catalog.index(number) {
            None => Err(TxError::UnknownTable(number)),
            Some((table, _)) => self.index_rows(table, &span.numbered(number), limit).and_then(|rows| {
                rows.iter()
                    .map(|(full, _)| primary_key(full).map_err(|error| damaged(table, error)))
                    .collect()
            }),
        };
        self.noting(result)
    }

    /// The rows of an index, without walking over what was deleted in front of them.
    fn index_rows(&self, table: &TableDef, range: &EngineRange, limit: usize) -> Result<Vec<StoredRow>, TxError> {
        let Some(floors) = self.floors.filter(|_| limit > 0) else {
            return self.scan_rows(table, Space::Range, range, limit);
        };
        let narrowed = floors.borrow().narrow(range, &self.own);
        let rows = self.scan_rows(table, Space::Range, &narrowed, limit)?;
        let first = rows.first().map(|(full, _)| full.as_slice());
        floors.borrow_mut().learn(range, &self.own, first);
        Ok(rows)
    }

    /// The next number of a counter, from 1. Numbers of transactions that leave nothing are given out again.
    ///
    /// # Errors
    /// [`TxError::CounterExhausted`] at 2^53; otherwise as [`Tx::get`].
    pub fn next_id(&mut self, counter: &'static str) -> Result<u64, TxError> {
        let result = self.counter(counter).and_then(|last| {
            let next = last + 1;
            if next >= ID_LIMIT {
                return Err(TxError::CounterExhausted);
            }
            self.set_counter(counter, next).map(|()| next)
        });
        self.noting(result)
    }

    /// Makes a counter continue above `at_least`, for numbers that came from elsewhere.
    ///
    /// # Errors
    /// As [`Tx::next_id`].
    pub fn raise_counter(&mut self, counter: &'static str, at_least: u64) -> Result<(), TxError> {
        let result = self.counter(counter).and_then(|last| match at_least {
            _ if at_least >= ID_LIMIT => Err(TxError::CounterExhausted),
            _ if at_least > last => self.set_counter(counter, at_least),
            _ => Ok(()),
        });
        self.noting(result)
    }

    fn noting<T>(&mut self, result: Result<T, TxError>) -> Result<T, TxError> {
        if let Err(error) = &result {
            self.failure.get_or_insert_with(|| error.clone());
        }
        result
    }

    fn stored<K: Key>(&self, table: &TableDef, key: &K) -> Result<(Vec<u8>, Option<Vec<u8>>), TxError> {
        let full = full_key(table, key)?;
        let space = self
            .rules
            .catalog
            .space(table.number)
            .ok_or(TxError::UnknownTable(table.number))?;
        let stored = self
            .below
            .under(&self.own)
            .get(space, &full)?
            .map(|value| value.into_owned());
        Ok((full, stored))
    }

    fn read<K: Key>(&self, table: &TableDef, key: &K) -> Result<Option<Vec<u8>>, TxError> {
        let (full, stored) = self.stored(table, key)?;
        stored.map(|stored| self.rules.plain(table, &full, stored)).transpose()
    }

    fn write(&mut self, table: &TableDef, full: Vec<u8>, plain: Option<Vec<u8>>) -> Result<(), TxError> {
        if self.rules.catalog.table(table.number).is_none() {
            return Err(TxError::UnknownTable(table.number));
        }
        let stored = match plain {
            Some(plain) if table.sealed => Some(self.seal(table, &full, &plain)?),
            plain => plain,
        };
        limit("value", stored.as_ref().map_or(0, Vec::len), VALUE_MAX_BYTES)?;
        self.rules.set_row(&mut self.own, self.below, table, full, stored)?;
        self.class = self.class.max(table.class);
        limit("transaction", self.own.bytes(), TX_MAX_BYTES)
    }

    /// The nonce depends on everything that is sealed, so that even a stamp used twice by mistake cannot seal two
    /// different values under one nonce.
    fn seal(&self, table: &TableDef, full: &[u8], plain: &[u8]) -> Result<Vec<u8>, TxError> {
        let mut hasher = blake3::Hasher::new_keyed(&self.entropy32("seal nonce"));
        hasher.update(&(full.len() as u64).to_be_bytes());
        hasher.update(full);
        hasher.update(plain);
        let mut nonce = [0; NONCE_BYTES];
        hasher.finalize_xof().fill(&mut nonce);
        self.rules
            .keys
            .seal(full, &nonce, plain)
            .map_err(|error| TxError::Seal {
                table: table.number,
                error,
            })
    }

    fn scan_rows(
        &self,
        table: &TableDef,
        space: Space,
        range: &EngineRange,
        rows_max: usize,
    ) -> Result<Vec<StoredRow>, TxError> {
        if self.rules.catalog.table(table.number).is_none() {
            return Err(TxError::UnknownTable(table.number));
        }
        limit("scan", rows_max, SCAN_MAX_ROWS)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        if rows_max > 0 {
            self.below.under(&self.own).scan(space, range, &mut |key, value| {
                bytes += key.len() + value.len();
                rows.push((key.to_vec(), value.to_vec()));
                if rows.len() == rows_max || bytes > SCAN_MAX_BYTES {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
        }
        limit("scan", bytes, SCAN_MAX_BYTES)?;
        Ok(rows)
    }

    fn counter(&self, name: &'static str) -> Result<u64, TxError> {
        limit("key", name.len(), COUNTER_NAME_MAX_BYTES)?;
        let stored = self
            .below
            .under(&self.own)
            .get(Space::Meta, &row_key(COUNTER_TABLE, name.as_bytes()))?;
        stored.map_or(Ok(0), |value| {
            u64::decode(&value).map_err(|error| damaged(&COUNTERS, error))
        })
    }

    fn set_counter(&mut self, name: &'static str, value: u64) -> Result<(), TxError> {
        self.write(
            &COUNTERS,
            row_key(COUNTER_TABLE, name.as_bytes()),
            Some(value.to_be_bytes().to_vec()),
        )
    }
}

fn limit(what: &'static str, bytes: usize, limit: usize) -> Result<(), TxError> {
    if bytes > limit {
        Err(TxError::TooLarge { what, bytes, limit })
    } else {
        Ok(())
    }
}

fn damaged(table: &TableDef, error: CodecError) -> TxError {
    TxError::Codec {
        table: table.number,
        error,
    }
}

/// The full key of a row, checked against the limit.
pub(crate) fn full_key<K: Key>(table: &TableDef, key: &K) -> Result<Vec<u8>, TxError> {
    let mut full = Vec::with_capacity(2 + K::WIDTH);
    full.extend_from_slice(&table.number.to_be_bytes());
    key.encode(&mut full);
    limit("key", full.len() - 2, KEY_MAX_BYTES)?;
    Ok(full)
}

/// The primary key at the end of an index row's full key.
pub(crate) fn primary_key<K: Key>(full: &[u8]) -> Result<K, CodecError> {
    let at = full.len().checked_sub(K::WIDTH).filter(|at| *at >= 2);
    let at = at.ok_or(CodecError::Short {
        needed: K::WIDTH + 2,
        got: full.len(),
    })?;
    K::decode(full.get(at..).unwrap_or_default())
}

/// Key and record of a stored row.
pub(crate) fn decode_pair<K: Key, V: Record>(
    rules: &Rules<'_>,
    table: &TableDef,
    full: &[u8],
    stored: Vec<u8>,
) -> Result<(K, V), TxError> {
    let plain = rules.plain(table, full, stored)?;
    let key = K::decode(crate::catalog::bare_key(full)).map_err(|error| damaged(table, error))?;
    Ok((key, decode_record(&plain).map_err(|error| damaged(table, error))?))
}

#[cfg(test)]
mod tests;
