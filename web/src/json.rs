//! Reading JSON strictly: valid UTF-8, no key twice in one object at any depth, nothing after the value; unknown fields
//! are counted by the caller's wish. Error texts name the place and the rule and never repeat a value, which may be a
//! password.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use seawall_domain::{Error, codes as domain_codes};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::codes;
use objects::Objects;

mod objects;

/// Keys of one object compared one by one before a set takes over.
const LINEAR_KEYS_MAX: usize = 16;

/// A decoded body and how many fields nobody knew.
pub struct Decoded<T> {
    /// The value.
    pub value: T,
    /// Fields that were ignored, at any depth.
    pub unknown_fields: u64,
}

/// Decodes a body.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<Decoded<T>, Error> {
    let text = std::str::from_utf8(body).map_err(|e| {
        codes::MALFORMED_JSON.because(format!("The body is not UTF-8 from byte {} on.", e.valid_up_to()))
    })?;
    refuse_duplicates(text)?;
    let mut unknown_fields = 0;
    let mut from = serde_json::Deserializer::from_str(text);
    match serde_ignored::deserialize(Objects(&mut from), |_| unknown_fields += 1) {
        Ok(value) => Ok(Decoded { value, unknown_fields }),
        Err(_) => Err(explain::<T>(text)),
    }
}

/// Decodes again, slowly, to learn which field was wrong.
fn explain<T: DeserializeOwned>(text: &str) -> Error {
    let mut from = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(Objects(&mut from)) {
        Ok(_) => domain_codes::FIELD_INVALID.error(),
        Err(e) => {
            let (message, path) = (e.inner().to_string(), e.path().to_string());
            let rule = rule(&message);
            let field = match missing_field(&message) {
                Some(name) if path == "." => name.to_owned(),
                Some(name) => format!("{path}.{name}"),
                None => path,
            };
            domain_codes::FIELD_INVALID
                .because(format!("Field `{field}`: {rule}."))
                .with("field", field)
                .with("rule", rule)
        }
    }
}

/// The part of a decoding message that holds no value of the request.
fn rule(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(head, _)| head);
    match message.split_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None if message.starts_with("missing field") => "required".to_owned(),
        None if message.starts_with("unknown field") => "unknown".to_owned(),
        None if message.starts_with("not a decimal id") => message.to_owned(),
        None => "malformed".to_owned(),
    }
}

/// The name in "missing field `x`", which the path does not hold.
fn missing_field(message: &str) -> Option<&str> {
    let (name, _) = message.strip_prefix("missing field `")?.split_once('`')?;
    Some(name)
}

/// One pass over the text that checks the syntax and that no object names a key twice.
fn refuse_duplicates(text: &str) -> Result<(), Error> {
    let mut from = serde_json::Deserializer::from_str(text);
    let checked = NoDuplicates.deserialize(&mut from).and_then(|()| from.end());
    checked.map_err(|e| {
        let base = if e.is_data() {
            codes::DUPLICATE_KEY
        } else {
            codes::MALFORMED_JSON
        };
        base.error()
            .with_number("line", e.line() as u64)
            .with_number("column", e.column() as u64)
    })
}

struct NoDuplicates;

impl<'de> DeserializeSeed<'de> for NoDuplicates {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NoDuplicates {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(NoDuplicates)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut few: Vec<Cow<'de, str>> = Vec::new();
        let mut many: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(Key(key)) = entries.next_key()? {
            let is_repeated = if few.len() < LINEAR_KEYS_MAX {
                few.contains(&key)
            } else {
                few.contains(&key) || !many.insert(key.clone())
            };
            if is_repeated {
                return Err(serde::de::Error::custom("a key is there twice"));
            }
            if few.len() < LINEAR_KEYS_MAX {
                few.push(key);
            }
            entries.next_value_seed(NoDuplicates)?;
        }
        Ok(())
    }
}

