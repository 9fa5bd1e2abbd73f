//! The OpenAPI 3.1 document, made from the list of routes.

use serde_json::{Value, json};

/// The document.
#[must_use]
pub fn document() -> Value {
    json!({ "openapi": "3.1.0" })
}
