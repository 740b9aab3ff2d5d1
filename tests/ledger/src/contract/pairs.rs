//! Two releases from 1.3.2 on: what an upgrade does, and what happens while both run on one PostgreSQL.

use super::forms::found;
use super::http::pay;
use super::postgres::{self, commands as schemas};
use super::sqlite::files;
use super::subject::{Home, Number, Ran, Server, Subject, numbers};
use super::{Bench, Check, Step, Verdict, expect, only_if, same};
use crate::storage::Driver;
use serde_json::{Value, json};

pub(super) const UPGRADES: &[Check] = &[
    Check { name: "upgrading_keeps_transactions_balances_and_metadata", look: upgrading },
    Check { name: "upgrading_records_what_was_there_and_what_the_target_knows", look: recorded },
    Check { name: "upgrading_1_7_5_to_1_7_8_to_1_8_or_later_breaks_as_its_driver_does", look: renumbered },
    Check { name: "two_assets_into_one_account_leave_a_null_where_volumes_are_filled", look: null_output },
];

pub(super) const SIDE_BY_SIDE: &[Check] = &[
    Check { name: "an_older_instance_goes_on_writing_beside_a_migrated_storage", look: works },
    Check { name: "an_older_instance_loses_its_writes_beside_1_8_or_later", look: loses },
    Check { name: "accounts_first_used_through_a_release_without_segments_are_missing_from_filters", look: misses },
    Check { name: "an_instance_that_keeps_the_last_transaction_conflicts_with_any_other", look: conflicts },
    Check { name: "times_shift_by_the_zone_of_the_session_when_1_8_is_crossed", look: shift },
    Check { name: "views_on_volumes_or_times_stop_the_migration_to_1_8_and_later", look: views },
];

/// What was measured of an older and a newer instance on one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Works,
    LosesWrites,
    MissesAccounts,
    Conflicts,
}

fn fate(old: Number, new: Number) -> Fate {
    if old.max(new) >= Number(1, 10, 6) {
        Fate::Conflicts
    } else if old < Number(1, 8, 0) && new >= Number(1, 8, 0) {
        Fate::LosesWrites
    } else if old.has_segments() != new.has_segments() {
        Fate::MissesAccounts
    } else {
        Fate::Works
    }
}

/// The older of the two, where both have storage commands.
fn older(bench: &Bench) -> Step<&Subject> {
    match &bench.beside {
        Some(older) if older.has_storage_commands() && bench.subject.has_storage_commands() => Ok(older),
        Some(_) => Err(Verdict::NotApplicable),
        None => Err(Verdict::Skipped("needs --beside-bin with a binary of 1.3.2 or later".to_owned())),
    }
}

fn crosses_1_8(bench: &Bench) -> Step<bool> {
    Ok(older(bench)?.number < Number(1, 8, 0) && bench.subject.number >= Number(1, 8, 0))
}

/// 1.7.5 to 1.7.8 to 1.8 or later.
fn is_renumbered(bench: &Bench) -> Step<bool> {
    Ok((Number(1, 7, 5)..Number(1, 8, 0)).contains(&older(bench)?.number) && bench.subject.number >= Number(1, 8, 0))
}

/// A storage of the older release.
fn written(bench: &Bench) -> Step<Home> {
    let home = bench.home()?;
    let server = older(bench)?.serve(&home, &[])?;
    let mut first = pay("bank", 1000);
    first["reference"] = json!("r1");
    first["metadata"] = json!({ "order": { "id": 5 } });
    server.write("/shop/transactions", &first)?;
    let second = json!({ "postings": [
        { "source": "bank", "destination": "users:1", "amount": 300, "asset": "USD/2" },
        { "source": "world", "destination": "users:1", "amount": 7, "asset": "EUR/2" },
    ]});
    server.write("/shop/transactions", &second)?;
    server.write("/shop/accounts/vip/metadata", &json!({ "kyc": 1 }))?;
    server.stop()?;
    Ok(home)
}

