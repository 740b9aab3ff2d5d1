//! I7: nothing is begun or sent that a power cut could make the agent forget.

use cutover_desk::{Action, Entry};
use cutover_vocabulary::link::AgentMessage;
use std::borrow::Borrow;

/// Whether what an action rests on stands in the journal.
pub fn is_durable(action: &Action, journal: &[impl Borrow<Entry>]) -> bool {
    let has = |wanted: &dyn Fn(&Entry) -> bool| journal.iter().any(|entry| wanted(entry.borrow()));
    match action {
        Action::Begin { order, .. } => has(&|entry| matches!(entry, Entry::Accepted(known) if known.id == order.id)),
        Action::Send(AgentMessage::Outcome { order, .. }) => {
            has(&|entry| matches!(entry, Entry::Finished { order: known, .. } if known == order))
        }
        Action::Send(AgentMessage::Revoked { order, .. }) => has(
            &|entry| matches!(entry, Entry::Revoked(known) | Entry::Finished { order: known, .. } if known == order),
        ),
        Action::Send(_)
        | Action::SendBack(_)
        | Action::TurnAway { .. }
        | Action::Permitted { .. }
        | Action::Journal(_)
        | Action::Stop(_) => true,
    }
}
