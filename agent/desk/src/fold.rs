//! How entries become what the desk knows, and what may be forgotten again.

use crate::desk::Desk;
use crate::known::{Known, Revoke};
use crate::{Entry, REMEMBERED_UPGRADES};
use cutover_vocabulary::{DeploymentName, OrderId, UpgradeId};
use std::collections::BTreeMap;

/// How many upgrades of one deployment are kept whole, the newest ones. Only the newest can be under way, so a deployment
/// that is held for months is never forgotten; the others are kept for answers to repeated messages, for people who ask
/// what was done on this host, and because 8 of them stay well below a megabyte.
pub const KEPT_UPGRADES: usize = 8;

impl Desk {
    /// Total, without judgement: an entry that does not fit what is known changes nothing.
    pub(crate) fn fold(&mut self, entry: &Entry) {
        if let Some(upgrade) = entry.upgrade()
            && !self.upgrades.contains(upgrade)
            && !self.forgotten.contains(upgrade)
        {
            self.upgrades.push(upgrade.clone());
        }
        match entry {
            Entry::Epoch(epoch) => self.epoch = self.epoch.max(*epoch),
            Entry::Accepted(order) => {
                let content = order.content();
                self.orders.entry(order.id.clone()).or_insert_with(|| Known::InHand {
                    order: order.clone(),
                    content,
                    revoked: false,
                });
            }
            Entry::Revoked(id) => match self.orders.get_mut(id) {
                None => {
                    self.orders.insert(id.clone(), Known::NeverBegun { acknowledged: false });
                }
                Some(Known::NeverBegun { .. }) => {}
                Some(Known::InHand { revoked, .. }) => *revoked = true,
                Some(Known::Finished { revoke, .. }) => {
                    if matches!(revoke, Revoke::Never) {
                        *revoke = Revoke::Afterwards;
                    }
                }
            },
            Entry::Finished { order: id, outcome } => {
                if let Some(Known::InHand { order, content, revoked }) = self.orders.get(id) {
                    let finished = Known::Finished {
                        deployment: order.deployment.clone(),
                        content: *content,
                        outcome: outcome.clone(),
                        revoke: if *revoked { Revoke::WhileInHand } else { Revoke::Never },
                        acknowledged: false,
                    };
                    self.orders.insert(id.clone(), finished);
                }
            }
            Entry::Acknowledged(id) => match self.orders.get_mut(id) {
                None | Some(Known::InHand { .. }) => {}
                Some(Known::NeverBegun { acknowledged } | Known::Finished { acknowledged, .. }) => {
                    *acknowledged = true;
                }
            },
            Entry::TakenOver { upgrade, note } => {
                self.taken_over.entry(upgrade.clone()).or_insert_with(|| note.clone());
            }
            Entry::Forgotten(upgrade) => {
                self.orders.retain(|id, _| id.upgrade != *upgrade);
                self.upgrades.retain(|other| other != upgrade);
                if !self.forgotten.contains(upgrade) {
                    self.forgotten.push_back(upgrade.clone());
                }
                while self.forgotten.len() > REMEMBERED_UPGRADES {
                    self.forgotten.pop_front();
                }
            }
        }
    }

    /// Upgrades that are over here and older than the newest [`KEPT_UPGRADES`] of their deployment. What a person took
    /// over is never forgotten.
    pub(crate) fn forgettable(&self) -> Vec<UpgradeId> {
        let mut of: BTreeMap<Option<&DeploymentName>, Vec<&UpgradeId>> = BTreeMap::new();
        for upgrade in &self.upgrades {
            let deployment = self.orders_of(upgrade).find_map(|(_, known)| known.deployment());
            of.entry(deployment).or_default().push(upgrade);
        }
        of.into_values()
            .flat_map(|upgrades| {
                let old = upgrades.len().saturating_sub(KEPT_UPGRADES);
                upgrades.into_iter().take(old)
            })
            .filter(|upgrade| !self.taken_over.contains_key(upgrade))
            .filter(|upgrade| self.orders_of(upgrade).all(|(_, known)| known.settled()))
            .cloned()
            .collect()
    }

    pub(crate) fn orders_of(&self, upgrade: &UpgradeId) -> impl Iterator<Item = (&OrderId, &Known)> {
        self.orders.iter().filter(move |(id, _)| id.upgrade == *upgrade)
    }
}
