//! Emphasis. Off where the reader is no terminal, or asked for none.

/// Puts colour on words, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ink {
    on: bool,
}

impl Ink {
    /// No colour at all.
    pub const PLAIN: Self = Self { on: false };

    /// Colour on a terminal, unless `NO_COLOR` is set to anything (<https://no-color.org>) or the terminal is dumb.
    pub fn choose(terminal: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { on: terminal && !set("NO_COLOR") && !dumb }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
    /// A heading.
    pub fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }
    /// What stops the reader.
    pub fn stop(self, text: &str) -> String {
        self.paint("1;31", text)
    }
    /// What the reader must look at.
    pub fn heed(self, text: &str) -> String {
        self.paint("1;33", text)
    }
    /// What is well.
    pub fn good(self, text: &str) -> String {
        self.paint("1;32", text)
    }
}
