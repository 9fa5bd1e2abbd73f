//! Admission: what is refused, and for whom, when more is asked than can be done. All of it may change while running.

use seawall_web::{AdmissionMode, AdmissionOptions, ClassOptions};

use super::{host, waiting_room, whole};
use crate::settings::Settings;
use crate::settings::registry::{Kind, Reload, Setting};

pub(super) const fn live(
    path: &'static str,
    kind: Kind,
    default: &'static str,
    doc_en: &'static str,
    doc_zh: &'static str,
) -> Setting {
    host(path, kind, default, Reload::Live, doc_en, doc_zh)
}

/// Enforced or not.
pub const MODE: Setting = live(
    "admission.mode",
    Kind::Choice(&["enforce", "dry_run", "off"]),
    "enforce",
    "enforce refuses what cannot be done in time, dry_run only counts what it would refuse, off decides nothing; limits.in_flight_max holds in all of them.",
    "enforce 拒绝无法及时处理的请求；dry_run 只统计将被拒绝的请求；off 不作判断。limits.in_flight_max 始终有效。",
);

/// Declares the three settings of a class.
macro_rules! class {
    ($share:ident, $cost:ident, $deadline:ident, $name:literal, $percent:literal, $units:literal, $ms:literal, $en:literal, $zh:literal) => {
        #[doc = concat!("Share: ", $en, ".")]
        pub const $share: Setting = live(
            concat!("admission.", $name, "_share_percent"),
            whole(0, 100, "%"),
            $percent,
            concat!(
                "Guaranteed share, which others may borrow while it is not used: ",
                $en,
                "."
            ),
            concat!("保证份额（未使用时可被借用）：", $zh, "。"),
        );
        #[doc = concat!("Cost: ", $en, ".")]
        pub const $cost: Setting = live(
            concat!("admission.", $name, "_cost_units"),
            whole(1, 1_000, "units"),
            $units,
            concat!("Work of one request, a token check being 1: ", $en, "."),
            concat!("单个请求的工作量（一次令牌校验为 1）：", $zh, "。"),
        );
        #[doc = concat!("Deadline: ", $en, ".")]
        pub const $deadline: Setting = live(
            concat!("admission.", $name, "_deadline_ms"),
            whole(1, 60_000, "ms"),
            $ms,
            concat!(
                "How long a caller is taken to wait who sends no X-Deadline-Ms: ",
                $en,
                "."
            ),
            concat!("未携带 X-Deadline-Ms 的调用方的等待时间：", $zh, "。"),
        );
    };
}

class!(
    VERIFY_SHARE,
    VERIFY_COST,
    VERIFY_DEADLINE,
    "verify",
    "50",
    "1",
    "1000",
    "token checks",
    "令牌校验"
);
class!(
    REFRESH_SHARE,
    REFRESH_COST,
    REFRESH_DEADLINE,
    "refresh",
    "20",
    "5",
    "2000",
    "refreshes and what a player with a token asks",
    "刷新令牌及持令牌玩家的请求"
);
class!(
    LOGIN_SHARE,
    LOGIN_COST,
    LOGIN_DEADLINE,
    "login",
    "20",
    "7",
    "5000",
    "logins",
    "登录"
);
class!(
    REGISTER_SHARE,
    REGISTER_COST,
    REGISTER_DEADLINE,
    "register",
    "5",
    "7",
    "5000",
    "registrations",
    "注册"
);
class!(
    BULK_SHARE,
    BULK_COST,
    BULK_DEADLINE,
    "bulk",
    "5",
    "10",
    "10000",
    "lists and scans",
    "列表与扫描"
);

