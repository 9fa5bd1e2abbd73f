//! Password hashes of our own: Argon2id in the PHC string format, at the parameters given when the platform opens.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Limits for records of other programmes, so that no import can make one login take the machine.
const FOREIGN_MEMORY_MAX_KIB: u32 = 256 * 1024;
const FOREIGN_PASSES_MAX: u32 = 16;
const FOREIGN_LANES_MAX: u32 = 16;

/// Cost of a new hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashCost {
    /// Memory in KiB, 8 to 262,144.
    pub memory_kib: u32,
    /// Passes over the memory, 1 to 16.
    pub passes: u32,
    /// Lanes, 1 to 16.
    pub lanes: u32,
}

impl Default for HashCost {
    /// 19 MiB, 2 passes, 1 lane: the smallest set that is recommended for servers, about 20 ms of one core.
    fn default() -> Self {
        Self {
            memory_kib: 19 * 1024,
            passes: 2,
            lanes: 1,
        }
    }
}

/// The memory Argon2 works in, kept from hash to hash by the thread that owns it: zeroed pages from the system cost about
/// a fifth of a hash. What a hash leaves in it is overwritten by the next, or by [`HashMemory::wipe`] when none comes.
pub struct HashMemory {
    blocks: Vec<Block>,
    /// Blocks of 1 KiB that are kept; more are taken for a foreign record and given back after it.
    kept_blocks: usize,
    is_used: bool,
}

impl HashMemory {
    /// Memory that keeps what hashes of this cost need. Nothing is taken before the first hash.
    #[must_use]
    pub fn for_cost(cost: HashCost) -> Self {
        Self {
            blocks: Vec::new(),
            kept_blocks: usize::try_from(cost.memory_kib.min(FOREIGN_MEMORY_MAX_KIB)).unwrap_or(0),
            is_used: false,
        }
    }

    /// Whether a hash left something in it since the last wipe.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.is_used
    }

    /// Overwrites all of it with zeros; takes about a fiftieth of the time of a hash.
    pub fn wipe(&mut self) {
        self.blocks.fill(Block::new());
        self.is_used = false;
    }

    /// Bytes taken now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.blocks.capacity() * Block::SIZE
    }

    fn derive(
        &mut self,
        argon2: &Argon2<'_>,
        password: &str,
        salt: &[u8],
        out: &mut [u8],
    ) -> Result<(), argon2::Error> {
        let (count, lanes) = (argon2.params().block_count(), argon2.params().p_cost());
        if self.blocks.len() < count {
            // Freed first, so that both are never there at once.
            self.blocks = Vec::new();
            self.blocks.resize(count.max(self.kept_blocks), Block::new());
        }
        self.is_used = true;
        let blocks = self.blocks.get_mut(..count).unwrap_or_default();
        let done = argon2.hash_password_into_with_memory(password.as_bytes(), salt, out, &mut *blocks);
        // The result is computed from the last block of each lane alone, so these do not stay until the next hash.
        let lane_blocks = (count / usize::try_from(lanes).unwrap_or(1).max(1)).max(1);
        for lane in blocks.chunks_exact_mut(lane_blocks) {
            if let Some(last) = lane.last_mut() {
                *last = Block::new();
            }
        }
        if self.blocks.len() > self.kept_blocks {
            self.blocks.truncate(self.kept_blocks);
            self.blocks.shrink_to_fit();
        }
        done
    }
}

/// Hashes a new password. Slow: run it on the hash pool.
///
/// # Errors
/// The cost is outside its limits.
pub fn hash(
    password: &str,
    salt: &[u8; SALT_BYTES],
    cost: HashCost,
    memory: &mut HashMemory,
) -> Result<String, &'static str> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(HASH_BYTES))
        .map_err(|_| "hash cost is outside its limits")?;
    let mut out = Zeroizing::new([0; HASH_BYTES]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    memory
        .derive(&argon2, password, salt, &mut *out)
        .map_err(|_| "hashing failed")?;
    let HashCost {
        memory_kib,
        passes,
        lanes,
    } = cost;
    Ok(format!(
        "$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${}${}",
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(*out)
    ))
}

