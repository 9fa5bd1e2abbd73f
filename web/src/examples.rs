//! Samples of bodies for the OpenAPI document. A test decodes each with its wire type, so that none can grow stale.

pub(crate) const SESSION_CREATE: &str = r#"{"game_id":"1","credential":{"kind":"username","username":"lin","password":"correct horse"},"client":{"package_id":"1","os":"android","device":{"install_id":"5f0c9a1e-device"}},"create_if_missing":true}"#;
pub(crate) const ACCOUNT_CREATE: &str = r#"{"game_id":"1","credential":{"kind":"guest"},"client":{"package_id":"1","os":"ios","app_version":"2.1.0","device":{"install_id":"5f0c9a1e-device","brand":"Apple","model":"iPhone15,2"}}}"#;
pub(crate) const SESSION_CREATED: &str = r#"{"outcome":"session","account_id":"10001","player_id":"10001","username":"lin","is_new_account":true,"is_new_player":true,"session":{"session_id":"77","access_token":"sw1.…","access_expires_at":1767312000000,"refresh_token":"sr1.…","refresh_expires_at":1775001600000},"reconnect_spread_ms":60000,"server_time_at":1767225600000}"#;
pub(crate) const SESSION_REFRESH: &str = r#"{"refresh_token":"sr1.…"}"#;
pub(crate) const SESSION_REFRESHED: &str = r#"{"player_id":"10001","session":{"session_id":"77","access_token":"sw1.…","access_expires_at":1767312000000,"refresh_token":"sr1.…","refresh_expires_at":1775001600000},"reconnect_spread_ms":60000,"server_time_at":1767225600000}"#;
pub(crate) const LOGOUT: &str = r#"{"everywhere":false}"#;
pub(crate) const ACKNOWLEDGED: &str = r#"{"server_time_at":1767225600000}"#;
pub(crate) const SESSION_LIST: &str = r#"{"sessions":[{"session_id":"77","game_id":"1","player_id":"10001","device":"Apple iPhone15,2","created_at":1767225600000,"refreshed_at":1767225600000,"refresh_expires_at":1775001600000,"is_current":true}],"server_time_at":1767225600000}"#;
pub(crate) const DEVICE_LIST: &str = r#"{"devices":[{"device_id":"0f1e2d3c4b5a69788796a5b4c3d2e1f0","brand":"Apple","model":"iPhone15,2","os":"ios","first_seen_at":1767225600000,"last_seen_at":1767225600000}],"server_time_at":1767225600000}"#;
pub(crate) const OWN_ACCOUNT: &str = r#"{"account_id":"10001","player_id":"10001","session_id":"77","game_id":"1","username":"lin","identities":[{"kind":"username"}],"created_at":1767225600000,"restrictions":[],"server_time_at":1767225600000}"#;
pub(crate) const PASSWORD_CHANGE: &str = r#"{"old_password":"correct horse","new_password":"battery staple"}"#;
pub(crate) const IDENTITY_BIND: &str =
    r#"{"credential":{"kind":"username","username":"lin","password":"correct horse"}}"#;
pub(crate) const VERIFY: &str = r#"{"token":"sw1.…","player_id":"10001"}"#;
pub(crate) const TOKEN_STATUS: &str = r#"{"status":"valid","player_id":"10001","account_id":"10001","game_id":"1","session_id":"77","package_id":"1","channel_id":"","issued_at":1767225600000,"expires_at":1767312000000,"assurance":"full","restrictions":[]}"#;
pub(crate) const VERIFY_BATCH: &str = r#"{"tokens":["sw1.…","sw1.…"]}"#;
pub(crate) const VERIFY_BATCH_ANSWER: &str = r#"{"results":[{"status":"invalid","reason":"expired"},{"status":"unknown","code":"platform.not_ready","retry_after_ms":1500}]}"#;
pub(crate) const PLAYER_LOGOUT: &str = r#"{"game_id":"1","player_id":"10001"}"#;
pub(crate) const LOGGED_OUT: &str = r#"{"session_count":2}"#;
pub(crate) const REALM: &str = r#"{"realm_id":"1","name":"default","guests_allowed":true,"created_at":1767225600000}"#;
pub(crate) const REALM_LIST: &str =
    r#"{"realms":[{"realm_id":"1","name":"default","guests_allowed":true,"created_at":1767225600000}]}"#;
pub(crate) const REALM_CREATE: &str = r#"{"name":"europe","guests_allowed":false}"#;
pub(crate) const REALM_UPDATE: &str = r#"{"guests_allowed":true}"#;
pub(crate) const GAME: &str = r#"{"game_id":"1","realm_id":"1","name":"Sea of Stars","settings":{"status":"open","session_policy":"replace","access_token_ms":86400000,"refresh_token_ms":7776000000,"refresh_grace_ms":30000,"cors_origins":["https://play.example"],"unknown_policy":"status_503","unknown_hold_ms":2000,"mac_only":false,"reconnect_spread_ms":0,"remember_passwords":true,"challenges":"auto"},"created_at":1767225600000}"#;
pub(crate) const GAME_LIST: &str = r#"{"games":[]}"#;
pub(crate) const GAME_CREATE: &str = r#"{"realm_id":"1","name":"Sea of Stars","settings":{"session_policy":"both"}}"#;
pub(crate) const GAME_CHANGE: &str = r#"{"status":"maintenance","device_limit":null}"#;
pub(crate) const PACKAGE: &str = r#"{"package_id":"1","game_id":"1","name":"official android","platform":"android","channel_id":"official","agent_id":"","site_id":"","bundle_id":"com.example.stars","channel_params":["app_key"],"created_at":1767225600000}"#;
pub(crate) const PACKAGE_LIST: &str = r#"{"packages":[]}"#;
pub(crate) const PACKAGE_CREATE: &str = r#"{"name":"official android","platform":"android","channel_id":"official","bundle_id":"com.example.stars","channel_params":{"app_key":"k-123"}}"#;
pub(crate) const KEY: &str =
    r#"{"key_id":"1","name":"game servers","games":["1"],"created_at":1767225600000,"rotated_at":1767225600000}"#;
