//! `start` and `upgrade`: start a plan and follow it.

use super::plan as plans;
use super::runbook;
use crate::Context;
use crate::args::{Answers, PlanArgs, StartArgs, UpgradeArgs};
use crate::client::{Client, How, Steer};
use crate::exit::Exit;
use crate::follow::{self, follow};
use crate::render::losses::Rows;
use crate::render::page::Page;
use crate::render::status as page;
use crate::screen::Screen;
use crate::trouble::Trouble;
use cutover_vocabulary::UpgradeId;
use cutover_vocabulary::plan::Plan;
use cutover_vocabulary::status::{State, Status, WaitingFor};
use std::time::Duration;

/// How long the orders that are out may take after Ctrl-C, before they are left to their own processes.
const SAFE_POINT: Duration = Duration::from_secs(600);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Starts a plan.
///
/// # Errors
/// [`Trouble`].
pub async fn start(context: &Context, args: StartArgs) -> Result<Exit, Trouble> {
    let client = context.client().await?;
    let plan = client.get_plan(&args.plan).await?;
    let upgrade = client.start(plan.digest()).await?;
    started(context, &upgrade)?;
    runbook::leave(context, &client, &upgrade).await;
    if args.detach {
        let mut page = Page::new(context.screen.ink);
        page.heading("Next");
        page.command(4, &context.next.watch(&upgrade));
        context.screen.page(&page.finish());
        return Ok(Exit::Done);
    }
    to_standstill(context, &client, &upgrade).await
}

/// Plans, approves, starts and follows.
///
/// # Errors
/// [`Trouble`].
pub async fn upgrade(context: &Context, args: UpgradeArgs) -> Result<Exit, Trouble> {
    let client = context.client().await?;
    let plan = client.plan(&args.plan.deployment, &args.plan.to, &args.plan.how.how()).await?;
    carry_out(context, &client, &plan, args.yes, &args.reason, &args.answers).await
}

/// Shows a plan, agrees to what needs it where `yes` says so, starts and follows.
///
/// # Errors
/// [`Trouble`].
pub async fn carry_out(
    context: &Context,
    client: &Client,
    plan: &Plan,
    yes: bool,
    reason: &str,
    answers: &Answers,
) -> Result<Exit, Trouble> {
    let stops_here = !yes || Exit::of_plan(plan) == Exit::Blocked;
    plans::show(context, plan, stops_here.then_some(&context.next), Rows::Listed)?;
    match Exit::of_plan(plan) {
        Exit::NeedsApproval if yes => {
            let approval = client.approve(plan.digest(), reason, &answers.by_question()).await?;
            plans::show_approval(context, plan, &approval, Rows::Counted)?;
        }
        Exit::Done => {}
        exit @ (Exit::NeedsApproval | Exit::Blocked | Exit::Error | Exit::Usage | Exit::Held | Exit::WentBack) => {
            return Ok(exit);
        }
    }
    let upgrade = client.start(plan.digest()).await?;
    started(context, &upgrade)?;
    runbook::leave(context, client, &upgrade).await;
    to_standstill(context, client, &upgrade).await
}

/// Plans, starts and follows what ends with the rehearsal.
///
/// # Errors
/// [`Trouble`].
pub async fn rehearse(context: &Context, args: PlanArgs) -> Result<Exit, Trouble> {
    let client = context.client().await?;
    let how = How { rehearse_only: true, ..args.how.how() };
    let plan = client.plan(&args.deployment, &args.to, &how).await?;
    if !plan.binding.only_rehearses() {
        // One of an older version passes over a wish that it does not know.
        return Err(Trouble::plain(
            "this coordinator cannot only rehearse: it planned the whole upgrade. Nothing was started; install this program's \
             version of cutover-coordinator first",
        ));
    }
    let blocked = Exit::of_plan(&plan) == Exit::Blocked;
    plans::show(context, &plan, blocked.then_some(&context.next), Rows::Listed)?;
    match Exit::of_plan(&plan) {
        Exit::Done => {}
        exit @ (Exit::NeedsApproval | Exit::Blocked | Exit::Error | Exit::Usage | Exit::Held | Exit::WentBack) => {
            return Ok(exit);
        }
    }
    let upgrade = client.start(plan.digest()).await?;
    started(context, &upgrade)?;
    to_standstill(context, &client, &upgrade).await
}

/// Says that an upgrade was started.
///
/// # Errors
/// [`Trouble`].
pub fn started(context: &Context, upgrade: &UpgradeId) -> Result<(), Trouble> {
    context.screen.line("");
    context.screen.line(&format!("Upgrade {upgrade} was started."));
    context.screen.value(&serde_json::json!({ "upgrade": upgrade }))
}

/// Follows to the end, a hold or a pause, and shows where it stands then. Ctrl-C ends the following alone.
///
/// # Errors
/// [`Trouble`].
pub async fn to_standstill(context: &Context, client: &Client, upgrade: &UpgradeId) -> Result<Exit, Trouble> {
    tokio::select! {
        status = follow(client, upgrade, 0, context.screen) => {
            let status = status.inspect_err(|_| follow::left(context, upgrade))?;
            show(context, &status)?;
            if !status.state.ended() {
                // The recovery points are known by now.
                runbook::leave(context, client, upgrade).await;
            }
            Ok(Exit::of_upgrade(&status))
        }
        _ = tokio::signal::ctrl_c() => {
            follow::left(context, upgrade);
            Ok(Exit::Error)
        }
    }
}

/// Shows where an upgrade stands.
///
/// # Errors
/// [`Trouble`].
pub fn show(context: &Context, status: &Status) -> Result<(), Trouble> {
    context.screen.page("\n");
    context.screen.page(&page::page(status, &context.next, context.screen.ink));
    context.screen.value(&serde_json::json!({ "status": status }))
}

/// Stops at the next safe point: no new orders, and those that are out come to their end.
///
/// # Errors
/// [`Trouble`].
pub async fn pause(screen: Screen, client: &Client, upgrade: &UpgradeId) -> Result<Status, Trouble> {
    screen.line("");
    screen.line("Stopping at the next safe point; Ctrl-C again stops at once.");
    let mut status = client.status(upgrade).await?;
    // A hold stands still by itself, and must not be found paused as well once it is decided.
    if matches!(status.state, State::Running | State::GoingBack) {
        status = client.steer(upgrade, Steer::Pause, "stopped with Ctrl-C").await?;
    }
    let settled = async {
        loop {
            let status = client.status(upgrade).await?;
            match status.waiting_for {
                Some(WaitingFor::Orders { .. } | WaitingFor::Settlement { .. } | WaitingFor::Agent { .. }) => {}
                Some(WaitingFor::Resume | WaitingFor::Decision { .. }) | None => return Ok(status),
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    // Orders that take longer go on in their own processes and are adopted at the next start.
    tokio::time::timeout(SAFE_POINT, settled).await.unwrap_or(Ok(status))
}
