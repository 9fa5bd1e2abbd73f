//! The grammar of `seawall account …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use seawall_domain::{AccountId, GameId, PlayerId, RealmId};

use super::grammar::{WhichAccount, key_value};
use super::instant::instant;

/// `seawall account …`
#[derive(Debug, Subcommand)]
pub enum AccountVerb {
    /// Show an account
    Show(WhichAccount),
    /// Forbid somebody something
    Restrict(RestrictFlags),
    /// End a restriction now
    Lift {
        /// Which
        restriction: u64,
    },
    /// Revoke every session of an account
    Logout(WhichAccount),
    /// Take over accounts from a file of an old platform; the same file again changes nothing
    Import(Box<ImportFlags>),
    /// Write accounts that changed since a cursor, in the import's own format
    Export(ExportFlags),
    /// Search the authentication log
    Log(LogFlags),
}

/// `seawall account restrict`
#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("whom").required(true).args(["account", "player", "device", "ip_range"]))]
pub struct RestrictFlags {
    /// An account
    #[arg(long)]
    pub account: Option<AccountId>,
    /// A player of --game
    #[arg(long, requires = "game")]
    pub player: Option<PlayerId>,
    /// A device, by its 32 hex digits
    #[arg(long)]
    pub device: Option<String>,
    /// Addresses, as in 192.0.2.0/24
    #[arg(long)]
    pub ip_range: Option<String>,
    /// The player's game; for other subjects: only in this game
    #[arg(long)]
    pub game: Option<GameId>,
    /// login, register, pay or chat
    #[arg(long, value_parser = ["login", "register", "pay", "chat"])]
    pub action: String,
    /// From: `2026-11-22T09:00:00Z`, Unix milliseconds, or `+2h` from now [default: now]
    #[arg(long, value_parser = instant)]
    pub from: Option<u64>,
    /// Until, as --from [default: for ever]
    #[arg(long, value_parser = instant)]
    pub until: Option<u64>,
    /// Reason code, a-z 0-9 _ and .
    #[arg(long)]
    pub reason: String,
    /// For the player
    #[arg(long)]
    pub message: Option<String>,
    /// Ticket of the case
    #[arg(long)]
    pub ticket: Option<String>,
}

/// `seawall account import FILE`, `seawall account import finalize ID`
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ImportFlags {
    /// NDJSON, or CSV with a header line
    #[arg(required = true)]
    pub file: Option<PathBuf>,
    /// Target realm
    #[arg(long, default_value = "1")]
    pub realm: Option<RealmId>,
    /// ndjson or csv [default: by the file's name]
    #[arg(long, value_parser = ["ndjson", "csv"])]
    pub format: Option<String>,
    /// Recipe of lines that name none, as in `md5(md5(password)+salt)`, `bcrypt`, `phpass`, `argon2`
    #[arg(long)]
    pub recipe: Option<String>,
    /// File with the pepper of the recipes, `-` for stdin; a trailing line end is cut
    #[arg(long, value_name = "FILE")]
    pub pepper_file: Option<PathBuf>,
    /// A column of the file that has another name here, as in `user_name=username`; may be repeated
    #[arg(long = "column", value_name = "FILE_COLUMN=FIELD", value_parser = key_value)]
    pub columns: Vec<(String, String)>,
    /// Give imported accounts new player ids instead of their uid
    #[arg(long)]
    pub new_player_ids: bool,
    /// Keep old hashes until `import finalize`, for the way back
    #[arg(long)]
    pub keep_old_hashes: bool,
    /// Check every line and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write refused lines (number and reason) to this file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Or end an import
    #[command(subcommand)]
    pub verb: Option<ImportVerb>,
}

/// `seawall account import …`
#[derive(Debug, Clone, Subcommand)]
pub enum ImportVerb {
    /// Forget the old hashes, the pepper and the progress of an import
    Finalize {
        /// Its id
        import: String,
    },
}

/// `seawall account export`
#[derive(Debug, Clone, Args)]
pub struct ExportFlags {
    /// Realm
    #[arg(long, default_value = "1")]
    pub realm: RealmId,
    /// Only what changed after this cursor of an earlier export
    #[arg(long, value_name = "CURSOR")]
    pub since: Option<String>,
    /// Write to this file, mode 0600: the lines hold password hashes
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `seawall account log`
#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("by").required(true).args(["account", "player", "ip", "device"]))]
pub struct LogFlags {
    /// By account
    #[arg(long)]
    pub account: Option<AccountId>,
    /// By player of --game
    #[arg(long, requires = "game")]
    pub player: Option<PlayerId>,
    /// The player's game
    #[arg(long)]
    pub game: Option<GameId>,
    /// By client address
    #[arg(long)]
    pub ip: Option<std::net::IpAddr>,
    /// By device, its 32 hex digits
    #[arg(long)]
    pub device: Option<String>,
    /// From: `2026-11-22T09:00:00Z`, Unix milliseconds, or `-2h` from now
    #[arg(long, value_parser = instant, allow_hyphen_values = true)]
    pub from: Option<u64>,
    /// Before, as --from
    #[arg(long, value_parser = instant, allow_hyphen_values = true)]
    pub until: Option<u64>,
    /// Most records, 1-1000
    #[arg(long, default_value_t = 100)]
    pub limit: u32,
}