/// Lag.
pub const LAG_TARGET_MS: Setting = live(
    "admission.lag_target_ms",
    whole(1, 1_000, "ms"),
    "20",
    "Mean lateness of the threads that token checks run on above which they count as overloaded.",
    "网络运行时平均延迟超过该值即视为过载。",
);
/// Lag of players.
pub const PLAYERS_LAG_MAX_MS: Setting = live(
    "admission.players_lag_max_ms",
    whole(1, 60_000, "ms"),
    "250",
    "Mean lateness of the players' threads above which everything but token checks is held down.",
    "玩家线程平均延迟超过该值时，压低令牌校验以外的请求。",
);
/// Commits.
pub const COMMIT_WAIT_MAX_MS: Setting = live(
    "admission.commit_wait_max_ms",
    whole(1, 60_000, "ms"),
    "100",
    "Wait for a commit above which the store counts as overloaded.",
    "提交等待时间超过该值即视存储为过载。",
);
/// Hashes.
pub const HASH_WAIT_MAX_MS: Setting = live(
    "admission.hash_wait_max_ms",
    whole(1, 60_000, "ms"),
    "500",
    "Wait for a password hash above which logins are held down.",
    "密码哈希等待时间超过该值时压低登录。",
);
/// Floor.
pub const FLOOR: Setting = live(
    "admission.floor_units_per_second",
    whole(10, 1_000_000, "units a second"),
    "200",
    "Work that is admitted whatever the signals say, so that a misled controller cannot close the house.",
    "无论信号如何都放行的最低工作量，避免控制器误判导致全部拒绝。",
);
/// Quota of a server key.
pub const KEY_QUOTA: Setting = live(
    "admission.server_key_verifies_per_second",
    whole(0, 1_000_000, "checks a second"),
    "0",
    "Token checks a second of one server key; more are answered 429. 0 for no such quota.",
    "单个服务端密钥每秒的令牌校验数；超过返回 429。0 表示不限。",
);
/// Held refusals.
pub const HELD_REFUSALS_MAX: Setting = live(
    "admission.held_refusals_max",
    whole(0, 1_000_000, "refusals"),
    "100000",
    "Refusals held back at a time for connections that ask again and again after being refused.",
    "对反复请求的连接，同时延后发送的拒绝应答数上限。",
);

/// Admission as set.
#[must_use]
pub fn options(settings: &Settings) -> AdmissionOptions {
    let number = |setting: &Setting| u32::try_from(settings.whole(setting)).unwrap_or(u32::MAX);
    let class = |share: &Setting, cost: &Setting, deadline: &Setting| ClassOptions {
        share_percent: u8::try_from(settings.whole(share)).unwrap_or(100),
        cost_units: number(cost),
        deadline_ms: settings.whole(deadline),
    };
    let mut options = AdmissionOptions {
        mode: match settings.text(&MODE).as_str() {
            "off" => AdmissionMode::Off,
            "dry_run" => AdmissionMode::DryRun,
            _ => AdmissionMode::Enforce,
        },
        verify: class(&VERIFY_SHARE, &VERIFY_COST, &VERIFY_DEADLINE),
        refresh: class(&REFRESH_SHARE, &REFRESH_COST, &REFRESH_DEADLINE),
        login: class(&LOGIN_SHARE, &LOGIN_COST, &LOGIN_DEADLINE),
        register: class(&REGISTER_SHARE, &REGISTER_COST, &REGISTER_DEADLINE),
        bulk: class(&BULK_SHARE, &BULK_COST, &BULK_DEADLINE),
        lag_target_ms: settings.whole(&LAG_TARGET_MS),
        players_lag_max_ms: settings.whole(&PLAYERS_LAG_MAX_MS),
        commit_wait_max_ms: settings.whole(&COMMIT_WAIT_MAX_MS),
        hash_wait_max_ms: settings.whole(&HASH_WAIT_MAX_MS),
        floor_units_per_second: settings.whole(&FLOOR),
        server_key_verifies_per_second: Some(number(&KEY_QUOTA)).filter(|quota| *quota > 0),
        held_refusals_max: usize::try_from(settings.whole(&HELD_REFUSALS_MAX)).unwrap_or(usize::MAX),
        ..AdmissionOptions::default()
    };
    waiting_room::set(&mut options, settings);
    options
}
