//! What accounts that log in again and again cost the sequencer, by how often they have done so:
//! `cargo run --release -p seawall-domain --features testing --example login_rate`.
#![expect(clippy::print_stderr, reason = "a tool for people")]
#![expect(clippy::expect_used, reason = "a tool that may end with a message")]

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use seawall_domain::session::SessionCreate;
use seawall_domain::testing::{World, block_on, client, credential};

/// Accounts, all of which log in at the same time, so that they share syncs.
const ACCOUNTS: usize = 96;
/// Logins of each between two lines.
const ROUNDS: usize = 50;
const LINES: usize = 10;

/// Processor time of the sequencer's thread so far, in nanoseconds.
fn sequencer_ns() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("the kernel lists threads");
    let of = |path: &std::path::Path, name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
    tasks
        .flatten()
        .map(|task| task.path())
        .filter(|path| of(path, "comm").trim() == "store-seq")
        .filter_map(|path| of(&path, "schedstat").split(' ').next()?.parse::<u64>().ok())
        .sum()
}

fn round(world: &World) {
    let call = client();
    let mut logins = Vec::with_capacity(ACCOUNTS);
    for account in 0..ACCOUNTS {
        let name = format!("player{account}");
        let command = SessionCreate {
            game_id: world.game_id,
            credential: credential(&name),
            client: world.client_on(&format!("device-{name}")),
            create_if_missing: false,
            challenge_response: None,
        };
        let mut login: Pin<Box<_>> = Box::pin(world.platform.session_create(&call, command));
        let polled = login.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Pending), "a login waits for its sync");
        logins.push(login);
    }
    for login in logins {
        block_on(login).expect("a login");
    }
}

fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let world = World::on_disk(dir.path()).expect("a world");
    for account in 0..ACCOUNTS {
        world.register(&format!("player{account}")).expect("an account");
    }
    round(&world);
    for line in 1..=LINES {
        let before_ns = sequencer_ns();
        (0..ROUNDS).for_each(|_| round(&world));
        let each_ns = (sequencer_ns() - before_ns) / (ROUNDS * ACCOUNTS) as u64;
        eprintln!(
            "after {} logins of an account: {} us of the sequencer for each",
            line * ROUNDS,
            each_ns / 1_000
        );
    }
}
