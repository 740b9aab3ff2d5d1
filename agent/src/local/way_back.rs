//! The way back by hand, as commands: each may be pasted by itself, all of them are one script for `sh -e`. What is checked stands
//! on a line of its own, for in a list of commands a failure would not end the script.
//!
//! A script that ended on the way is run again from its beginning: what one print moved aside it neither moves again nor writes
//! over, and what it has put back it leaves alone.

#[cfg(test)]
mod tests;

use super::{LocalError, line};
use crate::machine;
use crate::service::Role;
use crate::service::systemd::unit_of;
use crate::settings::{InstanceSettings, Settings};
use cutover_storage::points::Manifest;
use cutover_storage::sqlite::SqlitePlace;
use cutover_vocabulary::Digest;
use cutover_vocabulary::instance::Manager;
use cutover_vocabulary::storage::{RecoveryItem, StorageIdentity};
use std::path::Path;

/// The way back from one upgrade on this host. It touches the instances of that upgrade's deployment and no others.
pub(super) struct Back<'a> {
    pub(super) settings: &'a Settings,
    pub(super) upgrade: &'a str,
    /// Of the upgrade's deployment.
    pub(super) instances: Vec<&'a InstanceSettings>,
}

impl Back<'_> {
    /// On the host that keeps the recovery points: stop, restore, start what was there.
    pub(super) fn with_points(&self, text: &mut String, manifests: &[Manifest]) -> Result<(), LocalError> {
        line(
            text,
            format_args!(
                "to go back by hand, as the service's user or root; what was written since is lost (or run all of it with `sh -e`):"
            ),
        );
        self.stop(text);
        // Each print has names of its own: a second way back must not overwrite what the first one moved aside.
        let number = machine::now().as_millis();
        let aside = self.settings.recovery().join(self.upgrade).join(format!("aside-by-hand-{number}"));
        line(text, format_args!("  mkdir -p -m 0700 {}", quoted(&aside)));
        let mut looked_at = false;
        for (index, manifest) in manifests.iter().enumerate() {
            match &manifest.storage {
                StorageIdentity::Sqlite { directory, db_name, .. } => {
                    let Ok(place) = SqlitePlace::find(Path::new(directory), db_name) else {
                        let why = format!("{directory} was gone when this was printed: put it back, then print anew");
                        line(text, format_args!("  {}", fails(&why)));
                        continue;
                    };
                    if !looked_at {
                        nobody_at_work(text, place.directory());
                        looked_at = true;
                    }
                    put_file_back(text, &aside, manifest, &place.file(&manifest.point.item)?);
                }
                StorageIdentity::Postgres { system_identifier, database, .. } => {
                    if !looked_at {
                        same_database(text, system_identifier, database);
                        looked_at = true;
                    }
                    put_schema_back(text, &aside, &format!("{number}_{index}"), manifest);
                }
            }
        }
        self.start(text);
        Ok(())
    }

    /// On a host without recovery points: only what runs there changes, once the storage is what it was.
    pub(super) fn without_points(&self, text: &mut String) {
        let upgrade = self.upgrade;
        line(
            text,
            format_args!("\nto go back by hand: this host keeps no recovery point of upgrade {upgrade}. First, here:"),
        );
        self.stop(text);
        line(
            text,
            format_args!(
                "then restore on the host that keeps them (its `local status` lists them), unless nothing was migrated; a former \
                 version that starts on a migrated storage damages it. Only after that, here:"
            ),
        );
        self.start(text);
    }

    /// Where clients wrote beside the recovery points: the former version goes on with the storage as it is.
    pub(super) fn rolling(&self, text: &mut String) {
        let upgrade = self.upgrade;
        line(
            text,
            format_args!(
                "\nto go back by hand: upgrade {upgrade} rolls, and clients have written since these were taken, so nothing is \
                 restored. One host after the other. First, here:"
            ),
        );
        self.stop(text);
        line(text, format_args!("then the former version starts on the storage as it is. Only after that, here:"));
        self.start(text);
    }

    /// From a rejoin nothing leads back: the instance stays down.
    pub(super) fn rejoin(&self, text: &mut String) {
        let upgrade = self.upgrade;
        line(
            text,
            format_args!(
                "\nto break off by hand: upgrade {upgrade} brings instances to what the others run, and what they had before is older \
                 than the storage: NEVER start that again. They are stopped and stay down; the others serve. Here:"
            ),
        );
        self.stop(text);
    }

    fn stop(&self, text: &mut String) {
        let agent = agent(self.settings);
        line(text, format_args!("  {agent} takeover {} --note 'going back by hand'", self.upgrade));
        for instance in &self.instances {
            line(text, format_args!("  {agent} fence {}", instance.name));
            match instance.manager {
                // Which process it is then, the agent's record says.
                Manager::Process => line(text, format_args!("  {agent} stop {}", instance.name)),
                // A copy that is not there is stopped.
                Manager::Systemd => {
                    line(text, format_args!("  systemctl stop {}", unit_of(instance, Role::Service)));
                    line(text, format_args!("  systemctl stop {} || true", unit_of(instance, Role::Closed)));
                }
            }
        }
    }

    fn start(&self, text: &mut String) {
        let agent = agent(self.settings);
        for instance in &self.instances {
            // Whether it was switched, and to what from what, is looked at when this runs: an order that was in hand goes on.
            line(text, format_args!("  {agent} switch-back {} {}", self.upgrade, instance.name));
            line(text, format_args!("  {agent} unfence {}", instance.name));
            line(text, format_args!("  {agent} start {}", instance.name));
        }
    }
}

