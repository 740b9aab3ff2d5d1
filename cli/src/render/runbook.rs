//! The runbook of one upgrade: who, where and what, for the night when Cutover itself cannot do it. Plain text, for paper.
//!
//! The commands that put a host back stand nowhere here: `cutover-agent local status UPGRADE` prints them on each host, by what
//! lies there. This page says on which host to run which part of them, and in which order.

use super::ink::Ink;
use super::next::Next;
use super::page::Page;
use super::words;
use cutover_vocabulary::instance::{InstanceReport, RunState};
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::plan::Strategy;
use cutover_vocabulary::status::{InstanceStatus, Status, WhatIf};
use cutover_vocabulary::storage::{RecoveryPoint, StorageIdentity};
use cutover_vocabulary::{AgentName, InstanceName, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// What the page is made of.
#[derive(Debug, Clone)]
pub struct Book {
    /// Where the upgrade stands.
    pub status: Status,
    /// The agent that touches the storage.
    pub runner: AgentName,
    /// Which storage.
    pub storage: StorageIdentity,
    /// When the last fact was stored that the page knows of.
    pub as_of: Timestamp,
    /// What going back would mean.
    pub back: WhatIf,
    /// What connected agents say of their instances.
    pub seen: BTreeMap<InstanceName, InstanceReport>,
}

/// The page.
pub fn page(book: &Book, next: &Next) -> String {
    let mut page = Page::new(Ink::PLAIN);
    head(&mut page, book, next);
    hosts(&mut page, book);
    points(&mut page, book);
    with_cutover(&mut page, book, next);
    by_hand(&mut page, book, next);
    losses(&mut page, book, next);
    page.finish()
}

impl Book {
    fn crossed(&self, border: Border) -> bool {
        self.status.borders.iter().any(|(crossed, _)| *crossed == border)
    }
    fn rolls(&self) -> bool {
        match self.status.strategy {
            Strategy::Rolling | Strategy::Rejoin => true,
            Strategy::Downtime => false,
        }
    }
    /// Recovery points, the system store's last: it is restored last.
    fn points(&self) -> impl Iterator<Item = &RecoveryPoint> {
        self.status.ledgers.iter().filter_map(|ledger| ledger.point.as_ref()).chain(&self.status.system)
    }
    /// Every agent with its instances, the runner first.
    fn agents(&self) -> Vec<(&AgentName, Vec<&InstanceStatus>)> {
        let mut by_agent: BTreeMap<&AgentName, Vec<&InstanceStatus>> = BTreeMap::new();
        for instance in &self.status.instances {
            by_agent.entry(&instance.agent).or_default().push(instance);
        }
        let runner = by_agent.remove_entry(&self.runner);
        runner.into_iter().chain(by_agent).collect()
    }
    /// Whether an order or a person has fenced it, by what its agent says or, where that is not connected, by the facts.
    fn fenced(&self, instance: &InstanceStatus) -> bool {
        match self.seen.get(&instance.name) {
            Some(report) => report.fenced,
            None => instance.down.is_some() || instance.stopping.is_some(),
        }
    }
    /// Whether this upgrade has stopped it, may have, or has moved it to the target.
    fn touched(&self, instance: &InstanceStatus) -> bool {
        let moved = instance.up.as_ref().is_some_and(|(_, version)| *version == self.status.target);
        moved || instance.down.is_some() || instance.stopping.is_some() || self.fenced(instance)
    }
    fn rejoins(&self) -> bool {
        match self.status.strategy {
            Strategy::Rejoin => true,
            Strategy::Rolling | Strategy::Downtime => false,
        }
    }
    fn way(&self) -> Way {
        let touched = |instance: &InstanceStatus| self.touched(instance);
        if self.status.state.ended() {
            Way::Ended
        } else if self.rejoins() {
            Way::Rejoin
        } else if self.rolls() && self.status.instances.iter().any(touched) {
            Way::Rolling
        } else if self.rolls() {
            Way::Untouched
        } else if self.crossed(Border::OpenAuthorised) {
            Way::Opened
        } else if self.points().next().is_some() {
            Way::Restore
        } else if self.status.instances.iter().any(touched) {
            Way::Start
        } else {
            Way::Untouched
        }
    }
}

/// What the way back by hand consists of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Nothing was stopped.
    Untouched,
    /// Instances are stopped, and nothing is kept yet.
    Start,
    /// Recovery points are there.
    Restore,
    /// Nothing is ever restored.
    Rolling,
    /// Nothing leads back: what is brought in stays down.
    Rejoin,
    /// Clients were let in.
    Opened,
    /// It is over.
    Ended,
}

