//! A small complete world on the memory engine: the real platform over the real store, with a clock that a test
//! moves, seeded chance, and hashes at the lowest cost on the calling thread. For tests of this and other crates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
pub use seawall_storage::block_on;
use seawall_storage::{KeyRing, OpenOptions, Store};

use crate::account::{AccountCreate, ClientInfo, DeviceInfo};
use crate::call::{Call, Caller};
use crate::error::Error;
use crate::game::GameChange;
use crate::ids::{GameId, KeyId, PackageId, RealmId, UnixMs};
use crate::key::KeySecret;
use crate::password::HashCost;
use crate::ports::{AuthLog, Clock, Entropy, HashAsk, HashMemory, HashOutcome, HashPool, LogFuture};
use crate::session::{Credential, LoggedIn, LoginOutcome, SessionCreate};
use crate::tables::TABLES;
use crate::{AbuseOptions, CredentialCacheOptions, Mirrors, Platform, PlatformOptions};

mod calls;
mod hold;

pub use calls::{client, credential, keyed, operator, package};
pub use hold::{HeldPool, HeldStore};

/// Where every world's clock begins.
pub const START_AT: UnixMs = 1_700_000_000_000;
/// The cheapest hash that is one.
pub const CHEAP: HashCost = HashCost {
    memory_kib: 8,
    passes: 1,
    lanes: 1,
};

/// A wall clock and a boot-time clock that move only when told.
#[derive(Debug)]
pub struct TestClock {
    wall_at: AtomicU64,
    boot_ms: AtomicU64,
}

impl TestClock {
    /// Lets time pass: both clocks move.
    pub fn advance(&self, ms: u64) {
        self.wall_at.fetch_add(ms, Ordering::SeqCst);
        self.boot_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Steps the wall clock only, as an administrator or a broken time server does.
    pub fn step_to(&self, at: UnixMs) {
        self.wall_at.store(at, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_at(&self) -> UnixMs {
        self.wall_at.load(Ordering::SeqCst)
    }

    fn boot_ms(&self) -> u64 {
        self.boot_ms.load(Ordering::SeqCst)
    }
}

/// Chance that repeats: the same seed gives the same bytes in the same order.
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    drawn: AtomicU64,
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&self.seed.to_be_bytes())
            .update(&self.drawn.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        hasher.finalize_xof().fill(out);
    }
}

/// A source of seeded chance as the port wants it.
pub struct SeededEntropyOf(
    /// The seed.
    pub u64,
);

impl From<SeededEntropyOf> for Arc<dyn Entropy> {
    fn from(seed: SeededEntropyOf) -> Self {
        Arc::new(SeededEntropy {
            seed: seed.0,
            drawn: AtomicU64::new(0),
        })
    }
}

/// Runs hashes on the calling thread and counts them.
#[derive(Debug, Default)]
pub struct InlinePool {
    /// Whether the pool says that it is busy.
    pub busy: AtomicBool,
    /// Whether the pool refuses all work, to be asked for again after 2.5 s.
    pub full: AtomicBool,
    /// Jobs run so far.
    pub jobs: AtomicU64,
}

impl HashPool for InlinePool {
    fn run(&self, ask: HashAsk) -> std::pin::Pin<Box<dyn Future<Output = Result<HashOutcome, Error>> + Send>> {
        if self.full.load(Ordering::SeqCst) {
            let refused = crate::codes::OVERLOADED.error().retry_after_ms(2_500);
            return Box::pin(std::future::ready(Err(refused)));
        }
        self.jobs.fetch_add(1, Ordering::SeqCst);
        let outcome = (ask.job)(&mut HashMemory::for_cost(CHEAP));
        Box::pin(std::future::ready(Ok(outcome)))
    }

