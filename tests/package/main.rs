//! The binary as it is shipped: statically linked, at home in an empty root directory.

mod static_binary;
