//! The doctor's answer for people: a line for what is well; for what is not, why it is needed and what to do.

use super::{Line, State};
use crate::render::ink::Ink;
use crate::render::page::Page;
use crate::render::words::count;

/// The page.
pub(super) fn page(lines: &[Line], ink: Ink) -> String {
    let mut page = Page::new(ink);
    let mut group = "";
    for line in lines {
        if line.group != group {
            group = line.group;
            page.heading(group);
        }
        page.entry(2, 9, line.state.word(), format_args!("{}: {}", line.check, line.found));
        if let Some(remedy) = &line.remedy {
            page.entry(11, 7, "Why", line.why);
            page.entry(11, 7, "To do", remedy);
        }
    }
    page.gap();
    let of = |state| lines.iter().filter(|line| line.state == state).count() as u64;
    let warnings = count(of(State::Warning), "warning", "warnings");
    let verdict = match of(State::Missing) {
        0 => page.ink.good(&format!("Nothing that is needed is missing; {warnings}.")),
        missing => page.ink.stop(&format!("{} missing; {warnings}.", count(missing, "thing is", "things are"))),
    };
    page.raw(&verdict);
    page.finish()
}
