//! A client that hangs up, which stops the work that was done for it (disaster 13).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Ends a statement that runs.
type Stop = Box<dyn Fn() + Send>;

/// Lets a client that hangs up stop the work done for it.
#[derive(Clone, Default)]
pub struct Cancel {
    asked: Arc<AtomicBool>,
    stop: Arc<Mutex<Option<Stop>>>,
}

impl Cancel {
    /// Asks the work to stop; what it did in its transaction is rolled back.
    pub fn cancel(&self) {
        self.asked.store(true, Ordering::SeqCst);
        if let Some(stop) = self.stop.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            stop();
        }
    }

    /// Whether it was asked.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// From now on `stop` ends the statement that runs. It must not block.
    pub(super) fn watch(&self, stop: impl Fn() + Send + 'static) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(stop));
    }

    /// The session goes on to other work, which nobody may stop any more.
    pub(super) fn unwatch(&self) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
