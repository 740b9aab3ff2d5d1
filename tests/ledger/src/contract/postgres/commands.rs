//! The storage commands over schemas: what they take, create and report.

use super::{rows, run, upgrade, value};
use crate::contract::http::pay;
use crate::contract::subject::{Home, Number, numbers};
use crate::contract::{Bench, Check, Step, expect, only_if, same};
use crate::storage::Driver;

pub(super) const CHECKS: &[Check] = &[
    Check { name: "list_of_nothing_says_so_and_creates_the_system_store", look: empty_list },
    Check { name: "init_panics_up_to_1_3_1_and_creates_a_ledger_later", look: init },
    Check { name: "scan_registers_every_schema_with_a_table_transactions", look: scan },
    Check { name: "scan_ends_0_though_registering_failed", look: scan_failure },
    Check { name: "scan_leaves_the_ledgers_untouched", look: scan_is_harmless },
    Check { name: "list_is_in_the_order_of_registration", look: list_order },
    Check { name: "upgrade_of_an_unknown_name_creates_that_ledger", look: unknown_name },
    Check { name: "upgrade_leaves_a_migrated_ledger_in_place", look: in_place },
    Check { name: "upgrade_of_a_schema_that_is_no_ledger_fails_and_leaves_it_alone", look: foreign },
    Check { name: "delete_fails_because_the_schema_is_not_empty", look: delete },
    Check { name: "a_role_that_may_not_create_the_extension_is_told_so", look: extension },
    Check { name: "a_fresh_schema_has_the_tables_of_its_release", look: fresh_tables },
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
    same(value(&home, "SELECT count(*) FROM _system.ledgers")?.as_str(), "0")?;
    let place = "SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'pgcrypto'";
    same(value(&home, place)?.as_str(), "public")
}

fn init(bench: &Bench) -> Step {
    let home = bench.home()?;
    let ran = bench.subject.run(&home, &["storage", "init"])?;
    if !bench.subject.has_storage_commands() {
        ran.ends(2)?;
        return ran.complains("nil pointer dereference");
    }
    ran.ends(0)?;
    ran.prints("Creating ledger 'default'... OK\r\n")?;
    let again = bench.subject.run(&home, &["storage", "init"])?;
    let said = if bench.subject.number >= Number(1, 10, 6) { " OK\r\n" } else { " Already initialized!\r\n" };
    again.prints(&format!("Creating ledger 'default'...{said}"))
}

const FOREIGN: &str = "CREATE SCHEMA shop; CREATE TABLE shop.transactions (id bigint, note text);
    INSERT INTO shop.transactions VALUES (1, 'a parcel')";

fn scan(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    bench.subject.run(&home, &["storage", "init", "--name", "b"])?.ends(0)?;
    run(&home, "DROP SCHEMA _system CASCADE; CREATE TABLE public.transactions (id bigint); CREATE SCHEMA empty")?;
    run(&home, FOREIGN)?;
    let ran = bench.subject.run(&home, &["storage", "scan"])?;
    ran.ends(0)?;
    for name in ["b", "shop", "public"] {
        ran.prints(&format!("Registering ledger '{name}'\r\nLedger '{name}' registered\r\n"))?;
    }
    expect(!ran.out.contains("empty"), "nothing about a schema without such a table", &ran.out)?;
    let again = bench.subject.run(&home, &["storage", "scan"])?;
    again.prints("Registering ledger 'shop'\r\nLedger 'shop' already registered\r\n")
}

fn scan_failure(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    bench.subject.run(&home, &["storage", "list"])?.ends(0)?;
    run(&home, FOREIGN)?;
    run(&home, "ALTER TABLE _system.ledgers ADD CHECK (ledger <> 'shop')")?;
    let ran = bench.subject.run(&home, &["storage", "scan"])?;
    ran.ends(0)?;
    ran.prints("Registering ledger 'shop'\r\nError registering ledger 'shop': ")
}

fn scan_is_harmless(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    run(&home, FOREIGN)?;
    bench.subject.run(&home, &["storage", "scan"])?.ends(0)?;
    only_the_parcel(&home)
}

fn only_the_parcel(home: &Home) -> Step {
    same(
        value(home, "SELECT string_agg(relname, ',') FROM pg_class WHERE relnamespace = 'shop'::regnamespace")?
            .as_str(),
        "transactions",
    )?;
    same(rows(home, "SELECT * FROM shop.transactions")?, vec![vec!["1".to_owned(), "a parcel".to_owned()]])
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
    let ran = upgrade(&bench.subject, &home, "typo")?;
    ran.ends(0)?;
    ran.prints("Storage 'typo' migrated\r\n")?;
    expect(home.has_ledger("typo")?, "a schema for it", "none")?;
    bench.subject.run(&home, &["storage", "list"])?.prints("- typo\n")
}

fn in_place(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    upgrade(&bench.subject, &home, "shop")?.ends(0)?;
    let ran = upgrade(&bench.subject, &home, "shop")?;
    ran.ends(0)?;
    ran.prints("Storage 'shop' left in place\r\n")
}

fn foreign(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    run(&home, FOREIGN)?;
    let ran = upgrade(&bench.subject, &home, "shop")?;
    ran.ends(1)?;
    ran.complains("column \"timestamp\" does not exist")?;
    if bench.subject.number >= Number(1, 7, 0) {
        // Made before the transaction that failed.
        return same(value(&home, "SELECT count(*) FROM shop.migrations")?.as_str(), "0");
    }
    only_the_parcel(&home)
}

