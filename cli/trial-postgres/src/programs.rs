//! Where PostgreSQL's programs are, and as whom they run.

use crate::{ClusterError, said};
use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Why PostgreSQL cannot be run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// No `initdb` anywhere.
    #[error("PostgreSQL's server is not installed: `apt-get install postgresql` on Debian or Ubuntu")]
    Server,
    /// Root cannot run it, and there is nobody else to.
    #[error(
        "PostgreSQL refuses to run as root, and there is no user `postgres`: install the package postgresql, or run this as another user"
    )]
    User,
}

/// The folder of the newest PostgreSQL, and the user to run it as where this process is root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    folder: PathBuf,
    user: Option<(u32, u32)>,
}

impl Programs {
    /// Looks in Debian's folders first, which are not on anybody's `PATH`, then along `PATH`.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn find() -> Result<Self, Missing> {
        let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
            .filter(|(_, folder)| folder.join("initdb").exists())
            .collect();
        versions.sort();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let along_path = || std::env::split_paths(&path).find(|folder| folder.join("initdb").exists());
        let folder = versions.pop().map(|(_, folder)| folder).or_else(along_path).ok_or(Missing::Server)?;
        let user =
            if rustix::process::geteuid().is_root() { Some(ids("postgres").ok_or(Missing::User)?) } else { None };
        Ok(Self { folder, user })
    }

    /// The path of a program.
    pub fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }

    /// User and group that programs run as, where this process is root.
    pub fn user(&self) -> Option<(u32, u32)> {
        self.user
    }

    pub(crate) fn run(&self, program: &'static str, command: &mut Command) -> Result<Output, ClusterError> {
        self.run_with(program, command, "")
    }

    /// The same with something to read: what is in a command line everybody on the host may read.
    pub(crate) fn run_with(
        &self,
        program: &'static str,
        command: &mut Command,
        input: &str,
    ) -> Result<Output, ClusterError> {
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        // A server that is started here must not keep our pipes open: pg_ctl gives it a log file and nothing else.
        let (out, err) =
            if program == "pg_ctl" { (Stdio::null(), Stdio::null()) } else { (Stdio::piped(), Stdio::piped()) };
        command.stdin(Stdio::piped()).stdout(out).stderr(err).current_dir("/");
        let output = command.spawn().and_then(|mut child| {
            // Dropped once it is written, so that the program sees its end. One that ended before it read is told by its status.
            if let Some(mut stdin) = child.stdin.take() {
                let _ = stdin.write_all(input.as_bytes());
            }
            child.wait_with_output()
        });
        match output {
            Ok(output) if output.status.success() => Ok(output),
            Ok(output) => Err(ClusterError::Failed { program, said: format!("{} {}", output.status, said(&output)) }),
            Err(error) => Err(ClusterError::Failed { program, said: error.to_string() }),
        }
    }
}

/// Number and group of a user, from the user database's file.
fn ids(user: &str) -> Option<(u32, u32)> {
    let text = fs::read_to_string(Path::new("/etc/passwd")).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == user).then_some(())?;
        let mut numbers = fields.skip(1);
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    })
}
