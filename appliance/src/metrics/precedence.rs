//! Figures of who goes first on the processors.

use std::fmt;

use super::Figures;
use crate::precedence::Precedence;

/// Encodes them.
pub(super) fn figures(precedence: &Precedence, out: &mut Figures<'_, '_>) -> fmt::Result {
    let standing = precedence.standing();
    out.gauge(
        "seawall_checks_first",
        "1 while threads of token checks go before all others",
        u64::from(standing.first),
    )?;
    out.counter(
        "seawall_checks_first_spent_windows",
        "Windows of 100 ms in which token checks spent their budget of processor time and shared from then on",
        standing.spent_windows,
    )?;
    out.gauge(
        "seawall_checks_share_in_storm",
        "1 while threads of token checks share because players' threads wait for a processor",
        u64::from(standing.storm),
    )
}
