//! The control file: what a node must know about itself before it may trust its engine. It lies outside the engine, so
//! that an engine that comes back shorter than it was is noticed.
//!
//! Two slots of 8 KiB, written in turn; the whole file is replaced at each change, so both a torn file and a
//! damaged slot leave a good one. A slot: magic `SWCTRL01`, sequence u64, body length u32, body, CRC-32C of all before.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::files;
use crate::frame::Chain;
use crate::record::{Record, decode_record, encode_record};

const SLOT_BYTES: usize = 8192;
const MAGIC: &[u8; 8] = b"SWCTRL01";
const SLOT_HEAD_BYTES: usize = 20;
/// Epoch changes remembered; older ones are dropped.
const HISTORY_MAX: usize = 64;

/// What this node may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Accepts writes.
    Primary,
    /// Follows a primary.
    Standby,
}

/// Where an epoch began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: u64,
    /// The node that opened it.
    pub node_id: [u8; 16],
    /// Its first lsn.
    pub first_lsn: u64,
    /// The chain before it.
    pub chain_before: Chain,
}

/// The content of the control file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlState {
    /// False until the engine was completely created; nothing was ever acknowledged before.
    pub initialised: bool,
    /// Identity of the data.
    pub cluster_id: [u8; 16],
    /// Identity of this node.
    pub node_id: [u8; 16],
    /// Starts of this node's store.
    pub incarnation: u64,
    /// What this node may do.
    pub role: Role,
    /// Current epoch.
    pub epoch: u64,
    /// How the epochs followed one another, oldest first.
    pub history: Vec<EpochStart>,
    /// Nodes whose sync a remote-durable write waits for, this one left out.
    pub sync_set: Vec<[u8; 16]>,
    /// Raised with every change of the sync set.
    pub sync_set_version: u64,
    /// Every frame up to this one was durable; an engine that ends before it lost data.
    pub floor_lsn: u64,
    /// The chain at the floor.
    pub floor_chain: Chain,
}

impl Record for ControlState {
    const VERSION: u8 = 1;
}

impl ControlState {
    /// A node of its own, before its engine exists.
    pub fn fresh(cluster_id: [u8; 16], node_id: [u8; 16]) -> Self {
        Self {
            initialised: false,
            cluster_id,
            node_id,
            incarnation: 0,
            role: Role::Primary,
            epoch: 1,
            history: vec![EpochStart {
                epoch: 1,
                node_id,
                first_lsn: 1,
                chain_before: [0; 32],
            }],
            sync_set: Vec::new(),
            sync_set_version: 0,
            floor_lsn: 0,
            floor_chain: [0; 32],
        }
    }
}

/// Why a control file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Neither slot is whole.
    #[error("neither slot is whole")]
    Damaged,
    /// The state does not fit its slot.
    #[error("state does not fit its slot")]
    TooLarge,
}

/// The open control file.
#[derive(Debug)]
pub(crate) struct ControlFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    image: Vec<u8>,
    sequence: u64,
    pub(crate) state: ControlState,
    /// A slot was damaged when the file was opened.
    pub(crate) repaired: bool,
}

impl ControlFile {
    /// Writes a new file.
    pub(crate) fn create(disk: &Arc<dyn Disk>, path: &Path, state: ControlState) -> Result<Self, ControlError> {
        let mut control = Self {
            disk: Arc::clone(disk),
            path: path.to_owned(),
            image: vec![0; 2 * SLOT_BYTES],
            sequence: 0,
            state,
            repaired: false,
        };
        control.write()?;
        control.write()?;
        Ok(control)
    }

