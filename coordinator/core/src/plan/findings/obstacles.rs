//! What a person must change before the storage can be upgraded from the runner's host: rights, tools, the server itself.
//! Found by the agent, which also says what to do; nothing of it can be approved away.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::name::shown;
use cutover_vocabulary::storage::{Obstacle, ObstacleKind};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let met = |obstacle: &&Obstacle| obstacle.from.as_ref().is_none_or(|from| case.ask.target >= *from);
    let obstacles = case.storages().into_iter().flat_map(|storage| &storage.obstacles).filter(met);
    obstacles
        .map(|obstacle| {
            let (code, source) = match obstacle.kind {
                ObstacleKind::MissingGrant => ("missing-grant", Source::ThisStorage),
                ObstacleKind::MissingTool => ("missing-tool", Source::ThisHost),
                ObstacleKind::NotWritable => ("storage-not-writable", Source::ThisStorage),
                ObstacleKind::MissingExtension => ("missing-extension", Source::ThisStorage),
            };
            finding(
                code,
                Level::Block,
                FindingSubject::Storage,
                source,
                shown(&obstacle.what).to_string(),
                obstacle.remedy.clone(),
            )
        })
        .collect()
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[
    super::Page {
        code: "missing-grant",
        title: "the ledger's role lacks a right that the upgrade needs",
        levels: &[Level::Block],
        sources: &[Source::ThisStorage],
        means: "The migration creates functions, tables and extensions, and a recovery point is proved by restoring it into \
         a database of its own. Each finding names the right and what needs it; on PostgreSQL 15 a role without \
         CREATE in `public` fails at the end of 1.4.x' migration.",
        found: "The agent asks the database about the role's own rights, and whose the ledgers' tables are.",
        remedy: "Run the statement in the finding as an administrator of the database. Take it back afterwards if you wish.",
    },
    super::Page {
        code: "missing-tool",
        title: "`pg_dump`, `pg_restore` or `psql` is missing on the runner's host, or older than the server",
        levels: &[Level::Block],
        sources: &[Source::ThisHost],
        means: "A recovery point on PostgreSQL is a dump. `pg_dump` refuses a server that is newer than itself.",
        found: "The agent looks where the packages put these programs and along `PATH`, and compares their version with the \
         server's. The runner is the first host on which nothing is missing; this is said when there is no such host.",
        remedy: "Install the client programs of the server's version on one host of the deployment (Debian: \
         `postgresql-client-VERSION`).",
    },
    super::Page {
        code: "storage-not-writable",
        title: "the server takes no writes",
        levels: &[Level::Block],
        sources: &[Source::ThisStorage],
        means: "It is a standby in recovery, or the role or database is set read-only: no migration could run on it.",
        found: "The server is asked whether it is in recovery and whether transactions are read-only.",
        remedy: "Let the service's connection string name the primary, or take `default_transaction_read_only` back.",
    },
    super::Page {
        code: "missing-extension",
        title: "an extension that the ledger creates can neither be found nor created",
        levels: &[Level::Block],
        sources: &[Source::ThisStorage],
        means: "Every release from 1.3.2 on needs the extension `pgcrypto`, from 1.8.0 on `pg_trgm` too, and creates \
         what is missing. Where the role may not, the server's start and the migration fail.",
        found: "The database is asked whether the extension is there, whether the server has it, and whether this role may \
         create it.",
        remedy: "Install it as the finding says. Creating it beforehand, as a superuser, is enough.",
    },
];
