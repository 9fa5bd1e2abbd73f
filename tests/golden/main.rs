//! Bytes of every released version of every record. A changed encoding shows here before it meets a customer's data:
//! raise the record's version and write its conversion, then add lines; never change one that was released.

use std::collections::BTreeMap;
use std::path::Path;

use seawall_domain::game::GameSettings;
use seawall_domain::tables::catalogue::GameRow;
use seawall_domain::tables::samples::samples;
use seawall_tests::server::hex;

fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Files of released lines, oldest first; a later one holds what changed since.
const RELEASES: &[&str] = &["records-1.txt", "records-2.txt", "records-3.txt"];

/// The number of a line's table.
fn table(line: &str) -> u16 {
    line.split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no table number: {line}"))
}

#[test]
fn records_are_encoded_as_released() {
    let now: BTreeMap<u16, String> = samples()
        .expect("every record can be encoded")
        .iter()
        .map(|sample| {
            let (key, value) = (hex(&sample.key), hex(&sample.value));
            (
                sample.number,
                format!("{} {} {key} {value}", sample.number, sample.table),
            )
        })
        .collect();
    let released: BTreeMap<u16, String> = RELEASES
        .iter()
        .flat_map(|name| golden(name).lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| !line.starts_with('#'))
        .map(|line| (table(&line), line))
        .collect();
    assert_eq!(
        now,
        released,
        "an encoding changed; what the code writes now:\n{}\n",
        now.values().cloned().collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn games_of_every_release_are_still_read() {
    for name in RELEASES {
        let lines = golden(name);
        let line = lines
            .lines()
            .find(|line| line.starts_with("17 games "))
            .expect("a game");
        let hex = line.rsplit(' ').next().expect("a value");
        let value: Vec<u8> = (0..hex.len() / 2)
            .map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).expect("hex"))
            .collect();
        let row: GameRow = seawall_storage::decode_record(&value).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            (row.name.as_str(), row.settings),
            ("Harbour", GameSettings::default()),
            "{name}"
        );
    }
}

#[test]
fn every_table_has_a_sample() {
    let sampled: Vec<u16> = samples().expect("samples").iter().map(|sample| sample.number).collect();
    let tables: Vec<u16> = seawall_domain::tables::TABLES
        .iter()
        .map(|table| table.number)
        .collect();
    assert_eq!(sampled, tables);
}
