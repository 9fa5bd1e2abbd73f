//! The settings as the composition root uses them: typed, cross-checked, derived values filled in.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seawall_domain::{AbuseOptions, CredentialCacheOptions};
use seawall_web::{Limits, OwnLimits};

use super::catalogue::{abuse, admission, backup, disk, hash, limits};
use super::{Entry, Origin, Problem, Settings, catalogue as keys};
use crate::backup::prune::Keep;
use crate::backup::service::BackupConfig;
use crate::backup::target::Target;
use crate::disk_watch::DiskMarks;
use crate::memory::crowd_connections;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `ip:port`.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// In logs and metrics.
    pub name: String,
    /// Where.
    pub address: Address,
    /// TLS, or plain.
    pub tls: bool,
    /// `sdk`, `server`, `ops`.
    pub surfaces: Vec<String>,
    /// `none`, `v1`, `v2`.
    pub proxy_protocol: String,
    /// CIDR texts.
    pub trusted_peers: Vec<String>,
    /// Lower case; `None` for none.
    pub client_ip_header: Option<String>,
    /// From the right, 1-16.
    pub trusted_hops: usize,
    /// Empty for all.
    pub hosts: Vec<String>,
    /// What a gateway has cut off.
    pub public_path_prefix: String,
    /// Limits of its own.
    pub limits: OwnLimits,
}

/// Certificate files for some hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// SNI names; empty for the default certificate.
    pub hosts: Vec<String>,
    /// PEM chain.
    pub certificate_file: PathBuf,
    /// PEM key.
    pub key_file: PathBuf,
}

/// How to drain at SIGTERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainTimes {
    /// Go on serving.
    pub lame_duck: Duration,
    /// From the signal to the hard end.
    pub hard_limit: Duration,
}

/// All settings of the host.
#[derive(Debug, Clone, PartialEq)]
pub struct HostConfig {
    /// Directory of everything that lasts.
    pub data_dir: PathBuf,
    /// Root-only socket.
    pub admin_socket: PathBuf,
    /// Public listeners.
    pub listeners: Vec<Listener>,
    /// Ops listener.
    pub ops: Listener,
    /// Default certificate; `None` for the self-signed pair.
    pub certificate: Option<CertificateFiles>,
    /// Certificates by host.
    pub certificates: Vec<CertificateFiles>,
    /// `auto`, `human`, `json`.
    pub log_format: String,
    /// A filter of tracing-subscriber.
    pub log_level: String,
    /// Spans to standard output.
    pub otel_stdout: bool,
    /// Runtime threads.
    pub worker_threads: usize,
    /// Percent of the processors' time that token checks may have before all others.
    pub checks_first_percent: u32,
    /// Hash threads.
    pub hash_threads: usize,
    /// Longest wait for a hash thread.
    pub hash_deadline: Duration,
    /// Wait for a hash thread beyond which the newest go first; `None` to follow the deadline.
    pub hash_permitted_wait: Option<Duration>,
    /// How long and how many verified passwords are remembered, before the plan of memory.
    pub credential_cache: CredentialCacheOptions,
    /// Limits against abuse.
    pub abuse: AbuseOptions,
    /// Memory to plan with.
    pub memory_bytes: u64,
    /// Journal by size.
    pub journal_max_bytes: u64,
    /// Journal by age, in milliseconds.
    pub journal_max_age_ms: u64,
    /// Auth log by age, in milliseconds.
    pub auth_log_retention_ms: u64,
    /// When writes are refused because the disk fills up.
    pub disk: DiskMarks,
    /// Caps and deadlines of the transport.
    pub limits: Limits,
    /// Drain.
    pub drain: DrainTimes,
    /// Between sweeps.
    pub sweep_interval: Duration,
    /// Backups.
    pub backup: BackupConfig,
    /// The settings file, if there is one.
    pub settings_file: Option<PathBuf>,
}