pub(crate) const KEY_LIST: &str = r#"{"keys":[]}"#;
pub(crate) const KEY_CREATE: &str = r#"{"name":"game servers","games":["1"]}"#;
pub(crate) const KEY_ROTATE: &str = r#"{"keep_previous_ms":604800000}"#;
pub(crate) const KEY_SECRET: &str = r#"{"key":{"key_id":"1","name":"game servers","games":["1"],"created_at":1767225600000,"rotated_at":1767225600000},"secret":"sws_…"}"#;
pub(crate) const ACCOUNT_SELECTOR: &str = r#"{"account_id":"10001"}"#;
pub(crate) const ACCOUNT: &str = r#"{"account_id":"10001","realm_id":"1","status":"active","username":"lin","identities":[{"kind":"phone","issuer":"","subject":"+86*******1234"}],"players":[{"game_id":"1","player_id":"10001","created_at":1767225600000}],"restrictions":[],"session_count":1,"created_at":1767225600000,"changed_at":1767225600000,"origin":{"ip":"192.0.2.7"},"password_recipe":"argon2id"}"#;
pub(crate) const RESTRICT: &str = r#"{"subject":{"kind":"account","account_id":"10001"},"action":"login","until_at":1767312000000,"reason":"cheating","message":"Suspended for one day.","ticket":"T-1"}"#;
pub(crate) const RESTRICTION: &str = r#"{"restriction_id":"5","subject":{"kind":"account","account_id":"10001"},"action":"login","from_at":1767225600000,"until_at":1767312000000,"reason":"cheating","message":"Suspended for one day.","ticket":"T-1"}"#;
pub(crate) const AUTH_LOG: &str = r#"{"records":[{"at":1767225600000,"op":"session.create","result":"ok","account_id":"10001","game_id":"1","player_id":"10001","ip":"192.0.2.7","port":40000,"learnt_from":"peer","caller":"client","request_id":"0af7651916cd43dd8448eb211c80319c"}]}"#;
pub(crate) const IMPORT_BEGIN: &str = r#"{"file_digest":"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262","realm_id":"1","format":"ndjson","password_recipe":"md5(md5(password)+salt)"}"#;
pub(crate) const IMPORT_PROGRESS: &str = r#"{"import_id":"af1349b9f5f9a1a6a0404dea36dcc949","offset_bytes":1048000,"lines":5000,"created":4990,"updated":5,"unchanged":3,"refused":2}"#;
pub(crate) const IMPORT_CHUNKED: &str = r#"{"progress":{"import_id":"af1349b9f5f9a1a6a0404dea36dcc949","offset_bytes":1048000,"lines":5000,"created":4990,"updated":5,"unchanged":3,"refused":2},"bad_lines":[{"line":17,"reason":"uid is missing"}]}"#;
pub(crate) const ACCOUNT_EXPORT: &str = r#"{"lines":["{\"uid\":10001,\"username\":\"lin\"}"],"next_cursor":"…"}"#;
pub(crate) const STARTUP: &str = r#"{"is_done":true,"progress_percent":100,"phase":"serving"}"#;
pub(crate) const VERSION: &str = r#"{"version":"0.1.0","commit":"3b4e00b","target":"x86_64-unknown-linux-gnu"}"#;
pub(crate) const HEALTH: &str = r#"{"status":"ready","checks":[{"name":"store","ok":true,"detail":""}]}"#;
pub(crate) const ADMISSION: &str = r#"{"mode":"enforce","controller":"running","is_overloaded":true,"is_shedding":true,"lag_us":2400,"players_lag_us":310000,"commit_wait_us":3500,"hash_wait_us":180000,"memory_is_tight":false,"capacity_units_per_second":42000,"in_flight":312,"in_flight_max":8192,"queued":1200,"held_refusals":4,"classes":[{"class":"login","share_percent":20,"cost_units":7,"deadline_ms":5000,"fraction_permille":210,"offered_units_per_second":90000,"admitted_units_per_second":18900,"in_flight":120,"retry_after_base_ms":4762,"offered":812345,"admitted":310022,"in_time":309871,"wait_us_mean":410,"refused":{"level":502323,"hash":0,"in_flight":0,"server_key":0,"deadline":0,"waiting_room":0},"would_be_refused":{"level":0,"hash":0,"in_flight":0,"server_key":0,"deadline":0,"waiting_room":0}}],"tenants":[{"tenant":"game:1","class":"login","offered_units_per_second":81000,"admitted_units_per_second":9900,"fraction_permille":122}],"waiting_room":{"mode":"auto","is_open":true,"rooms":[{"game":"game:1","waiting":5310,"logins_per_second":2700,"estimate_ms":1966}]},"challenges":{"is_pressed":true,"is_asking":true},"server_time_at":1767225600000}"#;
