//! Device ids tell nothing of the install id and are the same everywhere.

use seawall_storage::KeyRing;

use super::*;
use crate::testing::World;

#[test]
fn an_id_is_32_hex_digits_of_a_keyed_hash() {
    let world = World::new().unwrap();
    let lookup = &world.platform.inner.lookup;
    let id = device_id(&device_hash(lookup, "install-1"));
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    assert_eq!(id, device_id(&device_hash(lookup, "install-1")));
    assert_ne!(id, device_id(&device_hash(lookup, "install-2")));
    assert_eq!(device_id(&[0; 16]), "0".repeat(32));
}

#[test]
fn another_cluster_gives_another_id() {
    let keys = |byte: u8| LookupKeys::derive(&KeyRing::from_entropy(&[byte; 32]));
    assert_ne!(device_hash(&keys(1), "install"), device_hash(&keys(2), "install"));
}

#[test]
fn the_row_keeps_what_the_client_told() {
    let world = World::new().unwrap();
    let mut client = world.client_on("d");
    client.device.ids.insert("oaid".into(), vec!["o1".into()]);
    client.device.brand = None;
    let row = device_row(&client);
    assert_eq!(
        (row.brand.as_str(), row.model.as_str(), row.os.as_str()),
        ("", "14", "android")
    );
    assert_eq!(row.ids, [("oaid".to_owned(), vec!["o1".to_owned()])]);
}