fn upgrade(bench: &Bench, home: &Home) -> Step<Ran> {
    bench.subject.run(home, &["storage", "upgrade", "shop"])
}

/// What must be the same before and after, as a server tells it.
fn told(subject: &Subject, home: &Home) -> Step<Vec<Value>> {
    let server = subject.serve(home, &[])?;
    let mut told = Vec::new();
    for path in ["transactions/0", "transactions/1"] {
        let data = server.get(&format!("/shop/{path}"))?.json()["data"].clone();
        told.extend(["txid", "timestamp", "reference", "postings", "metadata"].map(|key| data[key].clone()));
    }
    for account in ["bank", "users:1", "vip"] {
        let data = server.get(&format!("/shop/accounts/{account}"))?.json()["data"].clone();
        told.extend(
            ["balances", "metadata"].map(|key| if data[key].is_null() { json!({}) } else { data[key].clone() }),
        );
    }
    told.push(server.get("/shop/stats")?.json()["data"].clone());
    server.stop()?;
    Ok(told)
}

fn upgrading(bench: &Bench) -> Step {
    only_if(!is_renumbered(bench)?)?;
    let home = written(bench)?;
    let before = told(older(bench)?, &home)?;
    upgrade(bench, &home)?.ends(0)?;
    same(told(&bench.subject, &home)?, before)?;
    let server = bench.subject.serve(&home, &[])?;
    // Two releases count from zero, and so cannot spend.
    let answer = server.write("/shop/transactions", &pay("bank", 1))?;
    same(answer.json()["data"][0]["txid"].clone(), json!(2))
}

fn versions(bench: &Bench, home: &Home) -> Step<String> {
    match bench.driver() {
        Driver::Sqlite => home.value(
            "shop",
            "SELECT group_concat(version) FROM (SELECT version FROM migrations ORDER BY CAST(version AS INTEGER))",
        ),
        Driver::Postgres => {
            postgres::value(home, "SELECT string_agg(version, ',' ORDER BY version::int) FROM shop.migrations")
        }
    }
}

fn recorded(bench: &Bench) -> Step {
    only_if(!is_renumbered(bench)?)?;
    let home = written(bench)?;
    let (old, new) = (older(bench)?.number, bench.subject.number);
    let highest = |number: Number| number.highest_migration(bench.driver());
    let migrates = highest(new) > highest(old);
    let said = if migrates { "Storage 'shop' migrated\r\n" } else { "Storage 'shop' left in place\r\n" };
    upgrade(bench, &home)?.prints(said)?;
    same(versions(bench, &home)?, numbers(highest(old).max(highest(new))).join(","))?;
    only_if(highest(new) >= highest(old))?;
    match bench.driver() {
        Driver::Sqlite => files::has_tables(&home, "shop", new),
        Driver::Postgres => schemas::has_tables(&home, new),
    }
}

/// Disaster 12.
fn renumbered(bench: &Bench) -> Step {
    only_if(is_renumbered(bench)?)?;
    let home = written(bench)?;
    let ran = upgrade(bench, &home)?;
    match bench.driver() {
        Driver::Sqlite => {
            ran.ends(0)?;
            ran.prints("Storage 'shop' migrated\r\n")?;
            let server = bench.subject.serve(&home, &[])?;
            same(server.get("/shop/accounts/bank")?.json()["data"]["balances"].clone(), json!({ "USD/2": 700 }))?;
            for _ in 0..3 {
                same(server.post("/shop/transactions", &pay("bank", 1))?.status, 409)?;
            }
            Ok(())
        }
        Driver::Postgres if bench.subject.number < Number(1, 8, 2) => {
            ran.ends(1)?;
            ran.complains("relation \"postings_src\" already exists (SQLSTATE 42P07)")
        }
        Driver::Postgres => {
            ran.ends(0)?;
            // Three postings, each there twice.
            same(postgres::value(&home, "SELECT count(*) FROM shop.postings")?.as_str(), "6")?;
            let server = bench.subject.serve(&home, &[])?;
            server.write("/shop/transactions", &pay("bank", 1)).map(drop)
        }
    }
}

