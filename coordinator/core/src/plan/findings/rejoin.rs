//! Whether instances that were away can be brought to what the others run: nothing is migrated by it, so the target must be what
//! the deployment is to run, what the others run, and what the storage was migrated for.

use crate::catalogue::SideBySideResult;
use crate::plan::case::{Case, finding};
use cutover_vocabulary::InstanceName;
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::instance::RunState;
use cutover_vocabulary::survey::InstanceSurvey;

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    [target(case), members(case), others(case), storage(case), unseen(case)].concat()
}

fn refused(subject: FindingSubject, source: Source, evidence: String, remedy: String) -> Finding {
    finding("rejoin-refused", Level::Block, subject, source, evidence, remedy)
}

fn about(instance: &InstanceName) -> FindingSubject {
    FindingSubject::Instance(instance.clone())
}

fn deployment(case: &Case<'_>) -> FindingSubject {
    FindingSubject::Deployment(case.ask.deployment.clone())
}

fn upgrade(case: &Case<'_>) -> String {
    format!("plan an upgrade of the whole deployment: `cutover plan {} --to {}`", case.ask.deployment, case.ask.target)
}

/// The target is what the deployment is to run.
fn target(case: &Case<'_>) -> Vec<Finding> {
    let target = &case.ask.target;
    let (evidence, remedy) = match &case.ask.allowed {
        Some(allowed) if allowed == target => return Vec::new(),
        Some(allowed) => (
            format!("the deployment is to run {allowed}, as its latest upgrade left it, and not {target}"),
            format!("rejoin without naming a version; or {}", upgrade(case)),
        ),
        None => (
            "nothing says which release it is to run: no upgrade of it has ended, or a person finished the latest one by hand"
                .to_owned(),
            upgrade(case),
        ),
    };
    vec![refused(deployment(case), Source::ThisHost, evidence, remedy)]
}

/// Who is named is there and needs it; and who runs another release beside the others does harm as long as it does.
fn members(case: &Case<'_>) -> Vec<Finding> {
    let target = &case.ask.target;
    let mut findings = Vec::new();
    for name in case.ask.instances.iter().filter(|name| !case.registered.contains_key(*name)) {
        let remedy = format!("`cutover deployment show {}` lists them; or start its agent", case.ask.deployment);
        let evidence = "no agent speaks for an instance of that name in this deployment".to_owned();
        findings.push(refused(about(name), Source::ThisHost, evidence, remedy));
    }
    if case.ask.instances.is_empty() && case.registered.is_empty() {
        findings.push(refused(
            deployment(case),
            Source::ThisHost,
            format!("every instance that was looked at has {target} already, and none is fenced"),
            "nothing is to be done; one that is only stopped is started by its unit, or by naming it here".to_owned(),
        ));
    }
    for (_, survey) in case.instances() {
        let report = &survey.report;
        match (&report.run, &report.running) {
            (_, Some(running)) if running == target && report.fenced => {}
            (_, Some(running)) if running == target => findings.push(refused(
                about(&survey.instance),
                Source::ThisHost,
                format!("it runs {target} already, and is not fenced"),
                "leave it out".to_owned(),
            )),
            (_, Some(_)) | (RunState::Running { .. }, None) => findings.push(beside(case, survey)),
            (RunState::Stopped | RunState::Unknown { .. }, None) => {}
        }
    }
    findings
}

/// An instance that is to be brought in runs another release now.
fn beside(case: &Case<'_>, survey: &InstanceSurvey) -> Finding {
    let target = &case.ask.target;
    let mut source = Source::ThisHost;
    let evidence = match &survey.report.running {
        None => {
            format!("it is {} and does not answer, so nobody can tell which release works there", survey.report.run)
        }
        Some(running) => {
            let mut evidence = format!("it runs {running} beside instances that run {target}");
            let (old, new) = if running < target { (running, target) } else { (target, running) };
            if let Some(worst) = case.catalogue.worst_beside(old, new, case.locks())
                && let Some(harm) = worst.result.harm()
            {
                evidence.push_str(&format!("; of {old} beside {new} it is known ({}): {harm}", worst.source));
                match worst.result {
                    SideBySideResult::OldLosesWrites => evidence.push_str(": take it out of rotation NOW"),
                    SideBySideResult::Works
                    | SideBySideResult::OldDead
                    | SideBySideResult::AddressFiltersMissAccounts
                    | SideBySideResult::Conflict => {}
                }
                source = worst.source.source();
            }
            evidence
        }
    };
    let serve = |survey: &InstanceSurvey| survey.report.running.as_ref() == Some(target);
    let alone = match case.others.iter().flat_map(|host| &host.instances).any(serve) {
        true => "",
        false => "; no other instance serves meanwhile, so clients are shut out until it is done",
    };
    finding(
        "runs-beside-target",
        Level::Approve,
        about(&survey.instance),
        source,
        format!("{evidence}{alone}"),
        "stop it at once, whatever becomes of this plan, and look up what clients were answered by it; the rejoin stops it too",
    )
}

