//! The simulated disk: files and names with a durable and a volatile image each, faults from its dice, and power that
//! goes in the middle of any operation. Handles belong to one life of the process; after a crash the old ones fail.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::Defect;
use super::content::Content;
use super::names::Entry;
use super::world::{DiskFaults, World, not_found};
use crate::disk::{Access, Disk, DiskFile, Lock};

/// The files below one directory as they are, to be put back later.
#[derive(Debug, Clone)]
pub struct DiskImage {
    dir: PathBuf,
    files: Vec<(PathBuf, Option<Vec<u8>>)>,
}

/// The disk, as one life of the process sees it.
#[derive(Debug, Clone)]
pub struct SimulatedDisk {
    world: Arc<Mutex<World>>,
    life: u64,
}

impl SimulatedDisk {
    /// An empty disk that never fails yet, and works properly unless it has a defect.
    pub fn new(seed: u64, defect: Option<Defect>) -> Self {
        Self {
            world: Arc::new(Mutex::new(World::new(seed, defect))),
            life: 0,
        }
    }

    /// Which mistake the simulation makes.
    pub fn defect(&self) -> Option<Defect> {
        self.world.lock().defect
    }

    /// From now on the disk fails this often.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.world.lock().faults = faults;
    }

    /// Whether there is no space left, until told otherwise.
    pub fn set_full(&self, full: bool) {
        self.world.lock().full = full;
    }

    /// The process stops in the middle of the operation with this number from now, counted from 1.
    pub fn stop_after(&self, operations: u64) {
        self.world.lock().stops_after = Some(operations.max(1));
    }

    /// Whether the process of this handle still runs.
    pub fn is_running(&self) -> bool {
        self.world.lock().alive(self.life).is_ok()
    }

    /// The process ends as if killed; what it wrote stays readable, but what a failed sync gave up may turn out lost.
    /// The disk of its next life.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut world = self.world.lock();
        let world = &mut *world;
        world.next_life();
        for content in world.files.values_mut() {
            if world.dice.hits(500) {
                content.evict();
            }
        }
        Self {
            world: Arc::clone(&self.world),
            life: world.life,
        }
    }

    /// The power goes, and what no sync saved with it. The disk of the next life.
    #[must_use]
    pub fn cut_power(&self) -> Self {
        let mut world = self.world.lock();
        let world = &mut *world;
        world.names.power_cut(&mut world.dice);
        world.next_life();
        for content in world.files.values_mut() {
            content.power_cut(&mut world.dice);
        }
        Self {
            world: Arc::clone(&self.world),
            life: world.life,
        }
    }

    /// Milliseconds that syncs took so far.
    pub fn slept_ms(&self) -> u64 {
        self.world.lock().slept_ms
    }

    /// Operations so far that changed something.
    pub fn operations(&self) -> u64 {
        self.world.lock().operations
    }

    /// Adds an event of the world around to the history.
    pub fn note(&self, what: &str) {
        self.world.lock().history.update(what.as_bytes());
    }

    /// Hash of everything that happened so far.
    pub fn history(&self) -> [u8; 32] {
        *self.world.lock().history.finalize().as_bytes()
    }

    /// Names and bytes below a directory as programs see them.
    pub fn image(&self, dir: &Path) -> DiskImage {
        let world = self.world.lock();
        let files = world.names.below(dir).into_iter().map(|(path, entry)| {
            let bytes = match entry {
                Entry::Dir => None,
                Entry::File(number) => Some(world.files.get(&number).map_or(&[][..], Content::bytes).to_vec()),
            };
            (path, bytes)
        });
        DiskImage {
            dir: dir.to_owned(),
            files: files.collect(),
        }
    }

    /// Puts a directory back as it was, for good.
    pub fn put_back(&self, image: &DiskImage) {
        let mut world = self.world.lock();
        for (path, _) in world.names.below(&image.dir) {
            world.names.force(&path, None);
        }
        world.names.force(&image.dir, Some(Entry::Dir));
        for (path, bytes) in &image.files {
            let entry = bytes.as_ref().map_or(Entry::Dir, |bytes| {
                let number = world.next_file;
                world.next_file += 1;
                world.files.insert(number, Content::settled(bytes.clone()));
                Entry::File(number)
            });
            world.names.force(path, Some(entry));
        }
    }

    /// Removes a file or a directory from outside, for good.
    pub fn lose(&self, path: &Path) {
        let mut world = self.world.lock();
        for (below, _) in world.names.below(path) {
            world.names.force(&below, None);
        }
        world.names.force(path, None);
    }

    /// Paths of the files below a directory with their lengths in bytes, by name.
    pub fn files(&self, dir: &Path) -> Vec<(PathBuf, usize)> {
        let image = self.image(dir);
        let files = image.files.into_iter();
        files.filter_map(|(path, bytes)| Some((path, bytes?.len()))).collect()
    }

    /// Changes a file from outside, for good.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world.lock();
        if let Ok(number) = world.file(path) {
            let mut bytes = world.content(number).bytes().to_vec();
            change(&mut bytes);
            world.files.insert(number, Content::settled(bytes));
        }
    }
}

