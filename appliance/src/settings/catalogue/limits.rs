//! Limits of the transport: caps and deadlines. One value serves all listeners; those of a connection may be set
//! otherwise for each `[[listener]]`.

use super::{fixed, whole};
use crate::settings::registry::{Kind, Setting};

/// Longest deadline of the transport, in milliseconds.
const DEADLINE_MAX_MS: u64 = 600_000;
/// Shortest, in milliseconds: below, an ordinary mobile network would be cut.
const DEADLINE_MIN_MS: u64 = 100;

const DEADLINE: Kind = whole(DEADLINE_MIN_MS, DEADLINE_MAX_MS, "ms");
const CONNECTIONS: Kind = whole(16, 1_000_000, "connections");
const CONNECTIONS_OF_ADDRESS: Kind = whole(1, 1_000_000, "connections");

/// Connections.
pub const CONNECTIONS_MAX: Setting = fixed(
    "limits.connections_max",
    CONNECTIONS,
    "50000",
    "Open connections in all; more are closed at once.",
    "最大连接总数；超过的连接立即关闭。",
);
/// Connections per address.
pub const CONNECTIONS_PER_ADDRESS: Setting = fixed(
    "limits.connections_per_address",
    CONNECTIONS_OF_ADDRESS,
    "1000",
    "Open connections per client address (IPv6: per /64); trusted peers are exempt.",
    "每个客户端地址的最大连接数（IPv6 按 /64）；受信任的对端不受限。",
);
/// In-flight requests.
pub const IN_FLIGHT_MAX: Setting = fixed(
    "limits.in_flight_max",
    whole(16, 1_000_000, "requests"),
    "10000",
    "Requests in work at once; more are answered 503 with Retry-After.",
    "同时处理的请求数上限；超过返回 503 并带 Retry-After。",
);
/// Handshakes.
pub const HANDSHAKES_MAX: Setting = fixed(
    "limits.handshakes_max",
    whole(1, 100_000, "handshakes"),
    "64",
    "TLS handshakes begun at once; more wait within limits.handshake_ms, and the last to come has the next turn.",
    "同时开始的 TLS 握手数上限；超过则在 limits.handshake_ms 内等候，后到者先得。",
);
/// Handshake.
pub const HANDSHAKE_MS: Setting = fixed(
    "limits.handshake_ms",
    DEADLINE,
    "10000",
    "Longest TLS handshake.",
    "TLS 握手的最长时间。",
);
/// PROXY header.
pub const PROXY_HEADER_MS: Setting = fixed(
    "limits.proxy_header_ms",
    DEADLINE,
    "5000",
    "Longest wait for the PROXY protocol header of a trusted peer.",
    "等待受信任对端 PROXY 协议头的最长时间。",
);
/// First byte.
pub const FIRST_BYTE_MS: Setting = fixed(
    "limits.first_byte_ms",
    DEADLINE,
    "5000",
    "From the connection (after TLS) to the first byte of its first request.",
    "连接建立（TLS 之后）到第一个请求首字节的最长时间。",
);
/// Header.
pub const HEADER_MS: Setting = fixed(
    "limits.header_ms",
    DEADLINE,
    "10000",
    "From the first byte of a request to the end of its head.",
    "请求首字节到请求头结束的最长时间。",
);
/// Idle.
pub const IDLE_MS: Setting = fixed(
    "limits.idle_ms",
    DEADLINE,
    "75000",
    "How long an idle connection is kept alive; longer than the load balancer in front keeps its own.",
    "空闲连接的保持时间；应大于前置负载均衡的保持时间。",
);
/// Body.
pub const BODY_MS: Setting = fixed(
    "limits.body_ms",
    DEADLINE,
    "30000",
    "From a request's head to the end of its body; at most limits.total_ms.",
    "请求头结束到请求体结束的最长时间；不得大于 limits.total_ms。",
);
/// Total.
pub const TOTAL_MS: Setting = fixed(
    "limits.total_ms",
    DEADLINE,
    "60000",
    "From a request's head to its answer; beyond it the outcome is unknown to the caller (503).",
    "请求头结束到应答的最长时间；超过则调用方无法得知结果（503）。",
);
/// Body size.
pub const BODY_MAX_KIB: Setting = fixed(
    "limits.body_max_kib",
    whole(4, 1_024, "KiB"),
    "64",
    "Largest body of an ordinary request; imports and other calls with a limit of their own keep it.",
    "普通请求体的大小上限；导入等另有上限的接口不受影响。",
);

/// The same limit as a field of a listener; what is not written there is that of all.
const fn of_listener(path: &'static str, of_all: Setting, doc_en: &'static str, doc_zh: &'static str) -> Setting {
    Setting {
        path,
        doc_en,
        doc_zh,
        ..of_all
    }
}

/// `connections_max` of a listener.
pub const LISTENER_CONNECTIONS_MAX: Setting = of_listener(
    "connections_max",
    CONNECTIONS_MAX,
    "Open connections of this listener, within limits.connections_max; left out, only that one holds.",
    "此监听器的最大连接数，不超过 limits.connections_max；省略则只受后者限制。",
);
/// `connections_per_address` of a listener.
pub const LISTENER_CONNECTIONS_PER_ADDRESS: Setting = of_listener(
    "connections_per_address",
    CONNECTIONS_PER_ADDRESS,
    "Open connections of a client address here; left out, limits.connections_per_address holds.",
    "此处每个客户端地址的最大连接数；省略则为 limits.connections_per_address。",
);
/// `handshake_ms` of a listener.
pub const LISTENER_HANDSHAKE_MS: Setting = of_listener(
    "handshake_ms",
    HANDSHAKE_MS,
    "Longest TLS handshake here; left out, limits.handshake_ms holds.",
    "此处 TLS 握手的最长时间；省略则为 limits.handshake_ms。",
);
/// `proxy_header_ms` of a listener.
pub const LISTENER_PROXY_HEADER_MS: Setting = of_listener(
    "proxy_header_ms",
    PROXY_HEADER_MS,
    "Longest wait for a PROXY header here; left out, limits.proxy_header_ms holds.",
    "此处等待 PROXY 头的最长时间；省略则为 limits.proxy_header_ms。",
);
/// `first_byte_ms` of a listener.
pub const LISTENER_FIRST_BYTE_MS: Setting = of_listener(
    "first_byte_ms",
    FIRST_BYTE_MS,
    "Longest wait for a connection's first byte here; left out, limits.first_byte_ms holds.",
    "此处等待首字节的最长时间；省略则为 limits.first_byte_ms。",
);
/// `header_ms` of a listener.
pub const LISTENER_HEADER_MS: Setting = of_listener(
    "header_ms",
    HEADER_MS,
    "Longest time of a request's head here; left out, limits.header_ms holds.",
    "此处读取请求头的最长时间；省略则为 limits.header_ms。",
);
/// `idle_ms` of a listener.
pub const LISTENER_IDLE_MS: Setting = of_listener(
    "idle_ms",
    IDLE_MS,
    "How long an idle connection is kept alive here; left out, limits.idle_ms holds.",
    "此处空闲连接的保持时间；省略则为 limits.idle_ms。",
);
