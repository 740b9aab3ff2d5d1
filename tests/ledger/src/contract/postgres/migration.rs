//! How a migration runs and fails.

use super::{
    ended, fails_at_a_statement, has_log, reader, rows, run, seeded, small, start, until, upgrade, value, waiting,
    written,
};
use crate::contract::http::pay;
use crate::contract::subject::{Home, Server};
use crate::contract::{Bench, Check, Number, Step, expect, only_if, same, tried};
use crate::storage::postgres::Looker;
use crate::wire;
use serde_json::json;

pub(super) const CHECKS: &[Check] = &[
    Check { name: "scan_list_upgrade_migrate_a_deployment", look: documented },
    Check { name: "a_quote_in_a_reference_fails_that_ledger_alone", look: quote_in_reference },
    Check { name: "a_control_character_in_a_reference_fails", look: control_character },
    Check { name: "a_quote_in_a_metadata_key_fails", look: quote_in_key },
    Check { name: "a_statement_timeout_of_the_role_fails_the_plain_command_and_a_parameter_saves_it", look: timeout },
    Check { name: "a_killed_command_leaves_its_statement_to_the_server_and_the_ledger_as_it_was", look: killed },
    Check { name: "without_an_index_the_time_grows_with_the_square", look: quadratic },
    Check { name: "the_index_on_the_metadata_is_used_and_goes_with_its_table", look: index },
    Check { name: "the_first_request_migrates", look: first_request },
    Check { name: "a_client_that_hangs_up_cancels_the_migration", look: hang_up },
    Check { name: "info_and_health_answer_during_a_migration", look: info_during },
];

fn documented(bench: &Bench) -> Step {
    let home = small(bench, &["wallets", "shop"])?;
    let scan = bench.subject.run(&home, &["storage", "scan"])?;
    scan.ends(0)?;
    scan.prints("Registering ledger 'shop'\r\nLedger 'shop' registered\r\n")?;
    expect(!has_log(&home, "shop")?, "scan to migrate nothing", "a `log`")?;
    let list = bench.subject.run(&home, &["storage", "list"])?;
    for ledger in ["shop", "wallets"] {
        list.prints(&format!("- {ledger}\n"))?;
        let ran = upgrade(&bench.subject, &home, ledger)?;
        ran.ends(0)?;
        ran.prints(&format!("Storage '{ledger}' migrated\r\n"))?;
        upgrade(&bench.subject, &home, ledger)?.prints(&format!("Storage '{ledger}' left in place\r\n"))?;
    }
    Ok(())
}

/// Fails, leaves everything as it was, and is no matter to the other ledger (disaster 3).
fn refuses(bench: &Bench, home: &Home) -> Step {
    let ran = upgrade(&bench.subject, home, "shop")?;
    fails_at_a_statement(bench, &ran, "invalid input syntax for type json (SQLSTATE 22P02)")?;
    expect(!has_log(home, "shop")?, "the ledger as it was", "a `log`")?;
    same(value(home, "SELECT count(*) FROM shop.postings")?.as_str(), "1")?;
    upgrade(&bench.subject, home, "wallets")?.ends(0)?;
    expect(has_log(home, "wallets")?, "the other ledger migrated", "it was not")
}

fn with_reference(bench: &Bench, reference: &str) -> Step {
    let home = written(bench, |server| {
        let mut body = pay("bank", 1);
        body["reference"] = json!(reference);
        server.write("/shop/transactions", &body)?;
        server.write("/wallets/transactions", &pay("bank", 1)).map(drop)
    })?;
    refuses(bench, &home)
}

fn quote_in_reference(bench: &Bench) -> Step {
    with_reference(bench, "a\"b")
}

fn control_character(bench: &Bench) -> Step {
    with_reference(bench, "a\u{1}b")
}

fn quote_in_key(bench: &Bench) -> Step {
    let home = written(bench, |server| {
        server.write("/shop/transactions", &pay("bank", 1))?;
        server.write("/wallets/transactions", &pay("bank", 1))?;
        server.write("/shop/transactions/0/metadata", &json!({ "a\"b": 1, "c": 2 })).map(drop)
    })?;
    refuses(bench, &home)
}

/// Somebody who reads a table that the migration alters makes a statement last as long as it takes.
fn timeout(bench: &Bench) -> Step {
    let home = small(bench, &["shop"])?;
    // Before the role has its limit.
    let (reader, mut observer) = (reader(&home, "shop.transactions")?, home.database()?.look()?);
    let superuser = home.database()?.url();
    let name = superuser.split("://").nth(1).and_then(|rest| rest.split(':').next()).unwrap_or_default().to_owned();
    let database = home.database()?.name().to_owned();
    run(&home, &format!("ALTER ROLE {name} IN DATABASE {database} SET statement_timeout = 50"))?;
    let plain = upgrade(&bench.subject, &home, "shop")?;
    plain.ends(1)?;
    plain.complains("canceling statement due to statement timeout (SQLSTATE 57014)")?;
    let mut saved = bench.subject.command(&home, &["storage", "upgrade", "shop"]);
    saved.env("NUMARY_STORAGE_POSTGRES_CONN_STRING", superuser + "?statement_timeout=0");
    let saved = tried("start upgrade", saved.spawn())?;
    let outlasts = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                    AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > '100 ms'";
    until("a statement that outlasts the limit", || Ok(tried("look", observer.value(outlasts))? == "1"))?;
    drop(reader);
    ended(saved)?.ends(0)
}

