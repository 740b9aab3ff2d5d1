//! Any word of the vocabulary, for property tests.

mod plan;
mod status;
mod storage;
mod work;

pub use plan::*;
pub use status::*;
pub use storage::*;
pub use work::*;

use cutover_vocabulary::instance::{Drift, DriftKind, InstanceReport, Manager, RunState};
use cutover_vocabulary::order::{Epoch, StepId};
use cutover_vocabulary::phase::{Border, Stage};
use cutover_vocabulary::{
    AgentName, DeploymentName, Digest, Elapsed, InstanceName, LedgerName, OperatorName, OrderId, Phase, RequestId,
    Subject, Timestamp, UpgradeId, Version,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

macro_rules! chosen_names {
    ($($function:ident: $name:ident),*) => {$(
        pub fn $function() -> impl Strategy<Value = $name> {
            "[a-zA-Z0-9][a-zA-Z0-9._@-]{0,20}".prop_map(|text| $name::new(text).unwrap())
        }
    )*};
}
chosen_names! {
    deployment: DeploymentName, instance: InstanceName, agent: AgentName, upgrade: UpgradeId, request: RequestId,
    operator: OperatorName
}

/// Ledgers are called whatever somebody called them: slashes, quotes and control characters included.
pub fn ledger() -> impl Strategy<Value = LedgerName> {
    "\\PC{1,12}|[/\"\\x00-\\x1f]{1,4}".prop_map(|text| LedgerName::new(text).unwrap())
}

pub fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

pub fn texts() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..3)
}

pub fn version() -> impl Strategy<Value = Version> {
    (0..3u64, 0..20u64, 0..20u64).prop_map(|(major, minor, patch)| Version::new(major, minor, patch))
}

pub fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

pub fn moment() -> impl Strategy<Value = Timestamp> {
    let (first, last) = (jiff::Timestamp::MIN.as_second(), jiff::Timestamp::MAX.as_second());
    let anywhere = (first + 1..last, -999_999_999..=999_999_999i32);
    let nearby = (-2..=2i64, -999_999_999..=999_999_999i32);
    prop_oneof![anywhere, nearby].prop_map(|(second, nano)| Timestamp(jiff::Timestamp::new(second, nano).unwrap()))
}

/// Up to what the wire can carry.
pub fn elapsed() -> impl Strategy<Value = Elapsed> {
    (0..=i64::MAX as u64).prop_map(Elapsed)
}

pub fn epoch() -> impl Strategy<Value = Epoch> {
    any::<u64>().prop_map(Epoch)
}

pub fn phase() -> impl Strategy<Value = Phase> {
    select(Phase::ALL)
}

pub fn border() -> impl Strategy<Value = Border> {
    select(&[Border::MigrateAuthorised, Border::OpenAuthorised][..])
}

pub fn stage() -> impl Strategy<Value = Stage> {
    (phase(), option::of(border()), option::of(any::<u16>())).prop_map(|(phase, border, wave)| Stage {
        phase,
        border,
        wave,
    })
}

pub fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![instance().prop_map(Subject::Instance), ledger().prop_map(Subject::Ledger), Just(Subject::Storage)]
}

pub fn order_id() -> impl Strategy<Value = OrderId> {
    (upgrade(), any::<u16>(), any::<u16>(), subject(), phase(), any::<u16>()).prop_map(
        |(upgrade, stage, run, subject, phase, attempt)| OrderId {
            upgrade,
            step: StepId { stage, run, subject },
            phase,
            attempt,
        },
    )
}

pub fn report() -> impl Strategy<Value = InstanceReport> {
    let run = prop_oneof![
        any::<u32>().prop_map(|pid| RunState::Running { pid }),
        Just(RunState::Stopped),
        text().prop_map(|why| RunState::Unknown { why })
    ];
    let manager = select(&[Manager::Process, Manager::Systemd][..]);
    let versions = (option::of(version()), option::of(version()));
    let drift =
        (select(DriftKind::ALL), text(), text()).prop_map(|(kind, allowed, found)| Drift { kind, allowed, found });
    let drift = vec(drift, 0..3);
    let fence = (any::<u64>(), text(), text());
    (instance(), deployment(), run, versions, any::<[bool; 2]>(), fence, manager, moment(), drift).prop_map(
        |(instance, deployment, run, (running, on_disk), [fenced, observe_only], fence, manager, at, drift)| {
            let (fence, fenced_by, missing_guard) = fence;
            InstanceReport {
                instance,
                deployment,
                run,
                running,
                on_disk,
                fenced,
                fenced_by,
                fence,
                manager,
                observe_only,
                at,
                drift,
                missing_guard,
            }
        },
    )
}
