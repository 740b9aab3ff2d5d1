//! What the sandbox needs.

use super::host::Host;
use super::{Check, Verdict};
use crate::sandbox::releases::{HOW_TO_GET, simulator_beside};
use cutover_trial_postgres::Missing;
use std::fs;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "releases to try",
        why: "the sandbox upgrades a ledger from one release to another: real ones, or the simulator of this workspace",
        look: |host| vec![releases(host)],
    },
    Check {
        name: "PostgreSQL server",
        why: "`cutover sandbox --storage postgres` runs a server of its own, never an installed one",
        look: |host| vec![server(host)],
    },
    Check {
        name: "user for the server",
        why: "PostgreSQL refuses to run as root",
        look: |host| match &host.server {
            Ok(programs) => vec![Verdict::well(match programs.user() {
                Some((uid, _)) => format!("postgres ({uid})"),
                None => "you, who are not root".to_owned(),
            })],
            Err(Missing::User) => vec![Verdict::warning(
                "this is root, and there is no user postgres",
                "install the package postgresql, which makes that user; or run the sandbox as an ordinary user",
            )],
            Err(Missing::Server) => Vec::new(),
        },
    },
    Check {
        name: "etcd",
        why: "`cutover sandbox --coordinators 3` keeps facts in one of its own, never in an installed service",
        look: |host| {
            vec![match crate::sandbox::etcd::find(&host.path) {
                Some(program) => Verdict::well(program.display().to_string()),
                // The sandbox has one coordinator without it.
                None => Verdict::warning("etcd is not in PATH", crate::sandbox::etcd::HOW_TO_GET),
            }]
        },
    },
];

fn releases(host: &Host) -> Verdict {
    let Some(folder) = &host.releases else {
        return match host.beside.as_deref().and_then(simulator_beside) {
            Some((binary, _)) => Verdict::well(format!("the simulator, {}", binary.display())),
            None => Verdict::missing("the simulator does not lie beside this program", HOW_TO_GET),
        };
    };
    let names =
        fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut versions: Vec<String> = names.filter(|name| name.starts_with('v') && folder.join(name).is_dir()).collect();
    versions.sort();
    match versions.is_empty() {
        true => Verdict::missing(format!("{} has no folder vVERSION", folder.display()), HOW_TO_GET),
        false => Verdict::well(format!("{} in {}", versions.join(", "), folder.display())),
    }
}

/// A warning at most: the sandbox has files without it.
fn server(host: &Host) -> Verdict {
    let remedy = "`apt-get install postgresql` on Debian or Ubuntu; or try the sandbox on files, `--storage sqlite`";
    match &host.server {
        Ok(programs) => match ["initdb", "pg_ctl"].into_iter().find(|name| !programs.path(name).is_file()) {
            None => Verdict::well(programs.path("initdb").display().to_string()),
            Some(name) => Verdict::warning(format!("{} is missing", programs.path(name).display()), remedy),
        },
        // Of its user the next check speaks.
        Err(Missing::User) => Verdict::well("initdb is installed"),
        Err(Missing::Server) => Verdict::warning("initdb is neither in /usr/lib/postgresql nor in PATH", remedy),
    }
}
