//! The points of a way through the stages, from the machine's own list, and which of them were met by what.

use super::Fault;
use crate::bed::UNDER_WAY;
use cutover_vocabulary::fact::{Fact, Recorded};
use cutover_vocabulary::phase::{Border, Phase, Stage};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

/// Where a fault begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the stage in front of a border.
    Before(Border),
    /// The border's fact is stored, and no agent can know of an order behind it.
    At(Border),
    /// Orders behind it have reached the agents.
    After(Border),
    /// Anywhere in a phase.
    In(Phase),
}
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(border) => write!(f, "before {border}"),
            Self::At(border) => write!(f, "at {border}"),
            Self::After(border) => write!(f, "after {border}"),
            Self::In(phase) => write!(f, "in {phase}"),
        }
    }
}

/// Every place of these stages.
pub fn places(stages: &[Stage]) -> BTreeSet<Place> {
    let borders = stages.iter().filter_map(|stage| stage.border);
    let sides = borders.flat_map(|border| [Place::Before(border), Place::At(border), Place::After(border)]);
    stages.iter().map(|stage| Place::In(stage.phase)).chain(sides).collect()
}

/// Where an upgrade stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// Which stage, and how often it was entered.
    pub stage: (u16, u16),
    /// What it is, the most special first; never empty.
    pub places: Vec<Place>,
}

/// The way whose points are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the target.
    Forward,
    /// To the former version.
    Back,
}

/// Where an upgrade stood at a moment in milliseconds, by its facts; none where it did not go that way.
pub fn place(stages: &[Stage], way: Direction, facts: &[Recorded], moment: i64) -> Option<Here> {
    let mut here: Option<(u16, u16, Stage)> = None;
    // The border that was crossed last, when, and which stage was entered by that.
    let mut border: Option<(Border, i64, Option<u16>)> = None;
    let mut crossed = BTreeSet::new();
    let mut direction = Direction::Forward;
    for recorded in facts.iter().take_while(|recorded| recorded.at.as_millis() <= moment) {
        match &recorded.fact {
            Fact::StageEntered { number, run, stage } => {
                here = Some((*number, *run, *stage));
                border = border.map(|(border, at, by)| (border, at, by.or(Some(*number))));
            }
            Fact::BorderCrossed { border: of } => {
                border = Some((*of, recorded.at.as_millis(), None));
                crossed.insert(*of);
            }
            Fact::TurnedBack { .. } => (here, direction) = (None, Direction::Back),
            Fact::Ended { .. } => here = None,
            _ => {}
        }
    }
    let (number, run, stage) = here.filter(|_| direction == way)?;
    let ahead = match way {
        Direction::Forward => stages.get(usize::from(number) + 1).and_then(|next| next.border),
        Direction::Back => None,
    };
    let under_way = i64::try_from(UNDER_WAY.as_millis()).unwrap_or(i64::MAX);
    let side = match (border, ahead) {
        (Some((of, at, Some(by))), _) if by == number => {
            Some(if moment - at > under_way { Place::After(of) } else { Place::At(of) })
        }
        // Behind a border that is crossed already, as every later wave is, there is no side of it any more.
        (_, Some(ahead)) if !crossed.contains(&ahead) => Some(Place::Before(ahead)),
        _ => None,
    };
    Some(Here { stage: (number, run), places: side.into_iter().chain([Place::In(stage.phase)]).collect() })
}

