//! Commands that steer an upgrade: `decide`, `abort`, `rollback`, `pause`, `resume`, `close`.

use super::upgrade::show;
use crate::Context;
use crate::args::{AbortArgs, DecideArgs, RollbackArgs, SteerArgs};
use crate::client::{Back, GoBack, Steer};
use crate::exit::Exit;
use crate::render::going_back;
use crate::trouble::Trouble;
use cutover_vocabulary::UpgradeId;

/// Decides a hold.
///
/// # Errors
/// [`Trouble`].
pub async fn decide(context: &Context, args: DecideArgs) -> Result<Exit, Trouble> {
    let status = context.client().await?.decide(&args.upgrade, args.hold, args.choice, &args.reason).await?;
    show(context, &status)?;
    Ok(Exit::Done)
}

/// Goes back while no data was touched.
///
/// # Errors
/// [`Trouble`].
pub async fn abort(context: &Context, args: AbortArgs) -> Result<Exit, Trouble> {
    let ask = GoBack { back: Back::Abort, reason: &args.reason, what_if: args.what_if };
    back(context, &args.upgrade, ask).await
}

/// Goes back by restoring.
///
/// # Errors
/// [`Trouble`].
pub async fn rollback(context: &Context, args: RollbackArgs) -> Result<Exit, Trouble> {
    let ask = GoBack { back: Back::Rollback, reason: &args.reason, what_if: args.what_if };
    back(context, &args.upgrade, ask).await
}

async fn back(context: &Context, upgrade: &UpgradeId, ask: GoBack<'_>) -> Result<Exit, Trouble> {
    let answer = context.client().await?.go_back(upgrade, ask).await?;
    let screen = context.screen;
    screen.page(&going_back::page(&answer.what, &answer.lost_writes, answer.begun, screen.ink));
    screen.value(&serde_json::json!({
        "what_if": answer.what, "lost_writes": answer.lost_writes, "begun": answer.begun
    }))?;
    if answer.begun {
        screen.line("");
        screen.line(&format!("Follow it: {}", context.next.watch(upgrade)));
    }
    Ok(Exit::of_going_back(&answer))
}

/// Pauses, resumes or closes.
///
/// # Errors
/// [`Trouble`].
pub async fn steer(context: &Context, args: SteerArgs, steer: Steer) -> Result<Exit, Trouble> {
    let status = context.client().await?.steer(&args.upgrade, steer, &args.reason).await?;
    show(context, &status)?;
    Ok(Exit::Done)
}
