//! `seawall account show|restrict|lift|logout|log` as requests of the admin surface.

use seawall_web::wire::{self, Id};

use super::account_grammar::{LogFlags, RestrictFlags};
use super::ask::Ask;
use super::failure::Failure;
use super::grammar::WhichAccount;
use super::output::View;

const RECORDS: View = View::Table {
    rows: "records",
    columns: &[
        "at",
        "op",
        "result",
        "account_id",
        "game_id",
        "player_id",
        "ip",
        "device_id",
        "caller",
        "request_id",
    ],
};

/// `account.show`.
///
/// # Errors
/// Unless exactly one way of naming the account is used.
pub fn show(which: &WhichAccount) -> Result<(Ask, View), Failure> {
    Ok((
        Ask::get("/admin/v1/accounts/show").query(&selector(which)?),
        View::Record,
    ))
}

/// `account.logout`.
///
/// # Errors
/// As [`show`].
pub fn logout(which: &WhichAccount) -> Result<(Ask, View), Failure> {
    Ok((
        Ask::post("/admin/v1/accounts/logout").json(&selector(which)?),
        View::Record,
    ))
}

/// `account.lift`.
#[must_use]
pub fn lift(restriction: u64) -> (Ask, View) {
    (
        Ask::post(format!("/admin/v1/restrictions/{restriction}/lift")),
        View::Record,
    )
}

fn selector(which: &WhichAccount) -> Result<wire::AccountSelector, Failure> {
    let kind = which.kind.as_deref().map(identity_kind).transpose()?;
    let by_name = which.username.is_some() || which.subject.is_some();
    let selector = wire::AccountSelector {
        account_id: which.account.map(Id),
        player_id: which.player.map(Id),
        game_id: which.game.map(Id),
        username: which.username.clone(),
        realm_id: which.realm.filter(|_| by_name).map(Id),
        kind,
        issuer: which.issuer.clone(),
        subject: which.subject.clone(),
    };
    selector.clone().into_domain().map_err(|_| {
        Failure::Usage(
            "name the account by --account, or --player with --game, or --username, or --kind with --subject".into(),
        )
    })?;
    Ok(selector)
}

fn identity_kind(word: &str) -> Result<wire::IdentityKind, Failure> {
    serde_json::from_value(word.into())
        .map_err(|_| Failure::Usage(format!("--kind: no kind of identity is called `{word}`")))
}

/// `account.restrict`.
///
/// # Errors
/// When the options name no subject.
pub fn restrict(flags: &RestrictFlags) -> Result<(Ask, View), Failure> {
    let (subject, scope) = match (flags.account, flags.player, &flags.device, &flags.ip_range) {
        (Some(account), ..) => (
            wire::Subject::Account {
                account_id: Id(account),
            },
            flags.game,
        ),
        (_, Some(player), ..) => {
            let game = flags
                .game
                .ok_or_else(|| Failure::Usage("--player needs --game".into()))?;
            (
                wire::Subject::Player {
                    game_id: Id(game),
                    player_id: Id(player),
                },
                None,
            )
        }
        (_, _, Some(device), _) => (
            wire::Subject::Device {
                device_id: device.clone(),
            },
            flags.game,
        ),
        (_, _, _, Some(range)) => (wire::Subject::IpRange { range: range.clone() }, flags.game),
        _ => {
            return Err(Failure::Usage(
                "say whom: --account, --player, --device or --ip-range".into(),
            ));
        }
    };
    let body = wire::Restrict {
        subject,
        action: match flags.action.as_str() {
            "login" => wire::Action::Login,
            "register" => wire::Action::Register,
            "pay" => wire::Action::Pay,
            _ => wire::Action::Chat,
        },
        game_id: scope.map(Id),
        from_at: flags.from,
        until_at: flags.until,
        reason: flags.reason.clone(),
        message: flags.message.clone(),
        ticket: flags.ticket.clone(),
    };
    Ok((Ask::post("/admin/v1/restrictions").json(&body), View::Record))
}

/// `auth_log.search`.
#[must_use]
pub fn log(flags: &LogFlags) -> (Ask, View) {
    let query = wire::AuthLogQuery {
        account_id: flags.account.map(Id),
        player_id: flags.player.map(Id),
        game_id: flags.game.map(Id),
        ip: flags.ip,
        device_id: flags.device.clone(),
        from_at: flags.from,
        until_at: flags.until,
        limit: Some(flags.limit),
    };
    (Ask::get("/admin/v1/auth-log").query(&query), RECORDS)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::{Value, json};

    use super::super::account_grammar::AccountVerb;
    use super::super::ask::Body;
    use super::super::grammar::{Cli, Verb};
    use super::*;

    fn ask(line: &str) -> Result<(String, Value), Failure> {
        let Verb::Account(verb) = Cli::parse_from(format!("seawall account {line}").split(' ')).verb else {
            panic!()
        };
        let ask = match verb {
            AccountVerb::Show(which) => show(&which)?.0,
            AccountVerb::Logout(which) => logout(&which)?.0,
            AccountVerb::Lift { restriction } => lift(restriction).0,
            AccountVerb::Restrict(flags) => restrict(&flags)?.0,
            AccountVerb::Log(flags) => log(&flags).0,
            other => panic!("{other:?}"),
        };
        let body = match ask.body {
            Body::Json(bytes) => serde_json::from_slice(&bytes).unwrap(),
            _ => Value::Null,
        };
        Ok((format!("{} {}", ask.method, ask.path), body))
    }

    #[test]
    fn each_verb_is_one_request() {
        let table: &[(&str, &str)] = &[
            ("show --account 5", "GET /admin/v1/accounts/show?account_id=5"),
            (
                "show --player 5 --game 2",
                "GET /admin/v1/accounts/show?game_id=2&player_id=5",
            ),
            (
                "show --username a b".split(" b").next().unwrap(),
                "GET /admin/v1/accounts/show?realm_id=1&username=a",
            ),
            (
                "show --kind phone --subject +861 --realm 3",
                "GET /admin/v1/accounts/show?kind=phone&realm_id=3&subject=%2B861",
            ),
            (
                "log --ip 192.0.2.1 --limit 5",
                "GET /admin/v1/auth-log?ip=192.0.2.1&limit=5",
            ),
            ("lift 9", "POST /admin/v1/restrictions/9/lift"),
        ];
        for (line, request) in table {
            assert_eq!(ask(line).unwrap().0, *request, "{line}");
        }
        assert_eq!(
            ask("logout --account 5").unwrap(),
            ("POST /admin/v1/accounts/logout".into(), json!({ "account_id": "5" }))
        );
    }

    #[test]
    fn restrictions_name_subject_scope_and_time() {
        let (_, body) = ask("restrict --account 5 --game 2 --action login --reason cheating --until 1000").unwrap();
        assert_eq!(
            (&body["subject"], &body["game_id"], &body["until_at"]),
            (
                &json!({ "kind": "account", "account_id": "5" }),
                &json!("2"),
                &json!(1000)
            )
        );
        let (_, body) = ask("restrict --player 5 --game 2 --action chat --reason spam").unwrap();
        assert_eq!(
            (&body["subject"]["player_id"], &body["game_id"]),
            (&json!("5"), &Value::Null)
        );
    }

    #[test]
    fn an_account_is_named_in_exactly_one_way() {
        for line in ["show", "show --account 5 --username a", "show --game 1"] {
            assert!(matches!(ask(line), Err(Failure::Usage(_))), "{line}");
        }
    }
}
