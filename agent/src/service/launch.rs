//! Becoming the ledger: what a launcher process does between its start and `exec`.
//!
//! The agent does not start a ledger directly: it starts itself as a launcher, which leaves the agent's session, takes the
//! launch lock, looks whether the process already runs or is fenced, writes the record with its own process id, and only
//! then becomes the ledger. So an agent that is killed at any moment leaves either no ledger or one with a record, and a
//! launch that is repeated never makes a second one.

use super::fence::FenceFile;
use super::record::{self, Record};
use super::{Role, ServiceError};
use crate::files::{folder, io_error, write_json};
use crate::machine;
use crate::settings::InstanceSettings;
use cutover_vocabulary::InstanceName;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A service's output is moved aside at its next start when it is larger, in bytes.
const KEEP_OUTPUT: u64 = 8 << 20;

/// How often a binary is tried to be run that the kernel calls busy: whoever was started while it was written still holds it
/// open for writing, for a moment.
const BUSY_TRIES: u32 = 50;

/// What to become. No secret: the launcher reads arguments and environment from the settings itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Which instance.
    pub instance: InstanceName,
    /// As what.
    pub role: Role,
    /// Which binary.
    pub program: PathBuf,
    /// Appended to the service's own arguments; of a repeated flag the ledger takes the last.
    pub extra: Vec<String>,
    /// Where it will listen, if the agent chose that.
    pub address: Option<String>,
}

/// What a launch that did not become the ledger found.
#[derive(Debug, thiserror::Error)]
pub enum NotLaunched {
    /// It runs already: no failure for whoever wanted it to run.
    #[error("it runs already as process {0}")]
    Running(u32),
    /// It must not, or could not.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// Becomes the ledger; returns only if that did not come about.
pub fn become_ledger(launch: &Launch, settings: &InstanceSettings, instance_dir: &Path) -> NotLaunched {
    match prepare(launch, settings, instance_dir) {
        Ok((mut command, lock)) => {
            let source = exec(&mut command);
            drop(lock);
            NotLaunched::Service(ServiceError::Spawn { program: launch.program.clone(), source })
        }
        Err(refused) => refused,
    }
}

/// Becomes another program; returns only if that did not come about.
pub fn exec(command: &mut Command) -> std::io::Error {
    let mut error = command.exec();
    for _ in 0..BUSY_TRIES {
        if error.kind() != ErrorKind::ExecutableFileBusy {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        error = command.exec();
    }
    error
}

fn prepare(launch: &Launch, settings: &InstanceSettings, instance_dir: &Path) -> Result<(Command, File), NotLaunched> {
    folder(instance_dir).map_err(ServiceError::from)?;
    // Released by exec: std opens files close-on-exec.
    let lock = lock(instance_dir)?;
    if let Some(record) = record::running(instance_dir, &launch.instance, launch.role)? {
        return Err(NotLaunched::Running(record.pid));
    }
    let fence = FenceFile::of(instance_dir).read().map_err(ServiceError::from)?;
    if launch.role == Role::Service && fence.standing {
        let refused = ServiceError::Fenced { instance: launch.instance.clone(), generation: fence.generation };
        return Err(NotLaunched::Service(refused));
    }
    let environment = settings.environment().map_err(ServiceError::from)?;
    let (stdout, _) = output(instance_dir, launch.role, "stdout")?;
    let (stderr, stderr_from) = output(instance_dir, launch.role, "stderr")?;
    let pid = std::process::id();
    let own = |source| ServiceError::Process { doing: "look at", pid, instance: launch.instance.clone(), source };
    let start = record::start_time(pid).map_err(own)?.unwrap_or_default();
    let record = Record {
        pid,
        start,
        boot: machine::boot_id(),
        program: launch.program.clone(),
        address: launch.address.clone(),
        at: machine::now(),
        stderr_from,
    };
    write_json(&record::path(instance_dir, launch.role), &record).map_err(ServiceError::from)?;
    let mut command = Command::new(&launch.program);
    command
        .args(settings.args.iter().map(ExposeSecret::expose_secret))
        .args(&launch.extra)
        .env_clear()
        .envs(environment.iter().map(|(key, value)| (key, value.expose_secret())))
        .current_dir(settings.working_directory())
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr);
    Ok((command, lock))
}

/// Waits until nobody is between a launch's look at the fence and its record: whoever sets the fence sees from then on every process
/// that it did not keep from starting.
///
/// # Errors
/// When the lock cannot be used.
pub fn settled(instance_dir: &Path) -> Result<(), ServiceError> {
    lock(instance_dir).map(drop)
}

/// Keeps two launches of one instance apart. Waits: the other one is about to become the ledger or to end.
fn lock(instance_dir: &Path) -> Result<File, ServiceError> {
    let path = instance_dir.join("launch.lock");
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io_error("create", &path))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| io_error("lock", &path)(error.into()))?;
    Ok(file)
}

/// Where a role's output goes.
pub fn output_path(instance_dir: &Path, role: Role, stream: &str) -> PathBuf {
    instance_dir.join(format!("{}.{stream}", role.word()))
}

fn output(instance_dir: &Path, role: Role, stream: &str) -> Result<(File, u64), ServiceError> {
    let path = output_path(instance_dir, role, stream);
    let length = std::fs::metadata(&path).map(|metadata| metadata.len()).unwrap_or_default();
    let length = if length > KEEP_OUTPUT {
        std::fs::rename(&path, path.with_extension(format!("{stream}.old"))).map_err(io_error("move aside", &path))?;
        0
    } else {
        length
    };
    let file =
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(io_error("create", &path))?;
    Ok((file, length))
}

#[cfg(test)]
mod tests {
    use super::{lock, settled};
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn whoever_set_the_fence_waits_for_a_launch_that_may_have_looked_before() {
        let dir = tempfile::tempdir().unwrap();
        let launch = lock(dir.path()).unwrap();
        let (tell, told) = mpsc::channel();
        let path = dir.path().to_owned();
        let waiting = std::thread::spawn(move || {
            settled(&path).unwrap();
            tell.send(()).unwrap();
        });
        assert!(told.recv_timeout(Duration::from_millis(100)).is_err(), "it did not wait");
        drop(launch);
        told.recv_timeout(Duration::from_secs(10)).unwrap();
        waiting.join().unwrap();
    }
}
