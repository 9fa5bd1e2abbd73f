//! Backups of a real store in a real directory: made, brought forward, tampered with, pruned, proven.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use seawall_domain::tables;
use seawall_domain::tables::catalogue::{REALMS, RealmRow};
use seawall_domain::tables::session::{ACCOUNT_DELETIONS, AccountDeletionRow};
use seawall_domain::{AccountId, RealmId};
use seawall_storage::{JournalLimits, KeyRing, OpenOptions, Stamp, Store, TxError};

use super::archive::{Cursor, batches, ship};
use super::check::check;
use super::create::{Source, create};
use super::drill::{Proof, drill};
use super::key::BackupKey;
use super::manifest::Manifest;
use super::progress::Progress;
use super::prune::{Keep, RUNNING, prune};
use super::repository::Repository;
use super::restore::{Point, Restored, Wish, digest, plan, restore};
use super::target::Target;
use super::{BackupError, hex};
use crate::auth_log::SegmentAuthLog;
use crate::clock::boottime_ms;
use crate::data_dir::DataDir;

const KEEP_MS: u64 = 86_400_000;

struct World {
    folder: tempfile::TempDir,
    source: Source,
    cursor: tokio::sync::Mutex<Option<Cursor>>,
    /// Digest at every lsn.
    digests: parking_lot::Mutex<BTreeMap<u64, String>>,
}

fn open_source(root: &Path, journal: JournalLimits) -> Source {
    let dir = DataDir::create(root).unwrap();
    let keys = KeyRing::load_or_create(&dir.cluster_key(), root, &[5; 32]).unwrap();
    let mut options = OpenOptions::new(tables::TABLES, keys, Arc::new(boottime_ms), [6; 32]);
    options.journal = journal;
    Source {
        store: Store::open(root, options).unwrap(),
        auth_log: Arc::new(SegmentAuthLog::open(&dir.auth_log(), KEEP_MS).unwrap()),
        dir,
        settings_file: None,
    }
}

/// Renames realm `number % 5`; the frame's now is `number` seconds.
fn change(store: &Store, number: u64) {
    rename(store, number, format!("realm {number}"));
}

fn stamp(op: &'static str, number: u64) -> Stamp {
    Stamp {
        op,
        caller: "test".into(),
        request_id: [0; 16],
        now_at: number * 1000,
        entropy: [1; 32],
        idempotency_key: None,
    }
}

fn rename(store: &Store, number: u64, name: String) {
    let commit = store.write::<(), TxError, _>(stamp("realm.update", number), move |tx| {
        let row = RealmRow {
            name: name.clone(),
            guests_allowed: true,
            created_at: number,
        };
        tx.put(&REALMS, &RealmId(u32::try_from(number % 5).unwrap()), &row)
    });
    commit.wait().unwrap();
}

impl World {
    fn new() -> Self {
        Self::with_journal(JournalLimits::default())
    }

    fn with_journal(journal: JournalLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = open_source(&folder.path().join("data"), journal);
        Self {
            folder,
            source,
            cursor: tokio::sync::Mutex::new(None),
            digests: parking_lot::Mutex::default(),
        }
    }

    fn repository(&self) -> Repository {
        self.repository_with([7; 32]).unwrap()
    }

    fn repository_with(&self, key: [u8; 32]) -> Result<Repository, BackupError> {
        let target = Target::Dir(self.folder.path().join("repository"));
        Repository::open(&target, None, BackupKey::new(key)?, true)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("repository").join(name)
    }

