//! The stages of an upgrade with what became of each.

use super::page::Page;
use super::words;
use cutover_vocabulary::Elapsed;
use cutover_vocabulary::Timestamp;
use cutover_vocabulary::status::{StageStatus, Status};

/// How long lies between two moments; nothing when the clock went back.
pub fn between(from: Timestamp, to: Timestamp) -> Elapsed {
    from.until(to)
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
    page.heading("Stages, numbered as in orders");
    let present = present(status).map(|stage| stage.number);
    for stage in &status.stages {
        let (done, total) = stage.steps;
        // What was turned back from stays as it was left; nothing of an upgrade that has ended goes on.
        let over = status.state.ended() || present.is_some_and(|present| stage.number < present);
        let state = match (took(stage), stage.entered) {
            (Some(took), _) => format!("done in {took}, {done} of {total} steps"),
            (None, Some(_)) if over => format!("not finished: {done} of {total} steps"),
            (None, None) if over => "not reached".to_owned(),
            (None, Some(at)) => format!("since {}, {done} of {total} steps", words::clock(at)),
            (None, None) => "ahead".to_owned(),
        };
        let again = if stage.run > 1 { format!(", run {}", stage.run) } else { String::new() };
        let mark = if present == Some(stage.number) && !status.state.ended() { ">" } else { " " };
        let wave = stage.stage.wave.map(|wave| format!(" {}", u32::from(wave) + 1)).unwrap_or_default();
        let name = format!("{mark} {:>2}  {}{wave}", stage.number, words::phase(stage.stage.phase));
        page.entry(0, 24, &name, format_args!("{state}{again}"));
        for failure in stage.failures.iter().rev().take(3).rev() {
            page.item(24, failure);
        }
    }
}
