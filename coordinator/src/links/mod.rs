//! The links of agents under one leadership: who is connected, when each was heard, and what is to be said to it.
//!
//! What an agent is told is kept in an outbox by order, not in a queue of messages: it holds at most one entry an order,
//! so it is bounded by what stands, and it can be lost at any time, because a new link fills it again from the facts.

mod attach;
mod outbox;
mod own;
mod permits;
mod register;
mod standby;

pub(crate) use attach::Attach;
pub(crate) use outbox::{Next, Outbox};
pub(crate) use register::Claim;

use crate::upgrade_loop::Standing;
use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::link::Hello;
use cutover_vocabulary::survey::SurveyAsk;
use cutover_vocabulary::{AgentName, Elapsed, InstanceName, OrderId, RequestId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// Every agent that was heard under this leadership.
#[derive(Debug, Default)]
pub(crate) struct Links {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: u64,
    peers: BTreeMap<AgentName, Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    session: Option<Session>,
    heard: Option<(Elapsed, Timestamp)>,
    /// What the hello of its latest link named: it speaks for these also before its first report was taken.
    named: BTreeSet<InstanceName>,
    reports: BTreeMap<InstanceName, InstanceReport>,
}

/// One link that stands.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    number: u64,
    incarnation: String,
    machine: String,
    boot: String,
    pub(crate) outbox: Arc<Outbox>,
    /// Cancelled when another link took its place, or when it ended.
    pub(crate) over: CancellationToken,
}

/// Another agent is connected under this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameTaken {
    pub(crate) machine: String,
}

/// What is known of one agent, for people.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) connected: bool,
    pub(crate) heard: Option<Timestamp>,
    pub(crate) reports: BTreeMap<InstanceName, InstanceReport>,
}

impl Links {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below leaves whole values behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a link in. A second one of the same agent (same journal, same machine, not started anew meanwhile) takes the place of
    /// the first; of another one it is refused while the first is connected: two agents must never act under one name. A copy of a
    /// whole host has its journal and its machine id, and was started by itself: where the caller is not of this host (`remote`), a
    /// host that lost its power and is back is let in once its former link is seen to be dead.
    pub(crate) fn enter(&self, hello: &Hello, remote: bool, token: &CancellationToken) -> Result<Session, NameTaken> {
        let mut state = self.state();
        state.sessions += 1;
        let number = state.sessions;
        let peer = state.peers.entry(hello.agent.clone()).or_default();
        if let Some(present) = &peer.session {
            let same = present.incarnation == hello.incarnation
                && present.machine == hello.machine
                && (!remote || present.boot == hello.boot);
            if !same {
                return Err(NameTaken { machine: present.machine.clone() });
            }
            present.over.cancel();
        }
        let session = Session {
            number,
            incarnation: hello.incarnation.clone(),
            machine: hello.machine.clone(),
            boot: hello.boot.clone(),
            outbox: Arc::default(),
            over: token.child_token(),
        };
        peer.session = Some(session.clone());
        // Its hello names the instances that it speaks for now.
        peer.named = hello.instances.iter().map(|report| report.instance.clone()).collect();
        peer.reports.clear();
        Ok(session)
    }

    /// A link has ended.
    pub(crate) fn leave(&self, agent: &AgentName, session: &Session, at: (Elapsed, Timestamp)) {
        session.over.cancel();
        let mut state = self.state();
        if let Some(peer) = state.peers.get_mut(agent) {
            peer.heard = Some(at);
            if peer.session.as_ref().is_some_and(|present| present.number == session.number) {
                peer.session = None;
            }
        }
    }

    /// Something came from an agent; what it reports replaces what it reported before.
    pub(crate) fn heard(&self, agent: &AgentName, at: (Elapsed, Timestamp), reports: &[InstanceReport]) {
        let mut state = self.state();
        let peer = state.peers.entry(agent.clone()).or_default();
        peer.heard = Some(at);
        peer.reports.extend(reports.iter().map(|report| (report.instance.clone(), report.clone())));
    }

    pub(crate) fn is_connected(&self, agent: &AgentName) -> bool {
        self.state().peers.get(agent).is_some_and(|peer| peer.session.is_some())
    }

    /// Whether the agent is connected and speaks for this instance.
    pub(crate) fn speaks_for(&self, agent: &AgentName, instance: &InstanceName) -> bool {
        let state = self.state();
        let speaks = |peer: &Peer| peer.named.contains(instance) || peer.reports.contains_key(instance);
        state.peers.get(agent).is_some_and(|peer| peer.session.is_some() && speaks(peer))
    }

    /// When it was last heard, as a length of this leadership.
    pub(crate) fn last_heard(&self, agent: &AgentName) -> Option<Elapsed> {
        self.state().peers.get(agent).and_then(|peer| peer.heard).map(|(at, _)| at)
    }

    pub(crate) fn seen(&self, agent: &AgentName) -> Seen {
        let state = self.state();
        let Some(peer) = state.peers.get(agent) else { return Seen::default() };
        Seen {
            connected: peer.session.is_some(),
            heard: peer.heard.map(|(_, wall)| wall),
            reports: peer.reports.clone(),
        }
    }

    /// Whether all of these instances would start the same version, by what each was heard of under this leadership.
    pub(crate) fn agree_on_disk(&self, members: &BTreeMap<InstanceName, AgentName>) -> bool {
        let state = self.state();
        let on_disk = |(instance, agent): (&InstanceName, &AgentName)| {
            state.peers.get(agent).and_then(|peer| peer.reports.get(instance)?.on_disk.as_ref())
        };
        let mut versions = members.iter().map(on_disk);
        let first = versions.next().flatten();
        first.is_some() && versions.all(|version| version == first)
    }

    fn session(&self, agent: &AgentName) -> Option<Session> {
        self.state().peers.get(agent).and_then(|peer| peer.session.clone())
    }

    /// Gives an order, or its revoke, to its agent. Where the agent is not connected it waits in the facts.
    pub(crate) fn give(&self, standing: &Standing) {
        if let Some(session) = self.session(&standing.order.agent) {
            session.outbox.give(&standing.order.id);
        }
    }

    /// Tells an agent that what it said of an order is stored. Where the agent is not connected it says it again later.
    pub(crate) fn acknowledge(&self, agent: &AgentName, order: &OrderId) {
        if let Some(session) = self.session(agent) {
            session.outbox.acknowledge(order);
        }
    }

    /// Asks an agent for a survey; the token tells when its link ends. None where it is not connected.
    pub(crate) fn survey(&self, agent: &AgentName, request: &RequestId, ask: &SurveyAsk) -> Option<CancellationToken> {
        let session = self.session(agent)?;
        session.outbox.survey(request, ask);
        Some(session.over)
    }
}
