//! A generator of account files as a PHP and MySQL platform exports them. The same seed gives the same file; every
//! account's password is [`password`] of its uid, so that a test can log any of them in.

use std::io::{self, Write};

use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

/// Pepper of the recipes that use one.
pub const PEPPER: &str = "old-platform-pepper";

/// Recipes in the mix, cheap ones first. The slow ones appear once in [`SLOW_EVERY`] accounts.
pub const RECIPES: &[&str] = &[
    "md5(password)",
    "md5(password+salt)",
    "md5(salt+password)",
    "md5(md5(password)+salt)",
    "sha1(password+salt)",
    "sha1(sha1(password)+salt)",
    "sha256(salt+password)",
    "sha256(password+salt+pepper)",
    "bcrypt",
    "phpass",
    "argon2",
];

const CHEAP: u64 = 8;

/// One account in so many has each of the slow recipes.
pub const SLOW_EVERY: u64 = 997;

/// What to write.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Number of accounts.
    pub count: u64,
    /// First uid.
    pub first_uid: u64,
    /// Seed of everything that varies.
    pub seed: u64,
    /// Comma-separated instead of one JSON object a line.
    pub csv: bool,
}

/// The password of an account.
#[must_use]
pub fn password(uid: u64) -> String {
    format!("pass-{uid}-word")
}

/// The username of an account.
#[must_use]
pub fn username(uid: u64) -> String {
    format!("player{uid}")
}

/// The recipe of an account.
#[must_use]
pub fn recipe(uid: u64) -> &'static str {
    let slow = RECIPES.len() as u64 - CHEAP;
    let place = if uid % SLOW_EVERY < slow {
        CHEAP + uid % SLOW_EVERY
    } else {
        uid % CHEAP
    };
    RECIPES
        .get(usize::try_from(place).unwrap_or(0))
        .copied()
        .unwrap_or("md5(password)")
}

/// Spreads a counter over 64 bits (the finaliser of splitmix64), so that equal seeds give equal files.
fn spread(seed: u64, uid: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ uid.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn md5(text: &str) -> String {
    hex(&Md5::digest(text.as_bytes()))
}

fn sha1(text: &str) -> String {
    hex(&Sha1::digest(text.as_bytes()))
}

fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// WordPress' portable hash: `$P$`, one character of log2 rounds, eight of salt, 22 of a base-64 of its own.
fn phpass(password: &str, log2_rounds: u32, salt8: &str) -> String {
    const ITOA: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut digest = Md5::digest([salt8.as_bytes(), password.as_bytes()].concat());
    for _ in 0..1_u32 << log2_rounds {
        digest = Md5::digest([digest.as_slice(), password.as_bytes()].concat());
    }
    let letter = |index: u32| char::from(ITOA.get((index & 63) as usize).copied().unwrap_or(b'.'));
    let mut text = format!("$P${}{salt8}", letter(log2_rounds));
    for group in digest.chunks(3) {
        let number = group.iter().rev().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        for place in 0..=group.len() {
            text.push(letter(number >> (6 * place)));
        }
    }
    text
}

fn argon2(password: &str, salt: &str) -> io::Result<String> {
    use argon2::password_hash::PasswordHasher;
    use argon2::{Algorithm, Argon2, Params, Version};
    let cheap = Params::new(64, 1, 1, None).map_err(io::Error::other)?;
    let made = Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap)
        .hash_password_with_salt(password.as_bytes(), salt.as_bytes())
        .map_err(io::Error::other)?;
    Ok(made.to_string())
}

/// The stored hash of `password` by `recipe`.
pub fn hash(recipe: &str, password: &str, salt: &str) -> io::Result<String> {
    Ok(match recipe {
        "md5(password)" => md5(password),
        "md5(password+salt)" => md5(&format!("{password}{salt}")),
        "md5(salt+password)" => md5(&format!("{salt}{password}")),
        "md5(md5(password)+salt)" => md5(&format!("{}{salt}", md5(password))),
        "sha1(password+salt)" => sha1(&format!("{password}{salt}")),
        "sha1(sha1(password)+salt)" => sha1(&format!("{}{salt}", sha1(password))),
        "sha256(salt+password)" => sha256(&format!("{salt}{password}")),
        "sha256(password+salt+pepper)" => sha256(&format!("{password}{salt}{PEPPER}")),
        "bcrypt" => bcrypt::hash(password, 4).map_err(io::Error::other)?,
        "phpass" => phpass(password, 8, salt),
        "argon2" => argon2(password, salt)?,
        other => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("unknown recipe {other}"),
            ));
        }
    })
}

