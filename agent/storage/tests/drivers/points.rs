//! Recovery points, proofs, restores and rehearsals.

use crate::bed::{SAMPLE, ledger, on_every_driver, sample};
use cutover_storage::StorageError;
use cutover_storage::storage::{CopyAsk, Secure, Storage};
use cutover_vocabulary::UpgradeId;
use cutover_vocabulary::storage::{Migrations, RecoveryItem};
use std::io::Write as _;
use std::path::Path;

const WRITE: &str = "INSERT INTO {L}transactions(id, timestamp, reference, hash) VALUES (3, '2026-11-23T15:00:00Z', 'late', 'h'); \
    INSERT INTO {L}postings(txid, id, source, destination, asset, amount) VALUES (3, 0, 'world', 'bank', 'EUR', 5);";

#[test]
fn a_point_tells_what_the_ledger_held_and_what_it_must_hold_after_and_the_migration_does_just_that() {
    on_every_driver(|bed| {
        let point = bed.secure(&sample(), true).unwrap();
        assert_eq!(point.migrations, Migrations(Some(vec![0])), "{}", bed.name());
        assert_eq!(point.losses.count, bed.lost(), "{}", bed.name());
        assert_ne!(point.digest, point.expected);
        bed.migrate(&*bed.storage());
        let proof = bed.prove(&point);
        assert_eq!((proof.difference_count, proof.inconsistencies), (0, Vec::new()), "{}", bed.name());
        assert_eq!(Some(proof.digest), point.expected);
        assert_eq!(proof.migrations, Migrations(Some(vec![0, 1])));
    });
}

