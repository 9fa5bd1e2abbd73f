//! Verbs that need no data: settings, the OpenAPI document, version, completion and man pages.

use std::path::Path;

use clap::CommandFactory as _;
use seawall_web::Surface;
use serde_json::json;

use super::failure::{DONE, FAILED, Failure};
use super::grammar::{Cli, ConfigVerb};
use super::lines;
use super::output::{Output, View};
use crate::build_info as build;
use crate::settings::config::HostConfig;
use crate::settings::{Problem, Settings, catalogue, document};

const SETTINGS: View = View::Table {
    rows: "settings",
    columns: &["key", "value"],
};
const SETTINGS_WITH_ORIGIN: View = View::Table {
    rows: "settings",
    columns: &["key", "value", "origin"],
};

type Loaded = Result<Settings, Vec<Problem>>;

/// `seawall config …`; answers the exit code.
///
/// # Errors
/// When the settings are wrong (except for the verbs that do not read them).
pub fn config(verb: &ConfigVerb, loaded: &Loaded, out: &Output) -> Result<u8, Failure> {
    match verb {
        ConfigVerb::Check => Ok(check(loaded, out)),
        ConfigVerb::Show { origin } => {
            out.answer(
                &document::show(good(loaded)?),
                if *origin { SETTINGS_WITH_ORIGIN } else { SETTINGS },
            );
            Ok(DONE)
        }
        ConfigVerb::Explain { key } => {
            let told = document::explain(good(loaded)?, key).ok_or_else(|| Failure::Usage(catalogue::unknown(key)))?;
            out.answer(&told, View::Record);
            Ok(DONE)
        }
        ConfigVerb::Reference { format } => {
            out.text(&if format == "file" {
                document::annotated_file()
            } else {
                document::reference_page()
            });
            Ok(DONE)
        }
    }
}

fn good(loaded: &Loaded) -> Result<&Settings, Failure> {
    loaded.as_ref().map_err(|problems| Failure::Failed(lines(problems)))
}

fn check(loaded: &Loaded, out: &Output) -> u8 {
    let problems = match loaded {
        Ok(settings) => HostConfig::from_settings(settings).err().unwrap_or_default(),
        Err(problems) => problems.clone(),
    };
    if out.is_json() {
        let list: Vec<_> = problems
            .iter()
            .map(|problem| json!({ "origin": problem.origin.to_string(), "message": problem.message }))
            .collect();
        out.answer(&json!({ "problems": list }), View::Record);
    } else if problems.is_empty() {
        out.text("settings are in order\n");
    } else {
        out.text(&format!("{}\n", lines(&problems)));
    }
    if problems.is_empty() { DONE } else { FAILED }
}

/// `seawall openapi`.
///
/// # Errors
/// None today.
pub fn openapi(admin: bool, out: &Output) -> Result<u8, Failure> {
    let surfaces: &[Surface] = if admin {
        &Surface::ALL
    } else {
        &[Surface::Sdk, Surface::Server]
    };
    let document = serde_json::to_string_pretty(&seawall_web::openapi::document(surfaces))
        .map_err(|error| Failure::Failed(error.to_string()))?;
    out.text(&format!("{document}\n"));
    Ok(DONE)
}

/// `seawall version`.
///
/// # Errors
/// None today.
pub fn version(out: &Output) -> Result<u8, Failure> {
    if out.is_json() {
        let mut answer = json!({ "version": build::VERSION, "commit": build::COMMIT, "target": build::TARGET });
        if let Some(fields) = answer.as_object_mut().filter(|_| build::WITH_FAULTS) {
            fields.insert("faults".into(), true.into());
        }
        out.answer(&answer, View::Record);
    } else {
        let warning = if build::WITH_FAULTS {
            ", with faults on demand: for tests only"
        } else {
            ""
        };
        out.text(&format!(
            "seawall {} ({}, {}{warning})\n",
            build::VERSION,
            build::COMMIT,
            build::TARGET
        ));
    }
    Ok(DONE)
}

/// `seawall completion`.
///
/// # Errors
/// None today.
pub fn completion(shell: clap_complete::Shell, out: &Output) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "seawall", &mut script);
    out.text(&String::from_utf8_lossy(&script));
    Ok(DONE)
}

/// `seawall man`: one page with the settings on standard output, or a page for each verb in a directory.
///
/// # Errors
/// When a page cannot be written.
pub fn man(dir: Option<&Path>, out: &Output) -> Result<u8, Failure> {
    let page = main_page().map_err(|error| Failure::Failed(error.to_string()))?;
    let Some(dir) = dir else {
        out.text(&String::from_utf8_lossy(&page));
        return Ok(DONE);
    };
    let written = |error: std::io::Error| Failure::file(dir, "written", &error);
    std::fs::create_dir_all(dir).map_err(written)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(written)?;
    std::fs::write(dir.join("seawall.1"), page).map_err(written)?;
    Ok(DONE)
}

fn main_page() -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    page.extend_from_slice(document::man_section().as_bytes());
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_and_man_pages_list_the_exit_codes_of_data_that_does_not_open() {
        let dir = tempfile::tempdir().unwrap();
        man(Some(dir.path()), &Output::new(true)).unwrap();
        for page in ["seawall.1", "seawall-serve.1"] {
            let text = std::fs::read_to_string(dir.path().join(page)).unwrap();
            assert!(text.contains("24 store.lost_data"), "{page}: {text}");
        }
        let mut command = Cli::command();
        let serve = command.find_subcommand_mut("serve").unwrap();
        assert!(serve.render_help().to_string().contains("24 store.lost_data"));
    }
    use crate::settings::load::{Layers, load};

    fn loaded(text: &str) -> Loaded {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("seawall.toml");
        std::fs::write(&main, text).unwrap();
        load(&Layers {
            file: Some(main),
            ..Layers::default()
        })
    }

    #[test]
    fn check_leaves_with_1_on_any_problem() {
        let out = Output::new(true);
        for (text, code) in [("", 0), ("[log]\nlevl = \"x\"\n", 1), ("[tls]\nkey_file = \"/k\"\n", 1)] {
            assert_eq!(config(&ConfigVerb::Check, &loaded(text), &out).unwrap(), code, "{text}");
        }
    }

    #[test]
    fn explaining_an_unknown_key_is_a_usage_error_with_a_hint() {
        let verb = ConfigVerb::Explain { key: "log.levl".into() };
        let failure = config(&verb, &loaded(""), &Output::new(true)).unwrap_err();
        assert!(
            matches!(&failure, Failure::Usage(message) if message.contains("did you mean `log.level`")),
            "{failure}"
        );
    }

    #[test]
    fn the_man_page_holds_verbs_and_settings() {
        let page = String::from_utf8(main_page().unwrap()).unwrap();
        assert!(page.contains("serve") && page.contains("SETTINGS") && page.contains("hash.deadline_ms"));
    }
}
