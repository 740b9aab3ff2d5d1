//! The reference as `docs/settings.md`.

use super::key::Table;
use super::reference;
use crate::args::ProgramWord;
use crate::render::page::wrapped;
use std::fmt::Write as _;

/// Columns of a page in `docs`.
const WIDTH: usize = 120;

/// The whole page, both programs.
pub fn markdown() -> String {
    let mut text = "<!-- Made from the doc comments of the structs that read the files: change them there, then run \
                    `CUTOVER_WRITE_PAGES=1 cargo test -p cutover --test settings_reference`. -->\n# Settings\n\n"
        .to_owned();
    let about = "Every key of the two settings files, made from the code; `cutover explain agent` and `cutover explain \
                 coordinator` say the same at the terminal. TOML; a key that is not here is refused, with its line and the \
                 nearest right one. `cutover doctor --settings FILE` looks whether an agent's file fits its host.";
    paragraph(&mut text, about);
    for program in ProgramWord::ALL {
        let _ = write!(text, "\n## {}: `{}`\n", program.title(), program.file());
        reference(program).iter().for_each(|table| section(&mut text, table));
    }
    text
}

fn section(text: &mut String, table: &Table) {
    if !table.heading.is_empty() {
        let _ = write!(text, "\n### `{}`\n\n", table.heading);
        paragraph(text, &table.what);
    }
    for key in &table.keys {
        let _ = write!(text, "\n**`{}`**: {}\n\n", key.name, key.facts());
        paragraph(text, &key.what);
        let _ = write!(text, "\n```toml\n{}\n```\n", key.example);
    }
}

fn paragraph(text: &mut String, words: &str) {
    for line in wrapped(words, WIDTH) {
        let _ = writeln!(text, "{line}");
    }
}