#[test]
fn the_digest_of_one_ledger_is_the_same_on_every_driver() {
    let digests = std::cell::RefCell::new(Vec::new());
    on_every_driver(|bed| digests.borrow_mut().push(bed.secure(&sample(), false).unwrap().digest));
    let digests = digests.into_inner();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

#[test]
fn a_change_that_no_known_loss_explains_is_named_by_its_row() {
    on_every_driver(|bed| {
        let point = bed.secure(&sample(), true).unwrap();
        bed.migrate(&*bed.storage());
        bed.run("UPDATE {L}transactions SET reference = NULL WHERE id = 2");
        let proof = bed.prove(&point);
        assert_eq!(proof.difference_count, 1, "{}: {:?}", bed.name(), proof.differences);
        assert_eq!(proof.differences[0].row, "transaction 2");
    });
}

#[test]
fn a_known_loss_is_a_difference_where_the_target_was_not_expected_to_lose() {
    on_every_driver(|bed| {
        let point = bed.secure(&sample(), false).unwrap();
        assert_eq!(point.digest, point.expected);
        bed.migrate(&*bed.storage());
        assert_eq!(bed.prove(&point).difference_count, bed.lost(), "{}", bed.name());
    });
}

#[test]
fn a_restore_puts_back_what_was_there_and_keeps_what_it_moved_where_scan_does_not_find_it() {
    on_every_driver(|bed| {
        let point = bed.secure(&sample(), true).unwrap();
        bed.migrate(&*bed.storage());
        let restored = bed.restore(&point).unwrap();
        assert!(restored.changed && restored.moved_to.is_some(), "{}", bed.name());
        assert_eq!(restored.digest, point.digest);
        assert_eq!(bed.storage().migrations(&ledger(), bed.root()).unwrap(), Migrations(Some(vec![0])));
        assert_eq!(bed.scanned(), [SAMPLE], "{}", bed.name());
        let again = bed.restore(&point).unwrap();
        assert_eq!((again.changed, again.moved_to), (false, restored.moved_to), "{}: found again", bed.name());
        // What was restored can be migrated again, and restored again.
        bed.migrate(&*bed.storage());
        assert_eq!(bed.prove(&point).difference_count, 0, "{}", bed.name());
        assert!(bed.restore(&point).unwrap().changed);
        assert_eq!(bed.scanned(), [SAMPLE], "{}", bed.name());
    });
}

#[test]
fn a_ledger_that_was_not_migrated_is_never_restored_over() {
    on_every_driver(|bed| {
        let point = bed.secure(&sample(), true).unwrap();
        bed.run(WRITE);
        let restored = bed.restore(&point).unwrap();
        assert!(!restored.changed && restored.digest != point.digest, "{}: {restored:?}", bed.name());
        bed.run("UPDATE {L}transactions SET hash = 'still there' WHERE id = 3");
        assert!(bed.storage().mark(&ledger(), bed.root()).unwrap().contains("transactions 4/3"), "{}", bed.name());
    });
}

#[test]
fn what_a_first_request_changed_is_put_back_although_it_recorded_nothing() {
    on_every_driver(|bed| {
        let point = bed.secure(&sample(), true).unwrap();
        bed.run(WRITE);
        let restored = bed.storage().restore(&point, &bed.aside(), true).unwrap();
        assert!(restored.changed && restored.moved_to.is_some(), "{}: {restored:?}", bed.name());
        assert_eq!(restored.digest, point.digest);
        assert_eq!(bed.scanned(), [SAMPLE], "{}", bed.name());
        let again = bed.storage().restore(&point, &bed.aside(), true).unwrap();
        assert!(!again.changed, "{}: it is what it was", bed.name());
    });
}

#[test]
fn a_point_that_was_taken_is_given_again_until_the_ledger_is_written_to() {
    on_every_driver(|bed| {
        let point = bed.secure(&sample(), true).unwrap();
        assert_eq!(bed.secure(&sample(), true).unwrap(), point, "{}", bed.name());
        bed.run(WRITE);
        let refused = bed.secure(&sample(), true).unwrap_err();
        assert!(matches!(&refused, StorageError::Refused { why, .. } if why.contains("written to since")), "{refused}");
    });
}

#[test]
fn a_point_that_was_taken_is_given_again_after_the_migration() {
    on_every_driver(|bed| {
        let point = bed.secure(&sample(), true).unwrap();
        bed.migrate(&*bed.storage());
        assert_eq!(bed.secure(&sample(), true).unwrap(), point, "{}", bed.name());
    });
}

#[test]
fn a_damaged_copy_is_refused_and_nothing_is_touched() {
    on_every_driver(|bed| {
        let point = bed.secure(&sample(), true).unwrap();
        bed.migrate(&*bed.storage());
        let mut file = std::fs::OpenOptions::new().append(true).open(&point.place).unwrap();
        file.write_all(b"x").unwrap();
        drop(file);
        let refused = bed.restore(&point).unwrap_err();
        assert!(matches!(refused, StorageError::Corrupt { .. }), "{}: {refused}", bed.name());
        assert_eq!(bed.storage().migrations(&ledger(), bed.root()).unwrap(), Migrations(Some(vec![0, 1])));
        let refused = bed.secure(&sample(), true).unwrap_err();
        assert!(
            matches!(refused, StorageError::Corrupt { .. }),
            "{}: never taken of the migrated one: {refused}",
            bed.name()
        );
    });
}

#[test]
fn a_system_store_that_was_not_there_is_moved_aside_and_one_that_changed_is_put_back() {
    on_every_driver(|bed| {
        let none = bed.secure(&RecoveryItem::System, true).unwrap();
        assert_eq!(none.sha256, None);
        bed.register(SAMPLE);
        let restored = bed.restore(&none).unwrap();
        assert!(restored.changed && restored.moved_to.is_some(), "{}: {restored:?}", bed.name());
        assert!(!bed.restore(&none).unwrap().changed, "{}", bed.name());

        bed.register(SAMPLE);
        std::fs::remove_dir_all(bed.points()).unwrap();
        let point = bed.secure(&RecoveryItem::System, true).unwrap();
        assert!(point.sha256.is_some());
        bed.register("other");
        assert!(bed.restore(&point).unwrap().changed, "{}", bed.name());
        assert!(!bed.restore(&point).unwrap().changed, "{}", bed.name());
        assert_eq!(bed.scanned(), [SAMPLE], "{}", bed.name());
    });
}

#[test]
fn a_copy_is_migrated_compared_and_removed_and_the_storage_is_not_touched() {
    on_every_driver(|bed| {
        let folder = bed.root().join("rehearsal");
        std::fs::create_dir(&folder).unwrap();
        let (storage, upgrade) = (bed.storage(), UpgradeId::new("u1").unwrap());
        let before = storage.mark(&ledger(), bed.root()).unwrap();
        for _ in 0..2 {
            let ask = CopyAsk { upgrade: &upgrade, ledgers: &[ledger()], folder: &folder };
            let copied = storage.copy(&ask).unwrap();
            bed.migrate(copied.storage());
            let found = copied.compare(&ledger(), &folder).unwrap();
            assert_eq!(found.unexplained, 0, "{}: {:?}", bed.name(), found.unexplained_rows);
            assert_eq!(found.known.values().sum::<u64>(), bed.lost(), "{}", bed.name());
            copied.remove().unwrap();
            std::fs::remove_dir_all(&folder).unwrap();
            std::fs::create_dir(&folder).unwrap();
        }
        assert_eq!(storage.mark(&ledger(), bed.root()).unwrap(), before);
        assert_eq!(storage.migrations(&ledger(), bed.root()).unwrap(), Migrations(Some(vec![0])));
        assert_eq!(bed.scanned(), [SAMPLE]);
    });
}

#[test]
fn a_copy_that_a_killed_rehearsal_left_is_in_nobodys_way() {
    on_every_driver(|bed| {
        let (storage, upgrade) = (bed.storage(), UpgradeId::new("u1").unwrap());
        for _ in 0..2 {
            let folder = bed.root().join("rehearsal");
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir(&folder).unwrap();
            let ask = CopyAsk { upgrade: &upgrade, ledgers: &[ledger()], folder: &folder };
            // Forgotten as by a kill: nothing of it is removed.
            std::mem::forget(storage.copy(&ask).unwrap());
        }
        assert_eq!(bed.scanned(), [SAMPLE]);
    });
}

#[test]
fn a_mark_changes_with_every_write_and_with_nothing_else() {
    on_every_driver(|bed| {
        let mark = || bed.storage().mark(&ledger(), bed.root()).unwrap();
        let before = mark();
        bed.secure(&sample(), true).unwrap();
        assert_eq!(mark(), before, "{}", bed.name());
        bed.run(WRITE);
        let written = mark();
        assert_ne!(written, before, "{}", bed.name());
        bed.run("INSERT INTO {L}metadata VALUES (9, 'account', 'bank', 'kyc', '{}', '2026-11-23T14:12:58Z')");
        assert_ne!(mark(), written, "{}", bed.name());
    });
}

#[test]
fn a_folder_with_another_upgrades_points_is_refused() {
    on_every_driver(|bed| {
        bed.secure(&sample(), true).unwrap();
        let (storage, upgrade, item) = (bed.storage(), UpgradeId::new("u2").unwrap(), sample());
        let identity = storage.identity().clone();
        let folder = bed.points();
        let ask = cutover_storage::storage::Secure {
            item: &item,
            storage: &identity,
            upgrade: &upgrade,
            folder: Path::new(&folder),
            lossy: true,
            serving: false,
        };
        assert!(matches!(storage.secure(&ask).unwrap_err(), StorageError::Refused { .. }), "{}", bed.name());
    });
}

#[test]
fn what_securing_needs_may_be_prepared_is_emptied_after_each_proof_and_removed_in_the_end() {
    on_every_driver(|bed| {
        let (storage, upgrade) = (bed.storage(), UpgradeId::new("u1").unwrap());
        storage.prepare(&UpgradeId::new("u0").unwrap()).unwrap();
        storage.prepare(&upgrade).unwrap();
        storage.prepare(&upgrade).unwrap();
        let prepared = bed.elsewhere();
        bed.register(SAMPLE);
        // What a killed worker left there is in nobody's way.
        bed.elsewhere().iter().for_each(|(place, _)| bed.leave(place));
        let point = bed.secure(&sample(), true).unwrap();
        bed.secure(&RecoveryItem::System, true).unwrap();
        assert_eq!(bed.elsewhere(), prepared, "{}: rows of the ledger were left", bed.name());
        assert!(prepared.iter().all(|(_, held)| held.is_empty()), "{}: {prepared:?}", bed.name());
        storage.tidy(&upgrade).unwrap();
        storage.tidy(&upgrade).unwrap();
        assert_eq!(bed.elsewhere(), [], "{}", bed.name());

        // Nobody prepared it: it is made, by whichever of two comes first.
        std::fs::remove_dir_all(bed.points()).unwrap();
        let folder = bed.points();
        let secure = |storage: Box<dyn Storage>, item: RecoveryItem| {
            let identity = storage.identity().clone();
            storage.secure(&Secure {
                item: &item,
                storage: &identity,
                upgrade: &upgrade,
                folder: &folder,
                lossy: true,
                serving: false,
            })
        };
        let (one, other) = (bed.storage(), bed.storage());
        let points = std::thread::scope(|scope| {
            let lanes = [
                scope.spawn(|| secure(one, sample()).unwrap()),
                scope.spawn(|| secure(other, RecoveryItem::System).unwrap()),
            ];
            lanes.map(|lane| lane.join().unwrap())
        });
        assert_eq!(points[0].digest, point.digest, "{}", bed.name());
        assert_eq!(points[1].item, RecoveryItem::System);
        assert_eq!(bed.elsewhere(), prepared, "{}", bed.name());
        storage.tidy(&upgrade).unwrap();
    });
}
