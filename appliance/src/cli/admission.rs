//! `seawall admission`: what is refused now, and why.

use serde_json::Value;

use super::ask::{AdminClient, Ask};
use super::failure::{DONE, Failure};
use super::output::{Output, View};

/// Lists of the answer, which people see as tables.
const CLASSES: &str = "classes";
const TENANTS: &str = "tenants";

/// The request.
#[must_use]
pub fn show() -> Ask {
    Ask::get("/admin/v1/admission")
}

/// Asks and prints.
///
/// # Errors
/// When the server does not answer.
pub async fn admission(client: &dyn AdminClient, out: &Output) -> Result<u8, Failure> {
    let answer = client.call(show()).await?.success()?;
    if out.is_json() {
        out.answer(&answer, View::Record);
        return Ok(DONE);
    }
    let mut head = answer.clone();
    if let Value::Object(fields) = &mut head {
        fields.retain(|name, _| name != CLASSES && name != TENANTS);
    }
    out.answer(&head, View::Record);
    out.text("\n");
    let classes = View::Table {
        rows: CLASSES,
        columns: &[
            "class",
            "share_percent",
            "offered_units_per_second",
            "admitted_units_per_second",
            "fraction_permille",
            "in_flight",
            "refused.level",
            "refused.hash",
            "refused.in_flight",
            "refused.deadline",
            "would_be_refused.level",
        ],
    };
    out.answer(&answer, classes);
    let tenants = answer.get(TENANTS).and_then(Value::as_array);
    if tenants.is_some_and(|tenants| !tenants.is_empty()) {
        out.text("\n");
        let tenants = View::Table {
            rows: TENANTS,
            columns: &[
                "tenant",
                "class",
                "offered_units_per_second",
                "admitted_units_per_second",
                "fraction_permille",
            ],
        };
        out.answer(&answer, tenants);
    }
    Ok(DONE)
}
