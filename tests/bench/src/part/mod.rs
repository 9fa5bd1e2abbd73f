//! What this program starts of itself, pinned: peers and measurements in process that are a few lines of Rust. Each prints one line,
//! an address or figures as JSON.

mod abuse;
mod argon2;
mod disk;
mod revocations;
mod segment;
mod store;

use std::path::PathBuf;

use clap::Subcommand;
use seawall_domain::{GameId, PackageId};
use seawall_tests::server::Failure;
use serde_json::json;

use crate::peer::hyper;
use crate::sessions::{self, Place, Players};

/// A part.
#[derive(Subcommand)]
pub enum Part {
    /// A bare hyper handler with the cryptography of a token check.
    Hyper {
        /// Secret of the server key.
        secret: String,
        /// Bytes of an answer.
        answer_bytes: usize,
    },
    /// Password hashes in a loop on one thread.
    Argon2 {
        /// For so long.
        seconds: f64,
    },
    /// The store alone with the rows of an operation.
    Store {
        /// Which rows.
        operation: store::Operation,
        /// Where, an empty directory.
        dir: PathBuf,
        /// For so long.
        seconds: f64,
        /// Writes kept waiting.
        in_flight: usize,
    },
    /// Token checks in process with so many revocations held.
    Revocations {
        /// How many.
        held: u64,
    },
    /// Abuse limits under a flood of so many keys, with players and abusers among them.
    Abuse {
        /// How many.
        keys: u64,
    },
    /// Appends to a segment log.
    Segment {
        /// Where, an empty directory.
        dir: PathBuf,
        /// For so long.
        seconds: f64,
        /// Groups of so many bytes, one being written while the next waits; as fast as it goes when not said.
        #[arg(long)]
        group_bytes: Option<usize>,
    },
    /// Opens sessions for every account of a data directory; says how many.
    Sessions {
        /// The data directory.
        data: PathBuf,
        /// Game.
        game_id: GameId,
        /// Package of the logins.
        package_id: PackageId,
        /// Sessions of an account.
        per_account: u64,
        /// Lowest uid of an account that gets some.
        first_uid: u64,
    },
    /// The disk alone: blocks appended and synced.
    Disk {
        /// Where.
        dir: PathBuf,
        /// For so long.
        seconds: f64,
        /// Bytes of a block.
        block_bytes: usize,
    },
}

/// Does it.
///
/// # Errors
/// What went wrong.
pub fn run(part: Part) -> Result<(), Failure> {
    let figures = match part {
        Part::Hyper { secret, answer_bytes } => return hyper::serve(&secret, answer_bytes),
        Part::Sessions {
            data,
            game_id,
            package_id,
            per_account,
            first_uid,
        } => {
            let players = Players { per_account, first_uid };
            json!(sessions::seed(&data, &Place { game_id, package_id }, players)?)
        }
        Part::Argon2 { seconds } => argon2::figures(seconds)?,
        Part::Store {
            operation,
            dir,
            seconds,
            in_flight,
        } => store::figures(operation, &dir, seconds, in_flight)?,
        Part::Revocations { held } => revocations::figures(held)?,
        Part::Abuse { keys } => abuse::figures(keys)?,
        Part::Segment {
            dir,
            seconds,
            group_bytes,
        } => segment::figures(&dir, seconds, group_bytes)?,
        Part::Disk {
            dir,
            seconds,
            block_bytes,
        } => disk::figures(&dir, seconds, block_bytes)?,
    };
    println!("{figures}");
    Ok(())
}
