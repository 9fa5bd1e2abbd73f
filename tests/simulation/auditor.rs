//! What must be true of one node whatever happens: every acknowledged write is there, no refused one is, an unknown one
//! is whole or absent; frames are dense, chained and one per lsn; records, indexes and observers agree; `now` and the
//! floor behave. The auditor knows only what clients know, plus the order in which they asked.

use std::collections::{BTreeMap, VecDeque};

use seawall_storage::frame::{Chain, decode};
use seawall_storage::{Head, ReadError, Span, Store, View, WriteError};

use crate::model::{Answer, COUNTER, Expected, No, OWNERS, Order, Rows};
use crate::tables::{ANSWERS, ITEMS, ITEMS_BY_OWNER, MARKS, Mark, SECRETS};

/// What is wrong, in words.
pub type Checked<T = ()> = Result<T, String>;

/// Says what is wrong unless `good`.
pub fn must(good: bool, wrong: impl FnOnce() -> String) -> Checked {
    if good { Ok(()) } else { Err(wrong()) }
}

fn read<T>(result: Result<T, ReadError>) -> Checked<T> {
    result.map_err(|error| format!("a read failed: {error}"))
}

/// The books.
#[derive(Default)]
pub struct Auditor {
    /// After everything that was published.
    published: Rows,
    /// After everything that was asked for.
    tip: Rows,
    /// Asked for, and not published, in order.
    line: VecDeque<(Order, Expected)>,
    /// Orders that were told that nothing happened.
    closed: Vec<u64>,
    now_at: u64,
    chains: BTreeMap<u64, Chain>,
    head: Option<Head>,
    floor_lsn: u64,
    incarnation: u64,
    cluster_id: Option<[u8; 16]>,
    pub acknowledged: u64,
    pub unknown: u64,
}

fn kept(expected: &Expected) -> bool {
    matches!(expected, Expected::Answer(Answer { kept: true, .. }))
}

impl Auditor {
    /// A client asks; how it must end.
    pub fn asked(&mut self, order: &Order) -> Expected {
        let expected = self.tip.run(order);
        self.line.push_back((order.clone(), expected));
        expected
    }

    /// An observer was told of these marks.
    pub fn observed(&mut self, marks: &[(u64, Mark)]) -> Checked {
        for (number, mark) in marks {
            loop {
                let (order, expected) = self
                    .line
                    .pop_front()
                    .ok_or_else(|| format!("an observer heard of order {number}, which nobody asked for"))?;
                self.published.run(&order);
                if kept(&expected) {
                    must(order.number == *number, || {
                        format!("an observer heard of order {number} before {}", order.number)
                    })?;
                    break;
                }
            }
            self.mark(*number, *mark)?;
        }
        Ok(())
    }

    fn mark(&mut self, number: u64, mark: Mark) -> Checked {
        let digest = self.published.marks.get(&number).copied();
        must(digest == Some(mark.answer), || {
            format!("order {number} left {}, it should be {digest:?}", mark.answer)
        })?;
        must(mark.now_at >= self.now_at, || {
            format!("now ran back from {} to {} at order {number}", self.now_at, mark.now_at)
        })?;
        self.now_at = mark.now_at;
        Ok(())
    }

    /// A client was answered. `failed` when the store said that it is finished.
    pub fn answered(
        &mut self,
        number: u64,
        expected: Expected,
        answer: Result<Answer, WriteError<No>>,
        failed: bool,
    ) -> Checked {
        let wrong = |answer| format!("order {number} was answered {answer:?} instead of {expected:?}");
        let same = match (&answer, expected) {
            (Err(WriteError::Unknown), _) if failed => {
                self.unknown += 1;
                return Ok(());
            }
            (Err(WriteError::Closed), _) if failed => {
                self.closed.push(number);
                return Ok(());
            }
            (Ok(answer), Expected::Answer(wanted)) => *answer == wanted,
            (Err(WriteError::Refused(No::Refused)), Expected::Refused) => true,
            (Err(WriteError::Panicked), Expected::Panicked) => true,
            _ => false,
        };
        must(same, || wrong(answer))?;
        self.acknowledged += 1;
        let early = self
            .line
            .iter()
            .find(|(order, expected)| kept(expected) && order.number <= number);
        must(early.is_none(), || {
            format!("order {number} was answered before {early:?} was published")
        })
    }

    /// The head after a step of the writer.
    pub fn head_moved(&mut self, head: Head) -> Checked {
        let before = self.head.map_or(0, |head| head.lsn);
        must(head.lsn <= before + 1 && head.lsn >= before, || {
            format!("the head moved from lsn {before} to {}", head.lsn)
        })?;
        self.head = Some(head);
        self.chain(head.lsn, head.chain)
    }

