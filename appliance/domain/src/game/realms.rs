//! `realm.create`, `realm.list`, `realm.update`.

use seawall_storage::{Span, Tx};

use super::RealmView;
use crate::codes::{REALM_EXISTS, REALM_UNKNOWN};
use crate::ids::RealmId;
use crate::normalise::{self, field_error};
use crate::platform::defect;
use crate::tables::catalogue::{REALMS, RealmRow};
use crate::{Call, Error, Platform};

/// Most realms.
pub const REALMS_MAX: usize = 1_000;

impl Platform {
    /// `realm.create`.
    ///
    /// # Errors
    /// `request.field_invalid`, `realm.exists`, or the store's.
    pub async fn realm_create(&self, call: &Call, name: &str, guests_allowed: bool) -> Result<RealmView, Error> {
        let name = normalise::name(name, "name")?;
        self.commit(call, "realm.create", move |tx| {
            let realms = tx.scan(&REALMS, &Span::all(), REALMS_MAX)?;
            if realms.iter().any(|(_, realm)| realm.name == name) {
                return Err(REALM_EXISTS.error());
            }
            if realms.len() >= REALMS_MAX {
                return Err(field_error("name", "is one too many: there are 1000 realms"));
            }
            let realm = RealmRow {
                name: name.clone(),
                guests_allowed,
                created_at: tx.now_at(),
            };
            let id = small_id(tx, "realm").map(RealmId)?;
            tx.put(&REALMS, &id, &realm)?;
            Ok(view(id, &realm))
        })
        .await
    }

    /// `realm.list`, by id. Realm 1, `default`, exists from the first start.
    ///
    /// # Errors
    /// None today.
    pub async fn realm_list(&self, _call: &Call) -> Result<Vec<RealmView>, Error> {
        Ok(self
            .catalogue()
            .realms
            .iter()
            .map(|(id, realm)| view(*id, realm))
            .collect())
    }

    /// `realm.update`: may guests register?
    ///
    /// # Errors
    /// `realm.unknown`, or the store's.
    pub async fn realm_update(&self, call: &Call, realm_id: RealmId, guests_allowed: bool) -> Result<RealmView, Error> {
        self.commit(call, "realm.update", move |tx| {
            let mut realm = tx.get(&REALMS, &realm_id)?.ok_or_else(|| REALM_UNKNOWN.error())?;
            realm.guests_allowed = guests_allowed;
            tx.put(&REALMS, &realm_id, &realm)?;
            Ok(view(realm_id, &realm))
        })
        .await
    }
}

/// The next id of a kind whose ids are 32 bits wide.
pub(crate) fn small_id(tx: &mut Tx<'_>, counter: &'static str) -> Result<u32, Error> {
    u32::try_from(tx.next_id(counter)?).map_err(|_| defect("32-bit ids are used up"))
}

fn view(realm_id: RealmId, row: &RealmRow) -> RealmView {
    RealmView {
        realm_id,
        name: row.name.clone(),
        guests_allowed: row.guests_allowed,
        created_at: row.created_at,
    }
}
