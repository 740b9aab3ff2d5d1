//! One member: its process, its ports, its folder.

use crate::{Certificates, program};
use cutover_trial_postgres::free_address;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Member {
    name: String,
    pub(crate) client: SocketAddr,
    peer: SocketAddr,
    health: SocketAddr,
    folder: PathBuf,
    tls: Option<Certificates>,
    args: Vec<String>,
    /// Every member with its peers' URL.
    pub(crate) cluster: String,
    process: Option<Child>,
}

impl Member {
    pub(crate) fn new(number: usize, folder: &Path, tls: Option<&Certificates>, args: &[&str]) -> Self {
        let name = format!("m{number}");
        Self {
            client: free_address().unwrap(),
            peer: free_address().unwrap(),
            health: free_address().unwrap(),
            folder: folder.join(&name),
            name,
            tls: tls.cloned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            cluster: String::new(),
            process: None,
        }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.client)
    }
    pub(crate) fn in_cluster(&self) -> String {
        format!("{}=http://{}", self.name, self.peer)
    }
    pub(crate) fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// With short times, so that an election among members takes a fraction of a second. Killed when these tests are killed.
    pub(crate) fn start(&mut self) {
        std::fs::create_dir_all(&self.folder).unwrap();
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", &program("ETCD", "etcd"), "--name", &self.name]);
        command.arg("--data-dir").arg(self.folder.join("data"));
        command.args(["--heartbeat-interval", "20", "--election-timeout", "200"]);
        for (flag, value) in [
            ("--listen-client-urls", self.url()),
            ("--advertise-client-urls", self.url()),
            ("--listen-peer-urls", format!("http://{}", self.peer)),
            ("--initial-advertise-peer-urls", format!("http://{}", self.peer)),
            ("--listen-metrics-urls", format!("http://{}", self.health)),
            ("--initial-cluster", self.cluster.clone()),
        ] {
            command.args([flag, &value]);
        }
        if let Some(Certificates { certificate, key, authority }) = &self.tls {
            command.arg("--cert-file").arg(certificate).arg("--key-file").arg(key);
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(authority);
        }
        command.args(&self.args).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(spawn(command));
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
    pub(crate) fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("the member runs");
        kill_process(Pid::from_child(process), signal).unwrap();
    }

    /// `GET /health`, which asks for a linearizable read.
    pub(crate) fn is_healthy(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(self.health)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.contains("\"health\":\"true\""))
    }

    /// Asks its JSON gateway; what it answers, or why it does not.
    pub(crate) fn post(&self, path: &str, body: &str) -> String {
        let head =
            format!("POST {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(self.client)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all((head + body).as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().unwrap_or_else(|error| error.to_string())
    }

    pub(crate) fn ctl(&self, args: &[&str]) -> String {
        let mut command = Command::new(program("ETCDCTL", "etcdctl"));
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", self.url()));
        if let Some(Certificates { certificate, key, authority }) = &self.tls {
            command.arg("--cert").arg(certificate).arg("--key").arg(key).arg("--cacert").arg(authority);
        }
        let output = command.args(args).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        log.lines().rev().take(5).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a program from a thread that lives as long as this process: the signal of `setpriv --pdeathsig` comes when the thread
/// that started the program ends (prctl(2)), and a test's thread ends before what outlives it in other threads.
fn spawn(command: Command) -> Child {
    type Job = (Command, Sender<std::io::Result<Child>>);
    static PARENT: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let parent = PARENT.get_or_init(|| {
        let (jobs, todo) = channel::<Job>();
        std::thread::spawn(move || {
            while let Ok((mut command, answer)) = todo.recv() {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(jobs)
    });
    let (answer, started) = channel();
    parent.lock().unwrap().send((command, answer)).unwrap();
    started.recv().unwrap().expect("setpriv (util-linux) starts etcd")
}
