//! Volumes as they are counted, in the words of both drivers.

use super::Stored;
use crate::model::{CommitVolumes, Draft, Posting, Volume};
use crate::storage::StoreError;
use serde_json::{Map, Value, json};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// An account and an asset.
pub(super) type Place = (String, String);

/// What a commit knows of volumes: each is read once, then counted on.
#[derive(Clone, Debug, Default)]
pub(super) struct Counting {
    known: BTreeMap<Place, Volume>,
}

impl Counting {
    /// Goes on from volumes that are kept in memory.
    pub(super) fn from(known: BTreeMap<Place, Volume>) -> Self {
        Self { known }
    }

    /// What is known now.
    pub(super) fn known(self) -> BTreeMap<Place, Volume> {
        self.known
    }

    fn get(&mut self, place: &Place, read: &mut impl FnMut(&Place) -> Stored<Volume>) -> Stored<Volume> {
        if let Some(known) = self.known.get(place) {
            return Ok(*known);
        }
        let volume = read(place)?;
        self.known.insert(place.clone(), volume);
        Ok(volume)
    }

    /// Refuses a draft that takes more than there is.
    pub(super) fn funded(
        &mut self,
        index: usize,
        draft: &Draft,
        mut read: impl FnMut(&Place) -> Stored<Volume>,
    ) -> Stored<()> {
        for (place, needed) in draft.needs() {
            let volume = self.get(&place, &mut read)?;
            if volume.input - volume.output < needed {
                return Err(StoreError::InsufficientFund { index, asset: place.1 });
            }
        }
        Ok(())
    }

    /// Moves a draft's money; the volumes before and after, of every account and asset it names.
    pub(super) fn moved(
        &mut self,
        postings: &[Posting],
        mut read: impl FnMut(&Place) -> Stored<Volume>,
    ) -> Stored<Moved> {
        let mut moved = Moved::default();
        for posting in postings {
            for account in [&posting.source, &posting.destination] {
                let place = (account.clone(), posting.asset.clone());
                if let Entry::Vacant(before) = moved.before.entry(place) {
                    let volume = self.get(before.key(), &mut read)?;
                    before.insert(volume);
                }
            }
        }
        for posting in postings {
            let Posting { source, destination, amount, asset } = posting;
            self.known.entry((source.clone(), asset.clone())).or_default().output += amount;
            self.known.entry((destination.clone(), asset.clone())).or_default().input += amount;
        }
        let after = |place: &Place| self.known.get(place).copied().unwrap_or_default();
        moved.after = moved.before.keys().map(|place| (place.clone(), after(place))).collect();
        Ok(moved)
    }
}

/// Volumes before and after a transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Moved {
    pub(super) before: BTreeMap<Place, Volume>,
    pub(super) after: BTreeMap<Place, Volume>,
}

impl Moved {
    /// As a transaction carries them.
    pub(super) fn shown(&self) -> CommitVolumes {
        CommitVolumes { pre: by_account(&self.before), post: by_account(&self.after) }
    }
}

/// `{"bank":{"USD/2":{"input":1,"output":0,"balance":1}}}`.
fn by_account(volumes: &BTreeMap<Place, Volume>) -> Value {
    let mut accounts = Map::new();
    for ((account, asset), volume) in volumes {
        let Volume { input, output } = volume;
        let shown = json!({ "input": input, "output": output, "balance": input - output });
        if let Some(assets) = accounts.entry(account.clone()).or_insert_with(|| json!({})).as_object_mut() {
            assets.insert(asset.clone(), shown);
        }
    }
    Value::Object(accounts)
}

/// The volumes that the migration writes onto a transaction that is there. Where one account receives two assets, one of them gets
/// `"output": null`.
pub(super) fn filled(counting: &mut Counting, postings: &[Posting]) -> Stored<CommitVolumes> {
    let mut shown = counting.moved(postings, |_| Ok(Volume::default()))?.shown();
    let received: BTreeSet<(&str, &str)> =
        postings.iter().map(|posting| (posting.destination.as_str(), posting.asset.as_str())).collect();
    let mut seen = BTreeSet::new();
    for (account, asset) in received {
        if !seen.insert(account)
            && let Some(volume) = shown.post.get_mut(account).and_then(|assets| assets.get_mut(asset))
        {
            volume["output"] = Value::Null;
        }
    }
    Ok(shown)
}