const RUNNING: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                       AND backend_type = 'client backend' AND state <> 'idle'";

/// A reader of its table makes the statement last until the command is dead.
fn killed(bench: &Bench) -> Step {
    let home = small(bench, &["shop"])?;
    let reader = reader(&home, "shop.metadata")?;
    let mut child = start(bench, &home, "shop")?;
    until("the command to come to the reader", || Ok(waiting(&home)? == 1))?;
    tried("kill upgrade", child.kill())?;
    tried("wait for upgrade", child.wait())?;
    same(waiting(&home)?, 1)?;
    drop(reader);
    until("the server to end the statement", || Ok(value(&home, RUNNING)? == "0"))?;
    expect(!has_log(&home, "shop")?, "the ledger as it was", "a `log`")?;
    let ran = upgrade(&bench.subject, &home, "shop")?;
    ran.ends(0)?;
    ran.prints("Storage 'shop' migrated\r\n")
}

#[expect(clippy::disallowed_methods, reason = "how long a migration takes can only be measured with a clock")]
fn seconds(bench: &Bench, home: &Home, ledger: &str) -> Step<f64> {
    let began = std::time::Instant::now();
    upgrade(&bench.subject, home, ledger)?.ends(0)?;
    Ok(began.elapsed().as_secs_f64())
}

const INDEX: &str = "CREATE INDEX CONCURRENTLY faster ON LEDGER.metadata ((meta_target_id::bigint)) WHERE meta_target_type = 'transaction'";

fn indexed(home: &Home, ledger: &str) -> Step {
    run(home, &INDEX.replace("LEDGER", ledger))?;
    run(home, &format!("ANALYZE {ledger}.metadata"))
}

/// A ratio within one run, since machines differ: eight thousand transactions are three times faster with the index on a quiet one.
/// On a busy one a pair may have had unequal shares of it, not several one after another.
fn quadratic(bench: &Bench) -> Step {
    let mut saw = Vec::new();
    for _ in 0..3 {
        let home = bench.home()?;
        for ledger in ["plain", "quick"] {
            seeded(bench, &home, ledger, 8000)?;
        }
        indexed(&home, "quick")?;
        let (plain, quick) = (seconds(bench, &home, "plain")?, seconds(bench, &home, "quick")?);
        if plain > 1.5 * quick {
            return Ok(());
        }
        saw.push(format!("{plain:.2} s without, {quick:.2} s with"));
    }
    expect(false, "the index to save a third or more", saw.join("; "))
}

fn index(bench: &Bench) -> Step {
    let home = bench.home()?;
    seeded(bench, &home, "shop", 2000)?;
    indexed(&home, "shop")?;
    let before = rows(&home, "SELECT 1 FROM pg_class WHERE relname = 'faster'")?;
    upgrade(&bench.subject, &home, "shop")?.ends(0)?;
    let after = rows(&home, "SELECT 1 FROM pg_class WHERE relname = 'faster'")?;
    same((before.len(), after.len()), (1, 0))
}

fn first_request(bench: &Bench) -> Step {
    let home = small(bench, &["shop"])?;
    let server = bench.subject.serve(&home, &[])?;
    expect(!has_log(&home, "shop")?, "no migration before the first request", "a `log`")?;
    same(server.get("/shop/stats")?.status, 200)?;
    expect(has_log(&home, "shop")?, "a `log` after it", "none")
}

/// A first request whose migration works, unanswered: a reader stands before its end.
fn migrating(bench: &Bench, home: &Home) -> Step<(Server, Looker, std::net::TcpStream)> {
    let reader = reader(home, "shop.metadata")?;
    let server = bench.subject.serve(home, &[])?;
    let stream = tried("ask", wire::send(&server.address, "GET", "/shop/stats", None, ""))?;
    until("the migration to come to the reader", || Ok(waiting(home)? > 0))?;
    Ok((server, reader, stream))
}

/// Disaster 13.
fn hang_up(bench: &Bench) -> Step {
    let home = small(bench, &["shop"])?;
    let (server, reader, stream) = migrating(bench, &home)?;
    drop(stream);
    until("the migration to be cancelled", || Ok(waiting(&home)? == 0))?;
    drop(reader);
    expect(!has_log(&home, "shop")?, "the ledger as it was", "a `log`")?;
    same(server.get("/shop/stats")?.status, 200)?;
    expect(has_log(&home, "shop")?, "a `log` after a patient client", "none")
}

fn info_during(bench: &Bench) -> Step {
    only_if(bench.subject.number < Number(1, 10, 6))?;
    let home = small(bench, &["shop"])?;
    let (server, reader, stream) = migrating(bench, &home)?;
    same(server.get("/_info")?.status, 200)?;
    same(server.get("/_health")?.status, 200)?;
    expect(!has_log(&home, "shop")?, "the migration to go on", "its end")?;
    drop(reader);
    until("the migration's end", || has_log(&home, "shop"))?;
    drop(stream);
    Ok(())
}
