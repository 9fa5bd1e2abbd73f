//! Finds and parses the product's Rust sources.

use std::path::{Path, PathBuf};

/// Root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests lies in the root")
        .to_path_buf()
}

/// A source file of the product (not of the suites).
pub struct Source {
    pub path: PathBuf,
    pub text: String,
    pub file: syn::File,
}

impl Source {
    pub fn name(&self) -> String {
        self.path
            .strip_prefix(root())
            .unwrap_or(&self.path)
            .display()
            .to_string()
    }

    /// Files that hold only tests: `tests.rs`, or anything below a `tests` folder.
    pub fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.components().any(|part| part.as_os_str() == "tests")
    }

    /// The lines in front of the file's test module.
    pub fn lines_without_tests(&self) -> usize {
        self.text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]"))
            .count()
    }
}

/// Every product source below `folders`, parsed.
pub fn product_sources() -> Vec<Source> {
    let mut found = Vec::new();
    for folder in [
        "storage/src",
        "appliance/domain/src",
        "web/src",
        "appliance/load/src",
        "appliance/src",
    ] {
        for entry in walkdir::WalkDir::new(root().join(folder)).sort_by_file_name() {
            let path = entry.expect("readable tree").into_path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("readable source");
                let file = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                found.push(Source { path, text, file });
            }
        }
    }
    assert!(
        found.len() > 20,
        "the walk found almost nothing; the rule would be empty"
    );
    found
}

/// Is the item compiled for tests only?
pub fn is_cfg_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| {
                list.tokens
                    .to_string()
                    .split([',', '(', ')', ' '])
                    .any(|word| word == "test")
            })
    })
}
