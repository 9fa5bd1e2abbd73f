//! Record values: one version byte, then the postcard encoding of the body. Old versions convert forward when they are
//! read; a version newer than this build is an error, never a guess.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::CodecError;
use crate::key::Key;

/// A value of a table.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Version written. Raise it with every change of the fields, add the conversion to [`Record::upgrade`], and keep
    /// the bytes of every released version in the golden tests.
    const VERSION: u8;

    /// Converts the body of an older version.
    ///
    /// # Errors
    /// [`CodecError::Version`] for a version this build does not know; the default knows none.
    fn upgrade(version: u8, body: &[u8]) -> Result<Self, CodecError> {
        let _ = body;
        Err(CodecError::Version { version })
    }
}

/// Appends to a growing vector; postcard's own flavour pushes single bytes for slices too.
struct Append(Vec<u8>);

impl Flavor for Append {
    type Output = Vec<u8>;
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// The stored (unsealed) form of `record`.
///
/// # Errors
/// [`CodecError::Invalid`] when the type cannot be spelled in postcard (for example a sequence of unknown length).
pub fn encode_record<V: Record>(record: &V) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::with_capacity(128);
    out.push(V::VERSION);
    postcard::serialize_with_flavor(record, Append(out)).map_err(|_| CodecError::Invalid("record cannot be encoded"))
}

/// Reads the stored (unsealed) form, converting older versions forward.
///
/// # Errors
/// [`CodecError`] for an unknown version, a malformed body or bytes after its end.
pub fn decode_record<V: Record>(bytes: &[u8]) -> Result<V, CodecError> {
    let Some((version, body)) = bytes.split_first() else {
        return Err(CodecError::Short { needed: 1, got: 0 });
    };
    if *version != V::VERSION {
        return V::upgrade(*version, body);
    }
    decode_body(body)
}

/// Reads one record body of a known shape; for use in [`Record::upgrade`].
///
/// # Errors
/// [`CodecError`] when the body is malformed or bytes follow its end.
pub fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, CodecError> {
    match postcard::take_from_bytes::<T>(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(CodecError::Trailing { extra: rest.len() }),
        Err(_) => Err(CodecError::Invalid("record body")),
    }
}

/// Decodes a row as an index function receives it: key without table number, value unsealed.
///
/// # Errors
/// [`CodecError`] when either part is malformed.
pub fn decode_row<K: Key, V: Record>(key: &[u8], value: &[u8]) -> Result<(K, V), CodecError> {
    Ok((K::decode(key)?, decode_record(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Old {
        name: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        name: String,
        level: u32,
    }

    impl Record for Old {
        const VERSION: u8 = 1;
    }

    impl Record for New {
        const VERSION: u8 = 2;
        fn upgrade(version: u8, body: &[u8]) -> Result<Self, CodecError> {
            match version {
                1 => decode_body::<Old>(body).map(|old| New {
                    name: old.name,
                    level: 1,
                }),
                _ => Err(CodecError::Version { version }),
            }
        }
    }

    proptest! {
        #[test]
        fn round_trip(name: String, level: u32) {
            let record = New { name, level };
            prop_assert_eq!(decode_record::<New>(&encode_record(&record).unwrap()).unwrap(), record);
        }

        #[test]
        fn decoding_never_panics(raw: Vec<u8>) {
            let _ = decode_record::<New>(&raw);
        }
    }

    #[test]
    fn an_older_version_converts_forward() {
        let stored = encode_record(&Old { name: "harbour".into() }).unwrap();
        assert_eq!(
            decode_record::<New>(&stored),
            Ok(New {
                name: "harbour".into(),
                level: 1
            })
        );
    }

    #[test]
    fn a_newer_version_and_trailing_bytes_are_refused() {
        let mut stored = encode_record(&New {
            name: "x".into(),
            level: 1,
        })
        .unwrap();
        assert_eq!(decode_record::<Old>(&stored), Err(CodecError::Version { version: 2 }));
        stored.push(0);
        assert_eq!(decode_record::<New>(&stored), Err(CodecError::Trailing { extra: 1 }));
        assert_eq!(decode_record::<New>(&[]), Err(CodecError::Short { needed: 1, got: 0 }));
    }
}
