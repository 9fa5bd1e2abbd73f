//! Reading over one snapshot: a consistent state of all tables for a short time. Every scan is a page with a row and a
//! byte limit and says where the next one begins.

use std::ops::ControlFlow;

use crate::apply::Rules;
use crate::catalog::{COUNTER_TABLE, bare_key, row_key, table_space};
use crate::engine::{EngineView, Space};
use crate::error::{CodecError, ReadError};
use crate::head::Head;
use crate::key::Key;
use crate::limits::{SCAN_MAX_BYTES, SCAN_MAX_ROWS};
use crate::record::{Record, decode_record};
use crate::span::Span;
use crate::table::{Index, Table, TableDef};
use crate::tx::{StoredRow, decode_pair, full_key, primary_key};

/// A snapshot. Hold it for seconds at most.
pub struct View<'a> {
    rules: Rules<'a>,
    rows: Box<dyn EngineView + 'a>,
}

/// Some rows of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in the span's direction.
    pub rows: Vec<T>,
    /// What is left to scan; `None` when the span is exhausted.
    pub next: Option<Span>,
}

impl<'a> View<'a> {
    pub(crate) fn new(rules: Rules<'a>, rows: Box<dyn EngineView + 'a>) -> Self {
        Self { rules, rows }
    }

    /// Reads a row.
    ///
    /// # Errors
    /// [`ReadError`] when the engine fails or the row is damaged.
    pub fn get<K: Key, V: Record>(&self, table: &Table<K, V>, key: &K) -> Result<Option<V>, ReadError> {
        let def = &table.def;
        self.registered(def)?;
        let full = full_key(def, key)?;
        let Some(stored) = self.rows.get(table_space(def), &full)? else {
            return Ok(None);
        };
        let plain = self.rules.plain(def, &full, stored)?;
        decode_record(&plain).map(Some).map_err(|error| ReadError::Codec {
            table: def.number,
            error,
        })
    }

    /// Reads several rows, in the order of the keys.
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn get_many<K: Key, V: Record>(&self, table: &Table<K, V>, keys: &[K]) -> Result<Vec<Option<V>>, ReadError> {
        keys.iter().map(|key| self.get(table, key)).collect()
    }

    /// A page of at most `limit` rows of `span`.
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn scan<K: Key, V: Record>(
        &self,
        table: &Table<K, V>,
        span: &Span,
        limit: usize,
    ) -> Result<Page<(K, V)>, ReadError> {
        self.registered(&table.def)?;
        let page = self.page(table_space(&table.def), table.def.number, span, limit)?;
        let decode = |(full, stored): StoredRow| decode_pair(&self.rules, &table.def, &full, stored);
        let rows = page.rows.into_iter().map(decode).collect::<Result<Vec<_>, _>>()?;
        Ok(Page { rows, next: page.next })
    }

    /// A page of at most `limit` primary keys from an index.
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn index<P, K: Key>(&self, index: &Index<P, K>, span: &Span, limit: usize) -> Result<Page<K>, ReadError> {
        let number = index.def.number;
        let Some((table, _)) = self.rules.catalog.index(number) else {
            return Err(ReadError::UnknownTable(number));
        };
        let page = self.page(Space::Range, number, span, limit)?;
        let rows = page
            .rows
            .iter()
            .map(|(full, _)| primary_key(full))
            .collect::<Result<Vec<_>, CodecError>>();
        let rows = rows.map_err(|error| ReadError::Codec {
            table: table.number,
            error,
        })?;
        Ok(Page { rows, next: page.next })
    }

    /// The last number a counter gave out; 0 before the first.
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn counter(&self, name: &str) -> Result<u64, ReadError> {
        let stored = self.rows.get(Space::Meta, &row_key(COUNTER_TABLE, name.as_bytes()))?;
        let decode = |value: Vec<u8>| {
            u64::decode(&value).map_err(|error| ReadError::Codec {
                table: COUNTER_TABLE,
                error,
            })
        };
        stored.map_or(Ok(0), decode)
    }

    /// The head of exactly this snapshot; `None` before the first write.
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn head(&self) -> Result<Option<Head>, ReadError> {
        let Some(stored) = self.rows.get(Space::Meta, &Head::key())? else {
            return Ok(None);
        };
        let head = Head::decode(&stored).map_err(|error| ReadError::Codec {
            table: crate::catalog::HEAD_TABLE,
            error,
        })?;
        Ok(Some(head.1))
    }

    fn registered(&self, table: &TableDef) -> Result<(), ReadError> {
        match self.rules.catalog.table(table.number) {
            Some(_) => Ok(()),
            None => Err(ReadError::UnknownTable(table.number)),
        }
    }

    fn page(&self, space: Space, number: u16, span: &Span, limit: usize) -> Result<Page<StoredRow>, ReadError> {
        let (limit, mut bytes, mut full) = (limit.min(SCAN_MAX_ROWS), 0, false);
        let mut rows: Vec<StoredRow> = Vec::new();
        self.rows.scan(space, &span.numbered(number), &mut |key, value| {
            full = rows.len() >= limit || bytes >= SCAN_MAX_BYTES;
            if full {
                return ControlFlow::Break(());
            }
            bytes += key.len() + value.len();
            rows.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })?;
        let next = full.then(|| {
            rows.last()
                .map_or_else(|| span.clone(), |(key, _)| span.clone().beyond(bare_key(key)))
        });
        Ok(Page { rows, next })
    }
}

#[cfg(test)]
mod tests;
