//! Takes one upgrade to its end, breaks something at each place that still lacks a fault, and decides as a person would.

use super::points::{Coverage, Direction, Here, Place, place};
use super::{Driven as _, Fault};
use crate::bed::UNDER_WAY;
use crate::checks::{check_facts, check_migrations};
use crate::until;
use cutover_vocabulary::fact::{Ending, Fact, Recorded};
use cutover_vocabulary::hold::{Choice, Hold, HoldReason};
use cutover_vocabulary::phase::Stage;
use cutover_vocabulary::status::{LedgerStatus, Status};
use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

/// How long one upgrade may take, with everything that is done to it.
const DEADLINE: Duration = Duration::from_secs(300);

/// How long a coordinator may take to answer after whatever was done last: another one may have to lead first.
const TOLD_WITHIN: Duration = Duration::from_secs(30);

/// A way through the stages, and what happens on it.
pub struct Way<'a> {
    /// The stages at which something is broken.
    pub stages: &'a [Stage],
    /// Which way they lead.
    pub direction: Direction,
    /// At which stage a person asks for the way back, where the way is one back.
    pub turn: Option<Stage>,
}

/// One upgrade, with what was done to it.
struct Drive<'a, F> {
    way: &'a Way<'a>,
    upgrade: String,
    facts: Vec<Recorded>,
    done: Vec<(i64, Here, F)>,
    turned: bool,
}

/// From plan to end. How it ended; everything that must hold of its facts held.
pub fn drive<F: Fault>(bed: &mut F::On, way: &Way<'_>, coverage: &mut Coverage<F>) -> Status {
    let mut drive = Drive { way, upgrade: bed.begin(), facts: Vec::new(), done: Vec::new(), turned: false };
    let begun = Instant::now();
    while !drive.ended() {
        assert!(begun.elapsed() < DEADLINE, "it takes longer than {DEADLINE:?}\n{}", drive.story(bed));
        drive.look(bed, coverage);
    }
    drive.check(bed, coverage)
}

fn millis() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

