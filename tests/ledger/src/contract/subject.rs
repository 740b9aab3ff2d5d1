//! A binary, run in a home of its own.

use super::place::{Database, Place};
use super::{Step, Verdict, expect, tried};
use crate::storage::Driver;
use crate::wire::{self, Reply};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A version number, to ask facts of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub u32, pub u32, pub u32);

impl Number {
    /// Reads `1.4.6`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        let number = Self(parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(number)
    }
}

impl Number {
    /// The highest migration that the release records; none where it keeps no such table. It records all from 0 on.
    pub(crate) fn highest_migration(self, driver: Driver) -> Option<u32> {
        match (self, driver) {
            (Self(1, 0..=2, _), _) => None,
            (Self(1, 3, 0 | 1), _) => Some(0),
            (Self(1, 3..=5, _), Driver::Sqlite) => Some(1),
            (Self(1, 6, _), Driver::Sqlite) => Some(2),
            (Self(1, 3 | 5, _), Driver::Postgres) => Some(7),
            (Self(1, 4, _), Driver::Postgres) => Some(6),
            (Self(1, 6, _), Driver::Postgres) => Some(8),
            (Self(1, 7, 0..=4), _) => Some(10),
            (Self(1, 7, _), _) => Some(11),
            (Self(1, 8, 0), _) => Some(16),
            (Self(1, 8, _) | Self(1, 9, 0..=3) | Self(1, 10, 0), _) => Some(17),
            (Self(1, 9, 4 | 5) | Self(1, 10, 1 | 2), _) => Some(19),
            (Self(1, 9 | 10, _), _) => Some(20),
            (Self(..), _) => Some(21),
        }
    }

    /// Addresses are kept in parts for the filters.
    pub(crate) fn has_segments(self) -> bool {
        self >= Self(1, 9, 4) && self != Self(1, 10, 0)
    }
}

/// The numbers up to the highest, as text.
pub(crate) fn numbers(highest: Option<u32>) -> Vec<String> {
    highest.map(|highest| (0..=highest).map(|number| number.to_string()).collect()).unwrap_or_default()
}

/// A binary and the version it is meant to be.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The file.
    pub binary: PathBuf,
    /// As text.
    pub version: String,
    /// As number.
    pub number: Number,
}