impl HostConfig {
    /// Builds the typed form.
    ///
    /// # Errors
    /// Values that are each allowed but do not fit together.
    pub fn from_settings(settings: &Settings) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let text = |setting| settings.text(setting);
        let size = |setting| usize::try_from(settings.whole(setting)).unwrap_or(usize::MAX);
        let data_dir = PathBuf::from(text(&keys::DATA_DIR));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let or = |chosen: usize, automatic: usize| if chosen == 0 { automatic } else { chosen };
        let config = Self {
            admin_socket: non_empty(text(&keys::ADMIN_SOCKET))
                .map_or_else(|| data_dir.join("admin.sock"), PathBuf::from),
            listeners: listeners(settings, &mut problems),
            ops: Listener {
                name: "ops".into(),
                surfaces: vec!["ops".into()],
                ..plain(address(&text(&keys::OPS_ADDRESS)))
            },
            certificate: default_certificate(settings, &mut problems),
            certificates: settings.entries(&keys::CERTIFICATE).iter().map(certificate).collect(),
            log_format: text(&keys::LOG_FORMAT),
            log_level: log_level(settings, &mut problems),
            otel_stdout: settings.switch(&keys::OTEL_STDOUT),
            worker_threads: or(size(&keys::WORKER_THREADS), cores),
            checks_first_percent: u32::try_from(settings.whole(&keys::CHECKS_FIRST_PERCENT)).unwrap_or(u32::MAX),
            hash_threads: or(size(&hash::THREADS), (cores / 2).max(1)),
            hash_deadline: Duration::from_millis(settings.whole(&hash::DEADLINE_MS)),
            abuse: abuse::options(settings),
            hash_permitted_wait: Some(Duration::from_millis(settings.whole(&hash::PERMITTED_WAIT_MS)))
                .filter(|wait| !wait.is_zero()),
            credential_cache: CredentialCacheOptions {
                lifetime_ms: settings.whole(&hash::CREDENTIAL_CACHE_MINUTES) * 60_000,
                entries_max: size(&hash::CREDENTIAL_CACHE_ENTRIES),
            },
            memory_bytes: settings.whole(&keys::MEMORY_MIB) << 20,
            journal_max_bytes: settings.whole(&keys::JOURNAL_MIB) << 20,
            journal_max_age_ms: settings.whole(&keys::JOURNAL_HOURS) * 3_600_000,
            auth_log_retention_ms: settings.whole(&keys::AUTH_LOG_DAYS) * 86_400_000,
            disk: disk_marks(settings, &mut problems),
            limits: transport_limits(settings, &mut problems),
            drain: DrainTimes {
                lame_duck: Duration::from_millis(settings.whole(&keys::LAME_DUCK_MS)),
                hard_limit: Duration::from_millis(settings.whole(&keys::DRAIN_LIMIT_MS)),
            },
            sweep_interval: Duration::from_secs(settings.whole(&keys::SWEEP_S)),
            backup: backups(settings, &data_dir, &mut problems),
            settings_file: settings.files().first().cloned(),
            data_dir,
        };
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }
}

/// A plain listener at an address, with nothing else chosen.
#[must_use]
pub fn plain(address: Address) -> Listener {
    Listener {
        name: String::new(),
        address,
        tls: false,
        surfaces: Vec::new(),
        proxy_protocol: "none".into(),
        trusted_peers: Vec::new(),
        client_ip_header: None,
        trusted_hops: 1,
        hosts: Vec::new(),
        public_path_prefix: String::new(),
        limits: OwnLimits::default(),
    }
}

fn listeners(settings: &Settings, problems: &mut Vec<Problem>) -> Vec<Listener> {
    let entries = settings.entries(&keys::LISTENER);
    let mut found: Vec<Listener> = Vec::new();
    for entry in entries {
        let listener = listener(entry);
        if found.iter().any(|other| other.name == listener.name) || listener.name == "ops" || listener.name == "admin" {
            problems.push(Problem {
                origin: entry.origin.clone(),
                message: format!("two listeners are named `{}`", listener.name),
            });
        }
        found.push(listener);
    }
    if found.is_empty() {
        let public = plain(address(&settings.text(&keys::PUBLIC_ADDRESS)));
        found.push(Listener {
            name: "public".into(),
            tls: true,
            surfaces: vec!["sdk".into(), "server".into()],
            ..public
        });
    }
    found
}

fn listener(entry: &Entry) -> Listener {
    Listener {
        name: entry.text("name"),
        address: address(&entry.text("address")),
        tls: entry.switch("tls"),
        surfaces: entry.list("surfaces"),
        proxy_protocol: entry.text("proxy_protocol"),
        trusted_peers: entry.list("trusted_peers"),
        client_ip_header: non_empty(entry.text("client_ip_header").to_lowercase()),
        trusted_hops: usize::try_from(entry.whole("trusted_hops")).unwrap_or(1),
        hosts: entry.list("hosts"),
        public_path_prefix: entry.text("public_path_prefix"),
        limits: own_limits(entry),
    }
}

