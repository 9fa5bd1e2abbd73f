//! `appliance -> web -> domain -> storage`, and `appliance -> load`: who may name whom, and what may not be named below the appliance.

use crate::sources::{product_sources, root};

fn dependencies(manifest: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(manifest)).expect("manifest");
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        } else if section == "dependencies" && !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            found.push(name.trim().to_owned());
        }
    }
    assert!(
        !found.is_empty(),
        "{manifest} names no dependency; is the parser still right?"
    );
    found
}

fn assert_absent(manifest: &str, forbidden: &[&str]) {
    let bad: Vec<_> = dependencies(manifest)
        .into_iter()
        .filter(|name| forbidden.contains(&name.as_str()))
        .collect();
    assert!(
        bad.is_empty(),
        "{manifest} must not depend on {bad:?}; see appliance/ARCHITECTURE.md, the arrow"
    );
}

const RUNTIME_AND_NETWORK: &[&str] = &[
    "tokio",
    "hyper",
    "hyper-util",
    "axum",
    "tower",
    "http",
    "rustls",
    "tokio-rustls",
];

#[test]
fn storage_knows_nobody() {
    assert_absent(
        "storage/Cargo.toml",
        &["seawall-domain", "seawall-web", "seawall-appliance"],
    );
    assert_absent("storage/Cargo.toml", RUNTIME_AND_NETWORK);
}

#[test]
fn domain_knows_only_storage() {
    assert_absent(
        "appliance/domain/Cargo.toml",
        &["seawall-web", "seawall-appliance", "rocksdb", "redb", "getrandom"],
    );
    assert_absent("appliance/domain/Cargo.toml", RUNTIME_AND_NETWORK);
}

#[test]
fn web_knows_no_tables() {
    assert_absent(
        "web/Cargo.toml",
        &["seawall-storage", "seawall-appliance", "rocksdb", "redb"],
    );
}

#[test]
fn load_knows_nobody() {
    assert_absent(
        "appliance/load/Cargo.toml",
        &["seawall-storage", "seawall-domain", "seawall-web", "seawall-appliance"],
    );
}

#[test]
fn time_and_chance_are_arguments() {
    let mut bad = Vec::new();
    for source in product_sources().iter().filter(|source| !source.is_test()) {
        let below_appliance = !source.name().starts_with("appliance/src");
        for (number, line) in source.text.lines().take(source.lines_without_tests()).enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if below_appliance
                && ["SystemTime::now", "getrandom::", "rand::rng", "thread_rng"]
                    .iter()
                    .any(|word| code.contains(word))
            {
                bad.push(format!("{}:{}: {}", source.name(), number + 1, line.trim()));
            }
        }
    }
    assert!(
        bad.is_empty(),
        "take them from the ports (domain/src/ports.rs):\n{}",
        bad.join("\n")
    );
}

#[test]
fn nothing_is_called_common() {
    let banned = ["common", "utils", "util", "helper", "helpers", "manager", "misc"];
    let bad: Vec<_> = product_sources()
        .iter()
        .filter(|source| {
            source.path.components().any(|part| {
                let name = part.as_os_str().to_string_lossy();
                banned.contains(&name.trim_end_matches(".rs"))
            })
        })
        .map(crate::sources::Source::name)
        .collect();
    assert!(bad.is_empty(), "name these for what they hold: {bad:?}");
}

#[test]
fn unsafe_has_a_decision_record() {
    let records: String = std::fs::read_dir(root().join("appliance/decisions"))
        .expect("decisions")
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok())
        .collect();
    for source in product_sources() {
        let uses = source
            .text
            .lines()
            .any(|line| line.contains("allow(unsafe_code") || line.contains("expect(unsafe_code"));
        assert!(
            !uses || records.contains(&source.name()),
            "{} uses unsafe; name the file in a decision record",
            source.name()
        );
    }
}
