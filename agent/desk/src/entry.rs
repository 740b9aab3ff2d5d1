//! What the journal keeps. A desk is the fold of its entries.

use cutover_vocabulary::{Epoch, Order, OrderId, Outcome, UpgradeId};
use serde::{Deserialize, Serialize};

/// How many forgotten upgrades are remembered by id. An order of one of them is refused instead of begun a second time;
/// after a thousand further upgrades of this host no message about it can be on its way any more, and a coordinator of
/// that time has long been fenced off by its epoch.
pub const REMEMBERED_UPGRADES: usize = 1024;

/// One entry. Stored as externally tagged JSON: fields are only added with defaults, variants never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// The highest epoch seen so far.
    Epoch(Epoch),
    /// The order was accepted and is about to be begun.
    Accepted(Box<Order>),
    /// A revoke was heard. Of an order that is not known this is a tombstone: it will never be begun.
    Revoked(OrderId),
    /// The order's work ended.
    Finished {
        /// Which order.
        order: OrderId,
        /// What came of it.
        outcome: Box<Outcome>,
    },
    /// The coordinator stored what came of the order.
    Acknowledged(OrderId),
    /// A person took the upgrade over on this host; for good.
    TakenOver {
        /// Which upgrade.
        upgrade: UpgradeId,
        /// What they noted.
        note: String,
    },
    /// All orders of this upgrade are acknowledged and newer upgrades have followed: everything about it but its id may
    /// be removed.
    Forgotten(UpgradeId),
}

impl Entry {
    /// The variant's name as it is stored.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Epoch(_) => "epoch",
            Self::Accepted(_) => "accepted",
            Self::Revoked(_) => "revoked",
            Self::Finished { .. } => "finished",
            Self::Acknowledged(_) => "acknowledged",
            Self::TakenOver { .. } => "taken-over",
            Self::Forgotten(_) => "forgotten",
        }
    }

    /// Which upgrade it concerns; an epoch concerns none.
    pub fn upgrade(&self) -> Option<&UpgradeId> {
        match self {
            Self::Epoch(_) => None,
            Self::Accepted(order) => Some(&order.id.upgrade),
            Self::Revoked(order) | Self::Acknowledged(order) | Self::Finished { order, .. } => Some(&order.upgrade),
            Self::TakenOver { upgrade, .. } | Self::Forgotten(upgrade) => Some(upgrade),
        }
    }
}
