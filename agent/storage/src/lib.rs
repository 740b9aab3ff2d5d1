//! The storages of the ledger: identify, inventory, quiet, lock, recovery point, restore, digest.
