//! From the plan to the summary: first time and resumed alike, because every step looks what is there already.

use super::place::Sandbox;
use super::summary;
use super::writer::Writer;
use super::{processes, remove, seed};
use crate::Context;
use crate::args::Decided;
use crate::client::{Client, How, Steer};
use crate::commands::{plan as plans, upgrade as upgrades};
use crate::exit::Exit;
use crate::follow;
use crate::house::{self, House, Keeps};
use crate::render::losses::Rows;
use crate::render::next::Next;
use crate::render::page::Page;
use crate::render::status as pages;
use crate::render::words::quoted;
use crate::screen::Screen;
use crate::trouble::Trouble;
use cutover_agent::settings::Settings;
use cutover_vocabulary::UpgradeId;
use cutover_vocabulary::plan::{Plan, PreparationId};
use cutover_vocabulary::status::{State, Status, WaitingFor};
use std::time::Duration;

/// How long an instance may take until it answers.
const ANSWER: Duration = Duration::from_secs(30);
/// How long the client may take until some writes went through.
const WRITES: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// What the person wants.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) how: How,
    pub(super) ledgers: u16,
    pub(super) transactions: u64,
    pub(super) yes: bool,
    pub(super) keep: bool,
    pub(super) decide: Option<(Decided, String)>,
}

/// How a run came to its end.
enum End {
    /// By itself; the folder stays if the person wants it, or if there is something left to do in it.
    Ended { exit: Exit, to_do: bool },
    /// By Ctrl-C. Nothing is removed or ended.
    Interrupted,
}

/// Runs it to its end. Leaves no process behind, unless Ctrl-C ended it.
pub(super) async fn run(context: &Context, mut sandbox: Sandbox, ask: Ask) -> Result<Exit, Trouble> {
    house::log_to(&sandbox.log())?;
    sandbox.start_database()?;
    sandbox.start_etcd().await?;
    headline(context.screen, &sandbox);
    let keep = ask.keep;
    let ended = tokio::select! {
        ended = walk(context, &mut sandbox, ask) => ended,
        () = second_interrupt() => Ok(End::Interrupted),
    };
    // The coordinators end with this process, and nobody else uses it.
    sandbox.etcd = None;
    match ended {
        Ok(End::Ended { exit, to_do }) => {
            if keep || to_do {
                processes::end(&sandbox.dir).await;
                sandbox.database = None;
            } else {
                remove(&sandbox.dir).await?;
                sandbox.leave_database();
            }
            Ok(exit)
        }
        Ok(End::Interrupted) => {
            sandbox.leave_database();
            interrupted(context.screen, &sandbox);
            Ok(Exit::Held)
        }
        Err(trouble) => {
            // What went wrong can be looked at; nothing of it runs on.
            processes::end(&sandbox.dir).await;
            let stays = format!(
                "the sandbox stays in {}: see {}; remove it with `{}`",
                sandbox.dir.display(),
                sandbox.log().display(),
                sandbox.clean()
            );
            context.screen.line(&stays);
            Err(trouble)
        }
    }
}

/// The first line says what is tried here, and of which file it is.
fn headline(screen: Screen, sandbox: &Sandbox) {
    let state = &sandbox.state;
    let what = if state.simulated { "SIMULATED" } else { "REAL" };
    screen.line(&format!("{what} {} {}", state.to, state.archives[1]));
    let mut page = Page::new(screen.ink);
    let explanation = if state.simulated {
        "The ledger is this workspace's simulator, not the real one. The digest is the SHA-256 of the target's archive."
    } else {
        "The ledger is the one in the release. The digest is the SHA-256 of the target's archive."
    };
    page.paragraph(0, explanation);
    page.entry(2, 11, "Sandbox", sandbox.dir.display());
    let instances = sandbox.hosts.iter().flat_map(|host| {
        host.instances.iter().map(|it| format!("{} at {} (agent {})", it.name, it.ledger.address, host.name))
    });
    page.entry(2, 11, "Instances", instances.collect::<Vec<_>>().join(", "));
    page.entry(2, 11, "Storage", sandbox.storage());
    if let Some([clients, _]) = &state.etcd {
        let all = sandbox.coordinators().collect::<Vec<_>>().join(", ");
        page.entry(2, 11, "Facts", format_args!("etcd at {clients}; coordinators at {all}"));
    }
    page.raw("");
    screen.page(&page.finish());
}

fn interrupted(screen: Screen, sandbox: &Sandbox) {
    let left = processes::of(&sandbox.dir).len();
    let mut page = Page::new(screen.ink);
    let title = page.ink.heed("Stopped");
    page.raw("");
    page.raw(&title);
    page.paragraph(2, format_args!("{left} process(es) of the sandbox stay as they are. Go on, or remove everything:"));
    page.command(4, &sandbox.resume());
    page.command(4, &sandbox.clean());
    screen.page(&page.finish());
}

