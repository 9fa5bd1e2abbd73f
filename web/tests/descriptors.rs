//! A process out of file descriptors: the accept loop counts the failure, lets one waiting client go by its spare
//! descriptor, and serves on as soon as there is room again. Alone in its binary, since the limit is the process's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of a test fail by panicking")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seawall_domain::testing::World;
use seawall_web::{
    App, AppOptions, BoundAddress, Check, Host, HostAnswer, HttpMetrics, Limits, Listener, ListenerConfig, Server,
    Startup, Surface, Version,
};
use socket2::{Domain, Socket, Type};

struct Well;

impl Host for Well {
    fn status(&self) -> HostAnswer {
        Box::pin(async { Ok(serde_json::Value::Null) })
    }
    fn store_stats(&self) -> HostAnswer {
        self.status()
    }
    fn store_verify(&self) -> HostAnswer {
        self.status()
    }
    fn store_copy(&self) -> HostAnswer {
        self.status()
    }
    fn backup_create(&self) -> HostAnswer {
        self.status()
    }
    fn backup_drill(&self) -> HostAnswer {
        self.status()
    }
    fn backup_show(&self) -> HostAnswer {
        self.status()
    }
    fn config_show(&self) -> HostAnswer {
        self.status()
    }
    fn platform_stop(&self) -> HostAnswer {
        self.status()
    }
    fn is_alive(&self) -> bool {
        true
    }
    fn readiness(&self) -> Vec<Check> {
        Vec::new()
    }
    fn startup(&self) -> Startup {
        Startup {
            is_done: true,
            progress_percent: 100,
            phase: String::new(),
            ..Startup::default()
        }
    }
    fn version(&self) -> Version {
        Version {
            version: String::new(),
            commit: String::new(),
            target: String::new(),
        }
    }
}

/// Chance that is none: request ids repeat, which nothing here looks at.
struct Same;

impl seawall_domain::ports::Entropy for Same {
    fn fill(&self, out: &mut [u8]) {
        out.fill(7);
    }
}

fn metric(registry: &Registry, name: &str) -> f64 {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with(name))
        .and_then(|line| line.rsplit(' ').next());
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// The number the next descriptor would have; with a limit of as many there is none.
fn next_descriptor() -> u64 {
    let probe = std::fs::File::open("/dev/null").unwrap();
    u64::try_from(probe.as_raw_fd()).unwrap()
}

fn is_answered(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut answer = [0; 12];
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer == *b"HTTP/1.1 200"
}

#[test]
fn running_out_of_descriptors_is_survived() {
    let world = World::new().unwrap();
    let mut registry = Registry::default();
    let metrics = HttpMetrics::register(&mut registry);
    let registry = Arc::new(registry);
    let app = App::new(AppOptions {
        platform: world.platform.clone(),
        host: Arc::new(Well),
        clock: world.clock.clone(),
        entropy: Arc::new(Same),
        metrics,
        registry: Arc::clone(&registry),
        limits: Limits::default(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let config = ListenerConfig::new("test", "127.0.0.1:0".parse().unwrap(), &[Surface::Ops]);
    let server = Server::start(
        vec![Listener::bind(config).unwrap()],
        app,
        &tokio::runtime::Handle::current(),
    )
    .unwrap();
    let BoundAddress::Tcp(address) = server.local_addresses()[0].1.clone() else {
        panic!("a TCP listener")
    };
    assert!(is_answered(address));

    // What is still closing would be room later.
    let patience = Instant::now() + Duration::from_secs(20);
    while server.open_connections() > 0 {
        assert!(Instant::now() < patience, "the first connection is not closed");
        std::thread::yield_now();
    }
    // The clients' sockets exist before the limit falls, so that only the server lacks descriptors.
    let clients: Vec<Socket> = (0..3)
        .map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap())
        .collect();
    let before = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(next_descriptor()),
            maximum: before.maximum,
        },
    )
    .unwrap();
    for client in &clients {
        client.connect(&address.into()).unwrap();
    }
    let patience = Instant::now() + Duration::from_secs(20);
    while metric(&registry, "seawall_accept_errors_total") < 1.0 {
        assert!(Instant::now() < patience, "no failure to accept was counted");
        std::thread::yield_now();
    }
    // Who waits is told, though there is no room for it: its connection ends by the spare descriptor.
    for mut client in clients {
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let told = client.read(&mut [0; 1]);
        let is_over = match &told {
            Ok(count) => *count == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        };
        assert!(is_over, "left waiting: {told:?}");
    }
    setrlimit(Resource::Nofile, before).unwrap();
    assert!(is_answered(address), "the listener stopped");
}
