//! Migrations that meet: on one ledger, on several, and in `public`.

use super::{Ran, ended, has_log, reader, run, seeded, small, start, until, upgrade, value, waiting};
use crate::contract::subject::Home;
use crate::contract::{Bench, Check, Number, Step, Verdict, expect, only_if, same, tried};
use std::process::Child;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "of_two_commands_on_one_ledger_one_migrates_and_the_other_ends_1_with_a_duplicate_key",
        look: one_ledger,
    },
    Check { name: "two_ledgers_migrate_side_by_side", look: side_by_side },
    Check { name: "two_ledgers_at_once_collide_in_public_in_1_4_alone", look: collision },
    Check { name: "the_function_that_1_4_shares_is_in_public", look: shared_function },
    Check { name: "a_role_that_may_not_create_in_public_fails_in_1_4_alone", look: not_in_public },
    Check {
        name: "two_commands_without_a_scan_may_race_for_the_system_store_and_pass_when_run_again",
        look: system_store,
    },
];

fn of_1_4(bench: &Bench) -> bool {
    (Number(1, 4, 0)..Number(1, 5, 0)).contains(&bench.subject.number)
}

/// A reader of a table that the first command alters keeps it in the middle until the second waits for it.
fn one_ledger(bench: &Bench) -> Step {
    let home = small(bench, &["shop"])?;
    bench.subject.run(&home, &["storage", "scan"])?.ends(0)?;
    let reader = reader(&home, "shop.transactions")?;
    let first = start(bench, &home, "shop")?;
    until("the first command to come to the reader", || Ok(waiting(&home)? == 1))?;
    let second = start(bench, &home, "shop")?;
    until("the second command to wait for the first", || Ok(waiting(&home)? == 2))?;
    drop(reader);
    let (first, second) = (ended(first)?, ended(second)?);
    first.ends(0)?;
    first.prints("Storage 'shop' migrated\r\n")?;
    second.ends(1)?;
    second.complains("duplicate key value violates unique constraint")?;
    second.complains("(SQLSTATE 23505)")?;
    expect(has_log(&home, "shop")?, "a migrated ledger", "none")
}

fn side_by_side(bench: &Bench) -> Step {
    let home = bench.home()?;
    for ledger in ["shop", "wallets"] {
        seeded(bench, &home, ledger, 1000)?;
    }
    bench.subject.run(&home, &["storage", "scan"])?.ends(0)?;
    let children = [start(bench, &home, "shop")?, start(bench, &home, "wallets")?];
    let [shop, wallets] = children.map(ended);
    for (ledger, ran) in [("shop", shop?), ("wallets", wallets?)] {
        let collided = of_1_4(bench) && is_collision(&ran);
        if collided {
            upgrade(&bench.subject, &home, ledger)?.ends(0)?;
        } else {
            ran.ends(0)?;
        }
    }
    expect(has_log(&home, "shop")? && has_log(&home, "wallets")?, "both migrated", "not both")
}

fn is_collision(ran: &Ran) -> bool {
    ran.status.code() == Some(1)
        // Whether the second sees the first one's type, table or schema already or only collides with it is a matter of moments.
        && ["concurrently updated (SQLSTATE XX000)", "(SQLSTATE 23505)", "(SQLSTATE 42710)", "(SQLSTATE 42P07)", "(SQLSTATE 42P06)"]
            .iter()
            .any(|collision| ran.err.contains(collision))
}

/// Disaster 8. Both begin; the first comes to a reader of its `metadata`, which it drops after it has replaced the function; the
/// second wants to replace the function too, and waits.
fn collide(bench: &Bench, home: &Home) -> Step<[Ran; 2]> {
    let reader = reader(home, "shop.metadata")?;
    let first = start(bench, home, "shop")?;
    until("the first command to come to the reader", || Ok(waiting(home)? == 1))?;
    let mut second = start(bench, home, "wallets")?;
    until("the second command to wait or to end", || Ok(waiting(home)? == 2 || has_ended(&mut second)))?;
    drop(reader);
    Ok([ended(first)?, ended(second)?])
}

