//! What can go wrong in a store.

use cutover_vocabulary::Epoch;
use std::path::PathBuf;

/// A store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file of the store cannot be used.
    #[error(
        "could not {doing} {}: check that the folder exists, is writable for this user, and has space", path.display()
    )]
    File {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database refused or failed.
    #[error("could not {doing} in the store {}: {}", path.display(), hint(source))]
    Database {
        /// What was tried.
        doing: &'static str,
        /// In which file.
        path: PathBuf,
        /// What the database said.
        source: sqlx::Error,
    },
    /// A newer version of Cutover wrote this file.
    #[error(
        "the store {} has schema {found} and this version knows schemas up to {known}: run the version of Cutover that \
         wrote it, or a newer one; nothing was changed", path.display()
    )]
    NewerSchema {
        /// Which file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest that this version knows.
        known: i64,
    },
    /// The file is a database, but none of Cutover's.
    #[error("{} is another program's database: name another file for the store; nothing was changed", path.display())]
    NotOurs {
        /// Which file.
        path: PathBuf,
    },
    /// What the store holds cannot be right.
    #[error("the store is damaged: {what}: {why}; keep the file and restore the store from its backup")]
    Damaged {
        /// What was read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// None of etcd's endpoints could be asked.
    #[error(
        "could not {doing}: no endpoint of etcd answered ({why}); look at `etcdctl --endpoints={endpoints} endpoint health`: \
         more than half of its members must run and be reached from here"
    )]
    EtcdUnreachable {
        /// What was tried.
        doing: &'static str,
        /// All of them.
        endpoints: String,
        /// What happened at the last one.
        why: String,
    },
    /// A write was sent, and no answer came.
    #[error("etcd at {endpoint} did not say whether it could {doing}: {why}")]
    EtcdLost {
        /// What was tried.
        doing: &'static str,
        /// Which endpoint.
        endpoint: String,
        /// What came instead.
        why: String,
    },
    /// Etcd answered that it will not.
    #[error(
        "could not {doing}: etcd at {endpoint} refused it: {why}; the table [etcd] of the settings has user and certificates, \
         and the user needs a role that may read and write below the prefix"
    )]
    EtcdRefused {
        /// What was tried.
        doing: &'static str,
        /// Which endpoint.
        endpoint: String,
        /// What this store may do about it by itself.
        kind: crate::etcd::EtcdRefusal,
        /// What etcd said.
        why: String,
    },
    /// Etcd's database has reached its quota.
    #[error(
        "could not {doing}: etcd's database has reached its quota (alarm NOSPACE), and it takes no writes until somebody makes \
         room; with `etcdctl --endpoints={endpoint}`: `endpoint status -w json` tells the revision, `compact REVISION`, `defrag` \
         for each member, then `alarm disarm`; reading goes on, and nothing of this write was kept"
    )]
    EtcdFull {
        /// What was tried.
        doing: &'static str,
        /// Which endpoint.
        endpoint: String,
    },
    /// Something that the table `[etcd]` names is not as it must be.
    #[error("cannot use {what}, which the table [etcd] of the settings names: {why}")]
    EtcdFile {
        /// A file or an address.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// Another coordinator is there under that name.
    #[error(
        "another coordinator is there that is named {name}, at {address:?}: give each coordinator a name of its own; if it was \
         this one before it was started again, the name is free when its lease has ended"
    )]
    NameTaken {
        /// Which name.
        name: crate::CoordinatorName,
        /// Where the other one is reached.
        address: String,
    },
    /// The caller does not lead.
    #[error("not stored: epoch {epoch} does not lead, the latest leadership is epoch {by}")]
    Fenced {
        /// The caller's epoch.
        epoch: Epoch,
        /// The highest epoch the store has given.
        by: Epoch,
    },
    /// More bytes than a store takes at once.
    #[error("not stored: {bytes} bytes are more than the {limit} that one {what} may have; cut it into several")]
    TooLarge {
        /// What was to be stored.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// What would be allowed.
        limit: usize,
    },
    /// The batch contradicts itself: an error in the caller, which trying again does not cure.
    #[error("not stored: the batch is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// A fault that a test asked the memory store for.
    #[error("the fault that was asked for: {fault:?}")]
    Injected {
        /// Which.
        fault: crate::memory::AppendFault,
    },
}

impl StoreError {
    /// Whether it is certain that nothing was stored. False where only [`Store::find_batch`](crate::Store::find_batch)
    /// can tell.
    pub fn nothing_was_stored(&self) -> bool {
        match self {
            Self::NewerSchema { .. }
            | Self::NotOurs { .. }
            | Self::Fenced { .. }
            | Self::TooLarge { .. }
            | Self::Malformed(_)
            | Self::EtcdUnreachable { .. }
            | Self::EtcdRefused { .. }
            | Self::EtcdFile { .. }
            | Self::NameTaken { .. } => true,
            Self::Injected { fault } => *fault == crate::memory::AppendFault::Fails,
            Self::File { .. } | Self::Database { .. } | Self::EtcdLost { .. } | Self::Damaged { .. } => false,
            // Where another write took the last of the space meanwhile, etcd says so of one that it did.
            Self::EtcdFull { .. } => false,
        }
    }
}

/// How a batch contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It has no facts.
    #[error("it has no facts")]
    Empty,
    /// Its facts are not numbered from the expected one on.
    #[error("fact {expected} was expected and it says it is {found}")]
    Gap {
        /// The number that would continue the chain.
        expected: u64,
        /// The number that the fact has.
        found: u64,
    },
    /// A fact does not follow the one before it in the batch.
    #[error("fact {seq} does not carry the hash of the fact before it")]
    Chain {
        /// Which fact.
        seq: u64,
    },
    /// A fact claims another leadership than it is stored under.
    #[error("fact {seq} says it was made in epoch {found}, and it is to be stored in epoch {epoch}")]
    Epoch {
        /// Which fact.
        seq: u64,
        /// What it says.
        found: Epoch,
        /// The caller's epoch.
        epoch: Epoch,
    },
    /// A text that is to be stored as it is is no fact's.
    #[error("fact {seq} is no fact's text: {why}")]
    NoFact {
        /// Which fact.
        seq: u64,
        /// Why not.
        why: String,
    },
    /// A fact would not be the same after it was read back. Stored facts are for ever, so it must not become one.
    #[error("fact {seq} cannot be read back: {why}")]
    Unreadable {
        /// Which fact.
        seq: u64,
        /// Why not.
        why: String,
    },
}

/// What people can do about a database's error: SQLite's result codes 10 (I/O), 11 and 26 (damaged), 5 and 6 (busy),
/// 8 (read-only), 13 (full), by <https://sqlite.org/rescode.html>; extended codes carry them in the low byte.
fn hint(error: &sqlx::Error) -> &'static str {
    let primary = error
        .as_database_error()
        .and_then(|error| error.code())
        .and_then(|code| code.parse::<u32>().ok())
        .map(|code| code & 0xff);
    match primary {
        Some(5 | 6) => "another program keeps the file locked; find it with `fuser` and end it",
        Some(8) => "the file or its folder is read-only for this user; correct the permissions",
        Some(10) => "the disk reported an I/O error; check it and the kernel's log",
        Some(11 | 26) => "the file is damaged; keep it and restore the store from its backup",
        Some(13) => "the disk is full; free space, nothing of this write was kept",
        Some(_) | None => "the cause follows; try again once it is gone",
    }
}
