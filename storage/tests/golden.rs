//! The bytes of format 1, spelled out. A change here is a change of what every installation has on its disks: it needs a
//! new format level and a way to read the old one, never a new expectation.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

use seawall_storage::frame;
use seawall_storage::{
    Key, KeyRing, OpenOptions, Record, SegmentLog, SegmentOptions, Stamp, Store, Table, TableDef, TxError,
    encode_record, table,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Row {
    number: u64,
    text: String,
    list: Vec<u16>,
    maybe: Option<bool>,
}

impl Record for Row {
    const VERSION: u8 = 3;
}

static ROWS: Table<(u32, [u8; 4]), Row> = table(TableDef::new(0x1234, "rows", "Test rows."));
static TABLES: &[&TableDef] = &[&ROWS.def];

fn row() -> Row {
    Row {
        number: 300,
        text: "港".into(),
        list: vec![1, 2],
        maybe: Some(true),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn records_and_keys() {
    assert_eq!(hex(&encode_record(&row()).unwrap()), "03ac0203e6b8af0201020101");
    let mut key = Vec::new();
    (7u32, *b"quay", (1u16, 2u8)).encode(&mut key);
    assert_eq!(hex(&key), "00000007".to_owned() + "71756179" + "000102");
}

/// One frame of a store with a fixed identity, read from its files by another program would be these bytes.
#[test]
fn a_frame() {
    let mut builder = Vec::new();
    let store = Store::open_memory(OpenOptions::new(
        TABLES,
        KeyRing::from_entropy(&[1; 32]),
        std::sync::Arc::new(|| 0),
        [1; 32],
    ))
    .unwrap();
    let stamp = Stamp {
        op: "row.put",
        caller: "server:3".into(),
        request_id: *b"0123456789abcdef",
        now_at: 1_700_000_000_123,
        entropy: [5; 32],
        idempotency_key: Some([0xee; 32]),
    };
    let write = store.write(stamp, |tx| {
        tx.put(&ROWS, &(7, *b"quay"), &row())?;
        tx.delete(&ROWS, &(8, *b"quay"))?;
        tx.next_id("row")
    });
    let id: Result<u64, seawall_storage::WriteError<TxError>> = write.wait();
    assert_eq!(id, Ok(1));
    store.journal(1, &mut |frame| builder.extend_from_slice(frame)).unwrap();
    let decoded = frame::decode(&builder).unwrap();
    assert_eq!(decoded.chain, store.head().chain);
    assert_eq!(hex(&builder), GOLDEN_FRAME);
    assert_eq!(hex(&decoded.chain), GOLDEN_CHAIN);
}

const GOLDEN_FRAME: &str = "53574652000100001960d493d9fcf323076066c9399ff96c00000000000000010000000000000001000000000000000000000000000000000000000000000000000000000000000000000000000000000000018bcfe5687b000000010000008df20a58c707726f772e707574087365727665723a330000018bcfe5687b303132333435363738396162636465660001eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee000000030100020003726f77000000080000000000000001011234000800000007717561790000000c03ac0203e6b8af020102010102123400080000000871756179";
const GOLDEN_CHAIN: &str = "69fd1035b0b10873a1c4fcb3d4b862f6c8498c6e952a21412711766adf566ba5";

#[test]
fn a_segment_and_its_index() {
    let dir = tempfile::tempdir().unwrap();
    let log = SegmentLog::open(
        dir.path(),
        SegmentOptions {
            max_bytes: 4096,
            ..SegmentOptions::new("golden")
        },
    )
    .unwrap();
    log.append(1_700_000_000_123, b"body", &[(1, 0x0102_0304_0506_0708), (2, 9)])
        .wait()
        .unwrap();
    log.append(1_700_000_000_124, b"", &[]).wait().unwrap();
    log.close();
    let segment = std::fs::read(dir.path().join("0000000000000001.seg")).unwrap();
    assert_eq!(hex(&segment), GOLDEN_SEGMENT);
    let index = std::fs::read(dir.path().join("0000000000000001.idx")).unwrap();
    assert_eq!(hex(&index[..48]), GOLDEN_INDEX_HEAD);
    assert_eq!(hex(&index[index.len() - 26..]), GOLDEN_INDEX_ENTRIES);
}

const GOLDEN_SEGMENT: &str = "5357534547303031000000010000000000000001000000000000000000000000000000000000000000000000000000000000000000000000000000004392738d5357475200000027000000018fba61120000001f23e56d920000018bcfe5687b02010102030405060708020000000000000009626f64795357475200000011000000018b57d47e000000095545b0ac0000018bcfe5687c00";
const GOLDEN_INDEX_HEAD: &str =
    "535749445830303100000000000000010000009800000000000000020000018bcfe5687b0000018bcfe5687c00000002";
const GOLDEN_INDEX_ENTRIES: &str = "0000000000000009020000005001020304050607080100000050";

#[test]
fn a_cluster_key_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.key");
    KeyRing::load_or_create(&path, &dir.path().join("data"), &[1; 32])
        .unwrap()
        .rotated(&[2; 32])
        .unwrap()
        .save(&path)
        .unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), GOLDEN_KEY_FILE);
    assert_eq!(
        hex(KeyRing::load(&path).unwrap().derive("person").expose()),
        GOLDEN_PERSON_KEY
    );
}

const GOLDEN_KEY_FILE: &str = "seawall cluster key 1\nlookup d06725415dfaac652066aa9454351348681bc7fa262f8c68ec00064c064865bc\nkey 1 7581e87702da6daa52a511b337b78f612efc92015758b7dfcc6fc980e1257e9d\nkey 2 272f933fe8eaaecc2ab3b616d89016179764705780e50917fc4dc6041b1cbb10\ncurrent 2\ncheck 2aef6c75\n";
const GOLDEN_PERSON_KEY: &str = "46caa23f77ffd8d9fd539780c4cf1ff078b688459fb046559f72d11dfff3dd37";
