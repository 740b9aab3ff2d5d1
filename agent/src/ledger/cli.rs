//! The ledger's command line.
//!
//! What its releases do, measured: exit status 0 says nothing (`storage scan` fails with 0, a release without storage
//! commands prints its usage with 0), so each call requires the line that it came for. Lines end in CR LF or LF; log lines
//! and `loading config file: …` may stand anywhere between. An error is printed twice around sixty lines of usage; a panic
//! ends with status 2. `storage upgrade` of a name that does not exist creates that ledger.

use super::message::{error_message, lines, panic_message};
use crate::files::{FileError, io_error};
use crate::service::environment::Redactor;
use crate::settings::Account;
use crate::worker::child::NOT_BECOME;
use crate::worker::{Program, hand_over};
use cutover_vocabulary::{LedgerName, Version};
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// How long a command that only answers may take. The slowest release sleeps 2 s at every start.
pub const ASKING: Duration = Duration::from_secs(30);

/// How long `storage scan` may take: one insert a ledger.
const REGISTERING: Duration = Duration::from_secs(300);

/// How often a binary is tried to be run that the kernel calls busy: somebody who was started while it was written still
/// holds it open for writing, for the moment until it becomes another program.
const BUSY_TRIES: u32 = 50;

/// How long a command that was told to stop gets before it is killed: it works in one transaction, and a kill leaves the
/// ledger as it was (measured).
const STOPPING: Duration = Duration::from_secs(10);

/// How often a running command looks whether it is to be stopped.
const LOOKING: Duration = Duration::from_millis(100);

/// Something that went wrong with a command of the ledger.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// It could not be started.
    #[error("cannot run {}: {source}", program.display())]
    Spawn {
        /// Which program.
        program: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It ended with an error.
    #[error("`{command}` failed: {message}")]
    Failed {
        /// Without the program's path.
        command: String,
        /// The ledger's own message.
        message: String,
    },
    /// It panicked; the whole trace is in the file that is named.
    #[error("`{command}` panicked: {message} (its whole output is in {})", output.display())]
    Panicked {
        /// Without the program's path.
        command: String,
        /// First line of the trace.
        message: String,
        /// Where the trace is.
        output: PathBuf,
    },
    /// It was killed, by us or by somebody else.
    #[error("`{command}` was killed by signal {signal}")]
    Killed {
        /// Without the program's path.
        command: String,
        /// Which signal.
        signal: i32,
    },
    /// It ended with status 0 and did not say what it came for.
    #[error("`{command}` ended without an error, but did not print {expected:?}; it printed: {printed}")]
    Silent {
        /// Without the program's path.
        command: String,
        /// What was wanted.
        expected: String,
        /// What came, shortened.
        printed: String,
    },
    /// It was stopped because the order was revoked.
    #[error("`{command}` was stopped on request")]
    Stopped {
        /// Without the program's path.
        command: String,
    },
    /// It took too long and was stopped.
    #[error("`{command}` gave no answer within {} s and was stopped", limit.as_secs())]
    TimedOut {
        /// Without the program's path.
        command: String,
        /// How long it had.
        limit: Duration,
    },
    /// A name that must not be passed.
    #[error("ledger {name} is not passed to `storage upgrade`: {why}")]
    RefusedName {
        /// Which name.
        name: LedgerName,
        /// Why not.
        why: &'static str,
    },
    /// Its output could not be kept.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A binary of the ledger with everything it may know of its surroundings.
pub struct Cli {
    program: PathBuf,
    environment: BTreeMap<String, SecretString>,
    output: PathBuf,
    redactor: Redactor,
    inherit_stdin: bool,
    kill_on_drop: bool,
    account: Option<Account>,
}

/// What a command printed, secrets and all: what it means must not depend on them. A password may be a word that the ledger prints,
/// or a ledger's name.
struct Printed {
    stdout: String,
    stderr: String,
}

/// What `storage upgrade` said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgraded {
    /// It ran migrations.
    Migrated,
    /// There was nothing to do.
    LeftInPlace,
}

impl Cli {
    /// A binary with its environment; nothing else is inherited. What commands print is kept in `stdout` and `stderr` in
    /// the folder `output`: files, because a command that outlives its parent must not lose its pipes.
    pub fn new(program: PathBuf, environment: BTreeMap<String, SecretString>, output: PathBuf) -> Self {
        let redactor = Redactor::of(&[], &environment);
        Self { program, environment, output, redactor, inherit_stdin: false, kill_on_drop: false, account: None }
    }

