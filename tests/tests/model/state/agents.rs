//! Agents: started, linked, killed; and their work.

use super::{Parts, State};
use crate::desks::{After, Reaction};
use crate::host::{Around, Trouble};
use crate::message::Message;
use cutover_vocabulary::phase::Border;

impl State {
    pub(super) fn agents(&self, parts: &mut Parts, n: usize, all: &mut Vec<Self>) {
        let host = self.hosts[n];
        if !host.alive {
            let reaction = parts.desks.boot(&mut parts.messages, n, host);
            all.push(self.changed(|state| state.becomes(n, &reaction.whole)));
            return;
        }
        if !self.stored.finished() {
            all.extend(self.crashed(|state| {
                let dead = parts.desks.die(&mut parts.messages, n, host);
                state.agent_dies(n, &After { host: dead, said: Vec::new() });
            }));
        }
        for leader in 0..self.leaders.len() {
            let epoch = self.leaders[leader].epoch;
            if epoch == self.epoch && host.to != epoch {
                self.link(parts, n, leader, all);
            } else if let (true, Some(strays)) = (host.to > epoch, self.bounds.strays.checked_sub(1)) {
                // To one that was deposed and does not know. Its former link may stand still, and what it says comes over that.
                let strays = self.changed(|state| state.bounds.strays = strays);
                strays.link(parts, n, leader, all);
                let orders = parts.cores.orders(&mut parts.messages, self.leaders[leader].upgrade, epoch).to_vec();
                all.push(strays.changed(|state| {
                    orders.into_iter().filter(|order| order.agent() == n).for_each(|order| state.say(order));
                }));
            }
        }
        for at in 0..host.work.len() {
            self.perform(parts, n, at, all);
        }
    }

    /// Its link goes with it, and what was on its way to it.
    fn agent_dies(&mut self, n: usize, after: &After) {
        self.becomes(n, after);
        self.said.retain(|message| !matches!(&**message, Message::ToAgent(to, _) if *to == n));
    }

    /// What an agent does about something; or is killed between two of its actions.
    pub(super) fn reacts(&self, n: usize, reaction: &Reaction, all: &mut Vec<Self>) {
        for killed in &reaction.killed {
            all.extend(self.crashed(|state| state.agent_dies(n, killed)));
        }
        all.push(self.changed(|state| state.becomes(n, &reaction.whole)));
    }

    fn perform(&self, parts: &mut Parts, n: usize, at: usize, all: &mut Vec<Self>) {
        let other = self.hosts[1 - n];
        let around = Around {
            ledger: self.ledger,
            other_up: other.up(),
            other_serves: other.running,
            migrate_authorised: self.stored.crossed(Border::MigrateAuthorised),
            open_authorised: self.stored.crossed(Border::OpenAuthorised),
        };
        let work = &self.hosts[n].work.values().nth(at).unwrap().0.work;
        let troubles = Trouble::ALL.iter().filter(|trouble| self.bounds.troubles > 0 && trouble.befalls(work));
        for trouble in std::iter::once(None).chain(troubles.copied().map(Some)) {
            let Parts { desks, messages, .. } = parts;
            let of = (n, self.hosts[n], at);
            let performed = desks.perform(messages, of, around, trouble, self.stored.plan());
            let done = self.changed(|state| {
                state.bounds.troubles -= u8::from(trouble.is_some());
                state.ledger = performed.around.ledger;
            });
            all.extend(done.crashed(|state| {
                state.agent_dies(n, &After { host: performed.killed, said: Vec::new() });
            }));
            done.reacts(n, &performed.reaction, all);
        }
    }
}