/// A PHC string taken apart.
#[derive(Debug)]
pub(crate) struct Phc {
    algorithm: Algorithm,
    version: Version,
    cost: HashCost,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

/// Reads a PHC string of Argon2i, Argon2d or Argon2id within the limits for foreign records.
pub(crate) fn parse_phc(text: &str) -> Result<Phc, &'static str> {
    const DAMAGED: &str = "argon2 record is damaged";
    if text.len() > 512 {
        return Err(DAMAGED);
    }
    let mut parts = text.strip_prefix('$').ok_or("hash is not an argon2 record")?.split('$');
    let algorithm = match parts.next() {
        Some("argon2id") => Algorithm::Argon2id,
        Some("argon2i") => Algorithm::Argon2i,
        Some("argon2d") => Algorithm::Argon2d,
        _ => return Err("hash is not an argon2 record"),
    };
    let mut next = parts.next().ok_or(DAMAGED)?;
    let version = match next.strip_prefix("v=") {
        None => Version::V0x10,
        Some(number) => {
            next = parts.next().ok_or(DAMAGED)?;
            if number == "19" { Version::V0x13 } else { Version::V0x10 }
        }
    };
    let cost = parse_cost(next).ok_or(DAMAGED)?;
    let (Some(salt), Some(hash), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(DAMAGED);
    };
    let decode = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| DAMAGED);
    let phc = Phc {
        algorithm,
        version,
        cost,
        salt: decode(salt)?,
        hash: decode(hash)?,
    };
    if cost.memory_kib > FOREIGN_MEMORY_MAX_KIB || cost.passes > FOREIGN_PASSES_MAX || cost.lanes > FOREIGN_LANES_MAX {
        return Err("argon2 cost is above 256 MiB, 16 passes or 16 lanes");
    }
    if !(4..=64).contains(&phc.hash.len()) || !(8..=64).contains(&phc.salt.len()) {
        return Err(DAMAGED);
    }
    Ok(phc)
}

fn parse_cost(text: &str) -> Option<HashCost> {
    let mut cost = HashCost {
        memory_kib: 0,
        passes: 0,
        lanes: 0,
    };
    for pair in text.split(',') {
        let (name, number) = pair.split_once('=')?;
        let number = number.parse().ok()?;
        match name {
            "m" => cost.memory_kib = number,
            "t" => cost.passes = number,
            "p" => cost.lanes = number,
            _ => return None,
        }
    }
    Some(cost)
}

/// Whether `password` gives the PHC string `record`. Slow: run it on the hash pool.
///
/// # Errors
/// The record cannot be used, and why; holds no secret.
pub fn check_phc(password: &str, record: &str, memory: &mut HashMemory) -> Result<bool, &'static str> {
    let phc = parse_phc(record)?;
    let params = Params::new(
        phc.cost.memory_kib,
        phc.cost.passes,
        phc.cost.lanes,
        Some(phc.hash.len()),
    )
    .map_err(|_| "argon2 cost is impossible")?;
    let mut out = Zeroizing::new(vec![0; phc.hash.len()]);
    memory
        .derive(
            &Argon2::new(phc.algorithm, phc.version, params),
            password,
            &phc.salt,
            &mut out,
        )
        .map_err(|_| "argon2 record cannot be computed")?;
    Ok(out.ct_eq(&phc.hash).into())
}

