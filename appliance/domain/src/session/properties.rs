//! Session policies and refresh against small models: whatever the order of calls, the platform and the model agree
//! on which sessions live.

use proptest::prelude::*;
use seawall_storage::Span;

use crate::account::AccountRef;
use crate::codes::{REFRESH_INVALID, REFRESH_REUSED, SESSION_LIMIT};
use crate::game::{GameChange, SessionPolicy};
use crate::session::LoggedIn;
use crate::session::revoke::revoke_account;
use crate::tables::session::SESSIONS_BY_ACCOUNT;
use crate::testing::{World, block_on, client, operator};
use crate::verify::{InvalidReason, Verified};

const ACCESS_MS: u64 = 3_600_000;
const GRACE_MS: u64 = 30_000;

fn world(policy: SessionPolicy) -> World {
    let world = World::new().unwrap();
    let change = GameChange {
        session_policy: Some(policy),
        access_token_ms: Some(ACCESS_MS),
        refresh_grace_ms: Some(GRACE_MS),
        ..GameChange::default()
    };
    world.set_game(change).unwrap();
    world
}

fn reason(world: &World, token: &str) -> Option<InvalidReason> {
    match world.platform.session_verify(&world.server(), token, None) {
        Verified::Invalid(proof) => Some(proof.reason()),
        _ => None,
    }
}

/// One login as the model remembers it.
struct Seen {
    login: LoggedIn,
    device: u8,
    ends_at: u64,
    is_open: bool,
}

