//! One file is the whole product: no interpreter, no shared library, no file of the host is needed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use seawall_tests::server::{Client, binary};
use serde_json::{Value, json};

const PT_INTERP: u32 = 3;
const PT_DYNAMIC: u32 = 2;
const DT_NEEDED: u64 = 1;

fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size]
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// (asks for an interpreter, number of shared libraries it needs) of a 64-bit little-endian ELF file.
fn links(elf: &[u8]) -> (bool, usize) {
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01", "64-bit little-endian ELF");
    let (table, size, count) = (
        number(elf, 32, 8) as usize,
        number(elf, 54, 2) as usize,
        number(elf, 56, 2) as usize,
    );
    let mut result = (false, 0);
    for header in (0..count).map(|index| table + index * size) {
        let (offset, length) = (
            number(elf, header + 8, 8) as usize,
            number(elf, header + 32, 8) as usize,
        );
        match number(elf, header, 4) as u32 {
            PT_INTERP => result.0 = true,
            PT_DYNAMIC => {
                result.1 += elf[offset..offset + length]
                    .chunks_exact(16)
                    .filter(|entry| number(entry, 0, 8) == DT_NEEDED)
                    .count()
            }
            _ => {}
        }
    }
    result
}

#[test]
fn the_binary_is_statically_linked() {
    assert_eq!(
        links(&std::fs::read(binary().unwrap()).unwrap()),
        (false, 0),
        "no interpreter, no shared library"
    );
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

#[test]
fn the_binary_cannot_be_told_to_fail() {
    let program = std::fs::read(binary().unwrap()).unwrap();
    assert!(contains(&program, b"SEAWALL_CONFIG"), "the search finds what is there");
    for word in [&b"SEAWALL_FAULTS"[..], b"SEAWALL_CLOCK_FILE"] {
        assert!(
            !contains(&program, word),
            "built with the feature `faults`: {}",
            String::from_utf8_lossy(word)
        );
    }
}

#[test]
fn the_check_sees_a_dynamic_binary() {
    let (interpreter, libraries) = links(&std::fs::read("/bin/sh").unwrap());
    assert!(
        interpreter && libraries > 0,
        "/bin/sh of Debian is dynamic; the check must say so"
    );
}

#[test]
fn it_runs_in_an_empty_root() {
    let root = tempfile::tempdir().unwrap();
    std::fs::copy(binary().unwrap(), root.path().join("seawall")).unwrap();
    std::fs::create_dir(root.path().join("data")).unwrap();
    let mut child = Command::new("/usr/sbin/chroot")
        .arg(root.path())
        .args([
            "/seawall",
            "demo",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--data",
            "/data",
        ])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("chroot is part of coreutils and needs root");
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let facts: Value = serde_json::from_str(&line).unwrap_or_else(|e| {
        let _ = child.kill();
        let mut log = String::new();
        let _ = child.stderr.take().unwrap().read_to_string(&mut log);
        panic!("no JSON line ({e}); are you root? {log}");
    });
    let fact = |name: &str| facts[name].as_str().unwrap_or_default().to_owned();
    let client = Client::new(
        &fact("plain_url"),
        &fact("game_id"),
        &fact("package_id"),
        &fact("key_id"),
        &fact("secret"),
    );
    let guest = client
        .login("/sdk/v1/accounts", "empty-root", &json!({"kind": "guest"}))
        .unwrap();
    assert_eq!(guest.status, 201, "{}", guest.body);
    let verified = client.verify(guest.text("/session/access_token")).unwrap();
    assert_eq!(verified.text("/status"), "valid", "{}", verified.body);
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    let gone = (0..2000).any(|_| {
        std::thread::sleep(Duration::from_millis(20)); // poll
        child.try_wait().unwrap().is_some()
    });
    assert!(gone, "SIGTERM ends it");
}
