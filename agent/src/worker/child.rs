//! The worker's side: what a process does that was started as a worker.

use super::folder::{Task, WorkFolder};
use super::program::{LEAVES, handed_over};
use crate::service::launch::{NotLaunched, become_ledger, exec};
use crate::service::systemd::leave_unit;
use crate::settings::{Account, Settings};
use nix::unistd::{Gid, Uid, User, geteuid, initgroups, setgid, setuid};
use rustix::fs::{FlockOperation, flock, fstat};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::ffi::{CString, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Ends well: a result was written.
const DONE: u8 = 0;
/// Could not even begin; `worker.log` says why.
const FAILED: u8 = 1;
/// Was not started by an agent.
const USAGE: u8 = 2;
/// Did not become the program that it was to become; a shell's word for that, and none of the ledger's.
pub const NOT_BECOME: u8 = 126;

/// What a worker process is told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where its order lies.
    pub folder: PathBuf,
    /// Become the program below, and die with this worker.
    #[arg(long, requires = "program")]
    pub companion_of: Option<u32>,
    /// Become the program below as this user, `USER:GROUP`.
    #[arg(long = "as", requires = "program")]
    pub account: Option<Account>,
    /// What to become, with its arguments.
    #[arg(last = true)]
    pub program: Vec<OsString>,
}

/// Everything that a worker process does. Returns what it ends with; a launcher that becomes the ledger never returns.
pub fn main(arguments: &Arguments) -> ExitCode {
    match (arguments.account, arguments.companion_of) {
        (None, None) => work(&arguments.folder),
        (account, worker) => become_program(account, worker, &arguments.program),
    }
}

/// Becomes a program, as a user where one is named, and as a companion of a worker where one is named; returns only if that did not
/// come about.
fn become_program(account: Option<Account>, worker: Option<u32>, program: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = program.split_first() else { return complain(USAGE, "no program to become") };
    // First: another user is another process to the kernel, which forgets the tie.
    if let Some(account) = account
        && let Err(why) = become_account(account)
    {
        return complain(NOT_BECOME, &why);
    }
    if let Some(worker) = worker
        && let Err(why) = tie_to(worker)
    {
        return complain(FAILED, &why);
    }
    let mut command = Command::new(program);
    command.args(arguments);
    if account.is_some() {
        command.env_clear().envs(handed_over(std::env::vars_os()));
    }
    let error = exec(&mut command);
    complain(NOT_BECOME, &format!("cannot become {}: {error}", program.display()))
}

/// Has this process die with a worker.
fn tie_to(worker: u32) -> Result<(), String> {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return Err(format!("cannot tie this process to the worker {worker}: {error}"));
    }
    // It may have ended before the tie was made.
    if getppid().map(|parent| parent.as_raw_nonzero().get().unsigned_abs()) != Some(worker) {
        return Err(format!("the worker {worker} is gone"));
    }
    Ok(())
}

/// Becomes a user for good, with its group and with those that it is a member of on this host, as systemd does for `User=`.
/// `Command::uid` would drop the latter.
fn become_account(account: Account) -> Result<(), String> {
    let (user, group) = (Uid::from_raw(account.user), Gid::from_raw(account.group));
    // Only root may choose its groups.
    if geteuid().is_root() {
        let known = User::from_uid(user).map_err(|error| format!("user {user} cannot be looked up: {error}"))?;
        let name = known.and_then(|known| CString::new(known.name).ok());
        let name = name.ok_or_else(|| format!("user {user} is not known on this host any more"))?;
        initgroups(&name, group).map_err(|error| format!("cannot take the groups of user {user}: {error}"))?;
    }
    setgid(group).and_then(|()| setuid(user)).map_err(|error| format!("cannot become user {account}: {error}"))
}

fn work(folder: &Path) -> ExitCode {
    // Fails only for a leader of a process group, which a shell makes: then the worker stays in the shell's session.
    let _ = rustix::process::setsid();
    let folder = WorkFolder::at(folder.to_owned());
    let task = match folder.task() {
        Ok(Some(task)) => task,
        Ok(None) => {
            return complain(
                USAGE,
                &format!("{} holds no order: workers are started by the agent", folder.path().display()),
            );
        }
        Err(error) => return complain(FAILED, &error.to_string()),
    };
    match task {
        Task::Launch { settings, launch } => match Settings::load(&settings) {
            Ok(settings) => {
                let Some(instance) = settings.instance(&launch.instance) else {
                    return refuse(
                        &folder,
                        &format!("{} names no instance {}", settings.file.display(), launch.instance),
                    );
                };
                match become_ledger(&launch, instance, &settings.instance_dir(&launch.instance)) {
                    NotLaunched::Running(_) => ExitCode::from(DONE),
                    NotLaunched::Service(error) => refuse(&folder, &error.to_string()),
                }
            }
            Err(error) => refuse(&folder, &error.to_string()),
        },
        Task::Order { settings, order } => match hold_the_lock(&folder) {
            Err(code) => code,
            Ok(()) => in_runtime(&folder, crate::work::order_in_worker(&settings, &order, &folder)),
        },
        Task::Survey { settings, ask } => match hold_the_lock(&folder) {
            Err(code) => code,
            Ok(()) => in_runtime(&folder, crate::work::survey_in_worker(&settings, &ask, &folder)),
        },
        Task::Download { settings, version } => match hold_the_lock(&folder) {
            Err(code) => code,
            Ok(()) => in_runtime(&folder, crate::work::download_in_worker(&settings, &version, &folder)),
        },
        Task::Tidy { settings, deployment, upgrade } => match hold_the_lock(&folder) {
            Err(code) => code,
            Ok(()) => in_runtime(&folder, crate::work::tidy_in_worker(&settings, &deployment, &upgrade, &folder)),
        },
    }
}

/// Standard input must be this folder's lock, held: children inherit it, and the daemon waits for it.
fn hold_the_lock(folder: &WorkFolder) -> Result<(), ExitCode> {
    let stdin = std::io::stdin();
    let here = folder.alive().map(crate::worker::Alive::into_file).ok();
    let is_lock = match (fstat(&stdin), here.and_then(|file| fstat(file).ok())) {
        (Ok(one), Some(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        (Ok(_) | Err(_), _) => false,
    };
    if !is_lock {
        return Err(complain(USAGE, "standard input is not the worker's lock: workers are started by the agent"));
    }
    flock(&stdin, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| complain(FAILED, "another worker works in this folder"))
}

fn in_runtime<E: std::fmt::Display>(folder: &WorkFolder, work: impl Future<Output = Result<(), E>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    match runtime {
        Ok(runtime) => match runtime.block_on(async {
            leave(folder).await;
            work.await
        }) {
            Ok(()) => ExitCode::from(DONE),
            Err(error) => complain(FAILED, &error.to_string()),
        },
        Err(error) => complain(FAILED, &format!("cannot start: {error}")),
    }
}

/// Before there is any child: those follow.
async fn leave(folder: &WorkFolder) {
    if std::env::var_os(LEAVES).is_none() {
        return;
    }
    let work = folder.path().file_name().unwrap_or_default().to_string_lossy();
    if let Err(why) = leave_unit(&work).await {
        complain(FAILED, &format!("{why}; this worker ends with the agent, and its work would begin again"));
    }
}

fn refuse(folder: &WorkFolder, why: &str) -> ExitCode {
    if let Err(error) = folder.write_refused(why) {
        return complain(FAILED, &error.to_string());
    }
    ExitCode::from(FAILED)
}

/// Standard error is the worker's log.
#[expect(clippy::print_stderr, reason = "a worker's standard error is its log file")]
fn complain(code: u8, why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(code)
}