    fn is_idle(&self) -> bool {
        !self.busy.load(Ordering::SeqCst)
    }
}

/// A kept record with its search keys.
type KeptRecord = (Vec<u8>, Vec<(u8, u64)>);

/// An authentication log in memory.
#[derive(Debug, Default)]
pub struct MemoryLog {
    records: Mutex<Vec<KeptRecord>>,
    /// Whether the queue says that it is full.
    pub full: AtomicBool,
}

impl AuthLog for MemoryLog {
    fn enqueue(&self, record: Vec<u8>, keys: &[(u8, u64)]) -> bool {
        if self.full.load(Ordering::SeqCst) {
            return false;
        }
        self.records.lock().push((record, keys.to_vec()));
        true
    }

    fn append(&self, record: Vec<u8>, keys: &[(u8, u64)]) -> LogFuture<()> {
        self.records.lock().push((record, keys.to_vec()));
        Box::pin(std::future::ready(Ok(())))
    }

    fn search(&self, kind: u8, hash: u64, limit: usize) -> LogFuture<Vec<Vec<u8>>> {
        let records = self.records.lock();
        let found = records
            .iter()
            .rev()
            .filter(|(_, keys)| keys.contains(&(kind, hash)))
            .take(limit)
            .map(|(record, _)| record.clone())
            .collect();
        Box::pin(std::future::ready(Ok(found)))
    }
}

/// A platform with one game, one package and one server key.
pub struct World {
    /// The platform under test.
    pub platform: Platform,
    /// Its store.
    pub store: Store,
    /// Its clocks.
    pub clock: Arc<TestClock>,
    /// Its hash pool.
    pub pool: Arc<InlinePool>,
    /// Its authentication log.
    pub log: Arc<MemoryLog>,
    /// The cluster keys.
    pub keys: KeyRing,
    /// A game of realm 1 with default settings.
    pub game_id: GameId,
    /// A package of the game.
    pub package_id: PackageId,
    /// A server key of the game.
    pub key_id: KeyId,
    /// The secret of the key.
    pub secret: String,
}

impl World {
    /// A fresh world.
    ///
    /// # Errors
    /// The platform's.
    pub fn new() -> Result<Self, Error> {
        Self::with_seed(1)
    }

    /// A fresh world with limits against abuse; the others have none, for their clock stands still.
    ///
    /// # Errors
    /// The platform's.
    pub fn with_abuse(abuse: AbuseOptions) -> Result<Self, Error> {
        Self::in_memory(1, abuse)
    }

    /// A fresh world with chance of its own.
    ///
    /// # Errors
    /// The platform's.
    pub fn with_seed(seed: u64) -> Result<Self, Error> {
        Self::in_memory(seed, AbuseOptions::off())
    }

    fn in_memory(seed: u64, abuse: AbuseOptions) -> Result<Self, Error> {
        let clock = Arc::new(TestClock {
            wall_at: AtomicU64::new(START_AT),
            boot_ms: AtomicU64::new(1_000),
        });
        let mirrors = Mirrors::default();
        let keys = KeyRing::from_entropy(&[7; 32]);
        let boot = Arc::clone(&clock);
        let options = OpenOptions::new(
            TABLES,
            keys.clone(),
            Arc::new(move || boot.boot_ms.load(Ordering::SeqCst)),
            [9; 32],
        );
        let store = Store::open_memory(mirrors.attach(options)).map_err(|why| crate::codes::DEFECT.because(why))?;
        Self::limited(store, mirrors, keys, clock, seed, abuse)
    }

    /// A world on the real engine, in a directory that is created when absent.
    ///
    /// # Errors
    /// The store's or the platform's.
    pub fn on_disk(dir: &std::path::Path) -> Result<Self, Error> {
        let clock = Self::clock();
        let mirrors = Mirrors::default();
        let keys = KeyRing::from_entropy(&[7; 32]);
        let boot = Arc::clone(&clock);
        let options = OpenOptions::new(
            TABLES,
            keys.clone(),
            Arc::new(move || boot.boot_ms.load(Ordering::SeqCst)),
            [9; 32],
        );
        let opened =
            Store::open(dir, mirrors.attach(options)).map_err(|why| crate::codes::DEFECT.because(why.to_string()));
        Self::over(opened?, mirrors, keys, clock, 1)
    }

