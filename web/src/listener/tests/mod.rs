//! The transport on real sockets: deadlines, caps, malformed input, floods, held refusals, trust, TLS, drain.

mod deadlines;
mod drain;
mod floods;
mod held;
mod input;
mod left;
mod rest;
mod tls;
mod trust;
