//! The server as a process: signals, files it holds, the configuration it writes, its log.

use super::http::pay;
use super::subject::{Home, Number, Server};
use super::{Bench, Check, Step, Verdict, expect, only_if, same, tried};
use rustix::process::Signal;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

pub(super) const CHECKS: &[Check] = &[
    Check { name: "sigterm_ends_0_at_once", look: sigterm },
    Check { name: "sigterm_does_not_wait_for_requests_in_flight", look: in_flight },
    Check { name: "sigint_ends_0", look: sigint },
    Check { name: "sighup_kills", look: sighup },
    Check { name: "sigquit_ends_2_with_a_stack", look: sigquit },
    Check { name: "a_port_in_use_is_met_as_its_release_does", look: port_in_use },
    Check { name: "a_repeated_bind_address_flag_listens_on_the_last", look: last_address },
    Check { name: "requests_are_logged_on_stderr_and_from_1_10_on_stdout", look: request_log },
    Check { name: "the_effective_configuration_is_written_at_the_first_new_ledger_up_to_1_3_1", look: persisted },
    Check {
        name: "without_a_home_folder_the_ledger_is_not_remembered_and_up_to_1_2_1_answered_with_500_though_written",
        look: not_remembered,
    },
];

/// The ledger needs 20 ms; a machine under load gets more, and who waits for a client waits for longer than this.
const AT_ONCE: Duration = Duration::from_secs(10);

fn served(bench: &Bench) -> Step<(Home, Server)> {
    let home = bench.home()?;
    let server = bench.subject.serve(&home, &[])?;
    server.write("/shop/transactions", &pay("bank", 1))?;
    Ok((home, server))
}

fn sigterm(bench: &Bench) -> Step {
    let (_home, mut server) = served(bench)?;
    server.signal(Signal::TERM)?;
    same(server.ended(AT_ONCE)?.code(), Some(0))
}

fn in_flight(bench: &Bench) -> Step {
    let (_home, mut server) = served(bench)?;
    let mut stream = tried("connect", std::net::TcpStream::connect(&server.address))?;
    let half = "POST /shop/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{";
    tried("send half a request", stream.write_all(half.as_bytes()))?;
    same(server.get("/_info")?.status, 200)?;
    server.signal(Signal::TERM)?;
    same(server.ended(AT_ONCE)?.code(), Some(0))
}

fn sigint(bench: &Bench) -> Step {
    let (_home, mut server) = served(bench)?;
    server.signal(Signal::INT)?;
    same(server.ended(AT_ONCE)?.code(), Some(0))
}

fn sighup(bench: &Bench) -> Step {
    let (_home, mut server) = served(bench)?;
    server.signal(Signal::HUP)?;
    same(server.ended(AT_ONCE)?.signal(), Some(1))
}

fn sigquit(bench: &Bench) -> Step {
    let (_home, mut server) = served(bench)?;
    server.signal(Signal::QUIT)?;
    same(server.ended(AT_ONCE)?.code(), Some(2))?;
    expect(server.errors().contains("goroutine"), "a stack", server.errors())
}

fn port_in_use(bench: &Bench) -> Step {
    let (home, server) = served(bench)?;
    let bind = format!("--server.http.bind_address={}", server.address);
    if (Number(1, 1, 0)..Number(1, 3, 0)).contains(&bench.subject.number) {
        return hangs(bench, &home, &bind);
    }
    let ran = bench.subject.run(&home, &["server", "start", &bind])?;
    ran.ends(1)?;
    if bench.subject.number < Number(1, 1, 0) {
        return expect(!ran.err.contains("address already in use"), "no word about it", &ran.err);
    }
    ran.complains("bind: address already in use")
}

/// Neither serves nor ends, until it is told to.
fn hangs(bench: &Bench, home: &Home, bind: &str) -> Step {
    let mut command = bench.subject.command(home, &["server", "start", bind]);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = tried("start a server", command.spawn())?;
    // How long it does not end can only be waited for.
    std::thread::sleep(Duration::from_millis(500));
    let ended = tried("look at the server", child.try_wait())?;
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        tried("send SIGTERM", rustix::process::kill_process(pid, Signal::TERM))?;
    }
    let status = tried("wait for the server", child.wait())?;
    same((ended.map(|status| status.to_string()), status.code()), (None, Some(1)))
}

fn last_address(bench: &Bench) -> Step {
    let home = bench.home()?;
    let other = super::subject::free_address()?;
    // The suite's own flag comes first, this one last.
    let last = format!("--server.http.bind_address={other}");
    let bind = format!("--server.http.bind_address={}", super::subject::free_address()?);
    let mut command = bench.subject.command(&home, &["server", "start", &bind, &last]);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = tried("start a server", command.spawn())?;
    let answered = (0..2000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        crate::wire::request(&other, "GET", "/_info", None).is_ok()
    });
    tried("kill the server", child.kill())?;
    tried("wait for the server", child.wait())?;
    expect(answered, format!("an answer at {other}"), "none within 20 s")
}

fn request_log(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    server.get("/_info")?;
    let to_stdout = bench.subject.number >= Number(1, 10, 0);
    let lines = || if to_stdout { server.printed() } else { server.errors() };
    for _ in 0..2000 {
        if lines().contains("path=/_info") {
            return expect(lines().contains("msg=Request"), "msg=Request", lines());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    expect(false, format!("a line with path=/_info; on stdout: {to_stdout}"), lines())
}

fn persisted(bench: &Bench) -> Step {
    let (home, server) = served(bench)?;
    server.stop()?;
    let file = home.path("home/.numary/numary.yaml");
    if bench.subject.has_storage_commands() {
        return expect(!file.exists(), "no numary.yaml", "one");
    }
    let mode = tried("look at numary.yaml", std::fs::metadata(&file))?.permissions().mode() & 0o777;
    same(format!("{mode:o}"), "644".to_owned())?;
    let text = tried("read numary.yaml", std::fs::read_to_string(&file))?;
    for part in ["quickstart", "shop", "conn_string", "driver", &home.data().display().to_string()] {
        expect(text.contains(part), part, &text)?;
    }
    let home = bench.home()?;
    let server = bench.subject.serve(&home, &["--persist-config=false"])?;
    server.write("/shop/transactions", &pay("bank", 1))?;
    server.stop()?;
    expect(!home.path("home/.numary/numary.yaml").exists(), "no numary.yaml with --persist-config=false", "one")
}

fn not_remembered(bench: &Bench) -> Step {
    only_if(!bench.subject.has_storage_commands())?;
    let home = bench.home()?;
    tried("remove the folder", std::fs::remove_dir_all(home.path("home/.numary")))?;
    let elsewhere = format!("--storage.dir={}", home.path("elsewhere").display());
    let server = bench.subject.serve(&home, &[&elsewhere])?;
    let reply = server.post("/shop/transactions", &pay("bank", 1))?;
    if bench.subject.number < Number(1, 3, 0) {
        same(reply.status, 500)?;
        return same(server.get("/shop/stats")?.json()["data"]["transactions"].clone(), serde_json::json!(1));
    }
    same(reply.status, 200)?;
    let said = "failed to create config file: ledger shop will not be remembered";
    for _ in 0..2000 {
        if server.errors().contains(said) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(Verdict::Differs { expected: said.to_owned(), saw: server.errors() })
}
