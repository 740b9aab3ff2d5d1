//! File to lines, each held against those before it.

use super::line::{Counts, FORM, Line, Sums, key};
use super::{Archive, ArchiveError};
use crate::seal::link;
use crate::{MAX_CHUNK_BYTES, MAX_DOCUMENT_BYTES, MAX_FACT_BYTES};
use cutover_vocabulary::{Digest, Epoch, UpgradeId};
use std::io::BufRead;

/// What a line says, parsed. Chains, digests and sizes were proved.
#[derive(Debug)]
pub(super) enum Item {
    Chunk(Vec<u8>),
    Fact { upgrade: UpgradeId, seq: u64, text: String },
    Document { key: crate::Key, value: Vec<u8> },
}

/// Reads an archive line by line.
pub(super) struct Reader<R> {
    from: R,
    line: u64,
    sums: Sums,
    highest_epoch: Epoch,
    /// The upgrade whose facts are being read, with its last fact's number and hash.
    open: Option<(UpgradeId, u64, Digest)>,
    ended: Option<UpgradeId>,
    last_key: Option<String>,
    over: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line.
    pub(super) fn new(from: R) -> Result<Self, ArchiveError> {
        let mut reader = Self {
            from,
            line: 0,
            sums: Sums::default(),
            highest_epoch: Epoch(0),
            open: None,
            ended: None,
            last_key: None,
            over: false,
        };
        match reader.read()? {
            Line::Store { form, highest_epoch } if form <= FORM => reader.highest_epoch = highest_epoch,
            Line::Store { form, .. } => {
                let why = format!("a newer Cutover wrote it: its form is {form}, this version reads {FORM}");
                return Err(reader.refuse(why));
            }
            Line::Chunk { .. }
            | Line::Fact { .. }
            | Line::Upgrade { .. }
            | Line::Document { .. }
            | Line::End { .. } => {
                return Err(
                    reader.refuse("the first line must say `store`: this is no archive, or its beginning is lost")
                );
            }
        }
        Ok(reader)
    }

    fn refuse(&self, why: impl Into<String>) -> ArchiveError {
        ArchiveError::Line { line: self.line, why: why.into() }
    }

    fn read(&mut self) -> Result<Line, ArchiveError> {
        self.line += 1;
        let mut text = Vec::new();
        self.from.read_until(b'\n', &mut text)?;
        if text.is_empty() {
            return Err(self.refuse("the file ends before its last line: it was cut"));
        }
        if text.last() != Some(&b'\n') {
            return Err(self.refuse("the file ends in the middle of a line: it was cut"));
        }
        let line: Line = serde_json::from_slice(&text).map_err(|error| self.refuse(format!("it is none: {error}")))?;
        if let Line::End { counts, sha256 } = &line {
            self.finish(*counts, *sha256)?;
        }
        self.sums.add(&line, &text);
        Ok(line)
    }

    /// What comes next. None after the last line, which was held against everything before it.
    pub(super) fn next(&mut self) -> Result<Option<Item>, ArchiveError> {
        while !self.over {
            match self.read()? {
                Line::Store { .. } => return Err(self.refuse("only the first line may say `store`")),
                Line::Chunk { digest, bytes } => {
                    let bytes = bytes.read().map_err(|why| self.refuse(why))?;
                    if Digest::of(&bytes) != digest {
                        return Err(self.refuse(format!("the bytes of chunk {digest} have another digest")));
                    }
                    self.fits("chunk", bytes.len(), MAX_CHUNK_BYTES)?;
                    return Ok(Some(Item::Chunk(bytes)));
                }
                Line::Fact { upgrade, seq, text } => {
                    self.fact(&upgrade, seq, &text)?;
                    return Ok(Some(Item::Fact { upgrade, seq, text }));
                }
                Line::Upgrade { id, facts, hash } => match self.open.take() {
                    Some(open) if open == (id.clone(), facts, hash) => self.ended = Some(id),
                    Some((open, seq, hash)) => {
                        let why =
                            format!("the facts before it are {seq} of upgrade {open} and end with {}", hash.short());
                        return Err(self.refuse(why));
                    }
                    None => return Err(self.refuse(format!("upgrade {id} has no facts before it"))),
                },
                Line::Document { key: text, value } => {
                    let key = key(&text).map_err(|why| self.refuse(why))?;
                    if self.last_key.as_ref().is_some_and(|last| *last >= text) {
                        return Err(self.refuse(format!("document {text} is twice in it, or not in order")));
                    }
                    self.last_key = Some(text);
                    let value = value.read().map_err(|why| self.refuse(why))?;
                    self.fits("document", value.len(), MAX_DOCUMENT_BYTES)?;
                    return Ok(Some(Item::Document { key, value }));
                }
                Line::End { .. } => self.over = true,
            }
        }
        Ok(None)
    }

    fn fact(&mut self, upgrade: &UpgradeId, seq: u64, text: &str) -> Result<(), ArchiveError> {
        let (before, hash) = match &self.open {
            Some((open, before, hash)) if open == upgrade => (*before, Some(*hash)),
            Some((open, before, _)) => {
                return Err(self.refuse(format!("upgrade {open} has no end after its fact {before}")));
            }
            None if self.ended.as_ref().is_some_and(|ended| ended >= upgrade) => {
                return Err(self.refuse(format!("upgrade {upgrade} is twice in it, or not in order")));
            }
            None => (0, None),
        };
        let found = link(before, hash, text).map_err(|why| self.refuse(format!("upgrade {upgrade}: {why}")))?;
        if found.seq != seq {
            return Err(self.refuse(format!("it is said to be fact {seq} and says that it is {}", found.seq)));
        }
        self.fits("fact", text.len(), MAX_FACT_BYTES)?;
        self.open = Some((upgrade.clone(), seq, Digest::of(text.as_bytes())));
        Ok(())
    }

    fn fits(&self, what: &str, bytes: usize, limit: usize) -> Result<(), ArchiveError> {
        if bytes > limit {
            return Err(self.refuse(format!("its {bytes} bytes are more than the {limit} that one {what} may have")));
        }
        Ok(())
    }

    fn finish(&mut self, counts: Counts, sha256: Digest) -> Result<(), ArchiveError> {
        if let Some((open, seq, _)) = &self.open {
            return Err(self.refuse(format!("upgrade {open} has no end after its fact {seq}")));
        }
        if counts != self.sums.counts {
            return Err(self.refuse(format!("it counts {counts}, and before it are {}", self.sums.counts)));
        }
        let whole = self.sums.whole();
        if sha256 != whole {
            let why = format!("everything before it has SHA-256 {whole}, and it says {sha256}: the file was altered");
            return Err(self.refuse(why));
        }
        let mut behind = [0];
        if self.from.read(&mut behind)? > 0 {
            self.line += 1;
            return Err(self.refuse("it lies behind the last one"));
        }
        Ok(())
    }

    pub(super) fn archive(self) -> Archive {
        Archive { highest_epoch: self.highest_epoch, counts: self.sums.counts, content: self.sums.content() }
    }
}

/// Reads all of an archive, and says what it holds.
///
/// # Errors
/// The first line that is not what it must be.
pub fn check(from: impl BufRead) -> Result<Archive, ArchiveError> {
    let mut reader = Reader::new(from)?;
    while reader.next()?.is_some() {}
    Ok(reader.archive())
}
