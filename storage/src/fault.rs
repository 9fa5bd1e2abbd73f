//! Faults on demand, for the crash suite. Without the cargo feature `faults`, which no shipped build has, everything here
//! is an inline nothing. With it, the environment variable `SEAWALL_FAULTS` is read once: a comma-separated list of
//!
//! - switches ([`Switch`]), which make the store wrong on purpose, so that the suite can prove that it would notice;
//! - `kill@POINT[:n]`: the process kills itself with SIGKILL when it passes a point for the n-th time (default 1);
//! - `stall@POINT:ms`: every passing of the point takes that many milliseconds longer.
//!
//! Points are the strings given to [`hit`] and the files given to [`at_file`].

pub use imp::{at_file, hit, is_on};

/// A frame as it is stored: as it is, but for [`Switch::FlipFrames`].
#[inline(always)]
pub(crate) fn frame(mut frame: Vec<u8>, lsn: u64) -> Vec<u8> {
    if is_on(Switch::FlipFrames)
        && lsn.is_multiple_of(16)
        && let Some(byte) = frame.last_mut()
    {
        *byte ^= 1;
    }
    frame
}

/// Wrong behaviour that the crash suite must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Commits, segments and replaced files are acknowledged without a sync.
    SkipFsync,
    /// Names of new and replaced files are not made durable.
    NoDirsync,
    /// Callers are answered before their group is written.
    ReplyBeforeSync,
    /// A history that ends before the durable floor is opened.
    IgnoreFloor,
    /// Revocation records are forgotten at a start.
    DropRevocations,
    /// Some index entries are not written.
    IndexDrift,
    /// Not wrong, only slow: every index is built again at the start.
    RebuildIndexes,
    /// Not wrong: the journal keeps 64 KiB, so that it is trimmed all the time.
    SmallJournal,
    /// Every sixteenth frame is stored with a flipped bit, under good checksums of the engine.
    FlipFrames,
}

impl Switch {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::SkipFsync,
        Self::NoDirsync,
        Self::ReplyBeforeSync,
        Self::IgnoreFloor,
        Self::DropRevocations,
        Self::IndexDrift,
        Self::RebuildIndexes,
        Self::SmallJournal,
        Self::FlipFrames,
    ];

    /// Its name in `SEAWALL_FAULTS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SkipFsync => "skip_fsync",
            Self::NoDirsync => "no_dirsync",
            Self::ReplyBeforeSync => "reply_before_sync",
            Self::IgnoreFloor => "ignore_floor",
            Self::DropRevocations => "drop_revocations",
            Self::IndexDrift => "index_drift",
            Self::RebuildIndexes => "rebuild_indexes",
            Self::SmallJournal => "small_journal",
            Self::FlipFrames => "flip_frames",
        }
    }
}

#[cfg(not(feature = "faults"))]
mod imp {
    use std::path::Path;