fn has_ended(child: &mut Child) -> bool {
    child.try_wait().is_ok_and(|status| status.is_some())
}

fn collision(bench: &Bench) -> Step {
    let home = small(bench, &["shop", "wallets", "before"])?;
    bench.subject.run(&home, &["storage", "scan"])?.ends(0)?;
    upgrade(&bench.subject, &home, "before")?.ends(0)?;
    let [first, second] = collide(bench, &home)?;
    first.ends(0)?;
    if !of_1_4(bench) {
        return second.ends(0);
    }
    second.ends(1)?;
    second.complains("tuple concurrently updated (SQLSTATE XX000)")?;
    expect(!has_log(&home, "wallets")?, "nothing done", "a `log`")?;
    upgrade(&bench.subject, &home, "wallets")?.prints("Storage 'wallets' migrated\r\n")
}

const SHARED: &str =
    "SELECT count(*) FROM pg_proc WHERE proname = 'meta_compare' AND pronamespace = 'public'::regnamespace";

fn shared_function(bench: &Bench) -> Step {
    let home = small(bench, &["shop"])?;
    upgrade(&bench.subject, &home, "shop")?.ends(0)?;
    same(value(&home, SHARED)?, if of_1_4(bench) { "1" } else { "0" }.to_owned())
}

fn not_in_public(bench: &Bench) -> Step {
    only_if(bench.subject.has_storage_commands())?;
    let home = bench.home()?;
    let url = home.database()?.role("GRANT CREATE ON DATABASE @database TO @role")?;
    run(&home, "CREATE EXTENSION IF NOT EXISTS pgcrypto; REVOKE CREATE ON SCHEMA public FROM public")?;
    let string = [("NUMARY_STORAGE_POSTGRES_CONN_STRING", url.as_str())];
    let ran = bench.subject.run_with(&home, &["storage", "upgrade", "shop"], &string)?;
    if !of_1_4(bench) {
        return ran.ends(0);
    }
    ran.ends(1)?;
    ran.complains("permission denied for schema public (SQLSTATE 42501)")
}

/// Any release: `CREATE … IF NOT EXISTS` looks first and then collides in the catalogue. Somebody who makes the schema and thinks
/// better of it lets both look before either makes it; a release that does not come there meets by chance.
fn system_store(bench: &Bench) -> Step {
    only_if(bench.subject.has_storage_commands())?;
    let home = bench.home()?;
    let mut making = home.database()?.look()?;
    tried("make a schema in a transaction", making.run("BEGIN; CREATE SCHEMA _system"))?;
    let mut both = [start(bench, &home, "shop")?, start(bench, &home, "wallets")?];
    until("both commands to wait or one to end", || Ok(waiting(&home)? == 2 || both.iter_mut().any(has_ended)))?;
    tried("make no schema", making.run("ROLLBACK"))?;
    if raced(bench, &home, both)? {
        return Ok(());
    }
    for _ in 0..60 {
        let home = bench.home()?;
        let both = [start(bench, &home, "shop")?, start(bench, &home, "wallets")?];
        if raced(bench, &home, both)? {
            return Ok(());
        }
    }
    Err(Verdict::Skipped("the two commands never met in sixty tries".to_owned()))
}

/// Whether one of the two collided; what did passes when it is run again.
fn raced(bench: &Bench, home: &Home, [shop, wallets]: [Child; 2]) -> Step<bool> {
    let ran = [("shop", ended(shop)?), ("wallets", ended(wallets)?)];
    let lost: Vec<_> = ran.iter().filter(|(_, ran)| ran.status.code() != Some(0)).collect();
    for (ledger, ran) in &lost {
        expect(is_collision(ran), "a collision in the catalogue", &ran.err)?;
        upgrade(&bench.subject, home, ledger)?.ends(0)?;
    }
    Ok(!lost.is_empty())
}
