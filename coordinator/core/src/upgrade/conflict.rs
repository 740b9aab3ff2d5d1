//! Which orders must not stand beside each other, on whatever agents.

use cutover_vocabulary::{Subject, Work};

/// What an order needs for itself while it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// Nothing: it only looks, at what others don't change meanwhile.
    Nothing,
    /// Its own instance.
    Instance,
    /// Its own ledger, beside others' ledgers.
    Ledger,
    /// The whole storage.
    Storage,
    /// Its own instance, and the whole storage: a started ledger migrates at the first request.
    InstanceAndStorage,
}

fn claim(work: &Work) -> Claim {
    match work {
        Work::Inspect | Work::StageRelease { .. } => Claim::Nothing,
        Work::Attest | Work::Drain { .. } | Work::Switch { .. } | Work::SwitchBack { .. } | Work::Bake { .. } => {
            Claim::Instance
        }
        Work::Rehearse { .. } | Work::AttestStorage { .. } | Work::Register { .. } => Claim::Storage,
        Work::Secure { .. } | Work::Migrate { .. } | Work::Prove { .. } | Work::Restore { .. } => Claim::Ledger,
        Work::StartClosed { .. } | Work::Verify { .. } | Work::Open { .. } => Claim::InstanceAndStorage,
    }
}

/// Whether two orders must not stand beside each other. Symmetric.
pub(super) fn conflicts(a: (&Subject, &Work), b: (&Subject, &Work)) -> bool {
    let same_subject = a.0 == b.0;
    match (claim(a.1), claim(b.1)) {
        (Claim::Nothing, _) | (_, Claim::Nothing) => false,
        (Claim::Instance, Claim::Instance | Claim::InstanceAndStorage)
        | (Claim::InstanceAndStorage, Claim::Instance)
        | (Claim::Ledger, Claim::Ledger) => same_subject,
        // Several instances may be opened at once: they share a storage that is migrated already.
        (Claim::InstanceAndStorage, Claim::InstanceAndStorage) => same_subject,
        (Claim::Instance, Claim::Ledger | Claim::Storage) | (Claim::Ledger | Claim::Storage, Claim::Instance) => false,
        (Claim::Storage, Claim::Storage | Claim::Ledger | Claim::InstanceAndStorage)
        | (Claim::Ledger | Claim::InstanceAndStorage, Claim::Storage)
        | (Claim::Ledger, Claim::InstanceAndStorage)
        | (Claim::InstanceAndStorage, Claim::Ledger) => true,
    }
}
