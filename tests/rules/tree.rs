//! The top level, left-overs, and versions that are written in two places.

use std::process::Command;

use crate::sources::{product_sources, root};

fn tracked() -> Vec<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(root())
        .arg("ls-files")
        .output()
        .expect("git");
    let files: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect();
    assert!(files.len() > 30, "git ls-files found almost nothing");
    files
}

#[test]
fn the_top_level_is_the_house() {
    let rooms = [
        "appliance",
        "storage",
        "web",
        "admin-ui",
        "packaging",
        "tests",
        ".ci",
        ".cargo",
    ];
    for file in tracked() {
        if let Some((folder, _)) = file.split_once('/') {
            assert!(rooms.contains(&folder), "{file}: no other folders at the top");
        }
    }
}

#[test]
fn no_build_output_is_tracked() {
    for file in tracked() {
        let output = ["target/", "node_modules/", "dist/"]
            .iter()
            .any(|folder| file.starts_with(folder) || file.contains(&format!("/{folder}")));
        assert!(!output, "{file} is build output");
    }
}

#[test]
fn nothing_is_left_open() {
    for source in product_sources() {
        for (number, line) in source.text.lines().enumerate() {
            let open = ["todo!(", "unimplemented!(", "FIXME", "XXX"]
                .iter()
                .any(|word| line.contains(word));
            assert!(!open, "{}:{}: {}", source.name(), number + 1, line.trim());
        }
    }
}

#[test]
fn the_rocksdb_cache_builds_the_version_the_lock_file_names() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let version = lock
        .split("name = \"librocksdb-sys\"")
        .nth(1)
        .and_then(|rest| rest.split('"').nth(1))
        .expect("librocksdb-sys in Cargo.lock");
    let script = std::fs::read_to_string(root().join("packaging/build/rocksdb-cache")).expect("script");
    assert!(
        script.contains(&format!("SYS_VERSION={version}\n")),
        "packaging/build/rocksdb-cache must name {version}"
    );
}

#[test]
fn every_test_is_run() {
    for file in tracked()
        .iter()
        .filter(|file| file.ends_with(".rs") && !file.contains("rules/tree.rs"))
    {
        let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        assert!(
            !text.contains("#[ignore"),
            "{file}: an ignored test proves nothing; move long ones to make soak"
        );
    }
}

#[test]
fn tests_wait_for_states() {
    for file in tracked()
        .iter()
        .filter(|file| file.ends_with(".rs") && !file.contains("rules/tree.rs"))
    {
        let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            let sleeps = line.contains("thread::sleep(") && !line.contains("// poll");
            assert!(
                !sleeps,
                "{file}:{}: wait for a state with a deadline (a poll interval is marked `// poll`)",
                number + 1
            );
        }
    }
}