#[derive(Debug, Clone)]
enum Move {
    LogIn(u8),
    LogOut(prop::sample::Index),
    Pass(u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let step = prop_oneof![
        3 => (0u8..3).prop_map(Move::LogIn),
        1 => any::<prop::sample::Index>().prop_map(Move::LogOut),
        1 => (0u64..ACCESS_MS).prop_map(Move::Pass),
    ];
    proptest::collection::vec(step, 1..25)
}

/// What the policy says of a login from `device` at `now_at`: refused, or which open sessions it replaces.
fn replaced(policy: SessionPolicy, seen: &[Seen], device: u8, now_at: u64) -> Option<Vec<usize>> {
    let open = seen.iter().enumerate().filter(|(_, seen)| seen.is_open);
    match policy {
        SessionPolicy::Both => Some(Vec::new()),
        SessionPolicy::Replace => Some(open.map(|(place, _)| place).collect()),
        SessionPolicy::Refuse => {
            let elsewhere = open
                .clone()
                .any(|(_, seen)| seen.device != device && now_at < seen.ends_at);
            (!elsewhere).then(|| open.map(|(place, _)| place).collect())
        }
    }
}

fn agrees_on_policies(policy: SessionPolicy, moves: Vec<Move>) -> Result<(), TestCaseError> {
    let world = world(policy);
    let first = world.register("alice").unwrap();
    block_on(
        world
            .platform
            .session_logout(&client(), &first.session.access_token, false),
    )
    .unwrap();
    let (mut seen, mut now_at) = (Vec::<Seen>::new(), crate::testing::START_AT);
    for step in moves {
        match step {
            Move::Pass(ms) => {
                world.clock.advance(ms);
                now_at += ms;
            }
            Move::LogOut(index) => {
                let live: Vec<usize> = (0..seen.len())
                    .filter(|place| seen[*place].is_open && now_at < seen[*place].ends_at)
                    .collect();
                if !live.is_empty() {
                    let place = *index.get(&live);
                    block_on(
                        world
                            .platform
                            .session_logout(&client(), &seen[place].login.session.access_token, false),
                    )
                    .unwrap();
                    seen[place].is_open = false;
                }
            }
            Move::LogIn(device) => match (
                world.log_in_on("alice", &format!("device {device}")),
                replaced(policy, &seen, device, now_at),
            ) {
                (Err(error), None) => prop_assert_eq!(error.code, SESSION_LIMIT),
                (Ok(login), Some(gone)) => {
                    gone.into_iter().for_each(|place| seen[place].is_open = false);
                    seen.push(Seen {
                        login,
                        device,
                        ends_at: now_at + ACCESS_MS,
                        is_open: true,
                    });
                }
                (got, expected) => prop_assert!(false, "platform {got:?}, model {expected:?}"),
            },
        }
        for seen in &seen {
            let expected_live = seen.is_open && now_at < seen.ends_at;
            prop_assert_eq!(
                reason(&world, &seen.login.session.access_token).is_none(),
                expected_live
            );
        }
    }
    Ok(())
}

#[derive(Debug, Clone)]
enum Turn {
    /// Refreshes with the token of that generation, counted back from the newest.
    Refresh(usize),
    Pass(u64),
    /// The row falls back to an earlier generation, or disappears.
    LoseTail(Option<u32>),
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let step = prop_oneof![
        4 => Just(Turn::Refresh(0)),
        2 => (0usize..3).prop_map(Turn::Refresh),
        2 => (0u64..2 * GRACE_MS).prop_map(Turn::Pass),
        1 => proptest::option::of(0u32..3).prop_map(Turn::LoseTail),
    ];
    proptest::collection::vec(step, 1..25)
}

fn lose_tail(world: &World, login: &LoggedIn, back: Option<u32>) -> Option<u32> {
    use crate::tables::session::{SESSIONS, SessionRow};
    let id = login.session.session_id;
    block_on(world.platform.commit(&operator(), "test.lose", move |tx| {
        match (back, tx.get(&SESSIONS, &id)?) {
            (Some(back), Some(row)) => {
                let generation = row.generation.saturating_sub(back);
                tx.put(&SESSIONS, &id, &SessionRow { generation, ..row })?;
                Ok(Some(generation))
            }
            _ => {
                tx.delete(&SESSIONS, &id)?;
                Ok(None)
            }
        }
    }))
    .unwrap()
}

fn agrees_on_refresh(turns: Vec<Turn>) -> Result<(), TestCaseError> {
    let world = world(SessionPolicy::Replace);
    let login = world.register("alice").unwrap();
    // Refresh tokens by generation; what the store holds of the session; whether it was revoked.
    let mut tokens = vec![login.session.refresh_token.clone()];
    let (mut stored, mut issued_at, mut now_at) = (Some(0u32), crate::testing::START_AT, crate::testing::START_AT);
    let mut newest_access = login.session.access_token.clone();
    for turn in turns {
        match turn {
            Turn::Pass(ms) => {
                world.clock.advance(ms);
                now_at += ms;
            }
            Turn::LoseTail(back) => stored = lose_tail(&world, &login, back),
            Turn::Refresh(back) => {
                let generation = tokens.len() - 1 - back.min(tokens.len() - 1);
                let answer = block_on(world.platform.session_refresh(&client(), &tokens[generation]));
                let sent = u32::try_from(generation).unwrap();
                let accepted = stored.is_none_or(|stored| sent >= stored);
                let lost_reply = stored.is_some_and(|stored| sent + 1 == stored) && now_at - issued_at <= GRACE_MS;
                match answer {
                    Ok(next) if accepted => {
                        (stored, issued_at) = (Some(sent + 1), now_at);
                        tokens.truncate(generation + 1);
                        tokens.push(next.session.refresh_token);
                        newest_access = next.session.access_token;
                    }
                    Ok(next) => {
                        prop_assert!(lost_reply);
                        prop_assert_eq!(&next.session.access_token, &newest_access);
                    }
                    Err(error) => {
                        prop_assert!(!accepted && !lost_reply, "{error}");
                        prop_assert_eq!(error.code, REFRESH_REUSED);
                        prop_assert_eq!(reason(&world, &newest_access), Some(InvalidReason::Revoked));
                        let after = block_on(world.platform.session_refresh(&client(), tokens.last().unwrap()));
                        prop_assert_eq!(after.unwrap_err().code, REFRESH_INVALID);
                        return Ok(());
                    }
                }
            }
        }
        prop_assert!(matches!(
            reason(&world, &newest_access),
            None | Some(InvalidReason::Expired)
        ));
    }
    Ok(())
}

/// What happens to one of a few accounts.
#[derive(Debug, Clone)]
enum Deed {
    LogIn(usize),
    /// With the token of one of its logins; everywhere or there.
    LogOut(usize, prop::sample::Index, bool),
    Refresh(usize, prop::sample::Index),
    /// A session's row disappears with a lost tail; a refresh builds it again, under its old number.
    Lose(usize, prop::sample::Index),
    /// An operator ends all sessions.
    Revoke(usize),
    /// All sessions are ended by a transaction that is then dropped.
    Abort(usize),
    Sweep,
    Pass(u64),
}

const NAMES: [&str; 2] = ["alice", "bob"];

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let who = || 0..NAMES.len();
    let which = any::<prop::sample::Index>;
    let deed = prop_oneof![
        6 => who().prop_map(Deed::LogIn),
        2 => (who(), which(), any::<bool>()).prop_map(|(who, which, all)| Deed::LogOut(who, which, all)),
        2 => (who(), which()).prop_map(|(who, which)| Deed::Refresh(who, which)),
        2 => (who(), which()).prop_map(|(who, which)| Deed::Lose(who, which)),
        1 => who().prop_map(Deed::Revoke),
        2 => who().prop_map(Deed::Abort),
        1 => Just(Deed::Sweep),
        1 => (0u64..40 * 86_400_000).prop_map(Deed::Pass),
    ];
    proptest::collection::vec(deed, 1..40)
}

