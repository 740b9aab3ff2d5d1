//! How the database is found, what a session is told, and how a connection fails.

use super::{run, value};
use crate::contract::subject::{Home, free_address};
use crate::contract::{Bench, Check, Step, expect, only_if, same, tried};
use std::os::unix::fs::PermissionsExt;

pub(super) const CHECKS: &[Check] = &[
    Check { name: "an_unreachable_server_ends_1_with_its_address", look: unreachable },
    Check { name: "an_unknown_database_ends_1", look: unknown_database },
    Check { name: "a_wrong_password_ends_1", look: wrong_password },
    Check { name: "a_server_starts_without_its_database_up_to_1_3_1_and_ends_1_later", look: start_unreachable },
    Check { name: "parameters_on_the_connection_string_reach_the_session", look: parameters },
    Check { name: "without_a_parameter_the_time_zone_of_the_role_applies", look: role_timezone },
    Check { name: "pgoptions_are_ignored", look: pgoptions },
    Check { name: "connection_strings_of_words_work", look: words },
    Check { name: "the_variables_of_libpq_work", look: variables },
    Check { name: "the_written_configuration_holds_the_connection_string_up_to_1_3_1", look: persisted },
];

const STRING: &str = "NUMARY_STORAGE_POSTGRES_CONN_STRING";

fn nowhere() -> Step<String> {
    Ok(format!("postgresql://someone:secret@{}/ledgers", free_address()?))
}

fn unreachable(bench: &Bench) -> Step {
    only_if(bench.subject.has_storage_commands())?;
    let home = bench.home()?;
    for command in [["storage", "list"].as_slice(), &["storage", "scan"], &["storage", "upgrade", "shop"]] {
        let ran = bench.subject.run_with(&home, command, &[(STRING, &nowhere()?)])?;
        ran.ends(1)?;
        ran.complains(
            "failed to connect to `host=127.0.0.1 user=someone database=ledgers`: dial error (dial tcp 127.0.0.1:",
        )?;
        ran.complains("connect: connection refused)")?;
        expect(!ran.err.contains("secret"), "no password", &ran.err)?;
    }
    Ok(())
}

fn unknown_database(bench: &Bench) -> Step {
    only_if(bench.subject.has_storage_commands())?;
    let home = bench.home()?;
    let name = home.database()?.name().to_owned();
    let url = home.database()?.url().replace(&format!("/{name}"), "/nothing_here");
    let ran = bench.subject.run_with(&home, &["storage", "list"], &[(STRING, &url)])?;
    ran.ends(1)?;
    ran.complains("server error (FATAL: database \"nothing_here\" does not exist (SQLSTATE 3D000))")
}

fn wrong_password(bench: &Bench) -> Step {
    only_if(bench.subject.has_storage_commands())?;
    let home = bench.home()?;
    let url = home.database()?.role("SELECT 1")?.replace(":secret@", ":wrong@");
    let ran = bench.subject.run_with(&home, &["storage", "list"], &[(STRING, &url)])?;
    ran.ends(1)?;
    ran.complains("server error (FATAL: password authentication failed for user ")?;
    ran.complains("(SQLSTATE 28P01))")
}

fn start_unreachable(bench: &Bench) -> Step {
    let home = bench.home()?;
    let url = nowhere()?;
    if bench.subject.has_storage_commands() {
        let ran = bench.subject.run_with(&home, &["server", "start"], &[(STRING, &url)])?;
        ran.ends(1)?;
        return ran.complains("failed to connect to ");
    }
    let server = bench.subject.serve_with(&home, &[], &[(STRING, &url)])?;
    same(server.get("/shop/stats")?.status, 503)?;
    same(server.get("/_info")?.status, 200)
}

/// Writes down what the session that registers or creates a ledger says of itself, by a trigger on an event that each release
/// causes: a new table.
const WITNESS: &str = "CREATE TABLE public.seen (name text, zone text, timeout text);
    CREATE FUNCTION public.see() RETURNS event_trigger AS $$ BEGIN
        INSERT INTO public.seen
        VALUES (current_setting('application_name'), current_setting('timezone'), current_setting('statement_timeout'));
    END $$ LANGUAGE plpgsql SECURITY DEFINER;
    CREATE EVENT TRIGGER see ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.see()";