fn head(page: &mut Page, book: &Book, next: &Next) {
    let status = &book.status;
    page.raw(&format!("Runbook of upgrade {}", status.id));
    let stage = status.stages.iter().rev().find(|stage| stage.entered.is_some());
    let phase = stage.map_or("not begun", |stage| words::phase(stage.stage.phase));
    page.entry(2, 12, "Deployment", status.deployment.as_str());
    page.entry(
        2,
        12,
        "Upgrade",
        format_args!(
            "from {} to {}, {}",
            status.from,
            status.target,
            words::strategy(status.strategy, status.instances.len())
        ),
    );
    page.entry(2, 12, "Stands", format_args!("{}, in {phase}", status.state));
    page.entry(2, 12, "Storage", words::storage(&book.storage));
    page.entry(2, 12, "As of", format_args!("{}, fact {}", words::moment(book.as_of), status.seq));
    page.gap();
    page.paragraph(0, "Print it again whenever the phase has changed, for it says what holds now:");
    page.command(4, &next.runbook(&status.id));
    page.paragraph(0, "What to do in general, and what never to do: docs/recovery.md.");
}

fn hosts(page: &mut Page, book: &Book) {
    page.heading("1. Hosts");
    for (agent, instances) in book.agents() {
        let runs = *agent == book.runner && !book.rejoins();
        let runner = if runs { ", the runner: it alone touches the storage" } else { "" };
        page.paragraph(2, format_args!("host of agent {agent}{runner}"));
        for instance in instances {
            let fenced = if book.fenced(instance) { "FENCED" } else { "not fenced" };
            let runs = match book.seen.get(&instance.name).map(|report| &report.run) {
                Some(RunState::Running { pid }) => format!("runs as process {pid}"),
                Some(RunState::Stopped) => "stopped".to_owned(),
                Some(RunState::Unknown { why }) => format!("not known whether it runs: {why}"),
                None => "its agent is not connected, so this is by the facts".to_owned(),
            };
            page.item(4, format_args!("instance {}: {fenced}, {runs}", instance.name));
        }
    }
}

fn points(page: &mut Page, book: &Book) {
    page.heading("2. Recovery points");
    if book.rejoins() {
        return page.paragraph(2, "None: a rejoin does not touch the storage.");
    }
    if book.points().next().is_none() {
        page.paragraph(
            2,
            format_args!(
                "None yet. They will lie on the host of agent {} and nowhere else, below `recovery` of its settings (default: \
                 in `state`), in {}/. Print this page again after Secure.",
                book.runner, book.status.id
            ),
        );
        return;
    }
    page.paragraph(
        2,
        format_args!(
            "On the host of agent {} and nowhere else. Never edit or delete them; work on copies. Each was shown to restore.",
            book.runner
        ),
    );
    let folders: BTreeSet<_> = book.points().filter_map(|point| std::path::Path::new(&point.place).parent()).collect();
    for folder in folders {
        page.entry(2, 8, "Folder", folder.display());
    }
    for point in book.points() {
        page.item(2, &point.item);
        let Some(digest) = point.sha256 else {
            page.paragraph(4, "did not exist before the upgrade");
            continue;
        };
        page.entry(4, 8, "File", &point.place);
        page.entry(4, 8, "sha256", digest);
        page.entry(4, 8, "Taken", format_args!("{}, {}", words::moment(point.taken), words::bytes(point.bytes)));
    }
}

fn with_cutover(page: &mut Page, book: &Book, next: &Next) {
    page.heading("3. Going back as long as the coordinator runs");
    page.entry(2, 6, "Now", &book.back.meaning);
    if book.back.allowed {
        let migrated = book.crossed(Border::MigrateAuthorised) || book.crossed(Border::OpenAuthorised);
        page.command(4, &if migrated { next.rollback(&book.status.id) } else { next.abort(&book.status.id) });
        page.paragraph(2, "It proves each step. Part 4 does not: it is for when this cannot be done.");
    }
}

