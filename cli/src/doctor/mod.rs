//! `cutover doctor`: what is missing on this host for what Cutover does here. Looks, and changes nothing.
//!
//! `GROUPS` is the list of all that is looked at, one file a group; `host` is what the looks are given, `page` how it is
//! shown. Without an agent's settings the host is one for trials, where the sandbox runs; with them it is an agent's.

mod agent;
mod coordinator;
mod disk;
mod host;
mod instances;
mod kernel;
mod page;
mod postgres;
mod sandbox;

use crate::Context;
use crate::args::DoctorArgs;
use crate::exit::Exit;
use crate::trouble::Trouble;
use host::Host;
use serde::Serialize;

/// Everything that is looked at, in the order of the page.
const GROUPS: [Group; 7] = [
    Group { title: "Kernel", here: |_| true, checks: kernel::CHECKS },
    Group { title: "Disk", here: |_| true, checks: disk::CHECKS },
    Group {
        title: "PostgreSQL client programs",
        here: |host| host.for_trials() || host.uses_postgres(),
        checks: postgres::CHECKS,
    },
    Group { title: "Sandbox", here: Host::for_trials, checks: sandbox::CHECKS },
    Group { title: "Coordinator", here: |_| true, checks: coordinator::CHECKS },
    Group { title: "Agent", here: |host| !host.for_trials(), checks: agent::CHECKS },
    Group { title: "Instances", here: |host| host.agent().is_some(), checks: instances::CHECKS },
];

/// What belongs together.
#[derive(Debug, Clone, Copy)]
struct Group {
    title: &'static str,
    /// Whether it is about what Cutover does here.
    here: fn(&Host) -> bool,
    checks: &'static [Check],
}

/// One thing to look at.
#[derive(Debug, Clone, Copy)]
struct Check {
    name: &'static str,
    /// Why it is needed.
    why: &'static str,
    /// One verdict for each place or instance that it is about; none where it is about nothing here.
    look: fn(&Host) -> Vec<Verdict>,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// It is there.
    Well(String),
    /// It is needed and not there.
    Missing(Lack),
    /// It may be needed and is not there.
    Warning(Lack),
}

/// What is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lack {
    /// What was found instead.
    found: String,
    /// How to get it.
    remedy: String,
}

impl Verdict {
    fn well(found: impl Into<String>) -> Self {
        Self::Well(found.into())
    }
    fn missing(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Missing(Lack { found: found.into(), remedy: remedy.into() })
    }
    fn warning(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Warning(Lack { found: found.into(), remedy: remedy.into() })
    }
    /// Missing where it is needed here, a warning elsewhere.
    fn lacking(needed: bool, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        if needed { Self::missing(found, remedy) } else { Self::warning(found, remedy) }
    }
}

/// What a line says at its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Missing,
    Warning,
}
impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Warning => "warning",
        }
    }
}

/// A line of the answer; one JSON object each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Line {
    group: &'static str,
    check: &'static str,
    state: State,
    found: String,
    why: &'static str,
    remedy: Option<String>,
}

/// Looks at this host.
///
/// # Errors
/// When the answer cannot be written as JSON.
pub async fn command(context: &Context, args: &DoctorArgs) -> Result<Exit, Trouble> {
    let host = Host::of(context, args).await;
    // Programs are run and disks are asked: nobody else waits for this runtime.
    let lines = lines(&host);
    context.screen.page(&page::page(&lines, context.screen.ink));
    lines.iter().try_for_each(|line| context.screen.value(line))?;
    Ok(exit(&lines))
}

fn lines(host: &Host) -> Vec<Line> {
    let groups = GROUPS.iter().filter(|group| (group.here)(host));
    let checks = groups.flat_map(|group| group.checks.iter().map(|check| (group.title, check)));
    let of = |(group, check): (&'static str, &Check)| {
        let Check { name, why, look } = *check;
        look(host).into_iter().map(move |verdict| {
            let (state, found, remedy) = match verdict {
                Verdict::Well(found) => (State::Ok, found, None),
                Verdict::Missing(lack) => (State::Missing, lack.found, Some(lack.remedy)),
                Verdict::Warning(lack) => (State::Warning, lack.found, Some(lack.remedy)),
            };
            Line { group, check: name, state, found, why, remedy }
        })
    };
    checks.flat_map(of).collect()
}

fn exit(lines: &[Line]) -> Exit {
    if lines.iter().any(|line| line.state == State::Missing) { Exit::Error } else { Exit::Done }
}

#[cfg(test)]
mod tests;
