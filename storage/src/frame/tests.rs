//! Round trips, tampering at every bit, and arbitrary input.

use proptest::prelude::*;

use super::*;

fn position() -> FramePosition {
    FramePosition {
        cluster_id: [3; 16],
        epoch: 5,
        lsn: 9,
        prev_chain: [4; 32],
        commit_lsn: 8,
        now_at: 1_700_000_000_000,
    }
}

type Rows = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn built(transactions: &[(String, Option<[u8; 32]>, Rows)]) -> (Vec<u8>, Chain) {
    let mut builder = FrameBuilder::new();
    for (caller, idempotency_key, rows) in transactions {
        let envelope = Envelope {
            op: "order.confirm",
            caller,
            now_at: 7,
            request_id: &[1; 16],
            class: Class::RemotePreferred,
            idempotency_key: idempotency_key.as_ref(),
        };
        builder.add(
            &envelope,
            rows.iter().map(|(key, value)| (key.as_slice(), value.as_deref())),
        );
    }
    builder.finish(&position())
}

fn rows() -> impl Strategy<Value = Rows> {
    prop::collection::vec(
        (prop::collection::vec(any::<u8>(), 2..40), any::<Option<Vec<u8>>>()),
        0..6,
    )
}

proptest! {
    #[test]
    fn round_trip(transactions in prop::collection::vec((".{0,80}", any::<Option<[u8; 32]>>(), rows()), 0..5)) {
        let (bytes, chain) = built(&transactions);
        let frame = decode(&bytes).unwrap();
        prop_assert_eq!(frame.position, position());
        prop_assert_eq!(frame.chain, chain);
        prop_assert_eq!(frame.transactions.len(), transactions.len());
        for (got, (caller, idempotency_key, rows)) in frame.transactions.iter().zip(&transactions) {
            prop_assert!(caller.starts_with(got.caller));
            prop_assert_eq!((got.op, got.now_at, got.class), ("order.confirm", 7, Class::RemotePreferred));
            prop_assert_eq!(&got.idempotency_key, idempotency_key);
            let wanted: Vec<_> = rows
                .iter()
                .map(|(key, value)| RowChange {
                    table: u16::from_be_bytes([key[0], key[1]]),
                    key: &key[2..],
                    value: value.as_deref(),
                })
                .collect();
            prop_assert_eq!(&got.rows, &wanted);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(raw: Vec<u8>) {
        prop_assert!(decode(&raw).is_err());
    }

    #[test]
    fn arbitrary_payload_under_a_good_checksum_never_panics(payload: Vec<u8>, count in 0u32..4) {
        let builder = FrameBuilder { bytes: [vec![0; HEADER_BYTES], payload].concat(), transactions: count, class: Class::Local };
        let (bytes, _) = builder.finish(&position());
        let _ = decode(&bytes);
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let (bytes, _) = built(&[(
        "player 7".into(),
        Some([9; 32]),
        vec![(vec![0, 12, 1], Some(vec![5; 20]))],
    )]);
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&bad).is_err(), "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err(), "cut at {len}");
    }
}

#[test]
fn the_layout_is_the_documented_one() {
    let (bytes, _) = built(&[]);
    assert_eq!(bytes.len(), HEADER_BYTES);
    assert_eq!(&bytes[..8], b"SWFR\x00\x01\x00\x00");
    assert_eq!(bytes[24..40], [0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 9]);
    assert_eq!(bytes[92..96], [0; 4]);
    assert_eq!(bytes[96..100], crc32c::crc32c(&bytes[..96]).to_be_bytes());
}

#[test]
fn a_newer_format_is_named() {
    let (mut bytes, _) = built(&[]);
    bytes[5] = 2;
    assert_eq!(decode(&bytes).err(), Some(FrameError::Format(2)));
}
