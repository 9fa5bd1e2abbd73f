//! What goes over the wire, said once: request and answer bodies with their JSON Schema. Identifiers are decimal
//! strings, instants are `*_at` in Unix milliseconds, durations end in their unit. Both directions are derived, so that
//! the command line reads the answers with the same types the handlers write.
//!
//! Types that hold a secret have no `Debug`, so that none can slip into a log.

mod account;
mod admission;
mod auth_log;
mod catalogue;
mod id;
mod import;
mod problem;
mod restriction;
mod session;
mod verify;

pub use account::{
    AccountExport, AccountSelector, AccountView, DeviceEntry, DeviceList, IdentityBind, IdentityKind, IdentityView,
    OwnAccount, OwnIdentity, PasswordChange, PlayerView,
};
pub use admission::{
    AdmissionChallenges, AdmissionClass, AdmissionRefused, AdmissionTenant, AdmissionView, WaitingRoom, WaitingRooms,
};
pub use auth_log::{AuthLogQuery, AuthLogRecord, AuthLogRecords, LearntFrom};
pub use catalogue::{
    ChallengePolicy, GameChange, GameCreate, GameList, GameSettings, GameStatus, GameView, KeyCreate, KeyList,
    KeyRotate, KeySecret, KeyView, PackageCreate, PackageList, PackageView, RealmCreate, RealmList, RealmUpdate,
    RealmView, SessionPolicy, UnknownPolicy,
};
pub use id::Id;
pub use import::{
    BadLine, ColumnName, ExportQuery, ImportBegin, ImportChunkQuery, ImportChunked, ImportFormat, ImportProgress,
};
pub use problem::{Problem, Waiting};
pub use restriction::{Action, Restrict, Restriction, Subject};
pub use session::{
    AccountCreate, Acknowledged, Challenge, ChallengeResponse, Client, Credential, Device, DeviceIds, LoggedIn,
    LoggedOut, Logout, SessionCreate, SessionCreated, SessionEntry, SessionList, SessionRefresh, SessionRefreshed,
    SessionTokens,
};
pub use verify::{
    Assurance, InvalidReason, PlayerLogout, TokenStatus, VERIFY_BATCH_MAX, Verify, VerifyBatch, VerifyBatchAnswer,
};

/// Mirrors a plain domain enum on the wire: same names, with a schema, convertible both ways.
macro_rules! mirror {
    ($(#[$doc:meta])* $name:ident = $domain:path { $($(#[$variant_doc:meta])* $variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant),*
        }

        impl From<$domain> for $name {
            fn from(value: $domain) -> Self {
                use $domain as Domain;
                match value {
                    $(Domain::$variant => $name::$variant),*
                }
            }
        }

        impl From<$name> for $domain {
            fn from(value: $name) -> Self {
                use $domain as Domain;
                match value {
                    $($name::$variant => Domain::$variant),*
                }
            }
        }
    };
}
pub(crate) use mirror;