fn by_hand(page: &mut Page, book: &Book, next: &Next) {
    page.heading("4. Going back by hand, without a coordinator");
    let id = &book.status.id;
    let way = book.way();
    match way {
        Way::Ended => return page.paragraph(2, "The upgrade has ended: there is nothing to go back from."),
        Way::Opened => {
            return page.paragraph(
                2,
                "Do not: clients were let in on the new version, and a restore would lose what they wrote since. Go forward: \
                 `cutover-agent local status` shows which instances are still fenced. Only where the owners of the data gave up \
                 in writing what was written since: docs/recovery.md.",
            );
        }
        Way::Untouched => {
            page.paragraph(2, "No instance had been stopped when this was printed. On every host of part 1:");
            page.command(4, &format!("cutover-agent local takeover {id} --note 'WHY'"));
            page.command(4, &format!("cutover-agent local status {id}"));
            page.paragraph(
                2,
                "If any host then shows FENCED, or recovery points, this page is too old: go on by what the hosts print, the \
                 one with the recovery points first, and by docs/recovery.md.",
            );
        }
        Way::Rejoin => stay_down(page, book),
        Way::Start | Way::Restore | Way::Rolling => steps(page, book, way),
    }
    page.paragraph(2, "In the end, once a coordinator answers:");
    page.command(4, &next.close_by_hand(id));
}

/// Of a rejoin: each host of its instances keeps them down.
fn stay_down(page: &mut Page, book: &Book) {
    page.paragraph(
        2,
        "NEVER start what these instances had before: it is older than the storage. Where they are not to serve, they are stopped and \
         stay down behind their fence; the other instances of the deployment serve, and nothing is to be done there. On every host of \
         part 1, read what it prints, then run it:",
    );
    page.command(4, &format!("cutover-agent local takeover {} --note 'WHY'", book.status.id));
    for instance in &book.status.instances {
        page.command(4, &format!("cutover-agent local fence {}", instance.name));
    }
    page.command(4, &format!("cutover-agent local status {}", book.status.id));
    page.paragraph(2, "and stop the unit where it runs. Later: `cutover rejoin` again.");
}

/// Which part of what each host prints is run where.
fn steps(page: &mut Page, book: &Book, way: Way) {
    page.paragraph(
        2,
        match way {
            Way::Rolling => {
                "Nothing is restored: clients have written since the recovery points were taken. The former version is started \
                 on the storage as it is, one host after the other."
            }
            Way::Start => {
                "No data had been touched when this was printed. Should it have gone on since, the runner's own script restores \
                 what it keeps, before any other host starts the former version. In this order, each script to its end before \
                 the next; if one fails, stop and read docs/recovery.md."
            }
            Way::Untouched | Way::Restore | Way::Opened | Way::Rejoin | Way::Ended => {
                "Each host prints its own commands, by what lies there. Read them before you run them. In this order, each \
                 script to its end before the next; if one fails, stop and read docs/recovery.md."
            }
        },
    );
    page.paragraph(
        2,
        "Where an agent's settings are not /etc/cutover/agent.toml: `export CUTOVER_AGENT_SETTINGS=FILE` first.",
    );
    let agents = book.agents();
    // Whatever this page knows of, the runner runs all of what its host prints: it may have migrated since.
    let keeps = |agent: &AgentName| way != Way::Rolling && *agent == book.runner;
    if way != Way::Rolling {
        page.paragraph(
            2,
            format_args!(
                "Not once clients were let in on {}: a restore would lose what they wrote. That is so where `local status` of any \
                 host shows an order `…/open/…`.",
                book.status.target
            ),
        );
    }
    let mut number = 0;
    let mut step = |page: &mut Page, agent: &AgentName, commands: &[String]| {
        number += 1;
        page.gap();
        page.paragraph(2, format_args!("Step {number}, on the host of agent {agent}:"));
        commands.iter().for_each(|command| page.command(4, command));
    };
    let status = format!("cutover-agent local status {} > status.txt", book.status.id);
    let first = [status.clone(), FIRST.to_owned(), "sh -e first.sh".to_owned()];
    let second = [SECOND.to_owned(), "sh -e second.sh".to_owned()];
    if way == Way::Rolling {
        let touched = |instances: &[&InstanceStatus]| instances.iter().any(|it| book.touched(it));
        for (agent, instances) in agents.iter().filter(|(_, instances)| touched(instances)) {
            step(page, agent, &[&first[..], &second].concat());
            let names: Vec<&str> = instances.iter().map(|instance| instance.name.as_str()).collect();
            page.paragraph(4, format_args!("and see that clients reach {} again", names.join(", ")));
        }
        return;
    }
    for (agent, _) in agents.iter().filter(|(agent, _)| !keeps(agent)) {
        step(page, agent, &first);
    }
    for (agent, _) in agents.iter().filter(|(agent, _)| keeps(agent)) {
        let mut whole = connect(&book.storage);
        whole.extend([status.clone(), WHOLE.to_owned(), "sh -e way-back.sh".to_owned()]);
        step(page, agent, &whole);
    }
    for (agent, _) in agents.iter().filter(|(agent, _)| !keeps(agent)) {
        step(page, agent, &second);
    }
    page.gap();
    page.paragraph(2, "Then let the load balancer send clients to the instances again: by hand nothing does that.");
}

