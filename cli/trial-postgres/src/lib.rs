//! An installed PostgreSQL on a data directory of its own, for the sandbox and for tests: never for a fleet.
//!
//! `initdb` and the server refuse to run as root, so root runs them as the user `postgres` that the package made. The server
//! listens on a loopback port and asks for a password. It does not sync to disk: what is in it is for trials.

mod address;
mod programs;
mod starting;

pub use address::free_address;
pub use programs::{Missing, Programs};

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The superuser of the cluster.
pub const SUPERUSER: &str = "postgres";
/// Its password.
pub const PASSWORD: &str = "trial";

/// Why there is no cluster, or why it does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// PostgreSQL is not installed, or the user to run it as is missing.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A file or folder could not be made.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A program of PostgreSQL's ended with an error.
    #[error("`{program}` failed: {said}")]
    Failed {
        /// Which program.
        program: &'static str,
        /// What it printed.
        said: String,
    },
}

/// How a server that runs is ended; the words of `pg_ctl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Sessions are ended, what they did is rolled back, then a checkpoint.
    Fast,
    /// At once, like a crash: the next start recovers.
    Immediate,
}

/// One cluster with its server. Dropping it ends the server; the directory stays.
#[derive(Debug)]
pub struct Cluster {
    programs: Programs,
    data: PathBuf,
    port: u16,
    owned: bool,
}

impl Cluster {
    /// Makes a cluster in `folder`, which is made if missing and whose parents the user `postgres` must be able to enter, and
    /// starts it. `settings` are lines for `postgresql.conf`.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn create(folder: &Path, settings: &str) -> Result<Self, ClusterError> {
        let programs = Programs::find()?;
        let io = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| ClusterError::Io { doing, path, source }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io("make", folder))?;
        if let Some((uid, gid)) = programs.user() {
            chown(folder, Some(uid), Some(gid)).map_err(io("give to the user postgres", folder))?;
        }
        let password = folder.join("password");
        fs::write(&password, PASSWORD).map_err(io("write", &password))?;
        // Read by initdb only, which runs as another user than the one who writes it.
        fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).map_err(io("open up", &password))?;
        let data = folder.join("data");
        programs.run(
            "initdb",
            Command::new(programs.path("initdb"))
                .args([
                    "--no-sync",
                    "--encoding=UTF8",
                    "--locale=C.UTF-8",
                    "--auth=scram-sha-256",
                    "--username",
                    SUPERUSER,
                ])
                .arg("--pwfile")
                .arg(&password)
                .arg("--pgdata")
                .arg(&data),
        )?;
        let port = free_address().map_err(io("find a free port for", folder))?.port();
        let conf = data.join("postgresql.conf");
        let text = format!(
            "{}\nlisten_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nfsync = off\n\
             full_page_writes = off\nshared_buffers = 64MB\nlogging_collector = off\n{settings}\n",
            fs::read_to_string(&conf).map_err(io("read", &conf))?
        );
        fs::write(&conf, text).map_err(io("write", &conf))?;
        let cluster = Self { programs, data, port, owned: true };
        cluster.start()?;
        Ok(cluster)
    }

    /// A cluster that an earlier process made in `folder`; started if it does not run.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn open(folder: &Path) -> Result<Self, ClusterError> {
        let programs = Programs::find()?;
        let data = folder.join("data");
        let conf = data.join("postgresql.conf");
        let text = fs::read_to_string(&conf).map_err(|source| ClusterError::Io {
            doing: "read",
            path: conf.clone(),
            source,
        })?;
        let port = text.lines().rev().find_map(|line| line.strip_prefix("port = ")?.trim().parse().ok());
        let port = port.ok_or_else(|| ClusterError::Failed {
            program: "postgres",
            said: format!("{} names no port", conf.display()),
        })?;
        let cluster = Self { programs, data, port, owned: true };
        starting::wait(&cluster.data);
        if !cluster.runs() {
            cluster.start()?;
        }
        Ok(cluster)
    }

    /// Ends the server of a cluster that an earlier process made in `folder`, at once, if one runs. Answers whether one did.
    /// Where there is no cluster nothing is done, and PostgreSQL need not be installed.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn end(folder: &Path) -> Result<bool, ClusterError> {
        let data = folder.join("data");
        if !data.exists() {
            return Ok(false);
        }
        starting::wait(&data);
        // Written by the server when it starts, removed when it ends.
        if !data.join("postmaster.pid").exists() {
            return Ok(false);
        }
        let cluster = Self { programs: Programs::find()?, data, port: 0, owned: false };
        let runs = cluster.runs();
        if runs {
            cluster.stop(Stop::Immediate)?;
        }
        Ok(runs)
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    /// [`ClusterError::Failed`] with the end of the server's log.
    pub fn start(&self) -> Result<(), ClusterError> {
        let log = self.data.join("server.log");
        let started = self.programs.run("pg_ctl", self.ctl().args(["start", "-w", "-t", "60", "-l"]).arg(&log));
        started.map(|_| ()).map_err(|error| {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let end: Vec<&str> = text.lines().rev().take(5).collect();
            ClusterError::Failed {
                program: "pg_ctl start",
                said: format!("{error}; {}", end.into_iter().rev().collect::<Vec<_>>().join(" | ")),
            }
        })
    }

    /// Ends the server and waits until it has ended.
    ///
    /// # Errors
    /// [`ClusterError::Failed`].
    pub fn stop(&self, how: Stop) -> Result<(), ClusterError> {
        let mode = match how {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        self.programs.run("pg_ctl", self.ctl().args(["stop", "-w", "-t", "60", "-m", mode])).map(|_| ())
    }

    /// Whether the server runs.
    pub fn runs(&self) -> bool {
        self.programs.run("pg_ctl", self.ctl().arg("status")).is_ok()
    }

    /// Lets the server go on when this is dropped.
    pub fn leave_running(&mut self) {
        self.owned = false;
    }

    /// The port on the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A connection string.
    pub fn url(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgresql://{role}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Where the server listens.
    pub fn address(&self) -> std::net::SocketAddr {
        (std::net::Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// A connection string of the superuser.
    pub fn superuser_url(&self, database: &str) -> String {
        self.url(SUPERUSER, PASSWORD, database)
    }

    /// Runs SQL as the superuser with `psql`, one statement a transaction, and gives what it printed: unaligned, without
    /// headers. The SQL may hold a secret: it is in no command line.
    ///
    /// # Errors
    /// [`ClusterError::Failed`] with the server's message.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String, ClusterError> {
        let mut command = Command::new(self.programs.path("psql"));
        command.env("PGPASSWORD", PASSWORD).args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            SUPERUSER,
        ]);
        command.args(["-p", &self.port.to_string(), "-d", database, "-f", "-"]);
        let output = self.programs.run_with("psql", &mut command, sql)?;
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    fn ctl(&self) -> Command {
        let mut command = Command::new(self.programs.path("pg_ctl"));
        command.arg("--pgdata").arg(&self.data);
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.owned {
            let _ = self.stop(Stop::Immediate);
        }
    }
}

/// What a program said, shortened.
fn said(output: &Output) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.iter().rev().take(6).rev().copied().collect::<Vec<_>>().join(" | ")
}