fn own_limits(entry: &Entry) -> OwnLimits {
    let size = |field| entry.given(field).and_then(|number| usize::try_from(number).ok());
    OwnLimits {
        handshake_ms: entry.given("handshake_ms"),
        proxy_header_ms: entry.given("proxy_header_ms"),
        first_byte_ms: entry.given("first_byte_ms"),
        header_ms: entry.given("header_ms"),
        idle_ms: entry.given("idle_ms"),
        connections_max: size("connections_max"),
        connections_per_address_max: size("connections_per_address"),
    }
}

/// Levels a filter can name by themselves.
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The filter; a bare word in it must be a level, for a misspelt one would be taken for a target and silence the rest.
fn log_level(settings: &Settings, problems: &mut Vec<Problem>) -> String {
    let text = settings.text(&keys::LOG_LEVEL);
    let is_bare = |word: &&str| !word.is_empty() && !word.contains(['=', '[']);
    let mut bare = text.split(',').map(str::trim).filter(is_bare);
    if let Some(word) = bare.find(|word| !LOG_LEVELS.contains(&word.to_ascii_lowercase().as_str())) {
        problems.push(Problem {
            origin: settings.get(&keys::LOG_LEVEL).origin,
            message: format!(
                "log.level: `{word}` is no level ({}) and no target=level",
                LOG_LEVELS.join(", ")
            ),
        });
    }
    text
}

fn disk_marks(settings: &Settings, problems: &mut Vec<Problem>) -> DiskMarks {
    let marks = DiskMarks {
        low_percent: settings.whole(&disk::LOW_PERCENT),
        scarce_percent: settings.whole(&disk::SCARCE_PERCENT),
        scarce_bytes: settings.whole(&disk::SCARCE_MIB) << 20,
        exhausted_percent: settings.whole(&disk::EXHAUSTED_PERCENT),
        reserve_bytes: settings.whole(&disk::RESERVE_MIB) << 20,
    };
    if marks.exhausted_percent > marks.scarce_percent || marks.scarce_percent > marks.low_percent {
        let written = [&disk::EXHAUSTED_PERCENT, &disk::SCARCE_PERCENT, &disk::LOW_PERCENT];
        let origins = written.into_iter().map(|setting| settings.get(setting).origin);
        let origin = origins.into_iter().find(|origin| *origin != Origin::Default);
        problems.push(Problem {
            origin: origin.unwrap_or(Origin::Default),
            message: format!(
                "disk.exhausted_percent ({}), disk.scarce_percent ({}) and disk.low_percent ({}) must rise in this order",
                marks.exhausted_percent, marks.scarce_percent, marks.low_percent
            ),
        });
    }
    marks
}

fn transport_limits(settings: &Settings, problems: &mut Vec<Problem>) -> Limits {
    let size = |setting| usize::try_from(settings.whole(setting)).unwrap_or(usize::MAX);
    let found = Limits {
        handshake_ms: settings.whole(&limits::HANDSHAKE_MS),
        proxy_header_ms: settings.whole(&limits::PROXY_HEADER_MS),
        first_byte_ms: settings.whole(&limits::FIRST_BYTE_MS),
        header_ms: settings.whole(&limits::HEADER_MS),
        body_ms: settings.whole(&limits::BODY_MS),
        total_ms: settings.whole(&limits::TOTAL_MS),
        idle_ms: settings.whole(&limits::IDLE_MS),
        body_max_bytes: size(&limits::BODY_MAX_KIB) << 10,
        handshakes_max: size(&limits::HANDSHAKES_MAX),
        connections_max: size(&limits::CONNECTIONS_MAX),
        connections_per_address_max: size(&limits::CONNECTIONS_PER_ADDRESS),
        in_flight_max: size(&limits::IN_FLIGHT_MAX),
        crowd_connections: crowd_connections(settings.whole(&keys::MEMORY_MIB) << 20),
        admission: admission::options(settings),
        ..Limits::default()
    };
    if found.body_ms > found.total_ms {
        let body = settings.get(&limits::BODY_MS).origin;
        // Names the line somebody wrote, whichever of the two it is.
        let origin = if body == Origin::Default {
            settings.get(&limits::TOTAL_MS).origin
        } else {
            body
        };
        problems.push(Problem {
            origin,
            message: format!(
                "limits.body_ms ({}) is longer than limits.total_ms ({}), which it is a part of",
                found.body_ms, found.total_ms
            ),
        });
    }
    found
}

