//! What goes into one append: as many inputs as fit, and never a part of an input's facts.

use cutover_core::upgrade::{Decision, Happened, Input, Upgrade, decide};
use cutover_store::{MAX_BATCH_BYTES, MAX_FACT_BYTES};
use cutover_vocabulary::fact::{Cause, Settlement};
use cutover_vocabulary::order::Epoch;
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::{Digest, Failure, Now, Outcome, Recorded};

/// Most facts of one batch: etcd takes 128 operations in one transaction.
pub(crate) const MAX_FACTS: usize = 128;

/// Most inputs that are judged together.
const MAX_INPUTS: usize = 256;

/// What one append stores.
#[derive(Debug)]
pub(crate) struct Draft {
    /// How many inputs it answers.
    pub(crate) inputs: usize,
    /// Why each changed nothing, if so.
    pub(crate) rejected: Vec<Option<cutover_core::upgrade::Rejected>>,
    /// To be applied once they are stored.
    pub(crate) facts: Vec<Happened>,
    /// The same, sealed.
    pub(crate) sealed: Vec<Recorded>,
    /// The hash of the last one; of the fact before where there are none.
    pub(crate) hash: Digest,
    /// Whether the upgrade goes on by itself after this.
    pub(crate) more: bool,
}

/// A single input, or a single step of the machine itself, is larger than a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Decides over the longest prefix of the inputs whose facts fit one batch. What the upgrade would do by itself
/// afterwards may be cut off: it does it again next time.
pub(crate) fn draft(
    upgrade: &Upgrade,
    hash: Digest,
    epoch: Epoch,
    now: Now,
    inputs: &[Input],
) -> Result<Draft, TooLarge> {
    let mut count = inputs.len().min(MAX_INPUTS);
    loop {
        let Some(prefix) = inputs.get(..count) else { return Err(TooLarge) };
        let Decision { mut facts, rejected } = decide(upgrade, epoch, now, prefix);
        let (sealed, hash) = seal(upgrade.seq(), hash, &facts);
        let more = sealed.len() < facts.len();
        if !more || (!sealed.is_empty() && by_itself(upgrade, epoch, now, &facts, sealed.len())) {
            facts.truncate(sealed.len());
            return Ok(Draft { inputs: count, rejected, facts, sealed, hash, more });
        }
        if count <= 1 {
            return Err(TooLarge);
        }
        count /= 2;
    }
}

/// Seals facts until the batch is full. What the machine itself does next may be larger, and is then a batch of its own: an order that
/// names some thousand ledgers. What an agent says may not.
fn seal(mut seq: u64, mut hash: Digest, facts: &[Happened]) -> (Vec<Recorded>, Digest) {
    let mut sealed = Vec::new();
    let mut bytes = 0;
    for fact in facts.iter().take(MAX_FACTS) {
        seq += 1;
        let recorded = fact.clone().seal(seq, hash);
        // Serialising our own plain data cannot fail; if it ever did, the store would refuse the fact.
        let text = serde_json::to_vec(&recorded).unwrap_or_default();
        bytes += text.len() + 1;
        let alone = sealed.is_empty() && fact.by == Cause::Machine && text.len() <= MAX_FACT_BYTES;
        if bytes > MAX_BATCH_BYTES && !alone {
            break;
        }
        hash = Digest::of(&text);
        sealed.push(recorded);
    }
    (sealed, hash)
}

/// Whether what lies behind `cut` is exactly what the upgrade would do by itself after what lies before it.
fn by_itself(upgrade: &Upgrade, epoch: Epoch, now: Now, facts: &[Happened], cut: usize) -> bool {
    let Some((before, behind)) = facts.split_at_checked(cut) else { return false };
    let mut draft = upgrade.clone();
    before.iter().for_each(|fact| draft.apply(fact));
    decide(&draft, epoch, now, &[]).facts == behind
}

/// What stands in for an answer of an agent that is larger than a batch: it is known that it was answered, and what
/// there is to see lies on the host.
pub(crate) fn stand_in(input: &Input) -> Option<Input> {
    let failure = || Failure {
        kind: FailureKind::Failed,
        message: format!("the agent's answer is larger than the {MAX_BATCH_BYTES} bytes that can be stored at once"),
        remedy: "look at the order's folder on the agent's host; the whole answer is in its journal".to_owned(),
        effect: Effect::Unknown,
    };
    match input {
        Input::Outcome { agent, order, .. } => {
            let (agent, order) = (agent.clone(), order.clone());
            Some(Input::Outcome { agent, order, outcome: Outcome::Failed(failure()) })
        }
        Input::Revoked { agent, order, .. } => {
            let (agent, order) = (agent.clone(), order.clone());
            Some(Input::Revoked { agent, order, settlement: Settlement::Stopped(failure()) })
        }
        Input::Asked { .. }
        | Input::Refused { .. }
        | Input::Observed { .. }
        | Input::Appeared { .. }
        | Input::Silent { .. }
        | Input::Heard { .. }
        | Input::TakenOver { .. }
        | Input::Tick => None,
    }
}

#[cfg(test)]
#[allow(clippy::all, clippy::wildcard_enum_match_arm, reason = "the core's test support, checked there")]
#[path = "../../core/tests/support/mod.rs"]
mod host;

