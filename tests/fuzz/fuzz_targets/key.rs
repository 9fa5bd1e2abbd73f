//! Keys: any bytes decode to a key that encodes to the same bytes, or are refused; order of keys is order of bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_storage::Key;

type Wide = (u32, u64, [u8; 20]);

fn round<K: Key>(bytes: &[u8]) -> Option<K> {
    let key = K::decode(bytes).ok()?;
    let mut encoded = Vec::new();
    key.encode(&mut encoded);
    assert_eq!(encoded, bytes);
    Some(key)
}

fuzz_target!(|pair: (&[u8], &[u8])| {
    if let (Some(a), Some(b)) = (round::<u64>(pair.0), round::<u64>(pair.1)) {
        assert_eq!(a.cmp(&b), pair.0.cmp(pair.1));
    }
    if let (Some(a), Some(b)) = (round::<Wide>(pair.0), round::<Wide>(pair.1)) {
        assert_eq!(a.cmp(&b), pair.0.cmp(pair.1));
    }
});
