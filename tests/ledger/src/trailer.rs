//! Which release a binary is: a few bytes behind the end of the ELF file. Every packed release so has a digest of its own,
//! though all are one program.

use crate::release::Release;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Ends every packed binary; before it stands one byte with the length of the version, before that the version.
const MARK: &[u8; 16] = b"\0numary-release\n";

/// The trailer that makes a binary that release.
#[must_use]
pub fn trailer(version: &str) -> Vec<u8> {
    let mut bytes = version.as_bytes().to_vec();
    bytes.push(u8::try_from(version.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(MARK);
    bytes
}

/// The version that a file carries; none without a trailer.
///
/// # Errors
/// When the file cannot be read.
pub fn version_of(path: &Path) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let tail = (MARK.len() as u64 + 1 + 32).min(length);
    file.seek(SeekFrom::Start(length - tail))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let Some(bytes) = bytes.strip_suffix(MARK.as_slice()) else { return Ok(None) };
    let Some((&count, bytes)) = bytes.split_last() else { return Ok(None) };
    let Some(start) = bytes.len().checked_sub(usize::from(count)) else { return Ok(None) };
    Ok(String::from_utf8(bytes[start..].to_vec()).ok())
}

/// The release that the running program is: its trailer's, or without one what `NUMARY_SIM_RELEASE` says, so that a test of all releases
/// need not copy the program as often.
#[must_use]
pub fn running() -> &'static Release {
    let version = version_of(Path::new("/proc/self/exe")).ok().flatten();
    version
        .or_else(|| std::env::var("NUMARY_SIM_RELEASE").ok())
        .and_then(|version| Release::find(&version))
        .unwrap_or_else(Release::develop)
}
