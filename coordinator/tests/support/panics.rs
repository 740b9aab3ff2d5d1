//! Panics of the coordinator. A task that panics takes nobody with it, so a test would not see it otherwise.

use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::{Mutex, OnceLock, PoisonError};

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// That none was seen since this was last asked; the first time begins the watch. What fails in a test's own lines is reported by that test.
pub fn none() {
    static WATCHED: OnceLock<()> = OnceLock::new();
    WATCHED.get_or_init(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            if !place.contains("/tests/") {
                SEEN.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{place}: {panic}"));
            }
            usual(panic);
        }));
    });
    let seen = std::mem::take(&mut *SEEN.lock().unwrap_or_else(PoisonError::into_inner));
    assert!(seen.is_empty(), "the coordinator panicked: {seen:#?}");
}