fn null_output(bench: &Bench) -> Step {
    only_if(older(bench)?.number < Number(1, 6, 0) && bench.subject.number >= Number(1, 7, 0))?;
    let home = written(bench)?;
    upgrade(bench, &home)?.ends(0)?;
    let sql = "SELECT post_commit_volumes FROM transactions WHERE id = 1";
    let text = match bench.driver() {
        Driver::Sqlite => home.value("shop", sql)?,
        Driver::Postgres => postgres::value(&home, &sql.replace("FROM ", "FROM shop."))?,
    };
    let volumes: Value = serde_json::from_str(&text).unwrap_or_default();
    let outputs = [&volumes["users:1"]["EUR/2"], &volumes["users:1"]["USD/2"]].map(|volume| volume["output"].is_null());
    same(outputs.iter().filter(|null| **null).count(), 1)
}

/// Both on one database, the storage made by the older, migrated by the newer.
fn both(bench: &Bench) -> Step<(Home, Server, Server)> {
    let home = bench.home()?;
    let old = older(bench)?.serve(&home, &[])?;
    old.write("/shop/transactions", &pay("bank", 1))?;
    let new = bench.subject.serve(&home, &[])?;
    same(new.get("/shop/stats")?.status, 200)?;
    Ok((home, old, new))
}

fn works(bench: &Bench) -> Step {
    only_if(fate(older(bench)?.number, bench.subject.number) == Fate::Works)?;
    let (home, old, new) = both(bench)?;
    for round in 0..10 {
        for (server, who) in [(&old, "old"), (&new, "new")] {
            let mut body = pay("bank", 1);
            body["reference"] = json!(format!("{who}-{round}"));
            server.write("/shop/transactions", &body)?;
        }
        let take = json!({ "postings": [{ "source": "bank", "destination": "till", "amount": 1, "asset": "USD/2" }] });
        new.write("/shop/transactions", &take)?;
        old.write("/shop/accounts/bank/metadata", &json!({ "round": round }))?;
    }
    let count = |table: &str| postgres::value(&home, &format!("SELECT count(*) FROM shop.{table}"));
    same((count("transactions")?, count("log")?), ("31".to_owned(), "41".to_owned()))?;
    let sum = "SELECT input || ' ' || output FROM shop.volumes WHERE account = 'bank'";
    same(postgres::value(&home, sum)?.as_str(), "21 10")?;
    for server in [&old, &new] {
        let bank = server.get("/shop/accounts/bank")?.json()["data"].clone();
        same((bank["balances"]["USD/2"].clone(), bank["metadata"]["round"].clone()), (json!(11), json!(9)))?;
    }
    Ok(())
}

/// Disaster 10: twelve writes through the old instance, of which none exists.
fn loses(bench: &Bench) -> Step {
    only_if(fate(older(bench)?.number, bench.subject.number) == Fate::LosesWrites || crosses_1_8(bench)?)?;
    only_if(!is_renumbered(bench)? || bench.subject.number >= Number(1, 8, 2))?;
    let (home, old, _new) = both(bench)?;
    let replies = (0..12).map(|_| old.post("/shop/transactions", &pay("bank", 1))).collect::<Step<Vec<_>>>()?;
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    let failed = statuses.iter().take_while(|status| **status == 503).count();
    expect((2..=3).contains(&failed), "two or three times 503 first", format!("{statuses:?}"))?;
    expect(statuses[failed..].iter().all(|status| *status == 200), "then 200", format!("{statuses:?}"))?;
    let ids: Vec<Value> = replies[failed..].iter().map(|reply| reply.json()["data"][0]["txid"].clone()).collect();
    expect(ids.iter().all(|id| *id == json!(1)), "the same txid again and again", format!("{ids:?}"))?;
    let sql = "SELECT (SELECT count(*) FROM shop.transactions) || ' ' || (SELECT count(*) FROM shop.log) || ' '
                      || (SELECT input FROM shop.volumes WHERE account = 'bank')";
    same(postgres::value(&home, sql)?, format!("1 {} 1", 13 - failed))
}