    fn change(&self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            change(&self.source.store, number);
            let (head, digest) = self.source.store.digest(&mut |_| {}).unwrap();
            self.digests.lock().insert(head.lsn, hex(&digest));
        }
    }

    async fn backup(&self, made_at: u64) -> Manifest {
        let manifest = create(&self.repository(), &self.source, made_at, &Progress::default())
            .await
            .unwrap();
        self.ship().await;
        manifest
    }

    async fn ship(&self) -> super::archive::Shipped {
        let mut cursor = self.cursor.lock().await;
        ship(
            &self.repository(),
            &self.source.store,
            &mut cursor,
            &Progress::default(),
        )
        .await
        .unwrap()
    }

    async fn restore(&self, name: &str, wish: Wish) -> Result<(Restored, PathBuf), BackupError> {
        let (repository, into) = (self.repository(), self.folder.path().join(name));
        let plan = plan(&repository, &wish).await?;
        let restored = restore(&repository, &plan, &into, &Progress::default()).await?;
        Ok((restored, into))
    }

    async fn drill(&self) -> Result<Proof, BackupError> {
        let scratch = self.folder.path().join("scratch");
        let proof = drill(&self.repository(), &scratch, &|| 77, &Progress::default()).await;
        assert!(!scratch.exists(), "the scratch directory is gone");
        proof
    }
}

fn wish(point: Point) -> Wish {
    Wish {
        point,
        base: None,
        epoch: None,
    }
}

fn flip_a_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn every_lsn_and_instant_between_and_after_backups_comes_back_with_its_digest() {
    let world = World::new();
    world.change(1..8);
    let first = world.backup(1000).await;
    world.change(8..15);
    world.ship().await;
    world.change(15..20);
    let second = world.backup(2000).await;
    world.change(20..24);
    world.ship().await;
    assert!(
        second.sent_files < first.sent_files,
        "{} of {}",
        second.sent_files,
        first.sent_files
    );
    assert_eq!(first.digest, world.digests.lock()[&first.lsn]);

    let digests = world.digests.lock().clone();
    let end_lsn = *digests.last_key_value().unwrap().0;
    for lsn in [
        first.lsn,
        first.lsn + 1,
        second.lsn - 1,
        second.lsn,
        second.lsn + 1,
        end_lsn,
    ] {
        let (restored, into) = world
            .restore(&format!("lsn {lsn}"), wish(Point::Lsn(lsn)))
            .await
            .unwrap();
        assert_eq!(
            (restored.head.lsn, digest(&into).unwrap()),
            (lsn, digests[&lsn].clone())
        );
    }
    let (newest, _) = world.restore("newest", wish(Point::Newest)).await.unwrap();
    assert_eq!(newest.head.lsn, end_lsn);
    let from_first = Wish {
        base: Some(first.id.clone()),
        ..wish(Point::Lsn(second.lsn))
    };
    let (long, into) = world.restore("long", from_first).await.unwrap();
    assert_eq!(
        (long.frames, digest(&into).unwrap()),
        (second.lsn - first.lsn, second.digest.clone())
    );
    // Number 17 was committed at second 17; one millisecond before, it was not.
    let at_17 = world
        .restore("at 17", wish(Point::At(17_000)))
        .await
        .unwrap()
        .0
        .head
        .lsn;
    let before = world
        .restore("before 17", wish(Point::At(16_999)))
        .await
        .unwrap()
        .0
        .head
        .lsn;
    assert_eq!(before + 1, at_17);
    assert!(matches!(
        world.restore("early", wish(Point::At(5))).await,
        Err(BackupError::Point(_))
    ));
    assert!(matches!(
        world.restore("late", wish(Point::Lsn(end_lsn + 1))).await,
        Err(BackupError::Point(_))
    ));
}

#[tokio::test]
async fn a_restored_directory_opens_with_its_keys_its_log_and_a_history_of_its_own() {
    let world = World::new();
    world.change(1..4);
    let log = &world.source.auth_log;
    seawall_domain::ports::AuthLog::append(log.as_ref(), b"login".to_vec(), &[(1, 7)])
        .await
        .unwrap();
    world.backup(1000).await;
    let (restored, into) = world.restore("again", wish(Point::Newest)).await.unwrap();
    let source = open_source(&into, JournalLimits::default());
    assert!(source.store.verify(&mut |_| {}).unwrap().is_clean());
    assert_eq!(source.store.cluster_id(), world.source.store.cluster_id());
    let found = seawall_domain::ports::AuthLog::search(source.auth_log.as_ref(), 1, 7, 10)
        .await
        .unwrap();
    assert_eq!(found, [b"login".to_vec()]);
    change(&source.store, 50);
    assert!(source.store.head().epoch > restored.head.epoch);
    assert_eq!(
        BackupKey::load(&into.join("keys/backup.key")).unwrap().fingerprint(),
        world.repository().key.fingerprint()
    );
}

