//! Full TLS handshakes beside nginx's, and whether clients resume after a restart.

use seawall_tests::server::Failure;

use super::Scenario;
use super::verify_hot::answer_bytes;
use crate::bench::{Bench, each};
use crate::calls::{Prepared, is_valid};
use crate::load::{Handshakes, Life, NoMeter, Plan, Target, TlsClient, run as run_load};
use crate::peer::nginx::Nginx;
use crate::report::Row;
use crate::seawall::Seawall;

const NAME: &str = "tls-handshake";
const CONNECTIONS: usize = 32;
const SOURCES: u8 = 32;
/// Players who were there before the restart.
const CLIENTS: usize = 300;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "TLS 1.3, X25519, ECDSA P-256: connect, full handshake, close, 32 at a time; accepting and closing are in the figure for both. Then \
            300 clients with a ticket each come back after the server was restarted.",
    ideas: &[(
        "server CPU",
        "X25519 and the signature are aws-lc's; above nginx are the tasks and buffers of a connection and the ticket sealed after each \
         handshake (perf). Next: a bare tokio-rustls accept loop as a second peer, to tell the library's share from ours.",
    )],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let mut seawall = Seawall::start(bench, &[])?;
    let nginx = Nginx::start(bench, answer_bytes(&seawall)?)?;
    let (mut own, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        let shake = |target: Target, pid| {
            let plan = Plan::closed(target.with_sources(SOURCES), CONNECTIONS, bench.span).with_life(Life::Handshake);
            bench.measure(&plan, &mut Prepared::new(&[], is_valid), pid)
        };
        own.push(shake(seawall.tls_target(false), seawall.pid())?);
        peer.push(shake(nginx.tls_target(false), nginx.pid())?);
    }
    let resumed = resumed_after_restart(&mut seawall)?;
    let cpu = Row::of(
        NAME,
        "server CPU, full handshake",
        "CPU-us/handshake",
        &each(&own, |run| run.cpu_us),
    );
    let rate = Row::of(
        NAME,
        "rate, full handshake",
        "handshakes/s",
        &each(&own, |run| run.rate),
    );
    Ok(vec![
        cpu.beside("nginx", &each(&peer, |run| run.cpu_us))
            .at_most_times_peer(1.0),
        rate.beside("nginx", &each(&peer, |run| run.rate))
            .note("the loader's side of a handshake costs more than the server's"),
        Row::of(NAME, "resumed after a restart", "share", &[resumed]).at_least(0.99),
        Row::failures(NAME, &own),
    ])
}

/// The share of clients that resume with the ticket they got before the restart.
fn resumed_after_restart(seawall: &mut Seawall) -> Result<f64, Failure> {
    let clients: Vec<_> = (0..CLIENTS).map(|_| TlsClient::new(b"http/1.1", true)).collect();
    let players = seawall.players(1)?;
    let before = visit(seawall, &clients, &seawall.verifies(&players)?)?;
    if before.full != CLIENTS as u64 {
        return Err(format!("fresh clients shook hands {before:?}").into());
    }
    seawall.restart(|_| Ok(()))?;
    let after = visit(seawall, &clients, &seawall.verifies(&players)?)?;
    Ok(after.resumed as f64 / CLIENTS as f64)
}

fn visit(seawall: &Seawall, clients: &[TlsClient], requests: &[Vec<u8>]) -> Result<Handshakes, Failure> {
    let mut sum = Handshakes::default();
    for client in clients {
        let target = Target {
            tls: Some(client.clone()),
            ..Target::plain(seawall.tls)
        };
        let plan = Plan::exactly(target, 1, 1).with_life(Life::PerCall);
        let outcome = run_load(&plan, &mut Prepared::new(requests, is_valid), &mut NoMeter)?;
        if outcome.ok != 1 {
            return Err(format!("a client was not served: {:?}", outcome.examples).into());
        }
        sum.full += outcome.handshakes.full;
        sum.resumed += outcome.handshakes.resumed;
    }
    Ok(sum)
}
