//! The sessions of a server.

use super::{run, value};
use crate::contract::http::pay;
use crate::contract::subject::Home;
use crate::contract::{Bench, Check, Step, expect, only_if, same};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "an_idle_server_holds_one_or_two_sessions_up_to_1_3_1_none_before_the_first_request", look: idle },
    Check { name: "sessions_carry_no_application_name", look: nameless },
    Check { name: "sessions_that_were_ended_cost_one_or_two_requests", look: ended },
    Check { name: "health_tells_that_the_database_does_not_answer", look: unhealthy },
];

const OTHERS: &str = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";

fn count(home: &Home) -> Step<u64> {
    Ok(value(home, &format!("SELECT count(*) {OTHERS}"))?.parse().unwrap_or(0))
}

fn idle(bench: &Bench) -> Step {
    let home = bench.home()?;
    let server = bench.subject.serve(&home, &[])?;
    let before = count(&home)?;
    let expected = if bench.subject.has_storage_commands() { 1..=2 } else { 0..=0 };
    expect(expected.contains(&before), format!("{expected:?} sessions before the first request"), before)?;
    server.write("/shop/transactions", &pay("bank", 1))?;
    let after = count(&home)?;
    expect((1..=2).contains(&after), "1 or 2 sessions after it", after)
}

fn nameless(bench: &Bench) -> Step {
    let home = bench.home()?;
    let server = bench.subject.serve(&home, &[])?;
    server.get("/shop/stats")?;
    same(
        value(&home, &format!("SELECT coalesce(string_agg(DISTINCT application_name, ','), 'none') {OTHERS}"))?
            .as_str(),
        "",
    )
}

fn ended(bench: &Bench) -> Step {
    let home = bench.home()?;
    let server = bench.subject.serve(&home, &[])?;
    server.write("/shop/transactions", &pay("bank", 1))?;
    run(&home, &format!("SELECT pg_terminate_backend(pid, 5000) {OTHERS}"))?;
    let mut failed = 0;
    while server.get("/shop/stats")?.status != 200 {
        failed += 1;
        if failed > 5 {
            break;
        }
    }
    expect((0..=2).contains(&failed), "at most two requests to fail", failed)?;
    same(server.get("/shop/stats")?.status, 200)
}

fn unhealthy(bench: &Bench) -> Step {
    only_if(bench.subject.number >= crate::contract::Number(1, 3, 0))?;
    let home = bench.home()?;
    let url = home.database()?.role("GRANT CREATE ON DATABASE @database TO @role")?;
    run(&home, "CREATE EXTENSION IF NOT EXISTS pgcrypto")?;
    let server = bench.subject.serve_with(&home, &[], &[("NUMARY_STORAGE_POSTGRES_CONN_STRING", &url)])?;
    same(server.get("/_health")?.json(), serde_json::json!({ "postgres": "OK" }))?;
    let role = url.split("://").nth(1).and_then(|rest| rest.split(':').next()).unwrap_or_default();
    run(&home, &format!("ALTER ROLE {role} NOLOGIN; SELECT pg_terminate_backend(pid, 5000) {OTHERS}"))?;
    same(server.get("/_health")?.status, 500)?;
    // The session that was ended is forgotten now; a new one is refused.
    let reply = server.get("/_health")?;
    same(reply.status, 500)?;
    expect(reply.body.contains("is not permitted to log in"), "the error", reply.body)
}
