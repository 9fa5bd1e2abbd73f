//! Writes a file of generated accounts, for rehearsing an import: `generate-accounts --count 1000000 > accounts.ndjson`.

use std::io::{self, BufWriter};

use clap::Parser;
use seawall_tests::accounts::{Plan, write};

/// Writes accounts as an old platform would export them; the password of uid N is `pass-N-word`.
#[derive(Parser)]
struct Arguments {
    /// Number of accounts.
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// First uid.
    #[arg(long, default_value_t = 1)]
    first_uid: u64,
    /// Seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Comma-separated values instead of NDJSON.
    #[arg(long)]
    csv: bool,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let plan = Plan {
        count: arguments.count,
        first_uid: arguments.first_uid,
        seed: arguments.seed,
        csv: arguments.csv,
    };
    write(plan, &mut BufWriter::with_capacity(1 << 20, io::stdout().lock()))
}
