//! Worker processes: everything that takes long or touches a database runs in one, not in the daemon.
//!
//! A worker outlives the daemon that started it. All that is known of it lies in its folder ([`WorkFolder`]): `order.json` what
//! it is to do, `result.json` what came of it, `alive` a lock that it and all its children hold. The lock is held from before
//! the worker is started (it is the worker's standard input) until the last process of it is gone, so "is anything of it
//! still running?" has an exact answer, whoever was killed.

pub mod child;
mod folder;
mod program;
mod run;

pub use folder::{Alive, Task, WorkFolder};
pub use program::{Program, hand_over};
pub use run::{WorkerError, run};
