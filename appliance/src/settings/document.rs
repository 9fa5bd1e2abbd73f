//! What operators read about settings, generated from the registry: the annotated file, the reference page, the man
//! page's section, `config explain` and `config show`.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::registry::{ArraySpec, Kind, Setting, Value};
use super::{Resolved, Settings, catalogue, file::FILE_VERSION};

/// Shown instead of a secret.
const MASK: &str = "********";

/// The annotated default file: every key, commented out, with its meaning in both languages.
#[must_use]
pub fn annotated_file() -> String {
    let mut out = String::from(
        "# Settings of Seawall. Generated from the program's registry; every line is optional.\n\
         # Overridden by conf.d/*.toml beside this file, then by SEAWALL_ variables, then by flags.\n\
         # Check with: seawall config check      See what applies: seawall config show --origin\n",
    );
    let _ = writeln!(out, "version = {FILE_VERSION}");
    let mut group = "";
    for setting in catalogue::SETTINGS {
        let (prefix, name) = setting.path.split_once('.').unwrap_or(("", setting.path));
        if prefix != group {
            let _ = write!(out, "\n[{prefix}]\n");
            group = prefix;
        }
        annotate(&mut out, setting, name, &setting.env_name());
    }
    for array in catalogue::ARRAYS {
        let _ = write!(out, "\n# {}\n# {}\n# [[{}]]\n", array.doc_en, array.doc_zh, array.name);
        for field in array.fields {
            annotate(&mut out, field, field.path, "");
        }
    }
    out
}

fn annotate(out: &mut String, setting: &Setting, name: &str, env: &str) {
    let _ = writeln!(out, "# {}\n# {}", setting.doc_en, setting.doc_zh);
    let env = if env.is_empty() {
        String::new()
    } else {
        format!("; env {env}")
    };
    let _ = writeln!(
        out,
        "# {}; takes effect: {}{env}",
        capital(&setting.kind.words()),
        effect(setting)
    );
    let _ = writeln!(out, "# {name} = {}", default_toml(setting));
}

