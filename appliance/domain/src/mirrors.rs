//! What must be answered from memory, kept equal to the store by its observers: the catalogue, the revocations,
//! the restrictions and the deletions.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use seawall_storage::{Key, OpenOptions, ReadError, Record, Span, Table, View, fault};

use crate::catalogue::Catalogue;
use crate::deletion::DeletionMirror;
use crate::ids::UnixMs;
use crate::restriction::RestrictionMirror;
use crate::revocation::RevocationMirror;
use crate::tables::catalogue::{GAMES, KEYS, MAC_KEYS, PACKAGES, REALMS};
use crate::tables::restriction::RESTRICTIONS;
use crate::tables::session::{ACCOUNT_DELETIONS, ACCOUNT_REVOCATIONS, PLAYER_REVOCATIONS, SESSION_REVOCATIONS};

/// Rows read at a time while loading.
const LOAD_PAGE_ROWS: usize = 5_000;

/// The mirrors. Made before the store is opened, attached to its options, then given to the platform.
#[derive(Clone, Default)]
pub struct Mirrors {
    set: Arc<Set>,
}

#[derive(Default)]
struct Set {
    catalogue: ArcSwap<Catalogue>,
    revocations: RevocationMirror,
    restrictions: RestrictionMirror,
    deletions: DeletionMirror,
}

impl Mirrors {
    /// Has the store tell the mirrors of every change, before the change is answered.
    #[must_use]
    pub fn attach(&self, options: OpenOptions) -> OpenOptions {
        let mirrors = || self.clone();
        let (realms, games, packages, keys, mac_keys) = (mirrors(), mirrors(), mirrors(), mirrors(), mirrors());
        let (sessions, accounts, players) = (mirrors(), mirrors(), mirrors());
        let (restrictions, deletions) = (mirrors(), mirrors());
        options
            .observe(&REALMS, move |id, row| {
                realms.change(|catalogue| catalogue.set_realm(*id, row));
            })
            .observe(&GAMES, move |id, row| {
                games.change(|catalogue| catalogue.set_game(*id, row));
            })
            .observe(&PACKAGES, move |id, row| {
                packages.change(|catalogue| catalogue.set_package(*id, row));
            })
            .observe(&KEYS, move |id, row| {
                keys.change(|catalogue| catalogue.set_key(*id, row));
            })
            .observe(&MAC_KEYS, move |id, row| {
                mac_keys.change(|catalogue| catalogue.set_mac_key(*id, row));
            })
            .observe(&SESSION_REVOCATIONS, move |id, row| match row {
                Some(row) => sessions.revocations().put_session(*id, row.reason),
                None => sessions.revocations().drop_session(*id),
            })
            .observe(&ACCOUNT_REVOCATIONS, move |id, row| match row {
                Some(row) => accounts
                    .revocations()
                    .put_account(*id, row.through_session, row.except_session),
                None => accounts.revocations().drop_account(*id),
            })
            .observe(&PLAYER_REVOCATIONS, move |(game, player), row| match row {
                Some(row) => players.revocations().put_player(*game, *player, row.through_session),
                None => players.revocations().drop_player(*game, *player),
            })
            .observe(&RESTRICTIONS, move |id, row| match row {
                Some(row) => restrictions.restrictions().put(*id, row),
                None => restrictions.restrictions().forget(*id),
            })
            .observe(&ACCOUNT_DELETIONS, move |id, row| {
                deletions.deletions().set(*id, row.is_some());
            })
    }

    /// Fills the catalogue from a snapshot. Nothing may be written meanwhile.
    pub(crate) fn load_catalogue(&self, view: &View<'_>) -> Result<(), ReadError> {
        let mut catalogue = Catalogue::default();
        each(view, &REALMS, |id, row| catalogue.set_realm(id, Some(&row)))?;
        each(view, &GAMES, |id, row| catalogue.set_game(id, Some(&row)))?;
        each(view, &PACKAGES, |id, row| catalogue.set_package(id, Some(&row)))?;
        each(view, &KEYS, |id, row| catalogue.set_key(id, Some(&row)))?;
        each(view, &MAC_KEYS, |id, row| catalogue.set_mac_key(id, Some(&row)))?;
        self.set.catalogue.store(Arc::new(catalogue));
        Ok(())
    }

    /// Fills the mirrors from a snapshot. Nothing may be written meanwhile.
    pub(crate) fn load(&self, view: &View<'_>, now_at: UnixMs) -> Result<(), ReadError> {
        self.load_catalogue(view)?;
        let revocations = self.revocations();
        each(view, &SESSION_REVOCATIONS, |id, row| {
            if !fault::is_on(fault::Switch::DropRevocations) {
                revocations.put_session(id, row.reason);
            }
        })?;
        each(view, &ACCOUNT_REVOCATIONS, |id, row| {
            revocations.put_account(id, row.through_session, row.except_session);
        })?;
        each(view, &PLAYER_REVOCATIONS, |(game, player), row| {
            revocations.put_player(game, player, row.through_session);
        })?;
        each(view, &ACCOUNT_DELETIONS, |id, _| self.deletions().set(id, true))?;
        each(view, &RESTRICTIONS, |id, row| {
            if row.until_at.is_none_or(|until| now_at < until) {
                self.restrictions().put(id, &row);
            }
        })
    }

    /// Replaces the snapshot by a changed copy: rare, and a few thousand pointers. Only the store's one writer thread
    /// calls it.
    fn change(&self, apply: impl FnOnce(&mut Catalogue)) {
        let mut next = Catalogue::clone(&self.set.catalogue.load());
        apply(&mut next);
        self.set.catalogue.store(Arc::new(next));
    }

    pub(crate) fn catalogue(&self) -> Guard<Arc<Catalogue>> {
        self.set.catalogue.load()
    }

    /// What verify asks whether a session was revoked.
    #[must_use]
    pub fn revocations(&self) -> &RevocationMirror {
        &self.set.revocations
    }

    pub(crate) fn deletions(&self) -> &DeletionMirror {
        &self.set.deletions
    }

    pub(crate) fn restrictions(&self) -> &RestrictionMirror {
        &self.set.restrictions
    }
}

/// Visits all rows of a table in pages.
pub(crate) fn each<K: Key, V: Record>(
    view: &View<'_>,
    table: &'static Table<K, V>,
    mut visit: impl FnMut(K, V),
) -> Result<(), ReadError> {
    let mut next = Some(Span::all());
    while let Some(span) = next {
        let page = view.scan(table, &span, LOAD_PAGE_ROWS)?;
        page.rows.into_iter().for_each(|(key, row)| visit(key, row));
        next = page.next;
    }
    Ok(())
}
