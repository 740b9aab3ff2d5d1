//! What happened, one fact a line.

use super::page::Page;
use super::words;
use cutover_vocabulary::fact::{Cause, Recorded};

/// Who caused a fact.
pub fn cause(by: &Cause) -> String {
    match by {
        Cause::Operator { name, .. } => format!("operator {name}"),
        Cause::Agent(name) => format!("agent {name}"),
        Cause::Machine => "machine".to_owned(),
    }
}

/// One fact with its number, time, sentence and cause.
pub fn write(page: &mut Page, recorded: &Recorded, sentence: &str) {
    let head = format!("{:>4}  {}", recorded.seq, words::clock(recorded.at));
    page.entry(0, 16, &head, format_args!("{sentence} ({})", cause(&recorded.by)));
}

/// A fact as a line of a log, without its cause.
pub fn line(recorded: &Recorded, sentence: &str) -> String {
    let mut page = Page::new(super::ink::Ink::PLAIN);
    page.entry(0, 10, &words::clock(recorded.at), sentence);
    page.finish().trim_end().to_owned()
}