/// An open file of one life.
struct SimulatedFile {
    disk: SimulatedDisk,
    number: u64,
    writable: bool,
}

impl SimulatedFile {
    fn changing<R>(&self, what: &str, change: impl FnOnce(&mut World) -> io::Result<R>) -> io::Result<R> {
        let mut world = self.disk.world.lock();
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        world.note(what, Path::new(""), self.number);
        change(&mut world)
    }
}

impl DiskFile for SimulatedFile {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let mut world = self.disk.world.lock();
        world.alive(self.disk.life)?;
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let found = world
            .content(self.number)
            .bytes()
            .get(at..at.saturating_add(bytes.len()));
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.changing("write", |world| world.write(self.disk.life, self.number, bytes, offset))
    }

    fn len(&self) -> io::Result<u64> {
        let mut world = self.disk.world.lock();
        world.alive(self.disk.life)?;
        Ok(world.content(self.number).bytes().len() as u64)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.changing("length", |world| world.set_len(self.disk.life, self.number, bytes))
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.changing("allocate", |world| {
            if world.full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            world.set_len(self.disk.life, self.number, bytes)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.changing("sync", |world| world.sync(self.disk.life, self.number))
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn forget_cached(&self) -> io::Result<()> {
        let mut world = self.disk.world.lock();
        world.alive(self.disk.life)?;
        world.content(self.number).evict();
        Ok(())
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.world.lock();
        world.alive(self.life)?;
        let number = if access == Access::Create {
            world.note("create", path, 0);
            world.create(self.life, path)?
        } else {
            world.file(path)?
        };
        Ok(Box::new(SimulatedFile {
            disk: self.clone(),
            number,
            writable: access != Access::Read,
        }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut world = self.world.lock();
        world.alive(self.life)?;
        let number = world.file(path)?;
        Ok(world.content(number).bytes().to_vec())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world.lock();
        let fate = world.changing(self.life)?;
        world.note("rename", to, 0);
        let number = world.file(from)?;
        let change = vec![(from.to_owned(), None), (to.to_owned(), Some(Entry::File(number)))];
        world.change_names(fate, change)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world.lock();
        let fate = world.changing(self.life)?;
        world.note("remove", path, 0);
        world.file(path)?;
        world.change_names(fate, vec![(path.to_owned(), None)])
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world.lock();
        let mut paths: Vec<PathBuf> = world.names.below(dir).into_iter().map(|(path, _)| path).collect();
        paths.reverse();
        paths.push(dir.to_owned());
        for path in paths {
            let fate = world.changing(self.life)?;
            world.note("remove", &path, 0);
            world.change_names(fate, vec![(path, None)])?;
        }
        Ok(())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world.lock();
        let fate = world.taking_space(self.life)?;
        world.note("create dir", dir, 0);
        let above = crate::files::parent(dir);
        match (world.names.get(dir), world.names.get(above)) {
            (Some(_), _) => Err(io::ErrorKind::AlreadyExists.into()),
            (None, Some(Entry::Dir)) => world.change_names(fate, vec![(dir.to_owned(), Some(Entry::Dir))]),
            (None, _) => Err(not_found(above)),
        }
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.world.lock().names.get(path) == Some(Entry::Dir)
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = self.world.lock();
        world.alive(self.life)?;
        if world.names.get(dir) != Some(Entry::Dir) {
            return Err(not_found(dir));
        }
        let inside = world.names.below(dir).into_iter().map(|(path, _)| path);
        let direct = inside.filter(|path| path.parent() == Some(dir));
        Ok(direct
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world.lock();
        world.note("sync dir", dir, 0);
        world.sync_dir(self.life, dir)
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Option<Lock>> {
        let mut world = self.world.lock();
        world.alive(self.life)?;
        if !world.locked.insert(dir.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(Held {
            disk: self.clone(),
            dir: dir.to_owned(),
        })))
    }
}

/// A directory taken by a life; the next one finds it free.
struct Held {
    disk: SimulatedDisk,
    dir: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut world = self.disk.world.lock();
        if world.life == self.disk.life {
            world.locked.remove(&self.dir);
        }
    }
}