/// A key, borrowed from the text unless it holds escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }
            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        from.deserialize_str(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn code_of<T: DeserializeOwned>(body: &[u8]) -> &'static str {
        match decode::<T>(body) {
            Ok(_) => "ok",
            Err(e) => e.code.name,
        }
    }

    #[test]
    fn bad_bodies_are_named_by_what_is_wrong() {
        let table: &[(&[u8], &str)] = &[
            (br#"{"token":"x"}"#, "ok"),
            (br#"{"token":"x","extra":{"a":1}}"#, "ok"),
            (br#"{"token":"x""#, "request.malformed_json"),
            (br#"{"token":"x"}{}"#, "request.malformed_json"),
            (b"", "request.malformed_json"),
            (b"{\"token\":\"\xff\"}", "request.malformed_json"),
            (b"{\"token\":\"a\0b\"}", "request.malformed_json"),
            (br#"{"token":"x","token":"y"}"#, "request.duplicate_key"),
            (br#"{"token":"x","\u0074oken":"y"}"#, "request.duplicate_key"),
            (br#"{"token":"x","extra":[{"a":1,"a":2}]}"#, "request.duplicate_key"),
            (br#"{"token":1}"#, "request.field_invalid"),
            (br#"{}"#, "request.field_invalid"),
            (br#"[]"#, "request.field_invalid"),
            (br#"{"token":"x","player_id":7}"#, "request.field_invalid"),
            (br#"{"token":"x","player_id":"0"}"#, "request.field_invalid"),
        ];
        for (body, code) in table {
            assert_eq!(
                code_of::<wire::Verify>(body),
                *code,
                "{}",
                String::from_utf8_lossy(body)
            );
        }
    }

    #[test]
    fn a_record_is_never_an_array() {
        let client = r#"{"package_id":"1","os":"ios","device":{"install_id":"d","ids":IDS}}"#;
        let body = |ids: &str| {
            let client = client.replace("IDS", ids);
            format!(r#"{{"game_id":"1","credential":{{"kind":"guest"}},"client":{client}}}"#)
        };
        assert_eq!(code_of::<wire::SessionCreate>(body("{}").as_bytes()), "ok");
        assert_eq!(
            code_of::<wire::SessionCreate>(body(r#"{"caid":["a"]}"#).as_bytes()),
            "ok"
        );
        for ids in ["[]", "[null,null]", r#""text""#, "7"] {
            assert_eq!(
                code_of::<wire::SessionCreate>(body(ids).as_bytes()),
                "request.field_invalid",
                "{ids}"
            );
        }
        assert_eq!(code_of::<wire::Verify>(br#"["token",null]"#), "request.field_invalid");
    }

    #[test]
    fn duplicates_are_found_beyond_the_linear_range_and_deep_nesting_is_refused() {
        let keys: Vec<String> = (0..200).map(|n| format!("\"k{n}\":0")).collect();
        let fine = format!("{{\"token\":\"x\",{}}}", keys.join(","));
        assert_eq!(
            decode::<wire::Verify>(fine.as_bytes()).map(|d| d.unknown_fields).ok(),
            Some(200)
        );
        let twice = format!("{{\"token\":\"x\",{},\"k199\":1}}", keys.join(","));
        assert_eq!(code_of::<wire::Verify>(twice.as_bytes()), "request.duplicate_key");
        let deep = "[".repeat(30_000);
        assert_eq!(code_of::<wire::Verify>(deep.as_bytes()), "request.malformed_json");
    }

    #[test]
    fn errors_name_the_field_and_never_repeat_a_value() {
        let body =
            br#"{"game_id":"1","credential":{"kind":"username","username":"u","password":12345678},"client":{}}"#;
        let Err(error) = decode::<wire::SessionCreate>(body) else {
            panic!("must be refused")
        };
        assert_eq!(
            error.params.get("field"),
            Some(&seawall_domain::Param::Text("credential.password".into()))
        );
        assert!(!format!("{error:?}").contains("12345678"));
        let Err(error) = decode::<wire::RealmUpdate>(br#"{"guests_allowed":"hunter2"}"#) else {
            panic!()
        };
        assert!(!format!("{error:?}").contains("hunter2"));
        let Err(error) = decode::<wire::RealmUpdate>(br#"{"guests":true}"#) else {
            panic!()
        };
        assert_eq!(
            error.params.get("field"),
            Some(&seawall_domain::Param::Text("guests".into()))
        );
    }
}
