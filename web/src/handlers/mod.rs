//! Handlers, one per route: decode, call one verb, encode. Nothing is decided here.

pub mod account;
pub mod catalogue;
pub mod import;
pub mod ops;
pub mod server;
pub mod session;
pub mod staff;

#[cfg(test)]
mod tests;
