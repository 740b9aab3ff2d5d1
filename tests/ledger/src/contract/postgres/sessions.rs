//! The sessions of a server.

use super::{run, until, value};
use crate::contract::http::pay;
use crate::contract::subject::Home;
use crate::contract::{Bench, Check, Step, Verdict, expect, only_if, same};
use std::ops::RangeInclusive;

pub(super) const CHECKS: &[Check] = &[
    Check { name: "an_idle_server_holds_one_or_two_sessions_up_to_1_3_1_none_before_the_first_request", look: idle },
    Check { name: "sessions_carry_no_application_name", look: nameless },
    Check { name: "sessions_that_were_ended_cost_one_or_two_requests", look: ended },
    Check { name: "health_tells_that_the_database_does_not_answer", look: unhealthy },
];

const OTHERS: &str = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// Waits until as many sessions are there as must be: the suite's own looks are over before their sessions have ended.
fn holds(home: &Home, expected: RangeInclusive<u64>, when: &str) -> Step {
    let sql = format!("SELECT count(*) {OTHERS} AND backend_type = 'client backend'");
    let mut saw = String::new();
    let held = until("", || {
        saw = value(home, &sql)?;
        Ok(saw.parse().is_ok_and(|count| expected.contains(&count)))
    });
    match held {
        Err(Verdict::Differs { .. }) => expect(false, format!("{expected:?} sessions {when}"), saw),
        other => other,
    }
}

fn idle(bench: &Bench) -> Step {
    let home = bench.home()?;
    let server = bench.subject.serve(&home, &[])?;
    let before = if bench.subject.has_storage_commands() { 1..=2 } else { 0..=0 };
    holds(&home, before, "before the first request")?;
    server.write("/shop/transactions", &pay("bank", 1))?;
    holds(&home, 1..=2, "after it")
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
