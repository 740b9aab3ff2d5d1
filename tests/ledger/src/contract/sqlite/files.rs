//! The storage commands over SQLite files: what they take, skip, create and report.

use crate::contract::subject::{Home, Number, numbers};
use crate::contract::{Bench, Check, Step, Verdict, expect, only_if, same, tried};
use crate::storage::Driver;
use serde_json::json;
use std::time::Duration;

pub(super) const CHECKS: &[Check] = &[
    Check { name: "list_of_nothing_says_so", look: empty_list },
    Check { name: "init_creates_a_ledger", look: init },
    Check { name: "scan_registers_each_file_and_says_so_again", look: scan },
    Check { name: "scan_skips_files_by_their_names", look: scan_skips },
    Check { name: "scan_finds_nothing_where_the_database_name_has_an_underscore", look: underscore },
    Check { name: "scan_ends_0_though_registering_failed", look: scan_failure },
    Check { name: "scan_leaves_the_ledgers_untouched", look: scan_is_harmless },
    Check { name: "list_is_in_the_order_of_registration", look: list_order },
    Check { name: "upgrade_of_an_unknown_name_creates_that_ledger", look: unknown_name },
    Check { name: "upgrade_leaves_a_migrated_ledger_in_place", look: in_place },
    Check { name: "an_empty_file_is_created_anew", look: zero_bytes },
    Check { name: "a_corrupt_ledger_fails_upgrade_but_not_scan_and_list", look: corrupt },
    Check { name: "a_corrupt_system_store_fails_list", look: corrupt_system },
    Check { name: "a_ledger_locked_by_another_fails_upgrade_after_5_seconds", look: locked },
    Check { name: "files_that_may_not_be_written_fail_upgrade_but_not_list_and_scan", look: read_only },
    Check { name: "delete_removes_the_file", look: delete },
    Check { name: "a_fresh_storage_has_the_tables_of_its_release", look: fresh_tables },
    Check { name: "a_fresh_file_has_the_journal_of_its_release", look: journal },
];

fn with_commands(bench: &Bench) -> Step<Home> {
    only_if(bench.subject.has_storage_commands())?;
    bench.home()
}

fn empty_list(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    let ran = bench.subject.run(&home, &["storage", "list"])?;
    ran.ends(0)?;
    ran.prints("No ledger found.\n")?;
    expect(home.file("_system").exists(), "a system store", "none")
}

fn init(bench: &Bench) -> Step {
    let home = bench.home()?;
    let ran = bench.subject.run(&home, &["storage", "init"])?;
    ran.ends(0)?;
    expect(home.file("default").exists(), "the ledger `default`", "no file")?;
    if !bench.subject.has_storage_commands() {
        return same(ran.out.as_str(), "");
    }
    ran.prints("Creating ledger 'default'... OK\r\n")?;
    let again = bench.subject.run(&home, &["storage", "init"])?;
    again.ends(0)?;
    let said = if bench.subject.number >= Number(1, 10, 6) { " OK\r\n" } else { " Already initialized!\r\n" };
    again.prints(&format!("Creating ledger 'default'...{said}"))?;
    bench.subject.run(&home, &["storage", "init", "--name", "other"])?.prints("Creating ledger 'other'... OK\r\n")
}

fn scan(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    for name in ["b", "a"] {
        bench.subject.run(&home, &["storage", "init", "--name", name])?.ends(0)?;
    }
    tried("forget the system store", std::fs::remove_file(home.file("_system")))?;
    let ran = bench.subject.run(&home, &["storage", "scan"])?;
    ran.ends(0)?;
    ran.prints(
        "Registering ledger 'a'\r\nLedger 'a' registered\r\nRegistering ledger 'b'\r\nLedger 'b' registered\r\n",
    )?;
    let ran = bench.subject.run(&home, &["storage", "scan"])?;
    ran.prints("Registering ledger 'a'\r\nLedger 'a' already registered\r\n")?;
    bench.subject.run(&home, &["storage", "list"])?.prints("Ledgers:\n- a\n- b\n")
}

fn scan_skips(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    bench.subject.run(&home, &["version"])?.ends(0)?;
    for name in ["notes.txt", "numary.db", "other_x.db"] {
        home.write(&format!("home/.numary/data/{name}"), "")?;
    }
    let ran = bench.subject.run(&home, &["storage", "scan"])?;
    ran.ends(0)?;
    ran.prints("Skip file notes.txt\n")?;
    ran.prints("Skip file numary.db : Bad name\n")?;
    ran.prints("Skip file other_x.db : DB name not mathing\n")?;
    expect(!ran.out.contains("Registering"), "nothing registered", &ran.out)
}

