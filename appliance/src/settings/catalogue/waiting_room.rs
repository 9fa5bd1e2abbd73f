//! The waiting room for logins. Both may change while running.

use seawall_web::{AdmissionOptions, WaitingRoomMode};

use super::admission::live;
use super::whole;
use crate::settings::Settings;
use crate::settings::registry::{Kind, Setting};

/// When it stands open.
pub const MODE: Setting = live(
    "waiting_room.mode",
    Kind::Choice(&["off", "auto", "always"]),
    "auto",
    "When logins get tickets and are let in in the order they came: auto while logins are refused for load (with admission.mode enforce), always at the rate below, off never.",
    "登录何时发放排队凭证并按到达顺序放行：auto 在因负载拒绝登录时（admission.mode 为 enforce），always 始终按下面的速率，off 从不。",
);
/// How many it lets in, in mode `always`.
pub const LOGINS_PER_SECOND: Setting = live(
    "waiting_room.logins_per_second",
    whole(1, 1_000_000, "logins a second"),
    "500",
    "Logins a second of one game that are let in with waiting_room.mode always; with auto, admission says how many.",
    "waiting_room.mode 为 always 时每个游戏每秒放行的登录数；auto 时由准入控制决定。",
);

/// Puts what is set into the options of admission.
pub fn set(options: &mut AdmissionOptions, settings: &Settings) {
    options.waiting_room = match settings.text(&MODE).as_str() {
        "off" => WaitingRoomMode::Off,
        "always" => WaitingRoomMode::Always,
        _ => WaitingRoomMode::Auto,
    };
    options.waiting_room_logins_per_second = u32::try_from(settings.whole(&LOGINS_PER_SECOND)).unwrap_or(u32::MAX);
}
