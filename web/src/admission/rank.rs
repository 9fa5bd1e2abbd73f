//! Who is let in when not everybody can be: each account or device has a rank that holds for an hour. Logging in again,
//! reconnecting or asking often changes nothing; with a rank drawn by session, players learn to log in again during
//! trouble, which is what makes an avalanche.

use std::net::IpAddr;

use seawall_domain::UnixMs;

/// Length of the time a rank holds, in milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// Ranks are below it: 128 buckets of 512, so that a fraction can be cut inside a bucket too.
pub const RANKS: u32 = 128 * 512;

/// Whose rank counts: the best known of these. All but the last come from the caller and are hints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The account a token names.
    Account(u64),
    /// The installation a header names.
    Device(&'a str),
    /// The client's address; of IPv6 the network of 64 bits, which one subscriber has.
    Address(IpAddr),
    /// The connection, or where a caller speaks for many players, the request.
    Number(u64),
    /// Whoever's turn it is in the waiting room: before all others.
    FirstInLine,
    /// Whoever must wait for those: behind all others.
    LastInLine,
}

/// The hour an instant lies in.
#[must_use]
pub fn hour(at: UnixMs) -> u64 {
    at / HOUR_MS
}

/// The subject's rank in an hour, below [`RANKS`]; nobody can choose theirs without the key.
#[must_use]
pub fn rank(key: &[u8; 32], hour: u64, subject: Subject<'_>) -> u32 {
    match subject {
        Subject::FirstInLine => 0,
        Subject::LastInLine => RANKS - 1,
        drawn => drawn_rank(key, hour, drawn),
    }
}

fn drawn_rank(key: &[u8; 32], hour: u64, subject: Subject<'_>) -> u32 {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&hour.to_be_bytes());
    match subject {
        Subject::Account(account) => hasher.update(b"a").update(&account.to_be_bytes()),
        Subject::Device(device) => hasher.update(b"d").update(device.as_bytes()),
        Subject::Address(IpAddr::V4(address)) => hasher.update(b"4").update(&address.octets()),
        Subject::Address(IpAddr::V6(address)) => {
            let network = u128::from_be_bytes(address.octets()) >> 64;
            hasher.update(b"6").update(&network.to_be_bytes())
        }
        Subject::Number(number) => hasher.update(b"n").update(&number.to_be_bytes()),
        // They draw none.
        Subject::FirstInLine | Subject::LastInLine => &mut hasher,
    };
    let hash = hasher.finalize();
    match hash.as_bytes().first_chunk::<2>() {
        Some(head) => u32::from(u16::from_be_bytes(*head)),
        None => 0,
    }
}

/// A fraction as the first rank that is not let in.
#[must_use]
pub(crate) fn threshold(fraction: f64) -> u32 {
    // In range by the clamp, and whole by the rounding.
    (fraction.clamp(0.0, 1.0) * f64::from(RANKS)).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const AT: u64 = 1_767_225_600_000;

    fn bucket(rank: u32) -> u32 {
        rank / 512
    }

    #[test]
    fn a_rank_holds_for_the_hour_and_changes_with_it() {
        let subject = Subject::Account(10_001);
        let this = rank(&KEY, hour(AT), subject);
        assert_eq!(this, rank(&KEY, hour(AT + HOUR_MS - 1), subject));
        let moved = (0..100)
            .filter(|account| {
                let at = |at| bucket(rank(&KEY, hour(at), Subject::Account(*account)));
                at(AT) != at(AT + HOUR_MS)
            })
            .count();
        assert!(moved > 90, "{moved} of 100 moved");
        assert_ne!(this, rank(&[8; 32], hour(AT), subject), "nobody knows theirs");
    }

    #[test]
    fn ranks_are_spread_evenly() {
        let in_first_half = (0..10_000)
            .filter(|account| bucket(rank(&KEY, 1, Subject::Account(*account))) < 64)
            .count();
        assert!((4_800..5_200).contains(&in_first_half), "{in_first_half}");
    }

    #[test]
    fn kinds_of_subjects_are_told_apart_and_an_ipv6_network_is_one() {
        let of = |subject| rank(&KEY, 1, subject);
        assert_ne!(of(Subject::Account(7)), of(Subject::Number(7)));
        let address = |text: &str| of(Subject::Address(text.parse().unwrap()));
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
    }

    #[test]
    fn the_first_in_line_passes_any_cut_but_the_whole_and_the_last_none() {
        let of = |subject| rank(&KEY, 1, subject);
        assert!(of(Subject::FirstInLine) < threshold(0.000_01));
        assert!(of(Subject::LastInLine) >= threshold(0.999_98));
        assert!(of(Subject::LastInLine) < RANKS, "without a cut everybody passes");
    }

    #[test]
    fn fractions_become_thresholds() {
        assert_eq!((threshold(0.0), threshold(1.0), threshold(2.0)), (0, RANKS, RANKS));
        assert_eq!(threshold(f64::NAN), 0);
        assert_eq!(bucket(RANKS - 1), 127);
    }
}
