//! The lines of an archive, and what is summed up over them.

use crate::Key;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cutover_vocabulary::{Digest, Epoch, UpgradeId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io::Write;

/// The form of the file that this version writes, and the newest that it reads.
pub(super) const FORM: u32 = 1;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Line {
    Store { form: u32, highest_epoch: Epoch },
    Chunk { digest: Digest, bytes: Bytes },
    Fact { upgrade: UpgradeId, seq: u64, text: String },
    Upgrade { id: UpgradeId, facts: u64, hash: Digest },
    Document { key: String, value: Bytes },
    End { counts: Counts, sha256: Digest },
}

/// Text where it is one, as documents are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Bytes {
    Text(String),
    Base64(String),
}
impl Bytes {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Base64(STANDARD.encode(error.as_bytes())),
        }
    }
    pub(super) fn read(self) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Base64(text) => STANDARD.decode(text).map_err(|error| format!("its bytes are no base64: {error}")),
        }
    }
}

/// How much a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Upgrades.
    pub upgrades: u64,
    /// Facts of all of them.
    pub facts: u64,
    /// Documents of the registry.
    pub documents: u64,
    /// Chunks of evidence.
    pub chunks: u64,
}
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { upgrades, facts, documents, chunks } = self;
        write!(f, "{upgrades} upgrades with {facts} facts, {documents} documents, {chunks} chunks")
    }
}

/// What is summed up over lines, as they are written or read.
#[derive(Default)]
pub(super) struct Sums {
    whole: Sha256,
    content: Sha256,
    pub(super) counts: Counts,
}
impl Sums {
    /// A line with its newline.
    pub(super) fn add(&mut self, line: &Line, text: &[u8]) {
        self.whole.update(text);
        let counts = &mut self.counts;
        match line {
            Line::Store { .. } | Line::End { .. } => return,
            Line::Chunk { .. } => counts.chunks += 1,
            Line::Fact { .. } => counts.facts += 1,
            Line::Upgrade { .. } => counts.upgrades += 1,
            Line::Document { .. } => counts.documents += 1,
        }
        self.content.update(text);
    }
    /// Over everything so far.
    pub(super) fn whole(&self) -> Digest {
        Digest::from_bytes(self.whole.clone().finalize().into())
    }
    /// Over the lines between the first and the last.
    pub(super) fn content(&self) -> Digest {
        Digest::from_bytes(self.content.clone().finalize().into())
    }
}

/// Lines on their way to a file.
pub(super) struct Lines<'a> {
    to: &'a mut (dyn Write + Send),
    pub(super) sums: Sums,
}
impl<'a> Lines<'a> {
    pub(super) fn new(to: &'a mut (dyn Write + Send)) -> Self {
        Self { to, sums: Sums::default() }
    }
    pub(super) fn write(&mut self, line: &Line) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.sums.add(line, &text);
        self.to.write_all(&text)
    }
    /// The last line.
    pub(super) fn end(&mut self) -> std::io::Result<()> {
        let end = Line::End { counts: self.sums.counts, sha256: self.sums.whole() };
        self.write(&end)?;
        self.to.flush()
    }
}

/// A document's key.
pub(super) fn key(text: &str) -> Result<Key, String> {
    Key::new(text).map_err(|error| error.to_string())
}
