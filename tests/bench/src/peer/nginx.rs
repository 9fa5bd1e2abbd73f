//! nginx with one worker, plain and TLS with a certificate of the same kind as ours: it answers a fixed body, or stands in front
//! of a server and lets through so much of each call.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use seawall_tests::server::Failure;
use tempfile::TempDir;

use super::{await_listener, free_address};
use crate::bench::Bench;
use crate::load::{Target, TlsClient};
use crate::process::Process;

/// Connections to the server behind that are kept while they are idle.
const UPSTREAM_KEPT: usize = 1_024;
/// Calls that pass at once when there was a pause, by the time in which they may come.
const BURST_S: f64 = 0.1;

/// How often a call passes, whoever makes it.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    /// Its method.
    pub method: &'static str,
    /// Its path.
    pub path: &'static str,
    /// Times a second.
    pub rate: f64,
}

/// A running nginx.
pub struct Nginx {
    process: Process,
    _folder: TempDir,
    plain: SocketAddr,
    tls: SocketAddr,
}

impl Nginx {
    /// Starts it; every request is answered 200 with so many bytes.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(bench: &Bench, answer_bytes: usize) -> Result<Self, Failure> {
        let body = "x".repeat(answer_bytes);
        let location = format!(r#"default_type application/json; return 200 "{body}";"#);
        Self::launch(bench, "", &location)
    }

    /// Starts it in front of a server: each call that is named passes at its rate, by `limit_req`; the others all pass. Its
    /// connections to the server are kept.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_limiting(bench: &Bench, server: SocketAddr, limits: &[RateLimit]) -> Result<Self, Failure> {
        let mut http = format!(
            "upstream server_behind {{ server {server}; keepalive {UPSTREAM_KEPT}; keepalive_requests 1000000000; }}\n"
        );
        let mut location = String::new();
        for (number, RateLimit { method, path, rate }) in limits.iter().enumerate() {
            let (rate, burst) = (rate.ceil().max(1.0), (rate * BURST_S).ceil().max(1.0));
            http.push_str(&format!(
                "map \"$request_method $uri\" $call_{number} {{ \"{method} {path}\" all; default \"\"; }}\n\
                 limit_req_zone $call_{number} zone=call_{number}:1m rate={rate}r/s;\n"
            ));
            location.push_str(&format!("limit_req zone=call_{number} burst={burst} nodelay; "));
        }
        location.push_str(
            "proxy_pass http://server_behind; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
             proxy_set_header Host $http_host;",
        );
        Self::launch(bench, &http, &location)
    }

    /// Starts it with so much of a configuration for all of HTTP and for the one location there is.
    fn launch(bench: &Bench, http: &str, location: &str) -> Result<Self, Failure> {
        let folder = bench.scratch()?;
        let (plain, tls) = (free_address()?, free_address()?);
        certificate(folder.path())?;
        let path = folder.path().join("nginx.conf");
        fs::write(
            &path,
            config(folder.path(), [plain, tls], [http, location], bench.files_max),
        )?;
        let arguments = [
            "-c",
            &path.display().to_string(),
            "-p",
            &folder.path().display().to_string(),
        ]
        .map(str::to_owned);
        let mut process = Process::start("nginx", &arguments)?;
        await_listener(&mut process, plain)?;
        Ok(Self {
            process,
            _folder: folder,
            plain,
            tls,
        })
    }

    /// Its master.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Plain HTTP to it.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::plain(self.plain)
    }

    /// TLS to it.
    #[must_use]
    pub fn tls_target(&self, tickets: bool) -> Target {
        Target {
            tls: Some(TlsClient::new(b"http/1.1", tickets)),
            ..Target::plain(self.tls)
        }
    }
}

/// A self-signed ECDSA P-256 pair, as the server makes one for itself.
fn certificate(folder: &Path) -> Result<(), Failure> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = rcgen::CertificateParams::new(names)?.self_signed(&key)?;
    fs::write(folder.join("cert.pem"), certificate.pem())?;
    fs::write(folder.join("key.pem"), key.serialize_pem())?;
    Ok(())
}

fn config(folder: &Path, [plain, tls]: [SocketAddr; 2], [http, location]: [&str; 2], files_max: u64) -> String {
    let folder = folder.display();
    let connections = files_max.saturating_sub(100).min(1_000_000);
    format!(
        r#"worker_processes 1; daemon off; user root; pid {folder}/nginx.pid; error_log {folder}/error.log;
worker_rlimit_nofile {files_max};
events {{ worker_connections {connections}; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; tcp_nodelay on;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
  ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519:prime256v1; ssl_session_tickets on;
  {http}
  server {{
    listen {plain} backlog=4096; listen {tls} ssl backlog=4096;
    location / {{ {location} }}
  }}
}}
"#
    )
}
