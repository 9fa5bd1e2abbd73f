//! One settings file (TOML): its values by path with the line each stands on, and every problem found, not only the
//! first.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::registry::{ArraySpec, Kind, Setting, Value};
use super::{Entry, Origin, Problem, Resolved, catalogue, resolved_default, suggest};

/// Format of the file this version reads and writes.
pub const FILE_VERSION: u64 = 1;

/// What one file says.
#[derive(Debug, Default)]
pub struct FileContent {
    pub values: BTreeMap<&'static str, Resolved>,
    pub arrays: BTreeMap<&'static str, Vec<Entry>>,
    pub problems: Vec<Problem>,
}

/// Reads `text`, which came from `file`.
pub fn read(file: &Path, text: &str) -> FileContent {
    let mut reader = Reader {
        file,
        text,
        content: FileContent::default(),
    };
    match DeTable::parse(text) {
        Ok(table) => reader.root(table.get_ref()),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            reader.problem(at, error.message().to_owned());
        }
    }
    reader.content
}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    content: FileContent,
}

impl Reader<'_> {
    fn origin(&self, at: usize) -> Origin {
        let before = self.text.get(..at).unwrap_or(self.text);
        Origin::File {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
        }
    }

    fn problem(&mut self, at: usize, message: String) {
        let origin = self.origin(at);
        self.content.problems.push(Problem { origin, message });
    }

    fn root(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            let (name, at) = (key.get_ref().as_ref(), key.span().start);
            if name == "version" {
                self.version(value);
            } else if let Some(array) = catalogue::ARRAYS.iter().find(|array| array.name == name) {
                self.array(array, value);
            } else if let DeValue::Table(group) = value.get_ref()
                && catalogue::groups().any(|known| known == name)
            {
                self.group(name, group);
            } else {
                self.unknown(at, name);
            }
        }
    }

    fn version(&mut self, value: &Spanned<DeValue<'_>>) {
        let known = value
            .get_ref()
            .as_integer()
            .is_some_and(|n| n.as_str() == FILE_VERSION.to_string());
        if !known {
            self.problem(
                value.span().start,
                format!("this program reads files of version = {FILE_VERSION}"),
            );
        }
    }

    fn group(&mut self, prefix: &str, group: &DeTable<'_>) {
        for (key, value) in group {
            let path = format!("{prefix}.{}", key.get_ref());
            if let Some(setting) = catalogue::find(&path) {
                if let Some(resolved) = self.value(setting, value) {
                    self.content.values.insert(setting.path, resolved);
                }
            } else {
                self.unknown(key.span().start, &path);
            }
        }
    }

    fn unknown(&mut self, at: usize, path: &str) {
        let paths = catalogue::SETTINGS
            .iter()
            .map(|s| s.path)
            .chain(catalogue::ARRAYS.iter().map(|a| a.name));
        let paths = paths.chain(catalogue::groups());
        let message = unknown_key(path, paths);
        self.problem(at, message);
    }

    fn value(&mut self, setting: &Setting, value: &Spanned<DeValue<'_>>) -> Option<Resolved> {
        let at = value.span().start;
        match from_toml(&setting.kind, value.get_ref()) {
            Ok(found) => Some(Resolved {
                value: found,
                origin: self.origin(at),
            }),
            Err(message) => {
                self.problem(at, format!("{}: {message}", setting.path));
                None
            }
        }
    }

    fn array(&mut self, array: &ArraySpec, value: &Spanned<DeValue<'_>>) {
        let Some(entries) = value.get_ref().as_array() else {
            return self.problem(
                value.span().start,
                format!("write `[[{}]]` once for each entry", array.name),
            );
        };
        for entry in entries.iter() {
            match entry.get_ref() {
                DeValue::Table(fields) => self.entry(array, entry.span().start, fields),
                _ => self.problem(
                    entry.span().start,
                    format!("write `[[{}]]` once for each entry", array.name),
                ),
            }
        }
    }

    fn entry(&mut self, array: &ArraySpec, at: usize, table: &DeTable<'_>) {
        let mut fields: BTreeMap<_, _> = array
            .fields
            .iter()
            .map(|field| (field.path, resolved_default(field)))
            .collect();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if let Some(field) = array.fields.iter().find(|field| field.path == name) {
                if let Some(resolved) = self.value(field, value) {
                    fields.insert(field.path, resolved);
                }
            } else {
                let message = unknown_key(name, array.fields.iter().map(|field| field.path));
                self.problem(key.span().start, format!("[[{}]]: {message}", array.name));
            }
        }
        for field in array.fields.iter().filter(|field| field.doc_en.contains("required")) {
            let missing = fields.get(field.path).is_none_or(|r| r.origin == Origin::Default);
            if missing {
                self.problem(at, format!("[[{}]]: `{}` is required", array.name, field.path));
            }
        }
        let origin = self.origin(at);
        self.content
            .arrays
            .entry(array.name)
            .or_default()
            .push(Entry { origin, fields });
    }
}

