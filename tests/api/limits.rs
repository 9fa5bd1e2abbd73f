//! Limits against abuse: 429 with the limit's name and a time, or a challenge that a client answers with work.

use seawall_domain::AbuseOptions;
use seawall_domain::abuse::{Limit, LimitAction};
use seawall_domain::waiting_room::REJOIN_MS;
use seawall_web::{Limits, WaitingRoomMode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::client::{Api, As, Ask, named};

fn limited(change: impl FnOnce(&mut AbuseOptions)) -> AbuseOptions {
    let mut options = AbuseOptions {
        cells: 1_000,
        ..AbuseOptions::default()
    };
    options.challenge.difficulty_max = 30;
    change(&mut options);
    options
}

fn after(times: u32, limit: &mut Limit, action: LimitAction) {
    *limit = Limit {
        burst: times,
        action,
        ..*limit
    };
}

pub fn each_limit_has_its_name(api: &Api) {
    use LimitAction::{Challenge, Refuse};
    for op in ["session.create", "account.create"] {
        let refused = |options: AbuseOptions, devices: [&str; 3], code: &str, limit: &str| {
            let api = api.with_abuse(options);
            let call = |device| api.call_from([192, 0, 2, 1], op, &api.entry(&named("ada"), device));
            let [_, _, third] = devices.map(call);
            let refused = third.refused(code);
            assert_eq!((refused.status, refused.text("/params/limit").as_str()), (429, limit));
        };
        let same = ["phone"; 3];
        refused(
            limited(|it| after(2, &mut it.device, Refuse)),
            same,
            "limit.device",
            "device",
        );
        refused(limited(|it| after(2, &mut it.game, Refuse)), same, "limit.game", "game");
        let both = limited(|it| {
            after(1, &mut it.device, Challenge);
            after(1, &mut it.ipv4, Challenge);
        });
        refused(both, same, "limit.address", "ipv4");
        // A device that the account knows would pass.
        let account = limited(|it| after(2, &mut it.account, Refuse));
        refused(account, ["phone", "tablet", "stranger"], "limit.account", "account");
    }
}

pub fn holders_of_tokens_are_limited_too(api: &Api) {
    let api = api.with_abuse(limited(|it| after(1, &mut it.account, LimitAction::Refuse)));
    let guest = api.guest("phone");
    let token = guest.text("/session/access_token");
    let bind = json!({"credential": named("ada")});
    api.call("identity.bind", As::Bearer(&token), &bind).ok();
    api.call("identity.bind", As::Bearer(&token), &bind)
        .refused("limit.account");
    let change = json!({"old_password": "secret-ada", "new_password": "another one"});
    api.call("account.change_password", As::Bearer(&token), &change)
        .refused("limit.account");
}

/// The number a client searches, in the form it is sent in.
fn work(data: &Value) -> String {
    let text = |name: &str| data[name].as_str().expect("a text").to_owned();
    let number = (0..=data["maxnumber"].as_u64().expect("a number"))
        .find(|number| {
            let digest = Sha256::digest(format!("{}{number}", text("salt")));
            seawall_tests::server::hex(&digest) == text("challenge")
        })
        .expect("a number that solves it");
    let mut payload = data.clone();
    payload["number"] = number.into();
    base64(payload.to_string().as_bytes())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

pub fn a_challenge_is_answered_with_work(api: &Api) {
    let api = api.with_abuse(limited(|_| {}));
    api.register("ada");
    api.world.platform.ask_for_challenges(true);
    for (op, name) in [("session.create", "ada"), ("account.create", "bob")] {
        let mut body = api.entry(&named(name), "phone");
        let asked = api.call(op, As::Nobody, &body).ok();
        assert_eq!(
            (asked.text("/outcome").as_str(), asked.text("/challenge/kind").as_str()),
            ("challenge", "altcha")
        );
        assert!(asked.body["server_time_at"].as_u64() > Some(0));
        body["challenge_response"] = json!({
            "challenge_id": asked.text("/challenge/challenge_id"),
            "response": work(&asked.body["challenge"]["data"]),
        });
        let login = api.call(op, As::Nobody, &body).ok();
        assert_eq!(login.text("/outcome"), "session");
        // A device that the account knows needs none.
        body["client"] = api.client("a stranger");
        let again = api.call(op, As::Nobody, &body).ok();
        assert_eq!(again.text("/outcome"), "challenge", "a proof counts once");
    }
}

pub fn a_crowded_login_waits_its_turn(api: &Api) {
    let mut limits = Limits::default();
    limits.admission.waiting_room = WaitingRoomMode::Always;
    limits.admission.waiting_room_logins_per_second = 1;
    let api = api.with_limits(limits);
    api.register("ada");
    // After a start the order is only collected.
    api.world.clock.advance(REJOIN_MS);
    let log_in = |device: &str, ticket: Option<&str>| {
        let mut headers = vec![
            ("seawall-game", api.world.game_id.to_string()),
            ("seawall-device", device.to_owned()),
        ];
        headers.extend(ticket.map(|ticket| ("seawall-ticket", ticket.to_owned())));
        api.ask(&Ask {
            op: "session.create",
            path: Vec::new(),
            query: String::new(),
            who: As::Nobody,
            body: api.entry(&named("ada"), device).to_string().into_bytes(),
            headers,
        })
    };
    log_in("first", None).ok();
    let places = ["second", "third"].map(|device| {
        let refused = log_in(device, None).refused("overload.busy");
        assert_eq!(refused.text("/params/reason"), "waiting_room");
        assert_eq!(refused.body["retry_after_ms"], refused.body["waiting"]["poll_after_ms"]);
        refused
    });
    assert_eq!(places[1].body["waiting"]["place"], 1);
    assert_eq!(places[1].body["waiting"]["estimate_ms"], 2_000);
    let [second, third] = places.map(|refused| refused.text("/waiting/ticket"));
    api.world.clock.advance(1_000);
    log_in("second", Some(&second)).ok();
    log_in("third", Some(&third)).refused("overload.busy");
    log_in("thief", Some(&second)).refused("overload.busy");
    api.world.clock.advance(1_000);
    log_in("third", Some(&third)).ok();
    let shown = api.call("admission.show", As::Nobody, &Value::Null).ok();
    assert_eq!(shown.text("/waiting_room/mode"), "always");
}