async fn walk(context: &Context, sandbox: &mut Sandbox, ask: Ask) -> Result<End, Trouble> {
    let settings = sandbox.hosts.iter().map(|host| Settings::load(&host.settings()));
    let settings = settings
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Trouble::failed("cannot use the sandbox's settings", error))?;
    let (folder, url) = (sandbox.store()?, sandbox.state.etcd.as_ref().map(|[clients, _]| format!("http://{clients}")));
    let keeps = url.as_deref().map_or(Keeps::Folder(&folder), Keeps::Etcd);
    let house = House::start(settings, keeps, &limits(sandbox)).await?;
    let result = inside(context, sandbox, &house, ask).await;
    house.stop(result).await
}

/// What the coordinator is set to, beside its usual limits: nobody waits half a minute for each wave of a trial.
fn limits(sandbox: &Sandbox) -> String {
    let lanes = sandbox.state.lanes.map(|lanes| format!("lanes = {lanes}\n"));
    lanes.unwrap_or_default() + "bake_seconds = 3\n"
}

async fn inside(context: &Context, sandbox: &mut Sandbox, house: &House, ask: Ask) -> Result<End, Trouble> {
    let screen = context.screen;
    let client = house.client(&context.operator()?, &sandbox.names()).await?;
    let context = Context { next: Next::of(&crate::program(), Some(&house.named())), ..context.clone() };
    if sandbox.state.upgrade.is_none() {
        // A kill right after the start: the coordinator knows of an upgrade that was not written down here.
        if let Some(newest) = client.list().await?.first() {
            sandbox.state.upgrade = newest.id.parse().ok();
        }
    }
    if sandbox.state.upgrade.is_none() {
        let interrupted = tokio::select! {
            prepared = prepare(screen, sandbox, &ask) => prepared.map(|()| false),
            _ = tokio::signal::ctrl_c() => Ok(true),
        };
        if interrupted? {
            return Ok(End::Interrupted);
        }
    }
    let writer = Writer::begin(sandbox.balancer(), &sandbox.writes())?;
    let result = upgrade(&context, sandbox, &client, &writer, &ask).await;
    let ended = writer.end().await;
    let (status, interrupted) = match result? {
        Step::NotStarted(exit) => return Ok(not_started(screen, sandbox, exit, ask.keep)),
        Step::Standstill(status) => (status, false),
        Step::Interrupted(status) => (status, true),
    };
    ended?;
    if interrupted {
        screen.value(&serde_json::json!({ "interrupted": status, "dir": sandbox.dir }))?;
        return Ok(End::Interrupted);
    }
    let to_do = !status.state.ended();
    let summary = summary::gather(sandbox, &client, *status, ask.keep || to_do).await?;
    if to_do {
        // Nobody serves the socket once this command has ended.
        let next = Next::Sandbox(sandbox.resume());
        screen.page("\n");
        screen.page(&pages::page(&summary.status, &next, screen.ink));
    }
    screen.page("\n");
    screen.page(&summary.page(sandbox, screen.ink));
    screen.value(&summary)?;
    Ok(End::Ended { exit: summary.exit(), to_do })
}

fn not_started(screen: Screen, sandbox: &Sandbox, exit: Exit, keep: bool) -> End {
    let mut page = Page::new(screen.ink);
    page.raw("");
    let title = page.ink.strong("Next");
    page.raw(&title);
    match (exit, keep) {
        (Exit::NeedsApproval, true) => {
            page.paragraph(2, "In this sandbox, approve exactly what is said above and go on:");
            page.command(4, &format!("{} --yes", sandbox.resume()));
        }
        (Exit::NeedsApproval, false) => {
            page.paragraph(2, "The sandbox is removed now. To approve exactly what is said above:");
            page.command(4, &again());
        }
        (Exit::Blocked | Exit::Done | Exit::Error | Exit::Usage | Exit::Held | Exit::WentBack, true) => {
            page.paragraph(2, "The sandbox stays, without its processes. Remove it:");
            page.command(4, &sandbox.clean());
        }
        (Exit::Blocked | Exit::Done | Exit::Error | Exit::Usage | Exit::Held | Exit::WentBack, false) => {
            page.paragraph(2, "The sandbox is removed now.");
        }
    }
    screen.page(&page.finish());
    End::Ended { exit, to_do: false }
}

/// The command that was typed, with the approval.
fn again() -> String {
    let words = std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy()));
    std::iter::once(crate::program()).chain(words).chain(["--yes".to_owned()]).collect::<Vec<_>>().join(" ")
}

