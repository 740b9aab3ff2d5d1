//! Links, and what is on its way over them.

use super::{Leader, Parts, State};
use crate::cores::{Judged, Told};
use crate::kept::Kept;
use crate::message::Message;
use cutover_vocabulary::Epoch;
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Say};

impl State {
    pub(super) fn network(&self, parts: &mut Parts, all: &mut Vec<Self>) {
        for message in &self.said {
            match &**message {
                Message::ToAgent(n, _) => {
                    if self.hosts[*n].alive {
                        let reaction = parts.desks.hear(&mut parts.messages, self.hosts[*n], *message);
                        self.reacts(*n, &reaction, all);
                    }
                }
                Message::ToCoordinator(n, _) => {
                    for leader in 0..self.leaders.len() {
                        self.coordinator_hears(parts, leader, *n, *message, all);
                    }
                }
            }
        }
        // All of it is lost at once: whatever is lost by itself leaves more that can happen.
        if !self.said.is_empty() {
            all.push(self.changed(|state| state.said.clear()));
        }
    }

    /// A new link: what was on its way over the former one is gone.
    pub(super) fn link(&self, parts: &mut Parts, n: usize, leader: usize, all: &mut Vec<Self>) {
        let epoch = self.leaders[leader].epoch;
        let without = self.changed(|state| state.said.retain(|message| message.agent() != n));
        let reaction = parts.desks.link(&mut parts.messages, n, self.hosts[n], epoch);
        let mut states = Vec::new();
        without.reacts(n, &reaction, &mut states);
        for mut state in states {
            if state.hosts[n].to == epoch {
                state.hear(parts, leader, Told::Linked(n));
            }
            all.push(state);
        }
    }

    /// A coordinator hears a message and acknowledges it; or is killed behind the append, and what would have been sent never is.
    fn coordinator_hears(
        &self,
        parts: &mut Parts,
        leader: usize,
        n: usize,
        message: Kept<Message>,
        all: &mut Vec<Self>,
    ) {
        let epoch = self.leaders[leader].epoch;
        let mut state = self.clone();
        let judged = state.hear(parts, leader, Told::Said(message));
        all.extend(state.crashed(|state| state.leaders.retain(|leader| leader.epoch != epoch)));
        if judged.is_some()
            && let Some(acknowledgement) = self.acknowledgement(parts, n, epoch, message)
        {
            let reaction = parts.desks.hear(&mut parts.messages, self.hosts[n], acknowledgement);
            return state.reacts(n, &reaction, all);
        }
        all.push(state);
    }

    /// It arrives where its agent is linked to who says it.
    fn acknowledgement(&self, parts: &mut Parts, n: usize, epoch: Epoch, of: Kept<Message>) -> Option<Kept<Message>> {
        let host = self.hosts[n];
        match &*of {
            Message::ToCoordinator(_, AgentMessage::Outcome { order, .. } | AgentMessage::Revoked { order, .. })
                if host.alive && host.to == epoch =>
            {
                let message = CoordinatorMessage { epoch, say: Say::Acknowledge(order.clone()) };
                Some(parts.messages.keep(Message::ToAgent(n, message)))
            }
            _ => None,
        }
    }

    /// What stands is said again and again: by a leader to whom is linked to it, and by agents until it is acknowledged.
    pub(super) fn say_what_stands(&mut self, parts: &mut Parts) {
        for Leader { epoch, upgrade } in self.leaders.clone() {
            let linked = self.hosts.map(|host| host.to == epoch);
            let mut said = parts.cores.orders(&mut parts.messages, upgrade, epoch).to_vec();
            for n in 0..self.hosts.len() {
                said.extend(parts.desks.owed(&mut parts.messages, n, self.hosts[n]));
            }
            said.into_iter().filter(|message| linked[message.agent()]).for_each(|message| self.say(message));
        }
    }

    pub(super) fn forget_what_was_dealt_with(&mut self, parts: &mut Parts) {
        let mut said = std::mem::take(&mut self.said);
        said.retain(|message| !self.dealt_with(parts, *message));
        self.said = said;
    }

    fn dealt_with(&self, parts: &mut Parts, message: Kept<Message>) -> bool {
        match &*message {
            Message::ToAgent(n, _) => parts.desks.hear(&mut parts.messages, self.hosts[*n], message).dealt_with,
            Message::ToCoordinator(n, _) => {
                !self.leaders.is_empty()
                    && self.leaders.iter().all(|leader| {
                        let judged = parts.cores.judge(leader.upgrade, leader.epoch, Told::Said(message));
                        // A deposed leader learns by it what it learns anyway.
                        let nothing =
                            judged == Judged::Nothing || leader.epoch < self.epoch && judged != Judged::Unknown;
                        nothing
                            && self.acknowledgement(parts, *n, leader.epoch, message).is_none_or(|acknowledgement| {
                                parts.desks.hear(&mut parts.messages, self.hosts[*n], acknowledgement).dealt_with
                            })
                    })
            }
        }
    }
}
