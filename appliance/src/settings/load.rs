//! Reads the layers and puts them on top of each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::file::unknown_key;
use super::registry::Setting;
use super::{Origin, Problem, Resolved, Settings, catalogue, file, resolved_default, suggest};

/// The file read when none is named and this one exists.
pub const DEFAULT_FILE: &str = "/etc/seawall/seawall.toml";

/// Largest settings file, in bytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// Most drop-ins.
const DROP_INS_MAX: usize = 256;

/// The layers above the defaults.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// The main file; must exist when `Some`. Its drop-ins are `conf.d/*.toml` beside it.
    pub file: Option<PathBuf>,
    /// Environment variables; only those that begin with `SEAWALL_` matter.
    pub env: Vec<(String, String)>,
    /// Flags: (path, value, name of the flag).
    pub flags: Vec<(String, String, String)>,
}

/// Reads and checks everything.
///
/// # Errors
/// Every problem found, in the order of the layers.
pub fn load(layers: &Layers) -> Result<Settings, Vec<Problem>> {
    let mut loader = Loader::default();
    for path in files_of(layers) {
        loader.file(&path);
    }
    for (name, value) in layers.env.iter().filter(|(name, _)| name.starts_with("SEAWALL_")) {
        loader.env(name, value);
    }
    for (path, value, flag) in &layers.flags {
        loader.flag(path, value, flag);
    }
    if loader.problems.is_empty() {
        Ok(loader.settings())
    } else {
        Err(loader.problems)
    }
}

/// The main file and its drop-ins by name.
fn files_of(layers: &Layers) -> Vec<PathBuf> {
    let Some(main) = layers.file.clone() else {
        return Vec::new();
    };
    let folder = main.parent().unwrap_or(Path::new(".")).join("conf.d");
    let mut drop_ins: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| {
            entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|e| e == "toml"))
                .collect()
        })
        .unwrap_or_default();
    drop_ins.sort();
    drop_ins.truncate(DROP_INS_MAX);
    drop_ins.insert(0, main);
    drop_ins
}

#[derive(Default)]
struct Loader {
    values: BTreeMap<&'static str, Resolved>,
    arrays: BTreeMap<&'static str, Vec<super::Entry>>,
    files: Vec<PathBuf>,
    problems: Vec<Problem>,
}

impl Loader {
    fn file(&mut self, path: &Path) {
        match read_bounded(path) {
            Ok(text) => {
                let content = file::read(path, &text);
                self.values.extend(content.values);
                for (name, entries) in content.arrays {
                    self.arrays.entry(name).or_default().extend(entries);
                }
                self.problems.extend(content.problems);
                self.files.push(path.to_owned());
            }
            Err(reason) => self.problem(
                Origin::File {
                    file: path.to_owned(),
                    line: 1,
                },
                reason,
            ),
        }
    }

    fn env(&mut self, name: &str, value: &str) {
        if let Some(setting) = catalogue::SETTINGS.iter().find(|setting| setting.env_name() == name) {
            self.set(setting, value, Origin::Env(name.to_owned()));
        } else if is_meant_as_setting(name) {
            let names: Vec<String> = catalogue::SETTINGS.iter().map(Setting::env_name).collect();
            self.problem(
                Origin::Env(name.to_owned()),
                unknown_key(name, names.iter().map(String::as_str)),
            );
        }
    }

    fn flag(&mut self, path: &str, value: &str, flag: &str) {
        let origin = Origin::Flag(flag.to_owned());
        match catalogue::find(path) {
            Some(setting) => self.set(setting, value, origin),
            None => self.problem(origin, unknown_key(path, catalogue::SETTINGS.iter().map(|s| s.path))),
        }
    }

    fn set(&mut self, setting: &Setting, text: &str, origin: Origin) {
        match setting.kind.parse(text) {
            Ok(value) => {
                self.values.insert(setting.path, Resolved { value, origin });
            }
            Err(_) if setting.secret => {
                self.problem(origin, format!("{}: expected {}", setting.path, setting.kind.words()));
            }
            Err(message) => self.problem(origin, format!("{}: {message}", setting.path)),
        }
    }

    fn problem(&mut self, origin: Origin, message: String) {
        self.problems.push(Problem { origin, message });
    }

    fn settings(mut self) -> Settings {
        for setting in catalogue::SETTINGS {
            self.values
                .entry(setting.path)
                .or_insert_with(|| resolved_default(setting));
        }
        Settings {
            values: self.values,
            arrays: self.arrays,
            files: self.files,
        }
    }
}

