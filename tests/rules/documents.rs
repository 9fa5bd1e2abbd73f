//! The documents keep up with the code.

use crate::sources::root;

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn readme_names_the_two_commands() {
    let readme = read("README.md");
    for command in ["make run", "make test"] {
        assert!(readme.contains(command), "README.md must name `{command}`");
    }
}

#[test]
fn every_dependency_has_a_reason() {
    let manifest = read("Cargo.toml");
    let reasons = read("appliance/decisions/0001-libraries.md");
    let section = manifest
        .split("[workspace.dependencies]")
        .nth(1)
        .and_then(|rest| rest.split("\n[").next())
        .expect("dependencies");
    let mut missing = Vec::new();
    for line in section
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#') && !line.starts_with("seawall-"))
    {
        let name = line.split(['=', '.', ' ']).next().unwrap_or_default().trim();
        if !reasons.contains(&format!("`{name}`"))
            && !reasons.contains(&format!(" {name},"))
            && !reasons.contains(&format!(" {name}."))
        {
            missing.push(name.to_owned());
        }
    }
    assert!(
        missing.is_empty(),
        "say why in one line of appliance/decisions/0001-libraries.md: {missing:?}"
    );
}

#[test]
fn decisions_are_numbered_once() {
    let mut numbers: Vec<String> = std::fs::read_dir(root().join("appliance/decisions"))
        .expect("decisions")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .to_string_lossy()
                .chars()
                .take(4)
                .collect()
        })
        .collect();
    let all = numbers.len();
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), all, "two decision records share a number");
}
