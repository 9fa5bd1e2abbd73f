//! PROXY protocol: how a load balancer tells whom it forwards for. Version 1 is a line of text, version 2 is binary.
//! The parsers are total functions of the bytes read so far, for tests and fuzzing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::config::ProxyProtocol;

/// Longest text header, with its line end.
const V1_MAX_BYTES: usize = 107;
/// What a binary header starts with.
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest binary header, with its extensions.
const V2_MAX_BYTES: usize = 4096;

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// Not enough yet.
    Partial,
    /// A header of so many bytes; the client it names, if it names one.
    Header {
        /// Client.
        client: Option<SocketAddr>,
        /// Length of the header.
        length: usize,
    },
    /// No header.
    Bad,
}

/// Reads a header of the given version; gives the client and what was read beyond the header.
pub async fn read_header<S>(stream: &mut S, version: ProxyProtocol) -> io::Result<(Option<SocketAddr>, Bytes)>
where
    S: AsyncRead + Unpin,
{
    let mut buffer = BytesMut::with_capacity(512);
    loop {
        match parse(version, &buffer) {
            Parsed::Header { client, length } => {
                let rest = buffer.split_off(length);
                return Ok((client, rest.freeze()));
            }
            Parsed::Bad => return Err(io::Error::new(io::ErrorKind::InvalidData, "no PROXY protocol header")),
            Parsed::Partial => {}
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Parses a header of the given version.
#[must_use]
pub fn parse(version: ProxyProtocol, bytes: &[u8]) -> Parsed {
    match version {
        ProxyProtocol::None => Parsed::Header {
            client: None,
            length: 0,
        },
        ProxyProtocol::V1 => parse_v1(bytes),
        ProxyProtocol::V2 => parse_v2(bytes),
    }
}

fn parse_v1(bytes: &[u8]) -> Parsed {
    let start = b"PROXY ";
    if !bytes.iter().zip(start).all(|(a, b)| a == b) {
        return Parsed::Bad;
    }
    let window = bytes.get(..V1_MAX_BYTES).unwrap_or(bytes);
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() >= V1_MAX_BYTES {
            Parsed::Bad
        } else {
            Parsed::Partial
        };
    };
    let line = bytes
        .get(start.len()..end)
        .and_then(|line| std::str::from_utf8(line).ok());
    match line.and_then(v1_client) {
        Some(client) => Parsed::Header {
            client,
            length: end + 2,
        },
        None => Parsed::Bad,
    }
}

/// `TCP4 source destination source-port destination-port`, or `UNKNOWN` and anything.
fn v1_client(line: &str) -> Option<Option<SocketAddr>> {
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let (source, destination): (IpAddr, IpAddr) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (port, to_port) = (v1_port(words.next()?)?, v1_port(words.next()?)?);
    let fits = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    let _ = to_port;
    (fits && words.next().is_none()).then(|| Some(SocketAddr::new(source.to_canonical(), port)))
}

fn v1_port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

fn parse_v2(bytes: &[u8]) -> Parsed {
    if !bytes.iter().zip(V2_SIGNATURE).all(|(a, b)| a == b) {
        return Parsed::Bad;
    }
    let Some((head, rest)) = bytes.split_at_checked(16) else {
        return Parsed::Partial;
    };
    let Some(&[version_and_command, family, high, low]) = head.get(12..16) else {
        return Parsed::Bad;
    };
    let body_length = usize::from(u16::from_be_bytes([high, low]));
    if version_and_command >> 4 != 2 || 16 + body_length > V2_MAX_BYTES {
        return Parsed::Bad;
    }
    let Some(body) = rest.get(..body_length) else {
        return Parsed::Partial;
    };
    let client = match (version_and_command & 15, family) {
        // LOCAL: the balancer's own health check.
        (0, _) => None,
        (1, 0x11) => v2_client::<4>(body, 8, |ip| Ipv4Addr::from(ip).into()),
        (1, 0x21) => v2_client::<16>(body, 32, |ip| Ipv6Addr::from(ip).into()),
        // PROXY for a family we cannot name (UDP, Unix): the client stays unnamed.
        (1, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => None,
        _ => return Parsed::Bad,
    };
    if matches!((version_and_command & 15, family), (1, 0x11 | 0x21)) && client.is_none() {
        return Parsed::Bad;
    }
    Parsed::Header {
        client,
        length: 16 + body_length,
    }
}

/// Source address first, source port at `port_at`.
fn v2_client<const N: usize>(body: &[u8], port_at: usize, ip: fn([u8; N]) -> IpAddr) -> Option<SocketAddr> {
    let source: [u8; N] = body.get(..N)?.try_into().ok()?;
    let port: [u8; 2] = body.get(port_at..port_at + 2)?.try_into().ok()?;
    // The destination port is part of the fixed block too.
    body.get(port_at + 2..port_at + 4)?;
    Some(SocketAddr::new(ip(source).to_canonical(), u16::from_be_bytes(port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ProxyProtocol::{V1, V2};
    use proptest::prelude::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = V2_SIGNATURE.to_vec();
        bytes.extend([0x20 | command, family]);
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn client(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn text_headers_name_the_client() {
        let table: &[(&str, Option<Option<SocketAddr>>)] = &[
            (
                "PROXY TCP4 192.0.2.7 10.0.0.1 40000 443\r\n",
                Some(client("192.0.2.7:40000")),
            ),
            ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", Some(client("[2001:db8::1]:1"))),
            ("PROXY UNKNOWN\r\n", Some(None)),
            ("PROXY UNKNOWN ff::1 x y z\r\n", Some(None)),
            ("PROXY TCP4 2001:db8::1 ::1 1 2\r\n", None),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 040 443\r\n", None),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 70000 443\r\n", None),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 40000\r\n", None),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n", None),
            ("PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n", None),
            ("GET / HTTP/1.1\r\n", None),
        ];
        for (line, expected) in table {
            let expected = expected.map_or(Parsed::Bad, |client| Parsed::Header {
                client,
                length: line.len(),
            });
            assert_eq!(parse(V1, line.as_bytes()), expected, "{line}");
        }
        assert_eq!(parse(V1, b"PROXY TCP4 192"), Parsed::Partial);
        assert_eq!(parse(V1, "PROXY UNKNOWN ".repeat(10).as_bytes()), Parsed::Bad);
    }

    #[test]
    fn binary_headers_name_the_client() {
        let mut body = [192, 0, 2, 7, 10, 0, 0, 1, 0x9c, 0x40, 1, 0xbb].to_vec();
        let whole = v2(1, 0x11, &body);
        assert_eq!(
            parse(V2, &whole),
            Parsed::Header {
                client: client("192.0.2.7:40000"),
                length: 28
            }
        );
        for cut in 0..whole.len() {
            assert_eq!(parse(V2, &whole[..cut]), Parsed::Partial, "{cut}");
        }
        body.extend([4, 0, 1, 0]);
        assert_eq!(
            parse(V2, &v2(1, 0x11, &body)),
            Parsed::Header {
                client: client("192.0.2.7:40000"),
                length: 32
            }
        );
        assert_eq!(
            parse(V2, &v2(0, 0, &[])),
            Parsed::Header {
                client: None,
                length: 16
            }
        );
        assert_eq!(parse(V2, &v2(1, 0x11, &body[..11])), Parsed::Bad);
        assert_eq!(parse(V2, &v2(2, 0x11, &body)), Parsed::Bad);
        assert_eq!(parse(V2, &v2(1, 0x11, &[0; 5000])), Parsed::Bad);
        assert_eq!(parse(V2, b"PROXY TCP4"), Parsed::Bad);
    }

    #[tokio::test]
    async fn what_follows_the_header_is_kept() {
        let mut stream: &[u8] = b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n";
        assert_eq!(
            read_header(&mut stream, V1).await.unwrap(),
            (None, "GET / HTTP/1.1\r\n".into())
        );
        assert!(read_header(&mut &b"PROXY TCP4"[..], V1).await.is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for version in [V1, V2] {
                if let Parsed::Header { length, .. } = parse(version, &bytes) {
                    prop_assert!(length <= bytes.len());
                }
            }
            let tail = [V2_SIGNATURE.as_slice(), &bytes].concat();
            let _ = parse(V2, &tail);
            let _ = parse(V1, &[b"PROXY TCP4 ".as_slice(), &bytes].concat());
        }
    }
}
