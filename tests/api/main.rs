//! Every route and every error code, through the real application in process on the memory engine. Scenarios are a plain
//! list; each is a test of its own, and one more test runs them all and fails when a route or a code had no case.

mod client;
mod faults;
mod gates;
mod limits;
mod players;
mod servers;
mod staff;
mod takeover;

use std::collections::BTreeSet;

use client::{Api, Seen};
use seawall_web::routes::ROUTES;

macro_rules! scenarios {
    ($($module:ident::$name:ident),* $(,)?) => {
        const SCENARIOS: &[(&str, fn(&Api))] = &[$((concat!(stringify!($module), "::", stringify!($name)), $module::$name)),*];
        $(mod $name {
            #[test]
            fn holds() {
                crate::$module::$name(&crate::Api::new(&crate::Seen::default()));
            }
        })*
    };
}

scenarios![
    players::register_log_in_refresh_log_out,
    players::guests_come_back_and_take_a_name,
    players::passwords,
    players::login_refusals,
    players::registration_refusals,
    players::policies_of_a_game,
    players::refresh_refusals,
    players::what_a_player_sees,
    players::restricted_players,
    players::accounts_deleted_on_the_old_platform,
    players::repeats_with_an_idempotency_key,
    servers::four_outcomes,
    servers::a_sample_is_read_again,
    servers::reasons_in_order,
    servers::batches,
    servers::a_quota_of_checks,
    servers::signatures,
    servers::a_player_is_logged_out,
    staff::catalogue,
    staff::keys,
    staff::accounts,
    staff::the_authentication_log,
    staff::the_host,
    takeover::an_import_from_begin_to_finalize,
    takeover::an_export_is_the_way_back,
    takeover::import_refusals,
    gates::every_route_refuses_bad_bodies,
    gates::every_route_wants_to_know_who_calls,
    gates::every_route_checks_its_idempotency_key,
    gates::bad_paths_and_queries,
    gates::what_is_no_route,
    limits::each_limit_has_its_name,
    limits::holders_of_tokens_are_limited_too,
    limits::a_challenge_is_answered_with_work,
    limits::a_crowded_login_waits_its_turn,
    faults::a_full_house_is_said,
    faults::a_closed_store_says_try_again,
    faults::a_full_disk_refuses_the_least_first,
    faults::a_panic_is_a_defect,
];

/// Codes that need a real connection, or a body that comes late; their cases are in `web/src/listener` and
/// `web/src/admission`.
const ON_CONNECTIONS: &[&str] = &[
    "overload.deadline",
    "request.malformed",
    "request.timeout",
    "connection.limit",
    "peer.forbidden",
];
/// Codes whose cases are unit tests of the domain, because no request of the running product leads to them on purpose:
/// the start is not finished (nothing listens yet), or the engine's commit is in doubt (the process ends).
const IN_THE_DOMAIN: &[&str] = &["platform.not_ready", "store.outcome_unknown"];

/// What has no case, one sentence each.
fn missing(seen: &BTreeSet<(String, String)>) -> BTreeSet<String> {
    let elsewhere = |code: &str| ON_CONNECTIONS.contains(&code) || IN_THE_DOMAIN.contains(&code);
    let mut missing = BTreeSet::new();
    for route in ROUTES {
        if !seen.contains(&(route.op.to_owned(), "ok".to_owned())) {
            missing.insert(format!("{}: no case succeeds", route.op));
        }
        for code in route.all_errors() {
            if !elsewhere(code.name) && !seen.contains(&(route.op.to_owned(), code.name.to_owned())) {
                missing.insert(format!("{}: no case for {}", route.op, code.name));
            }
        }
    }
    let codes: BTreeSet<&str> = seen.iter().map(|(_, code)| code.as_str()).collect();
    let transport = seawall_web::codes::CODES.iter().map(|(code, _)| code.name);
    for code in transport.chain(seawall_domain::codes::CODES.iter().map(|code| code.name)) {
        if !elsewhere(code) && !codes.contains(code) {
            missing.insert(format!("no case for {code}"));
        }
    }
    missing
}

#[test]
fn every_route_and_every_error_code_has_a_case() {
    let seen = Seen::default();
    for (_, scenario) in SCENARIOS {
        scenario(&Api::new(&seen));
    }
    let missing = missing(&seen.take());
    assert!(
        missing.is_empty(),
        "add cases to tests/api:\n{}",
        missing.into_iter().collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn the_coverage_test_can_fail() {
    let seen = Seen::default();
    players::passwords(&Api::new(&seen));
    let missing = missing(&seen.take());
    assert!(missing.contains("session.verify_batch: no case succeeds"));
    assert!(missing.contains("session.create: no case for device.limit"));
    assert!(missing.contains("no case for key.unknown"));
    assert!(!missing.contains("account.change_password: no case succeeds"));
}
