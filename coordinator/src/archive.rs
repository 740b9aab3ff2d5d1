//! The whole store to a file, and from one: `cutover-coordinator export` and `import`.

use crate::open_store;
use crate::settings::{Settings, StorePlace};
use cutover_store::archive::{Archive, ArchiveError, Counts, export, import};
use cutover_store::{Store, StoreError};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A store could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum CannotMove {
    /// The file is there, or cannot be made, read or written.
    #[error("could not {doing} {}: {}", path.display(), advice(source))]
    File {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The settings name a store that ends with this program.
    #[error(
        "store = \"memory\" is gone when a coordinator ends: there is nothing to export, and an import would be lost"
    )]
    Memory,
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive, or the store with it.
    #[error("{}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ArchiveError,
    },
}

fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() == std::io::ErrorKind::AlreadyExists {
        true => "a file is never written over; name another one",
        false => "check the folder, who may write there, and its space",
    }
}

async fn opened(settings: &Settings) -> Result<Arc<dyn Store>, CannotMove> {
    match &settings.store {
        StorePlace::Memory => Err(CannotMove::Memory),
        place @ (StorePlace::Sqlite(_) | StorePlace::Etcd(_)) => Ok(open_store(place).await?),
    }
}

/// Writes the store of these settings to a file that does not exist yet, readable for its owner alone. It is on the disk when this
/// returns; where it fails, what was written of it is removed.
///
/// # Errors
/// [`CannotMove`].
pub async fn export_store(settings: &Settings, path: &Path) -> Result<Counts, CannotMove> {
    let failed = |doing| move |source| CannotMove::File { doing, path: path.to_owned(), source };
    let store = opened(settings).await?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed("make"))?;
    let mut to = BufWriter::new(file);
    let exported = export(&*store, &settings.name, &mut to).await;
    store.depart().await;
    let written = match exported {
        Ok(Archive { counts, .. }) => to.get_ref().sync_all().map(|()| counts).map_err(failed("write")),
        Err(source) => Err(CannotMove::Archive { path: path.to_owned(), source }),
    };
    if written.is_err() {
        // What it says is the error before.
        let _ = std::fs::remove_file(path);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let counts = written?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("keep"))?;
    Ok(counts)
}

/// Fills the empty store of these settings with a file that [`export_store`] wrote.
///
/// # Errors
/// [`CannotMove`].
pub async fn import_store(settings: &Settings, path: &Path) -> Result<Counts, CannotMove> {
    let file = File::open(path).map_err(|source| CannotMove::File { doing: "read", path: path.to_owned(), source })?;
    let store = opened(settings).await?;
    let imported = import(&*store, &settings.name, BufReader::new(file)).await;
    store.depart().await;
    imported.map(|archive| archive.counts).map_err(|source| CannotMove::Archive { path: path.to_owned(), source })
}
