//! Storages, digests, losses, recovery points.

use super::{digest, elapsed, ledger, moment, text, texts, version};
use cutover_vocabulary::release::{Release, StagedRelease};
use cutover_vocabulary::storage::*;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

pub fn storage() -> impl Strategy<Value = StorageIdentity> {
    prop_oneof![
        (text(), text(), any::<u64>(), any::<u64>(), text()).prop_map(
            |(machine, directory, device, inode, db_name)| StorageIdentity::Sqlite {
                machine,
                directory,
                device,
                inode,
                db_name
            }
        ),
        (text(), any::<u32>(), text()).prop_map(|(system_identifier, timeline, database)| StorageIdentity::Postgres {
            system_identifier,
            timeline,
            database
        })
    ]
}

pub fn migrations() -> impl Strategy<Value = Migrations> {
    option::of(vec(any::<u32>(), 0..4)).prop_map(Migrations)
}

pub fn section() -> impl Strategy<Value = Section> {
    select(
        &[
            Section::Transactions,
            Section::Postings,
            Section::Balances,
            Section::TransactionMetadata,
            Section::AccountMetadata,
        ][..],
    )
}

pub fn ledger_digest() -> impl Strategy<Value = LedgerDigest> {
    let one = (any::<u64>(), digest()).prop_map(|(rows, sha256)| SectionDigest { rows, sha256 });
    (any::<u16>(), btree_map(section(), one, 0..5)).prop_map(|(version, sections)| LedgerDigest { version, sections })
}

pub fn loss_class() -> impl Strategy<Value = LossClass> {
    select(&[LossClass::AccountMetadataWithoutPosting, LossClass::SqliteFirstMetadata][..])
}

pub fn losses() -> impl Strategy<Value = Losses> {
    let target = prop_oneof![text().prop_map(MetadataTarget::Account), text().prop_map(MetadataTarget::Transaction)];
    let row = (loss_class(), target, text(), text()).prop_map(|(class, target, key, value)| LostRow {
        class,
        target,
        key,
        value,
    });
    let by_class = proptest::collection::btree_map(loss_class(), any::<u32>().prop_map(u64::from), 0..2);
    (option::of(digest()), vec(row, 0..3), by_class).prop_map(|(sha256, rows, by_class)| Losses {
        count: by_class.values().sum(),
        sha256,
        rows,
        by_class,
    })
}

pub fn difference() -> impl Strategy<Value = Difference> {
    (section(), text(), option::of(text()), option::of(text()), option::of(loss_class()))
        .prop_map(|(section, row, before, after, class)| Difference { section, row, before, after, class })
}

pub fn opener() -> impl Strategy<Value = Opener> {
    (any::<u32>(), text(), text()).prop_map(|(pid, command, file)| Opener { pid, command, file })
}

pub fn item() -> impl Strategy<Value = RecoveryItem> {
    prop_oneof![ledger().prop_map(RecoveryItem::Ledger), Just(RecoveryItem::System)]
}

pub fn point() -> impl Strategy<Value = RecoveryPoint> {
    let copy = (text(), option::of(digest()), any::<u64>());
    let digests = (option::of(ledger_digest()), option::of(ledger_digest()));
    (item(), copy, digests, losses(), migrations(), moment(), (elapsed(), option::of(text()))).prop_map(
        |(item, (place, sha256, bytes), (digest, expected), losses, migrations, taken, (restore_took, mark))| {
            RecoveryPoint {
                item,
                place,
                sha256,
                bytes,
                digest,
                expected,
                losses,
                migrations,
                taken,
                restore_took,
                mark,
            }
        },
    )
}

pub fn dependent() -> impl Strategy<Value = Dependent> {
    (text(), text(), text(), text(), text()).prop_map(|(what, name, owner, on, definition)| Dependent {
        what,
        name,
        owner,
        on,
        definition,
    })
}

pub fn session() -> impl Strategy<Value = StorageSession> {
    let kind = select(&[SessionKind::Ledger, SessionKind::LockHolder, SessionKind::Writer, SessionKind::Reader][..]);
    (any::<u32>(), text(), text(), text(), kind, option::of(moment())).prop_map(
        |(pid, role, client, application, kind, since)| StorageSession { pid, role, client, application, kind, since },
    )
}

pub fn obstacle() -> impl Strategy<Value = Obstacle> {
    let kind = select(
        &[
            ObstacleKind::MissingGrant,
            ObstacleKind::MissingTool,
            ObstacleKind::NotWritable,
            ObstacleKind::MissingExtension,
        ][..],
    );
    (kind, text(), text(), option::of(version())).prop_map(|(kind, what, remedy, from)| Obstacle {
        kind,
        what,
        remedy,
        from,
    })
}

pub fn ledger_survey() -> impl Strategy<Value = LedgerSurvey> {
    let bad = (text(), text()).prop_map(|(what, text)| BadRow { what, text });
    let counts = any::<(u64, u64)>();
    let kind = select(&[DamageKind::Times, DamageKind::OnlyInLog, DamageKind::Balances, DamageKind::Other][..]);
    let damage = (kind, (any::<u64>(), texts()).prop_map(|(count, some)| Damage { count, some }));
    let rest = (vec(bad, 0..3), texts(), vec(dependent(), 0..3), vec(damage, 0..3));
    (ledger(), migrations(), any::<bool>(), counts, losses(), rest).prop_map(
        |(
            name,
            migrations,
            legacy_layout,
            (transactions, bytes),
            losses,
            (bad_rows, inconsistencies, dependents, damage),
        )| {
            LedgerSurvey {
                name,
                migrations,
                legacy_layout,
                transactions,
                bytes,
                losses,
                bad_rows,
                inconsistencies,
                dependents,
                damage: damage.into_iter().collect(),
            }
        },
    )
}

pub fn release() -> impl Strategy<Value = Release> {
    (version(), digest()).prop_map(|(version, archive)| Release { version, archive })
}

pub fn staged() -> impl Strategy<Value = StagedRelease> {
    (release(), digest(), any::<bool>()).prop_map(|(release, binary, storage_commands)| StagedRelease {
        release,
        binary,
        storage_commands,
    })
}
