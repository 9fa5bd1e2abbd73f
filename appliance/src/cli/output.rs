//! What the command line prints: JSON for programs, tables and records for people. A closed pipe is no error.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use serde_json::Value;

use super::instant;

/// How a JSON answer is shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Field by field.
    Record,
    /// As a table.
    Table {
        /// Field of the answer that holds the rows.
        rows: &'static str,
        /// Dotted paths into a row; the last part is the heading.
        columns: &'static [&'static str],
    },
}

/// Where and how to print.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    colour: bool,
}

impl Output {
    /// To standard output; in colour only on a terminal and without `NO_COLOR`.
    #[must_use]
    pub fn new(json: bool) -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, colour }
    }

    /// True when JSON was asked for.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints an answer.
    pub fn answer(&self, answer: &Value, view: View) {
        if self.json {
            self.text(&format!("{answer}\n"));
        } else {
            self.text(&self.shown(answer, view));
        }
    }

    /// Prints text as it is.
    pub fn text(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Tells people something beside the answer, on standard error; programs see it in the answer.
    pub fn note(&self, text: &str) {
        if !self.json {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// Prints a failure to standard error.
    pub fn failure(&self, failure: &super::failure::Failure) {
        let mut out = std::io::stderr().lock();
        let _ = if self.json {
            writeln!(out, "{}", failure.to_json())
        } else {
            writeln!(out, "seawall: {failure}")
        };
    }

    fn shown(&self, answer: &Value, view: View) -> String {
        match view {
            View::Record => self.record(answer, 0),
            View::Table { rows, columns } => {
                let rows = answer
                    .get(rows)
                    .and_then(Value::as_array)
                    .map_or(&[][..], Vec::as_slice);
                self.table(rows, columns)
            }
        }
    }

    fn heading(&self, text: &str) -> String {
        if self.colour {
            format!("\x1b[1m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn record(&self, value: &Value, indent: usize) -> String {
        let Value::Object(fields) = value else {
            return format!("{:indent$}{}\n", "", plain("", value));
        };
        let width = fields.keys().map(|key| key.chars().count()).max().unwrap_or(0);
        let mut out = String::new();
        for (key, field) in fields {
            let name = self.heading(&format!("{key:width$}"));
            match field {
                Value::Object(inner) if !inner.is_empty() => {
                    let _ = write!(out, "{:indent$}{name}\n{}", "", self.record(field, indent + 2));
                }
                Value::Array(items) if items.iter().any(Value::is_object) => {
                    let _ = writeln!(out, "{:indent$}{name}", "");
                    for item in items {
                        let lines = self.record(item, indent + 4);
                        let _ = write!(out, "{:indent$}  - {}", "", lines.trim_start());
                    }
                }
                _ => {
                    let _ = writeln!(out, "{:indent$}{name}  {}", "", plain(key, field));
                }
            }
        }
        out
    }

    fn table(&self, rows: &[Value], columns: &[&str]) -> String {
        let headings = columns
            .iter()
            .map(|path| path.rsplit('.').next().unwrap_or(path).to_uppercase())
            .collect();
        let cells = rows
            .iter()
            .map(|row| columns.iter().map(|path| plain(path, at(row, path))).collect());
        let lines: Vec<Vec<String>> = std::iter::once(headings).chain(cells).collect();
        let width = |column: usize| {
            lines
                .iter()
                .filter_map(|line| line.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns.len()).map(width).collect();
        let mut out = String::new();
        for (number, line) in lines.iter().enumerate() {
            let padded: Vec<String> = line
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            let text = padded.join("  ").trim_end().to_owned();
            out.push_str(&if number == 0 { self.heading(&text) } else { text });
            out.push('\n');
        }
        out
    }
}

/// The value at a dotted path; null when there is none.
fn at<'a>(row: &'a Value, path: &str) -> &'a Value {
    path.split('.')
        .try_fold(row, |value, part| value.get(part))
        .unwrap_or(&Value::Null)
}

/// A value as people read it; instants by the name of their field. Control characters (a player's name may hold
/// anything) never reach the terminal.
fn plain(key: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        Value::Number(number) if key.ends_with("_at") || key == "at" => {
            number.as_u64().map_or_else(|| number.to_string(), instant::show)
        }
        Value::Number(number) => number.to_string(),
        Value::String(text) => text
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect(),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) => items.iter().map(|item| plain("", item)).collect::<Vec<_>>().join(", "),
        Value::Object(fields) if fields.is_empty() => "-".into(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, field)| format!("{key}={}", plain(key, field)))
            .collect::<Vec<_>>()
            .join(" "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Output = Output {
        json: false,
        colour: false,
    };

    #[test]
    fn tables_line_up_and_show_instants() {
        let answer = json!({ "games": [
            { "game_id": "1", "name": "长城", "settings": { "status": "open" }, "created_at": 0 },
            { "game_id": "12", "name": "b", "settings": { "status": "maintenance" } },
        ]});
        let view = View::Table {
            rows: "games",
            columns: &["game_id", "name", "settings.status", "created_at"],
        };
        let text = PLAIN.shown(&answer, view);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "GAME_ID  NAME  STATUS       CREATED_AT");
        assert_eq!(lines[1], "1        长城    open         1970-01-01T00:00:00Z");
        assert_eq!(lines[2], "12       b     maintenance  -");
    }

    #[test]
    fn records_nest() {
        let answer = json!({ "account_id": "7", "players": [{ "game_id": "1" }], "origin": { "ip": "192.0.2.1" }, "restrictions": [] });
        let text = PLAIN.shown(&answer, View::Record);
        assert_eq!(
            text,
            "account_id    7\norigin      \n  ip  192.0.2.1\nplayers     \n  - game_id  1\nrestrictions  -\n"
        );
    }

    #[test]
    fn no_control_character_reaches_a_terminal() {
        let text = PLAIN.shown(&json!({ "name": "\u{1b}[2J" }), View::Record);
        assert!(!text.contains('\u{1b}'));
    }
}
