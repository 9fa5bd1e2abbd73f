//! Each proof needs its evidence.

use super::*;
use crate::ids::{AccountId, PackageId, SessionId};

fn claims() -> Claims {
    Claims {
        mac_key_id: 1,
        game_id: GameId(1),
        package_id: PackageId(2),
        account_id: AccountId(3),
        player_id: PlayerId(4),
        session_id: SessionId(5),
        issued_at: 100,
        expires_at: 200,
    }
}

#[test]
fn without_evidence_there_is_no_proof() {
    assert_eq!(Proof::of_game(&claims(), &[GameId(9), GameId(1)]), None);
    assert_eq!(Proof::of_expiry(&claims(), 199), None);
    assert_eq!(Proof::of_player(&claims(), PlayerId(4)), None);
}

#[test]
fn each_kind_of_evidence_gives_its_reason() {
    let reasons = [
        Proof::of_decoding(DecodeFailure::Malformed).reason(),
        Proof::of_decoding(DecodeFailure::Forged).reason(),
        Proof::of_game(&claims(), &[]).unwrap().reason(),
        Proof::of_expiry(&claims(), 200).unwrap().reason(),
        Proof::of_revocation(Revocation::Replaced).reason(),
        Proof::of_revocation(Revocation::Revoked).reason(),
        Proof::of_player(&claims(), PlayerId(5)).unwrap().reason(),
    ];
    let names: Vec<&str> = reasons.iter().map(|reason| reason.name()).collect();
    assert_eq!(
        names,
        [
            "malformed",
            "forged",
            "wrong_game",
            "expired",
            "replaced",
            "revoked",
            "player_mismatch"
        ]
    );
    assert!(
        reasons.is_sorted(),
        "the order of the reasons is the order in which they are looked for"
    );
}

#[test]
fn a_proof_is_written_as_its_reason() {
    let proof = Proof::of_expiry(&claims(), 200).unwrap();
    assert_eq!(serde_json::to_string(&proof).unwrap(), "\"expired\"");
    assert_eq!(serde_json::to_string(&proof.reason()).unwrap(), "\"expired\"");
}