/// What the session said that created a ledger's tables under this environment.
fn witnessed(bench: &Bench, home: &Home, environment: &[(&str, &str)]) -> Step<Vec<Vec<String>>> {
    run(home, WITNESS)?;
    let server = bench.subject.serve_with(home, &[], environment)?;
    same(server.get("/shop/stats")?.status, 200)?;
    server.stop()?;
    super::rows(home, "SELECT DISTINCT name, zone, timeout FROM public.seen")
}

fn told(name: &str, zone: &str, timeout: &str) -> Vec<Vec<String>> {
    vec![vec![name.to_owned(), zone.to_owned(), timeout.to_owned()]]
}

fn parameters(bench: &Bench) -> Step {
    let home = bench.home()?;
    let name = "n".repeat(70);
    let parameters = format!("?application_name={name}&statement_timeout=12345&timezone=Asia%2FTokyo");
    let url = home.database()?.url() + &parameters;
    let cut = &name[..63];
    same(witnessed(bench, &home, &[(STRING, &url)])?, told(cut, "Asia/Tokyo", "12345ms"))
}

fn role_timezone(bench: &Bench) -> Step {
    let home = bench.home()?;
    let url = home
        .database()?
        .role("ALTER ROLE @role SET timezone = 'Asia/Tokyo'; GRANT CREATE ON DATABASE @database TO @role")?;
    run(&home, "CREATE EXTENSION IF NOT EXISTS pgcrypto; GRANT CREATE ON SCHEMA public TO public")?;
    same(witnessed(bench, &home, &[(STRING, &url)])?, told("", "Asia/Tokyo", "0"))
}

fn pgoptions(bench: &Bench) -> Step {
    let home = bench.home()?;
    let seen = witnessed(bench, &home, &[("PGOPTIONS", "-c statement_timeout=77777")])?;
    same(seen.first().and_then(|row| row.get(2)).map(String::as_str), Some("0"))
}

fn words(bench: &Bench) -> Step {
    let home = bench.home()?;
    let words = home.database()?.words() + " statement_timeout=12345";
    let seen = witnessed(bench, &home, &[(STRING, &words)])?;
    same(seen.first().and_then(|row| row.get(2)).map(String::as_str), Some("12345ms"))
}

fn variables(bench: &Bench) -> Step {
    let home = bench.home()?;
    let variables = home.database()?.variables();
    let mut environment: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    environment.push((STRING, "sslmode=disable"));
    let server = bench.subject.serve_with(&home, &[], &environment)?;
    same(server.get("/shop/stats")?.status, 200)?;
    expect(home.has_ledger("shop")?, "the ledger in the database of PGDATABASE", "none")
}

/// Mode 0644, password included, and what a later command reads.
fn persisted(bench: &Bench) -> Step {
    only_if(!bench.subject.has_storage_commands())?;
    let home = bench.home()?;
    let server = bench.subject.serve(&home, &[])?;
    server.write("/shop/transactions", &crate::contract::http::pay("bank", 1))?;
    server.stop()?;
    let file = home.path("home/.numary/numary.yaml");
    let mode = tried("look at numary.yaml", std::fs::metadata(&file))?.permissions().mode() & 0o777;
    same(format!("{mode:o}"), "644".to_owned())?;
    let text = tried("read numary.yaml", std::fs::read_to_string(&file))?;
    expect(text.contains(&home.database()?.url()), "the connection string", &text)?;
    let empty = [("NUMARY_STORAGE_DRIVER", ""), (STRING, "")];
    let server = bench.subject.serve_with(&home, &[], &empty)?;
    server.write("/shop/transactions", &crate::contract::http::pay("bank", 1))?;
    same(value(&home, "SELECT count(*) FROM shop.transactions")?.as_str(), "2")
}
