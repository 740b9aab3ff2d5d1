//! The pages for operators, held against the program: what they name must exist, and what can hold must be there.
#![allow(clippy::unwrap_used, reason = "a test")]
#![cfg(feature = "all-in-one")]

use clap::{Arg, Command, CommandFactory as _};
use cutover_vocabulary::hold::{Choice, HoldReason};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The pages that are written by hand and name commands.
const PAGES: &[&str] =
    &["README.md", "docs/guide.md", "docs/holds.md", "docs/recovery.md", "docs/limits.md", "docs/coordinators.md"];

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The codes of all reasons: what serde expects where it is given none of them.
fn reasons() -> BTreeSet<String> {
    let said = serde_json::from_str::<HoldReason>(r#"{"none-of-them":{}}"#).unwrap_err().to_string();
    let (_, expected) = said.split_once("expected one of ").unwrap();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The sections of the page of holds that are about a reason: its code, and the text.
fn sections(holds: &str) -> Vec<(String, String)> {
    let sections = holds.split("\n## `").skip(1);
    sections
        .map(|section| section.split_once('`').unwrap())
        .map(|(code, text)| (code.to_owned(), text.into()))
        .collect()
}

#[test]
fn every_reason_to_hold_has_its_section_with_what_is_safe_and_what_each_choice_costs() {
    let holds = page("docs/holds.md");
    let sections = sections(&holds);
    let described: BTreeSet<String> = sections.iter().map(|(code, _)| code.clone()).collect();
    assert_eq!(described, reasons(), "the sections of docs/holds.md, and the reasons that there are");
    assert_eq!(described.len(), sections.len(), "a reason has two sections in docs/holds.md");
    for (code, text) in sections {
        for part in ["**What happened.**", "**Safe meanwhile.**", "**Look at.**", "**Choices.**"] {
            assert!(text.contains(part), "docs/holds.md: {part:?} is missing under {code}");
        }
    }
}

#[test]
fn every_choice_has_its_line_on_the_page_of_holds() {
    let holds = page("docs/holds.md");
    for choice in Choice::ALL {
        let line = format!("\n* `{choice}`: ");
        let (choices, _) = holds.split_once("\n## `").unwrap();
        assert!(choices.contains(&line), "docs/holds.md: the choice {choice} is not in the list of choices");
    }
}

/// What the pages say that a person types: lines of fenced blocks, and code within a paragraph.
fn code(page: &str) -> Vec<String> {
    let (mut code, mut prose, mut fenced) = (Vec::new(), String::new(), false);
    for line in page.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            code.push(line.trim().trim_start_matches("$ ").to_owned());
        } else {
            // A span never goes over the end of a paragraph.
            prose.push_str(if line.trim().is_empty() { "\n\n" } else { line });
            prose.push('\n');
        }
    }
    for paragraph in prose.split("\n\n") {
        code.extend(paragraph.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    code
}

/// What is wrong with a command, if anything: the subcommand or the flag that the program does not have.
fn wrong(program: &Command, words: &[&str]) -> Option<String> {
    let (mut at, mut path) = (program, program.get_name().to_owned());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        // A word of the prose around it: an alternative, or the rest of a pipe.
        let word = word.split(['|', '\\', '=', '…']).next().unwrap_or_default();
        if let Some(flag) = word.strip_prefix("--") {
            let found = at.get_arguments().find(|arg| arg.get_long() == Some(flag));
            let Some(found) = found else {
                let known_by_clap = ["help", "version", ""].contains(&flag);
                if known_by_clap {
                    continue;
                }
                return Some(format!("`{path}` has no flag --{flag}"));
            };
            if takes_value(found) {
                words.next();
            }
        } else if let Some(next) = at.find_subcommand(word) {
            (at, path) = (next, format!("{path} {word}"));
        } else if at.has_subcommands() && !word.is_empty() && word.chars().all(|letter| letter.is_ascii_lowercase()) {
            return Some(format!("`{path}` has no subcommand {word}"));
        }
    }
    None
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

/// The agent's command line, as far as people type it.
fn agent() -> Command {
    use clap::{Args as _, Subcommand as _};
    let settings = || Arg::new("settings").long("settings").global(true);
    let local = cutover_agent::local::LocalCommand::augment_subcommands(Command::new("local"));
    let adopt = cutover_agent::adopt::AdoptArguments::augment_args(Command::new("adopt"));
    let unadopt = cutover_agent::adopt::UnadoptArguments::augment_args(Command::new("unadopt"));
    let run = Command::new("run").arg(settings());
    Command::new("cutover-agent").subcommands([local.arg(settings()), run, adopt, unadopt])
}

#[test]
fn every_command_that_the_pages_name_exists_with_its_flags() {
    let mut programs = [cutover::args::CommandLine::command(), agent()];
    programs.iter_mut().for_each(Command::build);
    let (mut faults, mut seen) = (Vec::new(), 0);
    for name in PAGES {
        for typed in code(&page(name)) {
            let typed = typed.split(" #").next().unwrap_or_default();
            let words: Vec<&str> = typed.split_whitespace().collect();
            let Some((program, words)) = words.split_first() else { continue };
            let Some(program) = programs.iter().find(|known| known.get_name() == *program) else { continue };
            seen += 1;
            faults.extend(wrong(program, words).map(|fault| format!("{name}: {typed}: {fault}")));
        }
    }
    assert!(seen > 50, "only {seen} commands were found in the pages: this test does not see them any more");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// By what a heading is linked to: its letters, digits and hyphens, small, with hyphens for spaces.
fn heading(line: &str) -> Option<String> {
    let text = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'))?;
    let kept = text.chars().filter(|letter| letter.is_alphanumeric() || " -".contains(*letter));
    Some(kept.collect::<String>().to_lowercase().replace(' ', "-"))
}

#[test]
fn what_the_pages_link_to_is_there() {
    for name in PAGES {
        let text = page(name);
        let folder: PathBuf =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).parent().map(Path::to_owned).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path =
                if file.is_empty() { folder.join(Path::new(name).file_name().unwrap()) } else { folder.join(file) };
            assert!(path.exists(), "{name} links to {target}, which is not there");
            let headings = std::fs::read_to_string(&path).unwrap_or_default();
            let there = anchor.is_empty() || headings.lines().any(|line| heading(line).as_deref() == Some(anchor));
            assert!(there, "{name} links to {target}: {file} has no heading {anchor}");
        }
    }
}
