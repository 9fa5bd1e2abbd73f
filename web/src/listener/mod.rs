//! Listeners: sockets, the accept loop, connections and their deadlines, PROXY protocol, TLS, drain.

pub mod drain;
