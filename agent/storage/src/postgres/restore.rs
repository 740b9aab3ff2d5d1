//! Putting back what a recovery point holds: in one transaction the migrated schema is renamed away and the old one is made
//! again under its name, so that at every moment the name stands for one whole ledger.
//!
//! The dump of a whole database restored over it would fail half way (the migration also wrote outside the ledger's schema),
//! and would roll back what other applications wrote.

use super::PostgresStorage;
use super::ident::{Ident, Literal, Sql};
use super::programs::Program;
use super::recovery::SYSTEM;
use super::{client::Value, dependents, system};
use crate::points::{self, Manifest};
use crate::{StorageError, digest, files};
use cutover_vocabulary::outcome::Restored;
use cutover_vocabulary::storage::{Dependent, LedgerDigest, RecoveryItem, RecoveryPoint};
use cutover_vocabulary::{Digest, LedgerName};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What the table `transactions` is called in a schema that was moved aside: `storage scan` takes every schema that has a
/// table of that name for a ledger.
const HIDDEN: &str = "transactions_moved_aside";

/// Longest name of a schema, in bytes.
const LONGEST: usize = 63;

/// What a ledger is, beside the point that was taken of it.
#[derive(Debug, PartialEq, Eq)]
enum Now {
    /// It holds what it held.
    AsItWas,
    /// It was not migrated, and holds this.
    NotMigrated(LedgerDigest),
    /// Anything else.
    Changed,
    /// There is no such schema.
    Gone,
}

/// Restores one item, if it is not what it was. The storage must be quiet and locked.
///
/// Killed anywhere: either the transaction committed or nothing happened, and again looks which. A statement of a killed
/// `psql` may go on in the server; [`crate::storage::Storage::quiet`] waits for it first.
pub(super) fn restore(
    storage: &PostgresStorage,
    point: &RecoveryPoint,
    aside: &Path,
    unrecorded: bool,
) -> Result<Restored, StorageError> {
    files::private_folder(aside)?;
    let manifest = points::checked(point)?;
    let schema = match &point.item {
        RecoveryItem::Ledger(name) => name.as_str(),
        RecoveryItem::System => SYSTEM,
    };
    remove_left_scripts(aside, schema)?;
    match &point.item {
        RecoveryItem::Ledger(name) => ledger(storage, name, &manifest, (aside, unrecorded)),
        RecoveryItem::System => system_store(storage, &manifest, aside),
    }
}

fn ledger(
    storage: &PostgresStorage,
    name: &LedgerName,
    manifest: &Manifest,
    (scratch, unrecorded): (&Path, bool),
) -> Result<Restored, StorageError> {
    let point = &manifest.point;
    let schema = name.as_str();
    let moved = match look(storage, name, manifest)? {
        Now::AsItWas => {
            let moved = last_moved(storage, schema, manifest)?;
            // Where an earlier run restored it and was killed before it could say so, this is the one that tells.
            let notes = if moved.is_some() { still_missing(storage, schema, manifest)? } else { Vec::new() };
            let moved_to = moved.map(shown);
            return Ok(Restored { changed: false, moved_to, digest: point.digest.clone(), notes });
        }
        // Somebody wrote to it since the point was taken. What they wrote is theirs; a migration that did not happen left
        // nothing to undo.
        Now::NotMigrated(digest) if !unrecorded => {
            return Ok(Restored { changed: false, moved_to: None, digest: Some(digest), notes: Vec::new() });
        }
        Now::Changed | Now::NotMigrated(_) => Some(free_name(storage, schema)?),
        Now::Gone => None,
    };
    let mut notes = put_back(storage, schema, moved.as_deref(), manifest, scratch)?;
    notes.extend(unpublished(storage, schema, manifest)?);
    if look(storage, name, manifest)? != Now::AsItWas {
        return Err(StorageError::NotProved {
            copy: schema.into(),
            original: point.place.clone().into(),
            what: "the restored schema does not hold what the recovery point's manifest says".to_owned(),
        });
    }
    Ok(Restored { changed: true, moved_to: moved.map(shown), digest: point.digest.clone(), notes })
}

fn look(storage: &PostgresStorage, name: &LedgerName, manifest: &Manifest) -> Result<Now, StorageError> {
    if !storage.has_schema(name.as_str())? {
        return Ok(Now::Gone);
    }
    let looked = storage.reading(name, |ledger| {
        // Migrations first: a migrated ledger that lost nothing has an equal digest.
        if ledger.migrations()? != manifest.point.migrations {
            return Ok(Now::Changed);
        }
        let digest = digest::digest(ledger)?;
        Ok(if Some(&digest) == manifest.point.digest.as_ref() { Now::AsItWas } else { Now::NotMigrated(digest) })
    });
    match looked {
        Err(StorageError::NotALedger { .. } | StorageError::Missing { .. }) => Ok(Now::Changed),
        other => other,
    }
}