fn every_open_session_is_seen(policy: SessionPolicy, deeds: Vec<Deed>) -> Result<(), TestCaseError> {
    let world = world(policy);
    let mut logins = NAMES.map(|name| vec![world.register(name).unwrap()]);
    let platform = &world.platform;
    for deed in deeds {
        match deed {
            // Some of these are refused, as they should be: what matters is what the next login sees.
            Deed::LogIn(who) => logins[who].extend(world.log_in(NAMES[who])),
            Deed::LogOut(who, which, everywhere) => {
                let token = &which.get(&logins[who]).session.access_token;
                drop(block_on(platform.session_logout(&client(), token, everywhere)));
            }
            Deed::Refresh(who, which) => {
                let token = &which.get(&logins[who]).session.refresh_token;
                drop(block_on(platform.session_refresh(&client(), token)));
            }
            Deed::Lose(who, which) => drop(lose_tail(&world, which.get(&logins[who]), None)),
            Deed::Revoke(who) => {
                let account = AccountRef::Account(logins[who][0].account_id);
                block_on(platform.account_logout(&operator(), account)).unwrap();
            }
            Deed::Abort(who) => {
                let account = logins[who][0].account_id;
                let aborted = block_on(platform.commit(&operator(), "test.abort", move |tx| {
                    revoke_account(tx, account, None)?;
                    tx.index(&SESSIONS_BY_ACCOUNT, &Span::prefix(&account), 1_000)?;
                    Err::<(), _>(SESSION_LIMIT.error())
                }));
                prop_assert!(aborted.is_err());
            }
            Deed::Sweep => drop(block_on(platform.sweep(&operator())).unwrap()),
            Deed::Pass(ms) => world.clock.advance(ms),
        }
        for login in logins.iter().map(|logins| &logins[0]) {
            let span = Span::prefix(&(login.account_id, world.game_id));
            let looked = span.clone();
            let (seen, mut backward) = block_on(platform.commit(&operator(), "test.look", move |tx| {
                Ok((
                    tx.index(&SESSIONS_BY_ACCOUNT, &looked, 1_000)?,
                    tx.index(&SESSIONS_BY_ACCOUNT, &looked.clone().backward(), 1_000)?,
                ))
            }))
            .unwrap();
            backward.reverse();
            let durable = world
                .store
                .read(|view| view.index(&SESSIONS_BY_ACCOUNT, &span, 1_000))
                .unwrap();
            prop_assert_eq!(&seen, &durable.rows, "a login does not see what the index holds");
            prop_assert_eq!(seen, backward);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_login_sees_every_open_session_whatever_happened_before(
        policy in prop::sample::select(vec![SessionPolicy::Replace, SessionPolicy::Refuse, SessionPolicy::Both]),
        deeds in deeds(),
    ) {
        every_open_session_is_seen(policy, deeds)?;
    }

    #[test]
    fn replace_agrees_with_its_model(moves in moves()) {
        agrees_on_policies(SessionPolicy::Replace, moves)?;
    }

    #[test]
    fn refuse_agrees_with_its_model(moves in moves()) {
        agrees_on_policies(SessionPolicy::Refuse, moves)?;
    }

    #[test]
    fn both_agrees_with_its_model(moves in moves()) {
        agrees_on_policies(SessionPolicy::Both, moves)?;
    }

    #[test]
    fn refresh_agrees_with_its_model(turns in turns()) {
        agrees_on_refresh(turns)?;
    }
}
