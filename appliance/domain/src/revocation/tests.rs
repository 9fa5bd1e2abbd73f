//! The mirror agrees with a plain model, and its memory stays within its budget.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const GAME: GameId = GameId(1);

fn find(mirror: &RevocationMirror, session: u64, account: u64, player: u64) -> Option<Revocation> {
    mirror.find(SessionId(session), AccountId(account), GAME, PlayerId(player))
}

#[test]
fn a_session_record_covers_that_session_only() {
    let mirror = RevocationMirror::default();
    mirror.put_session(SessionId(5), Revocation::Replaced);
    assert_eq!(find(&mirror, 5, 1, 1), Some(Revocation::Replaced));
    assert_eq!(find(&mirror, 4, 1, 1), None);
    assert_eq!(find(&mirror, 6, 1, 1), None);
    mirror.drop_session(SessionId(5));
    assert_eq!(find(&mirror, 5, 1, 1), None);
    assert!(mirror.is_empty());
}

#[test]
fn a_later_record_of_the_same_session_takes_over() {
    let mirror = RevocationMirror::default();
    mirror.put_session(SessionId(5), Revocation::Replaced);
    mirror.put_session(SessionId(5), Revocation::Revoked);
    assert_eq!(find(&mirror, 5, 1, 1), Some(Revocation::Revoked));
    assert_eq!(mirror.len(), 1);
}

#[test]
fn an_account_record_covers_its_sessions_up_to_the_bound() {
    let mirror = RevocationMirror::default();
    mirror.put_account(AccountId(9), SessionId(100), None);
    assert_eq!(find(&mirror, 100, 9, 1), Some(Revocation::Revoked));
    assert_eq!(find(&mirror, 101, 9, 1), None);
    assert_eq!(find(&mirror, 100, 8, 1), None);
    mirror.drop_account(AccountId(9));
    assert_eq!(find(&mirror, 100, 9, 1), None);
}

#[test]
fn an_account_record_may_exempt_one_session() {
    let mirror = RevocationMirror::default();
    mirror.put_account(AccountId(9), SessionId(100), Some(SessionId(50)));
    assert_eq!(find(&mirror, 50, 9, 1), None);
    assert_eq!(find(&mirror, 49, 9, 1), Some(Revocation::Revoked));
    mirror.put_account(AccountId(9), SessionId(101), None);
    assert_eq!(find(&mirror, 50, 9, 1), Some(Revocation::Revoked));
}

#[test]
fn a_player_record_covers_its_sessions_in_its_game_only() {
    let mirror = RevocationMirror::default();
    mirror.put_player(GAME, PlayerId(9), SessionId(100));
    assert_eq!(find(&mirror, 100, 1, 9), Some(Revocation::Revoked));
    assert_eq!(mirror.find(SessionId(100), AccountId(1), GameId(2), PlayerId(9)), None);
    mirror.drop_player(GAME, PlayerId(9));
    assert_eq!(find(&mirror, 100, 1, 9), None);
}

#[test]
fn a_session_record_tells_its_own_reason_before_the_account_s() {
    let mirror = RevocationMirror::default();
    mirror.put_account(AccountId(1), SessionId(10), None);
    mirror.put_session(SessionId(5), Revocation::Replaced);
    assert_eq!(find(&mirror, 5, 1, 1), Some(Revocation::Replaced));
}

#[test]
fn a_million_records_stay_within_24_bytes_each_and_are_given_back() {
    let mirror = RevocationMirror::default();
    for session in 1..=1_000_000 {
        mirror.put_session(SessionId(session), Revocation::Replaced);
    }
    assert_eq!(mirror.len(), 1_000_000);
    assert!(mirror.allocated_bytes() < 24_000_000, "{}", mirror.allocated_bytes());
    for session in 1..=1_000_000 {
        mirror.drop_session(SessionId(session));
    }
    assert!(mirror.is_empty());
    assert!(mirror.allocated_bytes() < 2_000_000, "{}", mirror.allocated_bytes());
}

#[derive(Debug, Clone)]
enum Step {
    Session(u64, bool),
    DropSession(u64),
    Account(u64, u64),
    DropAccount(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1u64..50, any::<bool>()).prop_map(|(id, replaced)| Step::Session(id, replaced)),
        (1u64..50).prop_map(Step::DropSession),
        (0u64..5, 0u64..50).prop_map(|(account, through)| Step::Account(account, through)),
        (0u64..5).prop_map(Step::DropAccount),
    ]
}

proptest! {
    #[test]
    fn it_agrees_with_a_plain_model(steps in proptest::collection::vec(step(), 0..200)) {
        let mirror = RevocationMirror::default();
        let (mut sessions, mut accounts) = (BTreeMap::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Session(id, replaced) => {
                    let reason = if replaced { Revocation::Replaced } else { Revocation::Revoked };
                    mirror.put_session(SessionId(id), reason);
                    sessions.insert(id, reason);
                }
                Step::DropSession(id) => {
                    mirror.drop_session(SessionId(id));
                    sessions.remove(&id);
                }
                Step::Account(id, through) => {
                    mirror.put_account(AccountId(id), SessionId(through), None);
                    accounts.insert(id, through);
                }
                Step::DropAccount(id) => {
                    mirror.drop_account(AccountId(id));
                    accounts.remove(&id);
                }
            }
        }
        for session in 1..50 {
            let account = session % 5;
            let expected = sessions.get(&session).copied().or_else(|| accounts.get(&account).filter(|through| session <= **through).map(|_| Revocation::Revoked));
            prop_assert_eq!(find(&mirror, session, account, 1), expected);
        }
    }
}
