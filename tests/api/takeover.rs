//! An old platform's accounts come in, log in with their old passwords, and can go back.

use seawall_tests::accounts::{PEPPER, Plan, RECIPES, SLOW_EVERY, password, recipe, username, write};
use serde_json::{Value, json};

use crate::client::{Answer, Api, As, Ask};

fn begin(api: &Api, digest: &str, change: impl FnOnce(&mut Value)) -> Answer {
    let mut body = json!({"file_digest": digest, "realm_id": "1", "format": "ndjson", "csv_header": null, "password_recipe": null, "pepper": PEPPER,
                          "columns": [], "keep_old_hashes": false, "uid_is_player_id": true, "dry_run": false});
    change(&mut body);
    api.call("import.begin", As::Nobody, &body)
}

fn chunk(api: &Api, import_id: &str, offset: u64, lines: &[u8]) -> Answer {
    api.ask(&Ask {
        op: "import.chunk",
        path: vec![import_id.to_owned()],
        query: format!("offset_bytes={offset}"),
        who: As::Nobody,
        body: lines.to_vec(),
        headers: Vec::new(),
    })
}

fn digest(letter: char) -> String {
    letter.to_string().repeat(64)
}

fn file(first_uid: u64, count: u64, csv: bool) -> Vec<u8> {
    let mut text = Vec::new();
    write(
        Plan {
            count,
            first_uid,
            seed: 5,
            csv,
        },
        &mut text,
    )
    .expect("a file");
    text
}

pub fn an_import_from_begin_to_finalize(api: &Api) {
    let first = SLOW_EVERY * 1003;
    let text = file(first, 40, false);
    let import = begin(api, &digest('a'), |_| ()).ok().text("/import_id");
    let half = text
        .iter()
        .take(text.len() / 2)
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let one = chunk(api, &import, 0, &text[..half]).ok();
    assert_eq!(one.body["bad_lines"], json!([]), "{}", one.body);
    let two = chunk(api, &import, half as u64, &text[half..]).ok();
    assert_eq!(
        (
            two.body["progress"]["lines"].as_u64(),
            two.body["progress"]["created"].as_u64()
        ),
        (Some(40), Some(40))
    );
    assert_eq!(
        begin(api, &digest('a'), |_| ()).ok().body["offset_bytes"],
        text.len(),
        "the same file is where it stood"
    );

    let mut recipes = std::collections::BTreeSet::new();
    for uid in first..first + 40 {
        let credential = json!({"kind": "username", "username": username(uid), "password": password(uid)});
        let login = api.call("session.create", As::Nobody, &api.entry(&credential, "phone"));
        if login.code != "account.restricted" {
            let login = login.ok();
            assert_eq!(
                (login.text("/account_id"), login.text("/player_id")),
                (uid.to_string(), uid.to_string()),
                "the uid stays"
            );
            recipes.insert(recipe(uid));
        }
    }
    assert_eq!(recipes.len(), RECIPES.len(), "every recipe logged in: {recipes:?}");
    let shown = api
        .call_at(
            "account.show",
            &[],
            &format!("account_id={}", first + 20),
            As::Nobody,
            &Value::Null,
        )
        .ok();
    assert_eq!(
        shown.text("/password_recipe"),
        "argon2id",
        "the old hash was replaced at login"
    );
    assert!(
        shown.body["origin"]["vip_level"].is_string(),
        "unknown columns are kept: {}",
        shown.body["origin"]
    );

    // The same accounts in another file change nothing.
    let again = begin(api, &digest('b'), |_| ()).ok().text("/import_id");
    let repeat = chunk(api, &again, 0, &text).ok();
    assert_eq!(
        (
            repeat.body["progress"]["unchanged"].as_u64(),
            repeat.body["progress"]["created"].as_u64()
        ),
        (Some(40), Some(0))
    );
    let done = api
        .call_at("import.finalize", &[&import], "", As::Nobody, &Value::Null)
        .ok();
    assert!(done.body["finalized_at"].is_u64());
}

pub fn an_export_is_the_way_back(api: &Api) {
    let import = begin(api, &digest('c'), |body| body["keep_old_hashes"] = json!(true))
        .ok()
        .text("/import_id");
    chunk(api, &import, 0, &file(2_000_000, 30, false)).ok();
    let export = |query: &str| api.call_at("account.export", &[], query, As::Nobody, &Value::Null);
    let first = export("realm_id=1&limit=20").ok();
    assert_eq!(first.body["lines"].as_array().map(Vec::len), Some(20));
    let rest = export(&format!("realm_id=1&limit=20&cursor={}", first.text("/next_cursor"))).ok();
    assert_eq!(rest.body["lines"].as_array().map(Vec::len), Some(10));
    let end = export(&format!("realm_id=1&limit=20&cursor={}", rest.text("/next_cursor"))).ok();
    assert_eq!(
        (end.body["lines"].clone(), end.text("/next_cursor")),
        (json!([]), rest.text("/next_cursor"))
    );
    // The lines are an import of their own.
    let lines: String = [&first, &rest]
        .into_iter()
        .flat_map(|page| page.body["lines"].as_array().cloned().unwrap_or_default())
        .filter_map(|line| Some(format!("{}\n", line.as_str()?)))
        .collect();
    let other = Api::new(&crate::Seen::default());
    let import = begin(&other, &digest('d'), |_| ()).ok().text("/import_id");
    let back = chunk(&other, &import, 0, lines.as_bytes()).ok();
    assert_eq!(
        (back.body["progress"]["created"].as_u64(), &back.body["bad_lines"]),
        (Some(30), &json!([]))
    );
    export("realm_id=999999&limit=20").refused("realm.unknown");
    export("realm_id=1&limit=20&cursor=nonsense").refused("cursor.invalid");
    export("realm_id=1&limit=999999").refused("request.field_invalid");
}

pub fn import_refusals(api: &Api) {
    begin(api, &digest('e'), |body| body["realm_id"] = json!("999999")).refused("realm.unknown");
    begin(api, &digest('e'), |body| {
        body["password_recipe"] = json!("rot13(password)")
    })
    .refused("request.field_invalid");
    chunk(api, &"0".repeat(32), 0, b"{}\n").refused("import.unknown");
    api.call_at("import.finalize", &[&"0".repeat(32)], "", As::Nobody, &Value::Null)
        .refused("import.unknown");
    let import = begin(api, &digest('e'), |_| ()).ok().text("/import_id");
    chunk(api, &import, 77, b"{}\n").refused("import.conflict");
    let too_large = vec![b' '; seawall_domain::import::CHUNK_MAX_BYTES + 1];
    chunk(api, &import, 0, &too_large).refused("request.too_large");
    let bad = "{\"uid\":\nnot json\n{\"uid\":5,\"uid\":6}\n{\"uid\":\"-1\"}\n\u{0}\n{\"uid\":7000001,\"username\":\"fine7000001\"}\n";
    let answer = chunk(api, &import, 0, bad.as_bytes()).ok();
    assert_eq!(
        (
            answer.body["progress"]["refused"].as_u64(),
            answer.body["progress"]["created"].as_u64()
        ),
        (Some(5), Some(1)),
        "{}",
        answer.body
    );
    let numbers: Vec<u64> = answer.body["bad_lines"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|line| line["line"].as_u64())
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5], "bad lines are named by number");
}
