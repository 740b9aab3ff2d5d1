//! Storages, what is in them and what is kept of them.

use super::{millis, moment, to_wire};
use crate::malformed::{Malformed, each, length, maybe, maybe_text, small, text, wanted, word};
use crate::v1 as pb;
use cutover_vocabulary as words;
use cutover_vocabulary::storage::{
    LedgerDigest, Losses, LostRow, MetadataTarget, Migrations, RecoveryItem, RecoveryPoint, Section, SectionDigest,
    StorageIdentity,
};
use std::collections::BTreeMap;

impl From<StorageIdentity> for pb::StorageIdentity {
    fn from(identity: StorageIdentity) -> Self {
        let storage = match identity {
            StorageIdentity::Sqlite { machine, directory, device, inode, db_name } => {
                pb::storage_identity::Storage::Sqlite(pb::SqliteStorage { machine, directory, device, inode, db_name })
            }
            StorageIdentity::Postgres { system_identifier, timeline, database } => {
                pb::storage_identity::Storage::Postgres(pb::PostgresStorage { system_identifier, timeline, database })
            }
        };
        Self { storage: Some(storage) }
    }
}
impl TryFrom<pb::StorageIdentity> for StorageIdentity {
    type Error = Malformed;
    fn try_from(wire: pb::StorageIdentity) -> Result<Self, Malformed> {
        match wire.storage.ok_or_else(|| Malformed::here("it names nothing"))? {
            pb::storage_identity::Storage::Sqlite(wire) => {
                let pb::SqliteStorage { machine, directory, device, inode, db_name } = wire;
                Ok(Self::Sqlite { machine, directory, device, inode, db_name })
            }
            pb::storage_identity::Storage::Postgres(wire) => {
                let pb::PostgresStorage { system_identifier, timeline, database } = wire;
                Ok(Self::Postgres { system_identifier, timeline, database })
            }
        }
    }
}

impl From<Migrations> for pb::Migrations {
    fn from(migrations: Migrations) -> Self {
        Self { recorded: migrations.0.is_some(), numbers: migrations.0.unwrap_or_default() }
    }
}
impl TryFrom<pb::Migrations> for Migrations {
    type Error = Malformed;
    fn try_from(wire: pb::Migrations) -> Result<Self, Malformed> {
        match (wire.recorded, wire.numbers) {
            (true, numbers) => Ok(Self(Some(numbers))),
            (false, numbers) if numbers.is_empty() => Ok(Self(None)),
            (false, _) => Err(Malformed::at("numbers", "there are some, although none are recorded")),
        }
    }
}

impl From<words::release::Release> for pb::Release {
    fn from(release: words::release::Release) -> Self {
        let words::release::Release { version, archive } = release;
        Self { version: version.to_string(), archive_sha256: archive.to_string() }
    }
}
impl TryFrom<pb::Release> for words::release::Release {
    type Error = Malformed;
    fn try_from(wire: pb::Release) -> Result<Self, Malformed> {
        Ok(Self { version: text("version", &wire.version)?, archive: text("archive_sha256", &wire.archive_sha256)? })
    }
}

impl From<LedgerDigest> for pb::LedgerDigest {
    fn from(digest: LedgerDigest) -> Self {
        let root = digest.root().to_string();
        let section = |(section, SectionDigest { rows, sha256 })| pb::SectionDigest {
            section: pb::Section::from(section).into(),
            rows,
            sha256: sha256.to_string(),
        };
        Self { version: digest.version.into(), sections: digest.sections.into_iter().map(section).collect(), root }
    }
}
impl TryFrom<pb::LedgerDigest> for LedgerDigest {
    type Error = Malformed;
    fn try_from(wire: pb::LedgerDigest) -> Result<Self, Malformed> {
        let mut sections = BTreeMap::new();
        for (index, one) in wire.sections.into_iter().enumerate() {
            let within = |error: Malformed| error.within(&format!("sections[{index}]"));
            let section: Section = word::<pb::Section, _>("section", one.section).map_err(within)?;
            let sha256 = text("sha256", &one.sha256).map_err(within)?;
            if sections.insert(section, SectionDigest { rows: one.rows, sha256 }).is_some() {
                return Err(within(Malformed::at("section", "it was named before")));
            }
        }
        let digest = Self { version: small("version", wire.version)?, sections };
        if !wire.root.is_empty() && wire.root != digest.root().to_string() {
            return Err(Malformed::at("root", format_args!("the sections have {}", digest.root())));
        }
        Ok(digest)
    }
}

