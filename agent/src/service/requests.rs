//! What an instance answers its clients, as its own request log tells.
//!
//! Every release writes a line for each request, up to 1.9.6 to standard error, from 1.10.0 to standard output (measured):
//! `time="…" level=info msg=Request ip=… latency=… method=GET path=/… status=200 user_agent=…`. So both are read.

use super::Role;
use super::launch::output_path;
use cutover_vocabulary::served::Served;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// How far back [`RequestLog::lately`] looks in each file.
const LATELY: u64 = 1 << 20;
/// What is kept of a line that has not ended yet; a longer one is no line of the request log.
const LONGEST: usize = 64 << 10;

/// Reads the request log of an instance's service as it grows.
#[derive(Debug)]
pub struct RequestLog {
    outputs: [Output; 2],
    served: Served,
}

/// One file of it.
#[derive(Debug)]
struct Output {
    path: PathBuf,
    at: u64,
    /// The beginning of a line whose end was not there yet.
    begun: Vec<u8>,
}

impl RequestLog {
    /// Of the instance whose files lie in `dir`, from this moment on.
    pub fn from_now(dir: &Path) -> Self {
        Self::from(dir, 0)
    }
    /// Of the instance whose files lie in `dir`, from a mebibyte before this moment on. The first line is perhaps half of one.
    pub fn lately(dir: &Path) -> Self {
        Self::from(dir, LATELY)
    }
    fn from(dir: &Path, before: u64) -> Self {
        let output = |stream| {
            let path = output_path(dir, Role::Service, stream);
            let length = std::fs::metadata(&path).map_or(0, |file| file.len());
            Output { path, at: length.saturating_sub(before), begun: Vec::new() }
        };
        Self { outputs: [output("stdout"), output("stderr")], served: Served::default() }
    }

    /// What was answered up to now. A file that cannot be read tells nothing.
    pub fn read(&mut self) -> Served {
        for output in &mut self.outputs {
            // Whoever rotates it tells us nothing; what was read before is counted.
            _ = output.read_on(&mut self.served);
        }
        self.served
    }
}

impl Output {
    fn read_on(&mut self, served: &mut Served) -> std::io::Result<()> {
        let mut file = File::open(&self.path)?;
        if file.metadata()?.len() < self.at {
            (self.at, self.begun) = (0, Vec::new());
        }
        file.seek(SeekFrom::Start(self.at))?;
        let mut block = vec![0; LONGEST];
        loop {
            let length = file.read(&mut block)?;
            if length == 0 {
                return Ok(());
            }
            self.at += length as u64;
            for piece in block[..length].split_inclusive(|byte| *byte == b'\n') {
                if self.begun.len() < LONGEST {
                    self.begun.extend_from_slice(piece);
                }
                if piece.ends_with(b"\n") {
                    if let Some(status) = status(&String::from_utf8_lossy(&self.begun)) {
                        served.requests = served.requests.saturating_add(1);
                        served.errors = served.errors.saturating_add(u32::from(status >= 500));
                    }
                    self.begun.clear();
                }
            }
        }
    }
}

/// The status that a line of the request log tells; none if it is another line. What a client wrote (path, user agent) stands in
/// quotes as soon as it holds a space, and what stands in quotes is passed over.
fn status(line: &str) -> Option<u16> {
    let (mut request, mut rest) = (false, line.trim());
    while !rest.is_empty() {
        let (field, behind) = rest.split_at(end_of_field(rest));
        rest = behind.trim_start();
        match field.split_once('=') {
            Some(("msg", message)) => request = message == "Request",
            Some(("status", status)) if request => return status.parse().ok(),
            Some(_) | None => {}
        }
    }
    None
}

/// Where the first field ends: at a space outside of quotes.
fn end_of_field(text: &str) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::{RequestLog, status};
    use cutover_vocabulary::served::Served;
    use std::io::Write as _;

    #[test]
    fn a_line_of_the_request_log_tells_its_status_and_no_other_line_does() {
        let line = |rest| format!("time=\"2022-05-01T10:00:00Z\" level=info {rest}\n");
        let told = |rest| status(&line(rest));
        assert_eq!(
            told("msg=Request ip=10.0.0.1 latency=\"231µs\" method=GET path=/_info status=200 user_agent=curl"),
            Some(200)
        );
        assert_eq!(told("msg=Request method=POST path=/main/transactions status=503 user_agent=\"a b\""), Some(503));
        assert_eq!(told("msg=\"telemetry enabled but no write key provided\" status=500"), None);
        assert_eq!(told("msg=Requested status=500"), None);
        assert_eq!(status(""), None);
        assert_eq!(status("panic: status=500"), None);
    }

    #[test]
    fn what_a_client_wrote_is_not_taken_for_a_status() {
        assert_eq!(
            status(r#"msg=Request path="/a status=500 \" status=501" status=404 user_agent="x status=502""#),
            Some(404)
        );
        assert_eq!(status(r#"msg=Request path="/never ended status=500"#), None);
    }

    #[test]
    fn a_log_is_counted_as_it_grows_once_and_from_both_outputs_whatever_way_it_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let append = |stream: &str, text: &str| {
            let path = dir.path().join(format!("service.{stream}"));
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
        };
        append("stderr", "msg=Request status=500\n");
        let (mut now, mut lately) = (RequestLog::from_now(dir.path()), RequestLog::lately(dir.path()));
        assert_eq!(now.read(), Served::default());
        assert_eq!(lately.read(), Served { requests: 1, errors: 1 });
        append("stderr", "msg=Request sta");
        assert_eq!(now.read(), Served::default());
        append("stderr", "tus=500\nmsg=Request status=409\n");
        append("stdout", "msg=Request status=201\n");
        assert_eq!(now.read(), Served { requests: 3, errors: 1 });
        assert_eq!(now.read(), Served { requests: 3, errors: 1 });
        std::fs::write(dir.path().join("service.stderr"), "msg=Request status=500\n").unwrap();
        assert_eq!(
            now.read(),
            Served { requests: 4, errors: 2 },
            "a file that was begun anew is read from its beginning"
        );
    }
}
