//! The contract suite: each measured behaviour of the ledger as one named check of a given binary, real or simulated. It looks at
//! the outside only (command line, HTTP, tables through the database), so a difference between the simulator and the real ledger is one
//! failing line.

mod command_line;
mod forms;
mod http;
mod pairs;
mod place;
mod postgres;
mod process;
mod sqlite;
mod subject;

pub use place::{Place, Server};
pub use subject::{Number, Subject};

use crate::storage::Driver;
use subject::Home;

use std::fmt::Display;

/// What is looked at.
#[derive(Debug)]
pub struct Bench {
    /// The binary under test.
    pub subject: Subject,
    /// An older binary, for what happens to its storages.
    pub from: Option<Subject>,
    /// Another binary from 1.3.2 on, older or the same, for what happens between the two; without it nothing of that is asked.
    pub beside: Option<Subject>,
    /// Where their storages are.
    pub place: Place,
}

impl Bench {
    /// A home with a storage of its own.
    pub(crate) fn home(&self) -> Step<Home> {
        Home::new(&self.place)
    }

    pub(crate) fn driver(&self) -> Driver {
        self.place.driver()
    }

    /// A binary of 1.3.1 or earlier, for what becomes of its storages in one that migrates them.
    pub(crate) fn older(&self) -> Step<&Subject> {
        only_if(self.subject.has_storage_commands())?;
        match &self.from {
            Some(from) if from.has_storage_commands() => {
                Err(Verdict::Skipped(format!("--from-bin is {}, and the check needs 1.3.1 or earlier", from.version)))
            }
            Some(from) => Ok(from),
            None => Err(Verdict::Skipped("needs --from-bin with a binary of 1.3.1 or earlier".to_owned())),
        }
    }
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As expected.
    Holds,
    /// The release has no such behaviour; only where that is a fact about it.
    NotApplicable,
    /// Something that the check needs is not there.
    Skipped(String),
    /// Not as expected.
    Differs {
        /// What the facts say.
        expected: String,
        /// What was seen.
        saw: String,
    },
}

/// What a check's steps return on the way: anything but [`Verdict::Holds`] ends it.
pub(crate) type Step<T = ()> = Result<T, Verdict>;

/// One behaviour.
#[derive(Clone, Copy)]
pub struct Check {
    /// The promise.
    pub name: &'static str,
    look: fn(&Bench) -> Step,
}

/// What is asked of two releases from 1.3.2 on, where a bench has a second one.
#[must_use]
pub fn checks_of_pairs(driver: Driver) -> Vec<Check> {
    match driver {
        Driver::Sqlite => pairs::UPGRADES.to_vec(),
        Driver::Postgres => [pairs::UPGRADES, pairs::SIDE_BY_SIDE].concat(),
    }
}

/// The checks of answers and storage, without those of the command line and the process, which are the same on both drivers.
#[must_use]
pub fn checks_of_storage(driver: Driver) -> Vec<Check> {
    let of_the_driver = match driver {
        Driver::Sqlite => sqlite::checks(),
        Driver::Postgres => postgres::checks(),
    };
    [http::CHECKS, forms::CHECKS, &of_the_driver].concat()
}

/// Every check of a driver, in the order they run.
#[must_use]
pub fn checks(driver: Driver) -> Vec<Check> {
    let of_the_driver = match driver {
        Driver::Sqlite => sqlite::checks(),
        Driver::Postgres => postgres::checks(),
    };
    [command_line::CHECKS, http::CHECKS, forms::CHECKS, process::CHECKS, &of_the_driver].concat()
}

impl Check {
    /// Looks.
    #[must_use]
    pub fn run(&self, bench: &Bench) -> Verdict {
        match (self.look)(bench) {
            Ok(()) => Verdict::Holds,
            Err(verdict) => verdict,
        }
    }
}

/// How a whole run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Checks that hold.
    pub passed: u32,
    /// Checks that differ.
    pub failed: u32,
    /// Checks that could not run.
    pub skipped: u32,
}

/// Runs every check whose name contains `filter` and reports each as one line; those of pairs too, where there is a second binary.
pub fn run(bench: &Bench, filter: &str, report: impl FnMut(&str)) -> Tally {
    let mut all = checks(bench.driver());
    if bench.beside.is_some() {
        all.extend(checks_of_pairs(bench.driver()));
    }
    run_these(bench, all, filter, report)
}

/// Runs these of the checks, as [`run`] does.
pub fn run_these(
    bench: &Bench,
    checks: impl IntoIterator<Item = Check>,
    filter: &str,
    mut report: impl FnMut(&str),
) -> Tally {
    let mut tally = Tally::default();
    for check in checks.into_iter().filter(|check| check.name.contains(filter)) {
        let name = check.name;
        match check.run(bench) {
            Verdict::Holds => {
                tally.passed += 1;
                report(&format!("ok {name}"));
            }
            Verdict::NotApplicable => report(&format!("not applicable to this release {name}")),
            Verdict::Skipped(why) => {
                tally.skipped += 1;
                report(&format!("SKIPPED {name}: {why}"));
            }
            Verdict::Differs { expected, saw } => {
                tally.failed += 1;
                report(&format!("FAILED {name}: expected {}, saw {}", one_line(&expected), one_line(&saw)));
            }
        }
    }
    tally
}

fn one_line(text: &str) -> String {
    let text: String = text.chars().take(600).collect();
    text.escape_debug().to_string()
}

pub(crate) fn expect(holds: bool, expected: impl Display, saw: impl Display) -> Step {
    if holds { Ok(()) } else { Err(Verdict::Differs { expected: expected.to_string(), saw: saw.to_string() }) }
}

pub(crate) fn same<T: PartialEq + std::fmt::Debug>(saw: T, expected: T) -> Step {
    expect(saw == expected, format!("{expected:?}"), format!("{saw:?}"))
}

pub(crate) fn only_if(applies: bool) -> Step {
    if applies { Ok(()) } else { Err(Verdict::NotApplicable) }
}

/// A failure of the bench itself shows as a difference, with what was tried.
pub(crate) fn tried<T, E: Display>(what: impl Display, result: Result<T, E>) -> Step<T> {
    result.map_err(|error| Verdict::Differs { expected: format!("to {what}"), saw: error.to_string() })
}
