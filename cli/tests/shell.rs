//! Completions and manual pages: everything that `--help` shows, and nothing that it hides.
#![allow(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

use clap::{Command as Clap, CommandFactory as _};
use cutover::args::CommandLine;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

fn cutover(args: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_cutover")).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Every command that is not hidden, with its whole name: `cutover sandbox resume`.
fn visible() -> Vec<(String, Clap)> {
    fn below(name: String, command: &Clap, to: &mut Vec<(String, Clap)>) {
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            below(format!("{name} {}", inner.get_name()), inner, to);
        }
        to.push((name, command.clone()));
    }
    let mut all = Vec::new();
    below("cutover".to_owned(), &CommandLine::command(), &mut all);
    all
}

fn bash(script: &str, file: &Path) -> String {
    let output = Command::new("bash").args(["--norc", "-c", script, "bash"]).arg(file).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bash_parses_its_completions_and_is_offered_every_command_that_is_not_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cutover.bash");
    std::fs::write(&file, cutover(&["completions", "bash"]).stdout).unwrap();
    assert_eq!(bash("bash -n \"$1\"", &file), "");
    let ask = "source \"$1\"; COMP_WORDS=(cutover ''); COMP_CWORD=1; _cutover cutover '' cutover; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let offered = bash(ask, &file);
    let offered: BTreeSet<&str> = offered.lines().filter(|word| !word.starts_with('-') && *word != "help").collect();
    let whole = CommandLine::command();
    let shown = whole.get_subcommands().filter(|command| !command.is_hide_set()).map(Clap::get_name);
    assert_eq!(offered, shown.collect());
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let text = String::from_utf8(cutover(&["completions", shell]).stdout).unwrap();
        assert!(text.contains("deployment") && text.contains("coordinator"), "{shell}: {} bytes", text.len());
    }
}

#[test]
fn every_command_that_is_not_hidden_has_a_page_and_no_other_has() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man/man1");
    cutover(&["man", "--dir", pages.to_str().unwrap()]);
    let there: BTreeSet<String> =
        std::fs::read_dir(&pages).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, visible().iter().map(|(name, _)| format!("{}.1", name.replace(' ', "-"))).collect());
    let first = std::fs::read_to_string(pages.join("cutover.1")).unwrap();
    let printed = String::from_utf8(cutover(&["man"]).stdout).unwrap();
    assert!(first == printed, "without a folder, the first page is printed:\n{printed}");
    assert!(first.starts_with(".ie") && first.contains("Exit status") && !first.contains("worker process"), "{first}");
}

#[test]
fn every_command_and_every_argument_says_what_it_is() {
    let silent: Vec<String> = visible()
        .iter()
        .flat_map(|(name, command)| {
            let itself = command.get_about().is_none().then(|| name.clone());
            let arguments = command.get_arguments().filter(|argument| argument.get_help().is_none());
            itself.into_iter().chain(arguments.map(move |argument| format!("{name}: {}", argument.get_id())))
        })
        .collect();
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn every_help_fits_80_columns() {
    for (name, _) in visible() {
        for flag in ["-h", "--help"] {
            let words: Vec<&str> = name.split(' ').skip(1).chain([flag]).collect();
            let text = String::from_utf8(cutover(&words).stdout).unwrap();
            let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
            assert!(wide.is_empty(), "{words:?}: {wide:?}");
        }
    }
}

#[test]
fn neither_needs_to_know_who_asks() {
    for args in [&["completions", "bash"][..], &["man"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_cutover")).args(args).env_clear().output().unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "{args:?}");
    }
}
