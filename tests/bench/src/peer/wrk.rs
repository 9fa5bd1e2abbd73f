//! wrk, for checking our own generator against another one.

use std::net::SocketAddr;
use std::time::Duration;

use seawall_tests::server::Failure;

use crate::machine::LOADER_CPU;
use crate::process::output;

/// GETs a second of a closed loop over kept connections.
///
/// # Errors
/// When wrk fails or prints no rate.
pub fn rate(address: SocketAddr, connections: usize, span: Duration) -> Result<f64, Failure> {
    let arguments = [
        "-t1".to_owned(),
        format!("-c{connections}"),
        format!("-d{}s", span.as_secs().max(1)),
        format!("http://{address}/"),
    ];
    let text = output(&LOADER_CPU.to_string(), "wrk", &arguments)?;
    parse(&text).ok_or_else(|| format!("wrk printed no rate: {text}").into())
}

fn parse(text: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_rate_is_found() {
        assert_eq!(
            super::parse("  1 threads\nRequests/sec:  158843.19\nTransfer/sec: 1MB\n"),
            Some(158_843.19)
        );
        assert_eq!(super::parse("unable to connect"), None);
    }
}
