//! Entries of systemd's journal, in its native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>).
//!
//! An entry's message is the whole line, fields and those of its spans included, so that `journalctl -u` shows what standard error
//! would have; the same fields stand beside it, each as `CUTOVER_NAME`. (The crate tracing-journald leaves them out of the message,
//! where people look for them.)

use rustix::fs::fstat;
use std::fmt::{Debug, Write as _};
use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Where the journal takes entries.
const SOCKET: &str = "/run/systemd/journal/socket";

/// A longer value is cut: an entry must fit into one datagram.
const LONGEST: usize = 32 << 10;

/// What logs to the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    program: &'static str,
    socket: UnixDatagram,
}

impl Journal {
    /// The journal, where systemd has connected standard error to it, and it takes entries.
    pub(crate) fn of_stderr(program: &'static str) -> Option<Self> {
        let stream = std::env::var("JOURNAL_STREAM").ok()?;
        let (device, inode) = stream.split_once(':')?;
        let stderr = fstat(io::stderr()).ok()?;
        // Somebody may have led it elsewhere since.
        if (device.parse(), inode.parse()) != (Ok(stderr.st_dev), Ok(stderr.st_ino)) {
            return None;
        }
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(SOCKET).ok()?;
        Some(Self { program, socket })
    }
}

/// Fields as they are recorded, and the message.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    named: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.named.push((name, value.to_owned())),
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Journal {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // The event's own win, then those of the innermost span.
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                let known: Vec<&str> = fields.named.iter().map(|(name, _)| *name).collect();
                let more = outer.named.iter().filter(|(name, _)| !known.contains(name)).cloned();
                let more: Vec<_> = more.collect();
                fields.named.extend(more);
            }
        }
        let entry = entry(self.program, event.metadata().level(), event.metadata().target(), &fields);
        if self.socket.send(&entry).is_err() {
            // Standard error is the journal by another way.
            let _ = writeln!(io::stderr(), "{}", line(&fields));
        }
    }
}

/// The line that people read.
fn line(fields: &Fields) -> String {
    fields.named.iter().fold(fields.message.clone(), |mut line, (name, value)| {
        // Writing to a String cannot fail.
        let _ = write!(line, " {name}={value}");
        line
    })
}

fn entry(program: &str, level: &Level, target: &str, fields: &Fields) -> Vec<u8> {
    let mut entry = Vec::new();
    put(&mut entry, "MESSAGE", &line(fields));
    put(&mut entry, "PRIORITY", priority(level));
    put(&mut entry, "SYSLOG_IDENTIFIER", program);
    put(&mut entry, "CUTOVER_TARGET", target);
    for (name, value) in &fields.named {
        put(
            &mut entry,
            &format!("CUTOVER_{}", name.to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_")),
            value,
        );
    }
    entry
}

/// Of syslog.
fn priority(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// A field in the form that takes every value: name, line's end, length, value, line's end.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value.as_bytes()[..value.len().min(LONGEST)];
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tracing_subscriber::layer::SubscriberExt as _;

    /// Reads an entry as the journal does.
    fn read(mut entry: &[u8]) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        while !entry.is_empty() {
            let end = entry.iter().position(|byte| *byte == b'\n').unwrap();
            let length = usize::try_from(u64::from_le_bytes(entry[end + 1..end + 9].try_into().unwrap())).unwrap();
            let value = &entry[end + 9..end + 9 + length];
            all.insert(String::from_utf8_lossy(&entry[..end]).into(), String::from_utf8_lossy(value).into());
            entry = &entry[end + 10 + length..];
        }
        all
    }

    #[test]
    fn an_entry_has_its_own_fields_and_those_of_its_spans_in_the_message_and_beside_it() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let journal = Journal { program: "cutover-agent", socket: ours };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), || {
            let span = tracing::info_span!("order", upgrade = "prod-1", order = tracing::field::Empty, epoch = 3);
            span.record("order", "prod-1/2");
            span.in_scope(|| tracing::warn!(epoch = 4, state.dir = "/var\nlib", "it is late"));
        });
        let mut block = vec![0; 4096];
        let length = theirs.recv(&mut block).unwrap();
        let entry = read(&block[..length]);
        let field = |name: &str| entry.get(name).map(String::as_str);
        assert_eq!(field("MESSAGE"), Some("it is late epoch=4 state.dir=/var\nlib upgrade=prod-1 order=prod-1/2"));
        assert_eq!(field("CUTOVER_UPGRADE"), Some("prod-1"));
        assert_eq!(field("CUTOVER_ORDER"), Some("prod-1/2"));
        assert_eq!(field("CUTOVER_EPOCH"), Some("4"), "the event's own wins");
        assert_eq!(field("CUTOVER_STATE_DIR"), Some("/var\nlib"));
        assert_eq!((field("PRIORITY"), field("SYSLOG_IDENTIFIER")), (Some("4"), Some("cutover-agent")));
    }

    #[test]
    fn a_value_of_any_length_leaves_an_entry_that_fits() {
        let fields = Fields { message: "x".repeat(1 << 20), named: Vec::new() };
        assert!(entry("p", &Level::INFO, "t", &fields).len() < LONGEST + 1000);
    }
}