fn underscore(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    let name = "--storage.sqlite.db_name=my_db";
    bench.subject.run(&home, &["storage", "init", "--name", "shop", name])?.ends(0)?;
    let ran = bench.subject.run(&home, &["storage", "scan", name])?;
    ran.ends(0)?;
    ran.prints("Skip file my_db_shop.db : DB name not mathing\n")?;
    expect(!ran.out.contains("Registering"), "nothing registered", &ran.out)
}

fn hold_lock(file: &std::path::Path) -> Step<rusqlite::Connection> {
    let locked = || -> rusqlite::Result<rusqlite::Connection> {
        let connection = rusqlite::Connection::open(file)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(connection)
    };
    tried(format!("lock {}", file.display()), locked())
}

fn scan_failure(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    bench.subject.run(&home, &["storage", "list"])?.ends(0)?;
    home.write("home/.numary/data/numary_shop.db", "")?;
    let lock = hold_lock(&home.file("_system"))?;
    let ran = bench.subject.run(&home, &["storage", "scan"])?;
    drop(lock);
    ran.ends(0)?;
    ran.prints("Registering ledger 'shop'\r\nError registering ledger 'shop': ")?;
    ran.prints("database is locked")
}

fn scan_is_harmless(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    home.write("home/.numary/data/numary_shop.db", "")?;
    bench.subject.run(&home, &["storage", "scan"])?.ends(0)?;
    same(std::fs::metadata(home.file("shop")).map(|file| file.len()).ok(), Some(0))
}

fn list_order(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    for name in ["zebra", "ant", "mole"] {
        bench.subject.run(&home, &["storage", "init", "--name", name])?.ends(0)?;
    }
    bench.subject.run(&home, &["storage", "list"])?.prints("Ledgers:\n- zebra\n- ant\n- mole\n")
}

fn unknown_name(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    let ran = bench.subject.run(&home, &["storage", "upgrade", "typo"])?;
    ran.ends(0)?;
    ran.prints("Storage 'typo' migrated\r\n")?;
    expect(home.file("typo").exists(), "a file for it", "none")?;
    bench.subject.run(&home, &["storage", "list"])?.prints("- typo\n")
}

fn in_place(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    bench.subject.run(&home, &["storage", "upgrade", "shop"])?.ends(0)?;
    let ran = bench.subject.run(&home, &["storage", "upgrade", "shop"])?;
    ran.ends(0)?;
    ran.prints("Storage 'shop' left in place\r\n")
}

fn zero_bytes(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    home.write("home/.numary/data/numary_shop.db", "")?;
    let ran = bench.subject.run(&home, &["storage", "upgrade", "shop"])?;
    ran.ends(0)?;
    ran.prints("Storage 'shop' migrated\r\n")?;
    same(home.value("shop", "SELECT count(*) FROM transactions")?.as_str(), "0")
}

fn corrupt(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    home.write("home/.numary/data/numary_shop.db", &"this is no database. ".repeat(500))?;
    let scan = bench.subject.run(&home, &["storage", "scan"])?;
    scan.ends(0)?;
    scan.prints("Ledger 'shop' registered\r\n")?;
    let ran = bench.subject.run(&home, &["storage", "upgrade", "shop"])?;
    ran.ends(1)?;
    let told = ran.err.contains("file is not a database") || ran.err.contains("database disk image is malformed");
    expect(told, "`file is not a database`", &ran.err)?;
    bench.subject.run(&home, &["storage", "list"])?.ends(0)
}

fn corrupt_system(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    home.write("home/.numary/data/numary__system.db", &"this is no database. ".repeat(500))?;
    bench.subject.run(&home, &["storage", "list"])?.ends(1)?;
    bench.subject.run(&home, &["storage", "scan"])?.ends(1)
}

#[expect(clippy::disallowed_methods, reason = "how long a process waits can only be measured with a clock")]
fn locked(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    tried("make a folder", std::fs::create_dir_all(home.data()))?;
    let lock = hold_lock(&home.file("shop"))?;
    let began = std::time::Instant::now();
    let ran = bench.subject.run(&home, &["storage", "upgrade", "shop"])?;
    let took = began.elapsed();
    drop(lock);
    ran.ends(1)?;
    ran.complains("database is locked")?;
    expect(took > Duration::from_millis(4500) && took < Duration::from_secs(15), "about 5 s", format!("{took:?}"))
}

