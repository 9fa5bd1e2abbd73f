//! The grammar of the command line. A plain tree of verbs; what each does is in the file of its noun.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use seawall_domain::{AccountId, GameId, KeyId, PlayerId, RealmId};

use super::account_grammar::AccountVerb;
use super::backup_grammar::{BackupVerb, RestoreFlags};
use super::failure::exit_codes;
use super::rehearse_grammar::RehearseFlags;

/// The SDK platform of a game publisher in one program.
#[derive(Debug, Parser)]
#[command(
    name = "seawall",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
#[command(after_help = exit_codes())]
pub struct Cli {
    /// What holds for every verb.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags of every verb.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Settings file [default: /etc/seawall/seawall.toml if it exists]
    #[arg(long, global = true, value_name = "FILE", env = "SEAWALL_CONFIG")]
    pub config: Option<PathBuf>,
    /// Set any setting, as in `--set log.level=debug`; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// Data directory (data.dir)
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Admin socket of the running server (admin.socket)
    #[arg(long, global = true, value_name = "PATH", env = "SEAWALL_SOCKET")]
    pub socket: Option<PathBuf>,
    /// Log level (log.level)
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Log format: auto, human or json (log.format)
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Print JSON for programs instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
}

/// Verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the server
    #[command(after_help = exit_codes())]
    Serve(Listen),
    /// Run a server with a demo game, and print how to talk to it
    Demo(Listen),
    /// How the running server stands
    Status,
    /// What the running server refuses now for lack of room, by class and by tenant, and why
    Admission,
    /// Realms: pools of accounts
    #[command(subcommand)]
    Realm(RealmVerb),
    /// Games
    #[command(subcommand)]
    Game(GameVerb),
    /// Packages: the distributed builds of a game
    #[command(subcommand)]
    Package(PackageVerb),
    /// Server keys: what game servers sign with
    #[command(subcommand)]
    Key(KeyVerb),
    /// Accounts: look at, restrict, take over, hand back
    #[command(subcommand)]
    Account(AccountVerb),
    /// Settings of this host
    #[command(subcommand)]
    Config(ConfigVerb),
    /// The store
    #[command(subcommand)]
    Db(DbVerb),
    /// Backups: make, look at, check, prove, let go
    #[command(subcommand)]
    Backup(BackupVerb),
    /// Make a data directory out of a backup and the archived journal, at an exact lsn or instant
    Restore(RestoreFlags),
    /// Drive the storm of an update day against a scratch copy of this host's data, or a target, and propose limits
    #[command(after_help = exit_codes())]
    Rehearse(RehearseFlags),
    /// What `rehearse` starts
    #[command(hide = true)]
    RehearsalServer {
        /// Its settings
        file: PathBuf,
    },
    /// Print the OpenAPI document of the HTTP API
    Openapi {
        /// Also the operators' surface, which is offered on the admin socket only
        #[arg(long)]
        admin: bool,
    },
    /// Print the version
    Version,
    /// Print a completion script
    Completion {
        /// For this shell
        shell: clap_complete::Shell,
    },
    /// Print the man page, or write one page for each verb
    Man {
        /// Write the pages into this directory
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// Where `serve` and `demo` listen.
#[derive(Debug, Clone, Default, Args)]
pub struct Listen {
    /// Address of the TLS listener (public.address); port 0 lets the system choose
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<String>,
}

/// `seawall realm …`
#[derive(Debug, Subcommand)]
pub enum RealmVerb {
    /// Make a realm
    Create {
        /// Unique name
        name: String,
        /// Refuse guests
        #[arg(long)]
        no_guests: bool,
    },
    /// List the realms
    List,
    /// Change a realm
    Update {
        /// Which
        realm: RealmId,
        /// May guests register?
        #[arg(long, action = clap::ArgAction::Set, value_name = "true|false")]
        guests: bool,
    },
}

/// Settings of a game, each optional.
#[derive(Debug, Clone, Default, Args)]
pub struct GameFlags {
    /// open or maintenance
    #[arg(long, value_parser = ["open", "maintenance"])]
    pub status: Option<String>,
    /// What a new login does to older sessions: replace, refuse or both
    #[arg(long, value_parser = ["replace", "refuse", "both"])]
    pub session_policy: Option<String>,
    /// Devices an account may use, 1-1000; `none` removes the limit
    #[arg(long, value_name = "N|none")]
    pub device_limit: Option<String>,
    /// Life of an access token, 60000 ms to 7 days
    #[arg(long, value_name = "MS")]
    pub access_token_ms: Option<u64>,
    /// Life of a refresh token, 1 hour to 400 days
    #[arg(long, value_name = "MS")]
    pub refresh_token_ms: Option<u64>,
    /// How long a lost reply may be asked for again, 0 to 300000 ms
    #[arg(long, value_name = "MS")]
    pub refresh_grace_ms: Option<u64>,
    /// Browser origin allowed by CORS; may be repeated; `*` for any
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    pub cors_origins: Option<Vec<String>>,
    /// What its servers get when nobody knows whether a token is good: status_503, hold or drop
    #[arg(long, value_parser = ["status_503", "hold", "drop"])]
    pub unknown_policy: Option<String>,
    /// How long an answer of policy hold waits for certainty, 0 to 10000 ms
    #[arg(long, value_name = "MS")]
    pub unknown_hold_ms: Option<u64>,
    /// Answer good tokens as valid, with assurance mac_only, while revocations cannot be read
    #[arg(long, value_name = "BOOL")]
    pub mac_only: Option<bool>,
    /// Over which time clients spread their first call after an update, 0 to 600000 ms
    #[arg(long, value_name = "MS")]
    pub reconnect_spread_ms: Option<u64>,
    /// Remember in memory for a while that a password matched, so that the next login needs no password hash
    #[arg(long, value_name = "BOOL")]
    pub remember_passwords: Option<bool>,
    /// When devices that an account does not know bring a proof of work: auto (under pressure), off or always
    #[arg(long, value_parser = ["auto", "off", "always"])]
    pub challenges: Option<String>,
}

/// `seawall game …`
#[derive(Debug, Subcommand)]
pub enum GameVerb {
    /// Make a game
    Create {
        /// Name, unique in the realm
        name: String,
        /// Its realm
        #[arg(long, default_value = "1")]
        realm: RealmId,
        /// Settings that differ from the defaults
        #[command(flatten)]
        flags: GameFlags,
    },
    /// List the games
    List,
    /// Show a game
    Show {
        /// Which
        game: GameId,
    },
    /// Change settings of a game; only what is given changes
    Update {
        /// Which
        game: GameId,
        /// What changes
        #[command(flatten)]
        flags: GameFlags,
    },
}

/// `seawall package …`
#[derive(Debug, Subcommand)]
pub enum PackageVerb {
    /// Make a package of a game
    Create(PackageFlags),
    /// List the packages of a game
    List {
        /// Which game
        #[arg(long)]
        game: GameId,
    },
}

/// What a package is made of.
#[derive(Debug, Clone, Args)]
pub struct PackageFlags {
    /// Name
    pub name: String,
    /// Its game
    #[arg(long)]
    pub game: GameId,
    /// android, ios, h5, mini_game, windows, mac or other
    #[arg(long)]
    pub platform: String,
    /// Channel
    #[arg(long, default_value = "")]
    pub channel: String,
    /// Agent
    #[arg(long, default_value = "")]
    pub agent: String,
    /// Site
    #[arg(long, default_value = "")]
    pub site: String,
    /// Bundle id or package name
    #[arg(long, default_value = "")]
    pub bundle: String,
    /// The channel's own parameters: a file with one JSON object of texts, `-` for stdin (they may be secret)
    #[arg(long, value_name = "FILE")]
    pub channel_params_file: Option<PathBuf>,
}

/// `seawall key …`
#[derive(Debug, Subcommand)]
pub enum KeyVerb {
    /// Make a key; its secret is shown this once
    Create {
        /// What it is for
        name: String,
        /// A game it may act for; may be repeated
        #[arg(long = "game", required = true)]
        games: Vec<GameId>,
        /// Write the secret to this file (mode 0600) instead of printing it
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
    /// List the keys
    List,
    /// Give a key a second secret; the old one works for a while
    Rotate {
        /// Which
        key: KeyId,
        /// How long the old secret works, in hours [default: 7 days]
        #[arg(long, value_name = "H")]
        keep_previous_h: Option<u64>,
        /// Write the secret to this file (mode 0600) instead of printing it
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
    /// Make a key stop working, now and for ever
    Revoke {
        /// Which
        key: KeyId,
        /// Game servers that use it are refused from now on: say that this is meant
        #[arg(long, required = true)]
        yes_refuse_its_servers: bool,
    },
}

/// `seawall config …`
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Check all settings; every problem is named with file and line
    Check,
    /// Show what applies
    Show {
        /// Also where each value comes from
        #[arg(long)]
        origin: bool,
    },
    /// Explain one setting
    Explain {
        /// Its key, as in log.level
        key: String,
    },
    /// Print the reference of all settings
    Reference {
        /// markdown, or file for an annotated settings file
        #[arg(long, default_value = "markdown", value_parser = ["markdown", "file"])]
        format: String,
    },
}

/// `seawall db …`
#[derive(Debug, Subcommand)]
pub enum DbVerb {
    /// Check the journal's chain, every index and every record; the server must be stopped
    Verify,
    /// Say what a damaged data directory lacks and what to do; changes nothing; the server must be stopped
    Repair {
        /// Show the plan. There is nothing else: lost data is restored, never guessed
        #[arg(long, required = true)]
        plan: bool,
    },
    /// Rows and bytes of each table
    Stats,
    /// Remove the reserve file, to have room at once on a full disk; it comes back when there is plenty
    ReleaseReserve,
}

/// Names an account.
#[derive(Debug, Clone, Default, Args)]
pub struct WhichAccount {
    /// By account id
    #[arg(long)]
    pub account: Option<AccountId>,
    /// By player id, with --game
    #[arg(long, requires = "game")]
    pub player: Option<PlayerId>,
    /// The player's game
    #[arg(long)]
    pub game: Option<GameId>,
    /// By name, in --realm
    #[arg(long)]
    pub username: Option<String>,
    /// Realm of a name or identity
    #[arg(long, default_value = "1")]
    pub realm: Option<RealmId>,
    /// By identity: phone, email, wechat_openid, wechat_unionid, apple, google, channel, alias; with --subject
    #[arg(long, requires = "subject")]
    pub kind: Option<String>,
    /// Channel or app id of the identity
    #[arg(long)]
    pub issuer: Option<String>,
    /// The identity itself
    #[arg(long, requires = "kind")]
    pub subject: Option<String>,
}

/// Reads `key=value`.
///
/// # Errors
/// When there is no `=`.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.trim().to_owned(), value.to_owned()))
        .ok_or_else(|| "expected KEY=VALUE".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn usage_errors_leave_with_2_and_help_with_0() {
        let code = |line: &str| {
            Cli::try_parse_from(line.split(' '))
                .map(|_| 0)
                .unwrap_or_else(|error| error.exit_code())
        };
        for wrong in [
            "seawall",
            "seawall fly",
            "seawall key revoke 1",
            "seawall game create",
            "seawall --set x status",
            "seawall account show --player 5",
        ] {
            assert_eq!(code(wrong), 2, "{wrong}");
        }
        for right in [
            "seawall status",
            "seawall status --json",
            "seawall --help",
            "seawall --data /d demo --listen 127.0.0.1:0",
            "seawall key revoke 1 --yes-refuse-its-servers",
        ] {
            assert_eq!(code(right), 0, "{right}");
        }
    }

    #[test]
    fn settings_with_a_flag_of_their_own_have_it() {
        let command = Cli::command();
        for setting in crate::settings::catalogue::SETTINGS.iter() {
            let Some(flag) = setting.flag else { continue };
            let mut flags = command.get_arguments().chain(
                command
                    .find_subcommand("serve")
                    .into_iter()
                    .flat_map(clap::Command::get_arguments),
            );
            assert!(flags.any(|argument| argument.get_long() == Some(flag)), "--{flag}");
        }
    }
}
