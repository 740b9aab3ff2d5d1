//! People: they turn back, and answer what is asked.

use super::{Parts, State};
use crate::cores::{Judged, Told};
use cutover_vocabulary::hold::{Choice, HoldReason};

impl State {
    pub(super) fn people(&self, parts: &mut Parts, all: &mut Vec<Self>) {
        let Some(n) = self.leading() else { return };
        if self.stored.finished() {
            return;
        }
        if self.bounds.turns_back {
            for told in [Told::Abort, Told::Rollback] {
                let mut state = self.clone();
                state.bounds.turns_back = false;
                if matches!(state.hear(parts, n, told), Some(Judged::News(_))) {
                    all.push(state);
                }
            }
        }
        for hold in self.stored.holds() {
            for choice in [Choice::Retry, Choice::Wait, Choice::Abort, Choice::Rollback] {
                if !hold.offers(choice) {
                    continue;
                }
                let mut state = self.clone();
                if matches!(hold.reason, HoldReason::Strangers { .. }) {
                    state.ledger.stranger = false;
                }
                state.hear(parts, n, Told::Decided(hold.id, choice));
                all.push(state);
            }
        }
    }
}
