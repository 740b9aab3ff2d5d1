//! Coordinators: elected, killed, deposed.

use super::{Leader, Parts, State};
use crate::cores::{Judged, Told};
use cutover_vocabulary::Epoch;

impl State {
    pub(super) fn leading(&self) -> Option<usize> {
        self.leaders.iter().position(|leader| leader.epoch == self.epoch)
    }

    pub(super) fn coordinators(&self, parts: &mut Parts, all: &mut Vec<Self>) {
        let Some(leading) = self.leading() else {
            all.push(self.changed(|state| state.elect(parts)));
            return;
        };
        if !self.stored.finished() {
            // A lease runs out while its holder lives; a second one at a time is enough.
            if self.leaders.len() == 1 {
                all.extend(self.crashed(|state| state.elect(parts)));
            }
            all.extend(self.crashed(|state| _ = state.leaders.remove(leading)));
            self.silence(parts, leading, all);
        }
        for n in (0..self.leaders.len()).filter(|n| *n != leading) {
            // One that was deposed learns it in the end, which is no crash.
            all.push(self.changed(|state| _ = state.leaders.remove(n)));
        }
    }

    fn silence(&self, parts: &mut Parts, leading: usize, all: &mut Vec<Self>) {
        let Some(silences) = self.bounds.silences.checked_sub(1) else { return };
        for told in [Told::Silent(0), Told::Silent(1), Told::Late] {
            let mut state = self.clone();
            state.bounds.silences = silences;
            if matches!(state.hear(parts, leading, told), Some(Judged::News(_))) {
                all.push(state);
            }
        }
    }

    fn elect(&mut self, parts: &mut Parts) {
        self.epoch = Epoch(self.epoch.0 + 1);
        let upgrade = parts.cores.led_by(self.stored, self.epoch);
        self.leaders.push(Leader { epoch: self.epoch, upgrade });
        let n = self.leaders.len() - 1;
        self.hear(parts, n, Told::Elected);
    }

    /// A coordinator decides and stores. None: it leads no more, and is gone.
    pub(super) fn hear(&mut self, parts: &mut Parts, n: usize, told: Told) -> Option<Judged> {
        let Leader { epoch, upgrade } = self.leaders[n];
        let judged = parts.cores.judge(upgrade, epoch, told);
        if let Judged::News(after) = judged {
            if epoch != self.epoch {
                // I1: the store refuses it.
                self.leaders.remove(n);
                return None;
            }
            self.stored = after;
            self.leaders[n].upgrade = after;
        }
        Some(judged)
    }

    /// Nobody hears one that was deposed once nobody is linked to it, and what it writes is refused.
    pub(super) fn leave_the_deposed(&mut self) {
        let Self { leaders, hosts, epoch, .. } = self;
        leaders.retain(|leader| leader.epoch == *epoch || hosts.iter().any(|host| host.to == leader.epoch));
    }
}