/// The message for a key nobody knows.
pub fn unknown_key<'a>(path: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match suggest::nearest(path, known) {
        Some(near) => format!("unknown key `{path}`; did you mean `{near}`?"),
        None => format!("unknown key `{path}`; `seawall config reference` lists all keys"),
    }
}

fn from_toml(kind: &Kind, value: &DeValue<'_>) -> Result<Value, String> {
    match (kind, value) {
        (Kind::Whole { .. }, DeValue::Integer(number)) if number.radix() == 10 => {
            kind.parse(&number.as_str().replace('_', ""))
        }
        (Kind::Switch, DeValue::Boolean(on)) => Ok(Value::Switch(*on)),
        (Kind::List(item), DeValue::Array(items)) => {
            let texts = items.iter().map(|one| {
                one.get_ref()
                    .as_str()
                    .ok_or_else(|| expected(kind, one.get_ref()))
                    .and_then(|text| item.check_text(text))
            });
            texts.collect::<Result<_, _>>().map(Value::List)
        }
        (Kind::Whole { .. } | Kind::Switch | Kind::List(_), other) => Err(expected(kind, other)),
        (_, DeValue::String(text)) => kind.check_text(text).map(Value::Text),
        (_, other) => Err(expected(kind, other)),
    }
}

fn expected(kind: &Kind, got: &DeValue<'_>) -> String {
    format!("got {}; expected {}", got.type_str(), kind.words())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<String> {
        read(Path::new("x.toml"), text)
            .problems
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn every_problem_is_reported_with_its_line() {
        let text = "version = 1\n[log]\nlevl = \"info\"\nformat = \"xml\"\n\n[hash]\nthreads = \"two\"\ncolour = 1\n";
        let found = messages(text);
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(
            found
                .iter()
                .any(|m| m == "x.toml:3: unknown key `log.levl`; did you mean `log.level`?"),
            "{found:#?}"
        );
        assert!(
            found
                .iter()
                .any(|m| m.starts_with("x.toml:4: log.format: `xml` is not allowed")),
            "{found:#?}"
        );
        assert!(
            found
                .iter()
                .any(|m| m.starts_with("x.toml:7: hash.threads: got string; expected whole number")),
            "{found:#?}"
        );
        assert!(
            found
                .iter()
                .any(|m| m.starts_with("x.toml:8: unknown key `hash.colour`")),
            "{found:#?}"
        );
    }

    #[test]
    fn broken_toml_and_a_future_version_are_refused() {
        assert_eq!(
            messages("[logs]\n"),
            ["x.toml:1: unknown key `logs`; did you mean `log`?"]
        );
        assert!(messages("[log\n").first().is_some_and(|m| m.starts_with("x.toml:1: ")));
        assert_eq!(
            messages("\nversion = 9\n"),
            ["x.toml:2: this program reads files of version = 1"]
        );
    }

    #[test]
    fn listeners_have_defaults_and_required_fields() {
        let text = "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\n\n[[listener]]\nnam = \"b\"\n";
        let content = read(Path::new("x.toml"), text);
        let listeners = &content.arrays["listener"];
        assert_eq!(listeners.len(), 2);
        assert!(listeners[0].switch("tls"));
        assert_eq!(listeners[0].list("surfaces"), ["sdk", "server"]);
        let found: Vec<String> = content.problems.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 3, "{found:#?}");
        assert_eq!(
            found[0],
            "x.toml:6: [[listener]]: unknown key `nam`; did you mean `name`?"
        );
    }

    #[test]
    fn lists_and_numbers_are_typed() {
        let content = read(
            Path::new("x.toml"),
            "[limits]\nconnections_max = 1_000\n[telemetry]\notel_stdout = true\n",
        );
        assert!(content.problems.is_empty());
        assert_eq!(content.values["limits.connections_max"].value, Value::Whole(1000));
        assert_eq!(content.values["telemetry.otel_stdout"].value, Value::Switch(true));
        assert_eq!(messages("[limits]\nconnections_max = 0x10\n").len(), 1);
    }
}
