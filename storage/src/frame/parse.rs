//! Reading frames. Input may be anything (a damaged disk, a hostile peer): every path ends in a value or an error.

use super::{Chain, FORMAT, FramePosition, HEADER_BYTES, MAGIC, chain_after, checksum};
use crate::limits::FRAME_MAX_BYTES;
use crate::table::Class;

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter or longer than the frame says it is, or over the limit.
    #[error("frame length is wrong")]
    Length,
    /// Does not begin with the magic bytes.
    #[error("not a journal frame")]
    Magic,
    /// A format level this build does not know.
    #[error("journal format level {0} is unknown; it was written by a newer release")]
    Format(u16),
    /// The checksum does not fit.
    #[error("frame checksum does not match")]
    Checksum,
    /// The checksum fits but the content makes no sense.
    #[error("frame content is invalid: {0}")]
    Content(&'static str),
}

/// A frame whose checksum and structure are good.
#[derive(Debug, Clone)]
pub struct Frame<'a> {
    /// Where it belongs.
    pub position: FramePosition,
    /// Strictest class of its transactions.
    pub class: Class,
    /// Chain value after this frame.
    pub chain: Chain,
    /// Its transactions in order.
    pub transactions: Vec<FrameTx<'a>>,
}

/// One transaction of a frame.
#[derive(Debug, Clone)]
pub struct FrameTx<'a> {
    /// Operation, `noun.verb`.
    pub op: &'a str,
    /// Who asked.
    pub caller: &'a str,
    /// Its now, Unix milliseconds.
    pub now_at: u64,
    /// The request it came from.
    pub request_id: [u8; 16],
    /// Its class.
    pub class: Class,
    /// Hash of the caller's idempotency key, if there was one.
    pub idempotency_key: Option<[u8; 32]>,
    /// Its changes.
    pub rows: Vec<RowChange<'a>>,
}

/// One row of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowChange<'a> {
    /// Table number.
    pub table: u16,
    /// Key without the number.
    pub key: &'a [u8],
    /// The stored value; `None` is a deletion.
    pub value: Option<&'a [u8]>,
}

/// Takes bytes off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], FrameError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(FrameError::Content("cut short"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        self.bytes(N)?.try_into().map_err(|_| FrameError::Content("cut short"))
    }

    fn u8(&mut self) -> Result<u8, FrameError> {
        self.array::<1>().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, FrameError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, FrameError> {
        self.array().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Result<&'a str, FrameError> {
        let len = usize::from(self.u8()?);
        std::str::from_utf8(self.bytes(len)?).map_err(|_| FrameError::Content("text is not UTF-8"))
    }

    fn class(&mut self) -> Result<Class, FrameError> {
        match self.u8()? {
            0 => Ok(Class::Local),
            1 => Ok(Class::RemotePreferred),
            2 => Ok(Class::RemoteDurable),
            _ => Err(FrameError::Content("unknown class")),
        }
    }
}

/// Reads and checks a frame.
///
/// # Errors
/// [`FrameError`]; never panics, whatever the bytes.
pub fn decode(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    if bytes.len() < HEADER_BYTES || bytes.len() > FRAME_MAX_BYTES {
        return Err(FrameError::Length);
    }
    let mut reader = Reader(bytes);
    if reader.array::<4>()? != MAGIC {
        return Err(FrameError::Magic);
    }
    let format = reader.u16()?;
    if format != FORMAT {
        return Err(FrameError::Format(format));
    }
    let flags = reader.u8()?;
    let class = reader.class();
    let position = FramePosition {
        cluster_id: reader.array()?,
        epoch: reader.u64()?,
        lsn: reader.u64()?,
        prev_chain: reader.array()?,
        commit_lsn: reader.u64()?,
        now_at: reader.u64()?,
    };
    let count = reader.u32()?;
    let payload_len = reader.u32()?;
    let crc = reader.u32()?;
    if usize::try_from(payload_len) != Ok(reader.0.len()) {
        return Err(FrameError::Length);
    }
    if crc != checksum(bytes) {
        return Err(FrameError::Checksum);
    }
    if flags != 0 {
        return Err(FrameError::Content("unknown flags"));
    }
    let transactions = (0..count)
        .map(|_| transaction(&mut reader))
        .collect::<Result<Vec<_>, _>>()?;
    if !reader.0.is_empty() {
        return Err(FrameError::Content("bytes after the last transaction"));
    }
    Ok(Frame {
        position,
        class: class?,
        chain: chain_after(&position.prev_chain, bytes),
        transactions,
    })
}

fn transaction<'a>(reader: &mut Reader<'a>) -> Result<FrameTx<'a>, FrameError> {
    let (op, caller) = (reader.text()?, reader.text()?);
    let (now_at, request_id, class) = (reader.u64()?, reader.array()?, reader.class()?);
    let idempotency_key = match reader.u8()? {
        0 => None,
        1 => Some(reader.array()?),
        _ => return Err(FrameError::Content("unknown idempotency mark")),
    };
    let count = reader.u32()?;
    let rows = (0..count).map(|_| row(reader)).collect::<Result<Vec<_>, _>>()?;
    Ok(FrameTx {
        op,
        caller,
        now_at,
        request_id,
        class,
        idempotency_key,
        rows,
    })
}

fn row<'a>(reader: &mut Reader<'a>) -> Result<RowChange<'a>, FrameError> {
    let kind = reader.u8()?;
    let table = reader.u16()?;
    let key_len = usize::from(reader.u16()?);
    let key = reader.bytes(key_len)?;
    let value = match kind {
        1 => {
            let len = usize::try_from(reader.u32()?).map_err(|_| FrameError::Length)?;
            Some(reader.bytes(len)?)
        }
        2 => None,
        _ => return Err(FrameError::Content("unknown row operation")),
    };
    Ok(RowChange { table, key, value })
}
