//! Questions to a binary: as whom, and in which surroundings.
//!
//! A unit's binary is asked as the unit's own user: it is somebody else's program, and the agent is root. Every command of the
//! ledger, even `version`, makes its storage directory first, so it gets a home and a storage directory of its own, which end with
//! the questions. What it prints goes to files in a folder of the agent's, where that user cannot lay a link. Nor does a question
//! outlive whoever asked it.
//!
//! A script that lies where a unit's binary should is not asked: it may start a server whatever its arguments are.

use super::ReleaseError;
use crate::files::{folder, io_error, open_folder};
use crate::ledger::cli::{Cli, harmless_environment};
use crate::settings::{Account, Settings};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::chown;
use std::path::Path;
use tempfile::{Builder, TempDir};

/// Where a binary is asked; gone with this value.
#[derive(Debug)]
pub struct Asking {
    account: Option<Account>,
    /// The agent's own.
    output: TempDir,
    /// The user's, beside the releases, whose folder all may enter.
    lent: Option<TempDir>,
}

impl Asking {
    /// Questions as that user; as the agent itself if none.
    ///
    /// # Errors
    /// [`ReleaseError::File`]: no folder can be made.
    pub fn new(settings: &Settings, account: Option<Account>) -> Result<Self, ReleaseError> {
        let scratch = settings.scratch();
        folder(&scratch)?;
        let make = |above: &Path| {
            Builder::new().prefix(".ask-").tempdir_in(above).map_err(io_error("make a folder in", above))
        };
        let output = make(&scratch)?;
        let lent = match account {
            None => None,
            Some(account) => {
                let above = settings.unpacked();
                open_folder(&above)?;
                let lent = make(&above)?;
                chown(lent.path(), Some(account.user), Some(account.group))
                    .map_err(io_error("give away", lent.path()))?;
                Some(lent)
            }
        };
        Ok(Self { account, output, lent })
    }

    /// A binary to ask. `program` must be one that the user may run.
    pub fn cli(&self, program: &Path) -> Cli {
        let home = self.lent.as_ref().unwrap_or(&self.output).path();
        Cli::new(program.to_owned(), harmless_environment(home), self.output.path().to_owned())
            .as_account(self.account)
            .killed_when_dropped()
    }
}

/// Whether a file is a script, which the kernel hands to another program.
pub fn is_script(path: &Path) -> bool {
    let mut head = [0; 2];
    File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok() && head == *b"#!"
}
