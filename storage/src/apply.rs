//! The one place that turns "this row gets this value" into changed rows, index rows included. Transactions, replays of
//! frames and (later) a standby all come through here, so that an index cannot disagree with its table.

use std::collections::BTreeSet;

use crate::catalog::{Catalog, bare_key, number_of, row_key, table_space};
use crate::error::TxError;
use crate::fault;
use crate::frame::Frame;
use crate::keyring::KeyRing;
use crate::overlay::{Layers, Overlay};
use crate::table::{IndexDef, TableDef};

/// What applying needs to know besides the rows.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) keys: &'a KeyRing,
}

impl Rules<'_> {
    /// The plain form of a stored value.
    pub(crate) fn plain(&self, table: &TableDef, row_key: &[u8], stored: Vec<u8>) -> Result<Vec<u8>, TxError> {
        if !table.sealed {
            return Ok(stored);
        }
        self.keys.open(row_key, &stored).map_err(|error| TxError::Seal {
            table: table.number,
            error,
        })
    }

    /// The full keys of the index rows that a row with this plain value has.
    pub(crate) fn index_rows(
        &self,
        table: &TableDef,
        row_key: &[u8],
        plain: &[u8],
    ) -> Result<BTreeSet<Vec<u8>>, TxError> {
        let mut rows = BTreeSet::new();
        for index in table.indexes {
            self.index_rows_of(table, index, row_key, plain, &mut rows)?;
        }
        Ok(rows)
    }

    /// The same for one index.
    pub(crate) fn index_rows_of(
        &self,
        table: &TableDef,
        index: &IndexDef,
        full_key: &[u8],
        plain: &[u8],
        rows: &mut BTreeSet<Vec<u8>>,
    ) -> Result<(), TxError> {
        let key = bare_key(full_key);
        let mut emit = |emitted: &[u8]| {
            let mut full = row_key(index.number, emitted);
            full.extend_from_slice(key);
            rows.insert(full);
        };
        (index.of)(key, plain, &mut emit).map_err(|error| TxError::Codec {
            table: table.number,
            error,
        })
    }

    /// Sets a row to a stored value (`None` deletes) in `own` and keeps its indexes right.
    pub(crate) fn set_row(
        &self,
        own: &mut Overlay,
        below: Layers<'_>,
        table: &TableDef,
        full_key: Vec<u8>,
        stored: Option<Vec<u8>>,
    ) -> Result<(), TxError> {
        if !table.indexes.is_empty() {
            let before = below
                .under(own)
                .get(table_space(table), &full_key)?
                .map(|value| value.into_owned());
            let before = self.entries(table, &full_key, before)?;
            let after = self.entries(table, &full_key, stored.clone())?;
            for gone in before.difference(&after) {
                own.set(gone.clone(), None);
            }
            for new in after.difference(&before) {
                if fault::is_on(fault::Switch::IndexDrift) && full_key.last().is_some_and(|byte| byte % 8 == 0) {
                    continue;
                }
                own.set(new.clone(), Some(Vec::new()));
            }
        }
        own.set(full_key, stored);
        Ok(())
    }

    fn entries(
        &self,
        table: &TableDef,
        full_key: &[u8],
        stored: Option<Vec<u8>>,
    ) -> Result<BTreeSet<Vec<u8>>, TxError> {
        match stored {
            Some(stored) => self.index_rows(table, full_key, &self.plain(table, full_key, stored)?),
            None => Ok(BTreeSet::new()),
        }
    }

    /// Lays all row changes of a frame over `own`, with `below` under it: the way frames are applied where they arrive.
    ///
    /// # Errors
    /// [`TxError::UnknownTable`] for a table this build does not have: the caller must halt, never skip.
    pub(crate) fn add_frame(&self, own: &mut Overlay, below: Layers<'_>, frame: &Frame<'_>) -> Result<(), TxError> {
        for change in frame.transactions.iter().flat_map(|tx| &tx.rows) {
            let table = self
                .catalog
                .table(change.table)
                .ok_or(TxError::UnknownTable(change.table))?;
            let full_key = row_key(change.table, change.key);
            self.set_row(own, below, table, full_key, change.value.map(<[u8]>::to_vec))?;
        }
        Ok(())
    }

    /// The rows of an overlay that belong into a frame: those of tables, not of indexes.
    pub(crate) fn frame_part<'o>(
        &self,
        overlay: &'o Overlay,
    ) -> impl Iterator<Item = (&'o [u8], Option<&'o [u8]>)> + use<'o, '_> {
        let catalog = self.catalog;
        overlay
            .rows()
            .iter()
            .filter(|(key, _)| catalog.table(number_of(key)).is_some())
            .map(|(key, value)| (key.as_slice(), value.as_deref()))
    }
}