fn delete(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    bench.subject.run(&home, &["storage", "init", "--name", "shop"])?.ends(0)?;
    let ran = bench.subject.run(&home, &["storage", "delete", "shop"])?;
    if bench.subject.number >= Number(1, 10, 0) {
        ran.ends(0)?;
        return ran.prints("Storage deleted!\n");
    }
    ran.ends(1)?;
    ran.complains("cannot drop schema shop because other objects depend on it (SQLSTATE 2BP01)")?;
    let ran = bench.subject.run(&home, &["storage", "delete", "nobody"])?;
    if bench.subject.number >= Number(1, 8, 0) {
        return ran.ends(0);
    }
    ran.ends(1)?;
    ran.complains("schema \"nobody\" does not exist")
}

fn extension(bench: &Bench) -> Step {
    let home = with_commands(bench)?;
    let url = home.database()?.role("SELECT 1")?;
    for command in
        [["storage", "list"].as_slice(), &["storage", "scan"], &["storage", "upgrade", "shop"], &["server", "start"]]
    {
        let ran = bench.subject.run_with(&home, command, &[("NUMARY_STORAGE_POSTGRES_CONN_STRING", &url)])?;
        ran.ends(1)?;
        ran.complains("permission denied to create extension \"pgcrypto\" (SQLSTATE 42501)")?;
    }
    Ok(())
}

/// Tables and views with their columns.
fn tables(number: Number) -> Vec<&'static str> {
    let since = |from: Number, table| (number >= from).then_some(table);
    if number < Number(1, 3, 2) {
        let all = [
            Some("addresses(address)"),
            Some("contract(contract_id,contract_account,contract_expr)"),
            Some("mapping(mapping_id,mapping)"),
            Some("metadata(meta_id,meta_target_type,meta_target_id,meta_key,meta_value,timestamp)"),
            since(Number(1, 3, 0), "migrations(version,date)"),
            Some("postings(id,txid,source,destination,amount,asset)"),
            Some("transactions(id,timestamp,reference,hash)"),
        ];
        return all.into_iter().flatten().collect();
    }
    let (accounts, volumes) = if number.has_segments() {
        ("accounts(address,metadata,address_json)", "volumes(account,asset,input,output,account_json)")
    } else {
        ("accounts(address,metadata)", "volumes(account,asset,input,output)")
    };
    let transactions = if number < Number(1, 6, 0) {
        "transactions(id,timestamp,reference,hash,postings,metadata)"
    } else {
        "transactions(id,timestamp,reference,hash,postings,metadata,pre_commit_volumes,post_commit_volumes)"
    };
    let all = [
        Some(accounts),
        since(Number(1, 8, 0), "idempotency(key,date,status_code,headers,body,request_hash)"),
        Some("log(id,type,hash,date,data)"),
        Some("mapping(mapping_id,mapping)"),
        Some("migrations(version,date)"),
        since(Number(1, 7, 5), "postings(txid,posting_index,source,destination)"),
        Some(transactions),
        Some(volumes),
    ];
    all.into_iter().flatten().collect()
}

pub(in crate::contract) fn has_tables(home: &Home, number: Number) -> Step {
    let sql = "SELECT relname || '(' || string_agg(attname, ',' ORDER BY attnum) || ')' FROM pg_class, pg_attribute
        WHERE relnamespace = 'shop'::regnamespace AND relkind IN ('r', 'v') AND attrelid = pg_class.oid AND attnum > 0
        GROUP BY relname ORDER BY relname";
    same(rows(home, sql)?.concat(), tables(number).iter().map(|table| (*table).to_owned()).collect())
}

pub(super) fn records_its_migrations(home: &Home, number: Number) -> Step {
    let known = numbers(number.highest_migration(Driver::Postgres));
    if known.is_empty() {
        return Ok(());
    }
    let recorded = value(home, "SELECT string_agg(version, ',' ORDER BY version::int) FROM shop.migrations")?;
    same(recorded, known.join(","))
}

fn fresh_tables(bench: &Bench) -> Step {
    let home = bench.home()?;
    let server = bench.subject.serve(&home, &[])?;
    server.write("/shop/transactions", &pay("bank", 1))?;
    server.stop()?;
    has_tables(&home, bench.subject.number)?;
    records_its_migrations(&home, bench.subject.number)?;
    if bench.subject.has_storage_commands() {
        same(value(&home, "SELECT string_agg(ledger, ',') FROM _system.ledgers")?.as_str(), "shop")?;
        let since = |from: Number| if bench.subject.number >= from { "t" } else { "f" };
        let configuration = value(&home, "SELECT to_regclass('_system.configuration') IS NOT NULL")?;
        same(configuration.as_str(), since(Number(1, 7, 4)))?;
        let trigrams = value(&home, "SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm')")?;
        same(trigrams.as_str(), since(Number(1, 8, 0)))?;
        let triggers = value(&home, "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'shop.log'::regclass")?;
        same(triggers.as_str(), if bench.subject.number < Number(1, 8, 0) { "2" } else { "0" })?;
    }
    Ok(())
}
