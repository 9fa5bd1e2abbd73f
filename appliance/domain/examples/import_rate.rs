//! How many accounts a second an import takes over on the real engine:
//! `cargo run --release -p seawall-domain --features testing --example import_rate -- [ACCOUNTS] [DIR]`.
//!
//! Each line has a username, a salted hash and an origin; six of ten a phone, three of ten a channel id. The chunks
//! are made before the clock starts, and go in one after the other as the command line sends them.
#![expect(clippy::print_stdout, reason = "a tool for people")]
#![expect(clippy::expect_used, reason = "a tool that may end with a message")]

use std::path::PathBuf;
use std::time::Instant;

use seawall_domain::RealmId;
use seawall_domain::import::{CHUNK_MAX_BYTES, ImportBegin, ImportFormat};
use seawall_domain::testing::{World, block_on, operator};

fn line(uid: u64) -> String {
    let hash = blake3::hash(&uid.to_be_bytes()).to_hex();
    let phone = if uid % 10 < 6 {
        format!(r#","phone":"+861{uid:010}""#)
    } else {
        String::new()
    };
    let channel = if uid % 10 >= 7 {
        format!(r#","channel":"{}","channel_uid":"c{uid}""#, uid % 40)
    } else {
        String::new()
    };
    let (md5, salt) = (&hash[..32], &hash[32..40]);
    format!(
        r#"{{"uid":{uid},"username":"player{uid}","password":"{md5}","salt":"{salt}","password_recipe":"md5(password+salt)"{phone}{channel},"register_at":1500000000000,"register_ip":"10.0.0.1","device":"{salt}{salt}","agent_id":"7","site_id":"12","changed_at":1600000000000,"vip_level":"3"}}"#
    ) + "\n"
}

fn chunks(accounts: u64) -> Vec<Vec<u8>> {
    let mut chunks = vec![Vec::with_capacity(CHUNK_MAX_BYTES)];
    for uid in 1..=accounts {
        let text = line(uid);
        let full = chunks
            .last()
            .is_none_or(|chunk| chunk.len() + text.len() > CHUNK_MAX_BYTES);
        if full {
            chunks.push(Vec::with_capacity(CHUNK_MAX_BYTES));
        }
        if let Some(chunk) = chunks.last_mut() {
            chunk.extend_from_slice(text.as_bytes());
        }
    }
    chunks
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let accounts: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let dir = arguments
        .next()
        .map_or_else(|| std::env::temp_dir().join("seawall-import-rate"), PathBuf::from);
    let chunks = chunks(accounts);
    let world = World::on_disk(&dir).expect("the directory can be used");
    let command = ImportBegin {
        file_digest: blake3::hash(&accounts.to_be_bytes()).to_string(),
        realm_id: RealmId(1),
        format: ImportFormat::Ndjson,
        csv_header: None,
        password_recipe: None,
        pepper: None,
        columns: Vec::new(),
        keep_old_hashes: false,
        uid_is_player_id: true,
        dry_run: false,
    };
    let mut progress = block_on(world.platform.import_begin(&operator(), command)).expect("the import begins");
    let (call, started) = (operator(), Instant::now());
    for (n, chunk) in chunks.into_iter().enumerate() {
        let sent = world
            .platform
            .import_chunk(&call, &progress.import_id, progress.offset_bytes, chunk);
        let (reached, bad) = block_on(sent).expect("the chunk is taken");
        assert!(bad.is_empty(), "{bad:?}");
        progress = reached;
        if n % 50 == 49 {
            println!(
                "{} accounts, {:.0} a second",
                progress.created,
                progress.created as f64 / started.elapsed().as_secs_f64()
            );
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{} accounts in {seconds:.1} s: {:.0} a second",
        progress.created,
        progress.created as f64 / seconds
    );
    let stats = world.store.stats();
    println!("groups: {:?}", stats.group_transactions);
    println!("sync: {:?}", stats.sync_us);
}