/// Root may write everything, so the commands run as nobody.
fn read_only(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    bench.subject.run(&home, &["storage", "init", "--name", "done"])?.ends(0)?;
    home.write("home/.numary/data/numary_shop.db", "")?;
    if !rustix::process::getuid().is_root() {
        return Err(Verdict::Skipped("needs root, to be somebody who may not write".to_owned()));
    }
    let binary = home.path("numary");
    tried("copy the binary", std::fs::copy(&bench.subject.binary, &binary))?;
    tried("settle the copy", crate::pack::settle(&binary))?;
    for (path, mode) in
        [("", 0o755), ("home", 0o755), ("home/.numary", 0o755), ("home/.numary/data", 0o755), ("numary", 0o755)]
    {
        use std::os::unix::fs::PermissionsExt;
        tried("set permissions", std::fs::set_permissions(home.path(path), std::fs::Permissions::from_mode(mode)))?;
    }
    let as_nobody = |arguments: &[&str]| {
        let mut command = bench.subject.command(&home, &[]);
        let mut nobody = std::process::Command::new("setpriv");
        nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary).args(arguments).env_clear();
        nobody.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        command = nobody;
        tried("run setpriv", command.output())
    };
    let list = as_nobody(&["storage", "list"])?;
    expect(list.status.success(), "list ends 0", String::from_utf8_lossy(&list.stderr))?;
    let scan = as_nobody(&["storage", "scan"])?;
    let said = String::from_utf8_lossy(&scan.stdout);
    expect(
        scan.status.success() && said.contains("attempt to write a readonly database"),
        "scan ends 0 and says so",
        &said,
    )?;
    let upgrade = as_nobody(&["storage", "upgrade", "shop"])?;
    expect(upgrade.status.code() == Some(1), "upgrade ends 1", upgrade.status)
}

fn delete(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    bench.subject.run(&home, &["storage", "init", "--name", "shop"])?.ends(0)?;
    let ran = bench.subject.run(&home, &["storage", "delete", "shop"])?;
    ran.ends(0)?;
    ran.prints("Storage deleted!\n")?;
    expect(!home.file("shop").exists(), "no file", "the file")?;
    let ran = bench.subject.run(&home, &["storage", "delete", "nobody"])?;
    if bench.subject.number >= Number(1, 8, 0) {
        return ran.ends(0);
    }
    ran.ends(1)?;
    ran.complains("no such file or directory")
}

/// Columns by table.
fn tables(number: Number) -> Vec<(&'static str, &'static str)> {
    let mut all = vec![
        ("mapping", "mapping_id,mapping"),
        ("metadata", "meta_id,meta_target_type,meta_target_id,meta_key,meta_value,timestamp"),
        ("postings", "id,txid,source,destination,amount,asset"),
        ("migrations", if number >= Number(1, 3, 0) { "version,date" } else { "NULL" }),
        (
            "idempotency",
            if number >= Number(1, 8, 0) { "key,date,status_code,headers,body,request_hash" } else { "NULL" },
        ),
    ];
    let log = [
        ("accounts", "address,metadata"),
        ("log", "id,type,hash,date,data"),
        ("volumes", "account,asset,input,output"),
    ];
    all.extend(log.map(|(table, columns)| (table, if number >= Number(1, 3, 2) { columns } else { "NULL" })));
    all.push((
        "transactions",
        if number < Number(1, 3, 2) {
            "id,timestamp,reference,hash"
        } else if number < Number(1, 6, 0) {
            "id,timestamp,reference,hash,postings,metadata"
        } else if number < Number(1, 8, 0) {
            "id,timestamp,reference,hash,postings,metadata,pre_commit_volumes,post_commit_volumes"
        } else {
            "id,timestamp,reference,postings,metadata,pre_commit_volumes,post_commit_volumes,sources,destinations"
        },
    ));
    all
}

pub(in crate::contract) fn has_tables(home: &Home, ledger: &str, number: Number) -> Step {
    for (table, columns) in tables(number) {
        let sql =
            format!("SELECT group_concat(name) FROM (SELECT name FROM pragma_table_info('{table}') ORDER BY cid)");
        same(format!("{table}({})", home.value(ledger, &sql)?), format!("{table}({columns})"))?;
    }
    Ok(())
}

fn served_once(bench: &Bench) -> Step<Home> {
    let home = bench.home()?;
    let server = bench.subject.serve(&home, &[])?;
    let posting = json!({ "source": "world", "destination": "bank", "amount": 100, "asset": "USD/2" });
    server.write("/shop/transactions", &json!({ "postings": [posting] }))?;
    server.stop()?;
    Ok(home)
}

/// The recorded numbers in their order.
const ORDERED: &str =
    "SELECT group_concat(version) FROM (SELECT version FROM migrations ORDER BY CAST(version AS INTEGER))";

fn fresh_tables(bench: &Bench) -> Step {
    let home = served_once(bench)?;
    has_tables(&home, "shop", bench.subject.number)?;
    if bench.subject.has_storage_commands() {
        same(home.value("_system", "SELECT group_concat(ledger) FROM ledgers")?.as_str(), "shop")?;
    }
    let known = numbers(bench.subject.number.highest_migration(Driver::Sqlite));
    only_if(!known.is_empty())?;
    same(home.value("shop", ORDERED)?, known.join(","))
}

fn journal(bench: &Bench) -> Step {
    let home = served_once(bench)?;
    let expected = if bench.subject.has_storage_commands() { "delete" } else { "wal" };
    same(home.value("shop", "PRAGMA journal_mode")?.as_str(), expected)
}
