//! Password hashes: the threads that make them, how long they may be waited for, and how long a verified password is
//! remembered.

use super::{fixed, whole};
use crate::settings::registry::Setting;

/// Threads.
pub const THREADS: Setting = fixed(
    "hash.threads",
    whole(0, 256, "threads"),
    "0",
    "Threads that do nothing but password hashes, 19 MiB each; 0 means half the cores, at least one.",
    "专用于密码哈希的线程数（每个 19 MiB）；0 表示核数的一半，至少一个。",
);
/// Longest wait.
pub const DEADLINE_MS: Setting = fixed(
    "hash.deadline_ms",
    whole(100, 10_000, "ms"),
    "1500",
    "Longest wait of a password hash for a thread; beyond it the login is answered 503. Bounds the queue too.",
    "密码哈希的最长排队时间；超过则登录返回 503。同时决定队列长度。",
);
/// Permitted wait.
pub const PERMITTED_WAIT_MS: Setting = fixed(
    "hash.permitted_wait_ms",
    whole(0, 10_000, "ms"),
    "0",
    "When a password hash has waited for longer the newest go first until none waits, and older ones give way to newcomers; 0 means a third of hash.deadline_ms, at least twice the time of a hash.",
    "有哈希的排队时间超过该值后，优先处理最新的，较旧的让位于新来者，直到队列清空；0 表示 hash.deadline_ms 的三分之一，且不少于一次哈希耗时的两倍。",
);
/// Verified passwords, by time.
pub const CREDENTIAL_CACHE_MINUTES: Setting = fixed(
    "hash.credential_cache_minutes",
    whole(0, 60, "minutes"),
    "30",
    "How long a password that matched is remembered in memory, as a keyed hash, so that the next login needs no password hash; give or take a tenth, 0 for never.",
    "校验通过的密码在内存中（以带密钥的哈希形式）保留的时间，期间再次登录无需密码哈希；误差十分之一，0 表示不保留。",
);
/// Verified passwords, by number.
pub const CREDENTIAL_CACHE_ENTRIES: Setting = fixed(
    "hash.credential_cache_entries",
    whole(1_000, 100_000_000, "accounts"),
    "200000",
    "Most passwords remembered so, 144 bytes each; those not used lately give way. Takes at most an eighth of memory.budget_mib.",
    "最多保留的密码数（每个 144 字节），最近未使用者先淘汰；至多占 memory.budget_mib 的八分之一。",
);
