//! PostgreSQL's client programs.

use super::{Check, Verdict};

pub(super) const CHECKS: &[Check] = &[Check {
    name: "pg_dump, pg_restore, psql",
    why: "on PostgreSQL, recovery points are made and restored by them; they must not be older than the server",
    look: |host| {
        if host.client_programs.is_empty() {
            return vec![Verdict::lacking(
                host.uses_postgres(),
                "not found in /usr/lib/postgresql, /usr/pgsql-* or PATH; needed where ledgers are in PostgreSQL",
                "install the client programs of the server's version, on Debian `apt-get install postgresql-client-VERSION`",
            )];
        }
        let all = host.client_programs.iter().map(|(folder, major)| format!("version {major} in {}", folder.display()));
        vec![Verdict::well(all.collect::<Vec<_>>().join(", "))]
    },
}];
