//! PostgreSQL's client programs.

use super::{Check, Verdict};
use cutover_agent::needs::client_programs;

pub(super) const CHECKS: &[Check] = &[Check {
    name: "pg_dump, pg_restore, psql",
    why: "on PostgreSQL, recovery points are made and restored by them; they must not be older than the server",
    look: |host| {
        let found = client_programs(&host.path);
        if found.is_empty() {
            return vec![Verdict::lacking(
                host.uses_postgres(),
                "not found in /usr/lib/postgresql, /usr/pgsql-* or PATH; needed where ledgers are in PostgreSQL",
                "install the client programs of the server's version, on Debian `apt-get install postgresql-client-VERSION`",
            )];
        }
        let all = found.iter().map(|(folder, major)| format!("version {major} in {}", folder.display()));
        vec![Verdict::well(all.collect::<Vec<_>>().join(", "))]
    },
}];