impl<F: Fault> Drive<'_, F> {
    fn ended(&self) -> bool {
        self.facts.iter().any(|recorded| matches!(recorded.fact, Fact::Ended { .. }))
    }

    fn look(&mut self, bed: &mut F::On, coverage: &mut Coverage<F>) {
        bed.revive();
        let Ok(news) = bed.voice().facts_after(&self.upgrade, self.facts.len() as u64) else { return };
        let quiet = news.is_empty();
        self.facts.extend(news);
        if self.turn(bed) {
            return;
        }
        let here = place(self.way.stages, self.way.direction, &self.facts, millis());
        let fault = here.as_ref().filter(|here| !self.was(here));
        let fault = fault.and_then(|here| Some((here, coverage.wanted(here, &self.tried())?)));
        if let Some((here, fault)) = fault {
            let mut begun = 0;
            fault.happen(bed, &mut || begun = millis());
            self.done.push((begun, here.clone(), fault));
        } else if quiet && self.holds() {
            self.decide(bed);
        } else if quiet {
            // Several looks within the time that anything is under way, and no load of its own.
            std::thread::sleep(UNDER_WAY / 6);
        }
    }

    /// Whether it waits for a person.
    fn holds(&self) -> bool {
        let held = self.facts.iter().filter(|recorded| matches!(recorded.fact, Fact::Held { .. }));
        let over = |fact: &Fact| matches!(fact, Fact::HoldDecided { .. } | Fact::HoldLifted { .. });
        held.count() > self.facts.iter().filter(|recorded| over(&recorded.fact)).count()
    }

    /// Something happened here already.
    fn was(&self, here: &Here) -> bool {
        self.done.iter().any(|(_, there, _)| there == here)
    }

    /// What was tried where, in time or too late.
    fn tried(&self) -> BTreeSet<(Place, F::Kind)> {
        self.done.iter().flat_map(|(_, here, fault)| here.places.iter().map(|place| (*place, fault.kind()))).collect()
    }

    /// Asks for the way back, once its moment has come.
    fn turn(&mut self, bed: &F::On) -> bool {
        let come = |turn: &Stage| {
            self.facts
                .iter()
                .any(|recorded| matches!(&recorded.fact, Fact::StageEntered { stage, .. } if stage == turn))
        };
        if self.turned || !self.way.turn.as_ref().is_some_and(come) {
            return false;
        }
        bed.voice().go_back(&self.upgrade, true).unwrap();
        self.turned = true;
        true
    }

    /// Decides what it holds for: to try again, as what was broken is whole again.
    fn decide(&self, bed: &F::On) {
        let Ok(status) = bed.voice().status(&self.upgrade) else { return };
        for hold in &status.holds {
            self.check_reason(bed, hold);
            let choice = [Choice::Retry, Choice::Wait].into_iter().find(|choice| hold.offers(*choice));
            let choice = choice.unwrap_or_else(|| panic!("nothing to try: {hold:?}\n{}", self.story(bed)));
            // Another hold's answer may have lifted it.
            let _ = bed.voice().decide(&self.upgrade, hold.id.0, choice);
        }
    }

    /// A hold says truly what was done.
    fn check_reason(&self, bed: &F::On, hold: &Hold) {
        let HoldReason::StepFailed { failure, .. } = &hold.reason else {
            panic!("nobody broke that: {hold:?}\n{}", self.story(bed));
        };
        assert!(self.is_true(&failure.message), "that was not done: {failure:?}\n{}", self.story(bed));
    }
    fn is_true(&self, text: &str) -> bool {
        self.done.iter().flat_map(|(_, _, fault)| fault.truth()).any(|words| text.contains(words))
    }

    /// What must hold at the end. Counts what was met: a fault that came when its place was over is none.
    fn check(self, bed: &F::On, coverage: &mut Coverage<F>) -> Status {
        check_facts(&self.facts);
        check_migrations(&self.facts);
        for (begun, here, fault) in &self.done {
            let there = place(self.way.stages, self.way.direction, &self.facts, *begun);
            if there.as_ref().is_some_and(|there| there.places == here.places && there.stage == here.stage) {
                coverage.met(here, *fault);
            }
        }
        let status = until("where it stands is told", TOLD_WITHIN, || bed.voice().status(&self.upgrade).ok());
        let wanted = if self.way.turn.is_some() { Ending::RolledBack } else { Ending::Completed };
        let ending = self.facts.iter().find_map(|recorded| match &recorded.fact {
            Fact::Ended { ending, .. } => Some(*ending),
            _ => None,
        });
        // Before a border that leads back without loss, a step that fails turns it back by itself; then it says why.
        let why = status.turned_back.clone().unwrap_or_default();
        let by_itself = !self.turned && ending == Some(Ending::Aborted) && self.is_true(&why);
        assert!(ending == Some(wanted) || by_itself, "{ending:?}, turned back by {why:?}\n{}", self.story(bed));
        println!("{}", self.story(bed).lines().next().unwrap_or_default());
        status
    }

    /// What was done, and where it stands, for whoever reads a failure.
    fn story(&self, bed: &F::On) -> String {
        let done: Vec<String> =
            self.done.iter().map(|(_, here, fault)| format!("{fault} {}", here.places[0])).collect();
        let status = bed.voice().status(&self.upgrade);
        let stands = status
            .map(|status| format!("{:?}, waits for {:?}, holds {:#?}", status.state, status.waiting_for, status.holds));
        format!("done: {}\n{stands:?}\n{}", done.join("; "), bed.logs())
    }
}

/// The rows that a completed upgrade lost.
pub fn lost(status: &Status) -> BTreeSet<String> {
    let rows = |ledger: &LedgerStatus| {
        let name = ledger.name.clone();
        let rows: Vec<String> =
            ledger.lost.rows.iter().map(|row| format!("{name}: {} {}", row.target, row.key)).collect();
        rows
    };
    status.ledgers.iter().flat_map(rows).collect()
}
