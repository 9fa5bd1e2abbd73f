//! Every setting of the host, as one plain list. A new setting is one entry here and one field in
//! [`super::config::HostConfig`].

pub mod abuse;
pub mod admission;
pub mod backup;
pub mod disk;
pub mod hash;
pub mod limits;
pub mod waiting_room;

use super::registry::{ArraySpec, Kind, Reload, Scope, Setting};

const TEXT: Kind = Kind::Text { max_bytes: 256 };
const SURFACE: Kind = Kind::Choice(&["sdk", "server", "ops"]);

const fn host(
    path: &'static str,
    kind: Kind,
    default: &'static str,
    reload: Reload,
    doc_en: &'static str,
    doc_zh: &'static str,
) -> Setting {
    Setting {
        path,
        kind,
        default,
        flag: None,
        scope: Scope::Host,
        reload,
        secret: false,
        doc_en,
        doc_zh,
        since: "0.1.0",
    }
}

/// A setting of the host that needs a restart, as all of the lists beside this file do.
const fn fixed(
    path: &'static str,
    kind: Kind,
    default: &'static str,
    doc_en: &'static str,
    doc_zh: &'static str,
) -> Setting {
    host(path, kind, default, Reload::Restart, doc_en, doc_zh)
}

const fn with_flag(setting: Setting, flag: &'static str) -> Setting {
    Setting {
        flag: Some(flag),
        ..setting
    }
}

const fn whole(min: u64, max: u64, unit: &'static str) -> Kind {
    Kind::Whole { min, max, unit }
}