/// What was met.
#[derive(Debug)]
pub struct Coverage<F: Fault> {
    expected: BTreeSet<(Place, F::Kind)>,
    met: BTreeMap<(Place, F::Kind), u32>,
    whom: BTreeMap<F, u32>,
    /// How often each was tried, whether or not it came in time.
    tried: BTreeMap<F, u32>,
}
impl<F: Fault> Coverage<F> {
    /// Every kind at every place of these stages; every fault somewhere.
    pub fn of(stages: &[Stage], faults: &[F]) -> Self {
        let kinds: BTreeSet<F::Kind> = faults.iter().map(|fault| fault.kind()).collect();
        let expected =
            places(stages).into_iter().flat_map(|place| kinds.iter().map(move |kind| (place, *kind))).collect();
        let whom: BTreeMap<F, u32> = faults.iter().map(|fault| (*fault, 0)).collect();
        Self { expected, met: BTreeMap::new(), tried: whom.clone(), whom }
    }
    /// What is to happen here: a kind that this place has not met yet, also not in this upgrade. What each run of a stage met would keep
    /// an upgrade there for ever. Where there is none, one that came too late wherever it was tried: once a phase.
    pub fn wanted(&mut self, here: &Here, in_this_upgrade: &BTreeSet<(Place, F::Kind)>) -> Option<F> {
        let fault = self.unmet_here(here, in_this_upgrade).or_else(|| self.unmet_anywhere(here, in_this_upgrade))?;
        *self.tried.entry(fault).or_default() += 1;
        Some(fault)
    }
    fn unmet_here(&self, here: &Here, in_this_upgrade: &BTreeSet<(Place, F::Kind)>) -> Option<F> {
        let is_met = |point: &(Place, F::Kind)| self.met.contains_key(point) || in_this_upgrade.contains(point);
        let unmet = |place: &Place| -> Vec<F::Kind> {
            let kinds = self.expected.iter().filter(|point| point.0 == *place && !is_met(point));
            kinds.map(|(_, kind)| *kind).collect()
        };
        let kinds = here.places.iter().map(unmet).find(|kinds| !kinds.is_empty())?;
        // The kind that was tried least, so that every place of an upgrade meets another one, and whom it met least.
        let times = |kind: F::Kind| -> u32 {
            self.tried.iter().filter(|(fault, _)| fault.kind() == kind).map(|(_, times)| times).sum()
        };
        let kind = kinds.into_iter().min_by_key(|kind| times(*kind))?;
        self.least_tried(|fault| fault.kind() == kind)
    }
    /// The last of the places is the phase, in which such a kind happens once however often its stages are entered.
    fn unmet_anywhere(&self, here: &Here, in_this_upgrade: &BTreeSet<(Place, F::Kind)>) -> Option<F> {
        let place = *here.places.last()?;
        self.least_tried(|fault| self.whom.get(&fault) == Some(&0) && !in_this_upgrade.contains(&(place, fault.kind())))
    }
    fn least_tried(&self, wanted: impl Fn(F) -> bool) -> Option<F> {
        let tried = self.tried.iter().filter(|(fault, _)| wanted(**fault));
        tried.min_by_key(|(_, times)| **times).map(|(fault, _)| *fault)
    }
    /// It happened there.
    pub fn met(&mut self, here: &Here, fault: F) {
        for place in &here.places {
            *self.met.entry((*place, fault.kind())).or_default() += 1;
        }
        *self.whom.entry(fault).or_default() += 1;
    }
    /// How many points were met.
    pub fn points(&self) -> usize {
        self.met.len()
    }
    /// What must be met and was not.
    pub fn missing(&self) -> Vec<String> {
        let points = self.expected.iter().filter(|point| !self.met.contains_key(point));
        let points = points.map(|(place, kind)| format!("{kind:?} {place}"));
        let faults = self.whom.iter().filter(|(_, times)| **times == 0).map(|(fault, _)| format!("{fault} anywhere"));
        points.chain(faults).collect()
    }
}
/// A line a place, and one of whom it happened to.
impl<F: Fault> fmt::Display for Coverage<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: BTreeMap<Place, String> = BTreeMap::new();
        for ((place, kind), times) in &self.met {
            write!(lines.entry(*place).or_default(), " {kind:?} {times}")?;
        }
        for (place, line) in lines {
            writeln!(f, "  {:28}{line}", place.to_string())?;
        }
        let whom: Vec<String> = self.whom.iter().map(|(fault, times)| format!("{fault} {times}")).collect();
        write!(f, "  {}", whom.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::Driven;

    /// Of two kinds; the second of them happens to one of two.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    struct Numbered(u8);
    impl fmt::Display for Numbered {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "fault {}", self.0)
        }
    }
    impl Fault for Numbered {
        type Kind = bool;
        type On = dyn Driven;
        fn kind(self) -> bool {
            self.0 > 0
        }
        fn happen(self, _: &mut (dyn Driven + 'static), _: &mut dyn FnMut()) {}
        fn truth(self) -> &'static [&'static str] {
            &[]
        }
    }

    const STAGES: [Stage; 2] = [Stage::of(Phase::Rehearse), Stage::of(Phase::Drain)];

    /// One upgrade, in which whatever came in time is met; all that was tried.
    fn upgrade(coverage: &mut Coverage<Numbered>, in_time: impl Fn(Numbered) -> bool) -> Vec<(Phase, Numbered)> {
        let (mut tried, mut done, mut points) = (Vec::new(), Vec::new(), BTreeSet::new());
        // Every stage is entered three times.
        for (number, run) in [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)] {
            let phase = STAGES[usize::from(number)].phase;
            let here = Here { stage: (number, run), places: vec![Place::In(phase)] };
            let Some(fault) = coverage.wanted(&here, &points) else { continue };
            assert!(points.insert((here.places[0], fault.kind())), "one kind happens twice in a place of an upgrade");
            tried.push((phase, fault));
            done.push((here, fault));
        }
        for (here, fault) in done.iter().filter(|(_, fault)| in_time(*fault)) {
            coverage.met(here, *fault);
        }
        tried
    }

    #[test]
    fn a_fault_that_always_came_too_late_is_tried_in_every_phase_again_until_it_is_met() {
        let mut coverage = Coverage::of(&STAGES, &[0, 1, 2].map(Numbered));
        while coverage.missing() != ["fault 2 anywhere"] {
            assert!(!upgrade(&mut coverage, |fault| fault.0 < 2).is_empty(), "given up: {:?}", coverage.missing());
        }
        let again = [(Phase::Rehearse, Numbered(2)), (Phase::Drain, Numbered(2))];
        assert_eq!(upgrade(&mut coverage, |fault| fault.0 < 2), again);
        assert_eq!(upgrade(&mut coverage, |_| true), again);
        assert_eq!(coverage.missing(), [""; 0]);
        assert_eq!(upgrade(&mut coverage, |_| true), [], "nothing is wanted any more");
    }
}
