//! The tasks of a coordinator.

use std::future::Future;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks that end with their coordinator, in whatever way that ends.
#[derive(Debug, Clone)]
pub(crate) struct Tasks {
    pub(crate) tracker: TaskTracker,
    /// Cancelled when the coordinator's future is dropped: a task then stops where it stands, as in a crash.
    pub(crate) kill: CancellationToken,
}
impl Tasks {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let kill = self.kill.clone();
        self.tracker.spawn(async move { kill.run_until_cancelled_owned(task).await });
    }
    /// Runs a call to its end even where the caller goes meanwhile: a call that was broken off ends wherever it waits, and one that
    /// stores several things must not be left half done. None where the coordinator was killed.
    pub(crate) async fn finish<T: Send + 'static>(&self, call: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let kill = self.kill.clone();
        let running = self.tracker.spawn(async move { kill.run_until_cancelled_owned(call).await });
        match running.await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => None,
        }
    }
}
