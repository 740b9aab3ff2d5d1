//! The stages of an upgrade with what became of each.

use super::page::Page;
use super::words;
use cutover_vocabulary::Elapsed;
use cutover_vocabulary::Timestamp;
use cutover_vocabulary::status::{StageStatus, Status};

/// How long lies between two moments; nothing when the clock went back.
pub fn between(from: Timestamp, to: Timestamp) -> Elapsed {
    Elapsed(u64::try_from(to.as_millis().saturating_sub(from.as_millis())).unwrap_or(0))
}

/// How long a stage took, once it was left.
pub fn took(stage: &StageStatus) -> Option<Elapsed> {
    match (stage.entered, stage.left) {
        (Some(entered), Some(left)) => Some(between(entered, left)),
        (Some(_) | None, None) | (None, Some(_)) => None,
    }
}

/// The stage that is being worked on: the last one that was entered.
pub fn present(status: &Status) -> Option<&StageStatus> {
    status.stages.iter().rfind(|stage| stage.entered.is_some())
}

/// One line a stage.
pub fn write(page: &mut Page, status: &Status) {
    page.heading("Stages");
    let present = present(status).map(|stage| stage.number);
    for stage in &status.stages {
        let (done, total) = stage.steps;
        let state = match (took(stage), stage.entered) {
            (Some(took), _) => format!("done in {took}, {done} of {total} steps"),
            (None, Some(at)) => format!("since {}, {done} of {total} steps", words::clock(at)),
            (None, None) => "ahead".to_owned(),
        };
        let again = if stage.run > 1 { format!(", run {}", stage.run) } else { String::new() };
        let mark = if present == Some(stage.number) && !status.state.ended() { ">" } else { " " };
        let name = format!("{mark} {:>2}  {}", u32::from(stage.number) + 1, words::phase(stage.stage.phase));
        page.entry(0, 24, &name, format_args!("{state}{again}"));
        for failure in stage.failures.iter().rev().take(3).rev() {
            page.item(24, failure);
        }
    }
}