    /// Reads the newest whole slot; `None` when there is no file.
    pub(crate) fn open(disk: &Arc<dyn Disk>, path: &Path) -> Result<Option<Self>, ControlError> {
        let mut image = match disk.read(path) {
            Ok(image) => image,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        image.resize(2 * SLOT_BYTES, 0);
        let slots = image.chunks(SLOT_BYTES).map(parse_slot).collect::<Vec<_>>();
        let repaired = slots.iter().any(Option::is_none);
        let newest = slots.into_iter().flatten().max_by_key(|(sequence, _)| *sequence);
        let (sequence, state) = newest.ok_or(ControlError::Damaged)?;
        Ok(Some(Self {
            disk: Arc::clone(disk),
            path: path.to_owned(),
            image,
            sequence,
            state,
            repaired,
        }))
    }

    /// Makes the current state durable.
    pub(crate) fn write(&mut self) -> Result<(), ControlError> {
        let excess = self.state.history.len().saturating_sub(HISTORY_MAX);
        self.state.history.drain(..excess);
        let sequence = self.sequence + 1;
        let slot = render_slot(sequence, &self.state).ok_or(ControlError::TooLarge)?;
        let mut image = self.image.clone();
        let at = if sequence.is_multiple_of(2) { 0 } else { SLOT_BYTES };
        if let Some(place) = image.get_mut(at..at + SLOT_BYTES) {
            place.fill(0);
            place.iter_mut().zip(slot).for_each(|(to, from)| *to = from);
        }
        files::replace(self.disk.as_ref(), &self.path, &image)?;
        self.image = image;
        self.sequence = sequence;
        Ok(())
    }
}

fn render_slot(sequence: u64, state: &ControlState) -> Option<Vec<u8>> {
    let body = encode_record(state).ok()?;
    let mut slot = MAGIC.to_vec();
    slot.extend_from_slice(&sequence.to_be_bytes());
    slot.extend_from_slice(&u32::try_from(body.len()).ok()?.to_be_bytes());
    slot.extend_from_slice(&body);
    slot.extend_from_slice(&crc32c::crc32c(&slot).to_be_bytes());
    (slot.len() <= SLOT_BYTES).then_some(slot)
}

fn parse_slot(slot: &[u8]) -> Option<(u64, ControlState)> {
    let (head, rest) = slot.split_first_chunk::<SLOT_HEAD_BYTES>()?;
    let (magic, numbers) = head.split_first_chunk::<8>()?;
    let (sequence, length) = numbers.split_first_chunk::<8>()?;
    let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
    let (body, rest) = rest.split_at_checked(length)?;
    let crc = u32::from_be_bytes(*rest.first_chunk()?);
    let covered = slot.get(..SLOT_HEAD_BYTES + length)?;
    if magic != MAGIC || crc != crc32c::crc32c(covered) {
        return None;
    }
    Some((u64::from_be_bytes(*sequence), decode_record(body).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Arc<dyn Disk> {
        Arc::new(crate::disk::HostDisk)
    }

    fn written(path: &Path, times: u64) -> ControlFile {
        let mut control = ControlFile::create(&host(), path, ControlState::fresh([1; 16], [2; 16])).unwrap();
        for floor in 1..=times {
            control.state.floor_lsn = floor;
            control.write().unwrap();
        }
        control
    }

    #[test]
    fn the_last_state_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control");
        assert!(ControlFile::open(&host(), &path).unwrap().is_none());
        for times in 0..5 {
            let wanted = written(&path, times).state;
            let control = ControlFile::open(&host(), &path).unwrap().unwrap();
            assert_eq!((control.state, control.repaired), (wanted, false));
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn one_damaged_slot_leaves_the_other_and_two_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control");
        written(&path, 3);
        let good = std::fs::read(&path).unwrap();
        for (slot, floor) in [(0, 2..=3), (1, 2..=3)] {
            let mut bad = good.clone();
            bad[slot * SLOT_BYTES + 30] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let control = ControlFile::open(&host(), &path).unwrap().unwrap();
            assert!(
                control.repaired && floor.contains(&control.state.floor_lsn),
                "{control:?}"
            );
        }
        for len in [0, 7, SLOT_BYTES - 1] {
            std::fs::write(&path, &good[..len]).unwrap();
            let opened = ControlFile::open(&host(), &path);
            assert!(
                matches!(opened, Err(ControlError::Damaged)) || opened.unwrap().unwrap().repaired,
                "cut at {len}"
            );
        }
        let mut bad = good.clone();
        bad.iter_mut().for_each(|byte| *byte ^= 0x55);
        std::fs::write(&path, &bad).unwrap();
        assert!(matches!(ControlFile::open(&host(), &path), Err(ControlError::Damaged)));
    }

    #[test]
    fn a_long_history_is_cut_and_a_huge_sync_set_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control");
        let mut control = written(&path, 0);
        let first = control.state.history[0].clone();
        control.state.history = (0..500).map(|epoch| EpochStart { epoch, ..first.clone() }).collect();
        control.write().unwrap();
        assert_eq!(control.state.history.len(), HISTORY_MAX);
        assert_eq!(control.state.history[0].epoch, 500 - HISTORY_MAX as u64);
        control.state.sync_set = vec![[0; 16]; 1000];
        assert!(matches!(control.write(), Err(ControlError::TooLarge)));
        assert_eq!(
            ControlFile::open(&host(), &path).unwrap().unwrap().state.sync_set.len(),
            0
        );
    }
}
