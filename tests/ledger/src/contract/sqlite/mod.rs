//! What only SQLite storages do.

pub(super) mod files;
mod migration;
mod migration_data;
mod server;

use super::Check;

pub(super) fn checks() -> Vec<Check> {
    [files::CHECKS, server::CHECKS, migration_data::CHECKS, migration::CHECKS].concat()
}
