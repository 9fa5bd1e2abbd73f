//! What clients ask for, and what it must do: orders, and the plain maps that say what every row is after them. The same
//! order runs against the store's transaction and against the maps.

use std::collections::BTreeMap;

use seawall_storage::simulation::Dice;
use seawall_storage::{Span, Table, Tx, TxError};

use crate::tables::{ANSWERS, ITEMS_BY_OWNER, Item, MARKS, Mark, Number, SECRETS};

/// Items have ids below this; those from the counter begin behind.
pub const ITEMS_MAX: u64 = 24;
pub const COUNTED_FROM: u64 = 1000;
pub const OWNERS: u32 = 5;
pub const SECRETS_MAX: u32 = 6;
pub const COUNTER: &str = "item";

/// One statement of an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    Put {
        item: u64,
        owner: u32,
        bytes: usize,
    },
    Delete {
        item: u64,
    },
    Grow {
        item: u64,
    },
    /// A new item with the next number of the counter.
    Count {
        owner: u32,
    },
    Raise {
        at_least: u64,
    },
    /// The first items of one owner go to another.
    Move {
        from: u32,
        to: u32,
    },
    Seal {
        secret: u32,
        number: u64,
    },
    Unseal {
        secret: u32,
    },
}

/// How an order ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Keep,
    Refuse,
    Panic,
    /// It only looked.
    Look,
}

/// One write of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Rises with every order of a seed.
    pub number: u64,
    /// Orders with the same key have one effect.
    pub key: u64,
    pub acts: Vec<Act>,
    pub end: End,
}

/// What an order answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Depends on everything the order read.
    pub digest: u64,
    /// The same key was answered before.
    pub repeated: bool,
    /// It left its mark.
    pub kept: bool,
}

/// Why an order answered nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum No {
    Refused,
    Store(TxError),
}

impl From<TxError> for No {
    fn from(error: TxError) -> Self {
        Self::Store(error)
    }
}

/// How an order must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Answer(Answer),
    Refused,
    Panicked,
}

impl Order {
    pub fn draw(dice: &mut Dice, number: u64) -> Self {
        let end = match dice.below(100) {
            0..75 => End::Keep,
            75..85 => End::Refuse,
            85..90 => End::Panic,
            _ => End::Look,
        };
        let acts = (0..=dice.below(4)).map(|_| Act::draw(dice)).collect();
        Self {
            number,
            key: number,
            acts,
            end,
        }
    }
}

impl Act {
    fn draw(dice: &mut Dice) -> Self {
        let item = dice.below(ITEMS_MAX);
        let bytes = if dice.hits(50) { 3000 } else { 120 };
        let owner = |dice: &mut Dice| u32::try_from(dice.below(OWNERS.into())).unwrap();
        match dice.below(20) {
            0..8 => Self::Put {
                item,
                owner: owner(dice),
                bytes: dice.place(bytes),
            },
            8..10 => Self::Delete { item },
            10..13 => Self::Grow { item },
            13..15 => Self::Count { owner: owner(dice) },
            15 => Self::Raise {
                at_least: dice.below(60),
            },
            16..18 => Self::Move {
                from: owner(dice),
                to: owner(dice),
            },
            18 => Self::Seal {
                secret: u32::try_from(dice.below(SECRETS_MAX.into())).unwrap(),
                number: dice.any(),
            },
            _ => Self::Unseal {
                secret: u32::try_from(dice.below(SECRETS_MAX.into())).unwrap(),
            },
        }
    }
}

/// What orders run on.
pub trait Ground {
    fn item(&mut self, id: u64) -> Result<Option<Item>, TxError>;
    fn set_item(&mut self, id: u64, item: Option<Item>) -> Result<(), TxError>;
    fn of_owner(&mut self, owner: u32, limit: usize) -> Result<Vec<u64>, TxError>;
    fn next(&mut self) -> Result<u64, TxError>;
    fn raise(&mut self, at_least: u64) -> Result<(), TxError>;
    fn secret(&mut self, id: u32) -> Result<Option<u64>, TxError>;
    fn set_secret(&mut self, id: u32, number: u64) -> Result<(), TxError>;
    fn answer(&mut self, key: u64) -> Result<Option<u64>, TxError>;
    fn leave(&mut self, order: &Order, digest: u64) -> Result<(), TxError>;
}

fn mix(digest: u64, read: u64) -> u64 {
    (digest ^ read).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17)
}

/// Runs an order to its end. A panic is left to the caller, who knows whether it may.
pub fn perform(order: &Order, on: &mut impl Ground) -> Result<Expected, TxError> {
    if let Some(digest) = on.answer(order.key)? {
        return Ok(Expected::Answer(Answer {
            digest,
            repeated: true,
            kept: false,
        }));
    }
    let mut digest = order.key;
    for act in &order.acts {
        digest = mix(digest, one(act, on, order.end == End::Look)?);
    }
    if order.end == End::Keep {
        on.leave(order, digest)?;
    }
    Ok(match order.end {
        End::Refuse => Expected::Refused,
        End::Panic => Expected::Panicked,
        End::Keep | End::Look => Expected::Answer(Answer {
            digest,
            repeated: false,
            kept: order.end == End::Keep,
        }),
    })
}