// They cut out of `cutover-agent local status UPGRADE` what it prints between these lines.
const FIRST: &str = "sed -n '/First, here:$/,/^then /p' status.txt | grep '^  ' > first.sh";
const SECOND: &str = "sed -n '/Only after that, here:$/,$p' status.txt | grep '^  ' > second.sh";
const WHOLE: &str = "sed -n '/^to go back by hand/,$p' status.txt | grep '^  ' > way-back.sh";

/// How the runner's script reaches the storage: no secret is printed anywhere.
fn connect(storage: &StorageIdentity) -> Vec<String> {
    match storage {
        StorageIdentity::Sqlite { .. } => Vec::new(),
        StorageIdentity::Postgres { database, .. } => {
            let database = words::quoted(database);
            vec![
                format!("export PGHOST=HOST PGPORT=PORT PGDATABASE={database}"),
                "export PGUSER=ROLE PGPASSWORD=…   # as the ledger connects".to_owned(),
            ]
        }
    }
}

fn losses(page: &mut Page, book: &Book, next: &Next) {
    let status = &book.status;
    page.heading("5. If the coordinator's disk is lost");
    page.paragraph(
        2,
        "The agents finish what they have in hand and begin nothing new. Instances that are fenced stay down. Go back by part 4; \
         where nothing is to go back from, `local takeover` on every host. A new coordinator knows nothing of this upgrade, and \
         the agents obey it only above every epoch that they have seen:",
    );
    page.command(4, &format!("cutover-coordinator --epochs-above {}", status.epoch));
    page.paragraph(
        2,
        "or above the last `epoch=` in the agents' logs, where that is higher. With a copy of the store's file from after this \
         upgrade's start: put it back, start it so, and it goes on from what the agents say.",
    );

    page.heading("6. If the host of the runner is lost");
    page.paragraph(2, runner_lost(book));
    let elsewhere = status.instances.iter().any(|instance| instance.agent != book.runner);
    let database = match book.storage {
        StorageIdentity::Postgres { .. } => true,
        StorageIdentity::Sqlite { .. } => false,
    };
    if database && elsewhere && !book.crossed(Border::MigrateAuthorised) && !status.state.ended() {
        for instance in status.instances.iter().filter(|instance| instance.agent == book.runner) {
            page.command(4, &next.excuse(&status.deployment, &instance.name));
        }
    }

    page.heading("7. If the storage is lost");
    page.paragraph(
        2,
        match &book.storage {
            StorageIdentity::Sqlite { .. } => {
                "The files lie on the runner's host alone. If the disk is whole and the folder gone, make the folder with its \
                 owner and mode again; part 4 then puts each recovery point in its place."
            }
            StorageIdentity::Postgres { .. } => {
                "Bring the server back first; agents ask again until it answers, and nothing is lost by that. A cluster that was \
                 restored or promoted is another one to Cutover: the upgrade holds, and the script of part 4 refuses it. Then \
                 `local takeover` on every host, and go on by docs/recovery.md, \"Without the agent's program\"."
            }
        },
    );
    page.paragraph(
        2,
        if book.points().next().is_none() {
            "No recovery point was taken yet: only your own backup has what was there."
        } else {
            "A recovery point holds its ledger as it was when it was taken, and nothing else of the storage. What is not in \
             part 2 only your own backup has."
        },
    );
}