    /// A point where a fault may strike.
    #[inline(always)]
    pub fn hit(_point: &'static str) {}

    /// The same for a step with one file: the point is `<file name>.<step>`, or `*.<extension>.<step>`.
    #[inline(always)]
    pub fn at_file(_path: &Path, _step: &'static str) {}

    /// Whether a switch is on.
    #[inline(always)]
    pub const fn is_on(_switch: super::Switch) -> bool {
        false
    }
}

#[cfg(feature = "faults")]
mod imp {
    use std::path::Path;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::Switch;

    /// The variable, read at the first passing of any point.
    const VARIABLE: &str = "SEAWALL_FAULTS";

    static FAULTS: LazyLock<Faults> = LazyLock::new(|| {
        let wanted = std::env::var(VARIABLE).unwrap_or_default();
        Faults::parse(&wanted).unwrap_or_else(|word| {
            // A test that asks for a fault which does not exist would prove nothing.
            eprintln_and_exit(&format!("{VARIABLE}: `{word}` is no fault"))
        })
    });

    #[expect(clippy::print_stderr, reason = "only in builds for the crash suite")]
    fn eprintln_and_exit(text: &str) -> ! {
        eprintln!("{text}");
        std::process::exit(2)
    }

    /// A point where a fault may strike.
    pub fn hit(point: &'static str) {
        FAULTS.strike(|named| named == point);
    }

    /// The same for a step with one file: the point is `<file name>.<step>`, or `*.<extension>.<step>`.
    pub fn at_file(path: &Path, step: &'static str) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        FAULTS.strike(|named| {
            named
                .strip_suffix(step)
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|file| file == name || file.strip_prefix("*.") == Some(&*extension))
        });
    }

    /// Whether a switch is on.
    pub fn is_on(switch: Switch) -> bool {
        FAULTS.switches.contains(&switch)
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Act {
        Kill { at: u64 },
        Stall(Duration),
    }

    #[derive(Debug)]
    struct Point {
        name: String,
        act: Act,
        passed: AtomicU64,
    }

    #[derive(Debug, Default)]
    struct Faults {
        switches: Vec<Switch>,
        points: Vec<Point>,
    }

    impl Faults {
        /// Reads the list; the first word that is none is the error.
        fn parse(text: &str) -> Result<Self, String> {
            let mut faults = Self::default();
            for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
                if let Some(switch) = Switch::ALL.into_iter().find(|switch| switch.name() == word) {
                    faults.switches.push(switch);
                } else {
                    faults.points.push(point(word).ok_or_else(|| word.to_owned())?);
                }
            }
            Ok(faults)
        }

        fn strike(&self, is_here: impl Fn(&str) -> bool) {
            for point in self.points.iter().filter(|point| is_here(&point.name)) {
                let passed = point.passed.fetch_add(1, Ordering::SeqCst) + 1;
                match point.act {
                    Act::Kill { at } if passed == at => kill_self(),
                    Act::Kill { .. } => {}
                    Act::Stall(pause) => wait(pause),
                }
            }
        }
    }

    fn point(word: &str) -> Option<Point> {
        let (verb, place) = word.split_once('@')?;
        let (name, number) = match place.split_once(':') {
            Some((name, number)) => (name, Some(number.parse().ok()?)),
            None => (place, None),
        };
        let act = match verb {
            "kill" => Act::Kill {
                at: number.unwrap_or(1),
            },
            "stall" => Act::Stall(Duration::from_millis(number?)),
            _ => return None,
        };
        Some(Point {
            name: name.to_owned(),
            act,
            passed: AtomicU64::new(0),
        })
    }

    fn kill_self() -> ! {
        // A kill that fails would let the test go on as if nothing had been asked.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::process::abort()
    }

    fn wait(pause: Duration) {
        let begun = std::time::Instant::now();
        while let Some(left) = pause.checked_sub(begun.elapsed()) {
            std::thread::park_timeout(left);
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn switches_and_points_are_read_and_anything_else_is_refused() {
            let faults = Faults::parse("skip_fsync, kill@commit.closed:3,stall@reply.before:20,kill@control.renamed");
            let faults = faults.unwrap();
            assert_eq!(faults.switches, [Switch::SkipFsync]);
            let acts: Vec<_> = faults
                .points
                .iter()
                .map(|point| (point.name.as_str(), &point.act))
                .collect();
            assert_eq!(
                acts,
                [
                    ("commit.closed", &Act::Kill { at: 3 }),
                    ("reply.before", &Act::Stall(Duration::from_millis(20))),
                    ("control.renamed", &Act::Kill { at: 1 }),
                ]
            );
            for wrong in ["skip_sync", "kill@x:y", "stall@x", "wait@x:1"] {
                assert!(Faults::parse(wrong).is_err(), "{wrong}");
            }
            assert!(Faults::parse("").unwrap().points.is_empty());
        }

        #[test]
        fn a_stall_takes_its_time_at_its_point_only() {
            let faults = Faults::parse("stall@a:30").unwrap();
            let begun = std::time::Instant::now();
            faults.strike(|name| name == "b");
            assert!(begun.elapsed() < Duration::from_millis(30));
            faults.strike(|name| name == "a");
            assert!(begun.elapsed() >= Duration::from_millis(30));
        }
    }
}

#[cfg(test)]
mod names {
    use super::Switch;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Switch::ALL.iter().map(|switch| switch.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Switch::ALL.len());
    }
}
