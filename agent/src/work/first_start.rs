//! The migration of a target without storage commands (up to 1.3.1): its first request to a ledger creates there what it needs.
//!
//! So the target is started as the commands of later releases are run: on the storage alone, every key explicit, with nothing
//! of a service's own arguments, on a port that nobody knows. It reads one ledger at a time and is ended before anybody looks
//! at what that did. Reading again changes nothing.

use super::bench::Bench;
use super::trouble::Trouble;
use super::visit::{Visit, Words, visit};
use crate::service::environment::Redactor;
use crate::settings::Account;
use cutover_vocabulary::release::StagedRelease;
use cutover_vocabulary::{Elapsed, LedgerName};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How long the target may take to answer at all.
const START: Elapsed = Elapsed::from_secs(60);

/// How long the first request to a ledger may take: it makes tables and indexes, and moves no rows.
const FIRST_READ: Duration = Duration::from_secs(300);

/// On what the target is started.
pub(super) struct On {
    /// Every key of the storage.
    pub(super) environment: BTreeMap<String, SecretString>,
    /// With which the target may let us in.
    pub(super) credentials: Vec<SecretString>,
    /// Whom it runs as; the agent's own user if none.
    pub(super) account: Option<Account>,
}

/// Reads each ledger once. How long each took.
pub(super) async fn read_each(
    bench: &Bench<'_>,
    target: &StagedRelease,
    program: &Path,
    On { mut environment, credentials, account }: On,
    ledger: &'static str,
    ledgers: &[LedgerName],
) -> Result<Vec<(LedgerName, Elapsed)>, Trouble> {
    // The settings file is the services' own; releases up to 1.3.1 write it.
    environment.insert("NUMARY_PERSIST_CONFIG".to_owned(), "false".into());
    let redactor = Redactor::of(&[], &environment);
    let asked = Visit {
        program,
        version: &target.release.version,
        environment,
        arguments: ["server", "start"].map(SecretString::from).into(),
        // The worker's folder is closed to other users.
        directory: if account.is_some() { Path::new("/") } else { bench.folder.path() },
        account,
        // The service's home may have a settings file that asks for them.
        credentials,
        patience: START,
        read: FIRST_READ,
        words: Words { started: "on the storage alone".to_owned(), ledger, redactor: &redactor },
    };
    visit(bench, asked, ledgers).await
}
