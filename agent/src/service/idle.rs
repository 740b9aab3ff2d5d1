//! Which connections of an instance that is out of rotation hold up its stop.
//!
//! The ledger cuts requests at SIGTERM, so a connection with a request in flight must hold it up, however long that takes and
//! however still the line is meanwhile. A load balancer keeps connections open that carry nothing; those need not.
//!
//! A connection is **idle** when all of this holds, and *active* otherwise:
//!
//! 1. The instance is out of rotation: its `out_of_rotation` command has ended well, or `readiness` has said so for the grace.
//! 2. Nothing was received on it since then, and that is [`SETTLED`] ago at least: who sends all the same does not go by the
//!    balancer.
//! 3. It is open in both directions, and nothing is in either of its queues.
//! 4. Its last request was answered: bytes were sent to the client later than the last ones came from it. A request that is
//!    under way has received bytes later than it sent any. Or the client never sent a byte.
//! 5. It has been still for [`STILL`]: an answer that is sent in parts has pauses.
//!
//! The kernel tells times to its tick (1 to 10 ms). Where both moments are in one tick, an answer within it and a request that
//! came right behind an answer look the same. Then 4 cannot be told, and 5 asks for as long as a request may take at most
//! (`longest_request_seconds`).
//!
//! Not covered is a client that sends its next request before it has the answer to the last (HTTP pipelining): no balancer
//! does that.

use super::ports::Connection;
use cutover_vocabulary::Elapsed;
use std::cmp::Ordering;

/// How long an instance must have been out of rotation before a connection that was ever used may pass as idle. A command that
/// tells a balancer may return before that has heard of it, and who goes by no balancer shows only by sending again.
pub const SETTLED: Elapsed = Elapsed::from_secs(5);

/// How long an answered connection must have been still.
pub const STILL: Elapsed = Elapsed::from_secs(2);

/// What the rule needs to know of an instance.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// For how long it has been out of rotation. None: nothing takes it out, so every connection is active.
    pub out_for: Option<Elapsed>,
    /// How long a request to it may take at most.
    pub longest_request: Elapsed,
}

impl Rule {
    /// Whether a connection is idle.
    pub fn is_idle(&self, connection: &Connection) -> bool {
        let (Some(out_for), Some(carried)) = (self.out_for, connection.carried) else { return false };
        if !connection.open || connection.queued > 0 {
            return false;
        }
        let still = carried.sent.min(carried.received);
        if !carried.asked {
            return still >= STILL;
        }
        if out_for < SETTLED || carried.received <= out_for {
            return false;
        }
        match carried.sent.cmp(&carried.received) {
            Ordering::Less => still >= STILL,
            Ordering::Equal => still >= self.longest_request,
            Ordering::Greater => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::ports::Carried;

    fn connection(received: u64, sent: u64) -> Connection {
        let carried = Carried { asked: true, received: Elapsed(received), sent: Elapsed(sent) };
        Connection { peer: ([10, 0, 0, 1], 4242).into(), open: true, queued: 0, carried: Some(carried) }
    }

    const RULE: Rule = Rule { out_for: Some(Elapsed(5_000)), longest_request: Elapsed(20_000) };

    #[test]
    fn a_request_that_is_under_way_is_never_idle_however_still_the_line_is() {
        for still in [0, 30_000, 3_600_000] {
            assert!(!RULE.is_idle(&connection(still, still + 1)), "{still}");
        }
    }

    #[test]
    fn an_answered_connection_is_idle_once_it_was_still() {
        assert!(RULE.is_idle(&connection(5_001, 2_000)));
        assert!(!RULE.is_idle(&connection(5_001, 1_999)), "the answer may have another part");
    }

    #[test]
    fn where_the_tick_does_not_tell_it_takes_as_long_as_a_request_may() {
        assert!(!RULE.is_idle(&connection(19_999, 19_999)));
        assert!(RULE.is_idle(&connection(20_000, 20_000)));
    }

    #[test]
    fn who_sends_though_the_instance_is_out_of_rotation_is_active_and_so_is_everybody_where_nothing_takes_it_out() {
        assert!(!RULE.is_idle(&connection(4_000, 3_000)));
        let just_out = Rule { out_for: Some(Elapsed(4_999)), ..RULE };
        assert!(!just_out.is_idle(&connection(60_000, 50_000)), "who sends again is not told yet");
        assert!(!Rule { out_for: None, ..RULE }.is_idle(&connection(60_000, 50_000)));
    }

    #[test]
    fn what_is_queued_half_closed_or_not_told_is_active() {
        let idle = connection(60_000, 50_000);
        assert!(RULE.is_idle(&idle));
        assert!(!RULE.is_idle(&Connection { queued: 1, ..idle.clone() }));
        assert!(!RULE.is_idle(&Connection { open: false, ..idle.clone() }));
        assert!(!RULE.is_idle(&Connection { carried: None, ..idle }));
    }

    #[test]
    fn a_connection_that_was_opened_beforehand_and_never_asked_anything_is_idle() {
        let carried = Carried { asked: false, received: Elapsed(3_000), sent: Elapsed(3_000) };
        assert!(RULE.is_idle(&Connection { carried: Some(carried), ..connection(0, 0) }));
        let fresh = Carried { received: Elapsed(500), ..carried };
        assert!(!RULE.is_idle(&Connection { carried: Some(fresh), ..connection(0, 0) }));
    }
}
