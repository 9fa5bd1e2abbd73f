//! The matcher: subject, action, scope and time, each alone and together.

use proptest::prelude::*;

use super::*;

const GAME: GameId = GameId(7);
const NOW_AT: UnixMs = 1_000_000;

fn row(subject: SubjectRow, action: Action) -> RestrictionRow {
    RestrictionRow {
        subject,
        action,
        from_at: 1_000,
        until_at: None,
        ..crate::tables::samples::restriction()
    }
}

fn mirror(rows: &[RestrictionRow]) -> RestrictionMirror {
    let mirror = RestrictionMirror::default();
    for (id, row) in (1..).zip(rows) {
        mirror.put(id, row);
    }
    mirror
}

fn account(id: u64) -> Who<'static> {
    Who {
        account: Some(AccountId(id)),
        ..Who::default()
    }
}

fn ip(text: &str) -> Who<'static> {
    Who {
        ip: text.parse().ok(),
        ..Who::default()
    }
}

#[test]
fn subject_and_action_must_both_match() {
    let mirror = mirror(&[row(SubjectRow::Account(AccountId(1)), Action::Login)]);
    assert!(mirror.forbids(account(1), Action::Login, GAME, NOW_AT).is_some());
    assert!(mirror.forbids(account(2), Action::Login, GAME, NOW_AT).is_none());
    assert!(mirror.forbids(account(1), Action::Pay, GAME, NOW_AT).is_none());
}

#[test]
fn scope_and_time_limit_it() {
    let scoped = RestrictionRow {
        game_id: Some(GAME),
        from_at: 500,
        until_at: Some(900),
        ..row(SubjectRow::Account(AccountId(1)), Action::Login)
    };
    let mirror = mirror(&[scoped]);
    let forbids = |game, now_at| mirror.forbids(account(1), Action::Login, game, now_at).is_some();
    assert!(!forbids(GAME, 499));
    assert!(forbids(GAME, 500) && forbids(GAME, 899));
    assert!(!forbids(GAME, 900));
    assert!(!forbids(GameId(8), 600));
}

#[test]
fn the_longest_one_is_told() {
    let short = RestrictionRow {
        until_at: Some(NOW_AT + 1),
        reason: "short".into(),
        ..row(SubjectRow::Account(AccountId(1)), Action::Login)
    };
    let long = RestrictionRow {
        reason: "long".into(),
        ..row(SubjectRow::Account(AccountId(1)), Action::Login)
    };
    for rows in [[short.clone(), long.clone()], [long, short]] {
        let held = mirror(&rows).forbids(account(1), Action::Login, GAME, NOW_AT).unwrap();
        assert_eq!(held.row.reason, "long");
    }
}

#[test]
fn players_and_devices_are_subjects_too() {
    let mirror = mirror(&[
        row(SubjectRow::Player(GAME, PlayerId(3)), Action::Login),
        row(SubjectRow::Device("ab".into()), Action::Register),
    ]);
    let player = |game| Who {
        player: Some((game, PlayerId(3))),
        ..Who::default()
    };
    assert!(mirror.forbids(player(GAME), Action::Login, GAME, NOW_AT).is_some());
    assert!(
        mirror
            .forbids(player(GameId(8)), Action::Login, GameId(8), NOW_AT)
            .is_none()
    );
    let device = Who {
        device: Some("ab"),
        ..Who::default()
    };
    assert!(mirror.forbids(device, Action::Register, GAME, NOW_AT).is_some());
    assert_eq!(mirror.len(), 2);
}

#[test]
fn lifting_and_pruning_take_it_away() {
    let first = row(SubjectRow::Account(AccountId(1)), Action::Login);
    let mirror = mirror(std::slice::from_ref(&first));
    mirror.put(
        1,
        &RestrictionRow {
            until_at: Some(NOW_AT),
            ..first.clone()
        },
    );
    assert!(mirror.forbids(account(1), Action::Login, GAME, NOW_AT).is_none());
    assert_eq!(mirror.len(), 1);
    mirror.prune(NOW_AT);
    assert_eq!(mirror.len(), 0);
    mirror.put(2, &first);
    mirror.forget(2);
    assert_eq!(mirror.len(), 0);
}

#[test]
fn only_chat_and_pay_are_for_the_game_server() {
    let subject = || SubjectRow::Account(AccountId(1));
    let mirror = mirror(&[
        row(subject(), Action::Login),
        row(subject(), Action::Chat),
        row(subject(), Action::Pay),
        row(subject(), Action::Register),
    ]);
    let actions: Vec<Action> = mirror
        .to_enforce(account(1), GAME, NOW_AT)
        .into_iter()
        .map(|view| view.action)
        .collect();
    assert_eq!(actions, [Action::Chat, Action::Pay]);
    assert_eq!(mirror.in_force(account(1), GAME, NOW_AT).len(), 4);
}

#[test]
fn ranges_cover_their_addresses() {
    for (range, inside, outside) in [
        ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
        ("192.0.2.77/24", "192.0.2.1", "192.0.1.255"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("192.0.2.0/24", "::ffff:192.0.2.9", "::192.0.2.9"),
    ] {
        let (first, bits) = parse_range(range).unwrap();
        let mirror = mirror(&[row(SubjectRow::IpRange(first, bits), Action::Login)]);
        assert!(
            mirror.forbids(ip(inside), Action::Login, GAME, NOW_AT).is_some(),
            "{range} {inside}"
        );
        assert!(
            mirror.forbids(ip(outside), Action::Login, GAME, NOW_AT).is_none(),
            "{range} {outside}"
        );
        mirror.prune(UnixMs::MAX);
        assert_eq!(mirror.len(), 1, "no end, no prune");
    }
}

#[test]
fn a_refusal_tells_reason_end_and_ticket() {
    let held = Held {
        id: 1,
        row: RestrictionRow {
            until_at: Some(9),
            ticket: Some("T-1".into()),
            message: None,
            ..row(SubjectRow::Account(AccountId(1)), Action::Login)
        },
    };
    let error = held.refusal();
    assert_eq!(error.code, ACCOUNT_RESTRICTED);
    assert_eq!(error.params.get("until_at"), Some(&crate::error::Param::Number(9)));
    assert_eq!(
        error.params.get("ticket"),
        Some(&crate::error::Param::Text("T-1".into()))
    );
    assert!(error.params.contains_key("reason"));
}

proptest! {
    #[test]
    fn a_printed_range_is_read_back(text in "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}(/[0-9]{1,2})?") {
        if let Some((first, bits)) = parse_range(&text) {
            prop_assert_eq!(parse_range(&print_range(first, bits)), Some((first, bits)));
        }
    }

    #[test]
    fn v6_too(address in any::<[u8; 16]>(), bits in 0u8..=128) {
        let text = format!("{}/{bits}", std::net::Ipv6Addr::from(address));
        let (first, bits) = parse_range(&text).unwrap();
        prop_assert_eq!(parse_range(&print_range(first, bits)), Some((first, bits)));
    }

    #[test]
    fn reading_never_panics(text in any::<String>()) {
        let _ = parse_range(&text);
    }
}
