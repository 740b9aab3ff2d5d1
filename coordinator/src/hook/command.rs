//! Runs the operator's program: with a time limit, as a process group of its own, its last words kept.

use crate::settings::HookCommand;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

/// Most bytes of its last output that are kept.
const LAST_WORDS: usize = 2_000;
/// How long output is waited for after its end: something that it left running may hold the pipe.
const OUTPUT_WITHIN: Duration = Duration::from_millis(500);

/// It did not do what it was run for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("it cannot be started: {0}")]
    Start(io::Error),
    #[error("it cannot be waited for: {0}")]
    Wait(io::Error),
    #[error("it ended with {status}")]
    Ended { status: ExitStatus, said: String },
    #[error("it took longer than {} s and was killed", .limit.as_secs())]
    TooLong { limit: Duration, said: String },
}
impl Failed {
    /// Its last output.
    pub(super) fn said(&self) -> &str {
        match self {
            Self::Start(_) | Self::Wait(_) => "",
            Self::Ended { said, .. } | Self::TooLong { said, .. } => said,
        }
    }
}

/// A program that runs. Dropped, it is killed with all of its group; one that has ended is left alone.
struct Running(Child);
impl Drop for Running {
    fn drop(&mut self) {
        // There is an id until the end was seen, so it is nobody else's.
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Runs it to its end. Dropping the future kills it.
pub(super) async fn run(
    command: &HookCommand,
    environment: &[(&str, &str)],
    input: Vec<u8>,
    limit: Duration,
) -> Result<(), Failed> {
    let child = Command::new(&command.program)
        .args(&command.args)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(Failed::Start)?;
    let mut running = Running(child);
    let (stdin, stdout, stderr) = (running.0.stdin.take(), running.0.stdout.take(), running.0.stderr.take());
    let said = Mutex::new(Vec::new());
    let talk = async {
        let feed = async {
            if let Some(mut stdin) = stdin {
                // It need not read what it is told.
                let _ = stdin.write_all(&input).await;
            }
        };
        tokio::join!(feed, listen(stdout, &said), listen(stderr, &said));
    };
    tokio::pin!(talk);
    let whole = async {
        let mut talks = true;
        let status = loop {
            tokio::select! {
                status = running.0.wait() => break status,
                () = &mut talk, if talks => talks = false,
            }
        };
        if talks {
            let _ = tokio::time::timeout(OUTPUT_WITHIN, &mut talk).await;
        }
        status
    };
    let ended = tokio::time::timeout(limit, whole).await;
    let said = || String::from_utf8_lossy(&said.lock().unwrap_or_else(PoisonError::into_inner)).trim().to_owned();
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(Failed::Ended { status, said: said() }),
        Ok(Err(error)) => Err(Failed::Wait(error)),
        Err(_) => Err(Failed::TooLong { limit, said: said() }),
    }
}

/// Reads to the end, and keeps the last of it.
async fn listen(from: Option<impl AsyncRead + Unpin>, said: &Mutex<Vec<u8>>) {
    let Some(mut from) = from else { return };
    let mut chunk = [0; 1024];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(&chunk[..count]);
        let too_many = said.len().saturating_sub(LAST_WORDS);
        said.drain(..too_many);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> HookCommand {
        HookCommand { program: "/bin/sh".into(), args: vec!["-c".to_owned(), script.to_owned()] }
    }

    async fn ran(script: &str, input: &[u8], limit: Duration) -> Result<(), Failed> {
        run(&shell(script), &[("CUTOVER_EVENT", "held")], input.to_vec(), limit).await
    }

    const LONG: Duration = Duration::from_secs(30);

    fn lives(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    #[tokio::test]
    async fn one_that_takes_too_long_is_killed_with_all_that_it_started_and_its_last_words_are_kept() {
        let mut limit = Duration::from_millis(300);
        let pid = loop {
            let failed = ran("sleep 600 & echo $!; wait", b"{}", limit).await.unwrap_err();
            assert!(matches!(failed, Failed::TooLong { .. }), "{failed}");
            if !failed.said().is_empty() {
                break failed.said().to_owned();
            }
            // The shell had no time to say anything.
            assert!(limit < LONG, "it said nothing within {limit:?}");
            limit *= 2;
        };
        let gone = async {
            while lives(&pid) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, gone).await.unwrap();
    }

    #[tokio::test]
    async fn one_that_fails_is_named_with_its_status_and_its_last_words() {
        let failed = ran("cat >&2; echo \"$CUTOVER_EVENT\" >&2; exit 3", b"{}\n", LONG).await.unwrap_err();
        assert_eq!((failed.to_string().as_str(), failed.said()), ("it ended with exit status: 3", "{}\nheld"));
        let failed = ran("yes | head -c 100000; echo end; exit 1", b"", LONG).await.unwrap_err();
        assert!(failed.said().len() <= LAST_WORDS && failed.said().ends_with("end"));
        let nowhere = HookCommand { program: "/nowhere/hook".into(), args: Vec::new() };
        assert!(matches!(run(&nowhere, &[], Vec::new(), LONG).await.unwrap_err(), Failed::Start(_)));
    }

    #[tokio::test]
    async fn one_that_reads_nothing_closes_its_pipes_or_leaves_something_running_has_done_its_part() {
        let much = vec![b'x'; 300_000];
        ran("true", &much, LONG).await.unwrap();
        ran("exec <&- >&- 2>&-", &much, LONG).await.unwrap();
        ran("sleep 3 & exit 0", b"", LONG).await.unwrap();
    }
}
