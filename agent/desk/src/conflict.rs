//! Which orders must not run beside each other on one host.
//!
//! The coordinator does not give such orders (its core has a table of its own); this one holds when the coordinator is
//! wrong, or when two of them speak. Two deployments never conflict: they share no storage and no instance.

use cutover_vocabulary::storage::RecoveryItem;
use cutover_vocabulary::{InstanceName, LedgerName, Order, Subject, Work};

/// What an order does with its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnInstance {
    /// It looks, and what it reports may be outdated at once.
    Looks,
    /// It puts files beside those in use.
    Files,
    /// It proves something that must not change while it looks.
    Rests,
    /// It starts, stops or switches it.
    Changes,
}

/// What an order does with the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnStorage {
    /// It reads and relies on nobody writing.
    Rests,
    /// It writes.
    Writes,
    /// A ledger process works on it, or may still.
    Serves,
}

/// Which part of the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    Whole,
    System,
    Ledger(&'a LedgerName),
}

struct Claims<'a> {
    instance: Option<(&'a InstanceName, OnInstance)>,
    storage: Vec<(Part<'a>, OnStorage)>,
}

/// Whether these two must not be in hand at once.
pub(crate) fn conflict(a: &Order, b: &Order) -> bool {
    if a.deployment != b.deployment {
        return false;
    }
    let (a, b) = (claims(a), claims(b));
    let on_instance = match (a.instance, b.instance) {
        (Some((one, does)), Some((other, other_does))) => one == other && instance_conflict(does, other_does),
        (Some(_), None) | (None, Some(_) | None) => false,
    };
    on_instance
        || a.storage.iter().any(|(part, does)| {
            b.storage.iter().any(|(other, other_does)| overlap(*part, *other) && storage_conflict(*does, *other_does))
        })
}

fn instance_conflict(a: OnInstance, b: OnInstance) -> bool {
    use OnInstance::{Changes, Files, Looks, Rests};
    match (a, b) {
        (Looks, _) | (_, Looks) => false,
        (Rests, Rests | Files) | (Files, Rests) => false,
        (Files, Files | Changes) | (Rests, Changes) | (Changes, Files | Rests | Changes) => true,
    }
}

fn storage_conflict(a: OnStorage, b: OnStorage) -> bool {
    use OnStorage::{Rests, Serves, Writes};
    match (a, b) {
        (Rests, Rests) | (Serves, Serves) => false,
        (Rests, Writes | Serves) | (Writes, Rests | Writes | Serves) | (Serves, Rests | Writes) => true,
    }
}

fn overlap(a: Part<'_>, b: Part<'_>) -> bool {
    match (a, b) {
        (Part::Whole, _) | (_, Part::Whole) | (Part::System, Part::System) => true,
        (Part::Ledger(one), Part::Ledger(other)) => one == other,
        (Part::System, Part::Ledger(_)) | (Part::Ledger(_), Part::System) => false,
    }
}

fn claims(order: &Order) -> Claims<'_> {
    let part = match &order.id.step.subject {
        Subject::Ledger(name) => Part::Ledger(name),
        Subject::Storage | Subject::Instance(_) => Part::Whole,
    };
    let instance = |does| match &order.id.step.subject {
        Subject::Instance(name) => Some((name, does)),
        Subject::Ledger(_) | Subject::Storage => None,
    };
    let item = |item: &'_ RecoveryItem| match item {
        RecoveryItem::System => Part::System,
        RecoveryItem::Ledger(_) => part,
    };
    let (instance, storage) = match &order.work {
        Work::Inspect => (instance(OnInstance::Looks), vec![]),
        Work::StageRelease { .. } => (instance(OnInstance::Files), vec![]),
        Work::Attest => (instance(OnInstance::Rests), vec![]),
        // It reads through an instance that serves, and may take it out of rotation.
        Work::Bake { .. } => (instance(OnInstance::Changes), vec![(Part::Whole, OnStorage::Serves)]),
        Work::Switch { .. } | Work::SwitchBack { .. } => (instance(OnInstance::Changes), vec![]),
        // While an instance drains it may still write; an instance that opens, or runs closed, reads and migrates.
        Work::Drain { .. } | Work::StartClosed { .. } | Work::Verify { .. } | Work::Open { .. } => {
            (instance(OnInstance::Changes), vec![(Part::Whole, OnStorage::Serves)])
        }
        Work::Rehearse { .. } | Work::AttestStorage { .. } => (None, vec![(Part::Whole, OnStorage::Rests)]),
        Work::Secure { item: kept, .. } => (None, vec![(item(kept), OnStorage::Rests)]),
        // `storage scan` opens every ledger and writes the system store.
        Work::Register { .. } => (None, vec![(Part::Whole, OnStorage::Writes)]),
        // Lanes of different ledgers run side by side; each opens the system store.
        Work::Migrate { .. } => (None, vec![(part, OnStorage::Writes), (Part::System, OnStorage::Rests)]),
        Work::Prove { .. } => (None, vec![(part, OnStorage::Rests)]),
        Work::Restore { point, .. } => (None, vec![(item(&point.item), OnStorage::Writes)]),
    };
    Claims { instance, storage }
}
