//! Bytes of every released version of every record. A changed encoding shows here before it meets a customer's data:
//! raise the record's version and write its conversion, then add lines; never change one that was released.

use std::path::Path;

use seawall_domain::tables::samples::samples;
use seawall_tests::server::hex;

fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn records_are_encoded_as_released() {
    let now: Vec<String> = samples()
        .expect("every record can be encoded")
        .iter()
        .map(|sample| {
            format!(
                "{} {} {} {}",
                sample.number,
                sample.table,
                hex(&sample.key),
                hex(&sample.value)
            )
        })
        .collect();
    let released = golden("records-1.txt");
    let released: Vec<&str> = released.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        now,
        released,
        "an encoding changed; what the code writes now:\n{}\n",
        now.join("\n")
    );
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
