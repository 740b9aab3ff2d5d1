//! Follows an upgrade as far as it goes by itself: to its end, to a hold, or to a pause.

use crate::client::Client;
use crate::render::{facts, stages, words};
use crate::screen::Screen;
use crate::trouble::Trouble;
use cutover_proto::convert::fact::Event;
use cutover_vocabulary::fact::Fact;
use cutover_vocabulary::name::shown;
use cutover_vocabulary::status::{State, Status};
use cutover_vocabulary::{Recorded, UpgradeId};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// How often a lost connection is made anew before giving up.
const RECONNECTS: u32 = 10;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// Whether following has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// It ended, holds or is paused.
    Standstill,
    /// It ended; holds and pauses are waited through.
    End,
}

impl Until {
    fn reached(self, state: State) -> bool {
        match state {
            State::Completed | State::Aborted | State::RolledBack | State::TakenOver => true,
            State::Held | State::Paused => self == Self::Standstill,
            State::Running | State::GoingBack => false,
        }
    }
}

/// Follows, showing each event, from fact `after` on. Answers with where it stands then.
///
/// # Errors
/// [`Trouble`]; a lost connection only after it was tried anew for a while.
pub async fn follow(
    client: &Client,
    upgrade: &UpgradeId,
    after: u64,
    until: Until,
    screen: Screen,
) -> Result<Status, Trouble> {
    let mut seen = after;
    let mut lost = 0;
    let bars = Bars::new(screen);
    loop {
        match once(client, upgrade, &mut seen, until, screen, &bars).await {
            Ok(status) => {
                bars.finish();
                return Ok(status);
            }
            Err(trouble) if passing(&trouble) && lost < RECONNECTS => {
                lost += 1;
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
        Trouble::Broken { .. } | Trouble::Unreachable { .. } => true,
        Trouble::Refused { code, .. } => matches!(code.as_str(), "NOT_LEADER" | "STORE_UNAVAILABLE"),
        Trouble::Malformed { .. } | Trouble::Usage { .. } | Trouble::Failed { .. } => false,
    }
}

async fn once(
    client: &Client,
    upgrade: &UpgradeId,
    seen: &mut u64,
    until: Until,
    screen: Screen,
    bars: &Bars,
) -> Result<Status, Trouble> {
    let now = client.status(upgrade).await?;
    if now.seq <= *seen && until.reached(now.state) {
        return Ok(now);
    }
    let mut events = client.watch(upgrade, *seen).await?;
    while let Some(event) = events.next().await? {
        *seen = event.recorded.seq;
        show(screen, bars, &event)?;
        if let Some(status) = event.status {
            bars.update(&status);
            // Facts that the same decision stored may follow; only a fresh look says that nothing does.
            if until.reached(status.state) {
                let now = client.status(upgrade).await?;
                if now.seq <= *seen && until.reached(now.state) {
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
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar }
    }

    fn update(&self, status: &Status) {
        let Some(bar) = &self.bar else { return };
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