/// Whether a PHC string was made at another cost than today's, so that the next login should renew it.
#[must_use]
pub(crate) fn is_outdated(record: &str, cost: HashCost) -> bool {
    parse_phc(record).map_or(true, |phc| {
        phc.cost != cost || phc.algorithm != Algorithm::Argon2id || phc.version != Version::V0x13
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHEAP: HashCost = HashCost {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };

    #[test]
    fn a_hash_checks_its_own_password_only() {
        let mut memory = HashMemory::for_cost(CHEAP);
        let record = hash("secret 密码", &[3; 16], CHEAP, &mut memory).unwrap();
        assert!(record.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{record}");
        assert_eq!(check_phc("secret 密码", &record, &mut memory), Ok(true));
        assert_eq!(check_phc("secret 密", &record, &mut memory), Ok(false));
        assert_ne!(record, hash("secret 密码", &[4; 16], CHEAP, &mut memory).unwrap());
    }

    #[test]
    fn memory_is_kept_and_what_a_foreign_record_took_is_given_back() {
        let mut memory = HashMemory::for_cost(CHEAP);
        assert_eq!((memory.bytes(), memory.is_used()), (0, false));
        let record = hash("x", &[1; 16], CHEAP, &mut memory).unwrap();
        let (place, bytes) = (memory.blocks.as_ptr(), memory.bytes());
        assert_eq!((bytes, memory.is_used()), (64 << 10, true));
        for _ in 0..3 {
            assert_eq!(check_phc("x", &record, &mut memory), Ok(true));
            assert_eq!((memory.blocks.as_ptr(), memory.bytes()), (place, bytes));
        }
        let larger = HashCost {
            memory_kib: 512,
            passes: 2,
            lanes: 2,
        };
        let foreign = hash("x", &[1; 16], larger, &mut memory).unwrap();
        assert_eq!(memory.bytes(), bytes);
        assert_eq!(check_phc("x", &foreign, &mut memory), Ok(true));
        assert_eq!(check_phc("y", &foreign, &mut memory), Ok(false));
        assert_eq!(memory.bytes(), bytes);
        assert_eq!(check_phc("x", &record, &mut memory), Ok(true));
    }

    #[test]
    fn hashes_are_those_of_fresh_memory_whatever_was_left_in_it() {
        let costs = [(8, 1, 1), (64, 2, 1), (64, 1, 4), (32, 3, 2)];
        let mut kept = HashMemory::for_cost(CHEAP);
        for (memory_kib, passes, lanes) in costs.into_iter().chain(costs) {
            let cost = HashCost {
                memory_kib,
                passes,
                lanes,
            };
            let fresh = hash("x", &[1; 16], cost, &mut HashMemory::for_cost(cost));
            assert_eq!(hash("x", &[1; 16], cost, &mut kept), fresh);
        }
    }

    #[test]
    fn nothing_stays_that_gives_the_result_away_and_a_wipe_leaves_nothing() {
        let mut memory = HashMemory::for_cost(CHEAP);
        hash("x", &[1; 16], CHEAP, &mut memory).unwrap();
        let is_zero = |block: &Block| block.as_ref().iter().all(|word| *word == 0);
        assert!(is_zero(memory.blocks.last().unwrap()));
        assert!(!is_zero(memory.blocks.first().unwrap()));
        memory.wipe();
        assert!(memory.blocks.iter().all(is_zero) && !memory.is_used());
        assert_eq!(memory.bytes(), 64 << 10);
    }

    #[test]
    fn the_default_cost_is_the_recommended_one() {
        let mut memory = HashMemory::for_cost(HashCost::default());
        let record = hash("x", &[1; 16], HashCost::default(), &mut memory).unwrap();
        assert!(record.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{record}");
        assert!(!is_outdated(&record, HashCost::default()));
        assert!(is_outdated(&record, CHEAP));
        assert!(is_outdated("junk", CHEAP));
    }

    #[test]
    fn impossible_costs_are_refused() {
        let mut memory = HashMemory::for_cost(CHEAP);
        assert!(
            hash(
                "x",
                &[1; 16],
                HashCost {
                    memory_kib: 1,
                    passes: 0,
                    lanes: 1
                },
                &mut memory
            )
            .is_err()
        );
        for bad in [
            "$argon2id$v=19$m=0,t=0,p=0$c29tZXNhbHQ$nf65EOgLrQMR",
            "$argon2id$v=19$m=999999999,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR",
            "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR$more",
            "$argon2id$v=19$x=1$c29tZXNhbHQ$nf65EOgLrQMR",
            "$scrypt$v=19$m=64,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR",
            "$argon2id$v=19$m=64,t=1,p=1$cw$nf65EOgLrQMR",
            "",
        ] {
            assert!(check_phc("x", bad, &mut memory).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn reading_a_record_never_panics(text in "[$a-z0-9=,]{0,80}") {
            let _ = parse_phc(&text);
            let _ = parse_phc(&format!("$argon2id${text}"));
        }
    }
}
