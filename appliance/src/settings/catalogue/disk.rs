//! When writes are refused because the disk fills up.

use super::{fixed, whole};
use crate::settings::registry::{Kind, Setting};

const PERCENT: Kind = whole(0, 50, "%");

/// A warning.
pub const LOW_PERCENT: Setting = fixed(
    "disk.low_percent",
    PERCENT,
    "10",
    "Below this share of free space a warning is logged.",
    "可用空间低于该比例时记录警告。",
);
/// Local writes.
pub const SCARCE_PERCENT: Setting = fixed(
    "disk.scarce_percent",
    PERCENT,
    "5",
    "Below this share of free space logins and refreshes are refused (503 store.full); at most disk.low_percent.",
    "可用空间低于该比例时拒绝登录与刷新（503 store.full）；不得大于 disk.low_percent。",
);
/// Local writes, in bytes.
pub const SCARCE_MIB: Setting = fixed(
    "disk.scarce_mib",
    whole(0, 1 << 20, "MiB"),
    "1024",
    "The same in MiB, whichever is more; on a small disk at most 8 % of it.",
    "同上，以 MiB 计，取两者中较大者；小磁盘上最多为其 8 %。",
);
/// All writes.
pub const EXHAUSTED_PERCENT: Setting = fixed(
    "disk.exhausted_percent",
    PERCENT,
    "2",
    "Below this share of free space every write is refused; token checks and reads go on. At most disk.scarce_percent.",
    "可用空间低于该比例时拒绝所有写入，令牌校验与读取继续。不得大于 disk.scarce_percent。",
);
/// Reserve.
pub const RESERVE_MIB: Setting = fixed(
    "disk.reserve_mib",
    whole(0, 1 << 16, "MiB"),
    "256",
    "Size of the reserve file in data.dir that `seawall db release-reserve` removes to gain room at once; 0 for none.",
    "data.dir 中预留文件的大小，`seawall db release-reserve` 可将其删除以立即腾出空间；0 表示不预留。",
);
