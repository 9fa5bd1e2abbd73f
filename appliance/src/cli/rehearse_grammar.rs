//! The grammar of `seawall rehearse`.

use std::path::PathBuf;

use clap::Args;
use seawall_domain::{GameId, KeyId, PackageId};

use crate::rehearse::mix::Mix;
use crate::rehearse::plan::{DURATION_MAX_S, DURATION_MIN_S, PLAYERS_MAX, PLAYERS_MIN, Steps};

/// `seawall rehearse`
#[derive(Debug, Clone, Args)]
pub struct RehearseFlags {
    /// Players who come back
    #[arg(long, value_name = "N", default_value_t = 2_000,
          value_parser = clap::value_parser!(u32).range(i64::from(PLAYERS_MIN)..=i64::from(PLAYERS_MAX)))]
    pub players: u32,
    /// How long each step is offered, in seconds
    #[arg(long, value_name = "S", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(i64::from(DURATION_MIN_S)..=i64::from(DURATION_MAX_S)))]
    pub duration: u32,
    /// Share of the players whose client keeps no rules and logs in again after any error, in percent
    #[arg(long, value_name = "P", default_value_t = 20, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub naive_share: u8,
    /// What they come for: update-day, steady, mini-game, or shares as in verify=60,refresh=25,login=8,register=7
    #[arg(long, value_name = "MIX", default_value = "update-day")]
    pub mix: Mix,
    /// Steps of offered load, in multiples of what this host was found to carry (with --rate: of that rate)
    #[arg(long, value_name = "FACTORS", default_value = "0.25,0.5,1,1.5,2,3,5")]
    pub steps: Steps,
    /// Visits a second of step 1, instead of finding out what the host carries; with --target 20 unless said otherwise
    #[arg(long, value_name = "VISITS")]
    pub rate: Option<f64>,
    /// Write the report to this file (one HTML page, nothing loaded from elsewhere)
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write the proposed settings to this file, for `conf.d` beside the settings file
    #[arg(long, value_name = "FILE")]
    pub proposal: Option<PathBuf>,
    /// Keep the scratch copy of the data, with the log of its server
    #[arg(long, conflicts_with = "target")]
    pub keep: bool,
    /// Do not ask before the storm begins
    #[arg(long)]
    pub yes: bool,
    /// Drive the storm against this address instead of a copy on this host, over the public way, with accounts that are marked
    #[arg(long, value_name = "URL", requires_all = ["game", "package", "key", "secret_file"])]
    pub target: Option<String>,
    /// Game the players play; without --target a game of the copy [default there: one that is made for the rehearsal]
    #[arg(long, value_name = "ID")]
    pub game: Option<GameId>,
    /// With --target: package the players have
    #[arg(long, value_name = "ID", requires = "target")]
    pub package: Option<PackageId>,
    /// With --target: server key that signs the token checks
    #[arg(long, value_name = "ID", requires = "target")]
    pub key: Option<KeyId>,
    /// With --target: file with the secret of that key, `-` for stdin
    #[arg(long, value_name = "FILE", requires = "target")]
    pub secret_file: Option<PathBuf>,
}
