//! Standard output and standard error of the simulator, and how a Go program ends.

use crate::clock;
use crate::release::Logger;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where the logger of this process writes; the release says so once, at its start.
static TO_STDOUT: AtomicBool = AtomicBool::new(false);

/// Sends the logger's lines where the release sends them.
pub fn send_log(logger: Logger) {
    TO_STDOUT.store(logger == Logger::Stdout, Ordering::Relaxed);
}

/// What tells a log line's level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `level=info`.
    Info,
    /// `level=error`.
    Error,
}

/// Prints as it is; the caller ends the line, because some of the ledger's lines end in CR LF and some in LF.
pub fn out(text: &str) {
    // A closed pipe or a full disk behind it is the reader's affair: a Go program does not end by it.
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Prints to standard error as it is.
pub fn err(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A line of the ledger's logger. `fields` follow the message.
pub fn log(level: Level, message: &str, fields: &str) {
    let level = match level {
        Level::Info => "info",
        Level::Error => "error",
    };
    let message =
        if message.contains([' ', '"', '\'', '`', ':', '=']) { format!("{message:?}") } else { message.to_owned() };
    let space = if fields.is_empty() { "" } else { " " };
    let line = format!("time=\"{}\" level={level} msg={message}{space}{fields}\n", clock::seconds(clock::now()));
    if TO_STDOUT.load(Ordering::Relaxed) { out(&line) } else { err(&line) }
}

/// Ends as a Go panic does: a trace on standard error, exit status 2.
pub fn panic_like_go(message: &str) -> ! {
    err(&format!(
        "panic: {message}\n\ngoroutine 1 [running]:\n\
         github.com/numary/ledger/pkg/storage/sqlstorage.init.0.func1.1({{0xc0004f2000, 0x71}}, {{0xc0004f2080, 0x6c}})\n\
         \t/home/runner/work/ledger/ledger/pkg/storage/sqlstorage/sqlite.go:36 +0x18c\n\
         github.com/mattn/go-sqlite3.callbackTrampoline(0xc000010a20, 0x2, 0x7f50a80014a8)\n\
         \t/home/runner/go/pkg/mod/github.com/mattn/go-sqlite3@v1.14.9/callback.go:34 +0xa5\n\
         main.main()\n\t/home/runner/work/ledger/ledger/main.go:8 +0x17\n"
    ));
    std::process::exit(2)
}
