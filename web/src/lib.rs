//! HTTP in and out: listeners, TLS, routes, gates, handlers, wire types and the OpenAPI document.
//!
//! [`routes::ROUTES`] is the plain list everything walks; [`App`] is the one application behind all listeners and,
//! in process, behind the command line; [`listener`] owns sockets and connections. This crate knows no tables and no
//! engines: handlers decode, call one verb of the domain, and encode.

pub mod admission;
pub mod app;
pub mod body;
pub mod codes;
pub mod cors;
mod departure;
mod doubt;
mod endpoint;
mod examples;
pub mod exchange;
pub mod handlers;
pub mod host;
pub mod json;
pub mod limits;
pub mod listener;
pub mod metrics;
pub mod openapi;
pub mod origin;
pub mod problem;
pub mod recheck;
pub mod route;
pub mod routes;
mod signed;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod trace;
pub mod wire;

pub use admission::{AdmissionOptions, ClassOptions, Mode as AdmissionMode, PlayersWork, WaitingRoomMode};
pub use app::{App, AppOptions};
pub use host::{Beats, Check, Health, Host, HostAnswer, Pressure, Startup, Version};
pub use limits::{Limits, OwnLimits};
pub use listener::{
    Address, BoundAddress, CertificatePair, DrainConfig, DrainReport, HostCertificates, Listener, ListenerConfig,
    Network, ProxyProtocol, Server, Starting, StartingOptions, Tls, TlsError, TlsOptions, self_signed,
};
pub use metrics::HttpMetrics;
pub use origin::{Origin, Surface};