    /// Hands this process's standard input down: in a worker it is the lock that says the worker's work still runs.
    #[must_use]
    pub fn holding_the_worker_lock(mut self) -> Self {
        self.inherit_stdin = true;
        self
    }

    /// Kills a command whose answer nobody waits for any more. Only for questions: what works must come to its own end.
    #[must_use]
    pub fn killed_when_dropped(mut self) -> Self {
        self.kill_on_drop = true;
        self
    }

    /// Runs commands as that user; as this process's own if none.
    #[must_use]
    pub fn as_account(mut self, account: Option<Account>) -> Self {
        self.account = account;
        self
    }

    /// `version`: what the binary says it is. A build without release flags says `develop`, which is no version.
    pub async fn version(&self) -> Result<Version, CliError> {
        let printed = self.run(&["version"], Some(ASKING), &|| false).await?;
        let line = lines(&printed.stdout).find_map(|line| line.strip_prefix("Version:"));
        line.and_then(|text| Version::parse(text.trim()).ok())
            .ok_or_else(|| self.silent("version", "Version: MAJOR.MINOR.PATCH", &printed))
    }

    /// Whether the binary has `storage scan`, `list` and `upgrade`, by its own help.
    pub async fn has_storage_commands(&self) -> Result<bool, CliError> {
        let printed = self.run(&["storage", "--help"], Some(ASKING), &|| false).await?;
        let both = format!("{}\n{}", printed.stdout, printed.stderr);
        let known = |word: &str| lines(&both).any(|line| line.split_whitespace().next() == Some(word));
        Ok(known("scan") && known("list") && known("upgrade"))
    }