/// Directory of everything that lasts.
pub const DATA_DIR: Setting = with_flag(
    host(
        "data.dir",
        Kind::Path,
        "/var/lib/seawall",
        Reload::Restart,
        "Directory of everything that lasts: store, logs, keys. One server at a time.",
        "数据目录：存储、日志、密钥。同一时间只允许一个服务进程。",
    ),
    "data",
);
/// Root-only admin socket.
pub const ADMIN_SOCKET: Setting = host(
    "admin.socket",
    Kind::Path,
    "",
    Reload::Restart,
    "Root-only socket the command line talks to; empty means `admin.sock` in data.dir.",
    "命令行使用的管理套接字（仅 root）；留空表示 data.dir 下的 admin.sock。",
);
/// Public address when the file lists no listener.
pub const PUBLIC_ADDRESS: Setting = with_flag(
    host(
        "public.address",
        Kind::Address,
        "[::]:8443",
        Reload::Restart,
        "Address of the TLS listener for players and game servers. Used only when the file has no [[listener]].",
        "玩家与游戏服务器的 TLS 监听地址；仅在配置文件没有 [[listener]] 时使用。",
    ),
    "listen",
);
/// Ops listener.
pub const OPS_ADDRESS: Setting = host(
    "ops.address",
    Kind::Address,
    "127.0.0.1:9180",
    Reload::Restart,
    "Address of health checks and metrics; plain, keep it on an inside address.",
    "健康检查与指标的监听地址；明文，请只用内网地址。",
);
/// Default certificate.
pub const TLS_CERTIFICATE: Setting = host(
    "tls.certificate_file",
    Kind::Path,
    "",
    Reload::Live,
    "PEM chain of the default certificate; empty means a self-signed pair made at the first start.",
    "默认证书链（PEM）；留空则首次启动时生成自签名证书。",
);
/// Default key.
pub const TLS_KEY: Setting = host(
    "tls.key_file",
    Kind::Path,
    "",
    Reload::Live,
    "PEM private key of the default certificate.",
    "默认证书的私钥（PEM）。",
);
/// Log format.
pub const LOG_FORMAT: Setting = with_flag(
    host(
        "log.format",
        Kind::Choice(&["auto", "human", "json"]),
        "auto",
        Reload::Restart,
        "Lines for people or for machines; auto is human on a terminal and json elsewhere.",
        "日志格式：auto 在终端上为可读文本，其他情况为 JSON。",
    ),
    "log-format",
);
/// Log level.
pub const LOG_LEVEL: Setting = with_flag(
    host(
        "log.level",
        TEXT,
        "info",
        Reload::Live,
        "error, warn, info, debug or trace; also per part, as in `info,seawall_web=debug`.",
        "日志级别，可按模块设置，例如 `info,seawall_web=debug`。",
    ),
    "log-level",
);
/// Spans to standard output.
pub const OTEL_STDOUT: Setting = host(
    "telemetry.otel_stdout",
    Kind::Switch,
    "false",
    Reload::Restart,
    "Also print every finished span to standard output in OpenTelemetry's form.",
    "是否把每个完成的 span 以 OpenTelemetry 形式输出到标准输出。",
);
/// Runtime threads.
pub const WORKER_THREADS: Setting = host(
    "runtime.worker_threads",
    whole(0, 512, "threads"),
    "0",
    Reload::Restart,
    "Threads of the network runtime; 0 means one per core.",
    "网络运行时线程数；0 表示每核一个。",
);
/// Precedence of token checks.
pub const CHECKS_FIRST_PERCENT: Setting = host(
    "runtime.checks_first_percent",
    whole(0, 95, "percent"),
    "75",
    Reload::Restart,
    "Of each 100 ms of all processors, the part for which the threads of token checks go before all others, by real-time priority where the system permits \
     it (RLIMIT_RTPRIO of 2, or CAP_SYS_NICE); past it they share with the others. 0 lets them always share.",
    "在所有处理器的每 100 毫秒中，令牌校验线程以实时优先级先于其他线程运行的份额（需系统允许：RLIMIT_RTPRIO 为 2 或 CAP_SYS_NICE）；超出后与其他线程共享。0 表示始终共享。",
);
/// Memory.
pub const MEMORY_MIB: Setting = host(
    "memory.budget_mib",
    whole(256, 4_194_304, "MiB"),
    "1024",
    Reload::Restart,
    "Memory to plan with; the shares of its consumers are printed at start.",
    "内存预算；启动时打印各部分的份额。",
);
/// Journal bytes.
pub const JOURNAL_MIB: Setting = host(
    "journal.max_mib",
    whole(16, 1_048_576, "MiB"),
    "1024",
    Reload::Restart,
    "Journal kept for standbys and point-in-time restore, by size.",
    "为备机和按时间点恢复保留的日志大小上限。",
);
/// Journal age.
pub const JOURNAL_HOURS: Setting = host(
    "journal.max_age_h",
    whole(1, 8_760, "h"),
    "72",
    Reload::Restart,
    "Journal kept, by age.",
    "日志保留时长上限。",
);
/// Auth log retention.
pub const AUTH_LOG_DAYS: Setting = host(
    "auth_log.retention_days",
    whole(180, 3_650, "days"),
    "200",
    Reload::Restart,
    "How long logins, failures and staff acts are kept; the law asks for 180 days.",
    "登录日志保留天数；法规要求不少于 180 天。",
);
/// Lame duck.
pub const LAME_DUCK_MS: Setting = host(
    "drain.lame_duck_ms",
    whole(0, 300_000, "ms"),
    "15000",
    Reload::Live,
    "After SIGTERM: how long to go on serving while /readyz says DRAINING, so that load balancers move away.",
    "收到 SIGTERM 后继续服务的时间（/readyz 返回 DRAINING），以便负载均衡摘除。",
);
/// Hard limit.
pub const DRAIN_LIMIT_MS: Setting = host(
    "drain.hard_limit_ms",
    whole(0, 600_000, "ms"),
    "25000",
    Reload::Live,
    "After SIGTERM: when requests still in work are cut; longer than drain.lame_duck_ms.",
    "收到 SIGTERM 后切断仍在处理的请求的时限；应大于 drain.lame_duck_ms。",
);
/// Sweep.
pub const SWEEP_S: Setting = host(
    "sweep.interval_s",
    whole(1, 86_400, "s"),
    "60",
    Reload::Restart,
    "How often expired rows (idempotency records, sessions, revocations) are removed.",
    "清理过期记录（幂等、会话、吊销）的间隔。",
);

