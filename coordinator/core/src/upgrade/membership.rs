//! Who takes part: an instance that appears may join, one that is gone for good is excused. Membership changes only by
//! facts; a barrier holds over all who are members when it is reached.

use super::decide::Draft;
use super::holds;
use super::input::Rejected;
use super::settled::SettledBy;
use super::state::{StepState, Upgrade};
use cutover_vocabulary::fact::{Cause, Fact};
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::instance::{InstanceReport, RunState};
use cutover_vocabulary::outcome::Inspection;
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::plan::{Binding, Member};
use cutover_vocabulary::storage::{Driver, RecoveryItem};
use cutover_vocabulary::survey::LockStrategy;
use cutover_vocabulary::{AgentName, InstanceName, OrderId, Phase, Subject, Timestamp};
use std::sync::Arc;

impl Draft {
    /// An instance of this deployment that is no member was seen: it may write, and nothing here would notice. A person
    /// says whether it joins.
    ///
    /// On the way back it does not join: before the migration it is one more instance on the former version, and after it
    /// only one that runs is in the way.
    ///
    /// Beside a rejoin others serve the target, by the plan or come since, and hosts come back one after the other: only an
    /// instance that answers with another release is in the way.
    pub(super) fn appeared(&mut self, agent: &AgentName, report: &InstanceReport) {
        let upgrade = &self.upgrade;
        let instance = &report.instance;
        let asked = upgrade.holds.values().any(|hold| is_question_about(&hold.reason, instance));
        let known = upgrade.members.contains_key(instance) || upgrade.joining.contains_key(instance) || asked;
        let elsewhere = report.deployment != upgrade.plan.binding.deployment;
        if known || elsewhere || upgrade.finished() || upgrade.taken_over() {
            return;
        }
        let runs = matches!(report.run, RunState::Running { .. });
        if upgrade.going_back() && !(runs && upgrade.crossed(Border::MigrateAuthorised)) {
            return;
        }
        let target = &upgrade.plan.binding.target.version;
        if upgrade.rejoins() && report.running.as_ref().is_none_or(|running| running == target) {
            return;
        }
        let version = match &report.running {
            Some(version) => format!(", and answers as {version}"),
            None => String::new(),
        };
        let reason = HoldReason::InstanceAppeared {
            instance: instance.clone(),
            agent: agent.clone(),
            seen: format!("it is {}{version}", report.run),
        };
        let phase = upgrade.phase().unwrap_or(Phase::Preflight);
        self.hold(Cause::Agent(agent.clone()), reason, phase);
    }

    /// Lets an instance go, for good. What its agent was asked about it counts as settled from then on, by a person's word;
    /// that nobody of it is on the storage, the next round of attestations has to show like of any stranger.
    pub(super) fn excuse(
        &mut self,
        by: Cause,
        instance: &InstanceName,
        reason: &str,
        evidence: &str,
    ) -> Result<(), Rejected> {
        if self.upgrade.taken_over() {
            return Err(Rejected::NothingToDo("a person took it over on a host: `close` ends it"));
        }
        if reason.trim().is_empty() || evidence.trim().is_empty() {
            return Err(Rejected::NoEvidence(instance.clone()));
        }
        let successor = self.upgrade.may_excuse(instance)?;
        let again = self.upgrade.begins_again_without(instance, successor.is_some());
        let (reason, evidence) = (reason.to_owned(), evidence.to_owned());
        self.happen(by, Fact::MemberExcused { instance: instance.clone(), reason, evidence });
        if let Some(agent) = successor {
            self.happen(Cause::Machine, Fact::RunnerChosen { agent });
        }
        if let Some(number) = again {
            self.enter_again(number);
        }
        self.end_without_members();
        Ok(())
    }

