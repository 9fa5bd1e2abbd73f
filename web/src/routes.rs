//! The one list of routes. The router, the OpenAPI document, metric labels, the command line and tests all walk
//! [`ROUTES`]; a new operation is one more entry here, one handler and its wire types.

use seawall_domain::codes as c;

use crate::admission::Class;
use crate::examples as ex;
use crate::handlers::{account, catalogue, import, ops, server, session, staff};
use crate::route::{Route, of};
use crate::{host, wire};

macro_rules! to {
    ($handler:path) => {
        |exchange| Box::pin($handler(exchange))
    };
}

const GET: bool = false;
const POST: bool = true;

/// The route of an operation.
#[must_use]
pub fn find(op: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.op == op)
}

/// Every operation, grouped by who calls it.
pub static ROUTES: &[Route] = &[
    // Players' game clients.
    Route::sdk(
        POST,
        "/sdk/v1/sessions",
        "session.create",
        Class::Login,
        to!(session::session_create),
    )
    .says("Log in; register when asked to and nobody has the name.")
    .takes(of::<wire::SessionCreate>(), ex::SESSION_CREATE)
    .gives(of::<wire::SessionCreated>(), ex::SESSION_CREATED)
    .fails(&[
        c::CREDENTIAL_INVALID,
        c::CREDENTIAL_UNSUPPORTED,
        c::GUEST_DISABLED,
        c::GAME_UNKNOWN,
        c::GAME_MAINTENANCE,
        c::PACKAGE_UNKNOWN,
        c::ACCOUNT_RESTRICTED,
        c::ACCOUNT_DELETED,
        c::DEVICE_LIMIT,
        c::SESSION_LIMIT,
        c::LIMIT_ADDRESS,
        c::LIMIT_DEVICE,
        c::LIMIT_ACCOUNT,
        c::LIMIT_GAME,
        c::NOT_READY,
    ]),
    Route::sdk(
        POST,
        "/sdk/v1/accounts",
        "account.create",
        Class::Register,
        to!(account::account_create),
    )
    .says("Register, and log in.")
    .takes(of::<wire::AccountCreate>(), ex::ACCOUNT_CREATE)
    .gives(of::<wire::SessionCreated>(), ex::SESSION_CREATED)
    .created()
    .fails(&[
        c::ACCOUNT_EXISTS,
        c::CREDENTIAL_UNSUPPORTED,
        c::GUEST_DISABLED,
        c::GAME_UNKNOWN,
        c::GAME_MAINTENANCE,
        c::PACKAGE_UNKNOWN,
        c::ACCOUNT_RESTRICTED,
        c::LIMIT_ADDRESS,
        c::LIMIT_DEVICE,
        c::LIMIT_ACCOUNT,
        c::LIMIT_GAME,
        c::NOT_READY,
    ]),
    Route::sdk(
        POST,
        "/sdk/v1/sessions/refresh",
        "session.refresh",
        Class::Refresh,
        to!(session::session_refresh),
    )
    .says("Exchange a refresh token for the next pair.")
    .takes(of::<wire::SessionRefresh>(), ex::SESSION_REFRESH)
    .gives(of::<wire::SessionRefreshed>(), ex::SESSION_REFRESHED)
    .fails(&[
        c::REFRESH_INVALID,
        c::REFRESH_REUSED,
        c::ACCOUNT_RESTRICTED,
        c::ACCOUNT_DELETED,
        c::NOT_READY,
    ]),
    Route::sdk(
        POST,
        "/sdk/v1/sessions/logout",
        "session.logout",
        Class::Refresh,
        to!(session::session_logout),
    )
    .says("End this session, or all sessions of the account.")
    .bearer()
    .takes_optionally(of::<wire::Logout>(), ex::LOGOUT)
    .gives(of::<wire::Acknowledged>(), ex::ACKNOWLEDGED),
    Route::sdk(
        GET,
        "/sdk/v1/sessions",
        "session.list",
        Class::Bulk,
        to!(session::session_list),
    )
    .says("Live sessions of the account.")
    .bearer()
    .gives(of::<wire::SessionList>(), ex::SESSION_LIST),
    Route::sdk(
        GET,
        "/sdk/v1/devices",
        "device.list",
        Class::Bulk,
        to!(session::device_list),
    )
    .says("Devices of the account.")
    .bearer()
    .gives(of::<wire::DeviceList>(), ex::DEVICE_LIST),
    Route::sdk(
        GET,
        "/sdk/v1/account",
        "account.get",
        Class::Refresh,
        to!(account::account_get),
    )
    .says("The account of the token.")
    .bearer()
    .gives(of::<wire::OwnAccount>(), ex::OWN_ACCOUNT),
    Route::sdk(
        POST,
        "/sdk/v1/account/password",
        "account.change_password",
        Class::Login,
        to!(account::account_change_password),
    )
    .says("Change the password; all other sessions are revoked.")
    .bearer()
    .takes(of::<wire::PasswordChange>(), ex::PASSWORD_CHANGE)
    .gives(of::<wire::Acknowledged>(), ex::ACKNOWLEDGED)
    .fails(&[c::CREDENTIAL_INVALID, c::ACCOUNT_RESTRICTED, c::LIMIT_ACCOUNT]),
    Route::sdk(
        POST,
        "/sdk/v1/account/identities",
        "identity.bind",
        Class::Register,
        to!(account::identity_bind),
    )
    .says("A guest takes a username and a password; the session stays.")
    .bearer()
    .takes(of::<wire::IdentityBind>(), ex::IDENTITY_BIND)
    .gives(of::<wire::OwnAccount>(), ex::OWN_ACCOUNT)
    .fails(&[
        c::IDENTITY_EXISTS,
        c::CREDENTIAL_UNSUPPORTED,
        c::ACCOUNT_RESTRICTED,
        c::LIMIT_ACCOUNT,
    ]),
    // Game servers.
    Route::server(
        "/server/v1/sessions/verify",
        "session.verify",
        false,
        to!(server::session_verify),
    )
    .metered()
    .says("Check a player's token.")
    .takes(of::<wire::Verify>(), ex::VERIFY)
    .gives(of::<wire::TokenStatus>(), ex::TOKEN_STATUS)
    .fails(&[c::NOT_READY]),
    Route::server(
        "/server/v1/sessions/verify-batch",
        "session.verify_batch",
        false,
        to!(server::session_verify_batch),
    )
    .metered()
    .says("Check up to 500 tokens; answers in their order.")
    .takes_up_to(of::<wire::VerifyBatch>(), ex::VERIFY_BATCH, 256 << 10)
    .gives(of::<wire::VerifyBatchAnswer>(), ex::VERIFY_BATCH_ANSWER)
    .fails(&[c::NOT_READY]),
    Route::server(
        "/server/v1/players/logout",
        "player.logout",
        true,
        to!(server::player_logout),
    )
    .says("Revoke every session of a player.")
    .takes(of::<wire::PlayerLogout>(), ex::PLAYER_LOGOUT)
    .gives(of::<wire::LoggedOut>(), ex::LOGGED_OUT)
    .fails(&[c::GAME_FORBIDDEN, c::ACCOUNT_UNKNOWN]),
    // Operators, on the root-only socket.
    Route::admin(GET, "/admin/v1/status", "platform.status", to!(ops::platform_status))
        .says("Role, uptime, listeners, tasks."),
    Route::admin(
        POST,
        "/admin/v1/platform/stop",
        "platform.stop",
        to!(ops::platform_stop),
    )
    .says("Drain and stop."),
    Route::admin(GET, "/admin/v1/config", "config.show", to!(ops::config_show))
        .says("Settings in force with their origin; secrets masked."),
    Route::admin(GET, "/admin/v1/admission", "admission.show", to!(ops::admission_show))
        .says("Who asks, who is let in, who is refused and why.")
        .gives(of::<wire::AdmissionView>(), ex::ADMISSION),
    Route::admin(GET, "/admin/v1/store/stats", "store.stats", to!(ops::store_stats))
        .says("Sizes and rates of the store."),
    Route::admin(POST, "/admin/v1/store/verify", "store.verify", to!(ops::store_verify))
        .says("Recompute the journal's chain and check indexes against records."),
    Route::admin(POST, "/admin/v1/store/copy", "store.copy", to!(ops::store_copy))
        .says("Make a linked copy of the store for a rehearsal, in the data directory; writes go on."),
    Route::admin(GET, "/admin/v1/backups", "backup.show", to!(ops::backup_show))
        .says("How backups stand, and how far one under way is."),
    Route::admin(POST, "/admin/v1/backups", "backup.create", to!(ops::backup_create))
        .says("Begin a backup; answers at once."),
    Route::admin(POST, "/admin/v1/backups/drill", "backup.drill", to!(ops::backup_drill))
        .says("Begin to prove a restore by doing one; answers at once."),
    Route::admin(GET, "/admin/v1/realms", "realm.list", to!(catalogue::realm_list))
        .says("All realms.")
        .gives(of::<wire::RealmList>(), ex::REALM_LIST),
    Route::admin(POST, "/admin/v1/realms", "realm.create", to!(catalogue::realm_create))
        .says("Make a realm.")
        .takes(of::<wire::RealmCreate>(), ex::REALM_CREATE)
        .gives(of::<wire::RealmView>(), ex::REALM)
        .created()
        .fails(&[c::REALM_EXISTS]),
    Route::admin(
        POST,
        "/admin/v1/realms/{realm_id}",
        "realm.update",
        to!(catalogue::realm_update),
    )
    .says("Change a realm.")
    .takes(of::<wire::RealmUpdate>(), ex::REALM_UPDATE)
    .gives(of::<wire::RealmView>(), ex::REALM)
    .fails(&[c::REALM_UNKNOWN]),
    Route::admin(GET, "/admin/v1/games", "game.list", to!(catalogue::game_list))
        .says("All games.")
        .gives(of::<wire::GameList>(), ex::GAME_LIST),
    Route::admin(POST, "/admin/v1/games", "game.create", to!(catalogue::game_create))
        .says("Make a game.")
        .takes(of::<wire::GameCreate>(), ex::GAME_CREATE)
        .gives(of::<wire::GameView>(), ex::GAME)
        .created()
        .fails(&[c::REALM_UNKNOWN, c::GAME_EXISTS]),
    Route::admin(GET, "/admin/v1/games/{game_id}", "game.show", to!(catalogue::game_show))
        .says("One game.")
        .gives(of::<wire::GameView>(), ex::GAME)
        .fails(&[c::GAME_UNKNOWN]),
    Route::admin(
        POST,
        "/admin/v1/games/{game_id}",
        "game.update",
        to!(catalogue::game_update),
    )
    .says("Change a game's settings; what is absent stays.")
    .takes(of::<wire::GameChange>(), ex::GAME_CHANGE)
    .gives(of::<wire::GameView>(), ex::GAME)
    .fails(&[c::GAME_UNKNOWN]),
    Route::admin(
        GET,
        "/admin/v1/games/{game_id}/packages",
        "package.list",
        to!(catalogue::package_list),
    )
    .says("Packages of a game.")
    .gives(of::<wire::PackageList>(), ex::PACKAGE_LIST)
    .fails(&[c::GAME_UNKNOWN]),
    Route::admin(
        POST,
        "/admin/v1/games/{game_id}/packages",
        "package.create",
        to!(catalogue::package_create),
    )
    .says("Make a package.")
    .takes_up_to(of::<wire::PackageCreate>(), ex::PACKAGE_CREATE, 512 << 10)
    .gives(of::<wire::PackageView>(), ex::PACKAGE)
    .created()
    .fails(&[c::GAME_UNKNOWN]),
    Route::admin(GET, "/admin/v1/keys", "key.list", to!(catalogue::key_list))
        .says("All server keys, without secrets.")
        .gives(of::<wire::KeyList>(), ex::KEY_LIST),
    Route::admin(POST, "/admin/v1/keys", "key.create", to!(catalogue::key_create))
        .says("Make a server key; its secret is shown once.")
        .takes(of::<wire::KeyCreate>(), ex::KEY_CREATE)
        .gives(of::<wire::KeySecret>(), ex::KEY_SECRET)
        .created()
        .fails(&[c::GAME_UNKNOWN]),
    Route::admin(
        POST,
        "/admin/v1/keys/{key_id}/rotate",
        "key.rotate",
        to!(catalogue::key_rotate),
    )
    .says("A second secret; the old one works for a while.")
    .takes_optionally(of::<wire::KeyRotate>(), ex::KEY_ROTATE)
    .gives(of::<wire::KeySecret>(), ex::KEY_SECRET)
    .fails(&[c::KEY_UNKNOWN]),
    Route::admin(
        POST,
        "/admin/v1/keys/{key_id}/revoke",
        "key.revoke",
        to!(catalogue::key_revoke),
    )
    .says("The key stops working now.")
    .gives(of::<wire::KeyView>(), ex::KEY)
    .fails(&[c::KEY_UNKNOWN]),
    Route::admin(GET, "/admin/v1/accounts/show", "account.show", to!(staff::account_show))
        .says("Everything about an account.")
        .asks(of::<wire::AccountSelector>())
        .gives(of::<wire::AccountView>(), ex::ACCOUNT)
        .fails(&[c::ACCOUNT_UNKNOWN, c::FIELD_INVALID]),
    Route::admin(
        POST,
        "/admin/v1/accounts/logout",
        "account.logout",
        to!(staff::account_logout),
    )
    .says("Revoke every session of an account.")
    .takes(of::<wire::AccountSelector>(), ex::ACCOUNT_SELECTOR)
    .gives(of::<wire::LoggedOut>(), ex::LOGGED_OUT)
    .fails(&[c::ACCOUNT_UNKNOWN]),
    Route::admin(
        POST,
        "/admin/v1/restrictions",
        "account.restrict",
        to!(staff::account_restrict),
    )
    .says("Restrict an account, player, device or address range.")
    .takes(of::<wire::Restrict>(), ex::RESTRICT)
    .gives(of::<wire::Restriction>(), ex::RESTRICTION)
    .created()
    .fails(&[c::ACCOUNT_UNKNOWN, c::GAME_UNKNOWN]),
    Route::admin(
        POST,
        "/admin/v1/restrictions/{restriction_id}/lift",
        "account.lift",
        to!(staff::account_lift),
    )
    .says("End a restriction now.")
    .gives(of::<wire::Restriction>(), ex::RESTRICTION)
    .fails(&[c::RESTRICTION_UNKNOWN]),
    Route::admin(
        GET,
        "/admin/v1/auth-log",
        "auth_log.search",
        to!(staff::auth_log_search),
    )
    .says("Search the authentication log, newest first.")
    .asks(of::<wire::AuthLogQuery>())
    .gives(of::<wire::AuthLogRecords>(), ex::AUTH_LOG)
    .fails(&[c::FIELD_INVALID]),
    Route::admin(POST, "/admin/v1/imports", "import.begin", to!(import::import_begin))
        .says("Begin an import, or learn where that of the same file stands.")
        .takes(of::<wire::ImportBegin>(), ex::IMPORT_BEGIN)
        .gives(of::<wire::ImportProgress>(), ex::IMPORT_PROGRESS)
        .fails(&[c::REALM_UNKNOWN]),
    Route::admin(
        POST,
        "/admin/v1/imports/{import_id}/chunks",
        "import.chunk",
        to!(import::import_chunk),
    )
    .says("The next whole lines of the file, as they are.")
    .takes_raw(seawall_domain::import::CHUNK_MAX_BYTES)
    .asks(of::<wire::ImportChunkQuery>())
    .gives(of::<wire::ImportChunked>(), ex::IMPORT_CHUNKED)
    .fails(&[c::IMPORT_UNKNOWN, c::IMPORT_CONFLICT]),
    Route::admin(
        POST,
        "/admin/v1/imports/{import_id}/finalize",
        "import.finalize",
        to!(import::import_finalize),
    )
    .says("Forget old hashes, peppers and the import's progress.")
    .gives(of::<wire::ImportProgress>(), ex::IMPORT_PROGRESS)
    .fails(&[c::IMPORT_UNKNOWN]),
    Route::admin(
        GET,
        "/admin/v1/accounts/export",
        "account.export",
        to!(import::account_export),
    )
    .says("Accounts changed since a cursor, in the import's own format.")
    .asks(of::<wire::ExportQuery>())
    .gives(of::<wire::AccountExport>(), ex::ACCOUNT_EXPORT)
    .fails(&[c::REALM_UNKNOWN, c::CURSOR_INVALID, c::FIELD_INVALID]),
    // Health.
    Route::ops("/livez", "platform.livez", to!(ops::livez))
        .says("Do the process and its runtime make progress?")
        .gives(of::<host::Health>(), ex::HEALTH),
    Route::ops("/readyz", "platform.readyz", to!(ops::readyz))
        .says("May traffic be sent here? Never depends on load.")
        .gives(of::<host::Health>(), ex::HEALTH),
    Route::ops("/startupz", "platform.startupz", to!(ops::startupz))
        .says("How far the start has come.")
        .gives(of::<host::Startup>(), ex::STARTUP),
    Route::ops("/metrics", "platform.metrics", to!(ops::metrics)).says("Counters in OpenMetrics text."),
    Route::ops("/version", "platform.version", to!(ops::version))
        .says("What is running.")
        .gives(of::<host::Version>(), ex::VERSION),
    Route::ops("/openapi.json", "platform.openapi", to!(ops::openapi)).says("This document; on every listener."),
];