/// SQLite: the copy is checked and laid beside, what is there is moved aside with its log and journal (a log that outlived
/// its database would be replayed into the restored one), and the copy takes the name by a rename.
///
/// Again: what is done has a mark, and what lies aside is never written over: a name that is taken there gets a number. Nothing is
/// removed before what it became is on disk, and nothing takes a name that is still taken, also where somebody pastes on behind a line
/// that failed, into a shell that asks at every `mv`. The copy becomes the service's in a folder that is ours alone, and is never moved
/// into what a name leads to: in the service's own folder a link might take root elsewhere.
fn put_file_back(text: &mut String, aside: &Path, manifest: &Manifest, file: &Path) {
    line(text, format_args!("  # {}", manifest.point.item));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let (in_folder, in_upgrade) = (file.parent().unwrap_or(Path::new("/")), aside.parent().unwrap_or(Path::new("/")));
    let [new, done] = [".new", ".done"].map(|ending| quoted(&aside.join(format!("{name}{ending}"))));
    let beside = quoted(&file.with_file_name(format!("{name}.by-hand")));
    let (at, folder, aside) = (quoted(file), quoted(in_folder), quoted(aside));
    let all = ["", "-wal", "-shm", "-journal"].map(|ending| format!("{name}{ending}"));
    let digest = check_copy(text, manifest);
    if digest.is_some() {
        let copy = quoted(Path::new(&manifest.point.place));
        line(text, format_args!("  [ -e {done} ] || command cp {copy} {new}"));
        // Its owner and mode are those of the file, or of what this print or an earlier one moved aside.
        line(text, format_args!("  [ -e {done} ] || chown --reference={folder} {new}"));
        let like = format!("{}/aside-by-hand-*/{} {at}", quoted(in_upgrade), shell(&name));
        for set in ["chown", "chmod"] {
            let set = format!("if [ ! -e {done} ] && [ -f \"$f\" ]; then {set} --reference=\"$f\" {new}; fi");
            line(text, format_args!("  for f in {like}; do {set}; done"));
        }
        line(text, format_args!("  [ -e {done} ] || command mv -fT {new} {beside}"));
        line(text, format_args!("  sync"));
    }
    let cp = |how: &str| format!("command cp {how} --backup=numbered {folder}/\"$f\" {aside}/");
    let away = format!("{{ {} 2>/dev/null || {}; }} && sync && command rm -f {folder}/\"$f\"", cp("-al"), cp("-a"));
    let each = all.iter().map(|name| shell(name)).collect::<Vec<_>>().join(" ");
    line(
        text,
        format_args!("  for f in {each}; do if [ ! -e {done} ] && [ -e {folder}/\"$f\" ]; then {away}; fi; done"),
    );
    for name in &all {
        let still =
            fails(&format!("{name} is still in its place: see why it was not moved aside, then run this again"));
        line(text, format_args!("  [ -e {done} ] || [ ! -e {} ] || {still}", quoted(&in_folder.join(name))));
    }
    let gone: Vec<String> = all.iter().map(|name| format!("[ ! -e {} ]", quoted(&in_folder.join(name)))).collect();
    let put = match digest {
        Some(digest) => format!(" && echo '{digest}  '{beside} | sha256sum -c && command mv -fT {beside} {at}"),
        None => String::new(),
    };
    let not = fails(&format!("{name} is not what it was: run this again"));
    line(text, format_args!("  [ -e {done} ] || {{ {}{put} && sync && : > {done}; }} || {not}", gone.join(" && ")));
    line(text, format_args!("  sync"));
}

/// A worker of an order that was taken over ends by itself, and holds the storage's lock until then.
fn nobody_at_work(text: &mut String, folder: &Path) {
    let lock = quoted(&folder.join(".cutover.lock"));
    let still = fails("a worker of the upgrade still works there: wait until it has ended, then run this again");
    line(text, format_args!("  if [ -e {lock} ]; then flock -n {lock} true || {still}; fi"));
}

/// A command that says why it fails, for the script ends there.
fn fails(why: &str) -> String {
    format!("{{ echo {} >&2; false; }}", shell(why))
}