/// True for a variable that is in a group of settings or nearly one of them. Others of our prefix belong to scripts
/// around the program (`SEAWALL_SECRET` of a game server, say) and are none of its business.
fn is_meant_as_setting(name: &str) -> bool {
    let in_group = |group: &str| {
        name.strip_prefix("SEAWALL_")
            .is_some_and(|rest| rest.starts_with(&format!("{}_", group.to_uppercase())))
    };
    let names: Vec<String> = catalogue::SETTINGS.iter().map(Setting::env_name).collect();
    catalogue::groups().any(in_group) || suggest::nearest(name, names.iter().map(String::as_str)).is_some()
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let size_bytes = std::fs::metadata(path)
        .map_err(|error| format!("cannot be read: {error}"))?
        .len();
    if size_bytes > FILE_MAX_BYTES {
        return Err(format!("is larger than {FILE_MAX_BYTES} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::registry::{Kind, Value};
    use super::*;

    /// Two different allowed values of a kind, other than most defaults.
    fn samples(setting: &Setting) -> [String; 2] {
        match setting.kind {
            Kind::Whole { min, max, .. } => [(min + 1).to_string(), (max - 1).to_string()],
            Kind::Switch => ["true".into(), "false".into()],
            Kind::Choice(words) => [words[0].to_string(), words[1].to_string()],
            Kind::Address => ["127.0.0.1:1".into(), "127.0.0.1:2".into()],
            Kind::Text { .. } | Kind::Path | Kind::List(_) => ["one".into(), "two".into()],
        }
    }

    fn toml_line(setting: &Setting, text: &str) -> String {
        let (group, name) = setting.path.split_once('.').unwrap();
        format!(
            "\n[{group}]\n{name} = {}\n",
            setting.kind.parse(text).unwrap().to_toml()
        )
    }

    /// For every key: each layer wins over all layers below it, and the origin says so.
    #[test]
    fn precedence_holds_for_every_key_over_all_layers() {
        for setting in catalogue::SETTINGS {
            let dir = tempfile::tempdir().unwrap();
            let [low, high] = samples(setting);
            let main = dir.path().join("seawall.toml");
            let drop_in = dir.path().join("conf.d/10-site.toml");
            let none = Layers {
                file: Some(main.clone()),
                ..Layers::default()
            };
            std::fs::write(&main, "").unwrap();
            assert_eq!(
                load(&none).unwrap().get(setting).origin,
                Origin::Default,
                "{}",
                setting.path
            );

            std::fs::write(&main, toml_line(setting, &low)).unwrap();
            let found = load(&none).unwrap().get(setting);
            assert_eq!(
                found,
                Resolved {
                    value: setting.kind.parse(&low).unwrap(),
                    origin: Origin::File {
                        file: main.clone(),
                        line: 3
                    }
                }
            );

            std::fs::create_dir(dir.path().join("conf.d")).unwrap();
            std::fs::write(&drop_in, toml_line(setting, &high)).unwrap();
            let found = load(&none).unwrap().get(setting);
            assert_eq!(
                found,
                Resolved {
                    value: setting.kind.parse(&high).unwrap(),
                    origin: Origin::File { file: drop_in, line: 3 }
                }
            );

            let env = Layers {
                env: vec![(setting.env_name(), low.clone())],
                ..none
            };
            let found = load(&env).unwrap().get(setting);
            assert_eq!(
                found,
                Resolved {
                    value: setting.kind.parse(&low).unwrap(),
                    origin: Origin::Env(setting.env_name())
                }
            );

            let flag = Layers {
                flags: vec![(setting.path.into(), high.clone(), "--set".into())],
                ..env
            };
            let found = load(&flag).unwrap().get(setting);
            assert_eq!(
                found,
                Resolved {
                    value: setting.kind.parse(&high).unwrap(),
                    origin: Origin::Flag("--set".into())
                }
            );
        }
    }

    #[test]
    fn drop_ins_are_read_in_order_of_name_and_others_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("seawall.toml");
        std::fs::write(&main, "").unwrap();
        std::fs::create_dir(dir.path().join("conf.d")).unwrap();
        for (name, level) in [("20-b.toml", "warn"), ("10-a.toml", "debug"), ("30-c.bak", "trace")] {
            std::fs::write(
                dir.path().join("conf.d").join(name),
                format!("[log]\nlevel = \"{level}\"\n"),
            )
            .unwrap();
        }
        let settings = load(&Layers {
            file: Some(main),
            ..Layers::default()
        })
        .unwrap();
        assert_eq!(settings.text(&catalogue::LOG_LEVEL), "warn");
        assert_eq!(settings.files().len(), 3);
    }

    #[test]
    fn unknown_names_in_environment_and_flags_fail_with_a_hint() {
        let layers = Layers {
            env: vec![
                ("SEAWALL_LOG_LEVLE".into(), "info".into()),
                ("SEAWALL_CONFIG".into(), "x".into()),
                ("SEAWALL_SECRET".into(), "x".into()),
                ("SEAWALL_BIN".into(), "x".into()),
                ("HOME".into(), "/".into()),
            ],
            flags: vec![
                ("log.levl".into(), "info".into(), "--set".into()),
                ("hash.threads".into(), "many".into(), "--set".into()),
            ],
            ..Layers::default()
        };
        let found: Vec<String> = load(&layers).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            found[0],
            "env SEAWALL_LOG_LEVLE: unknown key `SEAWALL_LOG_LEVLE`; did you mean `SEAWALL_LOG_LEVEL`?"
        );
        assert_eq!(
            found[1],
            "flag --set: unknown key `log.levl`; did you mean `log.level`?"
        );
        assert!(
            found[2].starts_with("flag --set: hash.threads: `many` is not allowed"),
            "{found:?}"
        );
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn a_named_file_must_exist() {
        let layers = Layers {
            file: Some("/nonexistent/x.toml".into()),
            ..Layers::default()
        };
        assert!(load(&layers).unwrap_err()[0].message.starts_with("cannot be read"));
    }

    #[test]
    fn values_print_as_they_are_written() {
        assert_eq!(Value::List(vec!["a".into(), "b".into()]).to_toml(), "[\"a\", \"b\"]");
        assert_eq!(Value::Text("a\"b".into()).to_toml(), "'a\"b'");
    }
}