    /// Help with these arguments, which name a command and hold `--help`: the names of the flags that it shows. Nothing else is
    /// done, but an argument that the command would refuse is refused.
    pub async fn help(&self, arguments: &[String]) -> Result<BTreeSet<String>, CliError> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let printed = self.run(&arguments, Some(ASKING), &|| false).await?;
        let both = format!("{}\n{}", printed.stdout, printed.stderr);
        let flags: BTreeSet<String> = lines(&both).filter_map(flag_shown).map(str::to_owned).collect();
        if flags.is_empty() {
            return Err(self.silent("server start --help", "--FLAG", &printed));
        }
        Ok(flags)
    }

    /// `storage scan`: registers what it finds. Fails when registering any of them failed, which the ledger itself calls a
    /// success.
    pub async fn scan(&self, stop: &(dyn Fn() -> bool + Sync)) -> Result<Vec<LedgerName>, CliError> {
        let printed = self.run(&["storage", "scan"], Some(REGISTERING), stop).await?;
        let mut found = Vec::new();
        for line in lines(&printed.stdout) {
            if line.starts_with("Error registering ledger ") {
                return Err(CliError::Failed {
                    command: "storage scan".to_owned(),
                    message: self.redactor.clean(line),
                });
            }
            if let Some(rest) = line.strip_prefix("Ledger '")
                && let Some(name) =
                    rest.strip_suffix("' registered").or_else(|| rest.strip_suffix("' already registered"))
                && let Ok(name) = LedgerName::new(name)
            {
                found.push(name);
            }
        }
        // A storage without ledgers prints nothing; a release without the command prints its usage.
        if found.is_empty() && lines(&printed.stdout).any(|line| line == "Usage:") {
            return Err(self.silent("storage scan", "Ledger 'NAME' registered", &printed));
        }
        Ok(found)
    }

    /// `storage list`: what the system store has registered, in its order.
    pub async fn list(&self, stop: &(dyn Fn() -> bool + Sync)) -> Result<Vec<LedgerName>, CliError> {
        let printed = self.run(&["storage", "list"], Some(ASKING), stop).await?;
        if lines(&printed.stdout).any(|line| line == "No ledger found.") {
            return Ok(Vec::new());
        }
        let mut after = lines(&printed.stdout).skip_while(|line| *line != "Ledgers:");
        if after.next().is_none() {
            return Err(self.silent("storage list", "Ledgers:", &printed));
        }
        Ok(after.filter_map(|line| LedgerName::new(line.strip_prefix("- ")?).ok()).collect())
    }

    /// `storage upgrade NAME`. Has no limit of time: a migration takes what it takes, silent to its end.
    /// Half done: it works in one transaction, so a kill leaves the ledger as it was. Again: it finishes the work.
    ///
    /// # Errors
    /// [`CliError::RefusedName`] for a name that `listed` (what `storage list` gave) does not hold: the ledger would create it.
    pub async fn upgrade(
        &self,
        name: &LedgerName,
        listed: &[LedgerName],
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Upgraded, CliError> {
        let refuse = |why| Err(CliError::RefusedName { name: name.clone(), why });
        if !listed.contains(name) {
            return refuse("`storage list` does not name it, so the ledger would create it, empty");
        }
        if name.as_str().starts_with('-') {
            return refuse("the ledger would take it for a flag");
        }
        let printed = self.run(&["storage", "upgrade", name.as_str()], None, stop).await?;
        let said =
            |what: &str| lines(&printed.stdout).any(|line| line == format!("Storage '{}' {what}", name.as_str()));
        if said("migrated") {
            Ok(Upgraded::Migrated)
        } else if said("left in place") {
            Ok(Upgraded::LeftInPlace)
        } else {
            Err(self.silent("storage upgrade", "Storage 'NAME' migrated", &printed))
        }
    }

    /// What is in the way of a message: secrets.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    fn silent(&self, command: &str, expected: &str, printed: &Printed) -> CliError {
        let text: Vec<&str> =
            lines(&printed.stdout).chain(lines(&printed.stderr)).filter(|line| !line.is_empty()).collect();
        let shown: Vec<&str> = text.iter().take(5).copied().collect();
        let printed = if shown.is_empty() { "nothing".to_owned() } else { self.redactor.clean(&shown.join(" | ")) };
        CliError::Silent { command: command.to_owned(), expected: expected.to_owned(), printed }
    }

    /// Runs a command to its end. `stop` is asked again and again; once it says so the command gets SIGTERM.
    async fn run(
        &self,
        args: &[&str],
        limit: Option<Duration>,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Printed, CliError> {
        let command = args.join(" ");
        let open = |stream: &str| {
            let path = self.output.join(stream);
            OpenOptions::new()
                .create(true)
                .write(true)
                .truncate(true)
                .mode(0o600)
                .open(&path)
                .map_err(io_error("create", &path))
        };
        let mut busy = 0;
        let mut child = loop {
            let spawning = |source| CliError::Spawn { program: self.program.clone(), source };
            let mut command = match self.account {
                Some(account) => Program::as_account(&self.program, account).map_err(spawning)?.into(),
                None => Command::new(&self.program),
            };
            // The folder of its output is closed to other users.
            let directory = if self.account.is_some() { Path::new("/") } else { &self.output };
            let spawned = command
                .args(args)
                .env_clear()
                .envs(hand_over(&self.environment, self.account))
                .current_dir(directory)
                .stdin(if self.inherit_stdin { Stdio::inherit() } else { Stdio::null() })
                .stdout(open("stdout")?)
                .stderr(open("stderr")?)
                .kill_on_drop(self.kill_on_drop)
                .spawn();
            match spawned {
                Ok(child) => break child,
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && busy < BUSY_TRIES => {
                    busy += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(source) => return Err(spawning(source)),
            }
        };
        let mut left = limit;
        let (status, why) = loop {
            match tokio::time::timeout(LOOKING, child.wait()).await {
                Ok(status) => break (status, None),
                Err(_) if stop() => {
                    break (end(&mut child).await, Some(CliError::Stopped { command: command.clone() }));
                }
                Err(_) => {}
            }
            if let Some(rest) = &mut left {
                *rest = rest.saturating_sub(LOOKING);
                if rest.is_zero() {
                    let limit = limit.unwrap_or_default();
                    break (end(&mut child).await, Some(CliError::TimedOut { command: command.clone(), limit }));
                }
            }
        };
        let status = status.map_err(|source| CliError::Spawn { program: self.program.clone(), source })?;
        let printed = Printed { stdout: self.read("stdout")?, stderr: self.read("stderr")? };
        match (why, status.code(), status.signal()) {
            (_, Some(0), _) => Ok(printed),
            (Some(why), _, _) => Err(why),
            (None, _, Some(signal)) => Err(CliError::Killed { command, signal }),
            (None, Some(2), None) if printed.stderr.contains("panic:") || printed.stderr.contains("goroutine ") => {
                let message = panic_message(&self.redactor.clean(&printed.stderr));
                Err(CliError::Panicked { command, message, output: self.output.join("stderr") })
            }
            (None, Some(code), None) if self.account.is_some() && code == i32::from(NOT_BECOME) => {
                let why = std::io::Error::other(self.redactor.clean(printed.stderr.trim()));
                Err(CliError::Spawn { program: self.program.clone(), source: why })
            }
            (None, code, None) => {
                let message = error_message(&self.redactor.clean(&printed.stderr)).unwrap_or_else(|| match code {
                    Some(code) => format!("it ended with status {code} and printed no error"),
                    None => "it ended without a status".to_owned(),
                });
                Err(CliError::Failed { command, message })
            }
        }
    }

    /// Reads one of the files back, and takes secrets out of the file itself: it stays for people to look at.
    fn read(&self, stream: &str) -> Result<String, FileError> {
        let path = self.output.join(stream);
        let bytes = std::fs::read(&path).map_err(io_error("read", &path))?;
        let text = String::from_utf8_lossy(&bytes);
        let clean = self.redactor.clean(&text);
        if clean != text {
            crate::files::write(&path, clean.as_bytes())?;
        }
        Ok(text.into_owned())
    }
}

/// The flag that a line of the usage shows: `      --storage.driver string   Storage driver …`, `  -h, --help   help …`.
fn flag_shown(line: &str) -> Option<&str> {
    let text = line.trim_start();
    let text =
        if text.starts_with("--") { text } else { text.split_once(", ").filter(|(short, _)| short.len() == 2)?.1 };
    text.strip_prefix("--")?.split_whitespace().next()
}

/// SIGTERM, some patience, SIGKILL.
async fn end(child: &mut tokio::process::Child) -> std::io::Result<std::process::ExitStatus> {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw) {
        // Not reaped yet, so the id is still its own.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    match tokio::time::timeout(STOPPING, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            child.start_kill()?;
            child.wait().await
        }
    }
}