    fn chain(&mut self, lsn: u64, chain: Chain) -> Checked {
        let known = *self.chains.entry(lsn).or_insert(chain);
        must(known == chain, || format!("lsn {lsn} has two contents"))
    }

    /// The floor as the control file has it.
    pub fn floor(&mut self, store: &Store) -> Checked {
        let control = store.control().ok_or("there is no control file")?;
        let head = store.head().lsn;
        must(control.floor_lsn <= head && control.floor_lsn >= self.floor_lsn, || {
            format!("floor {} after {}, head {head}", control.floor_lsn, self.floor_lsn)
        })?;
        self.floor_lsn = control.floor_lsn;
        Ok(())
    }

    /// The durable floor as far as anyone was told.
    pub fn floor_lsn(&self) -> u64 {
        self.floor_lsn
    }

    /// A store was opened: everything in it against the books, and what was unknown is settled.
    pub fn opened(&mut self, store: &Store) -> Checked {
        let marks: BTreeMap<u64, Mark> = all_marks(store)?;
        for number in self.published.marks.keys() {
            must(marks.contains_key(number), || {
                format!("order {number} was durable and is gone")
            })?;
        }
        for (order, expected) in std::mem::take(&mut self.line) {
            if !kept(&expected) {
                continue;
            }
            if !marks.contains_key(&order.number) {
                break;
            }
            must(!self.closed.contains(&order.number), || {
                format!(
                    "order {} exists, its client was told that nothing happened",
                    order.number
                )
            })?;
            self.published.run(&order);
        }
        must(marks.len() == self.published.marks.len(), || {
            let known = &self.published.marks;
            let strange: Vec<_> = marks.keys().filter(|number| !known.contains_key(number)).collect();
            format!("orders {strange:?} exist without those before them")
        })?;
        self.tip = self.published.clone();
        self.now_at = 0;
        for (number, mark) in marks {
            self.mark(number, mark)?;
        }
        self.identity(store)?;
        self.frames(store)?;
        self.everything(store)
    }

    fn identity(&mut self, store: &Store) -> Checked {
        let (head, before) = (store.head(), self.head.map_or(0, |head| head.lsn));
        must(head.lsn >= before, || {
            format!("the history ended at lsn {before}, now at {}", head.lsn)
        })?;
        must(head.now_at >= self.now_at, || {
            format!("the head says {}, a write saw {}", head.now_at, self.now_at)
        })?;
        self.head = Some(head);
        must(store.incarnation() > self.incarnation, || {
            format!("incarnation {} after {}", store.incarnation(), self.incarnation)
        })?;
        self.incarnation = store.incarnation();
        let cluster_id = *self.cluster_id.get_or_insert(store.cluster_id());
        must(cluster_id == store.cluster_id(), || "the cluster id changed".into())?;
        self.floor(store)
    }

    /// The frames kept: dense, chained, the same as ever, and their transactions those that were asked for.
    fn frames(&mut self, store: &Store) -> Checked {
        let (mut frames, mut numbers, mut bad) = (Vec::new(), Vec::new(), None);
        read(store.journal(0, &mut |bytes| match decode(bytes) {
            Ok(frame) => {
                frames.push((frame.position.lsn, frame.position.prev_chain, frame.chain));
                let callers = frame
                    .transactions
                    .iter()
                    .map(|tx| tx.caller.parse::<u64>().unwrap_or(0));
                numbers.extend(callers);
            }
            Err(error) => bad = Some(error.to_string()),
        }))?;
        must(bad.is_none(), || format!("a frame does not decode: {bad:?}"))?;
        for pair in frames.windows(2) {
            must(pair[1].0 == pair[0].0 + 1 && pair[1].1 == pair[0].2, || {
                format!("lsn {} does not follow from lsn {}", pair[1].0, pair[0].0)
            })?;
        }
        for (lsn, _, chain) in &frames {
            self.chain(*lsn, *chain)?;
        }
        let last = frames.last().map_or(0, |frame| frame.0);
        must(last == store.head().lsn, || format!("the journal ends at {last}"))?;
        let asked: Vec<u64> = self.published.marks.keys().copied().collect();
        must(asked.ends_with(&numbers), || {
            format!("the journal holds the orders {numbers:?}, not the last of {asked:?}")
        })
    }

    /// Every row of every table, every index, and the store's own verification.
    pub fn everything(&self, store: &Store) -> Checked {
        let found = read(store.read(all_rows))?;
        same_rows(&found, &self.published)?;
        let report = read(store.verify(&mut |_| {}))?;
        must(report.is_clean(), || {
            format!("verification found {:?}", report.problems)
        })
    }

