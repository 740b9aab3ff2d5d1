//! ARCHITECTURE.md is true as far as a program can see: what it names is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file below a folder, but for what is built.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            if name != "target" && name != ".git" {
                files(&path, found);
            }
        } else {
            found.push(path);
        }
    }
}

/// What stands between backticks, outside of blocks.
fn names(page: &str) -> BTreeSet<&str> {
    page.split("```").step_by(2).flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

/// Whether a text has that word, and not just as part of another.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(word).any(|(at, _)| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}

#[test]
fn what_the_architecture_names_is_there() {
    let root = root();
    let mut all = Vec::new();
    files(&root, &mut all);
    let page = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let source = |path: &&PathBuf| {
        path.extension().is_some_and(|kind| ["rs", "toml", "proto"].iter().any(|wanted| kind == *wanted))
            || path.ends_with("Makefile")
    };
    // Its own text would answer for every name.
    let sources: Vec<String> = all.iter().filter(source).filter(|path| !path.ends_with(file!())).map(read).collect();
    let is_file = |name: &str| all.iter().any(|path| path.ends_with(name)) || root.join(name).exists();
    let is_folder = |name: &str| all.iter().any(|path| path.ancestors().any(|folder| folder.ends_with(name)));
    let is_word = |name: &str| sources.iter().any(|text| has_word(text, name));
    let is_mutant = |name: &str| root.join(format!("tests/mutants/{name}.patch")).exists();
    let is_there = |name: &str| {
        is_file(name)
            || is_folder(name)
            || is_mutant(name)
            || name.split([' ', ':']).filter(|word| !word.is_empty()).all(is_word)
    };
    let missing: Vec<&str> = names(&page).into_iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
}

#[test]
fn every_mutant_stands_beside_the_invariant_that_it_breaks() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let named = names(&page);
    let patches = std::fs::read_dir(root().join("tests/mutants")).unwrap().flatten();
    let mutants: Vec<String> =
        patches.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".patch")?.to_owned())).collect();
    assert!(mutants.len() > 20, "{mutants:?}");
    let unnamed: Vec<&String> = mutants.iter().filter(|mutant| !named.contains(mutant.as_str())).collect();
    assert!(unnamed.is_empty(), "mutants that no invariant names: {unnamed:?}");
}
