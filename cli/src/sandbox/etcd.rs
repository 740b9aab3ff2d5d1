//! The etcd of a sandbox with several coordinators: an installed one with one member, on a folder of the sandbox.

use super::processes;
use crate::trouble::Trouble;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Which program it is.
pub(super) const PROGRAM: &str = "etcd";
/// How to get it.
pub(crate) const HOW_TO_GET: &str =
    "`apt-get install etcd-server` on Debian or Ubuntu; or one coordinator, without `--coordinators`";
/// How long it may take until it answers.
const ANSWER: Duration = Duration::from_secs(15);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// It runs; dropped, it is ended. What it holds is on the disk.
#[derive(Debug)]
pub(super) struct Etcd(Child);
impl Drop for Etcd {
    fn drop(&mut self) {
        // One that ended by itself is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the installed one lies, by a PATH.
pub(crate) fn find(path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(PROGRAM)).find(|program| program.is_file())
}

/// That it is installed; otherwise how to install it.
///
/// # Errors
/// [`Trouble::Usage`].
pub(super) fn installed() -> Result<PathBuf, Trouble> {
    std::env::var_os("PATH").as_deref().and_then(find).ok_or_else(|| {
        Trouble::usage("several coordinators share an etcd, and the program etcd is not in PATH").next(HOW_TO_GET)
    })
}

/// Starts it where clients and members are to reach it, once it answers. One that an earlier run left on that folder is ended.
///
/// # Errors
/// When it is not installed, or ends instead of answering.
pub(super) async fn start(dir: &Path, [clients, members]: &[String; 2]) -> Result<Etcd, Trouble> {
    let program = installed()?;
    let (folder, log) = (dir.join("etcd"), dir.join("etcd.log"));
    processes::end(&folder).await;
    let cannot = |error| Trouble::failed(format!("cannot start {}", program.display()), error);
    let said = OpenOptions::new().create(true).append(true).mode(0o600).open(&log).map_err(cannot)?;
    let (clients_url, members_url) = (format!("http://{clients}"), format!("http://{members}"));
    let mut command = Command::new(&program);
    command.args(["--name", "sandbox", "--listen-client-urls", &clients_url, "--advertise-client-urls", &clients_url]);
    command.args(["--listen-peer-urls", &members_url, "--initial-advertise-peer-urls", &members_url]);
    command.args(["--initial-cluster", &format!("sandbox={members_url}")]);
    // Last, so that it is known as one of this sandbox.
    command.arg("--data-dir").arg(&folder);
    command.stdin(Stdio::null()).stdout(said.try_clone().map_err(cannot)?).stderr(said);
    let mut etcd = Etcd(command.spawn().map_err(cannot)?);
    let address: SocketAddr = clients.parse().map_err(|error| Trouble::failed("cannot use etcd's address", error))?;
    let answers = async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            if etcd.0.try_wait().map_err(cannot)?.is_some() {
                return Err(Trouble::plain("etcd ended at once").next(format!("{} says why", log.display())));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    match tokio::time::timeout(ANSWER, answers).await {
        Ok(Ok(())) => Ok(etcd),
        Ok(Err(trouble)) => Err(trouble),
        Err(_) => Err(Trouble::plain(format!("etcd did not answer at {clients} within {} s", ANSWER.as_secs()))
            .next(format!("{} says why", log.display()))),
    }
}
