//! What a page of `docs/findings` says of a code. The words stand beside the rule that says the code, so that whoever changes
//! one sees the other; the examples on a page come from the cases in `tests/findings.rs`.

use cutover_vocabulary::Finding;
use cutover_vocabulary::finding::{Level, Source};

/// The words of one page, as Markdown without line breaks.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// The code; the page is `docs/findings/CODE.md`.
    pub code: &'static str,
    /// What it is, in one line: the page's heading and its line in the index.
    pub title: &'static str,
    /// Every level that it is said with. Each has a case in `tests/findings.rs`.
    pub levels: &'static [Level],
    /// Every place where the knowledge behind it can come from.
    pub sources: &'static [Source],
    /// What it means for the upgrade; what would happen if nobody heeded it; where the levels differ, when it is which.
    pub means: &'static str,
    /// Who looks at what to find it, and what that look cannot see.
    pub found: &'static str,
    /// What to do, at more length than the finding itself has room for.
    pub remedy: &'static str,
}

impl Page {
    /// The whole page; of each level one finding as an operator sees it.
    pub fn markdown(&self, examples: &[Finding]) -> String {
        let levels: Vec<&str> = self.levels.iter().map(|level| of_level(*level)).collect();
        let sources: Vec<&str> = self.sources.iter().map(|source| of_source(*source)).collect();
        let mut text = format!(
            "{NOTE}\n# `{}`: {}\n\n- Level: {}\n- Source: {}\n\n## What it means\n\n{}\n\n## How it is found\n\n{}\n\n\
             ## What to do\n\n{}\n\n## What it looks like\n",
            self.code,
            self.title,
            levels.join("; "),
            sources.join("; "),
            self.means,
            self.found,
            self.remedy,
        );
        for Finding { code: _, level, subject, evidence, remedy, source } in examples {
            text.push_str(&format!(
                "\n```text\nlevel:      {level}\nsource:     {source}\nabout:      {subject}\nevidence:   {evidence}\n\
                 what to do: {remedy}\n```\n"
            ));
        }
        text
    }
}

/// The index: every page in the order of the rules, which is the order on screens.
pub fn index<'a>(pages: impl IntoIterator<Item = &'a Page>) -> String {
    let mut text = format!(
        "{NOTE}\n# Findings\n\nWhat a check noticed while a plan was made. `cutover plan` shows them; each has a code that stays the \
         same for good. What has level `block` keeps the plan from starting, `approve` waits for a person to approve it by name, and \
         `info` is good to know.\n\n| code | level | what it is |\n|---|---|---|\n"
    );
    for page in pages {
        let levels: Vec<String> = page.levels.iter().map(ToString::to_string).collect();
        text.push_str(&format!("| [`{0}`]({0}.md) | {1} | {2} |\n", page.code, levels.join(", "), page.title));
    }
    text
}

/// Whether a code has a page.
pub(super) const fn is_among(code: &str, pages: &[&[Page]]) -> bool {
    let mut rule = 0;
    while rule < pages.len() {
        let mut page = 0;
        while page < pages[rule].len() {
            if equal(code.as_bytes(), pages[rule][page].code.as_bytes()) {
                return true;
            }
            page += 1;
        }
        rule += 1;
    }
    false
}

/// `==` of slices cannot be used while compiling yet.
const fn equal(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// Markdown shows no comment.
const NOTE: &str = "<!-- Made from `coordinator/core/src/plan/findings` by its test: change it there, then run \
    `CUTOVER_WRITE_PAGES=1 cargo test -p cutover-core --test findings`. -->";

fn of_level(level: Level) -> &'static str {
    match level {
        Level::Block => "`block`: the plan cannot start",
        Level::Approve => "`approve`: a person must approve it by name",
        Level::Info => "`info`: good to know",
    }
}

fn of_source(source: Source) -> &'static str {
    match source {
        Source::Manual => "`manual`: the ledger's manual says so",
        Source::Measured => "`measured`: seen with the ledger's real binaries",
        Source::ThisStorage => "`this storage`: seen in the deployment's storage",
        Source::ThisHost => "`this host`: seen on a host of the deployment",
        Source::CompanyFile => "`company file`: the company's own file beside the catalogue says so",
    }
}
