//! Keeping the journal within its caps. Frames are grouped into stretches of about a mebibyte; a closed stretch gets one
//! row (a mark), so that a start needs to read only the marks and the frames behind the last one. Whole stretches go, in
//! the same batch as the group that pushed them out.

use std::collections::VecDeque;

use crate::catalog::{MARK_TABLE, bare_key, row_key};
use crate::engine::{BatchOp, Space};
use crate::error::CodecError;
use crate::fault;
use crate::key::Key;

/// How much of the journal is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalLimits {
    /// Frame bytes kept at most, plus one stretch.
    pub max_bytes: u64,
    /// Frames older than this against the newest go, in milliseconds.
    pub max_age_ms: u64,
}

impl Default for JournalLimits {
    /// 1 GiB and seven days.
    fn default() -> Self {
        Self {
            max_bytes: 1 << 30,
            max_age_ms: 7 * 86_400_000,
        }
    }
}

/// A stretch is closed at this many bytes, or a sixteenth of the cap when that is less.
const STRETCH_BYTES: u64 = 1 << 20;

/// Some consecutive frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) first_lsn: u64,
    pub(crate) last_lsn: u64,
    pub(crate) bytes: u64,
    pub(crate) now_at: u64,
}

impl Stretch {
    pub(crate) fn key(&self) -> Vec<u8> {
        row_key(MARK_TABLE, &self.first_lsn.to_be_bytes())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        (self.last_lsn, self.bytes, self.now_at).encode(&mut out);
        out
    }

    pub(crate) fn decode(full_key: &[u8], value: &[u8]) -> Result<Self, CodecError> {
        let (last_lsn, bytes, now_at) = Key::decode(value)?;
        Ok(Self {
            first_lsn: u64::decode(bare_key(full_key))?,
            last_lsn,
            bytes,
            now_at,
        })
    }
}

/// What the batch of a group must do to the journal besides adding the frame.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Upkeep {
    /// A stretch that this frame closed: write its mark.
    pub(crate) closed: Option<Stretch>,
    /// Stretches that go: delete their frames and marks.
    pub(crate) trimmed: Vec<Stretch>,
}

impl Upkeep {
    /// The rows it comes to, to be kept while their batch is made.
    pub(crate) fn rows(&self) -> UpkeepRows {
        UpkeepRows {
            mark: self.closed.map(|stretch| (stretch.key(), stretch.encode())),
            gone: self.trimmed.iter().map(Gone::of).collect(),
        }
    }
}

/// The rows of an [`Upkeep`].
pub(crate) struct UpkeepRows {
    mark: Option<(Vec<u8>, Vec<u8>)>,
    gone: Vec<Gone>,
}

struct Gone {
    mark_key: Vec<u8>,
    from: [u8; 8],
    until: [u8; 8],
}

impl Gone {
    fn of(stretch: &Stretch) -> Self {
        Self {
            mark_key: stretch.key(),
            from: stretch.first_lsn.to_be_bytes(),
            until: (stretch.last_lsn + 1).to_be_bytes(),
        }
    }
}

impl UpkeepRows {
    /// Whether frames go.
    pub(crate) fn trims(&self) -> bool {
        !self.gone.is_empty()
    }

    /// The changes, for the batch of the frame.
    pub(crate) fn ops(&self) -> impl Iterator<Item = BatchOp<'_>> {
        let mark = self
            .mark
            .iter()
            .map(|(key, value)| BatchOp::Put(Space::Meta, key, value));
        let gone = self.gone.iter().flat_map(|gone| {
            [
                BatchOp::Delete(Space::Meta, &gone.mark_key),
                BatchOp::DeleteRange(Space::Journal, &gone.from, &gone.until),
            ]
        });
        mark.chain(gone)
    }
}

/// The stretches of a journal.
#[derive(Debug)]
pub(crate) struct Journal {
    limits: JournalLimits,
    stretch_bytes: u64,
    closed: VecDeque<Stretch>,
    open: Option<Stretch>,
}

impl Journal {
    pub(crate) fn new(mut limits: JournalLimits, closed: impl IntoIterator<Item = Stretch>) -> Self {
        if fault::is_on(fault::Switch::SmallJournal) {
            limits.max_bytes = 64 << 10;
        }
        let stretch_bytes = STRETCH_BYTES.min(limits.max_bytes / 16).max(1);
        Self {
            limits,
            stretch_bytes,
            closed: closed.into_iter().collect(),
            open: None,
        }
    }

    /// First lsn behind the closed stretches: where a start has to look for frames.
    pub(crate) fn unmarked_from(&self) -> u64 {
        self.closed.back().map_or(0, |last| last.last_lsn + 1)
    }