    /// A world over a store that was opened with [`TABLES`] and the mirrors attached.
    ///
    /// # Errors
    /// The platform's.
    pub fn over(
        store: Store,
        mirrors: Mirrors,
        keys: KeyRing,
        clock: Arc<TestClock>,
        seed: u64,
    ) -> Result<Self, Error> {
        Self::limited(store, mirrors, keys, clock, seed, AbuseOptions::off())
    }

    fn limited(
        store: Store,
        mirrors: Mirrors,
        keys: KeyRing,
        clock: Arc<TestClock>,
        seed: u64,
        abuse: AbuseOptions,
    ) -> Result<Self, Error> {
        let (pool, log) = (Arc::new(InlinePool::default()), Arc::new(MemoryLog::default()));
        let platform = Platform::open(PlatformOptions {
            store: store.clone(),
            mirrors,
            keys: keys.clone(),
            auth_log: log.clone(),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy {
                seed,
                drawn: AtomicU64::new(0),
            }),
            hash_pool: pool.clone(),
            hash_cost: CHEAP,
            credential_cache: CredentialCacheOptions::default(),
            abuse,
        })?;
        let call = operator();
        let (game_id, package_id, key) = match block_on(platform.game_list(&call))?.first() {
            Some(game) => reopened(&platform, &call, game.game_id)?,
            None => furnished(&platform, &call)?,
        };
        Ok(Self {
            platform,
            store,
            clock,
            pool,
            log,
            keys,
            game_id,
            package_id,
            key_id: key.key.key_id,
            secret: key.secret,
        })
    }

    /// What a second platform over the same store is opened with, as after a restart.
    #[must_use]
    pub fn options(&self, mirrors: Mirrors) -> PlatformOptions {
        PlatformOptions {
            store: self.store.clone(),
            mirrors,
            keys: self.keys.clone(),
            auth_log: Arc::new(MemoryLog::default()),
            clock: self.clock.clone(),
            entropy: SeededEntropyOf(5).into(),
            hash_pool: Arc::new(InlinePool::default()),
            hash_cost: CHEAP,
            credential_cache: CredentialCacheOptions::default(),
            abuse: AbuseOptions::off(),
        }
    }

    /// Puts a platform over the same store in place of the world's as it is in the middle of a start: the catalogue is
    /// loaded, the revocations are not.
    ///
    /// # Errors
    /// The store's.
    pub fn load_half(&mut self) -> Result<(), Error> {
        let mirrors = Mirrors::default();
        self.store.read(|view| mirrors.load_catalogue(view))?;
        self.platform = Platform::open_unready(self.options(mirrors));
        Ok(())
    }

    /// Ends what [`World::load_half`] began.
    ///
    /// # Errors
    /// The store's.
    pub fn load_rest(&self) -> Result<(), Error> {
        self.platform.load()
    }

    /// A clock for [`World::over`].
    #[must_use]
    pub fn clock() -> Arc<TestClock> {
        Arc::new(TestClock {
            wall_at: AtomicU64::new(START_AT),
            boot_ms: AtomicU64::new(1_000),
        })
    }

    /// A game server's call.
    #[must_use]
    pub fn server(&self) -> Call {
        Call {
            caller: Caller::Server {
                key_id: self.key_id,
                games: [self.game_id].into(),
            },
            ..client()
        }
    }

    /// A client on the device of this install id.
    #[must_use]
    pub fn client_on(&self, install_id: &str) -> ClientInfo {
        ClientInfo {
            package_id: self.package_id,
            os: "android".into(),
            sdk_version: None,
            app_version: Some("1.2.3".into()),
            os_version: None,
            network: None,
            device: DeviceInfo {
                install_id: install_id.into(),
                brand: Some("Xiaomi".into()),
                model: Some("14".into()),
                ids: BTreeMap::new(),
            },
            launch_query: None,
            attribution_token: None,
            consent_version: None,
        }
    }

