//! Crash points: where a crash harness stops the coordinator. In production nothing happens here.

use cutover_core::upgrade::Want;
use cutover_vocabulary::{OrderId, UpgradeId};
use std::fmt::Debug;

/// A place where a coordinator can die, just before or just after something that the outside notices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Point {
    /// Facts are about to be appended.
    BeforeAppend {
        /// To which upgrade.
        upgrade: UpgradeId,
        /// After which fact.
        after_seq: u64,
        /// Which kinds of facts.
        facts: Vec<&'static str>,
    },
    /// The append was answered, whatever the answer; nothing was done about it yet.
    AfterAppend {
        /// To which upgrade.
        upgrade: UpgradeId,
        /// After which fact.
        after_seq: u64,
        /// Which kinds of facts.
        facts: Vec<&'static str>,
    },
    /// An order or its revoke is about to be sent.
    BeforeSend {
        /// Which order.
        order: OrderId,
        /// Whether to do it or to leave it.
        want: Want,
    },
    /// It was handed to the transport.
    AfterSend {
        /// Which order.
        order: OrderId,
        /// Whether to do it or to leave it.
        want: Want,
    },
    /// An acknowledgement is about to be sent.
    BeforeAcknowledge {
        /// Of which order.
        order: OrderId,
    },
    /// It was handed to the transport.
    AfterAcknowledge {
        /// Of which order.
        order: OrderId,
    },
}

/// Told of every crash point before the coordinator goes on. To stop it there: never return, and end the future of
/// [`run`](crate::run); nothing that belongs to it goes on afterwards.
#[async_trait::async_trait]
pub trait Faults: Debug + Send + Sync + 'static {
    /// A crash point was reached.
    async fn reach(&self, point: Point);
}

/// No faults.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFaults;

#[async_trait::async_trait]
impl Faults for NoFaults {
    async fn reach(&self, _point: Point) {}
}
