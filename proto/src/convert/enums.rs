//! Enums, variant by variant: a new one breaks the build here.

use crate::{malformed::Malformed, v1 as pb};
use cutover_vocabulary as words;

macro_rules! enums {
    ($($wire:ident = $word:path { $($variant:ident),* } refuses { $($refused:ident: $why:literal),* })*) => {$(
        impl From<$word> for pb::$wire {
            fn from(word: $word) -> Self {
                match word { $(<$word>::$variant => Self::$variant,)* }
            }
        }
        impl TryFrom<pb::$wire> for $word {
            type Error = Malformed;
            fn try_from(wire: pb::$wire) -> Result<Self, Malformed> {
                match wire {
                    $(pb::$wire::$variant => Ok(Self::$variant),)*
                    $(pb::$wire::$refused => Err(Malformed::here($why)),)*
                }
            }
        }
    )*};
}

enums! {
    Phase = words::Phase {
        Preflight, Stage, Rehearse, Drain, ConfirmDrained, Secure, Migrate, Prove, Switch, StartClosed, Verify, Open,
        Restore, SwitchBack, Reopen, Bake
    } refuses { Unspecified: "it is not said" }
    Border = words::phase::Border { MigrateAuthorised, OpenAuthorised } refuses { Unspecified: "it is not said" }
    Section = words::storage::Section {
        Transactions, Postings, Balances, TransactionMetadata, AccountMetadata
    } refuses { Unspecified: "it is not said" }
    LossClass = words::storage::LossClass {
        AccountMetadataWithoutPosting, SqliteFirstMetadata
    } refuses { Unspecified: "it is not said" }
    DamageKind = words::storage::DamageKind {
        Times, OnlyInLog, Balances, Other
    } refuses { Unspecified: "it is not said" }
    Manager = words::instance::Manager { Process, Systemd } refuses { Unspecified: "it is not said" }
    DriftKind = words::instance::DriftKind { Command, Disk, Running } refuses { Unspecified: "it is not said" }
    Strategy = words::plan::Strategy { Downtime, Rolling, Rejoin } refuses {
        Unspecified: "it is not said",
        Auto: "AUTO can be asked for, but a plan and an upgrade have chosen"
    }
    Level = words::finding::Level { Info, Approve, Block } refuses { Unspecified: "it is not said" }
    Source = words::finding::Source { Manual, Measured, ThisStorage, ThisHost, CompanyFile } refuses {
        Unspecified: "it is not said"
    }
    State = words::status::State {
        Running, Paused, Held, GoingBack, Completed, Aborted, RolledBack, TakenOver, Rehearsed
    } refuses { Unspecified: "it is not said" }
    Choice = words::hold::Choice { Retry, Accept, Wait, Abort, Rollback } refuses { Unspecified: "it is not said" }
}
