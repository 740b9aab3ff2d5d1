//! How both daemons log: lines on standard error for people or as JSON; and where standard error is systemd's journal, entries
//! whose fields can be searched for.

mod journal;

use std::io::{self, IsTerminal as _};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people; in systemd's journal with fields beside it: `journalctl CUTOVER_UPGRADE=…`.
    Text,
    /// One JSON object a line; `span` has the upgrade, the epoch, and the order where there is one.
    Json,
}

/// Logs from now on, for the whole program. `program` is the name under which the journal shows it.
///
/// # Panics
/// When somebody called it before.
pub fn init(program: &'static str, filter: EnvFilter, format: LogFormat) {
    // Escapes are for people at a terminal, not for a file.
    let terminal = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer().with_ansi(terminal).with_writer(io::stderr);
    let log = tracing_subscriber::registry().with(filter);
    match (format, journal::Journal::of_stderr(program)) {
        (LogFormat::Json, _) => log.with(lines.json().flatten_event(true).with_span_list(false)).init(),
        (LogFormat::Text, Some(journal)) => log.with(journal).init(),
        (LogFormat::Text, None) => log.with(lines).init(),
    }
}
