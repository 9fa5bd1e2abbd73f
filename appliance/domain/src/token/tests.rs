//! Round trips, and every single-bit change of a token's text is refused.

use proptest::prelude::*;

use super::*;

fn ring() -> MacRing {
    MacRing::default().with(1, [7; 32]).with(2, [9; 32])
}

prop_compose! {
    fn claims()(key in 1u16..=2, game in any::<u32>(), package in any::<u32>(), ids in any::<[u64; 3]>(), issued_at in any::<u64>(), expires_at in any::<u64>()) -> Claims {
        Claims {
            mac_key_id: key,
            game_id: GameId(game),
            package_id: PackageId(package),
            account_id: AccountId(ids[0]),
            player_id: PlayerId(ids[1]),
            session_id: SessionId(ids[2]),
            issued_at,
            expires_at,
        }
    }
}

proptest! {
    #[test]
    fn what_was_printed_is_read_back(claims in claims(), generation in any::<u32>()) {
        let ring = ring();
        prop_assert_eq!(ring.read_access(&ring.access_token(&claims).unwrap()), Ok(claims));
        prop_assert_eq!(ring.read_refresh(&ring.refresh_token(&claims, generation).unwrap()), Ok((claims, generation)));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        prop_assert!(ring().read_access(&text).is_err());
        prop_assert!(ring().read_refresh(&text).is_err());
    }

    #[test]
    fn kinds_are_not_exchangeable(claims in claims()) {
        let ring = ring();
        let access = ring.access_token(&claims).unwrap();
        let refresh = ring.refresh_token(&claims, 1).unwrap();
        prop_assert_eq!(ring.read_refresh(&access), Err(DecodeFailure::Malformed));
        prop_assert_eq!(ring.read_access(&refresh), Err(DecodeFailure::Malformed));
        let relabelled = refresh.replacen(REFRESH_PREFIX, ACCESS_PREFIX, 1);
        prop_assert!(ring.read_access(&relabelled).is_err());
    }
}

fn sample() -> Claims {
    Claims {
        mac_key_id: 2,
        game_id: GameId(3),
        package_id: PackageId(4),
        account_id: AccountId(1_000_001),
        player_id: PlayerId(1_000_002),
        session_id: SessionId(77),
        issued_at: 1_700_000_000_000,
        expires_at: 1_700_086_400_000,
    }
}

#[test]
fn every_bit_flip_of_the_text_is_refused() {
    let ring = ring();
    for text in [
        ring.access_token(&sample()).unwrap(),
        ring.refresh_token(&sample(), 5).unwrap(),
    ] {
        for position in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[position / 8] ^= 1 << (position % 8);
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            assert!(ring.read_access(&changed).is_err(), "bit {position}");
            assert!(ring.read_refresh(&changed).is_err(), "bit {position}");
        }
    }
}

#[test]
fn truncated_and_lengthened_texts_are_malformed() {
    let ring = ring();
    let text = ring.access_token(&sample()).unwrap();
    for end in 0..text.len() {
        assert_eq!(ring.read_access(&text[..end]), Err(DecodeFailure::Malformed), "{end}");
    }
    for tail in ["A", "=", " ", "\n", "AAAA"] {
        assert_eq!(
            ring.read_access(&format!("{text}{tail}")),
            Err(DecodeFailure::Malformed)
        );
    }
}

#[test]
fn the_last_character_carries_no_spare_bits() {
    // 68 bytes leave 2 unused bits in the last character: a lax decoder would accept four texts for one token.
    let ring = ring();
    let text = ring.access_token(&sample()).unwrap();
    let accepted = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        .chars()
        .filter(|last| ring.read_access(&format!("{}{last}", &text[..text.len() - 1])).is_ok())
        .count();
    assert_eq!(accepted, 1);
}

#[test]
fn a_key_outside_the_ring_makes_no_token_and_reads_none() {
    let other = MacRing::default().with(3, [1; 32]);
    let token = other
        .access_token(&Claims {
            mac_key_id: 3,
            ..sample()
        })
        .unwrap();
    assert_eq!(ring().read_access(&token), Err(DecodeFailure::Forged));
    assert_eq!(
        ring().access_token(&Claims {
            mac_key_id: 3,
            ..sample()
        }),
        None
    );
}

#[test]
fn the_newest_key_signs_and_old_ones_still_check() {
    let old = MacRing::default().with(1, [7; 32]);
    let token = old
        .access_token(&Claims {
            mac_key_id: 1,
            ..sample()
        })
        .unwrap();
    assert_eq!(old.newest(), Some(1));
    assert_eq!(ring().newest(), Some(2));
    assert!(ring().read_access(&token).is_ok());
    assert_eq!(MacRing::default().newest(), None);
}

#[test]
fn the_layout_of_version_1_never_changes() {
    let text = ring().access_token(&sample()).unwrap();
    assert_eq!(text.len(), 4 + 91);
    assert!(
        text.starts_with("sw1.AQEAAgAAAAMAAAAEAAAAAAAPQkEAAAAAAA9CQgAAAAAAAABN"),
        "{text}"
    );
    assert_eq!(ring().refresh_token(&sample(), 5).unwrap().len(), 4 + 96);
}

#[test]
fn debug_output_of_a_ring_shows_ids_only() {
    assert_eq!(format!("{:?}", ring()), "[1, 2]");
}

#[test]
fn a_token_says_game_and_account_without_a_proof() {
    let claimed_of = |text: &str| claimed(text).map(|claimed| (claimed.game_id.0, claimed.account_id.0));
    let access = ring().access_token(&sample()).unwrap();
    let refresh = ring().refresh_token(&sample(), 5).unwrap();
    assert_eq!(claimed_of(&access), Some((3, 1_000_001)));
    assert_eq!(claimed_of(&refresh), Some((3, 1_000_001)));
    for bad in [
        "",
        "sw1.",
        &access[..20],
        &access[4..],
        "sw1.????????????????????????????",
    ] {
        assert_eq!(claimed_of(bad), None, "{bad}");
    }
}