    /// A rejoin whose last instance has gone has nothing left to bring in. It ends, for the deployment is not free before.
    fn end_without_members(&mut self) {
        if !self.upgrade.members.is_empty() || self.upgrade.going_back() {
            return;
        }
        if self.upgrade.paused.is_some() {
            self.happen(Cause::Machine, Fact::Resumed);
        }
        if let Some(stages) = self.upgrade.way_back_now() {
            let why = "every instance that was to be brought in has been excused".to_owned();
            self.happen(Cause::Machine, Fact::TurnedBack { why, stages });
        }
    }

    /// Enters a stage once more.
    pub(super) fn enter_again(&mut self, number: u16) {
        if let Some(state) = self.upgrade.stages.get(usize::from(number)) {
            let (run, stage) = (state.run + 1, state.stage);
            self.happen(Cause::Machine, Fact::StageEntered { number, run, stage });
        }
    }

    /// The inspection of an instance that was let in: it is a member from here on.
    pub(super) fn joined(&mut self, subject: &Subject, found: &Inspection) {
        if let Subject::Instance(instance) = subject
            && self.upgrade.joining.contains_key(instance)
            && let Ok(member) = self.upgrade.newcomer(instance, found)
        {
            self.happen(Cause::Machine, Fact::MemberJoined { instance: instance.clone(), member });
        }
    }
}

/// Whether a hold asks whether this instance joins.
fn is_question_about(reason: &HoldReason, instance: &InstanceName) -> bool {
    matches!(reason, HoldReason::InstanceAppeared { instance: appeared, .. } if appeared == instance)
}

impl Upgrade {
    /// Who takes part now.
    pub fn members(&self) -> &std::collections::BTreeMap<InstanceName, Member> {
        &self.members
    }
    /// Who touches the storage now.
    pub fn runner(&self) -> &AgentName {
        &self.runner
    }
    /// Who speaks for an instance here: a member, one that joins, or one that a hold asks about.
    pub fn agent_for(&self, instance: &InstanceName) -> Option<AgentName> {
        let asked = self.holds.values().find_map(|hold| {
            if let HoldReason::InstanceAppeared { instance: appeared, agent, .. } = &hold.reason
                && appeared == instance
            {
                Some(agent)
            } else {
                None
            }
        });
        let member = self.members.get(instance).map(|member| &member.agent);
        member.or_else(|| self.joining.get(instance)).or(asked).cloned()
    }
    /// Whether an agent takes part: it speaks for a member or for one that joins, runs the storage work, or has an order.
    pub fn concerns(&self, agent: &AgentName) -> bool {
        self.runner == *agent
            || self.members.values().any(|member| member.agent == *agent)
            || self.joining.values().any(|joining| joining == agent)
            || self.orders.values().any(|open| open.order.agent == *agent)
    }
    /// The same, or it did when the upgrade was started: something of the upgrade may be on its host.
    pub fn ever_concerned(&self, agent: &AgentName) -> bool {
        self.concerns(agent) || self.plan.binding.members.values().any(|member| member.agent == *agent)
    }

    /// Whether any instance may have been stopped.
    pub(super) fn drain_begun(&self) -> bool {
        self.stages.iter().any(|state| state.stage.phase == Phase::Drain && state.run > 0)
    }

    /// What no order may have changed, of all that the plan names.
    pub(super) fn untouched(&self) -> impl Iterator<Item = RecoveryItem> {
        let ledgers = self.plan.binding.ledgers.keys().cloned().map(RecoveryItem::Ledger);
        ledgers.chain([RecoveryItem::System]).filter(|item| !self.touched.contains_key(item))
    }

