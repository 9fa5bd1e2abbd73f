//! What a setting is: its path, kind with unit and range, default, names in file, environment and flags, when a change
//! takes effect, and its description in two languages. The list itself is in [`super::catalogue`]; everything an
//! operator reads about a setting is generated from it.

use std::net::SocketAddr;

/// What values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text of at most so many bytes.
    Text {
        /// Limit.
        max_bytes: usize,
    },
    /// A path; relative ones are taken from the working directory.
    Path,
    /// `ip:port` or `unix:/path`; port 0 lets the system choose.
    Address,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number in a unit, both ends included.
    Whole {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
        /// For example `ms`; empty when it is a plain count.
        unit: &'static str,
    },
    /// `true` or `false`.
    Switch,
    /// A list; in environment and flags separated by commas.
    List(&'static Kind),
}

/// When a change takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// At SIGHUP, at once.
    Live,
    /// At SIGHUP, for new connections.
    Listener,
    /// At the next start.
    Restart,
}

impl Reload {
    /// The word shown to operators.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Reload::Live => "live",
            Reload::Listener => "listener",
            Reload::Restart => "restart",
        }
    }
}

/// Where a setting may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Of this host only: file, environment, flags.
    Host,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// `group.name`, or only the name for a field of an array entry.
    pub path: &'static str,
    /// Values.
    pub kind: Kind,
    /// Default, as it would be written in the environment.
    pub default: &'static str,
    /// A flag of its own beside `--set path=value`; `None` for most.
    pub flag: Option<&'static str>,
    /// Where it may be set.
    pub scope: Scope,
    /// When a change takes effect.
    pub reload: Reload,
    /// Masked wherever it is shown.
    pub secret: bool,
    /// What it does, in English.
    pub doc_en: &'static str,
    /// What it does, in Chinese.
    pub doc_zh: &'static str,
    /// First version that knows it.
    pub since: &'static str,
}

impl Setting {
    /// The environment variable: `SEAWALL_` and the path in capitals with `_` for `.`.
    #[must_use]
    pub fn env_name(&self) -> String {
        format!("SEAWALL_{}", self.path.replace('.', "_").to_uppercase())
    }
}

/// An array of tables in the file, such as `[[listener]]`.
#[derive(Debug, Clone, Copy)]
pub struct ArraySpec {
    /// Its name in the file.
    pub name: &'static str,
    /// Fields of one entry.
    pub fields: &'static [Setting],
    /// What an entry is, in English.
    pub doc_en: &'static str,
    /// What an entry is, in Chinese.
    pub doc_zh: &'static str,
}

/// A checked value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text, path, address or choice.
    Text(String),
    /// Whole number.
    Whole(u64),
    /// Switch.
    Switch(bool),
    /// List of texts.
    List(Vec<String>),
}

impl Value {
    /// As it would be written in the environment.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            Value::Whole(number) => number.to_string(),
            Value::Switch(on) => on.to_string(),
            Value::List(items) => items.join(","),
        }
    }

    /// As JSON, for `--json`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Text(text) => text.as_str().into(),
            Value::Whole(number) => (*number).into(),
            Value::Switch(on) => (*on).into(),
            Value::List(items) => items.clone().into(),
        }
    }

    /// As it would be written in the file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        match self {
            Value::Text(text) => toml::Value::String(text.clone()).to_string(),
            Value::Whole(number) => number.to_string(),
            Value::Switch(on) => on.to_string(),
            Value::List(items) => toml::Value::from(items.clone()).to_string(),
        }
    }
}

