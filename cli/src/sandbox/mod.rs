//! The sandbox: an upgrade from end to end in a folder of its own, with clients that write all the time.
//!
//! - `place`: the folder, what is remembered, who uses it.
//! - `hosts`: one agent each, with its ledger services; `database`: the PostgreSQL that they share.
//! - `etcd`: what several coordinators share.
//! - `releases`, `seed`, `http`: the ledger that is upgraded, and what it holds.
//! - `balancer`, `writer`: the clients, and how they reach an instance; `tally`: what they saw.
//! - `run`: from the plan to the summary.
//! - `processes`: nothing is left behind.

mod balancer;
mod database;
pub(crate) mod etcd;
mod hosts;
mod http;
mod place;
mod processes;
pub(crate) mod releases;
mod run;
mod seed;
mod summary;
mod tally;
mod writer;

use crate::Context;
use crate::args::{CleanArgs, ResumeArgs, SandboxArgs, SandboxCommand, StorageWord};
use crate::client::How;
use crate::exit::Exit;
use crate::render::words::quoted;
use crate::trouble::Trouble;
use place::{Sandbox, State};
use std::path::{Path, PathBuf};

/// `cutover sandbox`, and what is below it.
///
/// # Errors
/// [`Trouble`].
pub async fn command(context: &Context, args: SandboxArgs) -> Result<Exit, Trouble> {
    match args.command {
        None => begin(context, args).await,
        Some(SandboxCommand::Resume(args)) => resume(context, args).await,
        Some(SandboxCommand::Clean(args)) => clean(context, args).await,
    }
}

async fn begin(context: &Context, args: SandboxArgs) -> Result<Exit, Trouble> {
    // Before anything is made: who decides is stored with what was decided.
    context.operator()?;
    match args.storage {
        StorageWord::Sqlite => {}
        StorageWord::Postgres => database::installed()?,
    }
    if args.coordinators > 1 {
        etcd::installed()?;
    }
    let dir = place::make(&args)?;
    let made = set_up(&args, &dir).await;
    let sandbox = match made {
        Ok(sandbox) => sandbox,
        Err(trouble) => {
            // Nothing was tried yet: what was made is of no use to anybody.
            let _ = database::end(&dir).and_then(|_| {
                std::fs::remove_dir_all(&dir).map_err(|error| Trouble::failed("cannot remove the sandbox", error))
            });
            return Err(trouble);
        }
    };
    let ask = run::Ask {
        how: args.how.how(),
        ledgers: args.ledgers,
        transactions: args.transactions,
        yes: args.yes,
        keep: args.keep || args.dir.is_some(),
        decide: None,
    };
    run::run(context, sandbox, ask).await
}

async fn set_up(args: &SandboxArgs, dir: &Path) -> Result<Sandbox, Trouble> {
    let place = releases::place(args.releases.as_deref(), [&args.from, &args.to], dir).await?;
    let mut former = releases::find(&place, &args.from)?;
    let target = releases::find(&place, &args.to)?;
    let mut coordinators = place::endpoints(args.storage, dir, args.coordinators)?.into_iter();
    let shares = args.coordinators > 1;
    let state = State {
        from: args.from.clone(),
        to: args.to.clone(),
        storage: args.storage,
        lanes: args.lanes,
        coordinator: coordinators.next().unwrap_or_default(),
        followers: coordinators.collect(),
        etcd: if shares { place::free_addresses(2)?.try_into().ok() } else { None },
        simulated: false,
        archives: [former.digest(), target.digest()],
        releases: place,
        addresses: place::free_addresses(args.instances)?,
        seeded: None,
        before: Vec::new(),
        plan: None,
        upgrade: None,
    };
    let mut sandbox = Sandbox::create(dir.to_owned(), state).await?;
    for host in &sandbox.hosts {
        sandbox.state.simulated = former.unpack(&host.binary())?;
    }
    sandbox.save()?;
    sandbox.make_database()?;
    Ok(sandbox)
}

async fn resume(context: &Context, args: ResumeArgs) -> Result<Exit, Trouble> {
    let dir = match args.dir {
        Some(dir) => dir,
        None => only_one_left()?,
    };
    let sandbox = Sandbox::open(&dir).await?;
    let named = !dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(place::PREFIX));
    let ask = run::Ask {
        how: How::default(),
        ledgers: 3,
        transactions: 300,
        yes: args.yes,
        keep: args.keep || named,
        decide: args.decide.zip(args.reason),
    };
    run::run(context, sandbox, ask).await
}

fn only_one_left() -> Result<PathBuf, Trouble> {
    let mut left = place::left();
    match left.len() {
        0 => Err(Trouble::usage("no sandbox was left in the temporary folder").next("name its folder with --dir")),
        1 => Ok(left.remove(0)),
        _ => {
            let names: Vec<String> = left.iter().map(|dir| quoted(&dir.display().to_string())).collect();
            Err(Trouble::usage(format!("{} sandboxes were left: {}", names.len(), names.join(", ")))
                .next("name one with --dir, or remove them with `cutover sandbox clean`"))
        }
    }
}

async fn clean(context: &Context, args: CleanArgs) -> Result<Exit, Trouble> {
    let dirs = match args.dir {
        Some(dir) => vec![dir],
        None => place::left(),
    };
    let mut cleaned = Vec::new();
    for dir in &dirs {
        // Opening takes its lock: nobody's running sandbox is removed.
        let sandbox = Sandbox::open(dir).await?;
        let ended = remove(&sandbox.dir).await?;
        context.screen.line(&format!("{} is removed; {ended} process(es) of it were ended", sandbox.dir.display()));
        cleaned.push(sandbox.dir.display().to_string());
    }
    if dirs.is_empty() {
        context.screen.line("No sandbox was left in the temporary folder.");
    }
    context.screen.value(&serde_json::json!({ "cleaned": cleaned }))?;
    Ok(Exit::Done)
}

/// Ends every process of a sandbox, its database last, and removes its folder. Answers with how many processes there were.
async fn remove(dir: &Path) -> Result<usize, Trouble> {
    let mut ended = processes::end(dir).await;
    ended += usize::from(database::end(dir)?);
    std::fs::remove_dir_all(dir)
        .map_err(|error| Trouble::failed(format!("cannot remove the sandbox {}", dir.display()), error))?;
    Ok(ended)
}
