//! What others have built on a ledger's tables (disaster 6).

use super::{fails_at_a_statement, has_log, rows, run, small, upgrade, value};
use crate::contract::subject::Home;
use crate::contract::{Bench, Check, Number, Step, expect, same};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "a_view_on_postings_in_another_schema_vanishes", look: on_postings },
    Check { name: "a_view_on_metadata_stops_the_migration", look: on_metadata },
    Check { name: "a_view_on_contract_stops_the_migration", look: on_contract },
    Check { name: "a_view_on_transactions_stays", look: on_transactions },
    Check { name: "a_view_on_the_time_of_transactions_stops_the_migration_to_1_8_and_later", look: on_timestamp },
];

/// A view in a schema of another application.
fn with_view(bench: &Bench, view: &str) -> Step<Home> {
    let home = small(bench, &["shop"])?;
    run(&home, &format!("CREATE SCHEMA reports; CREATE VIEW reports.sums AS {view}"))?;
    Ok(home)
}

fn views(home: &Home) -> Step<usize> {
    Ok(rows(home, "SELECT 1 FROM pg_views WHERE schemaname = 'reports'")?.len())
}

fn on_postings(bench: &Bench) -> Step {
    let home = with_view(bench, "SELECT asset, sum(amount) FROM shop.postings GROUP BY asset")?;
    same(views(&home)?, 1)?;
    let ran = upgrade(&bench.subject, &home, "shop")?;
    ran.ends(0)?;
    expect(!ran.err.contains("reports"), "not a word about it", &ran.err)?;
    same(views(&home)?, 0)
}

fn stops(bench: &Bench, table: &str) -> Step {
    let home = with_view(bench, &format!("SELECT * FROM shop.{table}"))?;
    let ran = upgrade(&bench.subject, &home, "shop")?;
    let message = format!("cannot drop table shop.{table} because other objects depend on it (SQLSTATE 2BP01)");
    fails_at_a_statement(bench, &ran, &message)?;
    expect(!has_log(&home, "shop")?, "the ledger as it was", "a `log`")?;
    same(value(&home, "SELECT count(*) FROM shop.postings")?.as_str(), "1")?;
    same(views(&home)?, 1)
}

fn on_metadata(bench: &Bench) -> Step {
    stops(bench, "metadata")
}

fn on_contract(bench: &Bench) -> Step {
    stops(bench, "contract")
}

fn on_transactions(bench: &Bench) -> Step {
    let home = with_view(bench, "SELECT id, hash FROM shop.transactions")?;
    upgrade(&bench.subject, &home, "shop")?.ends(0)?;
    same(views(&home)?, 1)
}

fn on_timestamp(bench: &Bench) -> Step {
    let home = with_view(bench, "SELECT id, timestamp FROM shop.transactions")?;
    let ran = upgrade(&bench.subject, &home, "shop")?;
    if bench.subject.number < Number(1, 8, 0) {
        return ran.ends(0);
    }
    ran.ends(1)?;
    ran.complains("cannot alter type of a column used by a view or rule (SQLSTATE 0A000)")?;
    expect(!has_log(&home, "shop")?, "the ledger as it was", "a `log`")
}
