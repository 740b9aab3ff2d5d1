//! Arguments and variables of an instance that the target does not know. Measured: `--persist-config` and `--ledgers` worked up
//! to 1.3.1; a later release ends with `unknown flag` at every start, which a fleet finds out after the migration, on every host
//! at once. An unknown variable is worse to find: nothing says a word.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::name::shown;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let target = &case.ask.target;
    let mut findings = Vec::new();
    for (_, survey) in case.instances() {
        let mut about = |code, level, evidence: String, remedy: &str| {
            let subject = FindingSubject::Instance(survey.instance.clone());
            findings.push(finding(code, level, subject, Source::ThisHost, evidence, remedy));
        };
        let tried = match &survey.tried {
            None => continue,
            Some(Err(why)) => {
                about(
                    "target-does-not-run",
                    Level::Block,
                    format!("{target} could not be asked for its help here: {}", shown(why)),
                    "see that the release is built for this host, and that its state folder lets programs run",
                );
                continue;
            }
            Some(Ok(tried)) => tried,
        };
        if !tried.refused.is_empty() {
            let said = super::listed(tried.refused.iter().map(|text| shown(text).to_string()));
            about(
                "argument-unknown",
                Level::Block,
                format!("{target} does not start with this instance's arguments: {said}"),
                "take these out of the service's arguments, if the present version runs without them; plan again",
            );
        }
        if !tried.ignored.is_empty() {
            let names = super::listed(tried.ignored.iter().map(|name| shown(name).to_string()));
            about(
                "variable-ignored",
                Level::Approve,
                format!("{target} does not know variables that the present version knows, and ignores them: {names}"),
                "find out what each of them did; set what replaces it, then take it out of the service's environment",
            );
        }
    }
    findings
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[
    super::Page {
        code: "argument-unknown",
        title: "the target does not start with an instance's arguments",
        levels: &[Level::Block],
        sources: &[Source::ThisHost],
        means: "A flag that the target does not know ends its every start with `Error: unknown flag`. Done by hand this is \
         found out after the migration, on every host at once: `--persist-config` and `--ledgers` worked up to 1.3.1, \
         and no later release knows them.",
        found: "On each host the agent unpacks the target's verified archive into a folder of its own and runs it with the \
         instance's own arguments and `--help`, in an empty home, without a storage and without the service's \
         environment: flags are read before help is given, so it refuses what it would refuse at its start. Values \
         are left out, because arguments are visible to everybody; a value that only the target's start would refuse \
         is found by the rehearsal.",
        remedy: "Take the arguments out of the unit, restart the instance on the version that runs, see that it works, and \
         plan again. If the argument did something that you need, find what replaces it in the target's `server start \
         --help`.",
    },
    super::Page {
        code: "variable-ignored",
        title: "variables that the present version knows and the target ignores",
        levels: &[Level::Approve],
        sources: &[Source::ThisHost],
        means: "The ledger reads every variable `NUMARY_…` that belongs to one of its flags, and passes over the rest \
         without a word. A setting that the target has given up is silently off from the first start on. That is \
         harmless for `NUMARY_LEDGERS`, and not for one that kept strangers out.",
        found: "The agent asks the binary on disk and the target's for the flags of `server start`. Variables of the \
         service's environment that belong to a flag of the first and to none of the second are named; their values \
         are not looked at. Flags that a release hides but still takes are known by name.",
        remedy: "For each name: find out what it did and what the target has instead, and set that. Approve when the rest may \
         go.",
    },
    super::Page {
        code: "target-does-not-run",
        title: "the target's binary cannot be run on a host",
        levels: &[Level::Block],
        sources: &[Source::ThisHost],
        means: "It would not start after the migration either.",
        found: "The agent could not unpack the target's binary in its state folder, or the binary did not print its help. \
         The evidence has its own words.",
        remedy: "Common causes: a release for another architecture, a state folder on a file system that is mounted `noexec`, \
         a full disk.",
    },
];