/// The system store becomes what it was; one that was not there before goes aside.
fn system_store(storage: &PostgresStorage, manifest: &Manifest, scratch: &Path) -> Result<Restored, StorageError> {
    let now: Option<Digest> = system::contents(storage)?;
    if now == manifest.contents {
        let moved_to = last_moved(storage, SYSTEM, manifest)?.map(shown);
        return Ok(Restored { changed: false, moved_to, digest: None, notes: Vec::new() });
    }
    let moved = match now {
        Some(_) => Some(free_name(storage, SYSTEM)?),
        None => None,
    };
    let notes = put_back(storage, SYSTEM, moved.as_deref(), manifest, scratch)?;
    if system::contents(storage)? != manifest.contents {
        return Err(StorageError::NotProved {
            copy: SYSTEM.into(),
            original: manifest.point.place.clone().into(),
            what: "the restored system store does not hold what the recovery point's manifest says".to_owned(),
        });
    }
    Ok(Restored { changed: true, moved_to: moved.map(shown), digest: None, notes })
}

/// One transaction of `psql`: rename away, run the dump's statements, make again what depended on the tables.
fn put_back(
    storage: &PostgresStorage,
    schema: &str,
    moved: Option<&str>,
    manifest: &Manifest,
    scratch: &Path,
) -> Result<Vec<String>, StorageError> {
    let script = |name: &str| scratch.join(format!("{}{}{name}", scripts(schema), std::process::id()));
    let (before, dump, after) = (script(".before.sql"), script(".dump.sql"), script(".after.sql"));
    let (theirs, ours): (Vec<&Dependent>, Vec<&Dependent>) =
        manifest.dependents.iter().partition(|dependent| dependent.owner != storage.role());
    let run = || {
        let mut files_in_order = vec![&before];
        write(&before, &moving(storage, schema, moved, manifest)?)?;
        if manifest.point.sha256.is_some() {
            // Made by us first, for nobody else's eyes: it is every row in plain text.
            write(&dump, "")?;
            let mut args: Vec<OsString> = vec!["--no-password".into(), "--file".into(), dump.clone().into()];
            args.push(manifest.point.place.clone().into());
            Program::Restore.run(storage, "restore", args)?;
            files_in_order.push(&dump);
        }
        write(&after, &again(&ours))?;
        files_in_order.push(&after);
        let mut args: Vec<OsString> =
            ["-X", "-q", "--no-password", "--single-transaction", "-v", "ON_ERROR_STOP=1"].map(OsString::from).to_vec();
        for file in files_in_order {
            args.push("--file".into());
            args.push(file.into());
        }
        Program::Psql.run(storage, "restore", args)
    };
    let done = run();
    // They hold rows; the dump stays.
    for file in [&before, &dump, &after] {
        let _ = files::remove(file);
    }
    let mut notes = done?;
    // Made by us they would be ours: another owner's rights, and none of their grants.
    notes.extend(theirs.into_iter().map(to_be_made_again));
    Ok(notes)
}

fn to_be_made_again(Dependent { what, name, owner, .. }: &Dependent) -> String {
    format!("{what} {name} of role {owner} is to be made again by that role: its definition is in the point's manifest")
}

/// What depended on the tables when the point was taken and does not depend on those that were restored.
fn still_missing(storage: &PostgresStorage, schema: &str, manifest: &Manifest) -> Result<Vec<String>, StorageError> {
    let mut notes = Vec::new();
    if !manifest.dependents.is_empty() {
        let there = storage.looking(|client| dependents::find(client, schema))?;
        let is_there = |one: &&Dependent| {
            there.iter().any(|now| (&now.what, &now.name, &now.on) == (&one.what, &one.name, &one.on))
        };
        notes.extend(manifest.dependents.iter().filter(|one| !is_there(one)).map(to_be_made_again));
    }
    notes.extend(unpublished(storage, schema, manifest)?);
    Ok(notes)
}

/// What publications had when the point was taken and do not have of what was restored. Not added by us: a column list or a row
/// filter may go with it, and subscribers have the rows already.
fn unpublished(storage: &PostgresStorage, schema: &str, manifest: &Manifest) -> Result<Vec<String>, StorageError> {
    if manifest.published.is_empty() {
        return Ok(Vec::new());
    }
    let there = storage.looking(|client| dependents::published(client, schema, storage.server()))?;
    let missing = manifest.published.iter().filter(|one| !there.contains(one));
    let note = |one| {
        format!(
            "of {schema} as it was kept, {one}; as it was restored, it is not: the owner adds it and sees to subscribers"
        )
    };
    Ok(missing.map(note).collect())
}

