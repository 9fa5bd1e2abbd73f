//! What guest registration and refresh have in common: a durable operation beside the store alone with the same rows and beside
//! Redis, and its latency at half load beside the store's own sync.

use seawall_tests::server::Failure;

use crate::bench::{Bench, Figures, each};
use crate::load::{Arrival, Callers, Plan};
use crate::machine::SERVER_CPU;
use crate::peer::redis::{Durability, Redis};
use crate::process::{figure, part_figures};
use crate::report::{Row, median};
use crate::seawall::Seawall;

/// Callers at once.
pub const CALLERS: usize = 64;
/// Share of the peak that is offered for the latency.
const LOAD: f64 = 0.5;
/// Value of a Redis SET, its benchmark's default.
const SET_BYTES: usize = 3;

/// Makes the callers of the run with this number.
pub type MakeCallers = dyn Fn(&Seawall, u64) -> Result<Box<dyn Callers>, Failure>;

/// An operation to be measured.
pub struct Durable<'a> {
    /// The scenario.
    pub name: &'static str,
    /// The operation as the store's part knows it.
    pub part: &'static str,
    /// Goal beside Redis.
    pub redis_share: f64,
    /// Fresh callers for a run of this number.
    pub callers: &'a MakeCallers,
}

/// Measures it.
pub fn measure(bench: &Bench, durable: &Durable<'_>) -> Result<Vec<Row>, Failure> {
    let ((own, stores, sets, late, syncs), sync) = bench.between_syncs(|| runs(bench, durable))?;
    let name = durable.name;
    let stores_rate = stores
        .iter()
        .map(|run| figure(run, "rate"))
        .collect::<Result<Vec<_>, _>>()?;
    let first = stores.first().ok_or("no run of the store")?;
    let about_store = format!(
        "{:.0} bytes a transaction, {:.0} transactions a sync",
        figure(first, "bytes_per_transaction")?,
        figure(first, "transactions_per_sync")?
    );
    let rate = || Row::of(name, "rate", "requests/s", &each(&own, |run| run.rate)).synced(sync.p50_us);
    let p99 = Row::of(name, "p99 at half load", "us", &each(&late, |run| run.p99_us));
    let all: Vec<Figures> = own.iter().chain(&late).cloned().collect();
    Ok(vec![
        rate()
            .beside("the store alone, same rows", &stores_rate)
            .at_least_times_peer(0.5)
            .note(&about_store),
        rate()
            .beside("Redis SET, AOF always", &sets)
            .at_least_times_peer(durable.redis_share),
        Row::of(name, "server CPU", "CPU-us/request", &each(&own, |run| run.cpu_us)).synced(sync.p50_us),
        p99.synced(sync.p50_us)
            .beside("p99 of the store's own sync", &syncs)
            .at_most_times_peer(8.0)
            .note(&format!("offered {:.0}/s", median(&each(&own, |run| run.rate)) * LOAD))
            .voids(&late),
        Row::of(name, "p50 at half load", "us", &each(&late, |run| run.p50_us)).synced(sync.p50_us),
        Row::failures(name, &all),
    ])
}

type Runs = (Vec<Figures>, Vec<serde_json::Value>, Vec<f64>, Vec<Figures>, Vec<f64>);

fn runs(bench: &Bench, durable: &Durable<'_>) -> Result<Runs, Failure> {
    let seawall = Seawall::start(bench, &[])?;
    let redis = Redis::start(bench, Durability::AofAlways)?;
    let (mut own, mut stores, mut sets, mut late, mut syncs) = (vec![], vec![], vec![], vec![], vec![]);
    for round in 0..bench.runs as u64 {
        let mut callers = (durable.callers)(&seawall, round * 2)?;
        let plan = Plan::closed(seawall.target(), CALLERS, bench.span);
        own.push(bench.measure(&plan, callers.as_mut(), seawall.pid())?);
        stores.push(store_alone(bench, durable.part)?);
        sets.push(redis.benchmark("set", CALLERS, SET_BYTES, bench.span)?);
        let rate = median(&each(&own, |run| run.rate)) * LOAD;
        let mut callers = (durable.callers)(&seawall, round * 2 + 1)?;
        let arrival = Arrival::Poisson { rate, seed: round };
        let before = seawall.syncs()?;
        late.push(bench.measure(
            &Plan::open(seawall.target(), CALLERS, arrival, bench.span),
            callers.as_mut(),
            seawall.pid(),
        )?);
        syncs.push(seawall.syncs()?.since(&before).quantile(0.99) * 1e6);
    }
    Ok((own, stores, sets, late, syncs))
}

fn store_alone(bench: &Bench, operation: &str) -> Result<serde_json::Value, Failure> {
    let folder = bench.scratch()?;
    let arguments = [
        "store".to_owned(),
        operation.to_owned(),
        folder.path().join("data").display().to_string(),
        bench.span.as_secs_f64().to_string(),
        CALLERS.to_string(),
    ];
    part_figures(&SERVER_CPU.to_string(), &arguments)
}
