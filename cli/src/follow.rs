//! Follows an upgrade as far as it goes by itself: to its end, to a hold, or to a pause; and where a person sits at the
//! terminal, through holds as well.

use crate::Context;
use crate::client::Client;
use crate::render::next::Next;
use crate::render::page::Page;
use crate::render::{facts, stages, status as pages, words};
use crate::screen::Screen;
use crate::trouble::Trouble;
use cutover_proto::convert::fact::Event;
use cutover_vocabulary::fact::Fact;
use cutover_vocabulary::name::shown;
use cutover_vocabulary::status::{State, Status};
use cutover_vocabulary::{Recorded, UpgradeId};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;
use tokio::time::Instant;

/// For how long a lost connection is made anew before giving up: a coordinator's host that restarts, or an election under the longest
/// lease (60 s).
const GIVES_UP: Duration = Duration::from_secs(120);
/// For how long without a word.
const SILENT: Duration = Duration::from_secs(3);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// Whether it goes no further by itself.
fn stands_still(state: State) -> bool {
    match state {
        State::Completed
        | State::Aborted
        | State::RolledBack
        | State::TakenOver
        | State::Rehearsed
        | State::Held
        | State::Paused => true,
        State::Running | State::GoingBack => false,
    }
}

/// Follows to the end where a person sits at the terminal who can decide in another one: each hold is shown with its
/// commands. Elsewhere to where it stands still, because nobody is there to read. `leaving` says what Ctrl-C does.
///
/// # Errors
/// [`Trouble`], as [`follow`].
pub async fn through_holds(
    client: &Client,
    upgrade: &UpgradeId,
    mut after: u64,
    screen: Screen,
    next: &Next,
    leaving: &str,
) -> Result<Status, Trouble> {
    loop {
        let status = follow(client, upgrade, after, screen).await?;
        if status.state.ended() || !screen.attended() {
            return Ok(status);
        }
        let mut page = Page::new(screen.ink);
        page.raw("");
        match status.state {
            State::Held => pages::holds(&mut page, &status, next),
            State::Paused => {
                page.paragraph(0, "It is paused, and goes on with");
                page.command(4, &next.resume(upgrade));
            }
            State::Running
            | State::GoingBack
            | State::Completed
            | State::Aborted
            | State::RolledBack
            | State::TakenOver
            | State::Rehearsed => {}
        }
        page.gap();
        page.paragraph(2, format_args!("Type it in another terminal. Ctrl-C {leaving}."));
        screen.page(&page.finish());
        after = status.seq;
        moved(client, upgrade, after).await?;
    }
}

/// Waits until something happens after fact `after`. A connection that is lost meanwhile is made anew by whoever follows.
async fn moved(client: &Client, upgrade: &UpgradeId, after: u64) -> Result<(), Trouble> {
    let next = async { client.watch(upgrade, after).await?.next().await.map(|_| ()) };
    match next.await {
        Err(trouble) if passing(&trouble) => Ok(()),
        other @ (Ok(()) | Err(_)) => other,
    }
}

