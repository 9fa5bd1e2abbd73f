//! Identities: the names of accounts, all kinds in one table.

/// Kind of an identity. Persisted by number, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum IdentityKind {
    /// A name chosen by the player.
    Username = 1,
    /// A guest's secret (its hash).
    Guest = 2,
    /// A phone number in E.164.
    Phone = 3,
    /// A mail address.
    Email = 4,
    /// WeChat id within one app.
    WechatOpenid = 5,
    /// WeChat id across the apps of one publisher.
    WechatUnionid = 6,
    /// Sign in with Apple.
    Apple = 7,
    /// Google.
    Google = 8,
    /// A channel's own user id; the issuer is the channel.
    Channel = 9,
    /// An imported name that breaks today's rule for usernames.
    Alias = 10,
}
