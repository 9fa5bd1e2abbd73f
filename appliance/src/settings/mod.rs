//! Settings of the host: one registry ([`catalogue`]), read from layers ([`load`]), each value with its origin.
//! Precedence, lowest first: default, file, drop-ins in order of name, environment, flags. (Settings kept in the
//! store and edited in a console will come between default and file.)

pub mod catalogue;
pub mod config;
pub mod document;
mod file;
pub mod load;
pub mod registry;
mod suggest;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use registry::{ArraySpec, Setting, Value};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of a file.
    File {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: usize,
    },
    /// An environment variable.
    Env(String),
    /// A command-line flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => write!(f, "default"),
            Origin::File { file, line } => write!(f, "{}:{line}", file.display()),
            Origin::Env(name) => write!(f, "env {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The value.
    pub value: Value,
    /// Its origin.
    pub origin: Origin,
}

/// One entry of an array such as `[[listener]]`, with defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Line of its header.
    pub origin: Origin,
    /// By field name.
    pub fields: BTreeMap<&'static str, Resolved>,
}

/// Something wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub origin: Origin,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}

/// All settings, checked one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    values: BTreeMap<&'static str, Resolved>,
    arrays: BTreeMap<&'static str, Vec<Entry>>,
    files: Vec<PathBuf>,
}

impl Settings {
    /// The value of a setting with its origin.
    #[must_use]
    pub fn get(&self, setting: &Setting) -> Resolved {
        self.values
            .get(setting.path)
            .cloned()
            .unwrap_or_else(|| resolved_default(setting))
    }

    /// A text, path, address or choice; empty for other kinds.
    #[must_use]
    pub fn text(&self, setting: &Setting) -> String {
        text_of(self.get(setting).value)
    }

    /// A number; 0 for other kinds.
    #[must_use]
    pub fn whole(&self, setting: &Setting) -> u64 {
        whole_of(&self.get(setting).value)
    }

    /// A switch; false for other kinds.
    #[must_use]
    pub fn switch(&self, setting: &Setting) -> bool {
        self.get(setting).value == Value::Switch(true)
    }

    /// The entries of an array.
    #[must_use]
    pub fn entries(&self, array: &ArraySpec) -> &[Entry] {
        self.arrays.get(array.name).map_or(&[], Vec::as_slice)
    }

    /// The files that were read, in order.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

impl Entry {
    /// A text field; empty when it has none.
    #[must_use]
    pub fn text(&self, field: &str) -> String {
        self.fields
            .get(field)
            .map(|r| text_of(r.value.clone()))
            .unwrap_or_default()
    }

    /// A number field.
    #[must_use]
    pub fn whole(&self, field: &str) -> u64 {
        self.fields.get(field).map_or(0, |r| whole_of(&r.value))
    }

    /// A number field that was written; `None` when it was left out.
    #[must_use]
    pub fn given(&self, field: &str) -> Option<u64> {
        let written = self.fields.get(field).filter(|r| r.origin != Origin::Default)?;
        Some(whole_of(&written.value))
    }

    /// A switch field.
    #[must_use]
    pub fn switch(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(|r| r.value == Value::Switch(true))
    }

    /// A list field.
    #[must_use]
    pub fn list(&self, field: &str) -> Vec<String> {
        match self.fields.get(field).map(|r| &r.value) {
            Some(Value::List(items)) => items.clone(),
            _ => Vec::new(),
        }
    }
}

fn text_of(value: Value) -> String {
    match value {
        Value::Text(text) => text,
        _ => String::new(),
    }
}

fn whole_of(value: &Value) -> u64 {
    match value {
        Value::Whole(number) => *number,
        _ => 0,
    }
}

/// Defaults are checked by a test of the catalogue; one that is not allowed would read as empty text.
fn resolved_default(setting: &Setting) -> Resolved {
    let value = setting
        .kind
        .parse(setting.default)
        .unwrap_or_else(|_| Value::Text(String::new()));
    Resolved {
        value,
        origin: Origin::Default,
    }
}