fn effect(setting: &Setting) -> &'static str {
    match setting.reload {
        super::registry::Reload::Live => "at reload",
        super::registry::Reload::Listener => "at reload, for new connections",
        super::registry::Reload::Restart => "at restart",
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

fn default_toml(setting: &Setting) -> String {
    setting
        .kind
        .parse(setting.default)
        .unwrap_or(Value::Text(String::new()))
        .to_toml()
}

/// The reference page, in Markdown.
#[must_use]
pub fn reference_page() -> String {
    let mut out =
        String::from("# Settings\n\nPrecedence, lowest first: default, file, `conf.d/*.toml`, environment, flags.\n\n");
    out.push_str(
        "| key | values | default | takes effect | environment | meaning | 说明 |\n|---|---|---|---|---|---|---|\n",
    );
    for setting in catalogue::SETTINGS {
        let flag = setting.flag.map(|flag| format!(", `--{flag}`")).unwrap_or_default();
        let _ = writeln!(
            out,
            "| `{}` | {} | `{}` | {} | `{}`{flag} | {} | {} |",
            setting.path,
            setting.kind.words(),
            default_toml(setting),
            effect(setting),
            setting.env_name(),
            setting.doc_en,
            setting.doc_zh
        );
    }
    for array in catalogue::ARRAYS {
        array_page(&mut out, array);
    }
    out
}

fn array_page(out: &mut String, array: &ArraySpec) {
    let _ = write!(
        out,
        "\n## `[[{}]]`\n\n{} {}\n\n",
        array.name, array.doc_en, array.doc_zh
    );
    out.push_str("| field | values | default | takes effect | meaning | 说明 |\n|---|---|---|---|---|---|\n");
    for field in array.fields {
        let _ = writeln!(
            out,
            "| `{}` | {} | `{}` | {} | {} | {} |",
            field.path,
            field.kind.words(),
            default_toml(field),
            effect(field),
            field.doc_en,
            field.doc_zh
        );
    }
}

/// The settings section of the man page, in roff.
#[must_use]
pub fn man_section() -> String {
    let mut out =
        String::from(".SH SETTINGS\nPrecedence, lowest first: default, file, conf.d/*.toml, environment, flags.\n");
    for setting in catalogue::SETTINGS {
        let _ = write!(
            out,
            ".TP\n\\fB{}\\fR (default {}; {})\n{} {}. Environment: {}.\n",
            roff(setting.path),
            roff(&default_toml(setting)),
            effect(setting),
            roff(setting.doc_en),
            roff(&capital(&setting.kind.words())),
            roff(&setting.env_name())
        );
    }
    for array in catalogue::ARRAYS {
        let _ = write!(out, ".SS [[{}]]\n{}\n", array.name, roff(array.doc_en));
        for field in array.fields {
            let _ = write!(
                out,
                ".TP\n\\fB{}\\fR\n{} {}.\n",
                roff(field.path),
                roff(field.doc_en),
                roff(&capital(&field.kind.words()))
            );
        }
    }
    out
}

fn roff(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace("\n.", "\n\\&.")
}

/// What `config explain` says about one key, as JSON; `None` for an unknown key.
#[must_use]
pub fn explain(settings: &Settings, path: &str) -> Option<Json> {
    let setting = catalogue::find(path)?;
    let Resolved { value, origin } = settings.get(setting);
    let shown = if setting.secret { MASK.into() } else { value.to_json() };
    let (min, max) = match setting.kind {
        Kind::Whole { min, max, .. } => (Some(min), Some(max)),
        _ => (None, None),
    };
    Some(json!({
        "key": setting.path, "value": shown, "origin": origin.to_string(), "default": setting.default,
        "values": setting.kind.words(), "min": min, "max": max, "takes_effect": setting.reload.word(),
        "environment": setting.env_name(), "flag": setting.flag.map(|flag| format!("--{flag}")),
        "secret": setting.secret, "since": setting.since, "meaning": setting.doc_en, "meaning_zh": setting.doc_zh,
    }))
}

/// Every value with its origin, as JSON; secrets masked.
#[must_use]
pub fn show(settings: &Settings) -> Json {
    let line = |setting: &Setting, found: &Resolved| {
        let value = if setting.secret {
            MASK.into()
        } else {
            found.value.to_json()
        };
        json!({ "key": setting.path, "value": value, "origin": found.origin.to_string() })
    };
    let values: Vec<Json> = catalogue::SETTINGS
        .iter()
        .map(|setting| line(setting, &settings.get(setting)))
        .collect();
    let mut all = serde_json::Map::from_iter([("settings".to_owned(), values.into())]);
    for array in catalogue::ARRAYS {
        let entries = settings.entries(array).iter().map(|entry| {
            let fields = array
                .fields
                .iter()
                .filter_map(|field| entry.fields.get(field.path).map(|found| line(field, found)));
            json!({ "origin": entry.origin.to_string(), "fields": fields.collect::<Vec<_>>() })
        });
        all.insert(array.name.to_owned(), entries.collect::<Vec<_>>().into());
    }
    all.into()
}

#[cfg(test)]
mod tests {
    use super::super::load::{Layers, load};
    use super::*;

    fn defaults() -> Settings {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("seawall.toml");
        std::fs::write(&main, "").unwrap();
        load(&Layers {
            file: Some(main),
            ..Layers::default()
        })
        .unwrap()
    }

    #[test]
    fn the_annotated_file_is_read_back_to_the_defaults_commented_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("seawall.toml");
        let text = annotated_file();
        std::fs::write(&main, &text).unwrap();
        let layers = Layers {
            file: Some(main.clone()),
            ..Layers::default()
        };
        assert!(load(&layers).is_ok());
        // Uncomment every `# key = value` of plain settings: still allowed, still the default values.
        let plain = text.split("\n# One place to listen on").next().unwrap();
        let keys: Vec<&str> = catalogue::SETTINGS
            .iter()
            .map(|s| s.path.split_once('.').unwrap().1)
            .collect();
        let uncommented: Vec<String> = plain
            .lines()
            .map(|line| {
                let bare = line.trim_start_matches("# ");
                let is_key = bare.split_once(" = ").is_some_and(|(key, _)| keys.contains(&key));
                if is_key { bare.to_owned() } else { line.to_owned() }
            })
            .collect();
        std::fs::write(&main, uncommented.join("\n")).unwrap();
        let settings = load(&layers).unwrap();
        let base = defaults();
        for setting in catalogue::SETTINGS {
            assert_eq!(settings.get(setting).value, base.get(setting).value, "{}", setting.path);
            assert_ne!(
                settings.get(setting).origin,
                super::super::Origin::Default,
                "{}",
                setting.path
            );
        }
    }

    #[test]
    fn reference_and_man_page_name_every_key_and_field() {
        let (page, man) = (reference_page(), man_section());
        for setting in catalogue::SETTINGS {
            assert!(
                page.contains(&format!("`{}`", setting.path)) && page.contains(&setting.env_name()),
                "{}",
                setting.path
            );
            assert!(man.contains(&roff(setting.path)), "{}", setting.path);
        }
        for field in catalogue::ARRAYS.iter().flat_map(|array| array.fields) {
            assert!(page.contains(&format!("`{}`", field.path)), "{}", field.path);
        }
    }

    #[test]
    fn explain_tells_value_and_origin() {
        let settings = defaults();
        let told = explain(&settings, "hash.deadline_ms").unwrap();
        assert_eq!(
            (&told["value"], &told["origin"], &told["min"]),
            (&json!(1500), &json!("default"), &json!(100))
        );
        assert!(explain(&settings, "hash.deadline").is_none());
    }
}
