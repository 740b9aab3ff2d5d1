//! The reference of the settings files, made of the structs that read them, so that no key is without its line.
//!
//! - [`key`]: the data, out of the JSON Schema of each program's settings.
//! - [`page`], [`markdown`]: the same for the terminal, and for `docs/settings.md`.

pub mod key;
pub mod markdown;
pub mod page;

use crate::Context;
use crate::args::{ExplainArgs, ProgramWord};
use crate::exit::Exit;
use crate::trouble::Trouble;
use key::Table;

/// What may stand in a program's settings file: the keys outside any table first.
pub fn reference(program: ProgramWord) -> Vec<Table> {
    match program {
        ProgramWord::Agent => key::tables(&cutover_agent::settings::schema()),
        ProgramWord::Coordinator => key::tables(&cutover_coordinator::settings::schema()),
    }
}

/// `cutover explain`.
///
/// # Errors
/// [`Trouble::Usage`] when there is no such key.
pub fn command(context: &Context, args: &ExplainArgs) -> Result<Exit, Trouble> {
    let mut tables = reference(args.program);
    if let Some(wanted) = &args.key {
        let all = names(&tables);
        for table in &mut tables {
            table.keys.retain(|key| key.name == *wanted || key.path == *wanted);
        }
        tables.retain(|table| !table.keys.is_empty());
        if tables.is_empty() {
            let near: Vec<&str> =
                all.iter().filter(|name| name.contains(wanted.as_str())).map(String::as_str).collect();
            let hint = if near.is_empty() { all.join(", ") } else { near.join(", ") };
            return Err(Trouble::usage(format!("the settings of the {} have no key {wanted}", args.program.word()))
                .next(format!("there are: {hint}")));
        }
    }
    context.screen.page(&page::page(args.program, &tables, context.screen.ink));
    for key in tables.iter().flat_map(|table| &table.keys) {
        context.screen.value(key)?;
    }
    Ok(Exit::Done)
}

fn names(tables: &[Table]) -> Vec<String> {
    tables.iter().flat_map(|table| &table.keys).map(|key| key.path.clone()).collect()
}
