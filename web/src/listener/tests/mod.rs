//! The transport on real sockets: deadlines, caps, malformed input, trust, TLS, drain.

mod deadlines;
mod drain;
mod input;
mod left;
mod rest;
mod tls;
mod trust;