fn one(act: &Act, on: &mut impl Ground, look: bool) -> Result<u64, TxError> {
    let seen = match act {
        Act::Put { item, .. } | Act::Delete { item } | Act::Grow { item } => {
            on.item(*item)?.map_or(7, |item| item.weight + u64::from(item.owner))
        }
        Act::Count { owner } | Act::Move { from: owner, .. } => on.of_owner(*owner, 3)?.into_iter().fold(1, mix),
        Act::Unseal { secret } | Act::Seal { secret, .. } => on.secret(*secret)?.unwrap_or(3),
        Act::Raise { .. } => 0,
    };
    if look {
        return Ok(seen);
    }
    match act {
        Act::Put { item, owner, bytes } => on.set_item(*item, Some(stowed(*owner, *item, *bytes)))?,
        Act::Delete { item } => on.set_item(*item, None)?,
        Act::Grow { item } => {
            let mut grown = on.item(*item)?.unwrap_or(stowed(0, 0, 10));
            grown.weight += 1;
            on.set_item(*item, Some(grown))?;
        }
        Act::Count { owner } => {
            let next = on.next()?;
            on.set_item(COUNTED_FROM + next % ITEMS_MAX, Some(stowed(*owner, next, 20)))?;
            return Ok(mix(seen, next));
        }
        Act::Raise { at_least } => on.raise(*at_least)?,
        Act::Move { from, to } => {
            for id in on.of_owner(*from, 3)? {
                if let Some(item) = on.item(id)? {
                    on.set_item(id, Some(Item { owner: *to, ..item }))?;
                }
            }
        }
        Act::Seal { secret, number } => on.set_secret(*secret, *number)?,
        Act::Unseal { .. } => {}
    }
    Ok(seen)
}

fn stowed(owner: u32, weight: u64, bytes: usize) -> Item {
    Item {
        owner,
        weight,
        ballast: vec![7; bytes],
    }
}

/// A transaction of the release that is running.
pub struct Running<'t, 'a> {
    pub tx: &'t mut Tx<'a>,
    pub items: &'static Table<u64, Item>,
}

impl Ground for Running<'_, '_> {
    fn item(&mut self, id: u64) -> Result<Option<Item>, TxError> {
        self.tx.get(self.items, &id)
    }

    fn set_item(&mut self, id: u64, item: Option<Item>) -> Result<(), TxError> {
        match item {
            Some(item) => self.tx.put(self.items, &id, &item),
            None => self.tx.delete(self.items, &id),
        }
    }

    fn of_owner(&mut self, owner: u32, limit: usize) -> Result<Vec<u64>, TxError> {
        self.tx.index(&ITEMS_BY_OWNER, &Span::prefix(&owner), limit)
    }

    fn next(&mut self) -> Result<u64, TxError> {
        self.tx.next_id(COUNTER)
    }

    fn raise(&mut self, at_least: u64) -> Result<(), TxError> {
        self.tx.raise_counter(COUNTER, at_least)
    }

    fn secret(&mut self, id: u32) -> Result<Option<u64>, TxError> {
        Ok(self.tx.get(&SECRETS, &id)?.map(|number| number.0))
    }

    fn set_secret(&mut self, id: u32, number: u64) -> Result<(), TxError> {
        self.tx.put(&SECRETS, &id, &Number(number))
    }

    fn answer(&mut self, key: u64) -> Result<Option<u64>, TxError> {
        Ok(self.tx.get(&ANSWERS, &key)?.map(|number| number.0))
    }

    fn leave(&mut self, order: &Order, digest: u64) -> Result<(), TxError> {
        self.tx.put(&ANSWERS, &order.key, &Number(digest))?;
        let now_at = self.tx.now_at();
        self.tx.put(&MARKS, &order.number, &Mark { now_at, answer: digest })
    }
}

/// Every row there must be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    pub items: BTreeMap<u64, Item>,
    pub secrets: BTreeMap<u32, u64>,
    pub answers: BTreeMap<u64, u64>,
    pub counter: u64,
    /// Digests of the orders that left their mark.
    pub marks: BTreeMap<u64, u64>,
}

impl Ground for Rows {
    fn item(&mut self, id: u64) -> Result<Option<Item>, TxError> {
        Ok(self.items.get(&id).cloned())
    }

    fn set_item(&mut self, id: u64, item: Option<Item>) -> Result<(), TxError> {
        match item {
            Some(item) => self.items.insert(id, item),
            None => self.items.remove(&id),
        };
        Ok(())
    }

    fn of_owner(&mut self, owner: u32, limit: usize) -> Result<Vec<u64>, TxError> {
        let owned = self.items.iter().filter(|(_, item)| item.owner == owner);
        Ok(owned.map(|(id, _)| *id).take(limit).collect())
    }

    fn next(&mut self) -> Result<u64, TxError> {
        self.counter += 1;
        Ok(self.counter)
    }

    fn raise(&mut self, at_least: u64) -> Result<(), TxError> {
        self.counter = self.counter.max(at_least);
        Ok(())
    }

    fn secret(&mut self, id: u32) -> Result<Option<u64>, TxError> {
        Ok(self.secrets.get(&id).copied())
    }

    fn set_secret(&mut self, id: u32, number: u64) -> Result<(), TxError> {
        self.secrets.insert(id, number);
        Ok(())
    }

    fn answer(&mut self, key: u64) -> Result<Option<u64>, TxError> {
        Ok(self.answers.get(&key).copied())
    }

    fn leave(&mut self, order: &Order, digest: u64) -> Result<(), TxError> {
        self.answers.insert(order.key, digest);
        self.marks.insert(order.number, digest);
        Ok(())
    }
}

impl Rows {
    /// Runs an order and keeps what it left, if it was to leave something.
    pub fn run(&mut self, order: &Order) -> Expected {
        let before = (order.end != End::Keep).then(|| self.clone());
        let expected = perform(order, self).expect("maps do not fail");
        if let Some(before) = before {
            *self = before;
        }
        expected
    }
}
