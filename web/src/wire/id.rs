//! Identifiers on the wire: decimal strings, so that a client in any language can hold them.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An identifier as a decimal string from `"1"` below 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id<T>(pub T);

impl<T: Display> Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Display> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl<'de, T: FromStr> Deserialize<'de> for Id<T>
where
    T::Err: Display,
{
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(from)?
            .parse()
            .map(Id)
            .map_err(serde::de::Error::custom)
    }
}

impl<T> JsonSchema for Id<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Id".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[1-9][0-9]{0,15}$", "description": "Decimal id from 1 below 2^53." })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seawall_domain::PlayerId;

    #[test]
    fn ids_are_decimal_strings_both_ways() {
        assert_eq!(serde_json::to_string(&Id(PlayerId(42))).unwrap(), r#""42""#);
        assert_eq!(
            serde_json::from_str::<Id<PlayerId>>(r#""42""#).unwrap(),
            Id(PlayerId(42))
        );
        for bad in [
            "42",
            r#""""#,
            r#""0""#,
            r#""01""#,
            r#""-1""#,
            r#""9007199254740992""#,
            r#""1 ""#,
            "null",
        ] {
            assert!(serde_json::from_str::<Id<PlayerId>>(bad).is_err(), "{bad}");
        }
    }
}
