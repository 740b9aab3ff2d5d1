//! What the core, the store and facts of a newer Cutover refuse, in the words of the API.

use cutover_core::upgrade::{Rejected, Upgrade};
use cutover_proto::{Code, Refused};
use cutover_vocabulary::UpgradeId;

/// Why the core did not take a call, as an answer.
pub(crate) fn refuse(upgrade: &Upgrade, rejected: Rejected) -> Refused {
    let text = rejected.to_string();
    let look = "`cutover status` shows where it stands";
    let refused = match rejected {
        Rejected::NoSuchHold(_) if upgrade.holds().next().is_some() => {
            let open = upgrade.holds().map(|hold| hold.id.to_string()).collect::<Vec<_>>().join(", ");
            Refused::new(Code::HoldOutdated, text, "look at the holds that are open now, and decide those")
                .with("holds", open)
        }
        Rejected::NoSuchHold(_) => Refused::new(Code::NoSuchHold, text, look),
        Rejected::NotOffered { offered, .. } => {
            Refused::new(Code::ChoiceNotOffered, text, "choose one of those that the hold offers")
                .with("choices", offered)
        }
        Rejected::Ended => Refused::new(Code::UpgradeEnded, text, look),
        Rejected::NotEnded => Refused::new(Code::UpgradeActive, text, "wait for its end, or abort it"),
        Rejected::OpenedAlready => Refused::new(
            Code::WouldLoseWrites,
            text,
            "repair forwards; what was kept before the migration is still there",
        ),
        Rejected::GoesBackAlready(_) => Refused::new(Code::TooLate, text, look),
        Rejected::MigratedAlready => Refused::new(Code::TooLate, text, "use `cutover rollback`"),
        Rejected::NothingMigrated => Refused::new(Code::InvalidArgument, text, "use `cutover abort`"),
        Rejected::OrdersOut(_) => {
            Refused::new(Code::UpgradeActive, text, "wait until they are settled, then ask again")
        }
        Rejected::NoEvidence(_) => Refused::new(
            Code::InvalidArgument,
            text,
            "say what was looked at: that the host is off, and that no session of it is on the database",
        )
        .with("field", "evidence"),
        Rejected::NoReason => {
            Refused::new(Code::InvalidArgument, text, "repeat it with `--reason`").with("field", "reason")
        }
        Rejected::NoSuchMember(_) => Refused::new(Code::InvalidArgument, text, look).with("field", "instance"),
        Rejected::LastMember(_) => Refused::new(Code::TooLate, text, "abort the upgrade, or bring its agent back"),
        Rejected::RunnerNeeded { .. } => Refused::new(
            Code::TooLate,
            text,
            "bring its agent back; where that cannot be, a person finishes by hand: `cutover-agent local takeover` on any \
             member's host freezes the upgrade, and `cutover close` then ends it",
        ),
        Rejected::NothingToDo(_) => Refused::new(Code::InvalidArgument, text, look),
        Rejected::UnknownOrder(_) | Rejected::OtherAgent { .. } | Rejected::Stranger(_) => {
            Refused::new(Code::Internal, text, "look at the coordinator's log")
        }
    };
    refused.with("upgrade", upgrade.id())
}

pub(super) fn unreadable(error: &cutover_store::StoreError) -> Refused {
    Refused::new(
        Code::StoreUnavailable,
        format!("the store could not be read: {error}"),
        "ask again; if it lasts, look at the coordinator's log",
    )
}

pub(super) fn no_such_upgrade(id: &UpgradeId) -> Refused {
    Refused::new(
        Code::NoSuchUpgrade,
        format!("there is no upgrade {id}"),
        "`cutover status` lists the upgrades there are",
    )
}

pub(super) fn foreign(id: &UpgradeId, seq: u64, why: &str) -> Refused {
    Refused::new(
        Code::Quarantined,
        format!("fact {seq} of upgrade {id} is not understood: {why}"),
        "install the version of Cutover that wrote it, or a newer one; nothing was changed",
    )
    .with("upgrade", id)
}
