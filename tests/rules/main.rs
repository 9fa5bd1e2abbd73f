//! Rules of the house as tests. Each failure says what to do.

mod arrow;
mod documents;
mod sizes;
mod sources;
mod tree;
