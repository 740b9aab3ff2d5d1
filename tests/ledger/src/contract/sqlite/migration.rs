//! How a migration runs, fails, and what it does to instances beside it.

use crate::contract::http::pay;
use crate::contract::subject::{Home, Number, Ran, Subject, output};
use crate::contract::{Bench, Check, Step, Verdict, expect, only_if, same, tried};
use crate::{seed, wire};
use rustix::process::{Flock, FlockType, fcntl_getlk};
use serde_json::json;
use std::time::Duration;

pub(super) const CHECKS: &[Check] = &[
    Check { name: "scan_list_upgrade_migrate_a_deployment", look: documented },
    Check { name: "after_upgrade_the_migration_is_in_the_wal_file_alone", look: wal },
    Check { name: "a_quote_in_a_reference_panics_and_leaves_that_ledger_alone", look: quote_in_reference },
    Check { name: "a_control_character_in_a_reference_panics", look: control_character },
    Check { name: "a_quote_in_a_metadata_key_panics", look: quote_in_key },
    Check { name: "a_server_dies_at_the_first_request_to_a_ledger_it_cannot_migrate", look: server_panics },
    Check { name: "a_migration_killed_in_the_middle_is_as_if_it_had_not_begun", look: killed },
    Check { name: "of_two_commands_on_one_ledger_one_migrates_and_the_other_ends_1", look: two_commands },
    Check { name: "two_ledgers_migrate_side_by_side", look: side_by_side },
    Check { name: "the_first_request_migrates", look: first_request },
    Check { name: "a_client_that_hangs_up_cancels_the_migration", look: hang_up },
    Check { name: "info_and_health_answer_during_a_migration", look: info_during },
    Check { name: "an_old_instance_writes_half_transactions_into_a_migrated_storage", look: old_instance },
    Check { name: "an_old_instance_fails_with_500_at_a_storage_of_1_8_and_sets_metadata", look: old_instance_later },
];

fn upgrade(subject: &Subject, home: &Home, ledger: &str) -> Step<Ran> {
    subject.run(home, &["storage", "upgrade", ledger])
}

/// A storage of the older binary with one small ledger, written by `fill`.
fn written(bench: &Bench, fill: impl Fn(&crate::contract::subject::Server) -> Step) -> Step<Home> {
    let from = bench.older()?;
    let home = bench.home()?;
    let server = from.serve(&home, &[])?;
    fill(&server)?;
    server.stop()?;
    Ok(home)
}

/// How many transactions a ledger has whose migration is to be met in the middle. A simulator is made to stay there; a binary that
/// was through before anybody looked takes longer with more.
const SIZES: [u64; 5] = [4_000, 8_000, 16_000, 32_000, 64_000];

/// Makes a simulator's migration wait before its commit until the file is there; to the ledger itself it means nothing.
const HOLD: &str = "NUMARY_SIM_HOLD_MIGRATION";

/// A ledger `shop` of so many transactions.
fn large(bench: &Bench, transactions: u64) -> Step<Home> {
    let home = written(bench, |server| server.get("/shop/stats").map(drop))?;
    for file in ["numary_shop.db", "numary_shop.db-wal", "numary_shop.db-shm"] {
        let _ = std::fs::remove_file(home.data().join(file));
    }
    let shape = seed::Shape { transactions, accounts: 500, metadata_every: 2 };
    tried("seed a ledger", seed::direct(&home.file("shop"), shape))?;
    Ok(home)
}

fn has_log(home: &Home, ledger: &str) -> Step<bool> {
    Ok(home.value(ledger, "SELECT count(*) FROM sqlite_master WHERE name = 'log'")? == "1")
}

