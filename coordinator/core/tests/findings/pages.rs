//! The pages of `docs/findings` are made from the code: the words stand beside each rule, the examples are what the rules say
//! of the cases here. `CUTOVER_WRITE_PAGES=1` writes them anew.

use super::*;
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/findings")
}

/// Every page by its file's name.
fn made_pages() -> BTreeMap<String, String> {
    let cases = cases();
    let mut pages = BTreeMap::from([("README.md".to_owned(), findings::index(findings::pages()))]);
    for page in findings::pages() {
        let example = |level: &Level| {
            let case = cases.iter().find(|case| case.code == page.code && case.level == *level);
            let case = case.unwrap_or_else(|| panic!("{} has no case of level {level}", page.code));
            let of_it = |finding: &Finding| finding.code.0 == page.code && finding.level == *level;
            case.world.findings().into_iter().find(of_it).unwrap()
        };
        let examples: Vec<Finding> = page.levels.iter().map(example).collect();
        pages.insert(format!("{}.md", page.code), page.markdown(&examples));
    }
    pages
}

#[test]
fn the_pages_of_findings_say_what_the_code_says() {
    let pages = made_pages();
    if std::env::var_os("CUTOVER_WRITE_PAGES").is_some() {
        let _ = fs::remove_dir_all(folder());
        fs::create_dir_all(folder()).unwrap();
        for (name, text) in &pages {
            fs::write(folder().join(name), text).unwrap();
        }
    }
    let again = "run it with CUTOVER_WRITE_PAGES=1 to write the pages anew, and look at what changed";
    let there: BTreeSet<String> = fs::read_dir(folder())
        .unwrap_or_else(|error| panic!("docs/findings: {error}; {again}"))
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, pages.keys().cloned().collect(), "{again}");
    for (name, text) in &pages {
        let found = fs::read_to_string(folder().join(name)).unwrap();
        assert!(found == *text, "docs/findings/{name} is stale: {again}");
    }
}

#[test]
fn a_page_names_every_level_and_source_that_its_cases_show() {
    for case in cases() {
        let page = findings::pages().find(|page| page.code == case.code).unwrap();
        for finding in case.world.findings().iter().filter(|finding| finding.code.0 == case.code) {
            assert!(page.levels.contains(&finding.level), "{}: {}", page.code, finding.level);
            assert!(page.sources.contains(&finding.source), "{}: {}", page.code, finding.source);
        }
    }
}

#[test]
fn every_page_is_of_a_code_that_a_rule_says() {
    let codes: Vec<&str> = findings::codes().collect();
    let pages: Vec<&str> = findings::pages().map(|page| page.code).collect();
    assert_eq!(pages.iter().collect::<BTreeSet<_>>(), codes.iter().collect());
    assert_eq!(pages.len(), codes.len(), "two pages of one code");
}