/// What a command did.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Asserts the exit status.
    pub(crate) fn ends(&self, code: i32) -> Step {
        let saw = || format!("{} with stdout {:?} and stderr {:?}", self.status, self.out, first_line(&self.err));
        expect(self.status.code() == Some(code), format!("exit status {code}"), saw())
    }

    /// Asserts text on stdout, to the byte.
    pub(crate) fn prints(&self, text: &str) -> Step {
        expect(self.out.contains(text), format!("{text:?} on stdout"), format!("{:?}", self.out))
    }

    /// Asserts text on stderr.
    pub(crate) fn complains(&self, text: &str) -> Step {
        expect(
            self.err.contains(text),
            format!("{text:?} on stderr"),
            format!("{:?}", self.err.chars().take(300).collect::<String>()),
        )
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// A folder with a home and a data folder in it, and a database where the bench has a server; gone afterwards.
pub(crate) struct Home {
    dir: TempDir,
    database: Option<Database>,
}

impl Home {
    pub(crate) fn new(place: &Place) -> Step<Self> {
        let dir = tried("make a temporary folder", tempfile::tempdir())?;
        tried("make a home", std::fs::create_dir_all(dir.path().join("home/.numary")))?;
        let database = match place {
            Place::Sqlite => None,
            Place::Postgres(server) => Some(Database::create(server)?),
        };
        Ok(Self { dir, database })
    }

    /// Its database; only for checks of PostgreSQL.
    pub(crate) fn database(&self) -> Step<&Database> {
        self.database.as_ref().ok_or_else(|| Verdict::Skipped("needs PostgreSQL".to_owned()))
    }

    /// Whether there is a storage for this ledger.
    pub(crate) fn has_ledger(&self, name: &str) -> Step<bool> {
        let Some(database) = &self.database else { return Ok(self.file(name).exists()) };
        let sql = format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{name}'");
        Ok(tried("look for a schema", database.look()?.value(&sql))? == "1")
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// `storage.dir` without any setting.
    pub(crate) fn data(&self) -> PathBuf {
        self.path("home/.numary/data")
    }

    /// The file of a ledger, or `_system`.
    pub(crate) fn file(&self, ledger: &str) -> PathBuf {
        self.data().join(format!("numary_{ledger}.db"))
    }

    pub(crate) fn write(&self, below: &str, content: &str) -> Step {
        let path = self.path(below);
        if let Some(parent) = path.parent() {
            tried("make a folder", std::fs::create_dir_all(parent))?;
        }
        tried(format!("write {}", path.display()), std::fs::write(path, content))
    }

    /// Copies the data folder into a new home; for files that no process has open.
    pub(crate) fn copy(&self) -> Step<Self> {
        let copy = Self::new(&Place::Sqlite)?;
        tried("make a data folder", std::fs::create_dir_all(copy.data()))?;
        for entry in tried("read the data folder", std::fs::read_dir(self.data()))?.flatten() {
            let to = copy.data().join(entry.file_name());
            tried("copy a database file", std::fs::copy(entry.path(), to))?;
        }
        Ok(copy)
    }

    /// Runs a query over a ledger's file; each row is a list of texts, NULL is `NULL`.
    pub(crate) fn query(&self, ledger: &str, sql: &str) -> Step<Vec<Vec<String>>> {
        query(&self.file(ledger), sql)
    }

    /// The first column of the first row.
    pub(crate) fn value(&self, ledger: &str, sql: &str) -> Step<String> {
        let rows = self.query(ledger, sql)?;
        Ok(rows.first().and_then(|row| row.first()).cloned().unwrap_or_else(|| "no row".to_owned()))
    }
}

pub(crate) fn query(file: &Path, sql: &str) -> Step<Vec<Vec<String>>> {
    let read = || -> rusqlite::Result<Vec<Vec<String>>> {
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(Duration::from_secs(20))?;
        let mut statement = connection.prepare(sql)?;
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            (0..columns)
                .map(|column| {
                    Ok(match row.get_ref(column)? {
                        rusqlite::types::ValueRef::Null => "NULL".to_owned(),
                        rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                        rusqlite::types::ValueRef::Real(number) => number.to_string(),
                        rusqlite::types::ValueRef::Text(text) | rusqlite::types::ValueRef::Blob(text) => {
                            String::from_utf8_lossy(text).into_owned()
                        }
                    })
                })
                .collect()
        })?;
        rows.collect()
    };
    tried(format!("read {sql} from {}", file.display()), read())
}

impl Subject {
    /// A binary that is meant to be `version`.
    #[must_use]
    pub fn new(binary: PathBuf, version: &str) -> Option<Self> {
        Some(Self { binary, version: version.to_owned(), number: Number::parse(version)? })
    }

    /// From 1.3.2 on, 1.4.0 included: system store, storage commands, `log`.
    pub(crate) fn has_storage_commands(&self) -> bool {
        self.number >= Number(1, 3, 2)
    }