fn documented(bench: &Bench) -> Step {
    let home = written(bench, |server| {
        for ledger in ["wallets", "shop"] {
            server.write(&format!("/{ledger}/transactions"), &pay("bank", 1))?;
        }
        Ok(())
    })?;
    let scan = bench.subject.run(&home, &["storage", "scan"])?;
    scan.ends(0)?;
    scan.prints("Registering ledger 'shop'\r\nLedger 'shop' registered\r\n")?;
    expect(!has_log(&home, "shop")?, "scan to migrate nothing", "a `log`")?;
    bench.subject.run(&home, &["storage", "list"])?.prints("Ledgers:\n- shop\n- wallets\n")?;
    for ledger in ["shop", "wallets"] {
        let ran = upgrade(&bench.subject, &home, ledger)?;
        ran.ends(0)?;
        ran.prints(&format!("Storage '{ledger}' migrated\r\n"))?;
        upgrade(&bench.subject, &home, ledger)?.prints(&format!("Storage '{ledger}' left in place\r\n"))?;
    }
    Ok(())
}

fn wal(bench: &Bench) -> Step {
    let home = written(bench, |server| server.write("/shop/transactions", &pay("bank", 1)).map(drop))?;
    upgrade(&bench.subject, &home, "shop")?.ends(0)?;
    let wal = std::fs::metadata(home.data().join("numary_shop.db-wal")).map(|wal| wal.len()).unwrap_or(0);
    expect(wal > 0, "a `-wal` file", wal)?;
    let alone = bench.home()?;
    tried("make a folder", std::fs::create_dir_all(alone.data()))?;
    tried("copy the .db alone", std::fs::copy(home.file("shop"), alone.file("shop")))?;
    expect(!has_log(&alone, "shop")?, "no `log` in the .db alone", "one")?;
    let whole = home.copy()?;
    expect(has_log(&whole, "shop")?, "a `log` with the -wal", "none")?;
    let server = bench.subject.serve(&home, &[])?;
    server.get("/shop/stats")?;
    server.stop()?;
    let after = bench.home()?;
    tried("make a folder", std::fs::create_dir_all(after.data()))?;
    tried("copy the .db alone", std::fs::copy(home.file("shop"), after.file("shop")))?;
    expect(has_log(&after, "shop")?, "a `log` in the .db after the server's first request", "none")
}

fn with_reference(bench: &Bench, reference: &str) -> Step<Home> {
    written(bench, |server| {
        let mut body = pay("bank", 1);
        body["reference"] = json!(reference);
        server.write("/shop/transactions", &body)?;
        server.write("/wallets/transactions", &pay("bank", 1)).map(drop)
    })
}

fn panics(bench: &Bench, home: &Home) -> Step {
    let ran = upgrade(&bench.subject, home, "shop")?;
    ran.ends(2)?;
    ran.complains("panic: ")?;
    ran.complains("goroutine ")?;
    expect(!has_log(home, "shop")?, "the ledger as it was", "a `log`")
}

fn quote_in_reference(bench: &Bench) -> Step {
    let home = with_reference(bench, "a\"b")?;
    panics(bench, &home)?;
    same(home.value("shop", "SELECT count(*) FROM transactions")?.as_str(), "1")?;
    upgrade(&bench.subject, &home, "wallets")?.ends(0)
}

fn control_character(bench: &Bench) -> Step {
    let home = with_reference(bench, "a\u{1}b")?;
    panics(bench, &home)
}

fn quote_in_key(bench: &Bench) -> Step {
    let home = written(bench, |server| {
        server.write("/shop/transactions", &pay("bank", 1))?;
        server.write("/shop/transactions/0/metadata", &json!({ "a\"b": 1, "c": 2 })).map(drop)
    })?;
    panics(bench, &home)
}

fn server_panics(bench: &Bench) -> Step {
    let home = with_reference(bench, "a\"b")?;
    let mut server = bench.subject.serve(&home, &[])?;
    same(server.get("/wallets/stats")?.status, 200)?;
    expect(server.get("/shop/stats").is_err(), "no answer", "one")?;
    same(server.ended(Duration::from_secs(20))?.code(), Some(2))
}

