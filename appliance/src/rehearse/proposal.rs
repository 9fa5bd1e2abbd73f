//! Settings that follow from what was measured, ready to be taken over, each with its reason.

use std::fmt::Write as _;

use seawall_load::client_rules::Call;
use serde::Serialize;

use super::drive::Cost;
use super::knee::{IN_TIME_MIN, whole};
use super::settings::shown;
use super::step::Step;
use crate::settings::Settings;
use crate::settings::catalogue::{admission, hash, limits};
use crate::settings::registry::{Kind, Setting, Value};

/// What is worth answering is answered within so many seconds, for a login may take two.
const IN_WORK_S: f64 = 2.0;
/// Connections beyond those of the players, for game servers and for players who come twice.
const CONNECTIONS_SPARE: f64 = 1.25;
/// Share of the goodput at the knee that is let in whatever the signals say.
const FLOOR_SHARE: f64 = 0.1;
/// A signal of overload is a multiple of what was seen while all was well.
const LAG_TIMES: f64 = 2.0;
const COMMIT_TIMES: f64 = 3.0;
/// And never so low that an ordinary disk or scheduler is taken for overload, in milliseconds.
const LAG_MIN_MS: u64 = 10;
const COMMIT_MIN_MS: u64 = 50;
/// Players are told to spread over a longer time than they take.
const SPREAD_TIMES: f64 = 1.25;
/// Longest spread a game may have, in milliseconds.
const SPREAD_MAX_MS: u64 = 600_000;

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// Its key.
    pub key: &'static str,
    /// Proposed.
    pub value: u64,
    /// As it is now.
    pub now: String,
    /// Why.
    pub why: String,
}

/// What was measured.
pub struct Measured<'a> {
    /// All steps.
    pub steps: &'a [Step],
    /// Place of the knee among them.
    pub knee: usize,
    /// No step was beyond it.
    pub is_open: bool,
    /// Length of a step, in seconds.
    pub span_s: f64,
    /// Players who come back.
    pub players: usize,
    /// Cost of calls.
    pub costs: &'a [Cost],
    /// Mean time of a password hash, in microseconds; `None` when none was made.
    pub hash_us: Option<f64>,
    /// Threads for hashes, as they ran.
    pub hash_threads: u64,
    /// Processors the server had.
    pub cpus: usize,
}

/// The proposals. A setting that would stay as it is is left out. While no step was too much, the limits of the host are not known, and
/// only what calls cost is proposed.
#[must_use]
pub fn proposals(measured: &Measured<'_>, settings: &Settings) -> Vec<Proposal> {
    let Some(knee) = measured.steps.get(measured.knee) else {
        return Vec::new();
    };
    let mut found = costs(measured, settings);
    if !measured.is_open {
        found.push(hash_threads(measured, settings));
        found.extend(signals(measured, settings));
        found.push(floor(knee, settings));
        found.push(in_flight(measured, knee, settings));
    }
    found.push(connections(measured, settings));
    found.into_iter().flatten().collect()
}

/// How long clients should spread their first calls after an update, in milliseconds.
#[must_use]
pub fn reconnect_spread_ms(knee: &Step, players: usize) -> Option<u64> {
    let seconds = super::knee::back_within_s(knee, players)?;
    if seconds <= 1.0 {
        return Some(0);
    }
    Some(((seconds * SPREAD_TIMES).ceil() as u64 * 1_000).min(SPREAD_MAX_MS))
}

/// A proposal within the setting's range; none when it says what is set already.
fn proposal(settings: &Settings, setting: &Setting, value: f64, why: String) -> Option<Proposal> {
    let Kind::Whole { min, max, .. } = setting.kind else {
        return None;
    };
    let value = (value.round().max(0.0) as u64).clamp(min, max);
    let is_set = settings.get(setting).value == Value::Whole(value);
    (!is_set).then(|| Proposal {
        key: setting.path,
        value,
        now: shown(settings, setting),
        why,
    })
}

fn hash_threads(measured: &Measured<'_>, settings: &Settings) -> Option<Proposal> {
    let hash_s = measured.hash_us? / 1e6;
    let all_else_is_well = |step: &Step| {
        [Call::Verify, Call::Refresh].iter().all(|call| {
            step.call(*call)
                .is_none_or(|own| own.in_time as f64 >= own.sent as f64 * IN_TIME_MIN)
        })
    };
    // A late loader's steps say nothing.
    let told = measured.steps.iter().filter(|step| !step.is_void);
    let mut with_logins = told.filter_map(|step| Some((step, step.call(Call::Login)?)));
    let (_, login) = with_logins.rfind(|(step, _)| all_else_is_well(step))?;
    let logins_per_s = login.sent as f64 / measured.span_s;
    let most = measured.cpus.saturating_sub(1).max(1) as f64;
    let wanted = (logins_per_s * hash_s).ceil().clamp(1.0, most);
    if wanted <= measured.hash_threads as f64 {
        return None;
    }
    let why = format!(
        "{} password logins a second came while checks and refreshes were still in time; a hash takes {:.0} ms here, and {} threads ran",
        whole(logins_per_s),
        hash_s * 1e3,
        measured.hash_threads
    );
    proposal(settings, &hash::THREADS, wanted, why)
}

