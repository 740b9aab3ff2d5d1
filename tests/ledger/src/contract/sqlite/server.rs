//! The server and its files.

use crate::contract::http::pay;
use crate::contract::subject::Number;
use crate::contract::{Bench, Check, Step, expect, only_if, same, tried};
use std::time::Duration;

pub(super) const CHECKS: &[Check] = &[
    Check { name: "an_idle_server_holds_no_ledger_file", look: idle },
    Check { name: "from_1_10_6_on_an_idle_server_holds_its_ledger_files", look: holds },
    Check { name: "a_later_command_reads_the_written_configuration", look: persisted_is_read },
];

fn idle(bench: &Bench) -> Step {
    only_if(bench.subject.number < Number(1, 10, 6))?;
    let home = bench.home()?;
    let server = bench.subject.serve(&home, &[])?;
    server.write("/shop/transactions", &pay("bank", 1))?;
    let fds = format!("/proc/{}/fd", server.child.id());
    let mut held = Vec::new();
    // The answer is sent before the file is closed.
    for _ in 0..2000 {
        let links = tried("read the open files", std::fs::read_dir(&fds))?.flatten();
        held = links
            .filter_map(|link| std::fs::read_link(link.path()).ok())
            .map(|path| path.display().to_string())
            .collect();
        held.retain(|path| path.contains(".db"));
        if held.iter().all(|path| path.ends_with("_system.db")) {
            let system = bench.subject.has_storage_commands();
            return expect(held.is_empty() != system, format!("the system store open: {system}"), format!("{held:?}"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    expect(false, "no ledger file open", format!("{held:?}"))
}

fn holds(bench: &Bench) -> Step {
    only_if(bench.subject.number >= Number(1, 10, 6))?;
    let home = bench.home()?;
    let server = bench.subject.serve(&home, &[])?;
    server.write("/shop/transactions", &pay("bank", 1))?;
    let links = tried("read the open files", std::fs::read_dir(format!("/proc/{}/fd", server.child.id())))?.flatten();
    let held: Vec<String> = links
        .filter_map(|link| std::fs::read_link(link.path()).ok())
        .map(|path| path.display().to_string())
        .filter(|path| path.ends_with("_shop.db"))
        .collect();
    expect(!held.is_empty(), "the ledger's file open", "none")
}

fn persisted_is_read(bench: &Bench) -> Step {
    only_if(!bench.subject.has_storage_commands())?;
    let home = bench.home()?;
    let elsewhere = format!("--storage.dir={}", home.path("elsewhere").display());
    let server = bench.subject.serve(&home, &[&elsewhere])?;
    server.write("/shop/transactions", &pay("bank", 1))?;
    server.stop()?;
    let server = bench.subject.serve(&home, &[])?;
    same(server.get("/shop/stats")?.json()["data"]["transactions"].clone(), serde_json::json!(1))?;
    expect(!home.file("shop").exists(), "the storage of the written configuration", "the default one")
}