/// The copy is the one that was proved, with this digest. None: there is none, for the item did not exist.
fn check_copy(text: &mut String, manifest: &Manifest) -> Option<Digest> {
    let digest = manifest.point.sha256?;
    line(text, format_args!("  echo '{digest}  '{} | sha256sum -c", quoted(Path::new(&manifest.point.place))));
    Some(digest)
}

/// PostgreSQL: no secret is printed, so whoever runs it says how to connect; that it is the database which was kept is looked at.
fn same_database(text: &mut String, system_identifier: &str, database: &str) {
    line(
        text,
        format_args!(
            "  : \"${{PGHOST:?first export PGHOST, PGPORT, PGUSER, PGDATABASE and PGPASSWORD as the ledger connects, with its own role}}\""
        ),
    );
    let sql = "SELECT system_identifier || '/' || current_database() FROM pg_control_system()";
    let wanted = shell(&format!("{system_identifier}/{database}"));
    line(text, format_args!("  [ \"$(psql -X -Atc {})\" = {wanted} ]", shell(sql)));
    line(text, format_args!("  # nobody else is there: the instances of all hosts are stopped"));
    // Of sessions of other roles a role without rights sees no more than that they are there; the server's own have no role. A
    // number, because a query that failed must not pass for nobody.
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
               AND usesysid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'";
    line(text, format_args!("  [ \"$(psql -X -Atc {})\" = 0 ]", shell(sql)));
}

/// PostgreSQL: a schema that records other migrations than were kept is moved aside and the one that was kept takes its name, in
/// one transaction. The table that `storage scan` takes for a ledger is renamed too.
///
/// Again: what is done has a mark, for what the former release then adds to a schema is no reason to move it aside once more. Without
/// the mark, a schema that was put back records what was kept; of one that records nothing it tells that another lies aside.
fn put_schema_back(text: &mut String, aside: &Path, number: &str, manifest: &Manifest) {
    let point = &manifest.point;
    line(text, format_args!("  # {}", point.item));
    let schema = match &point.item {
        RecoveryItem::Ledger(name) => name.as_str(),
        RecoveryItem::System => "_system",
    };
    // The numbers first: of a name that is too long PostgreSQL keeps the beginning.
    let moved = format!("by_hand_{number}_{schema}");
    let (name, moved_name) = (ident(schema), ident(&moved));
    let mut rename = format!("ALTER SCHEMA {name} RENAME TO {moved_name};");
    if let RecoveryItem::Ledger(_) = &point.item {
        rename += &format!(" ALTER TABLE {moved_name}.transactions RENAME TO transactions_moved_aside;");
    }
    let guard = match (&point.item, &point.migrations.0) {
        (RecoveryItem::Ledger(_), Some(kept)) => {
            let recorded = "coalesce(string_agg(version::text, ',' ORDER BY version::bigint), '')";
            let sql = format!("SELECT 'records ' || {recorded} FROM {name}.migrations");
            let kept: Vec<String> = kept.iter().map(ToString::to_string).collect();
            let kept = format!("records {}", kept.join(","));
            format!("if [ \"$(psql -X -Atc {})\" != {} ]; then ", shell(&sql), shell(&kept))
        }
        (RecoveryItem::Ledger(_), None) | (RecoveryItem::System, _) => {
            let sql = format!(
                "SELECT count(*) FROM pg_namespace WHERE nspname = {} AND NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = {}::name)",
                literal(schema),
                literal(&moved)
            );
            // A query that failed must not pass for nothing to do.
            format!("if [ \"$(psql -X -Atc {})\" != 0 ]; then ", shell(&sql))
        }
    };
    let psql = "psql -X -q -o /dev/null --single-transaction -v ON_ERROR_STOP=1";
    let [done, file] = [".done", ".sql"].map(|ending| quoted(&aside.join(format!("{schema}{ending}"))));
    let mut put_back = format!("{psql} -c {}", shell(&rename));
    let copied = check_copy(text, manifest).is_some();
    if copied {
        line(text, format_args!("  [ -e {done} ] || pg_restore --file={file} {}", quoted(Path::new(&point.place))));
        put_back += &format!(" -f {file}");
    }
    let not = fails(&format!("{schema} was not put back: see to what is said above, then run this again"));
    line(text, format_args!("  [ -e {done} ] || {{ {guard}{put_back}; fi && : > {done}; }} || {not}"));
    if copied {
        line(text, format_args!("  command rm -f {file}"));
    }
    line(text, format_args!("  sync"));
}

/// How this program is called with these settings.
pub(super) fn agent(settings: &Settings) -> String {
    format!("cutover-agent local --settings {}", quoted(&settings.file))
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    shell(&path.to_string_lossy())
}

/// A text as a shell takes it.
fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A name as PostgreSQL takes it.
fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as PostgreSQL takes it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
