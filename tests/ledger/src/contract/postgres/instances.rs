//! Several instances on one database.

use super::{small, upgrade, value};
use crate::contract::http::pay;
use crate::contract::{Bench, Check, Number, Step, expect, only_if, same};
use crate::wire;
use serde_json::json;

pub(super) const CHECKS: &[Check] = &[
    Check { name: "two_instances_that_write_at_once_lose_nothing_and_conflict_with_409", look: writers },
    Check { name: "two_instances_cannot_spend_the_same_money", look: spenders },
    Check { name: "two_instances_that_keep_the_last_transaction_conflict_for_good", look: keepers },
    Check { name: "an_old_instance_beside_a_migrated_storage_answers_503_while_info_answers_200", look: dead },
];

const EACH: usize = 40;

/// Every write is sent again until it is answered with 200; a conflict is the only other answer.
fn writers(bench: &Bench) -> Step {
    only_if(bench.subject.number < Number(1, 10, 6))?;
    let home = bench.home()?;
    let servers = [bench.subject.serve(&home, &[])?, bench.subject.serve(&home, &[])?];
    for server in &servers {
        same(server.get("/shop/stats")?.status, 200)?;
    }
    let write = |address: &str, who: usize| -> Result<(), String> {
        for number in 0..EACH {
            let mut body = pay("bank", 1);
            body["reference"] = json!(format!("{who}-{number}"));
            loop {
                let reply = wire::request(address, "POST", "/shop/transactions", Some(&body.to_string()));
                match reply.map_err(|error| error.to_string())? {
                    reply if reply.status == 200 => break,
                    reply if reply.status == 409 => {}
                    reply => return Err(format!("{} {}", reply.status, reply.body)),
                }
            }
        }
        Ok(())
    };
    let ended: Vec<_> = std::thread::scope(|scope| {
        let addresses = servers.iter().flat_map(|server| [server.address.clone(), server.address.clone()]).enumerate();
        let threads: Vec<_> = addresses.map(|(who, address)| scope.spawn(move || write(&address, who))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("panicked".to_owned()))).collect()
    });
    expect(ended.iter().all(Result::is_ok), "every answer to be 200 or 409", format!("{ended:?}"))?;
    let all = (4 * EACH).to_string();
    same(
        value(
            &home,
            "SELECT count(DISTINCT reference) || ' ' || count(*) || ' ' || max(id) + 1 FROM shop.transactions",
        )?,
        format!("{all} {all} {all}"),
    )?;
    let balance = servers[0].get("/shop/accounts/bank")?.json()["data"]["balances"]["USD/2"].clone();
    same(balance, json!(4 * EACH))
}

/// Thirty accounts with one coin each, which both instances are asked to spend at the same moment.
fn spenders(bench: &Bench) -> Step {
    only_if(bench.subject.number < Number(1, 10, 6))?;
    let home = bench.home()?;
    let servers = [bench.subject.serve(&home, &[])?, bench.subject.serve(&home, &[])?];
    servers[1].get("/shop/stats")?;
    for round in 0..30 {
        let account = format!("purse:{round}");
        servers[0].write("/shop/transactions", &pay(&account, 1))?;
        let posting = json!({ "source": account, "destination": "till", "amount": 1, "asset": "USD/2" });
        let body = json!({ "postings": [posting] }).to_string();
        let together = std::sync::Barrier::new(servers.len());
        std::thread::scope(|scope| {
            for server in &servers {
                let (address, body, together) = (server.address.clone(), &body, &together);
                scope.spawn(move || {
                    together.wait();
                    // Refused or not: only the balance counts.
                    let _ = wire::request(&address, "POST", "/shop/transactions", Some(body));
                });
            }
        });
        let balance =
            servers[0].get(&format!("/shop/accounts/{account}"))?.json()["data"]["balances"]["USD/2"].as_i64();
        expect(matches!(balance, Some(0 | 1)), "a coin that is spent once at most", format!("{balance:?}"))?;
    }
    Ok(())
}

/// From 1.10.6 on: the one that did not write last has one 200, then 409 for good, and metadata 503.
fn keepers(bench: &Bench) -> Step {
    only_if(bench.subject.number >= Number(1, 10, 6))?;
    let home = bench.home()?;
    let [one, other] = [bench.subject.serve(&home, &[])?, bench.subject.serve(&home, &[])?];
    one.write("/shop/transactions", &pay("bank", 1))?;
    other.write("/shop/transactions", &pay("bank", 1))?;
    for _ in 0..5 {
        same(one.post("/shop/transactions", &pay("bank", 1))?.status, 409)?;
    }
    same(one.post("/shop/accounts/bank/metadata", &json!({ "a": 1 }))?.status, 503)?;
    same(value(&home, "SELECT count(*) FROM shop.transactions")?.as_str(), "2")
}

/// Disaster 1: what watches `/_info` and `/_health` sees nothing.
fn dead(bench: &Bench) -> Step {
    let home = small(bench, &["shop", "other"])?;
    let old = bench.older()?.serve(&home, &[])?;
    same(old.get("/shop/stats")?.status, 200)?;
    upgrade(&bench.subject, &home, "shop")?.ends(0)?;
    for _ in 0..3 {
        same(old.get("/shop/transactions")?.status, 503)?;
        same(old.post("/shop/transactions", &pay("bank", 1))?.status, 503)?;
    }
    same(old.get("/_info")?.status, 200)?;
    same(old.get("/_health")?.status, 200)?;
    same(old.get("/other/stats")?.status, 200)?;
    same(value(&home, "SELECT count(*) FROM shop.transactions")?.as_str(), "1")
}