/// Whether somebody writes to `shop` now: this byte of the `-shm` file is what a writer locks (`WAL_WRITE_LOCK`,
/// sqlite.org/walformat.html). To try for the lock would disturb who comes for it at that moment.
fn is_written(home: &Home) -> Step<bool> {
    let Ok(file) = std::fs::File::open(home.data().join("numary_shop.db-shm")) else { return Ok(false) };
    let lock = Flock { start: 120, length: 1, ..Flock::from(FlockType::WriteLock) };
    Ok(tried("ask for a lock", fcntl_getlk(&file, &lock))?.is_some())
}

/// Waits for a condition, for no longer than any check needs on a busy machine.
fn until(what: &str, mut holds: impl FnMut() -> Step<bool>) -> Step {
    for _ in 0..20_000 {
        if holds()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(Verdict::Differs { expected: what.to_owned(), saw: "nothing of it for 20 s".to_owned() })
}

/// Starts a migration and waits until it is in the middle, where a simulator stays until the file `go` is there; or over.
fn met(bench: &Bench, home: &Home) -> Step<std::process::Child> {
    let mut command = bench.subject.command(home, &["storage", "upgrade", "shop"]);
    let mut child = tried("start upgrade", command.env(HOLD, home.path("go")).spawn())?;
    until(
        "the migration to begin",
        || Ok(is_written(home)? || tried("wait for upgrade", child.try_wait())?.is_some()),
    )?;
    Ok(child)
}

fn killed(bench: &Bench) -> Step {
    for transactions in SIZES {
        let home = large(bench, transactions)?;
        let mut child = met(bench, &home)?;
        tried("kill upgrade", child.kill())?;
        if tried("wait for upgrade", child.wait())?.code() == Some(0) {
            continue;
        }
        expect(!has_log(&home, "shop")?, "the ledger as it was", "a `log`")?;
        let ran = upgrade(&bench.subject, &home, "shop")?;
        ran.ends(0)?;
        return ran.prints("Storage 'shop' migrated\r\n");
    }
    Err(Verdict::Skipped("the migration was over each time before it could be killed".to_owned()))
}

fn start(bench: &Bench, home: &Home, ledger: &str) -> Step<std::process::Child> {
    tried("start upgrade", bench.subject.command(home, &["storage", "upgrade", ledger]).spawn())
}

fn two_commands(bench: &Bench) -> Step {
    for transactions in SIZES {
        let home = large(bench, transactions)?;
        bench.subject.run(&home, &["storage", "scan"])?.ends(0)?;
        let first = met(bench, &home)?;
        // Of a simulator it ends for the lock, which the first one keeps; of the ledger it may wait for the first one's end.
        let second = output(start(bench, &home, "shop")?, "upgrade")?;
        home.write("go", "")?;
        let outputs = [output(first, "upgrade")?, second];
        let text = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
        if outputs.iter().any(|output| text(output).contains("left in place")) {
            continue;
        }
        let won = outputs.iter().filter(|output| text(output).contains("Storage 'shop' migrated\r\n")).count();
        same(won, 1)?;
        let lost: Vec<_> = outputs.iter().filter(|output| output.status.code() == Some(1)).collect();
        same(lost.len(), 1)?;
        let said = String::from_utf8_lossy(&lost[0].stderr).into_owned();
        let known = said.contains("duplicate column name: postings") || said.contains("database is locked");
        expect(known, "`duplicate column name: postings`", &said)?;
        return expect(has_log(&home, "shop")?, "a migrated ledger", "none");
    }
    Err(Verdict::Skipped("the two commands never met in five tries".to_owned()))
}

fn side_by_side(bench: &Bench) -> Step {
    let home = large(bench, 4_000)?;
    tried("copy the ledger", std::fs::copy(home.file("shop"), home.file("wallets")))?;
    bench.subject.run(&home, &["storage", "scan"])?.ends(0)?;
    let children = [start(bench, &home, "shop")?, start(bench, &home, "wallets")?];
    for child in children {
        let output = output(child, "upgrade")?;
        expect(output.status.success(), "exit status 0", String::from_utf8_lossy(&output.stderr))?;
    }
    expect(has_log(&home, "shop")? && has_log(&home, "wallets")?, "both migrated", "not both")
}

fn first_request(bench: &Bench) -> Step {
    let home = written(bench, |server| server.write("/shop/transactions", &pay("bank", 1)).map(drop))?;
    let server = bench.subject.serve(&home, &[])?;
    expect(!has_log(&home, "shop")?, "no migration before the first request", "a `log`")?;
    same(server.get("/shop/stats")?.status, 200)?;
    expect(has_log(&home, "shop")?, "a `log` after it", "none")
}

/// A first request whose migration has begun, unanswered; a simulator's stays there until the file `go` is there.
fn migrating(bench: &Bench, transactions: u64) -> Step<(Home, crate::contract::subject::Server, std::net::TcpStream)> {
    let home = large(bench, transactions)?;
    let go = home.path("go").display().to_string();
    let server = bench.subject.serve_with(&home, &[], &[(HOLD, &go)])?;
    let stream = tried("ask", wire::send(&server.address, "GET", "/shop/stats", None, ""))?;
    until("the migration to begin", || Ok(is_written(&home)? || has_log(&home, "shop")?))?;
    Ok((home, server, stream))
}

fn hang_up(bench: &Bench) -> Step {
    for transactions in SIZES {
        let (home, server, stream) = migrating(bench, transactions)?;
        drop(stream);
        // The next client waits until the first one's work is rolled back, then migrates anew; asking for nothing of the ledger first.
        until("the request to end", || {
            let log = server.log();
            Ok(["context canceled", "interrupted", "path=/shop/stats"].iter().any(|end| log.contains(end)))
        })?;
        if has_log(&home, "shop")? {
            continue;
        }
        home.write("go", "")?;
        same(server.get("/shop/stats")?.status, 200)?;
        return expect(has_log(&home, "shop")?, "a `log` after a patient client", "none");
    }
    expect(false, "the ledger as it was", "a `log`, with whatever number of transactions")
}

fn info_during(bench: &Bench) -> Step {
    for transactions in SIZES {
        let (home, server, stream) = migrating(bench, transactions)?;
        same(server.get("/_info")?.status, 200)?;
        same(server.get("/_health")?.status, 200)?;
        let done = has_log(&home, "shop")?;
        drop(stream);
        if !done {
            return Ok(());
        }
    }
    Err(Verdict::Skipped("the migration was over too soon each time".to_owned()))
}

fn old_instance(bench: &Bench) -> Step {
    let from = bench.older()?;
    only_if(bench.subject.number < Number(1, 6, 0))?;
    let home = bench.home()?;
    let old = from.serve(&home, &[])?;
    old.write("/shop/transactions", &pay("bank", 1))?;
    upgrade(&bench.subject, &home, "shop")?.ends(0)?;
    same(old.post("/shop/transactions", &pay("bank", 5))?.status, 200)?;
    same(home.value("shop", "SELECT postings FROM transactions WHERE id = 1")?.as_str(), "NULL")?;
    same(home.value("shop", "SELECT input FROM volumes WHERE account = 'bank'")?.as_str(), "1")?;
    let new = bench.subject.serve(&home, &[])?;
    new.write("/shop/transactions", &pay("bank", 7))?;
    same(old.post("/shop/transactions", &pay("bank", 1))?.status, 503)?;
    same(old.get("/_info")?.status, 200)?;
    same(old.get("/_health")?.status, 200)?;
    expect(old.errors().contains("converting NULL to string"), "`converting NULL to string` on stderr", old.errors())
}

fn old_instance_later(bench: &Bench) -> Step {
    let from = bench.older()?;
    only_if(bench.subject.number >= Number(1, 8, 0))?;
    let home = bench.home()?;
    let old = from.serve(&home, &[])?;
    old.write("/shop/transactions", &pay("bank", 1))?;
    upgrade(&bench.subject, &home, "shop")?.ends(0)?;
    same(old.post("/shop/transactions", &pay("bank", 5))?.status, 500)?;
    same(old.post("/shop/accounts/bank/metadata", &json!({ "a": 1 }))?.status, 204)?;
    expect(old.log().contains("no such column: t.hash"), "`no such column: t.hash` in the log", old.log())
}