/// Waits for every instance to answer, and fills the ledgers once.
async fn prepare(screen: Screen, sandbox: &mut Sandbox, ask: &Ask) -> Result<(), Trouble> {
    let mut before = Vec::new();
    for instance in sandbox.instances() {
        let ledger = &instance.ledger;
        let answers = async {
            loop {
                if let Some(version) = ledger.version().await {
                    return version;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let version = tokio::time::timeout(ANSWER, answers).await.map_err(|_| {
            Trouble::plain(format!(
                "{} at {} did not answer within {} s",
                instance.name,
                ledger.address,
                ANSWER.as_secs()
            ))
            .next(format!(
                "the output of each lies in the folder instances of its agent, below {}",
                sandbox.dir.display()
            ))
        })?;
        before.push(version);
    }
    sandbox.state.before = before;
    if sandbox.state.seeded.is_none() {
        let filled = seed::fill(sandbox.first()?, ask.ledgers, ask.transactions).await?;
        let said: Vec<String> = filled.iter().map(|(ledger, count)| format!("{ledger} {count}")).collect();
        let mut page = Page::new(screen.ink);
        page.paragraph(0, format_args!("Filled through the old instance, transactions: {}.", said.join(", ")));
        page.paragraph(
            0,
            "Clients write to ledger main from now on, all the time, through a load balancer's stand-in.",
        );
        screen.page(&page.finish());
        screen.page("\n");
        sandbox.state.seeded = Some(filled);
    }
    sandbox.save()
}

/// How far the upgrade got.
enum Step {
    NotStarted(Exit),
    Standstill(Box<Status>),
    Interrupted(Box<Status>),
}

async fn upgrade(
    context: &Context,
    sandbox: &mut Sandbox,
    client: &Client,
    writer: &Writer,
    ask: &Ask,
) -> Result<Step, Trouble> {
    let (upgrade, seen) = match sandbox.state.upgrade.clone() {
        Some(upgrade) => {
            let status = go_on(client, &upgrade, ask).await?;
            (upgrade, status.seq)
        }
        None => {
            if !writer.goes_on(10, WRITES).await {
                return Err(Trouble::plain("the sandbox's clients cannot write to the old version"));
            }
            match planned(context, sandbox, client, ask).await? {
                Ok(upgrade) => (upgrade, 0),
                Err(exit) => return Ok(Step::NotStarted(exit)),
            }
        }
    };
    let leaving = "stops the sandbox here, to go on later";
    let status = tokio::select! {
        // The commands that decide a hold work from another terminal as long as this process serves the socket.
        status = follow::through_holds(client, &upgrade, seen, context.screen, &context.next, leaving) => status?,
        _ = tokio::signal::ctrl_c() => {
            return Ok(Step::Interrupted(Box::new(upgrades::pause(context.screen, client, &upgrade).await?)));
        }
    };
    if status.state.ended() {
        // Downtime ends with the first answered write, not with a report.
        writer.goes_on(10, WRITES).await;
    }
    Ok(Step::Standstill(Box::new(status)))
}

/// Plans, approves if that was asked for, and starts.
async fn planned(
    context: &Context,
    sandbox: &mut Sandbox,
    client: &Client,
    ask: &Ask,
) -> Result<Result<UpgradeId, Exit>, Trouble> {
    let plan: Plan = client.plan(&sandbox.deployment()?, &sandbox.state.to, &ask.how).await?;
    let quiet = Context { screen: Screen { json: false, ..context.screen }, ..context.clone() };
    if !context.screen.json {
        // With --yes nobody reads them here: the summary lists them.
        let rows = if ask.yes { Rows::Counted } else { Rows::Listed };
        plans::show(&quiet, &plan, None, rows)?;
    }
    sandbox.state.plan = Some(plan.digest());
    sandbox.save()?;
    match Exit::of_plan(&plan) {
        Exit::NeedsApproval if ask.yes => {
            // Nothing but the sandbox depends on it.
            let answer = |id: &PreparationId| (id.clone(), "this is the sandbox".to_owned());
            let answers = plan.binding.questions.keys().map(answer).collect();
            let approval = client.approve(plan.digest(), "approved with --yes in the sandbox", &answers).await?;
            if !context.screen.json {
                plans::show_approval(&quiet, &plan, &approval, Rows::Counted)?;
            }
        }
        Exit::Done => {}
        exit @ (Exit::NeedsApproval | Exit::Blocked | Exit::Error | Exit::Usage | Exit::Held | Exit::WentBack) => {
            context.screen.value(&serde_json::json!({ "digest": plan.digest(), "plan": plan, "dir": sandbox.dir }))?;
            return Ok(Err(exit));
        }
    }
    let upgrade = client.start(plan.digest()).await?;
    sandbox.state.upgrade = Some(upgrade.clone());
    sandbox.save()?;
    if !context.screen.json {
        upgrades::started(&quiet, &upgrade)?;
    }
    Ok(Ok(upgrade))
}

/// What a resumed sandbox needs to move again.
async fn go_on(client: &Client, upgrade: &UpgradeId, ask: &Ask) -> Result<Status, Trouble> {
    let mut status = client.status(upgrade).await?;
    if let Some((Decided { hold, choice }, reason)) = &ask.decide {
        status = client.decide(upgrade, *hold, *choice, reason).await?;
    }
    if matches!(status.waiting_for, Some(WaitingFor::Resume)) || status.state == State::Paused {
        status = client.steer(upgrade, Steer::Resume, "the sandbox was resumed").await?;
    }
    Ok(status)
}

/// Comes with the second Ctrl-C.
async fn second_interrupt() {
    for _ in 0..2 {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without signals there is no interrupt to come.
            std::future::pending::<()>().await;
        }
    }
}
