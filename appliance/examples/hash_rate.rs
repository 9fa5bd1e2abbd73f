//! How many password hashes a thread of the pool does beside a bare loop that keeps its memory, in turns on the same cores:
//! `cargo run --release -p seawall-appliance --example hash_rate`.
#![expect(clippy::print_stdout, reason = "a tool for people")]
#![expect(clippy::expect_used, reason = "a tool that may end with a message")]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use seawall_appliance::hash_pool::{HashPoolOptions, HashThreads};
use seawall_domain::ports::{HashAsk, HashMemory, HashOutcome, HashPool};
use seawall_domain::{HashCost, password};
use seawall_storage::block_on;

const ROUNDS: u32 = 10;
const ROUND: Duration = Duration::from_secs(1);
/// Jobs that wait or run at any time, so that the thread never lacks one.
const ASKED: usize = 8;

fn hash(number: u64, memory: &mut HashMemory) -> String {
    let salt = u128::from(number).to_be_bytes();
    password::hash("difference", &salt, HashCost::default(), memory).expect("a hash")
}

/// Hashes done, the time and the processor time of the process that they took.
#[derive(Default)]
struct Sum {
    done: u64,
    took: Duration,
    cpu: Duration,
}

impl Sum {
    fn add(&mut self, round: impl FnOnce() -> u64) {
        let (begun, cpu_before) = (Instant::now(), cpu());
        self.done += round();
        self.took += begun.elapsed();
        self.cpu += cpu() - cpu_before;
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn rates(&self) -> (f64, f64) {
        let done = self.done as f64;
        (done / self.took.as_secs_f64(), done / self.cpu.as_secs_f64())
    }
}

fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(now).expect("a processor time")
}

/// Hashes done in a round.
fn bare(memory: &mut HashMemory) -> u64 {
    let (begun, mut done) = (Instant::now(), 0);
    while begun.elapsed() < ROUND {
        std::hint::black_box(hash(done, memory));
        done += 1;
    }
    done
}

fn pooled(pool: &HashThreads) -> u64 {
    let (begun, mut asked, mut number) = (Instant::now(), VecDeque::new(), 0);
    while begun.elapsed() < ROUND {
        while asked.len() < ASKED {
            number += 1;
            let job = move |memory: &mut HashMemory| HashOutcome::Hashed(hash(number, memory));
            asked.push_back(pool.run(HashAsk {
                tenant: 1,
                deadline_ms: None,
                job: Box::new(job),
            }));
        }
        if let Some(oldest) = asked.pop_front() {
            block_on(oldest).expect("a hash");
        }
    }
    for rest in asked {
        block_on(rest).expect("a hash");
    }
    number
}

fn main() {
    let pool = HashThreads::start(HashPoolOptions {
        threads: 1,
        deadline: Duration::from_secs(10),
        permitted_wait: None,
        cost: HashCost::default(),
    });
    let (pool, mut memory) = (pool.expect("a thread"), HashMemory::for_cost(HashCost::default()));
    let (mut in_loop, mut in_pool) = (Sum::default(), Sum::default());
    for _ in 0..ROUNDS {
        in_loop.add(|| bare(&mut memory));
        in_pool.add(|| pooled(&pool));
    }
    let (loop_rate, loop_cpu_rate) = in_loop.rates();
    let (pool_rate, pool_cpu_rate) = in_pool.rates();
    println!(
        "a second: bare loop {loop_rate:.1}, pool {pool_rate:.1}: {:.3}; a second of processor time: {loop_cpu_rate:.1}, {pool_cpu_rate:.1}: {:.3}",
        pool_rate / loop_rate,
        pool_cpu_rate / loop_cpu_rate
    );
}