    /// What an instance that joins is taken as; or why it cannot be one.
    ///
    /// Until traffic is let in it must run a version that a member runs: a newer one may have migrated the storage by its
    /// first request, and no way back would know a version of it to go back to.
    pub(super) fn newcomer(&self, instance: &InstanceName, found: &Inspection) -> Result<Member, String> {
        let Some(agent) = self.joining.get(instance) else { return Err(format!("{instance} was not let in")) };
        let Some(version) = found.running.as_ref().or(found.on_disk.as_ref()) else {
            return Err(format!("the version of {instance} cannot be told: nothing answers and no binary is there"));
        };
        let Binding { target, one_writer, redis_lock, .. } = &self.plan.binding;
        if *one_writer {
            return Err(format!("{instance} would be a second writer, and {} bears only one", target.version));
        }
        if *redis_lock && found.lock != Some(LockStrategy::Redis) {
            let each = format!("of {} several may write only where each has the redis lock", target.version);
            return Err(format!("{instance} does not have `lock-strategy: redis`, and {each}"));
        }
        let Some(binary) = found.binary else { return Err(format!("{instance} has no binary that would start")) };
        let former = self.plan.binding.members.values().any(|member| member.version == *version);
        let target = (self.past_return() || self.rejoins()) && *version == self.plan.binding.target.version;
        if !former && !target {
            return Err(format!("{instance} appeared with {version}, which no member ran when the plan was made"));
        }
        Ok(Member { agent: agent.clone(), version: version.clone(), binary, settings: found.settings })
    }

    /// The steps of a stage. Once clients are let in, what is done for a member that joined since touches nothing else.
    pub(super) fn subjects(&self, phase: Phase) -> Vec<Subject> {
        let mut subjects = super::phases::rules(phase).subjects(self);
        if self.past_return() {
            let target = &self.plan.binding.target.version;
            subjects.retain(|subject| match (subject, phase) {
                (Subject::Instance(name), Phase::Open) => {
                    self.up.get(name).is_none_or(|(_, version)| version != target)
                }
                // A closed copy shows what the first of all start shows; clients have shown it by now.
                (Subject::Instance(_), Phase::StartClosed | Phase::Verify) => false,
                (Subject::Instance(name), _) => self.latecomers.contains(name) || self.joining.contains_key(name),
                (Subject::Ledger(_) | Subject::Storage, _) => false,
            });
        }
        subjects
    }

    /// Whether this instance may go; and who is the runner then, if its agent is and speaks for nobody else.
    fn may_excuse(&self, instance: &InstanceName) -> Result<Option<AgentName>, Rejected> {
        let asked = self.holds.values().any(|hold| is_question_about(&hold.reason, instance));
        let Some(member) = self.members.get(instance) else {
            let known = asked || self.joining.contains_key(instance);
            return if known { Ok(None) } else { Err(Rejected::NoSuchMember(instance.clone())) };
        };
        let others = || self.members.iter().filter(|(name, _)| *name != instance);
        if others().next().is_none() {
            // Nothing waits for a rejoin: the others serve, and the storage is not touched.
            return if self.rejoins() { Ok(None) } else { Err(Rejected::LastMember(instance.clone())) };
        }
        if member.agent != self.runner || others().any(|(_, other)| other.agent == self.runner) {
            return Ok(None);
        }
        let needed = |why| Err(Rejected::RunnerNeeded { agent: self.runner.clone(), why });
        let restores = match self.rolling() {
            // Rolling, nothing is restored; but what is being migrated or compared is compared with what lies there.
            true => matches!(self.phase(), Some(Phase::Migrate | Phase::Prove)),
            false => !self.crossed(Border::OpenAuthorised),
        };
        if !self.touched.is_empty() && restores {
            return needed("the storage may have been changed, and what restores it lies on its host");
        }
        match self.plan.binding.storage.driver() {
            Driver::Sqlite => return needed("the storage is files on its host"),
            Driver::Postgres => {}
        }
        let staged = others()
            .find(|(name, _)| self.staged.get(*name).is_some_and(|staged| staged.release == self.plan.binding.target));
        let rehearsed = self.stages.iter().any(|state| state.stage.phase == Phase::Rehearse && state.run > 0);
        let successor = if rehearsed { staged } else { staged.or_else(|| others().next()) };
        match successor {
            Some((_, other)) => Ok(Some(other.agent.clone())),
            None => needed("no other member's host has the target release"),
        }
    }

