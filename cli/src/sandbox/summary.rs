//! What a sandbox's run came to: told from what the API says and what its client saw, nothing assumed.

mod page;

use super::http::Ledger;
use super::place::Sandbox;
use super::tally::{self, Tally};
use super::writer::{self, Write};
use crate::client::Client;
use crate::exit::Exit;
use crate::render::stages;
use crate::trouble::Trouble;
use cutover_vocabulary::fact::Fact;
use cutover_vocabulary::phase::Phase;
use cutover_vocabulary::plan::Approval;
use cutover_vocabulary::status::{State, Status};
use cutover_vocabulary::{Digest, Elapsed, InstanceName, LedgerName};
use serde::Serialize;
use std::collections::BTreeSet;

/// Everything that a summary says.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Summary {
    /// Whether the ledger was the simulator.
    pub(super) simulated: bool,
    /// SHA-256 of the archives, former and target.
    pub(super) archives: [Digest; 2],
    /// The sandbox's folder.
    pub(super) dir: String,
    /// Whether it stays.
    pub(super) kept: bool,
    /// The storage, for people.
    pub(super) storage: String,
    /// The versions that answered over HTTP before.
    pub(super) version_before: Option<String>,
    /// The versions that answer over HTTP now; none when none answers.
    pub(super) version_after: Option<String>,
    /// Instance by instance.
    pub(super) instances: Vec<InstanceSummary>,
    /// How long the client got no answer; none when that was not seen in one run.
    pub(super) downtime: Option<Elapsed>,
    /// The stages between stop and answer, with how long each took.
    pub(super) critical_path: Vec<(Phase, Elapsed)>,
    /// What the client wrote and what is there; none when it could not be looked up.
    pub(super) writes: Option<Tally>,
    /// Ledger by ledger.
    pub(super) ledgers: Vec<LedgerSummary>,
    /// Under which approval.
    pub(super) approval: Option<Approval>,
    /// Where the upgrade stands.
    pub(super) status: Status,
}

/// One instance, asked over HTTP.
#[derive(Debug, Clone, Serialize)]
pub(super) struct InstanceSummary {
    /// Its name.
    pub(super) name: InstanceName,
    /// Where it answers.
    pub(super) address: String,
    /// The version that answered before.
    pub(super) before: Option<String>,
    /// The version that answers now; none when it does not.
    pub(super) after: Option<String>,
}

/// One ledger.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LedgerSummary {
    /// Its name.
    pub(super) name: LedgerName,
    /// Root of its digest before.
    pub(super) before: Option<Digest>,
    /// What it had to be after, if exactly the approved rows are lost.
    pub(super) expected: Option<Digest>,
    /// Root of its digest after.
    pub(super) after: Option<Digest>,
}

/// Gathers it.
///
/// # Errors
/// [`Trouble`] when the API or the notes cannot be read. A ledger that does not answer is no error: it is said.
pub(super) async fn gather(sandbox: &Sandbox, client: &Client, status: Status, kept: bool) -> Result<Summary, Trouble> {
    let approval = client.facts(&status.id, 0).await?.into_iter().find_map(|recorded| match recorded.fact {
        Fact::Started { approval, .. } => approval,
        Fact::StageEntered { .. }
        | Fact::BorderCrossed { .. }
        | Fact::AttemptOpened { .. }
        | Fact::StepSucceeded { .. }
        | Fact::EvidenceRefused { .. }
        | Fact::StepFailed { .. }
        | Fact::RevokeAsked { .. }
        | Fact::Revoked { .. }
        | Fact::LateOutcome { .. }
        | Fact::Held { .. }
        | Fact::HoldDecided { .. }
        | Fact::HoldLifted { .. }
        | Fact::ProofVoided { .. }
        | Fact::MemberJoined { .. }
        | Fact::MemberExcused { .. }
        | Fact::RunnerChosen { .. }
        | Fact::TurnedBack { .. }
        | Fact::Paused
        | Fact::Resumed
        | Fact::Ended { .. }
        | Fact::Closed => None,
    });
    let writes = writer::read(&sandbox.writes())?;
    let mut instances = Vec::new();
    let mut answering = None;
    for (number, instance) in sandbox.instances().enumerate() {
        let after = instance.ledger.version().await;
        if after.is_some() {
            answering = answering.or(Some(&instance.ledger));
        }
        instances.push(InstanceSummary {
            name: instance.name.clone(),
            address: instance.ledger.address.clone(),
            before: sandbox.state.before.get(number).cloned(),
            after,
        });
    }
    let tally = match answering {
        Some(ledger) => Some(look_up(sandbox, ledger, &writes).await?),
        None => None,
    };
    let ledgers = status.ledgers.iter().map(|ledger| LedgerSummary {
        name: ledger.name.clone(),
        before: ledger.before,
        expected: ledger.point.as_ref().and_then(|point| point.expected.as_ref()).map(|digest| digest.root()),
        after: ledger.after,
    });
    Ok(Summary {
        simulated: sandbox.state.simulated,
        archives: sandbox.state.archives,
        dir: sandbox.dir.display().to_string(),
        kept,
        storage: sandbox.storage(),
        version_before: each_once(instances.iter().map(|instance| instance.before.as_deref())),
        version_after: each_once(instances.iter().map(|instance| instance.after.as_deref())),
        instances,
        downtime: tally::downtime(&writes),
        critical_path: critical_path(&status),
        writes: tally,
        ledgers: ledgers.collect(),
        approval,
        status,
    })
}

/// Versions, each once.
fn each_once<'a>(versions: impl Iterator<Item = Option<&'a str>>) -> Option<String> {
    let versions: BTreeSet<&str> = versions.flatten().collect();
    (!versions.is_empty()).then(|| versions.into_iter().collect::<Vec<_>>().join(", "))
}

async fn look_up(sandbox: &Sandbox, at: &Ledger, writes: &[Write]) -> Result<Tally, Trouble> {
    let first = sandbox.state.seeded.as_ref().and_then(|seeded| seeded.first()).map_or(0, |(_, count)| *count);
    Ok(Tally::of(writes, &writer::there(at, first).await?))
}

/// Every stage from the first stop to the last answer.
fn critical_path(status: &Status) -> Vec<(Phase, Elapsed)> {
    let down = status.stages.iter().skip_while(|stage| stage.stage.phase != Phase::Drain);
    down.filter_map(|stage| Some((stage.stage.phase, stages::took(stage)?))).collect()
}

impl Summary {
    /// Done only when the upgrade is, and every acknowledged write exists exactly once.
    pub(super) fn exit(&self) -> Exit {
        match &self.writes {
            Some(tally) if !tally.right() => Exit::Error,
            None if self.status.state == State::Completed => Exit::Error,
            Some(_) | None => Exit::of_upgrade(&self.status),
        }
    }
}