/// The statements that move a schema aside. Two names change: the schema's, and that of the table that `storage scan` looks
/// for. The comment finds it again.
fn moving(
    storage: &PostgresStorage,
    schema: &str,
    moved: Option<&str>,
    manifest: &Manifest,
) -> Result<String, StorageError> {
    let mut text = String::from("SET LOCAL lock_timeout = '30s';\n");
    let Some(moved) = moved else { return Ok(text) };
    let (from, to) = (Ident::new(schema), Ident::new(moved));
    let note = Literal::new(&note(schema, manifest));
    let rename = Sql::with(
        "ALTER SCHEMA {0} RENAME TO {1};\nCOMMENT ON SCHEMA {1} IS {2};\n",
        &[(&from).into(), (&to).into(), (&note).into()],
    );
    text.push_str(rename.text());
    if schema == SYSTEM && storage.has_table(schema, "ledgers")? {
        // Renaming a schema locks no table; this is what another of ours would be seen by, and waits for.
        text.insert_str(0, "LOCK TABLE _system.ledgers IN ACCESS EXCLUSIVE MODE;\n");
    }
    if storage.has_table(schema, "transactions")? {
        let hidden = Ident::new(HIDDEN);
        let hide = Sql::with("ALTER TABLE {0}.transactions RENAME TO {1};\n", &[(&to).into(), (&hidden).into()]);
        text.push_str(hide.text());
    }
    Ok(text)
}

/// What marks a schema that was moved aside, for us and for people.
fn note(schema: &str, manifest: &Manifest) -> String {
    format!("moved aside by Cutover, upgrade {}: what {schema} held before it was restored", manifest.upgrade)
}

/// Other people's views and the like. The migration dropped some; those that it left still look at the tables that were
/// moved aside. In the order in which they were found, and each only if it can be: a savepoint keeps one that cannot be made
/// from undoing the restore.
fn again(dependents: &[&Dependent]) -> String {
    // The dump's own statements took the limit away.
    let mut text = String::from("SET LOCAL lock_timeout = '30s';\n");
    for Dependent { what, name, definition, .. } in dependents {
        let (body, name) = (Literal::new(definition), Literal::new(&format!("{what} {name}")));
        let block = Sql::with(
            "BEGIN EXECUTE {0}; EXCEPTION WHEN OTHERS THEN RAISE WARNING 'cutover: % was not made again: %', {1}, SQLERRM; END",
            &[(&body).into(), (&name).into()],
        );
        // As a literal: in dollar quotes a definition could end them.
        let block = Literal::new(block.text());
        text.push_str(Sql::with("DO {0};\n", &[(&block).into()]).text());
    }
    text
}

/// The schema that an earlier run of this upgrade moved aside, if any; the last.
fn last_moved(storage: &PostgresStorage, schema: &str, manifest: &Manifest) -> Result<Option<String>, StorageError> {
    let doing = "look for what was moved aside in";
    let client = storage.connect("restore")?;
    let rows = client.rows(
        doing,
        &Sql::fixed(
            "SELECT nspname::text FROM pg_catalog.pg_namespace \
             WHERE pg_catalog.obj_description(oid, 'pg_namespace') = $1 ORDER BY oid DESC LIMIT 1",
        ),
        &[Value::Text(&note(schema, manifest))],
    )?;
    rows.first().map(|row| client.get(doing, row, 0)).transpose()
}

/// A name that no schema has yet.
fn free_name(storage: &PostgresStorage, schema: &str) -> Result<String, StorageError> {
    for number in 1_u32..1000 {
        let ends = format!("_{number}");
        let mut name = format!("cutover_moved_{schema}");
        while name.len() + ends.len() > LONGEST {
            name.pop();
        }
        name.push_str(&ends);
        if !storage.has_schema(&name)? {
            return Ok(name);
        }
    }
    Err(StorageError::Refused {
        path: schema.into(),
        why: "a thousand schemas were moved aside from it already; drop those that nobody needs".to_owned(),
    })
}

fn shown(schema: String) -> String {
    format!("schema {schema}")
}

/// What the names of the files begin with that `psql` is given for a schema. The rest names a process.
fn scripts(schema: &str) -> String {
    format!("restore-{}-", Digest::of(schema.as_bytes()).short())
}

/// Removes what a killed run left: every row of the ledger in plain text. Nobody reads it any more: a `psql` that outlived its
/// worker has the worker's lock, and we would not be here.
fn remove_left_scripts(folder: &Path, schema: &str) -> Result<(), StorageError> {
    let beginning = scripts(schema);
    let failed = || StorageError::io("look into", folder);
    for entry in fs::read_dir(folder).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        if entry.file_name().to_string_lossy().starts_with(&beginning) {
            files::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// A file of its own, for nobody else's eyes.
fn write(path: &Path, text: &str) -> Result<(), StorageError> {
    files::remove(path)?;
    let mut new = OpenOptions::new();
    let written = new.write(true).create_new(true).mode(0o600).open(path);
    written.and_then(|mut file| file.write_all(text.as_bytes())).map_err(StorageError::io("write", path))
}
