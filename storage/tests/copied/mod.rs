//! Copies of directories that are in use, for tests that look at what a crash would leave.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Copies a directory that may be in use: again, until no file came or went meanwhile, as a cut of the power sees it.
pub fn copy_dir(from: &Path, to: &Path) {
    for _ in 0..100 {
        let before = names(from);
        if try_copy(from, to).is_ok() && names(from) == before {
            return;
        }
        std::fs::remove_dir_all(to).unwrap();
    }
    panic!("{} never stood still", from.display());
}

fn names(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut names(&path));
        }
        found.insert(path);
    }
    found
}

fn try_copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            try_copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