    /// A client reads on one snapshot: exactly the rows after the last write in it.
    pub fn read_snapshot(&self, store: &Store, owner: u32) -> Checked {
        store
            .read(|view| {
                let last = view.scan(&MARKS, &Span::all().backward(), 1)?.rows;
                let rows = self.rows_after(last.first().map(|(number, _)| *number));
                let items = view.scan(&ITEMS, &Span::all(), 1000)?.rows;
                let owned = view.index(&ITEMS_BY_OWNER, &Span::prefix(&owner), 1000)?.rows;
                let counter = view.counter(COUNTER)?;
                Ok(rows.and_then(|rows| {
                    must(rows.items == items.into_iter().collect(), || {
                        "a snapshot has other items than its last write left".into()
                    })?;
                    let wanted = rows.items.iter().filter(|(_, item)| item.owner == owner);
                    let wanted: Vec<u64> = wanted.map(|(id, _)| *id).collect();
                    must(owned == wanted, || {
                        format!("the index of {owner} has {owned:?}, not {wanted:?}")
                    })?;
                    must(counter == rows.counter, || {
                        format!("counter {counter}, not {}", rows.counter)
                    })
                }))
            })
            .map_err(|error| error.to_string())?
    }

    /// A client reads one row, perhaps from the cache: as it is published, or as it is durable already.
    pub fn read_row(&self, id: u64, found: Option<&crate::tables::Item>, store: &Store) -> Checked {
        if found == self.published.items.get(&id) {
            return Ok(());
        }
        let last = read(store.read(|view| view.scan(&MARKS, &Span::all().backward(), 1)))?;
        let rows = self.rows_after(last.rows.first().map(|(number, _)| *number))?;
        must(found == rows.items.get(&id), || {
            format!("item {id} was read as {found:?}, it is {:?}", rows.items.get(&id))
        })
    }

    /// What an observer built must be what was published.
    pub fn mirror(&self, mirror: &BTreeMap<u64, crate::tables::Item>) -> Checked {
        must(*mirror == self.published.items, || {
            "the observer's mirror differs from what was published".into()
        })
    }

    /// Items as they are published.
    pub fn items(&self) -> BTreeMap<u64, crate::tables::Item> {
        self.published.items.clone()
    }

    /// The rows after the order with this number, which may be durable without being published.
    fn rows_after(&self, last: Option<u64>) -> Checked<Rows> {
        let mut rows = self.published.clone();
        let wanted = last.unwrap_or(0);
        for (order, _) in &self.line {
            if rows.marks.keys().next_back().copied().unwrap_or(0) >= wanted {
                break;
            }
            rows.run(order);
        }
        let reached = rows.marks.keys().next_back().copied().unwrap_or(0);
        must(reached == wanted, || {
            format!("order {wanted} is in a snapshot, {reached} was the last that can be")
        })?;
        Ok(rows)
    }
}

fn all_marks(store: &Store) -> Checked<BTreeMap<u64, Mark>> {
    let page = read(store.read(|view| view.scan(&MARKS, &Span::all(), 10_000)))?;
    must(page.next.is_none(), || "more marks than a page".into())?;
    Ok(page.rows.into_iter().collect())
}

fn all_rows(view: &View<'_>) -> Result<Rows, ReadError> {
    let all = Span::all();
    let (items, secrets) = (
        view.scan(&ITEMS, &all, 10_000)?.rows,
        view.scan(&SECRETS, &all, 1000)?.rows,
    );
    let (answers, marks) = (
        view.scan(&ANSWERS, &all, 10_000)?.rows,
        view.scan(&MARKS, &all, 10_000)?.rows,
    );
    Ok(Rows {
        items: items.into_iter().collect(),
        secrets: secrets.into_iter().map(|(id, number)| (id, number.0)).collect(),
        answers: answers.into_iter().map(|(key, number)| (key, number.0)).collect(),
        counter: view.counter(COUNTER)?,
        marks: marks.into_iter().map(|(number, mark)| (number, mark.answer)).collect(),
    })
}

fn same_rows(found: &Rows, wanted: &Rows) -> Checked {
    must(found.items == wanted.items, || {
        format!("items are {:?}, not {:?}", found.items.keys(), wanted.items.keys())
    })?;
    must(found.secrets == wanted.secrets, || "secrets differ".into())?;
    must(found.answers == wanted.answers, || {
        "answers by idempotency key differ".into()
    })?;
    must(found.counter == wanted.counter, || {
        format!("counter {}, not {}", found.counter, wanted.counter)
    })?;
    must(found.marks == wanted.marks, || "marks differ".into())
}

/// Owners there are, for readers to choose from.
pub fn any_owner(dice: &mut seawall_storage::simulation::Dice) -> u32 {
    u32::try_from(dice.below(OWNERS.into())).unwrap_or(0)
}