/// The environment of a command that must touch nothing: a home and a storage directory of its own, no telemetry.
pub fn harmless_environment(scratch: &Path) -> BTreeMap<String, SecretString> {
    let folder = |name: &str| scratch.join(name).to_string_lossy().into_owned();
    environment([
        ("HOME", folder("home")),
        ("NUMARY_STORAGE_DRIVER", "sqlite".to_owned()),
        ("NUMARY_STORAGE_DIR", folder("storage")),
        ("NUMARY_STORAGE_SQLITE_DB_NAME", "numary".to_owned()),
    ])
}

/// An environment for a command of the ledger: these keys, `PATH`, telemetry off, and nothing else.
pub fn environment(keys: impl IntoIterator<Item = (&'static str, String)>) -> BTreeMap<String, SecretString> {
    let always = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("NUMARY_SEGMENT_ENABLED", "false".to_owned()),
        ("NUMARY_TELEMETRY_ENABLED", "false".to_owned()),
    ];
    always.into_iter().chain(keys).map(|(key, value)| (key.to_owned(), value.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A command that prints this, with a database whose password is `ledger`.
    fn prints(dir: &Path, text: &str, status: u8) -> Cli {
        let program = dir.join("numary");
        std::fs::write(&program, format!("#!/bin/sh\ncat <<'END'\n{text}\nEND\necho '{text}' >&2\nexit {status}\n"))
            .unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let url = "postgres://user:ledger@db/x".to_owned();
        Cli::new(program, environment([("NUMARY_STORAGE_POSTGRES_CONN_STRING", url)]), dir.to_owned())
    }

    #[tokio::test]
    async fn a_password_that_is_a_word_of_the_ledgers_or_a_ledgers_name_changes_nothing_of_what_is_understood() {
        let dir = tempfile::tempdir().unwrap();
        let never = || false;
        assert!(prints(dir.path(), "No ledger found.", 0).list(&never).await.unwrap().is_empty());
        let cli = prints(dir.path(), "Ledgers:\n- ledger\n- main", 0);
        let listed = cli.list(&never).await.unwrap();
        assert_eq!(listed.iter().map(LedgerName::as_str).collect::<Vec<_>>(), ["ledger", "main"]);
        let cli = prints(dir.path(), "Storage 'ledger' migrated", 0);
        assert_eq!(cli.upgrade(&listed[0], &listed, &never).await.unwrap(), Upgraded::Migrated);
        let kept = std::fs::read_to_string(dir.path().join("stdout")).unwrap();
        assert_eq!(kept.trim(), "Storage '[secret]' migrated", "what stays for people has no secret");
    }

    #[tokio::test]
    async fn no_error_says_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let never = || false;
        for (text, status) in [
            ("something else: ledger", 0),
            ("level=error msg=\"cannot log in with ledger\"", 1),
            ("panic: ledger\n\ngoroutine 1 [running]:", 2),
        ] {
            let said = prints(dir.path(), text, status).list(&never).await.unwrap_err().to_string();
            assert!(!said.replace("storage list", "").contains("ledger"), "{said}");
        }
        let scanned = prints(dir.path(), "Error registering ledger 'a': ledger", 0).scan(&never).await;
        let said = scanned.unwrap_err().to_string();
        assert!(said.contains("[secret]"), "{said}");
    }
}