fn backups(settings: &Settings, data_dir: &Path, problems: &mut Vec<Problem>) -> BackupConfig {
    let hours = |setting| Duration::from_secs(settings.whole(setting) * 3600);
    let unless_zero = |interval: Duration| Some(interval).filter(|interval| !interval.is_zero());
    let target = non_empty(settings.text(&backup::TARGET)).and_then(|text| {
        let parsed = Target::parse(&text);
        parsed
            .map_err(|message| {
                problems.push(Problem {
                    origin: settings.get(&backup::TARGET).origin,
                    message: format!("backup.target: {message}"),
                });
            })
            .ok()
    });
    BackupConfig {
        target,
        key_file: non_empty(settings.text(&backup::KEY_FILE))
            .map_or_else(|| data_dir.join("keys/backup.key"), PathBuf::from),
        credentials_file: non_empty(settings.text(&backup::CREDENTIALS_FILE)).map(PathBuf::from),
        archive_interval: Duration::from_millis(settings.whole(&backup::ARCHIVE_INTERVAL_MS)),
        interval: unless_zero(hours(&backup::INTERVAL_H)),
        drill_interval: unless_zero(hours(&backup::DRILL_INTERVAL_H)),
        proven_max_age: hours(&backup::PROVEN_MAX_AGE_H),
        keep: Keep {
            last: usize::try_from(settings.whole(&backup::KEEP_LAST)).unwrap_or(usize::MAX),
            days: settings.whole(&backup::KEEP_DAYS),
        },
    }
}

fn certificate(entry: &Entry) -> CertificateFiles {
    CertificateFiles {
        hosts: entry.list("hosts"),
        certificate_file: entry.text("certificate_file").into(),
        key_file: entry.text("key_file").into(),
    }
}

fn default_certificate(settings: &Settings, problems: &mut Vec<Problem>) -> Option<CertificateFiles> {
    let (certificate, key) = (
        non_empty(settings.text(&keys::TLS_CERTIFICATE)),
        non_empty(settings.text(&keys::TLS_KEY)),
    );
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some(CertificateFiles {
            hosts: Vec::new(),
            certificate_file: certificate.into(),
            key_file: key.into(),
        }),
        (None, None) => None,
        (given, _) => {
            let half = if given.is_some() {
                &keys::TLS_CERTIFICATE
            } else {
                &keys::TLS_KEY
            };
            let message = "tls.certificate_file and tls.key_file are set together or not at all".to_owned();
            problems.push(Problem {
                origin: settings.get(half).origin,
                message,
            });
            None
        }
    }
}

/// Reads an address the registry has already checked.
fn address(text: &str) -> Address {
    match text.parse::<SocketAddr>() {
        Ok(address) => Address::Tcp(address),
        Err(_) => Address::Unix(text.trim_start_matches("unix:").into()),
    }
}

fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::load::{Layers, load};
    use super::*;

    fn config(text: &str) -> Result<HostConfig, Vec<Problem>> {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("seawall.toml");
        std::fs::write(&main, text).unwrap();
        HostConfig::from_settings(
            &load(&Layers {
                file: Some(main),
                ..Layers::default()
            })
            .unwrap(),
        )
    }

    #[test]
    fn a_misspelt_level_is_refused_and_real_filters_are_not() {
        for good in [
            "info",
            "OFF",
            "warn,seawall_web=debug",
            "info, rustls::msgs=warn",
            "[conn{id}]=trace,error",
        ] {
            assert_eq!(config(&format!("[log]\nlevel = \"{good}\"\n")).unwrap().log_level, good);
        }
        for bad in ["loud", "info,seawall_web", "inof"] {
            let problems = config(&format!("[log]\nlevel = \"{bad}\"\n")).unwrap_err();
            let text = problems[0].to_string();
            assert!(text.contains("seawall.toml:2: log.level: `"), "{text}");
            assert!(text.contains("is no level"), "{text}");
        }
    }

    #[test]
    fn marks_of_the_disk_must_rise() {
        let problems = config("[disk]\nscarce_percent = 20\n").unwrap_err();
        assert!(
            problems[0]
                .to_string()
                .contains("seawall.toml:2: disk.exhausted_percent (2)"),
            "{}",
            problems[0]
        );
        assert_eq!(config("[disk]\nscarce_percent = 8\n").unwrap().disk.scarce_percent, 8);
    }

    #[test]
    fn defaults_make_one_tls_listener_and_a_local_ops_listener() {
        let config = config("").unwrap();
        assert_eq!(config.listeners.len(), 1);
        assert!(config.listeners[0].tls);
        assert_eq!(config.listeners[0].address, Address::Tcp("[::]:8443".parse().unwrap()));
        assert_eq!(config.ops.address, Address::Tcp("127.0.0.1:9180".parse().unwrap()));
        assert_eq!(config.admin_socket, PathBuf::from("/var/lib/seawall/admin.sock"));
        assert!(config.hash_threads >= 1 && config.worker_threads >= 1);
        assert_eq!(config.hash_permitted_wait, None);
        assert_eq!(config.credential_cache, CredentialCacheOptions::default());
        assert_eq!(config.memory_bytes, 1 << 30);
    }

    #[test]
    fn listed_listeners_replace_the_default_one() {
        let text = "[[listener]]\nname = \"lb\"\naddress = \"unix:/run/x\"\ntls = false\nproxy_protocol = \"v2\"\nclient_ip_header = \"X-Forwarded-For\"\n";
        let found = config(text).unwrap().listeners;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].address, Address::Unix("/run/x".into()));
        assert_eq!(found[0].client_ip_header.as_deref(), Some("x-forwarded-for"));
    }

    #[test]
    fn limits_are_those_of_all_but_for_what_a_listener_writes() {
        let defaults = config("").unwrap().limits;
        assert_eq!((defaults.idle_ms, defaults.body_max_bytes), (75_000, 64 << 10));
        let text = "[limits]\nheader_ms = 4000\nbody_max_kib = 128\n\n[[listener]]\nname = \"lb\"\naddress = \"127.0.0.1:1\"\nidle_ms = 650\nconnections_max = 20\n";
        let config = config(text).unwrap();
        assert_eq!(
            (config.limits.header_ms, config.limits.body_max_bytes),
            (4000, 128 << 10)
        );
        let here = config.listeners[0].limits.over(&config.limits);
        assert_eq!(
            (
                here.header_ms,
                here.idle_ms,
                here.connections_max,
                here.connections_per_address_max
            ),
            (4000, 650, 20, 1000)
        );
        assert!(config.listeners[0].limits.counts_apart());
    }

    #[test]
    fn limits_out_of_range_or_at_odds_are_refused_with_their_line() {
        let loaded = |text: &str| {
            let content = super::super::file::read(std::path::Path::new("x.toml"), text);
            content.problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            loaded("[limits]\nidle_ms = 5\n"),
            ["x.toml:2: limits.idle_ms: `5` is not allowed; expected whole number of ms from 100 to 600000"]
        );
        let listener = "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:1\"\nheader_ms = 700000\n";
        assert!(loaded(listener)[0].starts_with("x.toml:4: header_ms: `700000` is not allowed"));
        let problems = config("[limits]\ntotal_ms = 20000\n").unwrap_err();
        assert!(
            problems[0]
                .to_string()
                .contains("seawall.toml:2: limits.body_ms (30000) is longer"),
            "{problems:?}"
        );
    }

    #[test]
    fn backups_are_off_until_a_target_is_set_and_a_wrong_one_is_named_with_its_line() {
        let off = config("").unwrap().backup;
        assert_eq!(
            (off.target, off.key_file),
            (None, "/var/lib/seawall/keys/backup.key".into())
        );
        let on = config("[backup]\ntarget = \"dir:///b\"\ninterval_h = 0\n")
            .unwrap()
            .backup;
        assert_eq!((on.target, on.interval), (Some(Target::Dir("/b".into())), None));
        let problems = config("[backup]\ntarget = \"/b\"\n").unwrap_err();
        assert!(
            problems[0].to_string().contains("seawall.toml:2: backup.target: "),
            "{problems:?}"
        );
    }

    #[test]
    fn values_that_do_not_fit_together_are_refused_with_their_line() {
        let problems = config("[tls]\nkey_file = \"/k\"\n").unwrap_err();
        assert!(
            problems[0]
                .to_string()
                .ends_with("seawall.toml:2: tls.certificate_file and tls.key_file are set together or not at all")
        );
        let twice = "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:1\"\n[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:2\"\n";
        assert!(
            config(twice).unwrap_err()[0]
                .message
                .contains("two listeners are named `a`")
        );
    }
}