fn runner_lost(book: &Book) -> &'static str {
    let sqlite = match book.storage {
        StorageIdentity::Sqlite { .. } => true,
        StorageIdentity::Postgres { .. } => false,
    };
    if sqlite {
        "The ledgers lie there too: bring its disk back, or your own backup. The upgrade cannot go on elsewhere."
    } else if book.status.state.ended() {
        "The upgrade has ended; its recovery points are lost with the host."
    } else if book.status.instances.iter().all(|instance| instance.agent == book.runner) {
        "It is the only host of this upgrade: bring it back, with its `state` folder everything goes on."
    } else if book.crossed(Border::MigrateAuthorised) && book.rolls() {
        "Nothing is restored from its recovery points, so nothing depends on them. Go back by part 4 on the other hosts, or wait \
         for the host."
    } else if book.crossed(Border::MigrateAuthorised) {
        "The recovery points are lost with it, and ledgers may be migrated. Never start the former version on them. Bring the \
         host's disk back if that can be done: with its `state` folder everything goes on. Otherwise `local takeover` on another \
         host, then restore your own backup, or finish forwards: docs/recovery.md."
    } else {
        "No data was touched. When somebody has seen that the host is off and that no session of it is on the storage, let its \
         instances go; another agent becomes the runner and takes everything anew:"
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::{WIDTH, columns};
    use super::super::sample;
    use super::*;

    fn book(status: Status) -> Book {
        let plan = sample::plan();
        Book {
            runner: plan.binding.runner,
            storage: plan.binding.storage,
            as_of: status.started.0,
            back: WhatIf { allowed: false, meaning: "as the coordinator says".into(), stages: vec![], ledgers: vec![] },
            seen: BTreeMap::new(),
            status,
        }
    }

    #[test]
    fn an_upgrade_that_let_clients_in_has_no_way_back_by_hand() {
        let mut status = sample::held();
        status.state = cutover_vocabulary::status::State::Running;
        status.borders = vec![(Border::OpenAuthorised, status.started.0)];
        let text = page(&book(status), &Next::at(None));
        assert!(text.contains("Do not: clients were let in") && !text.contains("way-back.sh"), "{text}");
        let text = page(&book(sample::completed()), &Next::at(None));
        assert!(text.contains("The upgrade has ended") && !text.contains("way-back.sh"), "{text}");
    }

    #[test]
    fn the_runner_restores_what_it_keeps_even_where_the_page_is_older_than_that() {
        let mut status = sample::held();
        status.strategy = Strategy::Downtime;
        status.borders.clear();
        status.system = None;
        for ledger in &mut status.ledgers {
            ledger.point = None;
        }
        status.instances[0].down = Some(status.started.0);
        let text = page(&book(status), &Next::at(None));
        assert!(text.contains("way-back.sh") && text.contains("Not once clients were let in"), "{text}");
    }

    #[test]
    fn a_canary_that_serves_on_the_target_is_in_the_way_back_of_a_roll() {
        let mut status = sample::held();
        status.strategy = Strategy::Rolling;
        for instance in &mut status.instances {
            (instance.down, instance.up, instance.stopping) = (None, None, None);
        }
        let none = page(&book(status.clone()), &Next::at(None));
        assert!(none.contains("No instance had been stopped") && !none.contains("Step 1"), "{none}");
        status.instances[0].up = Some((status.started.0, status.target.clone()));
        let text = page(&book(status), &Next::at(None));
        assert!(text.contains("Step 1") && !text.contains("Step 2"), "{text}");
    }

    #[test]
    fn only_a_line_with_a_path_or_a_command_is_wider_than_80_columns() {
        let text = page(&book(sample::held()), &Next::at(None));
        for line in text.lines().filter(|line| !line.contains('/') && !line.starts_with("    ")) {
            assert!(columns(line) <= WIDTH, "{line:?}");
        }
        assert!(text.is_ascii() || !text.contains('\u{1b}'), "plain text");
    }
}
