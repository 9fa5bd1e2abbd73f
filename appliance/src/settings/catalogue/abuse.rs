//! Limits against abuse: how many logins, registrations and wrong passwords are taken from whom, before any hash or write.

use seawall_domain::AbuseOptions;
use seawall_domain::abuse::Limit;

use super::{fixed, whole};
use crate::settings::Settings;
use crate::settings::registry::{Kind, Setting};

const A_MINUTE: Kind = whole(1, 60_000_000, "a minute");
const AT_ONCE: Kind = whole(0, 10_000_000, "at once");

/// Declares the two settings of a limit: how many a minute for ever, and how many at once after a pause.
macro_rules! limit {
    ($rate:ident, $burst:ident, $name:literal, $a_minute:literal, $at_once:literal, $en:literal, $zh:literal) => {
        #[doc = concat!("Rate: ", $en, ".")]
        pub const $rate: Setting = fixed(
            concat!("abuse.", $name, "_per_minute"),
            A_MINUTE,
            $a_minute,
            concat!("For ever: ", $en, "."),
            concat!("持续速率：", $zh, "。"),
        );
        #[doc = concat!("Burst: ", $en, ".")]
        pub const $burst: Setting = fixed(
            concat!("abuse.", $name, "_burst"),
            AT_ONCE,
            $at_once,
            concat!("At once, after a pause: ", $en, "; 0 switches the limit off."),
            concat!("停顿之后的瞬时上限：", $zh, "；0 表示关闭该限制。"),
        );
    };
}

/// All of it.
pub const ENABLED: Setting = fixed(
    "abuse.enabled",
    Kind::Switch,
    "true",
    "Whether attempts are counted at all; clients on loopback addresses and those a balancer does not name are never limited by address.",
    "是否对尝试计数；回环地址和负载均衡未提供地址的客户端不按地址限制。",
);
limit!(
    IPV4_RATE,
    IPV4_BURST,
    "ipv4",
    "1200",
    "1000",
    "logins and registrations of an IPv4 address; beyond it a proof of work is asked for",
    "单个 IPv4 地址的登录与注册；超过则要求工作量证明"
);
limit!(
    IPV4_NETWORK_RATE,
    IPV4_NETWORK_BURST,
    "ipv4_network",
    "6000",
    "5000",
    "the same of an IPv4 /24",
    "单个 IPv4 /24 网段，同上"
);
limit!(
    IPV6_NETWORK_RATE,
    IPV6_NETWORK_BURST,
    "ipv6_network",
    "300",
    "200",
    "the same of an IPv6 /64",
    "单个 IPv6 /64 网段，同上"
);
limit!(
    DEVICE_RATE,
    DEVICE_BURST,
    "device",
    "30",
    "30",
    "logins and registrations of a device; beyond it 429",
    "单个设备的登录与注册；超过返回 429"
);
limit!(
    ACCOUNT_RATE,
    ACCOUNT_BURST,
    "account",
    "30",
    "30",
    "logins of a name; beyond it 429, but not on devices that know it",
    "单个账号名的登录；超过返回 429，但已知设备不受限"
);
limit!(
    GAME_RATE,
    GAME_BURST,
    "game",
    "3000000",
    "500000",
    "logins and registrations of a package; beyond it a proof of work is asked for",
    "单个分发包的登录与注册；超过则要求工作量证明"
);
limit!(
    FAILED_ADDRESS_RATE,
    FAILED_ADDRESS_BURST,
    "failed_address",
    "60",
    "200",
    "wrong passwords of an address; beyond it a proof of work is asked for",
    "单个地址的错误密码；超过则要求工作量证明"
);
limit!(
    FAILED_DEVICE_RATE,
    FAILED_DEVICE_BURST,
    "failed_device",
    "1",
    "10",
    "wrong passwords of a device; beyond it 429",
    "单个设备的错误密码；超过返回 429"
);
limit!(
    FAILED_ACCOUNT_RATE,
    FAILED_ACCOUNT_BURST,
    "failed_account",
    "1",
    "10",
    "wrong passwords for a name; beyond it 429, but not on devices that know it",
    "单个账号名的错误密码；超过返回 429，但已知设备不受限"
);
/// Cost of a proof of work.
pub const DIFFICULTY: Setting = fixed(
    "abuse.challenge_difficulty",
    whole(1, 1_000_000_000, "hashes"),
    "50000",
    "Highest number a proof of work has to search; half of it is the mean.",
    "工作量证明需要搜索的最大数，平均为其一半。",
);
/// Life of a proof of work.
pub const LIFETIME_S: Setting = fixed(
    "abuse.challenge_lifetime_s",
    whole(10, 3_600, "s"),
    "300",
    "How long a proof of work may take.",
    "工作量证明的有效时间。",
);

/// The limits as set.
#[must_use]
pub fn options(settings: &Settings) -> AbuseOptions {
    let defaults = AbuseOptions::default();
    let of = |limit: Limit, rate: &Setting, burst: &Setting| Limit {
        per_s: settings.whole(rate) as f64 / 60.0,
        burst: u32::try_from(settings.whole(burst)).unwrap_or(u32::MAX),
        ..limit
    };
    let mut challenge = defaults.challenge;
    challenge.difficulty_max = u32::try_from(settings.whole(&DIFFICULTY)).unwrap_or(u32::MAX);
    challenge.lifetime_ms = settings.whole(&LIFETIME_S) * 1_000;
    AbuseOptions {
        enabled: settings.switch(&ENABLED),
        ipv4: of(defaults.ipv4, &IPV4_RATE, &IPV4_BURST),
        ipv4_network: of(defaults.ipv4_network, &IPV4_NETWORK_RATE, &IPV4_NETWORK_BURST),
        ipv6_network: of(defaults.ipv6_network, &IPV6_NETWORK_RATE, &IPV6_NETWORK_BURST),
        device: of(defaults.device, &DEVICE_RATE, &DEVICE_BURST),
        account: of(defaults.account, &ACCOUNT_RATE, &ACCOUNT_BURST),
        game: of(defaults.game, &GAME_RATE, &GAME_BURST),
        failed_address: of(defaults.failed_address, &FAILED_ADDRESS_RATE, &FAILED_ADDRESS_BURST),
        failed_device: of(defaults.failed_device, &FAILED_DEVICE_RATE, &FAILED_DEVICE_BURST),
        failed_account: of(defaults.failed_account, &FAILED_ACCOUNT_RATE, &FAILED_ACCOUNT_BURST),
        challenge,
        ..defaults
    }
}