impl Kind {
    /// Reads a value as written in the environment, a flag or a default.
    ///
    /// # Errors
    /// What is wrong and what is allowed, as a sentence.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        match self {
            Kind::Whole { .. } => text
                .trim()
                .parse::<u64>()
                .map_err(|_| self.expected(text))
                .and_then(|n| self.check_whole(n)),
            Kind::Switch => match text.trim() {
                "true" => Ok(Value::Switch(true)),
                "false" => Ok(Value::Switch(false)),
                _ => Err(self.expected(text)),
            },
            Kind::List(item) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items
                    .map(|text| item.check_text(text))
                    .collect::<Result<_, _>>()
                    .map(Value::List)
            }
            _ => self.check_text(text).map(Value::Text),
        }
    }

    /// Checks a number against the range.
    ///
    /// # Errors
    /// As [`Kind::parse`].
    pub fn check_whole(&self, number: u64) -> Result<Value, String> {
        match self {
            Kind::Whole { min, max, .. } if (*min..=*max).contains(&number) => Ok(Value::Whole(number)),
            _ => Err(self.expected(&number.to_string())),
        }
    }

    /// Checks a text (of a list: one item).
    ///
    /// # Errors
    /// As [`Kind::parse`].
    pub fn check_text(&self, text: &str) -> Result<String, String> {
        let allowed = match self {
            Kind::Text { max_bytes } => text.len() <= *max_bytes && !text.contains('\0'),
            Kind::Path => !text.contains('\0'),
            Kind::Choice(words) => words.contains(&text),
            Kind::Address => text
                .strip_prefix("unix:")
                .map_or_else(|| text.parse::<SocketAddr>().is_ok(), |path| !path.is_empty()),
            Kind::Whole { .. } | Kind::Switch | Kind::List(_) => false,
        };
        if allowed {
            Ok(text.to_owned())
        } else {
            Err(self.expected(text))
        }
    }

    /// What this kind takes, for a message and for the reference.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Kind::Text { max_bytes } => format!("text of at most {max_bytes} bytes"),
            Kind::Path => "path".into(),
            Kind::Address => "ip:port or unix:/path".into(),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::Whole { min, max, unit: "" } => format!("whole number from {min} to {max}"),
            Kind::Whole { min, max, unit } => format!("whole number of {unit} from {min} to {max}"),
            Kind::Switch => "true or false".into(),
            Kind::List(item) => format!("list; each: {}", item.words()),
        }
    }

    fn expected(&self, got: &str) -> String {
        let shown: String = got.chars().take(64).collect();
        format!("`{shown}` is not allowed; expected {}", self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_accept_what_they_say_and_refuse_the_rest() {
        const WORDS: Kind = Kind::Choice(&["a", "b"]);
        let whole = Kind::Whole {
            min: 1,
            max: 9,
            unit: "ms",
        };
        let table: &[(Kind, &str, bool)] = &[
            (whole, "1", true),
            (whole, "9", true),
            (whole, "0", false),
            (whole, "10", false),
            (whole, "-1", false),
            (whole, "1.5", false),
            (Kind::Switch, "true", true),
            (Kind::Switch, "yes", false),
            (WORDS, "a", true),
            (WORDS, "A", false),
            (Kind::Address, "[::]:8443", true),
            (Kind::Address, "127.0.0.1:0", true),
            (Kind::Address, "unix:/run/x.sock", true),
            (Kind::Address, "unix:", false),
            (Kind::Address, "localhost", false),
            (Kind::Text { max_bytes: 3 }, "abc", true),
            (Kind::Text { max_bytes: 3 }, "abcd", false),
            (Kind::List(&WORDS), "a, b", true),
            (Kind::List(&WORDS), "a,c", false),
            (Kind::List(&WORDS), "", true),
        ];
        for (kind, text, allowed) in table {
            assert_eq!(kind.parse(text).is_ok(), *allowed, "{kind:?} {text}");
        }
    }

    #[test]
    fn messages_name_the_range_and_the_unit() {
        let message = Kind::Whole {
            min: 1,
            max: 9,
            unit: "ms",
        }
        .parse("12")
        .unwrap_err();
        assert_eq!(message, "`12` is not allowed; expected whole number of ms from 1 to 9");
    }
}