impl From<LostRow> for pb::LostRow {
    fn from(row: LostRow) -> Self {
        let LostRow { class, target, key, value } = row;
        let target = match target {
            MetadataTarget::Account(address) => pb::lost_row::Target::Account(address),
            MetadataTarget::Transaction(id) => pb::lost_row::Target::Transaction(id),
        };
        Self { class: pb::LossClass::from(class).into(), target: Some(target), key, value }
    }
}
impl TryFrom<pb::LostRow> for LostRow {
    type Error = Malformed;
    fn try_from(wire: pb::LostRow) -> Result<Self, Malformed> {
        let target = match wire.target.ok_or_else(|| Malformed::at("target", "it is missing"))? {
            pb::lost_row::Target::Account(address) => MetadataTarget::Account(address),
            pb::lost_row::Target::Transaction(id) => MetadataTarget::Transaction(id),
        };
        Ok(Self { class: word::<pb::LossClass, _>("class", wire.class)?, target, key: wire.key, value: wire.value })
    }
}

impl From<Losses> for pb::Losses {
    fn from(losses: Losses) -> Self {
        let Losses { count, sha256, rows, by_class } = losses;
        let of_class = |(class, count)| pb::LossCount { class: pb::LossClass::from(class).into(), count };
        Self {
            count,
            sha256: sha256.map(String::from),
            rows: rows.into_iter().map(Into::into).collect(),
            by_class: by_class.into_iter().map(of_class).collect(),
        }
    }
}
impl TryFrom<pb::Losses> for Losses {
    type Error = Malformed;
    fn try_from(wire: pb::Losses) -> Result<Self, Malformed> {
        let sha256 = maybe_text("sha256", wire.sha256.as_deref())?;
        let mut by_class = BTreeMap::new();
        for (index, one) in wire.by_class.into_iter().enumerate() {
            let within = |error: Malformed| error.within(&format!("by_class[{index}]"));
            let class = word::<pb::LossClass, _>("class", one.class).map_err(within)?;
            if by_class.insert(class, one.count).is_some() {
                return Err(within(Malformed::at("class", "it was named before")));
            }
        }
        // What is of no class would be lost without a word.
        if by_class.values().try_fold(0, |sum: u64, count| sum.checked_add(*count)) != Some(wire.count) {
            return Err(Malformed::at("count", "it is not the sum of by_class"));
        }
        Ok(Self { count: wire.count, sha256, rows: each("rows", wire.rows)?, by_class })
    }
}

impl From<RecoveryPoint> for pb::RecoveryPoint {
    fn from(point: RecoveryPoint) -> Self {
        let RecoveryPoint {
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
        } = point;
        let item = match item {
            RecoveryItem::Ledger(name) => pb::recovery_point::Item::Ledger(name.into()),
            RecoveryItem::System => pb::recovery_point::Item::System(pb::SystemStore {}),
        };
        Self {
            item: Some(item),
            place,
            sha256: sha256.map(String::from),
            bytes,
            digest: digest.map(Into::into),
            expected: expected.map(Into::into),
            losses: Some(losses.into()),
            migrations: Some(migrations.into()),
            taken: Some(to_wire(taken)),
            restore_took_ms: millis(restore_took),
            mark,
        }
    }
}
impl TryFrom<pb::RecoveryPoint> for RecoveryPoint {
    type Error = Malformed;
    fn try_from(wire: pb::RecoveryPoint) -> Result<Self, Malformed> {
        let item = match wire.item.ok_or_else(|| Malformed::at("item", "it is missing"))? {
            pb::recovery_point::Item::Ledger(name) => RecoveryItem::Ledger(text("ledger", &name)?),
            pb::recovery_point::Item::System(pb::SystemStore {}) => RecoveryItem::System,
        };
        Ok(Self {
            item,
            place: wire.place,
            sha256: maybe_text("sha256", wire.sha256.as_deref())?,
            bytes: wire.bytes,
            digest: maybe("digest", wire.digest)?,
            expected: maybe("expected", wire.expected)?,
            losses: wanted("losses", wire.losses)?,
            migrations: wanted("migrations", wire.migrations)?,
            taken: moment("taken", wire.taken)?,
            restore_took: length("restore_took_ms", wire.restore_took_ms)?,
            mark: wire.mark,
        })
    }
}
