//! Keys: fixed width, big-endian, so that the order of the bytes is the order of the values. A tuple's encoding is its
//! parts one after the other, which makes every leading part of a tuple a prefix one can scan.

use crate::error::CodecError;

/// A value that can be a row's key, or a leading part of one.
pub trait Key: Sized {
    /// Length of every encoding, in bytes.
    const WIDTH: usize;
    /// Appends exactly [`Key::WIDTH`] bytes; `a < b` must imply that the bytes of `a` sort before those of `b`.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads exactly [`Key::WIDTH`] bytes.
    ///
    /// # Errors
    /// [`CodecError`] when the length differs or the bytes spell no value.
    fn decode(bytes: &[u8]) -> Result<Self, CodecError>;
}

/// Takes the first `width` bytes off `bytes`.
///
/// # Errors
/// [`CodecError::Short`] when there are fewer.
pub fn split_key(bytes: &[u8], width: usize) -> Result<(&[u8], &[u8]), CodecError> {
    bytes.split_at_checked(width).ok_or(CodecError::Short {
        needed: width,
        got: bytes.len(),
    })
}

/// The bytes as an array, when the length is exactly right.
fn exact<const N: usize>(bytes: &[u8]) -> Result<[u8; N], CodecError> {
    match bytes.len() {
        len if len < N => Err(CodecError::Short { needed: N, got: len }),
        len if len > N => Err(CodecError::Trailing { extra: len - N }),
        _ => bytes.try_into().map_err(|_| CodecError::Invalid("key length")),
    }
}

macro_rules! integer_key {
    ($($ty:ty),*) => {$(
        impl Key for $ty {
            const WIDTH: usize = size_of::<$ty>();
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
            fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
                exact(bytes).map(Self::from_be_bytes)
            }
        }
    )*};
}
integer_key!(u8, u16, u32, u64, u128);

impl<const N: usize> Key for [u8; N] {
    const WIDTH: usize = N;
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        exact(bytes)
    }
}

impl Key for () {
    const WIDTH: usize = 0;
    fn encode(&self, _out: &mut Vec<u8>) {}
    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        exact::<0>(bytes).map(|_| ())
    }
}

macro_rules! tuple_key {
    ($($name:ident: $part:ident),+) => {
        impl<$($part: Key),+> Key for ($($part,)+) {
            const WIDTH: usize = 0 $(+ $part::WIDTH)+;
            fn encode(&self, out: &mut Vec<u8>) {
                let ($($name,)+) = self;
                $($name.encode(out);)+
            }
            fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
                let rest = bytes;
                $(
                    let ($name, rest) = split_key(rest, $part::WIDTH)?;
                    let $name = $part::decode($name)?;
                )+
                exact::<0>(rest)?;
                Ok(($($name,)+))
            }
        }
    };
}
tuple_key!(a: A);
tuple_key!(a: A, b: B);
tuple_key!(a: A, b: B, c: C);
tuple_key!(a: A, b: B, c: C, d: D);

/// Makes a one-field wrapper a key with its field's encoding: `key_newtype!(AccountId(u64));`
#[macro_export]
macro_rules! key_newtype {
    ($($name:ident($inner:ty)),+ $(,)?) => {$(
        impl $crate::Key for $name {
            const WIDTH: usize = <$inner as $crate::Key>::WIDTH;
            fn encode(&self, out: &mut Vec<u8>) {
                $crate::Key::encode(&self.0, out);
            }
            fn decode(bytes: &[u8]) -> Result<Self, $crate::CodecError> {
                <$inner as $crate::Key>::decode(bytes).map(Self)
            }
        }
    )+};
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(key: &impl Key) -> Vec<u8> {
        let mut out = Vec::new();
        key.encode(&mut out);
        out
    }

    #[derive(Debug, PartialEq, Clone, Copy)]
    struct Wrapped(u64);
    key_newtype!(Wrapped(u64));

    proptest! {
        #[test]
        fn tuples_round_trip_and_keep_order(a: (u32, u64, [u8; 5]), b: (u32, u64, [u8; 5])) {
            let (x, y) = (bytes(&a), bytes(&b));
            prop_assert_eq!(x.len(), <(u32, u64, [u8; 5])>::WIDTH);
            prop_assert_eq!(<(u32, u64, [u8; 5])>::decode(&x).unwrap(), a);
            prop_assert_eq!(a.cmp(&b), x.cmp(&y));
        }

        #[test]
        fn decoding_never_panics(raw: Vec<u8>) {
            let _ = u64::decode(&raw);
            let _ = <(u8, u16, u128, [u8; 3])>::decode(&raw);
            let _ = <()>::decode(&raw);
        }
    }

    #[test]
    fn a_leading_part_is_a_prefix() {
        assert!(bytes(&(7u32, 9u64)).starts_with(&bytes(&7u32)));
        assert!(bytes(&(7u32, 9u64)).starts_with(&bytes(&())));
    }

    #[test]
    fn wrong_lengths_are_named() {
        assert_eq!(u32::decode(&[1, 2]), Err(CodecError::Short { needed: 4, got: 2 }));
        assert_eq!(u32::decode(&[1; 6]), Err(CodecError::Trailing { extra: 2 }));
        assert_eq!(<(u8, u8)>::decode(&[1; 3]), Err(CodecError::Trailing { extra: 1 }));
        assert_eq!(
            <(u8, u32)>::decode(&[1; 3]),
            Err(CodecError::Short { needed: 4, got: 2 })
        );
        assert_eq!(Wrapped::decode(&bytes(&Wrapped(5))), Ok(Wrapped(5)));
    }
}
