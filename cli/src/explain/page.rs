//! The reference at the terminal.

use super::key::{Key, Table};
use crate::args::ProgramWord;
use crate::render::ink::Ink;
use crate::render::page::Page;

/// The page.
pub fn page(program: ProgramWord, tables: &[Table], ink: Ink) -> String {
    let mut page = Page::new(ink);
    page.paragraph(0, format_args!("Settings of the {}, {}", program.word(), program.file()));
    for table in tables {
        if !table.heading.is_empty() {
            page.heading(&table.heading);
            page.paragraph(2, &table.what);
        }
        for key in &table.keys {
            write(&mut page, key);
        }
    }
    page.finish()
}

fn write(page: &mut Page, key: &Key) {
    page.gap();
    // Backquotes are for the page in `docs`; here they would keep a long default from being wrapped.
    page.paragraph(2, format_args!("{}: {}", key.name, key.facts().replace('`', "")));
    page.paragraph(4, &key.what);
    page.command(4, &key.example);
}
