//! What goes into one append: as many inputs as fit, and never a part of an input's facts.

use cutover_core::upgrade::{Decision, Happened, Input, Upgrade, decide};
use cutover_store::MAX_BATCH_BYTES;
use cutover_vocabulary::fact::Settlement;
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

/// Seals facts until the batch is full.
fn seal(mut seq: u64, mut hash: Digest, facts: &[Happened]) -> (Vec<Recorded>, Digest) {
    let mut sealed = Vec::new();
    let mut bytes = 0;
    for fact in facts.iter().take(MAX_FACTS) {
        seq += 1;
        let recorded = fact.clone().seal(seq, hash);
        // Serialising our own plain data cannot fail; if it ever did, the store would refuse the fact.
        let text = serde_json::to_vec(&recorded).unwrap_or_default();
        bytes += text.len() + 1;
        if bytes > MAX_BATCH_BYTES {
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
        | Input::Silent { .. }
        | Input::Heard { .. }
        | Input::TakenOver { .. }
        | Input::Tick => None,
    }
}
