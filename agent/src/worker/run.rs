//! The daemon's side: have a piece of work done by a worker, whether it is new, under way or finished.

use super::folder::{Task, WorkFolder};
use super::program::Program;
use crate::files::FileError;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// How often a worker that vanished without a result is started again before that is reported: each run looks first, so
/// again is safe, but a worker that is killed for its memory would be killed for ever.
const RUNS: u32 = 3;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Something in the worker's folder.
    #[error(transparent)]
    File(#[from] FileError),
    /// The worker could not be started.
    #[error("cannot start the worker {}: {source}; check that it is there and that the host can start processes", program.display())]
    Spawn {
        /// Which program.
        program: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It could not be waited for.
    #[error("cannot wait for the worker in {}: {source}", folder.display())]
    Wait {
        /// Its folder.
        folder: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It vanished again and again.
    #[error(
        "the worker in {} vanished {runs} times without a result: killed, or out of memory; the system log and worker.log there tell more",
        folder.display()
    )]
    Vanished {
        /// Its folder.
        folder: PathBuf,
        /// How often it was started.
        runs: u32,
    },
    /// Its folder is another order's under the same id: what lies there says nothing about this one.
    #[error(
        "{} was made for another order with the same id; was the coordinator's store made anew, so that its upgrades are \
         numbered from the beginning?",
        folder.display()
    )]
    OtherOrder {
        /// The folder.
        folder: PathBuf,
    },
    /// It was to be stopped before anything of it ran.
    #[error("stopped before it was begun")]
    NeverBegun,
}

/// Has a piece of work done and gives its result. Adopts: a result that is there is taken; a worker that runs is waited for;
/// only where neither is, one is started. When `stop` is cancelled the worker is asked to stop, and then tells what is true.
///
/// # Errors
/// [`WorkerError`].
pub async fn run<T: DeserializeOwned>(
    program: &Program,
    folder: &WorkFolder,
    task: &Task,
    stop: &CancellationToken,
) -> Result<T, WorkerError> {
    crate::files::folder(folder.path())?;
    let earlier = folder.task()?;
    if let (Some(Task::Order { order: earlier, .. }), Task::Order { order, .. }) = (&earlier, task)
        && earlier.content() != order.content()
    {
        return Err(WorkerError::OtherOrder { folder: folder.path().to_owned() });
    }
    let mut begun = earlier.is_some();
    if !stop.is_cancelled() {
        folder.withdraw_stop()?;
    }
    let mut runs = 0;
    loop {
        if let Some(result) = folder.result()? {
            return Ok(result);
        }
        let waiting = |source| WorkerError::Wait { folder: folder.path().to_owned(), source };
        let alive = folder.alive()?;
        if alive.try_lock().map_err(waiting)? {
            // Nothing of it runs. A result may have been written between the two looks.
            if let Some(result) = folder.result()? {
                return Ok(result);
            }
            if stop.is_cancelled() {
                if !begun {
                    return Err(WorkerError::NeverBegun);
                }
                folder.request_stop()?;
            }
            if runs == RUNS {
                return Err(WorkerError::Vanished { folder: folder.path().to_owned(), runs });
            }
            runs += 1;
            folder.prepare(task)?;
            begun = true;
            let spawning = |source| WorkerError::Spawn { program: program.path.clone(), source };
            // Dropped without a kill: tokio reaps it when it has ended.
            drop(program.spawn_worker(folder, alive).map_err(spawning)?);
        }
        wait(folder, stop).await?;
    }
}

/// Waits until nothing of the worker runs. A thread of its own, not a task's: an agent that ends must not wait for it.
async fn wait(folder: &WorkFolder, stop: &CancellationToken) -> Result<(), WorkerError> {
    let waiting = |source| WorkerError::Wait { folder: folder.path().to_owned(), source };
    let alive = folder.alive()?;
    let (tell, gone) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("worker-wait".to_owned())
        .stack_size(64 << 10)
        .spawn(move || {
            let _ = tell.send(alive.wait());
        })
        .map_err(waiting)?;
    tokio::pin!(gone);
    let ended = tokio::select! {
        ended = &mut gone => ended,
        () = stop.cancelled() => {
            folder.request_stop()?;
            gone.await
        }
    };
    ended.unwrap_or_else(|_| Err(std::io::Error::other("the waiting thread ended"))).map_err(waiting)
}
