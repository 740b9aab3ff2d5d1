//! A page of text: paragraphs and lists wrapped at 80 columns. A command is never wrapped and a path never broken: both are
//! there to be copied.

use super::ink::Ink;
use cutover_vocabulary::name::shown;
use std::fmt::Display;

/// Columns of a page.
pub const WIDTH: usize = 80;

/// A page that is being written.
#[derive(Debug, Clone)]
pub struct Page {
    text: String,
    /// Emphasis for headings.
    pub ink: Ink,
}

impl Page {
    /// An empty page.
    pub fn new(ink: Ink) -> Self {
        Self { text: String::new(), ink }
    }

    /// An empty line, unless the page is empty or ends in one.
    pub fn gap(&mut self) {
        if !self.text.is_empty() && self.text != "\n" && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// A heading after an empty line.
    pub fn heading(&mut self, text: &str) {
        self.gap();
        let text = self.ink.strong(&shown(text));
        self.raw(&text);
    }

    /// A line as it is; may hold emphasis.
    pub fn raw(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A paragraph, wrapped, each line behind `indent` spaces.
    pub fn paragraph(&mut self, indent: usize, text: impl Display) {
        self.hanging(indent, indent, &text.to_string());
    }

    /// An entry of a list: its first line `indent` spaces in, the others two more.
    pub fn item(&mut self, indent: usize, text: impl Display) {
        self.hanging(indent, indent + 2, &format!("- {text}"));
    }

    /// `name` in a column of `column` characters, then `text`, wrapped beside it.
    pub fn entry(&mut self, indent: usize, column: usize, name: &str, text: impl Display) {
        let name = shown(name).to_string();
        let width = columns(&name);
        if width + 1 > column {
            self.hanging(indent, indent + 2, &name);
            self.hanging(indent + column, indent + column, &text.to_string());
            return;
        }
        let padded = format!("{name}{}", " ".repeat(column - width));
        let mut lines = wrapped(&shown(&text.to_string()).to_string(), WIDTH - indent - column).into_iter();
        let first = lines.next().unwrap_or_default();
        self.raw(format!("{}{padded}{first}", " ".repeat(indent)).trim_end());
        for line in lines {
            self.raw(&format!("{}{line}", " ".repeat(indent + column)));
        }
    }

    /// A command to type. Never wrapped, so that it can be copied.
    pub fn command(&mut self, indent: usize, command: &str) {
        let line = format!("{}{}", " ".repeat(indent), shown(command));
        self.raw(&line);
    }

    fn hanging(&mut self, first: usize, rest: usize, text: &str) {
        let text = shown(text).to_string();
        for (number, line) in wrapped(&text, WIDTH - first.max(rest)).into_iter().enumerate() {
            let indent = if number == 0 { first } else { rest };
            let line = format!("{}{line}", " ".repeat(indent));
            self.raw(&line);
        }
    }

    /// The text so far.
    pub fn finish(self) -> String {
        self.text
    }
}

/// How many columns a text takes; good enough for names: characters, not grapheme clusters.
pub fn columns(text: &str) -> usize {
    text.chars().count()
}

/// Breaks at spaces, but never within backquotes. A word longer than the line is broken anywhere, because names in a storage
/// have no limit; one with a slash is left whole, because it may be a path.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(20);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in words(text) {
        let mut word = word;
        if !line.is_empty() && columns(&line) + 1 + columns(&word) > width {
            lines.push(std::mem::take(&mut line));
        }
        let whole = word.contains('/') || word.contains('`');
        while !whole && columns(&word) > width {
            let head: String = word.chars().take(width).collect();
            word = word.chars().skip(width).collect();
            lines.push(head);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// Words of a text; what stands in backquotes is one.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut open = false;
    for part in text.split(' ').filter(|part| !part.is_empty()) {
        match words.last_mut() {
            Some(last) if open => {
                last.push(' ');
                last.push_str(part);
            }
            Some(_) | None => words.push(part.to_owned()),
        }
        if part.matches('`').count() % 2 == 1 {
            open = !open;
        }
    }
    match words.last() {
        // A backquote without its pair stands for itself.
        Some(last) if open && last.contains(' ') => {
            let parts: Vec<String> = last.split(' ').map(str::to_owned).collect();
            words.pop();
            words.extend(parts);
        }
        Some(_) | None => {}
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_a_command_in_a_sentence_stay_whole() {
        let path = format!("/var/lib/{}/ledger-main.db", "deep/".repeat(20));
        let command = format!("`cutover sandbox clean --dir /tmp/{}`", "box".repeat(25));
        let mut page = Page::new(Ink::PLAIN);
        page.paragraph(4, format_args!("the recovery point of ledger main lies at {path}, and restores"));
        page.entry(0, 10, "22:29:06", format_args!("remove it with {command} once it is not needed any more"));
        page.paragraph(0, format_args!("one ` alone {}", "word ".repeat(30)));
        let text = page.finish();
        let has = |wanted: &str| text.lines().any(|line| line.contains(wanted));
        assert!(has(&path) && has(&command), "{text}");
        for line in text.lines().filter(|line| !line.contains(&path) && !line.contains(&command)) {
            assert!(columns(line) <= WIDTH, "{line:?}");
        }
    }

    #[test]
    fn no_line_is_wider_than_80_columns_but_a_command() {
        let mut page = Page::new(Ink::PLAIN);
        page.paragraph(2, "word ".repeat(60));
        page.item(4, "x".repeat(300));
        page.entry(2, 12, "a name that is longer than its column", "text ".repeat(40));
        let text = page.finish();
        for line in text.lines() {
            assert!(columns(line) <= WIDTH, "{line:?}");
        }
        let mut page = Page::new(Ink::PLAIN);
        page.command(2, &format!("cutover decide {}", "y".repeat(100)));
        assert_eq!(page.finish().lines().count(), 1);
    }

    #[test]
    fn escapes_from_outside_never_reach_the_terminal() {
        let mut page = Page::new(Ink::PLAIN);
        page.paragraph(0, "a\u{1b}[2Jb\r\nc");
        page.entry(0, 10, "k\u{7}", "v\u{1b}]0;title\u{7}");
        page.command(0, "cutover x \u{1b}[31m");
        let text = page.finish();
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}') && !text.contains('\r'), "{text:?}");
    }
}
