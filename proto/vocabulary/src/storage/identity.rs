//! Which storage it is.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Which kind of storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// Files in one directory of one host.
    Sqlite,
    /// Schemas in one database.
    Postgres,
}
impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        })
    }
}

/// Which storage, told by what cannot be spelt in two ways: two services share a storage exactly when these are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StorageIdentity {
    /// A directory on one machine.
    Sqlite {
        /// Machine id of the host: device and inode mean nothing elsewhere.
        machine: String,
        /// Canonical path, for people; not compared by anything that decides.
        directory: String,
        /// Device number of the directory.
        device: u64,
        /// Inode of the directory.
        inode: u64,
        /// `storage.sqlite.db_name`: the first part of every file's name.
        db_name: String,
    },
    /// A database in a cluster.
    Postgres {
        /// `pg_control_system().system_identifier`, as text because it exceeds 53 bits.
        system_identifier: String,
        /// Timeline: a restored or promoted cluster has another.
        timeline: u32,
        /// Database name.
        database: String,
    },
}
impl StorageIdentity {
    /// Whether settings that lead to one lead to the other: a promoted standby has another timeline, and a folder's disk may have
    /// another number after a reboot; whoever uses them uses what was used before. A folder on which nothing is mounted any more has
    /// another inode. What is backed up must be the same ([`StorageIdentity::is_same`]).
    pub fn leads_to(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Sqlite { machine, directory, device, inode, db_name },
                Self::Sqlite {
                    machine: machine2,
                    directory: directory2,
                    device: device2,
                    inode: inode2,
                    db_name: db_name2,
                },
            ) => {
                let disk = device == device2 || directory == directory2;
                disk && (machine, inode, db_name) == (machine2, inode2, db_name2)
            }
            (
                Self::Postgres { system_identifier, timeline: _, database },
                Self::Postgres { system_identifier: system_identifier2, timeline: _, database: database2 },
            ) => (system_identifier, database) == (system_identifier2, database2),
            (Self::Sqlite { .. }, Self::Postgres { .. }) | (Self::Postgres { .. }, Self::Sqlite { .. }) => false,
        }
    }
    /// Whether they are equal but for how a directory is spelled, which is for people.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Sqlite { machine, directory: _, device, inode, db_name },
                Self::Sqlite { machine: machine2, directory: _, device: device2, inode: inode2, db_name: db_name2 },
            ) => (machine, device, inode, db_name) == (machine2, device2, inode2, db_name2),
            (Self::Postgres { .. }, Self::Postgres { .. }) => self == other,
            (Self::Sqlite { .. }, Self::Postgres { .. }) | (Self::Postgres { .. }, Self::Sqlite { .. }) => false,
        }
    }
    /// The kind of storage.
    pub fn driver(&self) -> Driver {
        match self {
            Self::Sqlite { .. } => Driver::Sqlite,
            Self::Postgres { .. } => Driver::Postgres,
        }
    }
}
impl fmt::Display for StorageIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { directory, db_name, .. } => {
                write!(f, "sqlite {}/{}_*.db", crate::name::shown(directory), crate::name::shown(db_name))
            }
            Self::Postgres { system_identifier, database, .. } => {
                write!(f, "postgres {} in cluster {system_identifier}", crate::name::shown(database))
            }
        }
    }
}
