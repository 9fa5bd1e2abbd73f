//! The portable hashes of phpass (`$P$` and `$H$`): MD5 repeated 2^n times over hash and password, printed in the
//! crypt(3) alphabet, least significant bits first.

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Accepted exponents; phpass itself allows 7 to 30, of which 30 would block a thread for minutes.
const ROUNDS_LOG2: std::ops::RangeInclusive<usize> = 7..=20;

/// A record taken apart: exponent of the rounds, salt, printed hash.
pub(super) fn parse(record: &str) -> Result<(usize, &str, &str), &'static str> {
    let body = record
        .strip_prefix("$P$")
        .or_else(|| record.strip_prefix("$H$"))
        .ok_or("hash is not a phpass record")?;
    let (Some(cost), Some(salt), Some(hash)) = (body.bytes().next(), body.get(1..9), body.get(9..)) else {
        return Err("phpass record is cut short");
    };
    let rounds_log2 = ALPHABET
        .iter()
        .position(|symbol| *symbol == cost)
        .ok_or("phpass record is damaged")?;
    if !ROUNDS_LOG2.contains(&rounds_log2) {
        return Err("phpass rounds are outside 2^7 to 2^20");
    }
    if hash.len() != 22 || !hash.bytes().all(|b| ALPHABET.contains(&b)) {
        return Err("phpass record is damaged");
    }
    Ok((rounds_log2, salt, hash))
}

/// Whether `password` gives `record`.
pub(super) fn check(password: &str, record: &str) -> Result<bool, &'static str> {
    let (rounds_log2, salt, expected) = parse(record)?;
    let mut state = Md5::new().chain_update(salt).chain_update(password).finalize();
    for _ in 0..1u32 << rounds_log2 {
        state = Md5::new().chain_update(state).chain_update(password).finalize();
    }
    Ok(print(&state).as_bytes().ct_eq(expected.as_bytes()).into())
}

fn print(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(22);
    for three in bytes.chunks(3) {
        let number = three
            .iter()
            .rev()
            .fold(0u32, |number, byte| number << 8 | u32::from(*byte));
        for position in 0..=three.len() {
            let symbol = (number >> (6 * position)) & 63;
            text.extend(ALPHABET.get(symbol as usize).map(|symbol| char::from(*symbol)));
        }
    }
    text
}
