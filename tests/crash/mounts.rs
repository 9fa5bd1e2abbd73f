//! File systems on loop devices, which a scenario may fill, cut and break. Whatever happens, they are unmounted and their
//! devices given back when dropped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::scenario::{Trouble, wrong};

/// Runs a command; its standard output, or its error text.
pub fn run(words: &[&str]) -> Result<String, String> {
    let Some((program, arguments)) = words.split_first() else {
        return Ok(String::new());
    };
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!(
        "{}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

/// A path as text; all of ours are.
pub fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Every tool is there, or the scenario cannot run.
pub fn needs(tools: &[&str]) -> Result<(), Trouble> {
    for tool in tools {
        let found = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
            .iter()
            .any(|folder| Path::new(folder).join(tool).exists());
        if !found {
            return Err(Trouble::NotRun(format!(
                "{tool} is not installed (packaging/build/setup test)"
            )));
        }
    }
    Ok(())
}

/// System calls can be traced here.
pub fn needs_strace() -> Result<(), Trouble> {
    needs(&["strace"])?;
    match run(&["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "true"]) {
        Ok(_) => Ok(()),
        Err(reason) => Err(Trouble::NotRun(format!("processes cannot be traced here: {reason}"))),
    }
}

/// A mounted file system.
pub struct Mount {
    pub at: PathBuf,
}

impl Mount {
    /// Mounts an image through a loop device.
    pub fn image(image: &Path, at: &Path) -> Result<Self, Trouble> {
        Self::new(&["-o", "loop", &text(image)], at)
    }

    /// Memory as a file system of this size.
    pub fn memory(mebibytes: u32, at: &Path) -> Result<Self, Trouble> {
        Self::new(&["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"], at)
    }

    /// Any mount; one that is refused is a missing privilege.
    pub fn new(what: &[&str], at: &Path) -> Result<Self, Trouble> {
        std::fs::create_dir_all(at)?;
        let place = text(at);
        let words: Vec<&str> = ["mount"].iter().chain(what).copied().chain([place.as_str()]).collect();
        match run(&words) {
            Ok(_) => Ok(Self { at: at.to_owned() }),
            Err(reason) => Err(Trouble::NotRun(format!("cannot mount here: {reason}"))),
        }
    }

    /// Changes how it is mounted, `ro` say.
    pub fn remount(&self, how: &str) -> Result<(), String> {
        run(&["mount", "-o", &format!("remount,{how}"), &text(&self.at)]).map(drop)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let at = text(&self.at);
        // A process that was just killed may hold it for a moment; a lazy unmount gives the device back once it is gone.
        if run(&["umount", &at]).is_err() {
            let _ = run(&["umount", "--lazy", &at]);
        }
    }
}

/// An empty file of this size.
pub fn blank(path: &Path, mebibytes: u64) -> Result<(), Trouble> {
    Ok(std::fs::File::create(path)?.set_len(mebibytes << 20)?)
}

/// Makes a file system on an image.
pub fn format(words: &[&str], image: &Path) -> Result<(), Trouble> {
    let image = text(image);
    let words: Vec<&str> = words.iter().copied().chain([image.as_str()]).collect();
    match run(&words) {
        Ok(_) => Ok(()),
        Err(reason) => wrong(reason),
    }
}

/// The cut rig: a file on XFS that shares blocks (`reflink`) holds an ext4 file system with the data. A copy of the file
/// is what a power cut at that instant would leave.
pub struct Cuttable {
    folder: PathBuf,
    disk: PathBuf,
    data: Option<Mount>,
    _shared: Mount,
}

impl Cuttable {
    /// An empty one below `folder`.
    pub fn new(folder: &Path) -> Result<Self, Trouble> {
        needs(&["mkfs.xfs", "mkfs.ext4", "mount", "losetup"])?;
        let image = folder.join("xfs.img");
        blank(&image, 4096)?;
        format(&["mkfs.xfs", "-q", "-m", "reflink=1"], &image)?;
        let shared = Mount::image(&image, &folder.join("xfs"))?;
        let disk = shared.at.join("disk");
        blank(&disk, 768)?;
        format(&["mkfs.ext4", "-q", "-F"], &disk)?;
        let data = Mount::image(&disk, &folder.join("live"))?;
        Ok(Self {
            folder: folder.to_owned(),
            disk,
            data: Some(data),
            _shared: shared,
        })
    }

    /// Where the data lies.
    pub fn live(&self) -> PathBuf {
        self.folder.join("live")
    }

    fn copy(&self, number: u64) -> PathBuf {
        self.disk.with_file_name(format!("cut-{number}"))
    }

    /// Copies the disk as it is now, without what is only in memory.
    pub fn cut(&self, number: u64) -> Result<(), Trouble> {
        run(&["cp", "--reflink=always", &text(&self.disk), &text(&self.copy(number))])
            .map_err(Trouble::Wrong)
            .map(drop)
    }

    /// Mounts a cut, which replays the file system's own journal, as a start after the power cut does.
    pub fn after(&self, number: u64) -> Result<Mount, Trouble> {
        Mount::image(&self.copy(number), &self.folder.join(format!("after-{number}")))
    }

    /// Forgets a cut, to save space.
    pub fn forget(&self, number: u64) {
        let _ = std::fs::remove_file(self.copy(number));
    }
}

impl Drop for Cuttable {
    fn drop(&mut self) {
        // The inner file system before the one that holds it.
        self.data.take();
    }
}
