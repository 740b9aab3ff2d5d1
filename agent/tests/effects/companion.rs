//! Programs that a worker starts by way of this one.

use crate::support::until;
use std::io::Read as _;
use std::process::{Command, Stdio};

const AGENT: &str = env!("CARGO_BIN_EXE_cutover-agent");

fn lives(pid: u32) -> bool {
    // A zombie is gone as well; nobody may be there to reap it.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

#[tokio::test]
async fn what_a_worker_starts_dies_with_it() {
    // A shell stands for the worker: whoever is named and is the parent.
    let script = "\"$0\" work /nonexistent --companion-of $$ -- sleep 600 & echo $!; wait";
    let mut worker =
        Command::new("sh").args(["-c", script, AGENT]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut stdout = worker.stdout.take().unwrap();
    while !said.ends_with('\n') {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        said.push(char::from(byte[0]));
    }
    let companion: u32 = said.trim().parse().unwrap();
    let became = || std::fs::read_to_string(format!("/proc/{companion}/cmdline")).is_ok_and(|w| w.starts_with("sleep"));
    until("it is the program", became).await;
    worker.kill().unwrap();
    worker.wait().unwrap();
    until("it is gone", || !lives(companion)).await;
}

#[test]
fn nothing_is_started_for_a_worker_that_is_gone() {
    // Its parent is this test, which is not who asked.
    let output = Command::new(AGENT)
        .args(["work", "/nonexistent", "--companion-of", "1", "--", "echo", "started"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the worker 1 is gone"), "{said}");
}
