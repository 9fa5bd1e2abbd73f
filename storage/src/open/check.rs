//! Does the engine's history end where it must? Compares the head row, the journal and the control file.

use std::ops::ControlFlow;

use super::OpenFailure;
use crate::catalog::MARK_TABLE;
use crate::control::ControlState;
use crate::engine::{EngineView, Space};
use crate::error::{CodecError, EngineError};
use crate::fault;
use crate::frame::{Chain, decode};
use crate::head::Head;
use crate::journal::{Journal, JournalLimits, Stretch};
use crate::span::{EngineRange, Span};

/// What is wrong.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) failure: OpenFailure,
    pub(crate) reason: String,
}

fn wrong<T>(failure: OpenFailure, reason: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong {
        failure,
        reason: reason.into(),
    })
}

impl From<EngineError> for Wrong {
    fn from(error: EngineError) -> Self {
        let failure = match error {
            EngineError::Corrupt(_) => OpenFailure::EngineDamaged,
            EngineError::Io(_) | EngineError::Busy(_) => OpenFailure::Io,
        };
        Self {
            failure,
            reason: error.to_string(),
        }
    }
}

impl From<CodecError> for Wrong {
    fn from(error: CodecError) -> Self {
        Self {
            failure: OpenFailure::JournalDamaged,
            reason: format!("the store's own rows do not decode: {error}"),
        }
    }
}

/// The head and the journal's bookkeeping, when all is well.
pub(crate) fn history(
    view: &dyn EngineView,
    state: &ControlState,
    limits: JournalLimits,
) -> Result<(Head, Journal), Wrong> {
    let Some(row) = view.get(Space::Meta, &Head::key())? else {
        return wrong(OpenFailure::LostData, "the engine is empty: the head row is missing");
    };
    let (cluster_id, head) = Head::decode(&row)?;
    if cluster_id != state.cluster_id {
        return wrong(
            OpenFailure::Foreign,
            "the engine belongs to another cluster than the control file",
        );
    }
    if head.epoch > state.epoch {
        let reason = format!(
            "the engine is in epoch {}, the control file in {}",
            head.epoch, state.epoch
        );
        return wrong(OpenFailure::Foreign, reason);
    }
    if fault::is_on(fault::Switch::IgnoreFloor) {
        return Ok((head, bookkeeping(view, limits)?));
    }
    if head.lsn < state.floor_lsn {
        let reason = format!(
            "the history ends at lsn {}, but lsn {} was durable",
            head.lsn, state.floor_lsn
        );
        return wrong(OpenFailure::LostData, reason);
    }
    check_end(view, &head)?;
    check_floor(view, state, &head)?;
    Ok((head, bookkeeping(view, limits)?))
}

/// The last frame must be the head's, and none may follow.
fn check_end(view: &dyn EngineView, head: &Head) -> Result<(), Wrong> {
    let mut last = None;
    let backward = EngineRange {
        backward: true,
        ..EngineRange::everything()
    };
    view.scan(Space::Journal, &backward, &mut |key, frame| {
        last = Some((key.to_vec(), frame.to_vec()));
        ControlFlow::Break(())
    })?;
    let Some((key, frame)) = last else {
        return if head.lsn == 0 {
            Ok(())
        } else {
            wrong(OpenFailure::JournalDamaged, "the journal is empty")
        };
    };
    match decode(&frame) {
        Ok(frame) if key == head.lsn.to_be_bytes() && frame.position.lsn == head.lsn && frame.chain == head.chain => {
            Ok(())
        }
        Ok(frame) => {
            let reason = format!(
                "the last frame is lsn {}, the head says {}",
                frame.position.lsn, head.lsn
            );
            wrong(OpenFailure::JournalDamaged, reason)
        }
        Err(error) => wrong(OpenFailure::JournalDamaged, format!("the last frame: {error}")),
    }
}

/// From the floor to the head every frame must follow from the one before. When the floor's frame was trimmed, the
/// oldest frame kept stands in for it.
fn check_floor(view: &dyn EngineView, state: &ControlState, head: &Head) -> Result<(), Wrong> {
    let (mut lsn, mut chain) = (state.floor_lsn, Some(state.floor_chain));
    let from = EngineRange {
        start: state.floor_lsn.to_be_bytes().to_vec(),
        end: None,
        backward: false,
    };
    let mut found = Ok(());
    view.scan(Space::Journal, &from, &mut |key, bytes| {
        found = follow(key, bytes, state.floor_lsn, &mut lsn, &mut chain);
        if found.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    found?;
    if lsn != head.lsn {
        return wrong(
            OpenFailure::JournalDamaged,
            format!("the journal breaks off at lsn {lsn} before {}", head.lsn),
        );
    }
    Ok(())
}

fn follow(key: &[u8], bytes: &[u8], floor_lsn: u64, lsn: &mut u64, chain: &mut Option<Chain>) -> Result<(), Wrong> {
    let frame = match decode(bytes) {
        Ok(frame) => frame,
        Err(error) => return wrong(OpenFailure::JournalDamaged, format!("frame after lsn {lsn}: {error}")),
    };
    let at = frame.position.lsn;
    if key != at.to_be_bytes() {
        return wrong(
            OpenFailure::JournalDamaged,
            format!("frame of lsn {at} lies in another's place"),
        );
    }
    if at == floor_lsn {
        if Some(frame.chain) != *chain {
            return wrong(
                OpenFailure::LostData,
                format!("the history differs at lsn {at}, which was durable"),
            );
        }
        return Ok(());
    }
    let first_kept = *lsn == floor_lsn && at > floor_lsn + 1;
    if !first_kept && (at != *lsn + 1 || Some(frame.position.prev_chain) != *chain) {
        return wrong(
            OpenFailure::JournalDamaged,
            format!("lsn {at} does not follow from lsn {lsn}"),
        );
    }
    *lsn = at;
    *chain = Some(frame.chain);
    Ok(())
}

/// The marks, and the frames behind the last mark.
pub(crate) fn bookkeeping(view: &dyn EngineView, limits: JournalLimits) -> Result<Journal, Wrong> {
    let mut marks = Vec::new();
    let mut damaged = Ok(());
    view.scan(Space::Meta, &Span::all().numbered(MARK_TABLE), &mut |key, value| {
        match Stretch::decode(key, value) {
            Ok(stretch) => marks.push(stretch),
            Err(error) => {
                damaged = Err(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    damaged?;
    let mut journal = Journal::new(limits, marks);
    let from = EngineRange {
        start: journal.unmarked_from().to_be_bytes().to_vec(),
        end: None,
        backward: false,
    };
    view.scan(Space::Journal, &from, &mut |_, bytes| {
        if let Ok(frame) = decode(bytes) {
            journal.found(frame.position.lsn, bytes.len() as u64, frame.position.now_at);
        }
        ControlFlow::Continue(())
    })?;
    Ok(journal)
}
