//! Programs that are started by way of this one.

use crate::support::{skipped, until};
use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

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

/// Runs a command of a shell in which `nobody` is in the group 60123 as well, by a file of groups that nobody else sees.
fn where_nobody_has_a_second_group(dir: &Path, command: &str) -> Option<Output> {
    let groups = dir.join("group");
    let text = std::fs::read_to_string("/etc/group").unwrap();
    std::fs::write(&groups, format!("{text}ledgerdata:x:60123:nobody\n")).unwrap();
    std::fs::set_permissions(&groups, Permissions::from_mode(0o644)).unwrap();
    let bound = format!("mount --bind '{}' /etc/group || exit 77; {command}", groups.display());
    let output = Command::new("unshare").args(["--mount", "sh", "-c", &bound, AGENT]).stdin(Stdio::null()).output();
    output.ok().filter(|output| output.status.code() != Some(77) && rustix::process::geteuid().is_root())
}

#[test]
fn what_is_started_as_a_user_has_that_users_groups_and_its_environment_does_nothing_before() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "secret\n").unwrap();
    std::os::unix::fs::chown(&file, Some(0), Some(60_123)).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let command = format!(
        "export HOME=/root CUTOVER_HANDED_OVER_LD_PRELOAD= CUTOVER_HANDED_OVER_A=b; exec \"$0\" work / --as 65534:65534 -- \
         /bin/sh -c 'cat {}; id -u; id -g; env | grep -e A= -e HOME -e LD_ | sort'",
        file.display()
    );
    let Some(output) = where_nobody_has_a_second_group(dir.path(), &command) else {
        return skipped("this user may not mount in a namespace of its own");
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "secret\n65534\n65534\nA=b\nLD_PRELOAD=\n", "{output:?}");
    // What it was not become is not taken for the program's own word.
    let unknown = Command::new(AGENT).args(["work", "/", "--as", "60124:60124", "--", "true"]).output().unwrap();
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.status.code() == Some(126) && said.contains("user 60124 is not known on this host"), "{said}");
}
