//! Where output goes: one place that prints.

use crate::exit::Exit;
use crate::render::ink::Ink;
use crate::render::page::Page;
use crate::trouble::Trouble;
use cutover_vocabulary::name::{is_plain, shown};
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

    /// A line for people, or several; nothing with `--json`.
    pub fn line(self, text: &str) {
        if !self.json {
            let lines: Vec<String> = text.split('\n').map(shown).collect();
            write(&format!("{}\n", lines.join("\n")));
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
            write(&format!("{}\n", seen(&text)));
        }
        Ok(())
    }

    /// An error, on standard error.
    pub fn trouble(self, trouble: Trouble) {
        let text = if self.json { seen(&trouble.to_json().to_string()) } else { for_people(&trouble) };
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

/// The same JSON with everything escaped that does not print as itself: it may be a terminal that reads it.
fn seen(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if is_plain(c) {
            safe.push(c);
        } else {
            // Only within a string; what is beyond 16 bits takes two.
            safe.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    safe
}

/// What is wrong with a command line, as clap says it; what was typed may hold anything. Answers with the exit status.
pub fn misused(error: &clap::Error) -> Exit {
    if error.use_stderr() {
        let text = error.render().to_string();
        let lines: Vec<String> = text.split('\n').map(shown).collect();
        // Nobody is left to be told that telling failed.
        let _ = write!(io::stderr(), "{}", lines.join("\n"));
        return Exit::Usage;
    }
    let _ = error.print();
    Exit::Done
}

/// A reader that went away (`| head`) is no error.
fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_the_same_with_everything_escaped_that_does_not_print() {
        let value = serde_json::json!({ "k\u{9b}": "a\u{1b}\u{7f}\u{202e}\u{e0041}\u{1f4b6}é\n" });
        let text = seen(&value.to_string());
        assert!(text.chars().all(is_plain), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
