//! What every start and the first start write: room between ids, realm 1, and the keys of the token MACs.

use seawall_storage::Tx;

use crate::call::Call;
use crate::error::Error;
use crate::ids::RealmId;
use crate::platform::{Platform, defect};
use crate::tables::catalogue::{MAC_KEYS, MacKeyRow, REALMS, RealmRow};

/// Session ids left out at each start: more than half a minute of logins at full speed.
pub const SESSION_IDS_SKIPPED: u64 = 1_000_000;
/// Account and player ids left out at each start.
pub const IDS_SKIPPED: u64 = 100_000;

impl Platform {
    /// Makes realm 1 and MAC key 1 unless they are there, and leaves room between the ids given out before and from
    /// now on. Blocks.
    ///
    /// The room is for a lost tail: when a crash of the host or a failover took the last frames away, their ids are in
    /// clients' hands. Given out again, a token of the lost session would fall under another session's revocation, and
    /// a game server would take a new player for an old one.
    pub(crate) fn start(&self) -> Result<(), Error> {
        let call = Call::platform(self.entropy());
        let made = |tx: &mut Tx<'_>| -> Result<(), Error> {
            if tx.exists(&MAC_KEYS, &1)? {
                let (session, id) = (tx.next_id("session")?, tx.next_id("id")?);
                tx.raise_counter("session", session + SESSION_IDS_SKIPPED)?;
                return Ok(tx.raise_counter("id", id + IDS_SKIPPED)?);
            }
            tx.raise_counter("realm", 1)?;
            tx.put(
                &REALMS,
                &RealmId(1),
                &RealmRow {
                    name: "default".into(),
                    guests_allowed: true,
                    created_at: tx.now_at(),
                },
            )?;
            // Accounts and players begin above a million, so that no id is mistaken for a count or a test value.
            tx.raise_counter("id", 1_000_000)?;
            new_mac_key(tx).map(drop)
        };
        self.inner
            .store
            .write(self.stamp(&call, "platform.start"), made)
            .wait()
            .map_err(Error::from)
    }

    /// `mac_key.rotate`: new tokens are signed by a new key; old tokens stay good until they end. Answers its id.
    ///
    /// # Errors
    /// The store's.
    pub async fn mac_key_rotate(&self, call: &Call) -> Result<u16, Error> {
        self.commit(call, "mac_key.rotate", new_mac_key).await
    }
}

fn new_mac_key(tx: &mut Tx<'_>) -> Result<u16, Error> {
    let id = u16::try_from(tx.next_id("mac_key")?).map_err(|_| defect("MAC key ids are used up"))?;
    let row = MacKeyRow {
        key: tx.entropy32("mac key"),
        created_at: tx.now_at(),
    };
    tx.put(&MAC_KEYS, &id, &row)?;
    Ok(id)
}
