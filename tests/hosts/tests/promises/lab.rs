//! The lab: many hosts, several labs, and nothing left behind.

use cutover_test_hosts::{DEADLINE, Lab, cgroups, skipped, until};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn twenty_hosts_boot() {
    Lab::run(|lab| {
        let begun = Instant::now();
        let hosts = lab.hosts(20);
        println!("twenty hosts booted in {:?}", begun.elapsed());
        let mut boots: Vec<String> = hosts.iter().map(|host| host.boot_id()).collect();
        boots.sort_unstable();
        boots.dedup();
        assert_eq!(boots.len(), 20);
        for host in &hosts {
            assert_eq!(host.run(&["systemctl", "is-system-running"]), "running");
        }
    });
}

#[test]
fn a_test_in_a_lab_leaves_its_temporary_folders_in_it() {
    Lab::run(|lab| {
        assert!(std::env::temp_dir().starts_with(lab.folder()));
        assert_eq!(std::process::id().min(9), std::process::id(), "it has processes of its own");
    });
}

/// The program of this crate with hosts in a lab, and what it printed until they ran.
fn by_hand(count: usize) -> Option<(Child, String)> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_hosts"))
        .arg(count.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    for line in BufReader::new(program.stdout.take().unwrap()).lines().map_while(Result::ok) {
        said += &format!("{line}\n");
        if line.starts_with("running") {
            return Some((program, said));
        }
    }
    let output = program.wait_with_output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}{why}");
    skipped(why.trim_end());
    None
}

/// Every process in a control group and below.
fn processes(cgroup: &Path) -> Vec<u32> {
    let below = std::fs::read_dir(cgroup).into_iter().flatten().flatten().map(|entry| entry.path());
    let own = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let own = own.lines().filter_map(|pid| pid.parse().ok());
    own.chain(below.filter(|path| path.is_dir()).flat_map(|path| processes(&path))).collect()
}

/// One that only waits to be reaped by this machine's PID 1 is dead.
fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// That nothing of a lab is left, soon after its program ended.
fn nothing_is_left(lab: &str, folder: &Path, pids: &[u32]) {
    let cgroup = cgroups().unwrap().join(lab);
    until("no process of the lab lives", DEADLINE, || pids.iter().all(|pid| !lives(*pid)).then_some(()));
    until("its control group is gone", DEADLINE, || (!cgroup.exists()).then_some(()));
    until("its folder is gone", DEADLINE, || (!folder.exists()).then_some(()));
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(lab), "{mounts}");
    // A namespace lives as long as a process or a mount of it: no process anywhere has one with the lab in it.
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let mounts = std::fs::read_to_string(process.path().join("mounts")).unwrap_or_default();
        assert!(!mounts.contains(lab), "{} still has mounts of the lab", process.path().display());
    }
}

#[test]
fn a_killed_lab_leaves_no_process_no_mount_no_control_group_and_no_folder() {
    let Some((mut program, said)) = by_hand(2) else { return };
    let lab = said.split_whitespace().next().unwrap();
    let folder = std::env::temp_dir().join(lab);
    let pids = processes(&cgroups().unwrap().join(lab));
    assert!(folder.exists() && pids.len() >= 8, "two hosts have more processes than {pids:?}");
    // Held open, so that it is the kill that ends the lab.
    let input = program.stdin.take();
    program.kill().unwrap();
    program.wait().unwrap();
    nothing_is_left(lab, &folder, &pids);
    drop(input);
}

#[test]
fn a_lab_by_hand_has_shells_and_ends_with_its_input() {
    let Some((mut program, said)) = by_hand(2) else { return };
    let lab = said.split_whitespace().next().unwrap();
    let folder = std::env::temp_dir().join(lab);
    let pids = processes(&cgroups().unwrap().join(lab));
    let way = said.lines().find_map(|line| line.strip_prefix("h2\t10.77.0.2\t")).unwrap();
    let shell = Command::new("sh").args(["-c", &format!("{way} hostname")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&shell.stdout), "h2\n", "{}", String::from_utf8_lossy(&shell.stderr));
    let nobody = Command::new(env!("CARGO_BIN_EXE_hosts")).args(["shell", &format!("{lab}/h3")]).output().unwrap();
    assert!(String::from_utf8_lossy(&nobody.stderr).starts_with("no host cutover-lab-"));
    drop(program.stdin.take());
    let begun = Instant::now();
    assert!(program.wait().unwrap().success());
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?} to end", begun.elapsed());
    nothing_is_left(lab, &folder, &pids);
}