fn costs(measured: &Measured<'_>, settings: &Settings) -> Vec<Option<Proposal>> {
    let of = |call: Call| {
        measured
            .costs
            .iter()
            .find(|cost| cost.call == call)
            .map(|cost| cost.cpu_us)
    };
    let Some(check_us) = of(Call::Verify).filter(|us| *us > 0.0) else {
        return Vec::new();
    };
    let one = |call: Call, setting: &Setting, what: &str| {
        let us = of(call)?;
        let why = format!("{what} takes {us:.0} µs of processor time here, a token check {check_us:.0} µs");
        proposal(settings, setting, us / check_us, why)
    };
    vec![
        one(Call::Refresh, &admission::REFRESH_COST, "a refresh"),
        one(Call::Register, &admission::REGISTER_COST, "a guest's registration"),
    ]
}

/// Lateness and waits up to the knee are those of a host that is well.
fn signals(measured: &Measured<'_>, settings: &Settings) -> Vec<Option<Proposal>> {
    let well = measured.steps.iter().take(measured.knee + 1);
    let seen: Vec<_> = well
        .filter_map(|step| step.admission.as_ref())
        .filter(|seen| seen.looks > 0)
        .collect();
    if seen.is_empty() {
        return Vec::new();
    }
    let worst = |of: fn(&super::watch::Seen) -> u64| seen.iter().map(|seen| of(seen)).max().unwrap_or(0) as f64 / 1e3;
    let (lag_ms, commit_ms) = (worst(|seen| seen.lag_us_max), worst(|seen| seen.commit_wait_us_max));
    vec![
        proposal(
            settings,
            &admission::LAG_TARGET_MS,
            (lag_ms * LAG_TIMES).ceil().max(LAG_MIN_MS as f64),
            format!("up to the knee the runtime was late by {lag_ms:.1} ms at worst"),
        ),
        proposal(
            settings,
            &admission::COMMIT_WAIT_MAX_MS,
            (commit_ms * COMMIT_TIMES).ceil().max(COMMIT_MIN_MS as f64),
            format!("up to the knee a commit waited for {commit_ms:.1} ms at worst"),
        ),
    ]
}

fn floor(knee: &Step, settings: &Settings) -> Option<Proposal> {
    let why = format!(
        "a tenth of the {} work units a second that were answered in time at the knee",
        whole(knee.goodput_units_per_s)
    );
    proposal(settings, &admission::FLOOR, knee.goodput_units_per_s * FLOOR_SHARE, why)
}

fn connections(measured: &Measured<'_>, settings: &Settings) -> Option<Proposal> {
    let wanted = (measured.players as f64 * CONNECTIONS_SPARE / 1_000.0).ceil() * 1_000.0;
    if wanted <= settings.whole(&limits::CONNECTIONS_MAX) as f64 {
        return None;
    }
    let why = format!(
        "{} players come back, each with a connection",
        whole(measured.players as f64)
    );
    proposal(settings, &limits::CONNECTIONS_MAX, wanted, why)
}

fn in_flight(measured: &Measured<'_>, knee: &Step, settings: &Settings) -> Option<Proposal> {
    let answers = knee.answers_per_s(measured.span_s);
    let why = format!(
        "{} requests a second are answered at the knee; more than {IN_WORK_S:.0} s of them in work would be answered too late",
        whole(answers)
    );
    proposal(settings, &limits::IN_FLIGHT_MAX, answers * IN_WORK_S, why)
}

