//! Open sessions in great number: written through the store in bounded transactions, as logins write them, and read back as the
//! tokens their players hold.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use seawall_domain::tables;
use seawall_domain::tables::account::{ACCOUNTS, PLAYERS, PlayerRow};
use seawall_domain::tables::catalogue::MAC_KEYS;
use seawall_domain::tables::session::{SESSIONS, SessionRow};
use seawall_domain::token::{Claims, MacRing};
use seawall_domain::{AccountId, GameId, PackageId, PlayerId, SessionId};
use seawall_storage::{KeyRing, MemoryBudget, OpenOptions, Span, Stamp, Store, Tx, TxError};
use seawall_tests::server::Failure;

use crate::machine::LOADER_CPU;
use crate::process::{output, own_path};
use crate::seawall::Player;

/// Accounts whose sessions are written in one transaction.
const PAGE_ACCOUNTS: usize = 120;
/// Transactions under way at once.
const UNDER_WAY: usize = 32;
/// Tokens of a set stay good for so long.
const LIFE_MS: u64 = 3_650 * 86_400_000;
const MEMORY: MemoryBudget = MemoryBudget {
    block_cache_bytes: 512 << 20,
    row_cache_bytes: 32 << 20,
    memtable_bytes: 256 << 20,
};

/// Where the players play.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Game.
    pub game_id: GameId,
    /// Package of their logins.
    pub package_id: PackageId,
}

/// Who gets how many sessions.
#[derive(Debug, Clone, Copy)]
pub struct Players {
    /// Sessions of an account.
    pub per_account: u64,
    /// Accounts that were taken over under a lower uid have theirs already.
    pub first_uid: u64,
}

/// [`seed`] in a process of its own on all CPUs, for this one is kept on one.
///
/// # Errors
/// As `seed`.
pub fn seed_apart(data: &Path, place: &Place, players: Players) -> Result<u64, Failure> {
    let arguments = [
        "part".to_owned(),
        "sessions".to_owned(),
        data.display().to_string(),
        place.game_id.to_string(),
        place.package_id.to_string(),
        players.per_account.to_string(),
        players.first_uid.to_string(),
    ];
    let text = output(&format!("0-{LOADER_CPU}"), &own_path()?, &arguments)?;
    Ok(text.trim().parse()?)
}

/// Opens sessions for accounts that were taken over; answers how many those are. No server may have the directory.
///
/// # Errors
/// The store's.
pub fn seed(data: &Path, place: &Place, players: Players) -> Result<u64, Failure> {
    let store = open(data)?;
    let (ring, mut span, mut sessions) = (mac_ring(&store)?, Some(Span::all()), 0);
    let mac_key_id = ring.newest().ok_or("the platform has no MAC key")?;
    let mut under_way = VecDeque::new();
    while let Some(next) = span.take() {
        let page = store.read(|view| view.scan(&ACCOUNTS, &next, PAGE_ACCOUNTS))?;
        span = page.next;
        let accounts: Vec<(AccountId, PlayerId)> = page
            .rows
            .iter()
            .filter_map(|(id, row)| Some((*id, row.imported.as_ref()?.uid)))
            .filter(|(_, uid)| *uid >= players.first_uid)
            .map(|(id, uid)| (id, PlayerId(uid)))
            .collect();
        if accounts.is_empty() {
            continue;
        }
        sessions += accounts.len() as u64 * players.per_account;
        let place = *place;
        let write = move |tx: &mut Tx<'_>| open_sessions(tx, &place, mac_key_id, &accounts, players.per_account);
        under_way.push_back(store.write::<(), TxError, _>(stamp()?, write));
        if under_way.len() > UNDER_WAY
            && let Some(oldest) = under_way.pop_front()
        {
            oldest.wait()?;
        }
    }
    for commit in under_way {
        commit.wait()?;
    }
    store.shutdown();
    Ok(sessions)
}