#[cfg(test)]
mod tests {
    use super::host::{self, Play, Seen, honest, now};
    use super::*;
    use cutover_core::upgrade::start;
    use cutover_vocabulary::storage::Difference;
    use cutover_vocabulary::{Elapsed, Evidence, Phase, UpgradeId, outcome, storage};

    fn large() -> Play {
        let names: Vec<&'static str> = (0..300).map(|n| &*format!("i{n:03}").leak()).collect();
        Play::start(Seen { instances: names, ..Seen::default() }.plan_without_blocks())
    }

    #[test]
    fn a_stage_with_more_orders_than_a_batch_takes_is_opened_in_several_batches() {
        let play = large();
        let first = start(play.upgrade.plan().clone(), None, host::operator(), host::request(0), Epoch(1), now(0));
        let mut upgrade = Upgrade::begin(UpgradeId::new("prod-1").unwrap(), &first).unwrap();
        let whole = decide(&upgrade, Epoch(1), now(1), &[]).facts;
        let (mut hash, mut stored, mut batches) = (Digest::of(b"first"), Vec::new(), 0);
        loop {
            let draft = draft(&upgrade, hash, Epoch(1), now(1), &[]).unwrap();
            if draft.facts.is_empty() {
                break;
            }
            assert!(draft.facts.len() <= MAX_FACTS);
            assert_eq!(draft.sealed[0].prev, hash);
            draft.facts.iter().for_each(|fact| upgrade.apply(fact));
            (hash, batches) = (draft.hash, batches + 1);
            stored.extend(draft.facts);
        }
        assert!(batches > 2 && stored == whole, "{batches} batches");
    }

    #[test]
    fn no_input_is_lost_or_judged_twice_when_its_facts_do_not_fit_with_the_others() {
        let play = large();
        let outcomes: Vec<Input> = play
            .orders()
            .into_iter()
            .map(|(order, _)| {
                let outcome = Outcome::Done(honest(play.upgrade.plan(), &order, now(0).wall));
                Input::Outcome { agent: order.agent, order: order.id, outcome }
            })
            .collect();
        assert_eq!(outcomes.len(), 300);
        let (mut upgrade, mut left, mut hash) = (play.upgrade.clone(), &outcomes[..], Digest::of(b""));
        while !left.is_empty() {
            let draft = draft(&upgrade, hash, Epoch(1), now(20), left).unwrap();
            assert!(draft.inputs > 0 && draft.sealed.len() <= MAX_FACTS && draft.sealed.len() >= draft.inputs);
            draft.facts.iter().for_each(|fact| upgrade.apply(fact));
            hash = draft.hash;
            left = &left[draft.inputs..];
        }
        assert_eq!(upgrade.phase(), Some(Phase::Stage));
    }

    #[test]
    fn an_order_that_names_thousands_of_ledgers_is_a_batch_of_its_own() {
        let names: Vec<(&'static str, u64)> = (0..6_000).map(|n| (&*format!("{n:060}").leak(), 0)).collect();
        let plan = Seen { ledgers: names, ..Seen::default() }.plan_without_blocks();
        let mut play = Play::start(plan);
        let order = play.until(|play, _| play.upgrade.phase() == Some(Phase::Stage)).unwrap();
        let outcome = Outcome::Done(honest(play.upgrade.plan(), &order, now(0).wall));
        let staged = Input::Outcome { agent: order.agent, order: order.id, outcome };
        let (mut upgrade, mut hash, mut inputs) = (play.upgrade.clone(), Digest::of(b""), vec![staged]);
        let mut largest = 0;
        while upgrade.phase() != Some(Phase::Rehearse) || upgrade.orders().next().is_none() {
            let draft = draft(&upgrade, hash, Epoch(1), now(play.millis), &inputs).unwrap();
            draft.facts.iter().for_each(|fact| upgrade.apply(fact));
            hash = draft.hash;
            inputs.drain(..draft.inputs);
            let bytes = draft.sealed.iter().map(|fact| serde_json::to_vec(fact).unwrap().len());
            largest = largest.max(bytes.sum::<usize>());
        }
        assert!((MAX_BATCH_BYTES..MAX_FACT_BYTES).contains(&largest), "{largest}");
    }

    #[test]
    fn an_answer_that_is_larger_than_a_batch_becomes_a_failure_that_says_so() {
        let mut play = Play::start(Seen::default().plan());
        let order = play.until_phase(Phase::Rehearse);
        let difference = Difference {
            section: storage::Section::Postings,
            row: "x".repeat(300_000),
            before: None,
            after: None,
            class: None,
        };
        let evidence = Evidence::Rehearsed(outcome::Rehearsal {
            took: vec![(host::ledger("main"), Elapsed(1))],
            differences: vec![(host::ledger("main"), difference)],
            difference_count: 1,
            migrations: std::collections::BTreeMap::new(),
        });
        let input = Input::Outcome { agent: order.agent, order: order.id, outcome: Outcome::Done(evidence) };
        let hash = Digest::of(b"");
        assert_eq!(draft(&play.upgrade, hash, Epoch(1), now(99), std::slice::from_ref(&input)).unwrap_err(), TooLarge);
        let stand_in = stand_in(&input).unwrap();
        let draft = draft(&play.upgrade, hash, Epoch(1), now(99), &[stand_in]).unwrap();
        assert_eq!(draft.sealed[0].fact.kind(), "step-failed");
    }
}
