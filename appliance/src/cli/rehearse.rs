//! `seawall rehearse`: a storm before it comes.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use serde_json::json;
use zeroize::Zeroizing;

use super::failure::{DONE, FAILED, Failure, WARNINGS};
use super::grammar::Global;
use super::output::{Output, View};
use super::rehearse_grammar::RehearseFlags;
use super::secret_file;
use super::socket::SocketClient;
use crate::rehearse::findings::Findings;
use crate::rehearse::local::{self, Local};
use crate::rehearse::plan::Plan;
use crate::rehearse::service::Game;
use crate::rehearse::stop::Stop;
use crate::rehearse::{draw, html, remote};
use crate::settings::Settings;
use crate::settings::config::HostConfig;

/// Runs the verb; answers the exit code.
///
/// # Errors
/// Why nothing could be rehearsed.
pub fn rehearse(
    flags: &RehearseFlags,
    global: &Global,
    read: impl FnOnce() -> Result<(Settings, HostConfig), Failure>,
    out: &Output,
) -> Result<u8, Failure> {
    let plan = Plan::new(flags)?;
    let findings = match &flags.target {
        Some(url) => {
            confirm(
                flags,
                &format!("This sends a storm to {url} and makes accounts there that stay. Go on?"),
            )?;
            let stop = Stop::listen()?;
            remote::rehearse(url, game(flags)?, &plan, &stop, out)?
        }
        None => {
            let (settings, config) = read()?;
            let socket = global.socket.clone().unwrap_or_else(|| config.admin_socket.clone());
            if is_served(&socket)? {
                confirm(
                    flags,
                    "A server is serving these data: the storm takes processors and disk that its players need. Go on?",
                )?;
            }
            let stop = Stop::listen()?;
            let local = Local {
                settings: &settings,
                config: &config,
                socket: &socket,
                game: flags.game,
                keeps: flags.keep,
            };
            local::rehearse(&local, &plan, &stop, out)?
        }
    };
    write(flags.report.as_deref(), &html::page(&findings))?;
    write(flags.proposal.as_deref(), &findings.fragment())?;
    show(&findings, flags, out);
    Ok(code(&findings))
}

/// The ids of the command line, and the secret of the file.
fn game(flags: &RehearseFlags) -> Result<Game, Failure> {
    let missing = || Failure::Usage("--target needs --game, --package, --key and --secret-file".into());
    let file = flags.secret_file.as_deref().ok_or_else(missing)?;
    Ok(Game {
        game_id: flags.game.ok_or_else(missing)?.to_string(),
        package_id: flags.package.ok_or_else(missing)?.to_string(),
        key_id: flags.key.ok_or_else(missing)?.to_string(),
        secret: Zeroizing::new(secret_file::read(file)?),
    })
}

fn is_served(socket: &Path) -> Result<bool, Failure> {
    let connected = super::runtime()?.block_on(SocketClient::connect(socket))?;
    Ok(connected.is_some())
}

/// Asks a person, unless `--yes` was said.
fn confirm(flags: &RehearseFlags, question: &str) -> Result<(), Failure> {
    if flags.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "{question} Say --yes where nobody can be asked."
        )));
    }
    let _ = write!(std::io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::Failed("nothing was done".into()))
}

fn write(file: Option<&Path>, text: &str) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    std::fs::write(file, text).map_err(|error| Failure::file(file, "written", &error))
}

fn show(findings: &Findings, flags: &RehearseFlags, out: &Output) {
    if out.is_json() {
        let mut answer = findings.to_json();
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("report".into(), json!(flags.report));
            fields.insert("proposal".into(), json!(flags.proposal));
        }
        return out.answer(&answer, View::Record);
    }
    let mut text = format!("\n{}\n", draw::draw(&findings.steps, &findings.knee, draw::columns()));
    text.push_str(&format!("{}\n\n", findings.sentence()));
    for remark in &findings.remarks {
        text.push_str(&format!("- {remark}\n"));
    }
    if !findings.differs.is_empty() {
        text.push_str("\nThe copy's server has the settings of this host, but:\n");
    }
    for line in &findings.differs {
        text.push_str(&format!("- {line}\n"));
    }
    if !findings.proposals.is_empty() {
        text.push_str("\nProposed settings:\n");
    }
    for proposal in &findings.proposals {
        text.push_str(&format!(
            "  {} = {}  (now {})\n      {}\n",
            proposal.key, proposal.value, proposal.now, proposal.why
        ));
    }
    if let Some(spread_ms) = findings.reconnect_spread_ms() {
        text.push_str(&format!(
            "\nseawall game update GAME --reconnect-spread-ms {spread_ms}\n"
        ));
    }
    text.push('\n');
    for file in [&flags.report, &flags.proposal].into_iter().flatten() {
        text.push_str(&format!("written: {}\n", file.display()));
    }
    if findings.false_invalids > 0 {
        text.push_str(&format!(
            "\n{} good tokens or right passwords were called bad. That must never be; please report it.\n",
            findings.false_invalids
        ));
    }
    out.text(&text);
}

/// A good token that was called bad is a failure whatever else was found; without a knee there is something to look at.
fn code(findings: &Findings) -> u8 {
    match (findings.false_invalids, findings.knee.place) {
        (1.., _) => FAILED,
        (0, None) => WARNINGS,
        (0, Some(_)) => DONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rehearse::findings::tests::findings;

    #[test]
    fn a_good_token_called_bad_is_a_failure_and_no_knee_a_warning() {
        let mut found = findings();
        assert_eq!(code(&found), DONE);
        found.knee.place = None;
        assert_eq!(code(&found), WARNINGS);
        found.false_invalids = 1;
        assert_eq!(code(&found), FAILED);
    }
}
