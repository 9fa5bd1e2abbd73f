//! The load generator as the scenarios use it: the product's own, and many streams of one HTTP/2 connection.

pub use seawall_load::*;

pub use crate::streams::{StreamPlan, run_streams};
