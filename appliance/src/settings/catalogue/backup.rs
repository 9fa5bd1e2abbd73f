//! Settings of backups.

use super::{fixed, whole};
use crate::settings::registry::{Kind, Setting};

/// Target.
pub const TARGET: Setting = fixed(
    "backup.target",
    Kind::Text { max_bytes: 1024 },
    "",
    "Where backups go: dir:///path or s3://bucket/prefix?endpoint=https://host&region=name; empty means none are made.",
    "备份位置：dir:///path 或 s3://bucket/prefix?endpoint=https://host&region=name；留空则不备份。",
);
/// Key file.
pub const KEY_FILE: Setting = fixed(
    "backup.key_file",
    Kind::Path,
    "",
    "Backup key; empty means keys/backup.key in data.dir, made at first use. Keep a copy away from this host.",
    "备份密钥文件；留空表示 data.dir 下的 keys/backup.key，首次使用时生成。请在其他主机上保存一份副本。",
);
/// Credentials.
pub const CREDENTIALS_FILE: Setting = fixed(
    "backup.credentials_file",
    Kind::Path,
    "",
    "File with the lines aws_access_key_id = … and aws_secret_access_key = …; empty means the environment's AWS_ variables.",
    "包含 aws_access_key_id = … 与 aws_secret_access_key = … 两行的文件；留空则使用环境变量 AWS_…。",
);
/// Archive.
pub const ARCHIVE_INTERVAL_MS: Setting = fixed(
    "backup.archive_interval_ms",
    whole(1_000, 3_600_000, "ms"),
    "10000",
    "How often new frames of the journal are archived: at most this much is lost with the host.",
    "归档新日志帧的间隔：主机损毁时最多丢失这段时间的数据。",
);
/// Interval.
pub const INTERVAL_H: Setting = fixed(
    "backup.interval_h",
    whole(0, 8_760, "h"),
    "24",
    "How often a backup is made by itself; 0 means only when asked for.",
    "自动备份的间隔；0 表示仅手动备份。",
);
/// Drill.
pub const DRILL_INTERVAL_H: Setting = fixed(
    "backup.drill_interval_h",
    whole(0, 8_760, "h"),
    "168",
    "How often a restore is proven by doing one in a scratch directory; 0 means only when asked for.",
    "在临时目录中演练恢复的间隔；0 表示仅手动演练。",
);
/// Proof.
pub const PROVEN_MAX_AGE_H: Setting = fixed(
    "backup.proven_max_age_h",
    whole(1, 8_760, "h"),
    "336",
    "A proven restore older than this is warned about.",
    "最近一次成功的恢复演练超过此时长则告警。",
);
/// Keep.
pub const KEEP_LAST: Setting = fixed(
    "backup.keep_last",
    whole(1, 10_000, "backups"),
    "3",
    "Backups that stay whatever their age, when old ones go after a backup of the schedule.",
    "定时备份后清理旧备份时，无论时间始终保留的备份数。",
);
/// Keep.
pub const KEEP_DAYS: Setting = fixed(
    "backup.keep_days",
    whole(0, 3_650, "days"),
    "30",
    "Backups no older than this stay too; what players asked to erase is gone from backups after this time.",
    "不超过此天数的备份同样保留；玩家要求删除的数据在此之后也从备份中消失。",
);
