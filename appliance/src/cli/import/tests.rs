//! The platform's side is played by a recorder here; the real one takes over files in the whole-system suites.

use std::cell::RefCell;

use clap::Parser as _;

use super::super::account_grammar::AccountVerb;
use super::super::ask::{Answer, Answering, Body};
use super::super::grammar::{Cli, Verb};
use super::*;

/// Keeps what it is sent, as the platform does: chunks must continue at the offset.
#[derive(Default)]
struct Recorder {
    begun: RefCell<Value>,
    bytes: RefCell<Vec<u8>>,
    start: u64,
    chunks: RefCell<usize>,
    bad: Vec<wire::BadLine>,
}

impl Recorder {
    fn progress(&self) -> Value {
        let bytes = self.bytes.borrow();
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        json!({ "import_id": "i", "offset_bytes": self.start + bytes.len() as u64, "lines": lines, "created": lines, "updated": 0, "unchanged": 0, "refused": self.bad.len() })
    }
}

impl AdminClient for Recorder {
    fn call(&self, ask: Ask) -> Answering<'_> {
        let body = match ask.body {
            Body::Json(bytes) => {
                *self.begun.borrow_mut() = serde_json::from_slice(&bytes).unwrap();
                self.progress()
            }
            Body::Raw(bytes) => {
                assert!(bytes.len() <= CHUNK_MAX_BYTES && !bytes.is_empty());
                let expected = self.start + self.bytes.borrow().len() as u64;
                assert_eq!(ask.path, format!("/admin/v1/imports/i/chunks?offset_bytes={expected}"));
                self.bytes.borrow_mut().extend(bytes);
                *self.chunks.borrow_mut() += 1;
                json!({ "progress": self.progress(), "bad_lines": self.bad })
            }
            Body::None => {
                *self.chunks.borrow_mut() += 1;
                json!({ "finalized_at": (*self.chunks.borrow() == 3).then_some(1) })
            }
        };
        Box::pin(async move { Ok(Answer { status: 200, body }) })
    }

    fn is_running(&self) -> bool {
        true
    }
}

fn flags(line: &str) -> ImportFlags {
    match Cli::parse_from(format!("seawall account import {line}").split(' ')).verb {
        Verb::Account(AccountVerb::Import(flags)) => *flags,
        other => panic!("{other:?}"),
    }
}

fn run(recorder: &Recorder, line: &str) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(import(&flags(line), recorder, &Output::new(true)))
}

fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let text = path.display().to_string();
    (dir, text)
}

#[test]
fn a_large_file_arrives_whole_in_chunks_of_whole_lines() {
    let text: String = (0..400_000).map(|n| format!("{{\"uid\":\"{n}\"}}\n")).collect();
    let (_dir, path) = file("a.ndjson", text.as_bytes());
    let recorder = Recorder::default();
    assert_eq!(run(&recorder, &path).unwrap(), 0);
    assert_eq!(*recorder.bytes.borrow(), text.as_bytes());
    assert!(*recorder.chunks.borrow() >= 2);
    let begun = recorder.begun.borrow();
    assert_eq!(begun["file_digest"], blake3::hash(text.as_bytes()).to_hex().to_string());
    assert_eq!((&begun["format"], &begun["realm_id"]), (&json!("ndjson"), &json!("1")));
}

#[test]
fn a_resumed_import_sends_only_the_rest_and_the_last_line_may_lack_its_end() {
    let (_dir, path) = file("a.ndjson", b"one\ntwo\nthree");
    let recorder = Recorder {
        start: 4,
        ..Recorder::default()
    };
    assert_eq!(run(&recorder, &path).unwrap(), 0);
    assert_eq!(*recorder.bytes.borrow(), b"two\nthree");
}

#[test]
fn the_header_of_a_csv_file_is_told_apart_and_offsets_count_after_it() {
    let (_dir, path) = file("a.csv", "\u{feff}uid,name\r\n1,a\r\n2,b\r\n".as_bytes());
    let recorder = Recorder::default();
    run(&recorder, &path).unwrap();
    assert_eq!(recorder.begun.borrow()["csv_header"], "uid,name");
    assert_eq!(*recorder.bytes.borrow(), b"1,a\r\n2,b\r\n");
    let resumed = Recorder {
        start: 5,
        ..Recorder::default()
    };
    run(&resumed, &path).unwrap();
    assert_eq!(*resumed.bytes.borrow(), b"2,b\r\n");
}

#[test]
fn refused_lines_leave_with_3_and_are_reported() {
    let (dir, path) = file("a.ndjson", b"x\n");
    let report = dir.path().join("bad");
    let recorder = Recorder {
        bad: vec![wire::BadLine {
            line: 1,
            reason: "no uid".into(),
        }],
        ..Recorder::default()
    };
    assert_eq!(
        run(&recorder, &format!("{path} --report {}", report.display())).unwrap(),
        3
    );
    assert_eq!(std::fs::read_to_string(report).unwrap(), "1\tno uid\n");
}

#[test]
fn a_line_longer_than_a_chunk_is_named_by_its_place() {
    let (_dir, path) = file("a.ndjson", &vec![b'x'; CHUNK_MAX_BYTES + 1]);
    let message = run(&Recorder::default(), &path).unwrap_err().to_string();
    assert!(message.contains("the line at byte 0 is longer than"), "{message}");
}

#[test]
fn peppers_come_from_a_file_and_columns_are_renamed() {
    let (_dir, path) = file("a.ndjson", b"x\n");
    let (_other, pepper) = file("pepper", b"hush\n");
    let recorder = Recorder::default();
    run(
        &recorder,
        &format!("{path} --pepper-file {pepper} --column user_name=username --dry-run"),
    )
    .unwrap();
    let begun = recorder.begun.borrow();
    assert_eq!((&begun["pepper"], &begun["dry_run"]), (&json!("hush"), &json!(true)));
    assert_eq!(
        begun["columns"],
        json!([{ "column": "user_name", "field": "username" }])
    );
}

#[test]
fn finalize_asks_until_it_is_done() {
    let recorder = Recorder::default();
    assert_eq!(run(&recorder, "finalize abc").unwrap(), 0);
    assert_eq!(*recorder.chunks.borrow(), 3);
}
