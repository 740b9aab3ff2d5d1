//! Locks on files that stand for a running program.

use std::fs::{File, TryLockError};
use std::io;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long a lock may still be held that is being given up. A process that is just being started shares every open file
/// with the one that starts it until it has become its own program (fork(2), execve(2)), and with the file its lock; so a
/// lock that was dropped, or whose holder was killed, can be seen held for a moment.
const GIVEN_UP: Duration = Duration::from_secs(1);
/// Between two attempts.
const ATTEMPT: Duration = Duration::from_millis(10);

/// Locks the file; false when somebody holds it and goes on holding it.
///
/// # Errors
/// When the file system cannot lock.
pub async fn take_lock(file: &File) -> io::Result<bool> {
    let taken = async {
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(true),
                Err(TryLockError::WouldBlock) => sleep(ATTEMPT).await,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    };
    timeout(GIVEN_UP, taken).await.unwrap_or(Ok(false))
}