    /// The stage with which the upgrade begins again when this instance has gone, if it cannot just go on: what was kept
    /// lies on the former runner's host, or the closed copy was this instance's.
    fn begins_again_without(&self, instance: &InstanceName, other_runner: bool) -> Option<u16> {
        if self.going_back() || self.past_return() {
            return None;
        }
        let closed = !self.rolling() && self.first_instance().contains(&Subject::Instance(instance.clone()));
        match self.phase()? {
            Phase::Secure | Phase::Migrate if other_runner => self.round_of(Phase::Secure),
            Phase::StartClosed | Phase::Verify if closed => self.round_of(Phase::StartClosed),
            Phase::Preflight
            | Phase::Stage
            | Phase::Rehearse
            | Phase::Drain
            | Phase::ConfirmDrained
            | Phase::Secure
            | Phase::Migrate
            | Phase::Prove
            | Phase::Switch
            | Phase::StartClosed
            | Phase::Verify
            | Phase::Open
            | Phase::Bake
            | Phase::Restore
            | Phase::SwitchBack
            | Phase::Reopen => None,
        }
    }

    /// Whether an agent has carried out an order of this upgrade: the first that it answers with something to keep.
    pub fn was_answered_by(&self, agent: &AgentName) -> bool {
        let answered = |name| self.served.contains_key(name) || self.staged.contains_key(name);
        self.members.iter().any(|(name, member)| member.agent == *agent && answered(name))
    }

    /// Whether it was proved down, and no order has let it in again since.
    pub fn was_drained(&self, instance: &InstanceName) -> bool {
        self.drained.contains_key(instance)
    }

    /// Whether an instance was let in after the start.
    pub fn came_later(&self, instance: &InstanceName) -> bool {
        self.joined.contains(instance)
    }

    // ---- the folds

    pub(super) fn fold_joined(&mut self, instance: &InstanceName, member: &Member) {
        self.joining.remove(instance);
        Arc::make_mut(&mut self.members).insert(instance.clone(), member.clone());
        self.joined.insert(instance.clone());
        if self.past_return() {
            self.latecomers.insert(instance.clone());
        }
    }

    pub(super) fn fold_excused(&mut self, instance: &InstanceName, at: Timestamp) {
        let subject = Subject::Instance(instance.clone());
        let agent =
            self.members.get(instance).map(|member| &member.agent).or_else(|| self.joining.get(instance)).cloned();
        Arc::make_mut(&mut self.members).remove(instance);
        self.joining.remove(instance);
        self.latecomers.remove(instance);
        self.drained.remove(instance);
        self.stopping.remove(instance);
        self.staged.remove(instance);
        self.up.remove(instance);
        // An agent that speaks for nobody any more has nothing of this upgrade in hand either.
        let speaks = |agent: &AgentName| {
            self.members.values().any(|member| member.agent == *agent)
                || self.joining.values().any(|other| other == agent)
        };
        let gone = agent.filter(|agent| !speaks(agent));
        let settled: Vec<OrderId> = self
            .orders
            .iter()
            .filter(|(id, open)| id.step.subject == subject || gone.as_ref() == Some(&open.order.agent))
            .map(|(id, _)| id.clone())
            .collect();
        for id in &settled {
            self.settle_order(id, SettledBy::Person);
            self.set_step(id, StepState::Open { failed: id.attempt }, at);
        }
        self.remove_step(&subject, at);
        self.holds.retain(|_, hold| !holds::ends_with(&hold.reason, instance, gone.as_ref()));
    }

    pub(super) fn fold_runner(&mut self, agent: &AgentName) {
        self.runner = agent.clone();
        self.storage = None;
        self.void_points();
    }

    /// What was kept of what nothing has changed yet can be kept anew, and is no recovery point any more.
    pub(super) fn void_points(&mut self) {
        let Self { points, touched, .. } = self;
        points.retain(|item, _| touched.contains_key(item));
    }
}