    pub(crate) fn command(&self, home: &Home, arguments: &[&str]) -> Command {
        // By env, for who began this with nohup hands an ignored SIGHUP down.
        let mut command = Command::new("env");
        command.arg("--default-signal=HUP").arg(&self.binary);
        command.args(arguments).env_clear().env("HOME", home.path("home")).env("PATH", "/usr/bin:/bin");
        command.env("NUMARY_SEGMENT_ENABLED", "false").env("NUMARY_TELEMETRY_ENABLED", "false");
        if let Some(database) = &home.database {
            command.env("NUMARY_STORAGE_DRIVER", "postgres").env("NUMARY_STORAGE_POSTGRES_CONN_STRING", database.url());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, home: &Home, arguments: &[&str]) -> Step<Ran> {
        finish(self.command(home, arguments), arguments)
    }

    pub(crate) fn run_with(&self, home: &Home, arguments: &[&str], environment: &[(&str, &str)]) -> Step<Ran> {
        let mut command = self.command(home, arguments);
        command.envs(environment.iter().copied());
        finish(command, arguments)
    }

    /// Starts a server on a free port and waits until it answers.
    pub(crate) fn serve(&self, home: &Home, arguments: &[&str]) -> Step<Server> {
        self.serve_with(home, arguments, &[])
    }

    /// As [`Subject::serve`], with variables in its environment.
    pub(crate) fn serve_with(&self, home: &Home, arguments: &[&str], environment: &[(&str, &str)]) -> Step<Server> {
        let address = free_address()?;
        let bind = format!("--server.http.bind_address={address}");
        let mut all = vec!["server", "start", bind.as_str()];
        all.extend_from_slice(arguments);
        let errors = home.path(&format!("server-{}.stderr", address.replace(':', "-")));
        let file = tried("make a file for stderr", std::fs::File::create(&errors))?;
        let prints = home.path(&format!("server-{}.stdout", address.replace(':', "-")));
        let printed = tried("make a file for stdout", std::fs::File::create(&prints))?;
        let mut command = self.command(home, &all);
        command.stdout(printed).stderr(file).envs(environment.iter().copied());
        let child = tried(format!("start {}", self.binary.display()), command.spawn())?;
        let mut server = Server { child, address, errors, prints };
        for _ in 0..2000 {
            // An answer of any status: with a password set, the first is a refusal.
            if wire::request(&server.address, "GET", "/_info", None).is_ok() {
                return Ok(server);
            }
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(Verdict::Differs {
                    expected: format!("{} {all:?} to serve", self.version),
                    saw: format!("{status}: {}", server.errors()),
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(Verdict::Differs { expected: "an answer within 20 s".to_owned(), saw: server.errors() })
    }
}

/// How long any command may take; a real migration of the suite's sizes is far below.
const PATIENCE: Duration = Duration::from_secs(60);

fn finish(mut command: Command, arguments: &[&str]) -> Step<Ran> {
    let child = tried(format!("start {arguments:?}"), command.spawn())?;
    let output = output(child, &format!("{arguments:?}"))?;
    Ok(Ran {
        status: output.status,
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Everything that a process prints, once it ended; one that does not end in time is killed.
pub(crate) fn output(child: Child, what: &str) -> Step<std::process::Output> {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    match ended.recv_timeout(PATIENCE) {
        Ok(output) => tried(format!("run {what}"), output),
        Err(_) => {
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            Err(Verdict::Differs { expected: format!("{what} to end"), saw: format!("running after {PATIENCE:?}") })
        }
    }
}

/// An address that was free a moment ago, and that this process was not given before: several checks run at once, and releases
/// 1.1.0 and 1.2.1 neither serve nor exit where their port is taken, so that one check would write into another's ledger.
pub(crate) fn free_address() -> Step<String> {
    tried("find a free port", cutover_trial_postgres::free_address()).map(|address| address.to_string())
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
    errors: PathBuf,
    prints: PathBuf,
}

impl Server {
    pub(crate) fn errors(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// What is on its standard output.
    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(&self.prints).unwrap_or_default()
    }

    /// Its log, wherever the release writes it.
    pub(crate) fn log(&self) -> String {
        self.errors() + &self.printed()
    }

    pub(crate) fn get(&self, path: &str) -> Step<Reply> {
        tried(format!("GET {path}"), wire::request(&self.address, "GET", path, None))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Step<Reply> {
        tried(format!("POST {path}"), wire::request(&self.address, "POST", path, Some(&body.to_string())))
    }

    /// A post that must succeed.
    pub(crate) fn write(&self, path: &str, body: &Value) -> Step<Reply> {
        let reply = self.post(path, body)?;
        expect(reply.status < 300, format!("POST {path} to succeed"), format!("{} {}", reply.status, reply.body))?;
        Ok(reply)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> Step {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        match pid {
            Some(pid) => tried("send a signal", rustix::process::kill_process(pid, signal)),
            None => Err(Verdict::Skipped("the process has no id".to_owned())),
        }
    }

    /// How it ended, within the time.
    pub(crate) fn ended(&mut self, within: Duration) -> Step<ExitStatus> {
        let mut left = within.as_millis() / 2;
        loop {
            if let Some(status) = tried("wait for the server", self.child.try_wait())? {
                return Ok(status);
            }
            if left == 0 {
                let expected = format!("the process to end within {within:?}");
                return Err(Verdict::Differs { expected, saw: "still running".to_owned() });
            }
            left -= 1;
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops it and asserts the clean end.
    pub(crate) fn stop(mut self) -> Step {
        self.signal(rustix::process::Signal::TERM)?;
        let status = self.ended(Duration::from_secs(20))?;
        expect(status.code() == Some(0) && status.signal().is_none(), "exit status 0 on SIGTERM", status)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