fn misses(bench: &Bench) -> Step {
    only_if(fate(older(bench)?.number, bench.subject.number) == Fate::MissesAccounts)?;
    let (_home, old, new) = both(bench)?;
    let with_segments = if bench.subject.number.has_segments() { &new } else { &old };
    let without = if bench.subject.number.has_segments() { &old } else { &new };
    without.write("/shop/transactions", &pay("users:1", 1))?;
    with_segments.write("/shop/transactions", &pay("users:2", 1))?;
    // Nothing repairs it.
    with_segments.write("/shop/transactions", &pay("users:1", 1))?;
    same(found(with_segments, "users:.*")?, vec!["users:2".to_owned()])?;
    same(with_segments.get("/shop/accounts/users:1")?.json()["data"]["balances"]["USD/2"].clone(), json!(2))
}

fn conflicts(bench: &Bench) -> Step {
    only_if(fate(older(bench)?.number, bench.subject.number) == Fate::Conflicts && !crosses_1_8(bench)?)?;
    let (_home, old, new) = both(bench)?;
    new.write("/shop/transactions", &pay("bank", 1))?;
    let keeper_is_new = bench.subject.number >= Number(1, 10, 6);
    let (keeper, other) = if keeper_is_new { (&new, &old) } else { (&old, &new) };
    // Where both keep it, the old one's has been overtaken; then it is the one that is refused.
    let refused = if other.post("/shop/transactions", &pay("bank", 1))?.status == 200 { keeper } else { other };
    for _ in 0..4 {
        same(refused.post("/shop/transactions", &pay("bank", 1))?.status, 409)?;
    }
    same(refused.post("/shop/accounts/bank/metadata", &json!({ "a": 1 }))?.status, 503)
}

/// Disaster 9.
fn shift(bench: &Bench) -> Step {
    only_if(crosses_1_8(bench)? && !is_renumbered(bench)?)?;
    for (parameter, shifted) in [("", true), ("?timezone=UTC", false)] {
        let home = written(bench)?;
        let name = home.database()?.name().to_owned();
        postgres::run(&home, &format!("ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'"))?;
        let before = postgres::value(&home, "SELECT timestamp FROM shop.transactions WHERE id = 0")?;
        let url = home.database()?.url() + parameter;
        let string = [("NUMARY_STORAGE_POSTGRES_CONN_STRING", url.as_str())];
        bench.subject.run_with(&home, &["storage", "upgrade", "shop"], &string)?.ends(0)?;
        let hours = format!(
            "SELECT extract(epoch FROM '{before}'::timestamptz - timestamp)::int / 3600 FROM shop.transactions WHERE id = 0"
        );
        same(postgres::value(&home, &hours)?.as_str(), if shifted { "9" } else { "0" })?;
    }
    Ok(())
}

fn views(bench: &Bench) -> Step {
    only_if(crosses_1_8(bench)? && !is_renumbered(bench)?)?;
    for view in ["SELECT input FROM shop.volumes", "SELECT timestamp FROM shop.transactions"] {
        let home = written(bench)?;
        postgres::run(&home, &format!("CREATE SCHEMA reports; CREATE VIEW reports.seen AS {view}"))?;
        let ran = upgrade(bench, &home)?;
        ran.ends(1)?;
        ran.complains("cannot alter type of a column used by a view or rule (SQLSTATE 0A000)")?;
        let highest = older(bench)?.number.highest_migration(Driver::Postgres);
        same(versions(bench, &home)?, numbers(highest).join(","))?;
    }
    Ok(())
}
