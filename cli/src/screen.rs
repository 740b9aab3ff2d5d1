//! Where output goes: one place that prints.

use crate::render::ink::Ink;
use crate::render::page::Page;
use crate::trouble::Trouble;
use miette::Diagnostic as _;
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write as _};

/// What a person or a tool sees of a command.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    /// One JSON value a line instead of pages.
    pub json: bool,
    /// Emphasis for standard output.
    pub ink: Ink,
    /// Whether bars are drawn.
    pub bars: bool,
}

impl Screen {
    /// By what standard output is.
    pub fn choose(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let ink = if json { Ink::PLAIN } else { Ink::choose(terminal) };
        Self { json, ink, bars: terminal && io::stderr().is_terminal() && !json }
    }

    /// Whether a person sits there who can answer.
    pub fn attended(self) -> bool {
        self.bars && io::stdin().is_terminal()
    }

    /// A page, or a part of one, for people; nothing with `--json`.
    pub fn page(self, text: &str) {
        if !self.json {
            write(text);
        }
    }

    /// A line for people; nothing with `--json`.
    pub fn line(self, text: &str) {
        if !self.json {
            write(&format!("{text}\n"));
        }
    }

    /// A text that is for people and tools alike: a script, a page of the manual.
    pub fn text(self, text: &str) {
        write(text);
    }

    /// A value for tools; nothing without `--json`.
    ///
    /// # Errors
    /// When the value cannot be written as JSON, which would be a mistake in this program.
    pub fn value(self, value: &impl Serialize) -> Result<(), Trouble> {
        if self.json {
            let text = serde_json::to_string(value)
                .map_err(|error| Trouble::failed("cannot write the answer as JSON", error))?;
            write(&format!("{text}\n"));
        }
        Ok(())
    }

    /// An error, on standard error.
    pub fn trouble(self, trouble: Trouble) {
        let text = if self.json { trouble.to_json().to_string() } else { for_people(&trouble) };
        // Nobody is left to be told that telling failed.
        let _ = writeln!(io::stderr(), "{}", text.trim_end());
    }
}

/// An error with its causes and what to do. A path or a command in it stays whole.
fn for_people(trouble: &Trouble) -> String {
    let mut page = Page::new(if io::stderr().is_terminal() { Ink::choose(true) } else { Ink::PLAIN });
    let head = page.ink.stop("Error");
    page.raw(&head);
    page.paragraph(2, trouble);
    let mut cause = std::error::Error::source(trouble);
    while let Some(error) = cause {
        page.entry(2, 9, "Because", error);
        cause = error.source();
    }
    if let Some(help) = trouble.help() {
        page.entry(2, 9, "To do", help);
    }
    page.finish()
}

/// A reader that went away (`| head`) is no error.
fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