    /// Accounts for a frame that a start found behind the marks.
    pub(crate) fn found(&mut self, lsn: u64, bytes: u64, now_at: u64) {
        self.grow(lsn, bytes, now_at);
    }

    /// Accounts for a new frame.
    pub(crate) fn append(&mut self, lsn: u64, bytes: u64, now_at: u64) -> Upkeep {
        let closed = self
            .grow(lsn, bytes, now_at)
            .filter(|open| open.bytes >= self.stretch_bytes);
        if let Some(stretch) = closed {
            self.closed.push_back(stretch);
            self.open = None;
        }
        let mut trimmed = Vec::new();
        while let Some(oldest) = self.closed.front().filter(|oldest| self.must_go(oldest, lsn, now_at)) {
            trimmed.push(*oldest);
            self.closed.pop_front();
        }
        Upkeep { closed, trimmed }
    }

    fn grow(&mut self, lsn: u64, bytes: u64, now_at: u64) -> Option<Stretch> {
        let open = self.open.get_or_insert(Stretch {
            first_lsn: lsn,
            last_lsn: lsn,
            bytes: 0,
            now_at,
        });
        open.last_lsn = lsn;
        open.bytes += bytes;
        open.now_at = now_at;
        self.open
    }

    /// The newest frame always stays, whatever the caps.
    fn must_go(&self, oldest: &Stretch, newest_lsn: u64, now_at: u64) -> bool {
        let old = oldest.now_at.saturating_add(self.limits.max_age_ms) < now_at;
        oldest.last_lsn < newest_lsn && (old || self.bytes() > self.limits.max_bytes)
    }

    /// Bytes of all frames kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.closed.iter().chain(&self.open).map(|stretch| stretch.bytes).sum()
    }

    /// Lsn of the oldest frame kept; `None` when there is none.
    pub(crate) fn first_lsn(&self) -> Option<u64> {
        self.closed
            .front()
            .or(self.open.as_ref())
            .map(|stretch| stretch.first_lsn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(max_bytes: u64, max_age_ms: u64) -> JournalLimits {
        JournalLimits { max_bytes, max_age_ms }
    }

    proptest! {
        #[test]
        fn stays_under_its_caps_and_keeps_the_newest(
            frames in prop::collection::vec((1u64..300, 0u64..50), 1..300),
            max_bytes in 100u64..5_000,
            max_age_ms in 1u64..1_000,
        ) {
            let mut journal = Journal::new(limits(max_bytes, max_age_ms), []);
            let mut kept: VecDeque<(u64, u64, u64)> = VecDeque::new();
            let mut now_at = 0;
            for (lsn, (bytes, pause_ms)) in (1..).zip(frames) {
                now_at += pause_ms;
                kept.push_back((lsn, bytes, now_at));
                for gone in journal.append(lsn, bytes, now_at).trimmed {
                    prop_assert_eq!(kept.front().unwrap().0, gone.first_lsn);
                    kept.retain(|frame| frame.0 > gone.last_lsn);
                }
                prop_assert_eq!(journal.bytes(), kept.iter().map(|frame| frame.1).sum::<u64>());
                prop_assert_eq!(journal.first_lsn(), kept.front().map(|frame| frame.0));
                prop_assert_eq!(kept.back().unwrap().0, lsn);
                prop_assert!(journal.bytes() <= max_bytes + 300 + max_bytes / 16, "{} of {}", journal.bytes(), max_bytes);
            }
        }

        #[test]
        fn marks_round_trip(first_lsn: u64, last_lsn: u64, bytes: u64, now_at: u64) {
            let stretch = Stretch { first_lsn, last_lsn, bytes, now_at };
            prop_assert_eq!(Stretch::decode(&stretch.key(), &stretch.encode()).unwrap(), stretch);
        }
    }

    #[test]
    fn a_start_continues_behind_the_marks() {
        let mut journal = Journal::new(limits(1600, 1_000_000), []);
        let mut marks = Vec::new();
        for lsn in 1..=25 {
            marks.extend(journal.append(lsn, 30, lsn).closed);
        }
        let mut again = Journal::new(limits(1600, 1_000_000), marks.clone());
        assert_eq!(again.unmarked_from(), marks.last().unwrap().last_lsn + 1);
        for lsn in again.unmarked_from()..=25 {
            again.found(lsn, 30, lsn);
        }
        assert_eq!(
            (again.bytes(), again.first_lsn()),
            (journal.bytes(), journal.first_lsn())
        );
    }

    #[test]
    fn age_counts_against_the_newest_frame() {
        let mut journal = Journal::new(limits(16, 100), []);
        assert!(journal.append(1, 1, 1_000).trimmed.is_empty());
        assert!(journal.append(2, 1, 1_100).trimmed.is_empty());
        assert_eq!(journal.append(3, 1, 1_101).trimmed.len(), 1);
    }
}