/// Follows, showing each event, from fact `after` on, to where it stands still. Answers with where it stands then.
///
/// # Errors
/// [`Trouble`]; a lost connection only after it was tried anew for two minutes.
pub async fn follow(client: &Client, upgrade: &UpgradeId, after: u64, screen: Screen) -> Result<Status, Trouble> {
    let mut seen = after;
    // Since when, and whether it was said.
    let mut lost: Option<(Instant, bool)> = None;
    let bars = Bars::new(screen);
    loop {
        let before = seen;
        let mut opened = None;
        let ended = once(client, upgrade, &mut seen, &mut opened, screen, &bars).await;
        // A ledger that migrates for an hour says nothing meanwhile.
        if seen > before || opened.is_some_and(|at: Instant| at.elapsed() > SILENT) {
            lost = None;
        }
        match ended {
            Ok(status) => {
                bars.finish();
                return Ok(status);
            }
            Err(trouble) if passing(&trouble) => {
                let (since, said) = lost.get_or_insert_with(|| (Instant::now(), false));
                let passed = since.elapsed();
                if passed > GIVES_UP {
                    bars.finish();
                    return Err(trouble);
                }
                if passed > SILENT && !*said {
                    *said = true;
                    bars.line(
                        screen,
                        &format!("Lost the coordinator ({trouble}); looking for it for {} s.", GIVES_UP.as_secs()),
                    );
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(trouble) => {
                bars.finish();
                return Err(trouble);
            }
        }
    }
}

/// Whether it may be gone in a moment: a lost connection, or no leader during an election.
fn passing(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Broken { .. } | Trouble::Unreachable { .. } | Trouble::Leaderless { .. } => true,
        Trouble::Refused { code, .. } => matches!(code.as_str(), "NOT_LEADER" | "STORE_UNAVAILABLE"),
        Trouble::Malformed { .. } | Trouble::Usage { .. } | Trouble::Failed { .. } => false,
    }
}

/// What a person is told who follows no more: the upgrade is no worse for that.
pub fn left(context: &Context, upgrade: &UpgradeId) {
    context.screen.line("");
    context.screen.line(&format!("The upgrade goes on. Follow it again: {}", context.next.watch(upgrade)));
}

async fn once(
    client: &Client,
    upgrade: &UpgradeId,
    seen: &mut u64,
    opened: &mut Option<Instant>,
    screen: Screen,
    bars: &Bars,
) -> Result<Status, Trouble> {
    let now = client.status(upgrade).await?;
    if now.seq <= *seen && stands_still(now.state) {
        return Ok(now);
    }
    let mut events = client.watch(upgrade, *seen).await?;
    *opened = Some(Instant::now());
    while let Some(event) = events.next().await? {
        *seen = event.recorded.seq;
        show(screen, bars, &event)?;
        if let Some(status) = event.status {
            bars.update(&status);
            // Facts that the same decision stored may follow; only a fresh look says that nothing does.
            if stands_still(status.state) {
                let now = client.status(upgrade).await?;
                if now.seq <= *seen && stands_still(now.state) {
                    return Ok(now);
                }
            }
        }
    }
    client.status(upgrade).await
}

fn show(screen: Screen, bars: &Bars, event: &Event) -> Result<(), Trouble> {
    if screen.json {
        return screen.value(&as_json(&event.recorded, &event.text));
    }
    if matters(&event.recorded.fact) {
        bars.line(screen, &facts::line(&event.recorded, &event.text));
    }
    Ok(())
}

/// An event for tools: one JSON object a line.
fn as_json(recorded: &Recorded, text: &str) -> serde_json::Value {
    serde_json::json!({
        "event": { "seq": recorded.seq, "at": recorded.at, "kind": recorded.fact.kind(), "text": shown(text).to_string() }
    })
}

/// Whether a person who follows wants to read this fact. Orders as such are many; what comes of them is shown.
fn matters(fact: &Fact) -> bool {
    match fact {
        Fact::AttemptOpened { .. } | Fact::RevokeAsked { .. } => false,
        Fact::Started { .. }
        | Fact::StageEntered { .. }
        | Fact::BorderCrossed { .. }
        | Fact::StepSucceeded { .. }
        | Fact::EvidenceRefused { .. }
        | Fact::StepFailed { .. }
        | Fact::Revoked { .. }
        | Fact::LateOutcome { .. }
        | Fact::Held { .. }
        | Fact::HoldDecided { .. }
        | Fact::HoldLifted { .. }
        | Fact::ProofVoided { .. }
        | Fact::MemberJoined { .. }
        | Fact::MemberExcused { .. }
        | Fact::RunnerChosen { .. }
        | Fact::TurnedBack { .. }
        | Fact::Paused
        | Fact::Resumed
        | Fact::Ended { .. }
        | Fact::Closed => true,
    }
}

/// One bar for the stages, on a terminal; nothing elsewhere.
struct Bars {
    bar: Option<ProgressBar>,
}

impl Bars {
    fn new(screen: Screen) -> Self {
        let bar = screen.bars.then(|| {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template("{spinner} [{bar:24}] {pos}/{len} {wide_msg} {elapsed}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar }
    }

    fn update(&self, status: &Status) {
        let Some(bar) = &self.bar else { return };
        // Not before something is known: a bar of nothing looks full.
        bar.enable_steady_tick(Duration::from_millis(120));
        let done = status.stages.iter().filter(|stage| stage.left.is_some()).count();
        bar.set_length(status.stages.len() as u64);
        bar.set_position(done as u64);
        let stage = stages::present(status).map(|stage| {
            let (steps, total) = stage.steps;
            format!("{} ({steps}/{total})", words::phase(stage.stage.phase))
        });
        bar.set_message(format!("{}: {}", status.state, stage.unwrap_or_default()));
    }

    fn line(&self, screen: Screen, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| screen.line(line)),
            None => screen.line(line),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