const COLUMNS: &str = "uid,username,password,salt,password_recipe,phone,channel,channel_uid,register_at,register_ip,device,\
                       agent_id,site_id,banned,ban_reason,changed_at,vip_level,last_login_at";

/// Writes the file.
pub fn write(plan: Plan, out: &mut impl Write) -> io::Result<()> {
    if plan.csv {
        writeln!(out, "{COLUMNS}")?;
    }
    for uid in plan.first_uid..plan.first_uid + plan.count {
        write_line(plan, uid, out)?;
    }
    out.flush()
}

fn write_line(plan: Plan, uid: u64, out: &mut impl Write) -> io::Result<()> {
    let chance = spread(plan.seed, uid);
    let salt = &hex(&chance.to_be_bytes())[..8];
    let recipe = recipe(uid);
    let hash = hash(recipe, &password(uid), salt)?;
    let phone = if chance % 10 < 6 {
        format!("+861{:010}", uid % 10_000_000_000)
    } else {
        String::new()
    };
    let (channel, channel_uid) = if chance % 10 >= 7 {
        (chance % 40 + 1, format!("c{uid}"))
    } else {
        (0, String::new())
    };
    let register_at = 1_400_000_000_000 + chance % 360_000_000_000;
    let changed_at = register_at + chance % 10_000_000_000;
    let [a, b, c, ..] = chance.to_be_bytes();
    let ip = format!("10.{a}.{b}.{c}");
    let device = hex(&spread(plan.seed ^ 1, uid).to_be_bytes());
    let (agent, site, vip) = (chance % 90, chance % 500, chance % 13);
    let banned = chance.is_multiple_of(1000);
    let reason = if banned { "cheating" } else { "" };
    let username = username(uid);
    if plan.csv {
        let channel = if channel == 0 {
            String::new()
        } else {
            channel.to_string()
        };
        writeln!(
            out,
            "{uid},{username},{hash},{salt},{recipe},{phone},{channel},{channel_uid},{register_at},{ip},{device},{agent},{site},{},{reason},{changed_at},{vip},{changed_at}",
            u8::from(banned)
        )
    } else {
        write!(
            out,
            r#"{{"uid":{uid},"username":"{username}","password":"{hash}","salt":"{salt}","password_recipe":"{recipe}""#
        )?;
        if !phone.is_empty() {
            write!(out, r#","phone":"{phone}""#)?;
        }
        if channel != 0 {
            write!(out, r#","channel":"{channel}","channel_uid":"{channel_uid}""#)?;
        }
        if banned {
            write!(out, r#","banned":true,"ban_reason":"{reason}""#)?;
        }
        writeln!(
            out,
            r#","register_at":{register_at},"register_ip":"{ip}","device":"{device}","agent_id":"{agent}","site_id":"{site}","changed_at":{changed_at},"vip_level":"{vip}"}}"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(plan: Plan) -> String {
        let mut out = Vec::new();
        write(plan, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_file_and_every_recipe_appears() {
        let plan = Plan {
            count: 2000,
            first_uid: 1,
            seed: 7,
            csv: false,
        };
        let (once, twice) = (text(plan), text(plan));
        // bcrypt draws its own salt; everything else is a function of the seed.
        let stable = |text: &str| {
            text.lines()
                .filter(|line| !line.contains("bcrypt"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(stable(&once), stable(&twice));
        for recipe in RECIPES {
            assert!(once.contains(&format!("\"{recipe}\"")), "{recipe} is missing");
        }
        for line in once.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect("each line is JSON");
        }
    }

    #[test]
    fn csv_has_as_many_fields_as_columns() {
        let text = text(Plan {
            count: 100,
            first_uid: 1,
            seed: 7,
            csv: true,
        });
        for line in text.lines().filter(|line| !line.contains("argon2")) {
            assert_eq!(line.split(',').count(), COLUMNS.split(',').count(), "{line}");
        }
    }

    #[test]
    fn phpass_gives_the_published_vector() {
        // The vector of Openwall's own test program.
        assert_eq!(
            phpass("test12345", 11, "IQRaTwmf"),
            "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0"
        );
    }
}