/// Whoever takes no part and serves runs the target.
fn others(case: &Case<'_>) -> Vec<Finding> {
    let target = &case.ask.target;
    let others = case.others.iter().flat_map(|host| &host.instances).filter_map(|survey| {
        let running = survey.report.running.as_ref().filter(|running| *running != target)?;
        Some(refused(
            about(&survey.instance),
            Source::ThisHost,
            format!("it takes no part in this rejoin, and runs {running}"),
            format!(
                "name it too, or stop it first; `cutover rejoin --deployment {}` takes every one",
                case.ask.deployment
            ),
        ))
    });
    others.collect()
}

/// The storage is the others', and what the target makes of it.
fn storage(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(storage) = case.storages().first().copied() else { return findings };
    for survey in case.others.iter().flat_map(|host| &host.instances) {
        if let Ok(theirs) = &survey.storage
            && theirs.identity != storage.identity
        {
            findings.push(refused(
                about(&survey.instance),
                Source::ThisHost,
                format!("it uses {}, and what is brought in uses {}", theirs.identity, storage.identity),
                "mend the settings of the one that is wrong, then rejoin".to_owned(),
            ));
        }
    }
    let Some(facts) = case.target() else { return findings };
    for ledger in &storage.ledgers {
        let after = facts.migrations_after(storage.identity.driver(), &ledger.migrations);
        let recorded = |number: &u32| ledger.migrations.0.iter().flatten().any(|known| known == number);
        let missing: Vec<String> =
            after.0.iter().flatten().filter(|number| !recorded(number)).map(ToString::to_string).collect();
        if !missing.is_empty() {
            findings.push(refused(
                FindingSubject::Ledger(ledger.name.clone()),
                Source::ThisStorage,
                format!(
                    "it does not record migration {} of {}, and a rejoin migrates nothing",
                    missing.join(", "),
                    case.ask.target
                ),
                format!("find out why it was left behind; then {}", upgrade(case)),
            ));
        }
    }
    findings
}

/// Of who is not seen nobody knows what it runs.
fn unseen(case: &Case<'_>) -> Vec<Finding> {
    let seen = |name: &InstanceName| {
        case.others.iter().flat_map(|host| &host.instances).any(|survey| survey.instance == *name)
    };
    let unseen = case.beside.iter().filter(|(name, _)| !seen(name)).map(|(name, agent)| {
        finding(
            "others-not-seen",
            Level::Approve,
            about(name),
            Source::ThisHost,
            format!("it takes no part in this rejoin, and agent {agent} did not answer for it: nobody knows what it runs"),
            format!(
                "see on its host that no former release works there, and that it has the same `lock-strategy` as the others; if it is gone for good: `cutover member excuse {} {name} \
                 --reason TEXT --evidence TEXT`",
                case.ask.deployment
            ),
        )
    });
    unseen.collect()
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[
    super::Page {
        code: "rejoin-refused",
        title: "instances cannot be brought to what the others run",
        levels: &[Level::Block],
        sources: &[Source::ThisHost, Source::ThisStorage],
        means: "`cutover rejoin` starts the release that the deployment is to run on a storage that has been migrated for it; it keeps \
                no recovery point and migrates nothing. So the target must be the release that the latest upgrade left, whoever \
                serves must run it, all must use one storage, and every ledger must record its migrations. Anything else is an \
                upgrade, or somebody's mistake that is looked at first.",
        found: "The release that the deployment is to run follows from the facts of its latest upgrade. Every agent that is connected \
                is asked what runs, what would start and which storage it is; the ledgers' recorded migrations are held against \
                what the catalogue knows of the target. Of a target that the catalogue does not know, nothing tells whether a \
                migration is missing.",
        remedy: "Do what the finding names: name the instance that was left out, stop one that runs something else, mend settings that \
                 lead elsewhere; or, where a migration is missing or no upgrade has ended yet, plan an upgrade of the whole deployment.",
    },
    super::Page {
        code: "runs-beside-target",
        title: "an instance that is to be brought in runs another release beside the others",
        levels: &[Level::Approve],
        sources: &[Source::ThisHost, Source::Measured],
        means: "It should be down: its release is not the one that the storage was migrated for. Some pairs of releases destroy what \
                clients write, and then the evidence says so: **stop it at once**, plan or no plan. The rejoin drains it like an \
                instance that rolls, and never starts that release again.",
        found: "The version that answers is compared with the release that the deployment is to run, and the pair is looked up in what \
                was measured with two releases on one PostgreSQL. One that runs and does not answer is named too.",
        remedy: "Stop its unit, find out who started it and since when, and look up what clients were answered by it. Then plan again, \
                 or approve that the rejoin stops it.",
    },
    super::Page {
        code: "others-not-seen",
        title: "nobody knows what another instance runs beside a rejoin",
        levels: &[Level::Approve],
        sources: &[Source::ThisHost],
        means: "It takes no part, so it is not in the way of bringing in the others. But if a former release works there, it works on \
                the same storage.",
        found: "The agents of all registered instances are asked; one that does not answer in time is named here.",
        remedy: "See on its host that no ledger works there, or that it runs what the others run, with their `lock-strategy`, then \
                 approve. If it is gone for good, \
                 let it go by name with `cutover member excuse`.",
    },
];