/// A settings file with the proposals, which `seawall config check` accepts.
#[must_use]
pub fn fragment(proposals: &[Proposal], head: &[String], spread: Option<(u64, usize)>) -> String {
    let mut text = String::new();
    let line_of = |line: &str| {
        line.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect::<String>()
    };
    for line in head {
        let _ = writeln!(text, "# {}", line_of(line));
    }
    text.push_str("# Put this file into conf.d beside the settings file, and check it there: seawall config check\n");
    if let Some((spread_ms, players)) = spread {
        let _ = writeln!(
            text,
            "#\n# A setting of the game, not of the host: {players} players spread over {spread_ms} ms.\n#   seawall game update GAME \
             --reconnect-spread-ms {spread_ms}"
        );
    }
    text.push_str("version = 1\n");
    let mut group = "";
    let mut sorted: Vec<&Proposal> = proposals.iter().collect();
    sorted.sort_by_key(|proposal| proposal.key.split('.').next());
    for proposal in sorted {
        let (of, name) = proposal.key.split_once('.').unwrap_or(("", proposal.key));
        if of != group {
            group = of;
            let _ = writeln!(text, "\n[{group}]");
        }
        let _ = writeln!(
            text,
            "# {}; it was {}\n{name} = {}",
            line_of(&proposal.why),
            line_of(&proposal.now),
            proposal.value
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::knee::tests::step;
    use super::super::step::CallFigures;
    use super::super::watch::Seen;
    use super::*;
    use crate::settings::config::HostConfig;
    use crate::settings::load::{Layers, load};

    fn settings(text: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.toml");
        std::fs::write(&file, text).unwrap();
        let layers = Layers {
            file: Some(file),
            ..Layers::default()
        };
        let loaded = load(&layers).map_err(|problems| format!("{problems:?}"))?;
        HostConfig::from_settings(&loaded).map_err(|problems| format!("{problems:?}"))?;
        Ok(loaded)
    }

    fn steps() -> Vec<Step> {
        let calls = |count: u64| {
            let one = CallFigures {
                sent: count,
                ok: count,
                in_time: count,
                ..CallFigures::default()
            };
            BTreeMap::from([("verify", one.clone()), ("login", one)])
        };
        let seen = Seen {
            looks: 10,
            lag_us_max: 6_000,
            commit_wait_us_max: 30_000,
            ..Seen::default()
        };
        let well = Step {
            calls: calls(1_000),
            admission: Some(seen),
            ..step(1.0, 8_000.0, 7_900.0)
        };
        vec![well, step(2.0, 16_000.0, 8_000.0)]
    }

    fn measured<'a>(steps: &'a [Step], costs: &'a [Cost]) -> Measured<'a> {
        Measured {
            steps,
            knee: 0,
            is_open: false,
            span_s: 5.0,
            players: 100_000,
            costs,
            hash_us: Some(15_000.0),
            hash_threads: 1,
            cpus: 8,
        }
    }

    #[test]
    fn each_proposal_follows_from_what_was_measured() {
        let steps = steps();
        let costs = [
            Cost {
                call: Call::Verify,
                cpu_us: 10.0,
            },
            Cost {
                call: Call::Refresh,
                cpu_us: 32.0,
            },
        ];
        let found = proposals(&measured(&steps, &costs), &settings("").unwrap());
        let values: Vec<(&str, u64)> = found.iter().map(|proposal| (proposal.key, proposal.value)).collect();
        assert_eq!(
            values,
            [
                ("admission.refresh_cost_units", 3),
                ("hash.threads", 3),
                ("admission.lag_target_ms", 12),
                ("admission.commit_wait_max_ms", 90),
                ("admission.floor_units_per_second", 790),
                ("limits.in_flight_max", 800),
                ("limits.connections_max", 125_000),
            ]
        );
        assert!(
            found[1].why.starts_with("200 password logins a second"),
            "{}",
            found[1].why
        );
        let open = Measured {
            is_open: true,
            ..measured(&steps, &costs)
        };
        let found = proposals(&open, &settings("").unwrap());
        let keys: Vec<&str> = found.iter().map(|own| own.key).collect();
        assert_eq!(
            keys,
            ["admission.refresh_cost_units", "limits.connections_max"],
            "no limit was found"
        );
    }

    #[test]
    fn what_is_set_already_is_not_proposed() {
        let steps = steps();
        let set = settings("[hash]\nthreads = 3\n[limits]\nin_flight_max = 800\nconnections_max = 200000\n").unwrap();
        let found = proposals(&measured(&steps, &[]), &set);
        let keys: Vec<&str> = found.iter().map(|proposal| proposal.key).collect();
        assert!(
            !keys.contains(&"limits.in_flight_max") && !keys.contains(&"limits.connections_max"),
            "{keys:?}"
        );
        assert!(!keys.contains(&"hash.threads"));
        let gone = Measured {
            knee: 9,
            ..measured(&steps, &[])
        };
        assert!(proposals(&gone, &set).is_empty());
    }

    #[test]
    fn the_fragment_is_a_settings_file() {
        let steps = steps();
        let found = proposals(&measured(&steps, &[]), &settings("").unwrap());
        let text = fragment(&found, &["of a host\nlevel = 1".into()], Some((13_000, 100_000)));
        let read = settings(&text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        for proposal in &found {
            let setting = crate::settings::catalogue::find(proposal.key).unwrap();
            assert_eq!(read.whole(setting), proposal.value, "{}", proposal.key);
        }
        assert!(text.contains("--reconnect-spread-ms 13000"), "{text}");
        assert!(settings(&fragment(&[], &[], None)).is_ok());
    }

    #[test]
    fn players_are_spread_over_longer_than_they_take() {
        let knee = step(1.0, 8_000.0, 8_000.0);
        assert_eq!(reconnect_spread_ms(&knee, 10_000), Some(13_000), "1,000 a second");
        assert_eq!(reconnect_spread_ms(&knee, 500), Some(0));
        assert_eq!(reconnect_spread_ms(&knee, 100_000_000), Some(SPREAD_MAX_MS));
        assert_eq!(reconnect_spread_ms(&step(1.0, 1.0, 1.0), 10), None);
    }
}