/// Accounts 1 and up in the store, each deleted or not; the number of a call is its `now`.
fn set_account(store: &Store, number: u64, id: u64, is_deleted: bool) {
    let commit = store.write::<(), TxError, _>(stamp("account.import", number), move |tx| {
        let deletion = AccountDeletionRow {
            expires_at: number * 1000 + KEEP_MS,
            deleted_at: number * 1000,
        };
        match is_deleted {
            true => tx.put(&ACCOUNT_DELETIONS, &AccountId(id), &deletion),
            false => tx.delete(&ACCOUNT_DELETIONS, &AccountId(id)),
        }
    });
    commit.wait().unwrap();
}

#[tokio::test]
async fn what_was_deleted_after_the_point_is_left_for_the_first_start() {
    let world = World::new();
    world.change(1..3);
    world.backup(1000).await;
    let store = &world.source.store;
    let point = store.head().lsn;
    for (number, id, is_deleted) in [(10, 7, true), (11, 8, true), (12, 9, true), (13, 8, false)] {
        set_account(store, number, id, is_deleted);
    }
    world.ship().await;
    let ids = |restored: &Restored| {
        restored
            .beyond
            .accounts
            .iter()
            .map(|account| account.0)
            .collect::<Vec<_>>()
    };
    let (restored, into) = world.restore("before", wish(Point::Lsn(point))).await.unwrap();
    assert_eq!((restored.head.lsn, ids(&restored)), (point, vec![7, 9]));
    assert!(restored.beyond.unread.is_empty());
    let left = std::fs::read_to_string(into.join("deletions-to-reapply.json")).unwrap();
    assert_eq!(left, r#"{"accounts":[7,9]}"#);
    let (restored, into) = world.restore("between", wish(Point::Lsn(point + 1))).await.unwrap();
    assert_eq!(ids(&restored), [9]);
    assert!(into.join("deletions-to-reapply.json").exists());
    let (restored, into) = world.restore("all", wish(Point::Newest)).await.unwrap();
    assert_eq!(ids(&restored), [0; 0]);
    assert!(!into.join("deletions-to-reapply.json").exists());
    // A batch beyond the point that cannot be read does not stop the restore, but is told.
    let batch = batches(&world.repository()).await.unwrap().pop().unwrap();
    flip_a_byte(&world.file(&batch.name()));
    let (restored, _) = world.restore("damaged", wish(Point::Lsn(point))).await.unwrap();
    assert_eq!((ids(&restored), restored.beyond.unread.len()), (vec![], 1));
}

#[tokio::test]
async fn after_a_restore_the_new_history_wins_and_the_old_one_can_still_be_asked_for() {
    let world = World::new();
    world.change(1..6);
    let base = world.backup(1000).await;
    world.change(6..12);
    world.ship().await;
    let old_end = world.source.store.head();
    let branch_lsn = base.lsn + 2;
    let (_, into) = world.restore("branch", wish(Point::Lsn(branch_lsn))).await.unwrap();
    let source = open_source(&into, JournalLimits::default());
    (100..103).for_each(|number| change(&source.store, number));
    let mut cursor = None;
    let shipped = ship(&world.repository(), &source.store, &mut cursor, &Progress::default())
        .await
        .unwrap();
    assert!(shipped.frames >= 3, "{shipped:?}");
    let new_end = source.store.head();
    let (newest, into) = world.restore("newest", wish(Point::Newest)).await.unwrap();
    assert_eq!((newest.head.lsn, newest.head.chain), (new_end.lsn, new_end.chain));
    assert_eq!(
        digest(&into).unwrap(),
        hex(&source.store.digest(&mut |_| {}).unwrap().1)
    );
    let old = Wish {
        epoch: Some(old_end.epoch),
        ..wish(Point::Newest)
    };
    let (older, _) = world.restore("older", old).await.unwrap();
    assert_eq!((older.head.lsn, older.head.chain), (old_end.lsn, old_end.chain));
}

#[tokio::test]
async fn whatever_is_changed_in_the_repository_is_refused_and_named() {
    let world = World::new();
    world.change(1..6);
    let manifest = world.backup(1000).await;
    world.change(6..9);
    world.ship().await;
    let whole = check(&world.repository(), None, &Progress::default()).await.unwrap();
    assert_eq!(
        (whole.problem_count, whole.manifests, whole.objects + whole.batches),
        (0, 1, whole.of)
    );
    let sample = check(&world.repository(), Some((2, [1; 32])), &Progress::default())
        .await
        .unwrap();
    assert_eq!((sample.objects + sample.batches, sample.of), (2, whole.of));

    let batch = batches(&world.repository()).await.unwrap().pop().unwrap().name();
    for name in [manifest.files[0].object(), batch, Manifest::name(&manifest.id)] {
        let good = std::fs::read(world.file(&name)).unwrap();
        flip_a_byte(&world.file(&name));
        let report = check(&world.repository(), None, &Progress::default()).await.unwrap();
        assert_eq!(report.problem_count, 1, "{name}: {:?}", report.problems);
        assert!(
            matches!(
                world.restore("changed", wish(Point::Newest)).await,
                Err(BackupError::Damaged(_))
            ),
            "{name}"
        );
        let _ = std::fs::remove_dir_all(world.folder.path().join("changed"));
        std::fs::write(world.file(&name), good).unwrap();
    }
    // An object in the place of another, both genuine.
    let (one, two) = (manifest.files[0].object(), manifest.files[1].object());
    let good = std::fs::read(world.file(&one)).unwrap();
    std::fs::copy(world.file(&two), world.file(&one)).unwrap();
    assert!(matches!(
        world.restore("swapped", wish(Point::Newest)).await,
        Err(BackupError::Damaged(_))
    ));
    std::fs::write(world.file(&one), good).unwrap();
    std::fs::remove_file(world.file(&two)).unwrap();
    assert!(matches!(
        world.restore("lost", wish(Point::Newest)).await,
        Err(BackupError::Missing(_))
    ));
}

#[tokio::test]
async fn another_key_another_platform_and_a_used_directory_are_refused() {
    let world = World::new();
    world.change(1..3);
    world.backup(1000).await;
    let other_key = world.repository_with([8; 32]).unwrap();
    assert!(matches!(
        plan(&other_key, &wish(Point::Newest)).await,
        Err(BackupError::Key(_))
    ));
    let made = create(&other_key, &world.source, 2000, &Progress::default()).await;
    assert!(matches!(made, Err(BackupError::Key(_))));
    let claimed = world.repository().claim(&[9; 16]).await.unwrap_err();
    assert!(claimed.to_string().contains("another platform"), "{claimed}");
    let used = world.folder.path().join("used");
    std::fs::create_dir(&used).unwrap();
    std::fs::write(used.join("x"), "mine").unwrap();
    let refused = world.restore("used", wish(Point::Newest)).await.unwrap_err();
    assert_eq!(refused.code(), "backup.not_empty");
    assert_eq!(std::fs::read_dir(&used).unwrap().count(), 1, "nothing was touched");
}

#[tokio::test]
async fn prune_removes_what_is_old_and_nothing_that_is_needed() {
    let world = World::new();
    let mut made = Vec::new();
    for (number, made_at) in [(1, 1_000), (2, 2_000), (3, 3_000)] {
        world.change(number * 10..number * 10 + 5);
        world.ship().await;
        made.push(world.backup(made_at).await);
    }
    world.change(40..43);
    world.ship().await;
    let keep = Keep { last: 2, days: 0 };
    let now_at = 10 * KEEP_MS;
    std::fs::create_dir_all(world.file(RUNNING)).unwrap();
    std::fs::write(world.file(RUNNING).join("another"), "1").unwrap();
    assert!(matches!(
        prune(&world.repository(), keep, now_at).await,
        Err(BackupError::Busy(_))
    ));
    std::fs::remove_file(world.file(RUNNING).join("another")).unwrap();

    let all_young = prune(&world.repository(), Keep { last: 1, days: 30 }, now_at)
        .await
        .unwrap();
    assert_eq!((all_young.removed.len(), all_young.objects), (0, 0));
    let pruned = prune(&world.repository(), keep, now_at).await.unwrap();
    assert_eq!(pruned.removed, [made[0].id.clone()]);
    assert!(pruned.objects > 0 && pruned.batches > 0, "{pruned:?}");
    let report = check(&world.repository(), None, &Progress::default()).await.unwrap();
    assert_eq!(
        (report.manifests, report.problem_count),
        (2, 0),
        "{:?}",
        report.problems
    );
    for lsn in [made[1].lsn, made[2].lsn - 1, world.source.store.head().lsn] {
        let (_, into) = world
            .restore(&format!("lsn {lsn}"), wish(Point::Lsn(lsn)))
            .await
            .unwrap();
        assert_eq!(digest(&into).unwrap(), world.digests.lock()[&lsn]);
    }
    assert_eq!(world.drill().await.unwrap().problem, None);
}

#[tokio::test]
async fn a_drill_is_green_and_turns_red_for_one_flipped_byte_and_for_a_lost_batch() {
    let world = World::new();
    assert!(
        matches!(world.drill().await, Err(BackupError::Target(_))),
        "no repository"
    );
    world.change(1..6);
    let first = world.backup(1000).await;
    let alone = world.drill().await.unwrap();
    assert_eq!((alone.problem, alone.lsn, alone.frames), (None, first.lsn, 0));
    world.change(6..12);
    let second = world.backup(2000).await;
    let green = world.drill().await.unwrap();
    assert_eq!((green.problem.as_deref(), green.at), (None, 77));
    assert_eq!(
        (green.base, green.compared, green.frames),
        (first.id, second.id, second.lsn - first.lsn)
    );

    let batch = batches(&world.repository()).await.unwrap().pop().unwrap().name();
    let good = std::fs::read(world.file(&batch)).unwrap();
    flip_a_byte(&world.file(&batch));
    assert!(world.drill().await.unwrap().problem.unwrap().contains("was changed"));
    std::fs::remove_file(world.file(&batch)).unwrap();
    assert!(
        world
            .drill()
            .await
            .unwrap()
            .problem
            .unwrap()
            .contains("cannot be reached")
    );
    std::fs::write(world.file(&batch), good).unwrap();
    assert_eq!(world.drill().await.unwrap().problem, None);
}

#[tokio::test]
async fn the_archive_goes_on_where_it_was_and_says_when_frames_are_gone() {
    let limits = JournalLimits {
        max_bytes: 1,
        max_age_ms: u64::MAX,
    };
    let world = World::with_journal(limits);
    world.change(1..3);
    let before = world.ship().await;
    assert!(!before.has_gap);
    assert_eq!(world.ship().await.frames, 0, "nothing new");
    // Another process on the same history finds the end of the archive by itself.
    *world.cursor.lock().await = None;
    assert_eq!((world.ship().await.frames, world.ship().await.has_gap), (0, false));
    let archived_lsn = world.source.store.head().lsn;
    let mut number = 3;
    while world.source.store.stats().journal_first_lsn <= archived_lsn + 1 {
        assert!(number < 1_000, "the journal is never trimmed");
        rename(&world.source.store, number, "x".repeat(50_000));
        number += 1;
    }
    assert!(world.ship().await.has_gap);
    assert!(!world.ship().await.has_gap, "told once");
}
