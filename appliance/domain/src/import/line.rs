//! One line of an import file, read into named fields. Total: any bytes give fields or a reason that repeats no value.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};

/// Longest line, in bytes.
pub const LINE_MAX_BYTES: usize = 64 * 1024;
/// Most fields of a line.
pub const FIELDS_MAX: usize = 128;

/// Fields of a line in the order of the file. Empty and null values are left out.
pub type Fields<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Reads one line of NDJSON: one object, no key twice; numbers and booleans as their text, nested values as JSON.
///
/// # Errors
/// What is wrong, with the column but without any value.
pub fn read_json(line: &[u8]) -> Result<Fields<'_>, String> {
    bounded(line)?;
    let text = std::str::from_utf8(line).map_err(|_| "line is not UTF-8".to_owned())?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let fields = reader
        .deserialize_map(ObjectVisitor)
        .map_err(|error| json_reason(&error))?;
    reader
        .end()
        .map_err(|_| "something follows the JSON object".to_owned())?;
    Ok(fields)
}

/// Reads one line of CSV by the names of the header. A quoted field must end on its line.
///
/// # Errors
/// What is wrong.
pub fn read_csv<'a>(line: &'a [u8], header: &'a [String]) -> Result<Fields<'a>, String> {
    bounded(line)?;
    let columns = split_csv(line)?;
    if columns.len() != header.len() {
        return Err(format!(
            "line has {} columns, the header has {}",
            columns.len(),
            header.len()
        ));
    }
    let mut fields = Vec::with_capacity(columns.len());
    for (name, column) in header.iter().zip(columns) {
        let text = String::from_utf8(column).map_err(|_| "line is not UTF-8".to_owned())?;
        // MySQL writes NULL as \N.
        if !text.is_empty() && text != "\\N" && text != "NULL" {
            fields.push((Cow::Borrowed(name.as_str()), Cow::Owned(text)));
        }
    }
    Ok(fields)
}

/// The column names of a header line.
///
/// # Errors
/// What is wrong: not CSV, no column, a name twice.
pub fn read_header(line: &str) -> Result<Vec<String>, String> {
    bounded(line.as_bytes())?;
    let line = line.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']);
    let mut names = Vec::new();
    for column in split_csv(line.as_bytes())? {
        let name = String::from_utf8(column)
            .map_err(|_| "header is not UTF-8".to_owned())?
            .trim()
            .to_owned();
        if name.is_empty() || names.contains(&name) {
            return Err("header has an empty or repeated column name".to_owned());
        }
        names.push(name);
    }
    if names.is_empty() {
        return Err("header has no column".to_owned());
    }
    if names.len() > FIELDS_MAX {
        Err("header has more than 128 columns".to_owned())
    } else {
        Ok(names)
    }
}

fn bounded(line: &[u8]) -> Result<(), String> {
    if line.len() > LINE_MAX_BYTES {
        Err("line is longer than 64 KiB".to_owned())
    } else {
        Ok(())
    }
}

fn split_csv(line: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    if line.iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
        return Err("a quoted field does not end on its line".to_owned());
    }
    let mut reader = csv_core::Reader::new();
    let (mut output, mut ends) = (vec![0; line.len() + 2], [0; FIELDS_MAX + 1]);
    let (mut line, mut written, mut ended) = (line, 0, 0);
    // The end of the input closes the last field; an empty input tells the reader so.
    while let (Some(out), Some(free)) = (output.get_mut(written..), ends.get_mut(ended..)) {
        let (result, read, wrote, fields) = reader.read_record(line, out, free);
        line = line.get(read..).unwrap_or_default();
        written += wrote;
        ended += fields;
        match result {
            csv_core::ReadRecordResult::InputEmpty => {}
            csv_core::ReadRecordResult::Record if line.is_empty() => break,
            csv_core::ReadRecordResult::Record => {
                return Err("line holds a bare carriage return or a second record".to_owned());
            }
            csv_core::ReadRecordResult::End => break,
            csv_core::ReadRecordResult::OutputFull | csv_core::ReadRecordResult::OutputEndsFull => {
                return Err("line has more than 128 columns".to_owned());
            }
        }
    }
    let mut start = 0;
    let columns = ends.iter().take(ended).map(|end| {
        let column = output.get(start..*end).unwrap_or_default().to_vec();
        start = *end;
        column
    });
    Ok(columns.collect())
}

/// The place and kind of a JSON error; serde's own text may repeat a value.
fn json_reason(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data if error.to_string().starts_with(DUPLICATE) => {
            "a key occurs twice".to_owned()
        }
        serde_json::error::Category::Data if error.to_string().starts_with(TOO_MANY) => {
            "line has more than 128 fields".to_owned()
        }
        serde_json::error::Category::Data => "line is not a JSON object".to_owned(),
        _ => format!("JSON is broken at column {}", error.column()),
    }
}

const DUPLICATE: &str = "duplicate key";
const TOO_MANY: &str = "too many fields";

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields: Fields<'de> = Vec::with_capacity(24);
        let mut nulls: Vec<Cow<'de, str>> = Vec::new();
        while let Some(key) = map.next_key_seed(TextSeed)? {
            if fields.iter().any(|(known, _)| *known == key) || nulls.contains(&key) {
                return Err(A::Error::custom(DUPLICATE));
            }
            if fields.len() + nulls.len() >= FIELDS_MAX {
                return Err(A::Error::custom(TOO_MANY));
            }
            match map.next_value_seed(ScalarSeed)? {
                Some(value) if !value.is_empty() => fields.push((key, value)),
                _ => nulls.push(key),
            }
        }
        Ok(fields)
    }
}

/// A string, borrowed from the line when it holds no escape.
struct TextSeed;

impl<'de> DeserializeSeed<'de> for TextSeed {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Any value as text; null is `None`.
struct ScalarSeed;

impl<'de> DeserializeSeed<'de> for ScalarSeed {
    type Value = Option<Cow<'de, str>>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Option<Cow<'de, str>>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }
    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(if flag { "1" } else { "0" })))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let value = serde::Deserialize::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Ok(Some(Cow::Owned(serde_json::Value::to_string(&value))))
    }
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        let value = serde::Deserialize::deserialize(serde::de::value::SeqAccessDeserializer::new(seq))?;
        Ok(Some(Cow::Owned(serde_json::Value::to_string(&value))))
    }
}
