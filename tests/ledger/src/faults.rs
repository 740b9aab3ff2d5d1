//! Switches for tests of failure. They exist in the simulator alone; unset, they change nothing.
//!
//! | switch | effect |
//! |---|---|
//! | `NUMARY_SIM_HOLD_MIGRATION=PATH` | a migration waits before its commit until PATH exists |
//! | `NUMARY_SIM_HOLD_LEDGER=NAME` | the hold above concerns this ledger only |
//! | `NUMARY_SIM_FAIL_MIGRATION=NAME` | migrating that ledger fails with `database or disk is full`, exit 1 |
//! | `NUMARY_SIM_PANIC_MIGRATION=NAME` | migrating that ledger panics, exit 2 |
//! | `NUMARY_SIM_KILL_MIGRATION=NAME` | the process dies by SIGKILL before the commit of that ledger |
//! | `NUMARY_SIM_DROP_METADATA=NAME` | migrating that ledger drops one metadata key of a transaction that is none of the known losses |
//! | `NUMARY_SIM_CHANGE_AMOUNT=NAME` | migrating that ledger adds 1 to the amount of its first posting |
//! | `NUMARY_SIM_MIGRATION_MILLIS=N` | moving a ledger's rows takes N milliseconds longer, in its transaction; on PostgreSQL as a statement that the server runs to its end whatever becomes of the command, a twentieth of it after the function that 1.4.x shares, where ledgers collide |
//! | `NUMARY_SIM_IGNORE_SIGTERM=1` | the server ignores SIGTERM |
//! | `NUMARY_SIM_DIE_AT_START=STATUS` | the server ends with that status instead of serving |
//! | `NUMARY_SIM_MUTE_SERVER=1` | the server starts but never listens |
//! | `NUMARY_SIM_HANG_COMMAND=WORD` | that storage command (`scan`, `list`, `upgrade`, …), or `version`, never ends and never works |
//! | `NUMARY_SIM_FAIL_COMMAND=WORD` | that storage command ends 1 without working |
//! | `NUMARY_SIM_FAIL_READS=PATH` | while PATH exists, a GET of anything of a ledger is answered 500 |
//! | `NUMARY_SIM_FAIL_WRITES=PATH` | while PATH exists, a POST of anything of a ledger is answered 500 and does nothing |
//! | `NUMARY_SIM_SLOW_WRITES=MILLISECONDS` | a write's answer comes that much after its commit |
//! | `NUMARY_SIM_NO_SLEEP=1` | the pauses that some releases make (two seconds at a start, five at a migration's number) are left out |
//!
//! They are read from the environment and, since a caller may give the process an environment of its own, from two files: one
//! beside the binary, then `{storage.dir}/.numary-sim.env`, both named so: lines `KEY=VALUE`, or `VERSION:KEY=VALUE` for one release only. Of the same key the file's last
//! line wins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The switches of one run.
#[derive(Clone, Debug, Default)]
pub struct Faults(BTreeMap<String, String>);

impl Faults {
    /// Reads the environment, then the file beside the storage.
    #[must_use]
    pub fn read(version: &str, storage_dir: &Path) -> Self {
        let mut all: BTreeMap<String, String> =
            std::env::vars().filter(|(key, _)| key.starts_with("NUMARY_SIM_")).collect();
        let beside = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
        let folders = beside.iter().map(PathBuf::as_path).chain([storage_dir]);
        let read = |folder: &Path| std::fs::read_to_string(folder.join(".numary-sim.env")).unwrap_or_default();
        let file: String = folders.map(|folder| read(folder) + "\n").collect();
        for line in file.lines() {
            let Some((key, value)) = line.trim().split_once('=') else { continue };
            match key.split_once(':') {
                Some((only, key)) if only == version => _ = all.insert(key.to_owned(), value.to_owned()),
                Some(_) => {}
                None => _ = all.insert(key.to_owned(), value.to_owned()),
            }
        }
        all.retain(|_, value| !value.is_empty());
        Self(all)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(&format!("NUMARY_SIM_{name}")).map(String::as_str)
    }

    /// Whether the switch names this subject (a ledger, a command).
    #[must_use]
    pub fn names(&self, switch: Switch, subject: &str) -> bool {
        self.get(switch.name()) == Some(subject)
    }

    /// The file that the migration of `ledger` waits for.
    #[must_use]
    pub fn hold(&self, ledger: &str) -> Option<PathBuf> {
        match self.get("HOLD_LEDGER") {
            Some(only) if only != ledger => None,
            Some(_) | None => self.get("HOLD_MIGRATION").map(PathBuf::from),
        }
    }

    /// SIGTERM is ignored.
    #[must_use]
    pub fn ignores_sigterm(&self) -> bool {
        self.get("IGNORE_SIGTERM").is_some()
    }

    /// The server never listens.
    #[must_use]
    pub fn mute_server(&self) -> bool {
        self.get("MUTE_SERVER").is_some()
    }

    /// The status that the server ends with instead of serving.
    #[must_use]
    pub fn die_at_start(&self) -> Option<i32> {
        self.get("DIE_AT_START").map(|status| status.parse().unwrap_or(1))
    }

    /// How much longer moving a ledger's rows takes.
    #[must_use]
    pub fn longer_migration(&self) -> Duration {
        self.millis("MIGRATION_MILLIS").unwrap_or_default()
    }

    /// Reads of ledgers fail at this moment.
    #[must_use]
    pub fn reads_fail(&self) -> bool {
        self.get("FAIL_READS").is_some_and(|path| Path::new(path).exists())
    }

    /// Writes to ledgers fail at this moment.
    #[must_use]
    pub fn writes_fail(&self) -> bool {
        self.get("FAIL_WRITES").is_some_and(|path| Path::new(path).exists())
    }

    /// How long a write's answer is kept back after its commit.
    #[must_use]
    pub fn slow_writes(&self) -> Option<Duration> {
        self.millis("SLOW_WRITES")
    }

    /// The release's own pauses are left out.
    #[must_use]
    pub fn skips_pauses(&self) -> bool {
        self.get("NO_SLEEP").is_some()
    }

    fn millis(&self, name: &str) -> Option<Duration> {
        self.get(name).and_then(|text| text.parse().ok()).map(Duration::from_millis)
    }
}

/// The switches that name what they are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Fail the migration of a ledger.
    FailMigration,
    /// Panic in the migration of a ledger.
    PanicMigration,
    /// Die in the migration of a ledger.
    KillMigration,
    /// Lose a metadata key of a ledger.
    DropMetadata,
    /// Change an amount of a ledger.
    ChangeAmount,
    /// Never end a command.
    HangCommand,
    /// Fail a command.
    FailCommand,
}

impl Switch {
    fn name(self) -> &'static str {
        match self {
            Self::FailMigration => "FAIL_MIGRATION",
            Self::PanicMigration => "PANIC_MIGRATION",
            Self::KillMigration => "KILL_MIGRATION",
            Self::DropMetadata => "DROP_METADATA",
            Self::ChangeAmount => "CHANGE_AMOUNT",
            Self::HangCommand => "HANG_COMMAND",
            Self::FailCommand => "FAIL_COMMAND",
        }
    }
}
