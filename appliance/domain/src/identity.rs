//! Identities: the names of accounts, all kinds in one table.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ids::{AccountId, RealmId};
use crate::normalise;
use crate::platform::LookupKeys;
use crate::tables::account::IdentityKey;

mod bind;

/// Prefix of guests' secrets.
pub const GUEST_PREFIX: &str = "sg1.";

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

impl IdentityKind {
    /// The kind's name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::Guest => "guest",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::WechatOpenid => "wechat_openid",
            Self::WechatUnionid => "wechat_unionid",
            Self::Apple => "apple",
            Self::Google => "google",
            Self::Channel => "channel",
            Self::Alias => "alias",
        }
    }

    /// The kind of a stored number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        let all = [
            Self::Username,
            Self::Guest,
            Self::Phone,
            Self::Email,
            Self::WechatOpenid,
            Self::WechatUnionid,
            Self::Apple,
            Self::Google,
            Self::Channel,
            Self::Alias,
        ];
        all.into_iter().find(|kind| *kind as u8 == number)
    }

    /// The form a subject of this kind is looked up by, `None` when it cannot be one.
    pub(crate) fn subject(self, text: &str) -> Option<String> {
        match self {
            Self::Username => normalise::username(text).ok().map(|name| name.key),
            Self::Alias => normalise::alias(text),
            Self::Phone => normalise::phone(text),
            Self::Email => normalise::email(text),
            _ => (1..=255).contains(&text.len()).then(|| text.to_owned()),
        }
    }
}

/// Key of an identity's row: a keyed hash, so that neither the engine's files nor the journal tell names.
pub(crate) fn identity_key(
    lookup: &LookupKeys,
    realm: RealmId,
    kind: IdentityKind,
    issuer: &str,
    subject: &str,
) -> IdentityKey {
    let mut hasher = blake3::Hasher::new_keyed(lookup.identity.expose());
    hasher
        .update(&(issuer.len() as u64).to_be_bytes())
        .update(issuer.as_bytes())
        .update(subject.as_bytes());
    let mut hash = [0; 20];
    hasher.finalize_xof().fill(&mut hash);
    (realm, kind as u8, hash)
}

/// A guest's secret: a MAC of the account's id, so that the repeat of the call that made the guest can show it again
/// although only its hash is stored.
pub(crate) fn guest_secret(lookup: &LookupKeys, account: AccountId) -> String {
    let mac = blake3::keyed_hash(lookup.guest.expose(), &account.0.to_be_bytes());
    format!("{GUEST_PREFIX}{}", URL_SAFE_NO_PAD.encode(mac.as_bytes()))
}

/// Whether a text has the shape of a guest's secret.
pub(crate) fn is_guest_secret(text: &str) -> bool {
    text.strip_prefix(GUEST_PREFIX).is_some_and(|body| {
        body.len() == 43
            && body
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    })
}
