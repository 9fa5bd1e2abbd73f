//! The names of a simulated disk: which file or directory a path is now, which it would be after a cut of the power
//! without any luck, and the changes in between. Renames are one change: both names or none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Dice;
use crate::files;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// A directory.
    Dir,
    /// The file with this number.
    File(u64),
}

/// What changes at once.
type Change = Vec<(PathBuf, Option<Entry>)>;
type Tree = BTreeMap<PathBuf, Entry>;

/// All names.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    now: Tree,
    durable: Tree,
    /// Changes nobody synced, by directory, in their order.
    pending: BTreeMap<PathBuf, Vec<Change>>,
}

fn apply(tree: &mut Tree, change: &Change) {
    for (path, entry) in change {
        match entry {
            Some(entry) => tree.insert(path.clone(), *entry),
            None => tree.remove(path),
        };
    }
}

/// The root of the simulated disk always exists.
fn is_root(path: &Path) -> bool {
    path == Path::new("/")
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<Entry> {
        if is_root(path) {
            return Some(Entry::Dir);
        }
        self.now.get(path).copied()
    }

    /// Everything below a directory, deepest last.
    pub(super) fn below(&self, dir: &Path) -> Vec<(PathBuf, Entry)> {
        let inside = self
            .now
            .iter()
            .filter(|(path, _)| path.starts_with(dir) && *path != dir);
        inside.map(|(path, entry)| (path.clone(), *entry)).collect()
    }

    /// Changes names of one directory at once.
    pub(super) fn change(&mut self, change: Change) {
        let Some((path, _)) = change.first() else { return };
        let dir = files::parent(path).to_owned();
        apply(&mut self.now, &change);
        self.pending.entry(dir).or_default().push(change);
    }

    /// Makes the names of a directory durable.
    pub(super) fn sync(&mut self, dir: &Path) {
        for change in self.pending.remove(dir).unwrap_or_default() {
            apply(&mut self.durable, &change);
        }
    }

    /// A sync of a directory that failed: the first changes are durable, the others still pending.
    pub(super) fn sync_failed(&mut self, dir: &Path, dice: &mut Dice) {
        if let Some(pending) = self.pending.get_mut(dir) {
            let upto = dice.place(pending.len() + 1);
            for change in pending.drain(..upto) {
                apply(&mut self.durable, &change);
            }
        }
    }

    /// The power goes: of the pending changes a beginning, or any of them, happened. What lies in a directory that does
    /// not exist is gone.
    pub(super) fn power_cut(&mut self, dice: &mut Dice) {
        for changes in std::mem::take(&mut self.pending).into_values() {
            let (upto, chance) = if dice.hits(500) {
                (dice.place(changes.len() + 1), 1000)
            } else {
                (changes.len(), dice.below(1001))
            };
            for change in changes.iter().take(upto) {
                if dice.hits(chance) {
                    apply(&mut self.durable, change);
                }
            }
        }
        let known = self.durable.clone();
        let is_dir = |dir: &Path| is_root(dir) || known.get(dir) == Some(&Entry::Dir);
        self.durable.retain(|path, _| path.ancestors().skip(1).all(is_dir));
        self.now.clone_from(&self.durable);
    }

    /// The files that have a name now or may have one after a cut of the power.
    pub(super) fn files(&self) -> BTreeSet<u64> {
        let pending = self
            .pending
            .values()
            .flatten()
            .flatten()
            .filter_map(|(_, entry)| *entry);
        let named = self.now.values().chain(self.durable.values()).copied().chain(pending);
        let number = |entry| match entry {
            Entry::File(number) => Some(number),
            Entry::Dir => None,
        };
        named.filter_map(number).collect()
    }

    /// Gives a name to something, or takes it, durably and at once; for damage done from outside.
    pub(super) fn force(&mut self, path: &Path, entry: Option<Entry>) {
        let change = vec![(path.to_owned(), entry)];
        apply(&mut self.now, &change);
        apply(&mut self.durable, &change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> PathBuf {
        PathBuf::from(text)
    }

    fn renamed() -> Names {
        let mut names = Names::default();
        names.change(vec![(path("/d"), Some(Entry::Dir))]);
        names.change(vec![(path("/d/a"), Some(Entry::File(1)))]);
        names.sync(Path::new("/"));
        names.sync(Path::new("/d"));
        names.change(vec![(path("/d/tmp"), Some(Entry::File(2)))]);
        names.change(vec![(path("/d/tmp"), None), (path("/d/a"), Some(Entry::File(2)))]);
        names
    }

    #[test]
    fn an_unsynced_rename_happened_whole_or_not_at_all() {
        let (mut old, mut new) = (0, 0);
        for seed in 0..200 {
            let mut names = renamed();
            names.power_cut(&mut Dice::new(seed, "names"));
            match names.get(Path::new("/d/a")) {
                Some(Entry::File(1)) => old += 1,
                Some(Entry::File(2)) => {
                    new += 1;
                    assert_eq!(names.get(Path::new("/d/tmp")), None);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(old > 40 && new > 40, "{old} {new}");
    }

    #[test]
    fn a_file_that_may_come_back_is_remembered() {
        let mut names = renamed();
        assert_eq!(names.files(), BTreeSet::from([1, 2]));
        names.sync(Path::new("/d"));
        assert_eq!(names.files(), BTreeSet::from([2]));
    }

    #[test]
    fn a_synced_rename_stays() {
        for seed in 0..100 {
            let mut names = renamed();
            names.sync(Path::new("/d"));
            names.power_cut(&mut Dice::new(seed, "names"));
            assert_eq!(names.get(Path::new("/d/a")), Some(Entry::File(2)));
        }
    }

    #[test]
    fn without_its_directory_a_file_is_gone() {
        let mut gone = 0;
        for seed in 0..100 {
            let mut names = Names::default();
            names.change(vec![(path("/d"), Some(Entry::Dir))]);
            names.change(vec![(path("/d/a"), Some(Entry::File(1)))]);
            names.sync(Path::new("/d"));
            names.power_cut(&mut Dice::new(seed, "names"));
            let there = (
                names.get(Path::new("/d")).is_some(),
                names.get(Path::new("/d/a")).is_some(),
            );
            assert!(there.0 == there.1);
            gone += usize::from(!there.0);
        }
        assert!(gone > 20 && gone < 80, "{gone}");
    }

    #[test]
    fn a_failed_sync_keeps_a_beginning() {
        for seed in 0..50 {
            let mut names = renamed();
            names.sync_failed(Path::new("/d"), &mut Dice::new(seed, "names"));
            assert_eq!(
                names.get(Path::new("/d/a")),
                Some(Entry::File(2)),
                "seen until the power goes"
            );
            names.sync(Path::new("/d"));
            names.power_cut(&mut Dice::new(seed, "names"));
            assert_eq!(names.get(Path::new("/d/a")), Some(Entry::File(2)));
        }
    }
}
