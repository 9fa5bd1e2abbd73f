//! The head: where the history of this store ends. Kept in one row that every group rewrites, and in memory.

use crate::catalog::{HEAD_TABLE, row_key};
use crate::error::CodecError;
use crate::frame::Chain;

/// Position after the last durable group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the last frame; 0 before the first.
    pub lsn: u64,
    /// Epoch writes happen in.
    pub epoch: u64,
    /// Chain value after the last frame.
    pub chain: Chain,
    /// Now of the last transaction, Unix milliseconds.
    pub now_at: u64,
}

impl Head {
    /// Before the first frame.
    pub(crate) fn start(epoch: u64) -> Self {
        Self {
            lsn: 0,
            epoch,
            chain: [0; 32],
            now_at: 0,
        }
    }

    /// Full key of the head row.
    pub(crate) fn key() -> Vec<u8> {
        row_key(HEAD_TABLE, &[])
    }

    /// The head row: version 1, cluster id, epoch, lsn, chain, now.
    pub(crate) fn encode(&self, cluster_id: &[u8; 16]) -> Vec<u8> {
        let mut out = Vec::with_capacity(73);
        out.push(1);
        out.extend_from_slice(cluster_id);
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.lsn.to_be_bytes());
        out.extend_from_slice(&self.chain);
        out.extend_from_slice(&self.now_at.to_be_bytes());
        out
    }

    /// Cluster id and head.
    pub(crate) fn decode(bytes: &[u8]) -> Result<([u8; 16], Self), CodecError> {
        type Body = ([u8; 16], u64, u64, [u8; 32]);
        let (version, rest) = crate::key::split_key(bytes, 1)?;
        if version != [1] {
            return Err(CodecError::Version {
                version: version.first().copied().unwrap_or_default(),
            });
        }
        let (cluster_id, epoch, lsn, chain): Body;
        let (body, now) = crate::key::split_key(rest, <Body as crate::Key>::WIDTH)?;
        (cluster_id, epoch, lsn, chain) = crate::Key::decode(body)?;
        Ok((
            cluster_id,
            Self {
                lsn,
                epoch,
                chain,
                now_at: crate::Key::decode(now)?,
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(cluster_id: [u8; 16], lsn: u64, epoch: u64, chain: [u8; 32], now_at: u64, raw: Vec<u8>) {
            let head = Head { lsn, epoch, chain, now_at };
            prop_assert_eq!(Head::decode(&head.encode(&cluster_id)).unwrap(), (cluster_id, head));
            prop_assert!(Head::decode(&raw).is_err() || raw.len() == 73);
        }
    }
}