    /// Registers a name with the password `secret-<name>` on device `device-<name>`.
    ///
    /// # Errors
    /// As `account.create`.
    pub fn register(&self, name: &str) -> Result<LoggedIn, Error> {
        let command = AccountCreate {
            game_id: self.game_id,
            credential: credential(name),
            client: self.client_on(&format!("device-{name}")),
            challenge_response: None,
        };
        block_on(self.platform.account_create(&client(), command)).and_then(logged_in)
    }

    /// Registers a guest.
    ///
    /// # Errors
    /// As `account.create`.
    pub fn register_guest(&self) -> Result<LoggedIn, Error> {
        let command = AccountCreate {
            game_id: self.game_id,
            credential: Credential::Guest { guest_secret: None },
            client: self.client_on("guest-device"),
            challenge_response: None,
        };
        block_on(self.platform.account_create(&client(), command)).and_then(logged_in)
    }

    /// Logs a name in on its device.
    ///
    /// # Errors
    /// As `session.create`.
    pub fn log_in(&self, name: &str) -> Result<LoggedIn, Error> {
        self.log_in_on(name, &format!("device-{name}"))
    }

    /// Logs a name in on a device.
    ///
    /// # Errors
    /// As `session.create`.
    pub fn log_in_on(&self, name: &str, install_id: &str) -> Result<LoggedIn, Error> {
        self.log_in_with(&client(), credential(name), install_id, false)
    }

    /// Logs in with everything said.
    ///
    /// # Errors
    /// As `session.create`.
    pub fn log_in_with(
        &self,
        call: &Call,
        credential: Credential,
        install_id: &str,
        create_if_missing: bool,
    ) -> Result<LoggedIn, Error> {
        let command = SessionCreate {
            game_id: self.game_id,
            credential,
            client: self.client_on(install_id),
            create_if_missing,
            challenge_response: None,
        };
        block_on(self.platform.session_create(call, command)).and_then(logged_in)
    }

    /// Changes the game's settings.
    ///
    /// # Errors
    /// As `game.update`.
    pub fn set_game(&self, change: GameChange) -> Result<(), Error> {
        block_on(self.platform.game_update(&operator(), self.game_id, change)).map(drop)
    }
}

/// The login of an outcome.
///
/// # Errors
/// When it is a challenge.
pub fn logged_in(outcome: LoginOutcome) -> Result<LoggedIn, Error> {
    match outcome {
        LoginOutcome::Session(session) => Ok(*session),
        LoginOutcome::Challenge { kind, .. } => {
            Err(crate::codes::DEFECT.because(format!("unexpected challenge {kind}")))
        }
    }
}

/// Makes game, package and key.
fn furnished(platform: &Platform, call: &Call) -> Result<(GameId, PackageId, KeySecret), Error> {
    let game = block_on(platform.game_create(call, RealmId(1), "Harbour", GameChange::default()))?;
    let package = block_on(platform.package_create(call, package(game.game_id)))?;
    let key = block_on(platform.key_create(call, "login server", vec![game.game_id]))?;
    Ok((game.game_id, package.package_id, key))
}

/// Finds them again after a restart; the key gets a new secret, for the old one is not shown twice.
fn reopened(platform: &Platform, call: &Call, game_id: GameId) -> Result<(GameId, PackageId, KeySecret), Error> {
    let packages = block_on(platform.package_list(call, game_id))?;
    let keys = block_on(platform.key_list(call))?;
    let (Some(package), Some(key)) = (packages.first(), keys.first()) else {
        return furnished(platform, call);
    };
    Ok((
        game_id,
        package.package_id,
        block_on(platform.key_rotate(call, key.key_id, None))?,
    ))
}