fn open_sessions(
    tx: &mut Tx<'_>,
    place: &Place,
    mac_key_id: u16,
    accounts: &[(AccountId, PlayerId)],
    per_account: u64,
) -> Result<(), TxError> {
    let now_at = tx.now_at();
    for (account_id, player_id) in accounts.iter().copied() {
        let player = PlayerRow {
            account_id,
            slot: 0,
            created_at: now_at,
        };
        tx.put(&PLAYERS, &(place.game_id, player_id), &player)?;
        for number in 0..per_account {
            let session = SessionRow {
                refresh_expires_at: now_at + LIFE_MS,
                account_id,
                game_id: place.game_id,
                player_id,
                package_id: place.package_id,
                device: [u8::try_from(number).unwrap_or(0); 16],
                device_label: "Xiaomi 14".into(),
                mac_key_id,
                generation: 0,
                created_at: now_at,
                issued_at: now_at,
                access_expires_at: now_at + LIFE_MS,
                access_until_at: now_at + LIFE_MS,
                revoked: None,
            };
            let id = SessionId(tx.next_id("session")?);
            tx.put(&SESSIONS, &id, &session)?;
        }
    }
    Ok(())
}

/// The tokens of sessions drawn at random, each once. No server may have the directory.
///
/// # Errors
/// The store's.
pub fn draw(data: &Path, sessions: u64, count: usize) -> Result<Vec<Player>, Failure> {
    let store = open(data)?;
    let ring = mac_ring(&store)?;
    let mut players = Vec::with_capacity(count);
    // A step that shares no factor with the number of sessions visits each once, in no order a cache could like.
    let step = (1..)
        .map(|n| sessions * 6 / 10 + n)
        .find(|step| gcd(*step, sessions) == 1);
    let step = step.ok_or("no step")?;
    let mut id = 0;
    for _ in 0..sessions {
        if players.len() == count {
            break;
        }
        id = (id + step) % sessions;
        let session_id = SessionId(id + 1);
        let found = store.read(|view| view.get(&SESSIONS, &session_id))?;
        let Some(row) = found.filter(|row| row.generation == 0 && row.revoked.is_none()) else {
            continue;
        };
        players.extend(tokens(&ring, session_id, &row));
    }
    store.shutdown();
    Ok(players)
}

fn tokens(ring: &MacRing, session_id: SessionId, row: &SessionRow) -> Option<Player> {
    let claims = |expires_at| Claims {
        mac_key_id: row.mac_key_id,
        game_id: row.game_id,
        package_id: row.package_id,
        account_id: row.account_id,
        player_id: row.player_id,
        session_id,
        issued_at: row.issued_at,
        expires_at,
    };
    Some(Player {
        access_token: ring.access_token(&claims(row.access_expires_at))?,
        refresh_token: ring.refresh_token(&claims(row.refresh_expires_at), row.generation)?,
        guest_secret: String::new(),
    })
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn open(data: &Path) -> Result<Store, Failure> {
    let keys = KeyRing::load(&data.join("keys/cluster.key"))?;
    let begun = Instant::now();
    let boot_ms = move || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut options = OpenOptions::new(tables::TABLES, keys, Arc::new(boot_ms), [7; 32]);
    options.memory = MEMORY;
    Ok(Store::open(data, options)?)
}

fn mac_ring(store: &Store) -> Result<MacRing, Failure> {
    let page = store.read(|view| view.scan(&MAC_KEYS, &Span::all(), 1_000))?;
    let rows = page.rows.iter();
    Ok(rows.fold(MacRing::default(), |ring, (id, row)| ring.with(*id, row.key)))
}

fn stamp() -> Result<Stamp, Failure> {
    Ok(Stamp {
        op: "session.create",
        caller: "bench".into(),
        request_id: [0; 16],
        now_at: u64::try_from(UNIX_EPOCH.elapsed()?.as_millis())?,
        entropy: [3; 32],
        idempotency_key: None,
    })
}
