//! `runbook`: what to do if Cutover itself cannot, for one upgrade as it stands; and the file that a start leaves behind.

use crate::Context;
use crate::args::RunbookArgs;
use crate::client::{Back, Client, GoBack};
use crate::exit::Exit;
use crate::render::runbook::{Book, page};
use crate::trouble::Trouble;
use cutover_vocabulary::fact::Fact;
use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::{InstanceName, UpgradeId};
use std::collections::BTreeMap;
use std::path::Path;

/// Prints the runbook, or writes it to a file.
///
/// # Errors
/// [`Trouble`]; when the file cannot be written.
pub async fn runbook(context: &Context, args: RunbookArgs) -> Result<Exit, Trouble> {
    let text = text(context, &context.client().await?, &args.upgrade).await?;
    match &args.out {
        Some(file) => {
            write(file, &text)?;
            context.screen.line(&format!("The runbook of upgrade {} is in {}.", args.upgrade, file.display()));
        }
        None => context.screen.page(&text),
    }
    context.screen.value(&serde_json::json!({ "runbook": text }))?;
    Ok(Exit::Done)
}

/// Leaves the runbook of an upgrade that was started, or stands still now, in the present folder. That it cannot be written is
/// said, and hinders nothing.
pub async fn leave(context: &Context, client: &Client, upgrade: &UpgradeId) {
    let file = Path::new(&format!("runbook-{upgrade}.txt")).to_owned();
    let left = match text(context, client, upgrade).await {
        Ok(text) => write(&file, &text),
        Err(error) => Err(error),
    };
    context.screen.line(&match left {
        Ok(()) => format!("If all else fails: {}, for paper.", file.display()),
        Err(error) => {
            format!("Its runbook could not be left here: {error}. Print it: {}", context.next.runbook(upgrade))
        }
    });
}

fn write(file: &Path, text: &str) -> Result<(), Trouble> {
    std::fs::write(file, text).map_err(|error| Trouble::failed(format!("cannot write {}", file.display()), error))
}

async fn text(context: &Context, client: &Client, upgrade: &UpgradeId) -> Result<String, Trouble> {
    let status = client.status(upgrade).await?;
    let plan = client.get_plan(&status.plan.to_string()).await?;
    let facts = client.facts(upgrade, 0).await?;
    let chosen = facts.iter().rev().find_map(|recorded| match &recorded.fact {
        Fact::RunnerChosen { agent } => Some(agent.clone()),
        Fact::Started { .. }
        | Fact::StageEntered { .. }
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
        | Fact::TurnedBack { .. }
        | Fact::Paused
        | Fact::Resumed
        | Fact::Ended { .. }
        | Fact::Closed => None,
    });
    // Of the two ways back, the one that it would be.
    let migrated =
        status.borders.iter().any(|(border, _)| matches!(border, Border::MigrateAuthorised | Border::OpenAuthorised));
    let what = GoBack { back: if migrated { Back::Rollback } else { Back::Abort }, reason: "", what_if: true };
    let book = Book {
        runner: chosen.unwrap_or_else(|| plan.binding.runner.clone()),
        storage: plan.binding.storage.clone(),
        as_of: facts.last().map_or(status.started.0, |recorded| recorded.at),
        back: client.go_back(upgrade, what).await?.what,
        seen: seen(client).await?,
        status,
    };
    Ok(page(&book, &context.next))
}

/// What the agents that are connected say of their instances.
async fn seen(client: &Client) -> Result<BTreeMap<InstanceName, InstanceReport>, Trouble> {
    let instances = client.instances().await?;
    let reports = instances.into_iter().filter(|instance| instance.connected).filter_map(|instance| instance.report);
    // What cannot be read is shown as not seen.
    let read = reports.filter_map(|report| InstanceReport::try_from(report).ok());
    Ok(read.map(|report| (report.instance.clone(), report)).collect())
}