/// All settings, in the order of the generated file.
pub const SETTINGS: &[Setting] = &[
    DATA_DIR,
    ADMIN_SOCKET,
    PUBLIC_ADDRESS,
    OPS_ADDRESS,
    TLS_CERTIFICATE,
    TLS_KEY,
    LOG_FORMAT,
    LOG_LEVEL,
    OTEL_STDOUT,
    WORKER_THREADS,
    CHECKS_FIRST_PERCENT,
    hash::THREADS,
    hash::DEADLINE_MS,
    hash::PERMITTED_WAIT_MS,
    hash::CREDENTIAL_CACHE_MINUTES,
    hash::CREDENTIAL_CACHE_ENTRIES,
    admission::MODE,
    admission::VERIFY_SHARE,
    admission::VERIFY_COST,
    admission::VERIFY_DEADLINE,
    admission::REFRESH_SHARE,
    admission::REFRESH_COST,
    admission::REFRESH_DEADLINE,
    admission::LOGIN_SHARE,
    admission::LOGIN_COST,
    admission::LOGIN_DEADLINE,
    admission::REGISTER_SHARE,
    admission::REGISTER_COST,
    admission::REGISTER_DEADLINE,
    admission::BULK_SHARE,
    admission::BULK_COST,
    admission::BULK_DEADLINE,
    admission::LAG_TARGET_MS,
    admission::PLAYERS_LAG_MAX_MS,
    admission::COMMIT_WAIT_MAX_MS,
    admission::HASH_WAIT_MAX_MS,
    admission::FLOOR,
    admission::KEY_QUOTA,
    admission::HELD_REFUSALS_MAX,
    waiting_room::MODE,
    waiting_room::LOGINS_PER_SECOND,
    abuse::ENABLED,
    abuse::IPV4_RATE,
    abuse::IPV4_BURST,
    abuse::IPV4_NETWORK_RATE,
    abuse::IPV4_NETWORK_BURST,
    abuse::IPV6_NETWORK_RATE,
    abuse::IPV6_NETWORK_BURST,
    abuse::DEVICE_RATE,
    abuse::DEVICE_BURST,
    abuse::ACCOUNT_RATE,
    abuse::ACCOUNT_BURST,
    abuse::GAME_RATE,
    abuse::GAME_BURST,
    abuse::FAILED_ADDRESS_RATE,
    abuse::FAILED_ADDRESS_BURST,
    abuse::FAILED_DEVICE_RATE,
    abuse::FAILED_DEVICE_BURST,
    abuse::FAILED_ACCOUNT_RATE,
    abuse::FAILED_ACCOUNT_BURST,
    abuse::DIFFICULTY,
    abuse::LIFETIME_S,
    MEMORY_MIB,
    JOURNAL_MIB,
    JOURNAL_HOURS,
    AUTH_LOG_DAYS,
    disk::LOW_PERCENT,
    disk::SCARCE_PERCENT,
    disk::SCARCE_MIB,
    disk::EXHAUSTED_PERCENT,
    disk::RESERVE_MIB,
    limits::CONNECTIONS_MAX,
    limits::CONNECTIONS_PER_ADDRESS,
    limits::IN_FLIGHT_MAX,
    limits::HANDSHAKES_MAX,
    limits::HANDSHAKE_MS,
    limits::PROXY_HEADER_MS,
    limits::FIRST_BYTE_MS,
    limits::HEADER_MS,
    limits::IDLE_MS,
    limits::BODY_MS,
    limits::TOTAL_MS,
    limits::BODY_MAX_KIB,
    LAME_DUCK_MS,
    DRAIN_LIMIT_MS,
    SWEEP_S,
    backup::TARGET,
    backup::KEY_FILE,
    backup::CREDENTIALS_FILE,
    backup::ARCHIVE_INTERVAL_MS,
    backup::INTERVAL_H,
    backup::DRILL_INTERVAL_H,
    backup::PROVEN_MAX_AGE_H,
    backup::KEEP_LAST,
    backup::KEEP_DAYS,
];

const LISTENER_FIELDS: &[Setting] = &[
    host(
        "name",
        TEXT,
        "",
        Reload::Restart,
        "Name in logs and metrics; required, unique.",
        "日志与指标中的名称；必填且唯一。",
    ),
    host(
        "address",
        Kind::Address,
        "",
        Reload::Restart,
        "Where to listen; required.",
        "监听地址；必填。",
    ),
    host(
        "tls",
        Kind::Switch,
        "true",
        Reload::Restart,
        "TLS, or plain. Plain on an outside address answers trusted peers only.",
        "是否启用 TLS；外网地址上的明文监听只应答受信任的对端。",
    ),
    host(
        "surfaces",
        Kind::List(&SURFACE),
        "sdk,server",
        Reload::Restart,
        "What is offered here.",
        "此监听器提供的接口面。",
    ),
    host(
        "proxy_protocol",
        Kind::Choice(&["none", "v1", "v2"]),
        "none",
        Reload::Restart,
        "PROXY protocol header that trusted peers send first.",
        "受信任对端先发送的 PROXY 协议头。",
    ),
    host(
        "trusted_peers",
        Kind::List(&TEXT),
        "",
        Reload::Restart,
        "Networks of load balancers whose headers are believed, as in 10.0.0.0/8.",
        "受信任的负载均衡网段，例如 10.0.0.0/8。",
    ),
    host(
        "client_ip_header",
        TEXT,
        "",
        Reload::Restart,
        "Header with the client's address, believed from trusted peers only; empty for none.",
        "携带客户端地址的请求头，仅信任受信任的对端；留空表示无。",
    ),
    host(
        "trusted_hops",
        whole(1, 16, "hops"),
        "1",
        Reload::Restart,
        "Which address of that header counts, from the right.",
        "取该头从右数第几个地址。",
    ),
    host(
        "hosts",
        Kind::List(&TEXT),
        "",
        Reload::Restart,
        "Host names answered here; empty for all.",
        "此处应答的主机名；留空表示全部。",
    ),
    host(
        "public_path_prefix",
        TEXT,
        "",
        Reload::Restart,
        "Path a gateway in front has cut off; part of what game servers sign.",
        "前置网关剥离的路径前缀；参与签名。",
    ),
    limits::LISTENER_CONNECTIONS_MAX,
    limits::LISTENER_CONNECTIONS_PER_ADDRESS,
    limits::LISTENER_HANDSHAKE_MS,
    limits::LISTENER_PROXY_HEADER_MS,
    limits::LISTENER_FIRST_BYTE_MS,
    limits::LISTENER_HEADER_MS,
    limits::LISTENER_IDLE_MS,
];

