//! A stretch of a table's (or index's) keys to be scanned, and in which direction.

use crate::key::Key;

/// Which keys a scan visits, in encoded form and without the table number: from `start` (inclusive) to `end`
/// (exclusive; `None` is the end of the table).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    start: Vec<u8>,
    end: Option<Vec<u8>>,
    backward: bool,
}

fn encoded(key: &impl Key) -> Vec<u8> {
    let mut out = Vec::new();
    key.encode(&mut out);
    out
}

/// The first key after every key that begins with `prefix`; `None` when there is none.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

impl Span {
    /// Every key.
    pub fn all() -> Self {
        Self {
            start: Vec::new(),
            end: None,
            backward: false,
        }
    }

    /// Keys whose encoding begins with that of `prefix` (a leading part of the table's key).
    pub fn prefix(prefix: &impl Key) -> Self {
        let start = encoded(prefix);
        let end = prefix_end(&start);
        Self {
            start,
            end,
            backward: false,
        }
    }

    /// Leaves out keys before `key`; `key` itself stays in.
    #[must_use]
    pub fn from(mut self, key: &impl Key) -> Self {
        self.start = self.start.max(encoded(key));
        self
    }

    /// Leaves out `key` and everything before it (and everything that begins with it, when it is a leading part).
    #[must_use]
    pub fn after(mut self, key: &impl Key) -> Self {
        match prefix_end(&encoded(key)) {
            Some(start) => self.start = self.start.max(start),
            None => self.end = Some(self.start.clone()),
        }
        self
    }

    /// Leaves out `key` and everything behind it.
    #[must_use]
    pub fn before(mut self, key: &impl Key) -> Self {
        let end = encoded(key);
        self.end = Some(match self.end.take() {
            Some(old) => old.min(end),
            None => end,
        });
        self
    }

    /// Visits the keys from the last to the first.
    #[must_use]
    pub fn backward(mut self) -> Self {
        self.backward = true;
        self
    }

    /// What is left of this span once the key with this encoding was visited.
    pub(crate) fn beyond(mut self, key: &[u8]) -> Self {
        if self.backward {
            self.end = Some(key.to_vec());
        } else {
            self.start = key.to_vec();
            self.start.push(0);
        }
        self
    }

    /// The same stretch as a range of the engine, with the number in front of every key.
    pub(crate) fn numbered(&self, number: u16) -> EngineRange {
        let prefix = number.to_be_bytes();
        let mut start = prefix.to_vec();
        start.extend_from_slice(&self.start);
        let end = match &self.end {
            Some(end) => {
                let mut full = prefix.to_vec();
                full.extend_from_slice(end);
                Some(full)
            }
            None => prefix_end(&prefix),
        };
        EngineRange {
            start,
            end,
            backward: self.backward,
        }
    }
}

/// A range of full engine keys: `start` inclusive, `end` exclusive, `None` is the end of the space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineRange {
    /// First key.
    pub start: Vec<u8>,
    /// First key no longer in the range.
    pub end: Option<Vec<u8>>,
    /// From the last to the first.
    pub backward: bool,
}

impl EngineRange {
    /// Everything in a space, forward.
    pub fn everything() -> Self {
        Self {
            start: Vec::new(),
            end: None,
            backward: false,
        }
    }

    /// True when no key can be in it.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contains(span: &Span, key: &impl Key) -> bool {
        let range = span.numbered(7);
        let mut full = vec![0, 7];
        key.encode(&mut full);
        full >= range.start && range.end.is_none_or(|end| full < end)
    }

    proptest! {
        #[test]
        fn spans_mean_what_they_say(a: u32, b: u32, key: (u32, u16)) {
            prop_assert_eq!(contains(&Span::prefix(&a), &key), key.0 == a);
            prop_assert_eq!(contains(&Span::all().from(&(a, 0u16)), &key), key.0 >= a);
            prop_assert_eq!(contains(&Span::all().after(&a), &key), key.0 > a);
            prop_assert_eq!(contains(&Span::all().before(&b), &key), key.0 < b);
            prop_assert_eq!(contains(&Span::all().from(&a).before(&b), &key), key.0 >= a && key.0 < b);
        }

        #[test]
        fn beyond_continues_after_the_key(a: (u32, u16), key: (u32, u16)) {
            let mut at = Vec::new();
            a.encode(&mut at);
            prop_assert_eq!(contains(&Span::all().beyond(&at), &key), key > a);
            prop_assert_eq!(contains(&Span::all().backward().beyond(&at), &key), key < a);
        }
    }

    #[test]
    fn the_last_key_has_nothing_after_it() {
        assert!(Span::all().after(&[0xffu8; 4]).numbered(7).is_empty());
        assert!(Span::all().after(&u32::MAX).before(&u32::MAX).numbered(7).is_empty());
        assert_eq!(Span::prefix(&u8::MAX).numbered(u16::MAX).end, None);
    }
}
