//! What frames tell of deletions, and doing them again.

use seawall_storage::frame::decode;

use super::*;
use crate::codes::ACCOUNT_DELETED;
use crate::testing::{World, block_on, operator};

fn set(world: &World, op: &'static str, account: AccountId, is_deleted: bool) {
    let set = move |tx: &mut Tx<'_>| set_deleted(tx, account, is_deleted);
    block_on(world.platform.commit(&operator(), op, set)).unwrap();
}

fn listed(world: &World, after_lsn: u64) -> Vec<AccountId> {
    let mut list = DeletionList::default();
    for bytes in world.store.journal_page(after_lsn + 1, usize::MAX).unwrap() {
        list.read(&decode(&bytes).unwrap()).unwrap();
    }
    list.into_accounts()
}

#[test]
fn frames_tell_who_is_deleted_at_their_end_and_a_sweep_brings_nobody_back() {
    let world = World::new().unwrap();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.register(name).unwrap().account_id);
    set(&world, "account.import", carol, true);
    let before = world.store.head().lsn;
    set(&world, "account.import", alice, true);
    set(&world, "account.import", bob, true);
    set(&world, "account.import", bob, false);
    set(&world, SWEEP_OP, alice, false);
    assert_eq!(
        listed(&world, before),
        [alice],
        "carol was deleted before, bob is active again"
    );
    assert_eq!(listed(&world, 0), [alice, carol]);
}

#[test]
fn accounts_are_deleted_again_once_and_those_that_are_not_there_are_passed_over() {
    let world = World::new().unwrap();
    let [alice, bob] = ["alice", "bob"].map(|name| world.register(name).unwrap().account_id);
    let reapply = || {
        world
            .platform
            .deletion_reapply(&operator(), &[alice, AccountId(u64::MAX)])
    };
    assert_eq!(reapply().unwrap(), 1);
    assert_eq!(world.log_in("alice").unwrap_err().code, ACCOUNT_DELETED);
    let head = world.store.head();
    assert_eq!(reapply().unwrap(), 0);
    let mirrors = world.platform.inner.mirrors.deletions();
    assert!(mirrors.contains(alice) && !mirrors.contains(bob));
    assert_eq!(listed(&world, head.lsn), []);
    world.log_in("bob").unwrap();
}