const CERTIFICATE_FIELDS: &[Setting] = &[
    host(
        "hosts",
        Kind::List(&TEXT),
        "",
        Reload::Live,
        "Host names (SNI) it is for; required.",
        "适用的主机名（SNI）；必填。",
    ),
    host(
        "certificate_file",
        Kind::Path,
        "",
        Reload::Live,
        "PEM chain; required.",
        "证书链（PEM）；必填。",
    ),
    host(
        "key_file",
        Kind::Path,
        "",
        Reload::Live,
        "PEM private key; required.",
        "私钥（PEM）；必填。",
    ),
];

/// `[[listener]]`.
pub const LISTENER: ArraySpec = ArraySpec {
    name: "listener",
    fields: LISTENER_FIELDS,
    doc_en: "One place to listen on; repeat for more.",
    doc_zh: "一个监听位置；可重复。",
};
/// `[[certificate]]`.
pub const CERTIFICATE: ArraySpec = ArraySpec {
    name: "certificate",
    fields: CERTIFICATE_FIELDS,
    doc_en: "A certificate for some host names (RSA and ECDSA may both be given); repeat for more.",
    doc_zh: "某些主机名的证书（可同时提供 RSA 与 ECDSA）；可重复。",
};
/// Arrays of tables in the file.
pub const ARRAYS: &[ArraySpec] = &[LISTENER, CERTIFICATE];

/// The setting of this path.
#[must_use]
pub fn find(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == path)
}

/// The tables of the file: what comes before the dot.
pub fn groups() -> impl Iterator<Item = &'static str> {
    SETTINGS
        .iter()
        .filter_map(|setting| setting.path.split_once('.'))
        .map(|(group, _)| group)
}

/// The message for a key nobody knows.
#[must_use]
pub fn unknown(path: &str) -> String {
    super::file::unknown_key(path, SETTINGS.iter().map(|setting| setting.path))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_entry_is_complete_and_its_default_is_allowed() {
        let fields = ARRAYS.iter().flat_map(|array| array.fields);
        for setting in SETTINGS.iter().chain(fields) {
            assert!(
                setting.doc_en.ends_with('.') && setting.doc_zh.ends_with('。'),
                "{}: documentation in both languages",
                setting.path
            );
            let required = setting.doc_en.contains("required");
            assert!(
                required || setting.kind.parse(setting.default).is_ok(),
                "{}: default {}",
                setting.path,
                setting.default
            );
            assert_eq!(setting.since.split('.').count(), 3, "{}", setting.path);
        }
    }

    #[test]
    fn paths_env_names_and_flags_are_unique() {
        let distinct = |names: Vec<String>| names.iter().collect::<BTreeSet<_>>().len() == names.len();
        assert!(distinct(SETTINGS.iter().map(|s| s.path.to_owned()).collect()));
        assert!(distinct(SETTINGS.iter().map(Setting::env_name).collect()));
        assert!(distinct(
            SETTINGS.iter().filter_map(|s| s.flag).map(str::to_owned).collect()
        ));
        assert_eq!(
            find("log.level").map(Setting::env_name).as_deref(),
            Some("SEAWALL_LOG_LEVEL")
        );
    }
}
