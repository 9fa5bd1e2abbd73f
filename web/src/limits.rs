//! Every limit of the transport by name and unit. Values a host may need to change are fields of [`Limits`]; the rest
//! are constants.

use crate::admission::AdmissionOptions;

/// Longest path with query, in bytes.
pub const URI_MAX_BYTES: usize = 16 << 10;
/// Largest request head, in bytes.
pub const HEADER_MAX_BYTES: usize = 16 << 10;
/// Most header fields of a request.
pub const HEADER_MAX_COUNT: usize = 100;
/// Largest body of an ordinary call unless [`Limits::body_max_bytes`] says otherwise, in bytes.
pub const BODY_MAX_BYTES: usize = 64 << 10;
/// A refused body up to this size is read and thrown away, so that the connection can go on; in bytes.
pub const DRAIN_MAX_BYTES: usize = 64 << 10;
/// Backlog asked of the kernel for every listener; it may grant less (`net.core.somaxconn`).
pub const BACKLOG: i32 = 4096;
/// Longest user agent kept, in bytes.
pub const USER_AGENT_MAX_BYTES: usize = 256;
/// `Retry-After` when nobody computed a better one: uniformly between this and three times this, in milliseconds.
pub const RETRY_AFTER_BASE_MS: u64 = 1000;
/// HTTP/2 streams of one connection at a time.
pub const H2_STREAMS_MAX: u32 = 256;
/// HTTP/2 window of a stream and of a connection, in bytes.
pub const H2_WINDOW_BYTES: u32 = 64 << 10;
/// HTTP/2 bytes buffered for sending, for each stream.
pub const H2_SEND_BUFFER_BYTES: usize = 64 << 10;
/// HTTP/2 streams reset by the peer before we answered them; more ends the connection (rapid reset).
pub const H2_PENDING_RESETS_MAX: usize = 32;
/// HTTP/2 streams we reset for the peer's errors; more ends the connection.
pub const H2_ERROR_RESETS_MAX: usize = 256;
/// How long a closing connection waits for the client to stop sending, in milliseconds.
pub const LINGER_MS: u64 = 2_000;

/// The limits a host may change. One value serves every listener that has none of its own ([`OwnLimits`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// TLS handshake, in milliseconds.
    pub handshake_ms: u64,
    /// PROXY protocol header, in milliseconds.
    pub proxy_header_ms: u64,
    /// From the accepted connection (after TLS) to its first byte, in milliseconds.
    pub first_byte_ms: u64,
    /// From the first byte of a request to the end of its head, in milliseconds.
    pub header_ms: u64,
    /// A request's body, in milliseconds.
    pub body_ms: u64,
    /// A whole request, in milliseconds.
    pub total_ms: u64,
    /// An idle kept-alive connection, in milliseconds. Also the time an answer may take to be read.
    pub idle_ms: u64,
    /// An HTTP/1 connection that was idle for so long gives its buffers back until the client speaks again, in
    /// milliseconds. Not a setting: to come back costs little where it is rare.
    pub rest_after_ms: u64,
    /// The same while more than [`Limits::crowd_connections`] are in service, in milliseconds.
    pub rest_in_crowd_after_ms: u64,
    /// Connections in service, those at rest not counted, above which they rest sooner; by the memory there is for them.
    pub crowd_connections: usize,
    /// Largest body of an ordinary call, in bytes; routes that take more (imports, uploads) say so themselves.
    pub body_max_bytes: usize,
    /// TLS handshakes begun at a time: the part from the client's hello to our answer, which is work for a processor. More
    /// wait, and the last to come has the next turn.
    pub handshakes_max: usize,
    /// Connections in all.
    pub connections_max: usize,
    /// Connections of one client address (IPv4 /32, IPv6 /64); trusted peers are exempt.
    pub connections_per_address_max: usize,
    /// Requests being worked on at a time; more are answered 503 at once, but for classes below their share. Health and
    /// operators are exempt.
    pub in_flight_max: usize,
    /// Who is let in when more is asked for than can be done.
    pub admission: AdmissionOptions,
    /// One of so many token checks is read again from the store in the background; none when 0.
    pub verify_recheck_every: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            handshake_ms: 10_000,
            proxy_header_ms: 5_000,
            first_byte_ms: 5_000,
            header_ms: 10_000,
            body_ms: 30_000,
            total_ms: 60_000,
            idle_ms: 75_000,
            rest_after_ms: 10_000,
            rest_in_crowd_after_ms: 1_000,
            crowd_connections: 8_192,
            body_max_bytes: BODY_MAX_BYTES,
            handshakes_max: 64,
            connections_max: 100_000,
            connections_per_address_max: 1_000,
            in_flight_max: 8_192,
            admission: AdmissionOptions::default(),
            verify_recheck_every: 1_000,
        }
    }
}

/// What a listener has otherwise than the rest; `None` takes the value of [`Limits`]. A listener with a cap of its own
/// counts its connections on its own, and against the total of all listeners too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnLimits {
    /// As [`Limits::handshake_ms`].
    pub handshake_ms: Option<u64>,
    /// As [`Limits::proxy_header_ms`].
    pub proxy_header_ms: Option<u64>,
    /// As [`Limits::first_byte_ms`].
    pub first_byte_ms: Option<u64>,
    /// As [`Limits::header_ms`].
    pub header_ms: Option<u64>,
    /// As [`Limits::idle_ms`].
    pub idle_ms: Option<u64>,
    /// Connections of this listener; the total of all stays.
    pub connections_max: Option<usize>,
    /// As [`Limits::connections_per_address_max`], of this listener.
    pub connections_per_address_max: Option<usize>,
}

impl OwnLimits {
    /// `limits` with what is said here in place of theirs.
    #[must_use]
    pub fn over(&self, limits: &Limits) -> Limits {
        Limits {
            handshake_ms: self.handshake_ms.unwrap_or(limits.handshake_ms),
            proxy_header_ms: self.proxy_header_ms.unwrap_or(limits.proxy_header_ms),
            first_byte_ms: self.first_byte_ms.unwrap_or(limits.first_byte_ms),
            header_ms: self.header_ms.unwrap_or(limits.header_ms),
            idle_ms: self.idle_ms.unwrap_or(limits.idle_ms),
            connections_max: self.connections_max.unwrap_or(limits.connections_max),
            connections_per_address_max: self
                .connections_per_address_max
                .unwrap_or(limits.connections_per_address_max),
            ..limits.clone()
        }
    }

    /// Has it a cap of its own?
    #[must_use]
    pub fn counts_apart(&self) -> bool {
        self.connections_max.is_some() || self.connections_per_address_max.is_some()
    }
}
