//! The list of codes is a contract: names are unique, well formed and documented, and kinds mean what they say.

use std::collections::BTreeSet;

use super::*;
use crate::error::Param;

#[test]
fn names_are_unique_and_well_formed() {
    let names: BTreeSet<&str> = CODES.iter().map(|code| code.name).collect();
    assert_eq!(names.len(), CODES.len());
    for code in CODES {
        let (noun, what) = code.name.split_once('.').expect("noun.what");
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(plain(noun) && plain(what), "{}", code.name);
    }
}

#[test]
fn every_code_says_what_it_means_in_a_sentence() {
    for code in CODES {
        assert!(
            code.doc.len() > 12 && code.doc.ends_with('.'),
            "{}: {}",
            code.name,
            code.doc
        );
    }
}

#[test]
fn an_error_carries_code_text_and_typed_values() {
    let error = ACCOUNT_RESTRICTED
        .because("See the rules.")
        .with("reason", "cheating")
        .with_number("until_at", 7)
        .retry_after_ms(5);
    assert_eq!(error.to_string(), "account.restricted: See the rules.");
    assert_eq!(error.params.get("reason"), Some(&Param::Text("cheating".into())));
    assert_eq!(error.params.get("until_at"), Some(&Param::Number(7)));
    assert_eq!(error.retry_after_ms, Some(5));
    assert_eq!(ACCOUNT_UNKNOWN.error().detail, ACCOUNT_UNKNOWN.doc);
    assert_eq!(
        serde_json::to_string(&error.params).unwrap(),
        r#"{"reason":"cheating","until_at":7}"#
    );
}

#[test]
fn only_proven_bad_credentials_are_unauthenticated() {
    for code in CODES.iter().filter(|code| code.kind == Kind::Unauthenticated) {
        let family = code.name.split('.').next().unwrap();
        assert!(
            ["signature", "credential", "token", "session", "refresh"].contains(&family),
            "{}",
            code.name
        );
    }
    for own_trouble in [OVERLOADED, STORE_BUSY, OUTCOME_UNKNOWN, NOT_READY] {
        assert_eq!(own_trouble.kind, Kind::Unavailable, "{}", own_trouble.name);
    }
}
