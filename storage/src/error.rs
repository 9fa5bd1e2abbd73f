//! The errors of the store. A variant exists where some caller acts differently on it.

use crate::keyring::SealError;

/// Bytes that are no valid key, record or frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Fewer bytes than the format needs.
    #[error("too short: {needed} bytes needed, {got} present")]
    Short {
        /// Bytes the format needs.
        needed: usize,
        /// Bytes present.
        got: usize,
    },
    /// Bytes remain after the end of the value.
    #[error("{extra} bytes after the end")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// A record version this build does not know, most likely written by a newer one.
    #[error("unknown record version {version}; it was written by a newer release")]
    Version {
        /// The version byte found.
        version: u8,
    },
    /// The bytes do not spell a value of the type.
    #[error("invalid value: {0}")]
    Invalid(&'static str),
}

/// What an engine reports. The text names the operation, never the data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The disk, the file system or a resource (descriptors, space) failed.
    #[error("storage engine: {0}")]
    Io(String),
    /// Stored bytes fail their checksum or contradict each other.
    #[error("storage engine, damaged data: {0}")]
    Corrupt(String),
    /// The operation cannot go on now without waiting (a write stall); nothing happened.
    #[error("storage engine is busy: {0}")]
    Busy(String),
}

/// What a statement inside a transaction can fail with. The transaction then leaves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TxError {
    /// The engine could not read.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A stored row does not decode.
    #[error("row of table {table}: {error}")]
    Codec {
        /// The table's number.
        table: u16,
        /// What is wrong with the bytes.
        error: CodecError,
    },
    /// A sealed value could not be sealed or opened.
    #[error("row of table {table}: {error}")]
    Seal {
        /// The table's number.
        table: u16,
        /// Why.
        error: SealError,
    },
    /// A key, a value or the whole transaction is over its limit (`limits`).
    #[error("{what} of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Which limit: `key`, `value`, `transaction` or `scan`.
        what: &'static str,
        /// The size met.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The table or index was not registered at open.
    #[error("table {0} is not registered")]
    UnknownTable(u16),
    /// A counter reached the largest id.
    #[error("counter is used up")]
    CounterExhausted,
}

/// Why a read gave no answer. None of these says anything about the row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The queue of the reader pool is full; try again.
    #[error("reader queue is full")]
    Busy,
    /// The deadline passed before a reader was free.
    #[error("deadline passed before a reader was free")]
    Deadline,
    /// The store is shut down.
    #[error("store is closed")]
    Closed,
    /// The engine could not read.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A stored row does not decode.
    #[error("row of table {table}: {error}")]
    Codec {
        /// The table's number.
        table: u16,
        /// What is wrong with the bytes.
        error: CodecError,
    },
    /// A sealed value could not be opened.
    #[error("row of table {table}: {error}")]
    Seal {
        /// The table's number.
        table: u16,
        /// Why.
        error: SealError,
    },
    /// The table or index was not registered at open.
    #[error("table {0} is not registered")]
    UnknownTable(u16),
}

/// How a write ended when it did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError<E> {
    /// The closure returned this; it left nothing. What it read is durable.
    #[error("refused: {0}")]
    Refused(E),
    /// The closure panicked; it left nothing.
    #[error("the operation panicked")]
    Panicked,
    /// The queue is full; nothing happened; try again.
    #[error("write queue is full")]
    Busy,
    /// The caller's deadline had passed when its turn came; nothing happened.
    #[error("deadline passed before the write began")]
    Late,
    /// The transaction is over a limit; it left nothing.
    #[error("transaction is too large")]
    TooLarge,
    /// The disk is nearly full and writes of this class are refused until room returns; it left nothing.
    #[error("the disk is nearly full")]
    DiskFull,
    /// The store is shut down or failed before; nothing happened.
    #[error("store is closed")]
    Closed,
    /// The commit failed or is in doubt: the write may or may not exist after a restart. Repeat it with the same
    /// idempotency key.
    #[error("outcome unknown")]
    Unknown,
}

impl From<TxError> for ReadError {
    fn from(error: TxError) -> Self {
        match error {
            TxError::Engine(error) => Self::Engine(error),
            TxError::Codec { table, error } => Self::Codec { table, error },
            TxError::Seal { table, error } => Self::Seal { table, error },
            TxError::UnknownTable(table) => Self::UnknownTable(table),
            TxError::TooLarge { .. } | TxError::CounterExhausted => Self::Codec {
                table: 0,
                error: CodecError::Invalid("limit inside a read"),
            },
        }
    }
}
