//! What going back would mean, or has begun to do.

use super::ink::Ink;
use super::page::Page;
use super::words;
use cutover_vocabulary::status::WhatIf;

/// The page. `lost_writes` is what the API says would be lost; `begun` whether it has begun.
pub fn page(what: &WhatIf, lost_writes: &str, begun: bool, ink: Ink) -> String {
    let mut page = Page::new(ink);
    let title = match (what.allowed, begun) {
        (_, true) => page.ink.heed("Going back"),
        (true, false) => page.ink.strong("Going back is possible"),
        (false, false) => page.ink.stop("Going back is not possible"),
    };
    page.raw(&title);
    page.paragraph(2, &what.meaning);
    if !lost_writes.is_empty() {
        page.entry(2, 12, "Lost writes", lost_writes);
    }
    if !what.stages.is_empty() {
        page.heading("Stages, in this order");
        for stage in &what.stages {
            let wave = stage.wave.map(|wave| format!(" {}", u32::from(wave) + 1)).unwrap_or_default();
            page.entry(2, 22, &format!("{}{wave}", words::phase(stage.phase)), words::doing(stage.phase));
        }
    }
    if !what.ledgers.is_empty() {
        page.heading("Ledgers that would be restored if they changed");
        for ledger in &what.ledgers {
            page.item(2, ledger);
        }
    }
    page.finish()
}
