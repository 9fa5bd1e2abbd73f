//! The grammar of `seawall backup …` and `seawall restore`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::instant::instant;

/// `seawall backup …`
#[derive(Debug, Subcommand)]
pub enum BackupVerb {
    /// Make a backup now
    Now,
    /// List the backups
    List,
    /// Show a backup, and up to where it can be brought forward
    Inspect {
        /// Which; the newest if left out
        id: Option<String>,
    },
    /// Check every signature and object, or a sample of the objects
    Verify {
        /// Read only so many objects, drawn at random
        #[arg(long, value_name = "N")]
        sample: Option<usize>,
    },
    /// Remove old backups and what only they needed
    Prune {
        /// Keep the newest so many [default: backup.keep_last]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        keep_last: Option<u32>,
        /// And all that are no older than so many days [default: backup.keep_days]
        #[arg(long, value_name = "D")]
        keep_days: Option<u64>,
    },
    /// Prove a restore: do one in a scratch directory and compare its digest
    Drill,
    /// Make a backup key
    Key {
        /// Write it to this file (mode 0600)
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// `seawall restore`
#[derive(Debug, Args)]
pub struct RestoreFlags {
    /// Where the backups are, as in backup.target [default: backup.target]
    #[arg(long, value_name = "TARGET")]
    pub from: Option<String>,
    /// The backup key [default: backup.key_file]
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// End at this instant: 2026-11-22T09:00:00Z, Unix milliseconds, or -2h from now
    #[arg(long, value_name = "TIME", value_parser = instant, conflicts_with = "lsn", allow_hyphen_values = true)]
    pub at: Option<u64>,
    /// End at exactly this lsn; with neither, at the end of the archive
    #[arg(long, value_name = "N")]
    pub lsn: Option<u64>,
    /// Begin with this backup [default: the newest before the point]
    #[arg(long, value_name = "ID")]
    pub base: Option<String>,
    /// Ignore what happened in later epochs: after an earlier restore
    #[arg(long, value_name = "N")]
    pub epoch: Option<u64>,
    /// The data directory to make; must be empty or not exist yet
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
    /// Also read everything again and print the digest of the content
    #[arg(long)]
    pub digest: bool,
}
