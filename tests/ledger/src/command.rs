//! The command line: which command does what, what it prints and how it ends.

use crate::console::{self, Level};
use crate::faults::{Faults, Switch};
use crate::http;
use crate::release::{Release, StorageCommands};
use crate::settings::{CommandLine, Settings};
use crate::storage::system::{RESERVED, SystemStore};
use crate::storage::{Cancel, Place, StoreError, Stored, migrate};
use crate::usage;
use std::os::unix::fs::DirBuilderExt;

/// Runs the program as `release` with these arguments (without the program's name) and ends the process.
pub fn run(release: &'static Release, arguments: impl IntoIterator<Item = String>) -> ! {
    let line = match CommandLine::read(release, arguments) {
        Ok(line) => line,
        Err(bad) => {
            let words: Vec<&str> = bad.words.iter().map(String::as_str).collect();
            let (path, _) = resolve(release, &words);
            usage::fail(release, &path, &bad.message)
        }
    };
    let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
    let (path, rest) = resolve(release, &words);
    if let ([], [unknown, ..]) = (path.as_slice(), rest) {
        usage::fail_unknown(unknown);
    }
    let prints_usage = line.help || matches!(path.as_slice(), [] | ["help"] | ["server"] | ["storage"]);
    if prints_usage {
        console::out(&usage::usage(release, &path));
        std::process::exit(0);
    }
    Command { release, line: line.clone(), path: path.iter().map(|word| (*word).to_owned()).collect() }.run(rest)
}

/// Splits the words into the longest known path and the rest.
fn resolve<'a, 'b>(release: &Release, words: &'b [&'a str]) -> (Vec<&'a str>, &'b [&'a str]) {
    let mut path = Vec::new();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        if !usage::children(release, &path).iter().any(|command| command.name == *word) {
            break;
        }
        path.push(*word);
        rest = after;
    }
    (path, rest)
}

struct Command {
    release: &'static Release,
    line: CommandLine,
    path: Vec<String>,
}

impl Command {
    fn run(self, arguments: &[&str]) -> ! {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        if path == ["storage", "upgrade"] || path == ["storage", "delete"] {
            self.exactly_one(arguments);
        }
        let settings = Settings::load(self.release, &self.line);
        self.create_storage_dir(&settings);
        if path == ["version"] {
            let Release { version, date, commit, .. } = self.release;
            console::out(&format!("Version: {version} \nDate: {date} \nCommit: {commit} \n"));
            std::process::exit(0);
        }
        self.refuse_other_drivers(&settings);
        if let Some(note) = self.release.telemetry_note
            && settings.bool("segment-enabled")
            && settings.text("segment-write-key").is_empty()
        {
            console::err(&format!("{note}\n"));
        }
        let place = Place { dir: settings.storage_dir(), db_name: settings.text("storage.sqlite.db_name") };
        let faults = Faults::read(self.release.version, &place.dir);
        match path.as_slice() {
            ["server", "start"] => http::serve(self.release, settings, faults, place),
            ["storage", word] => {
                if faults.names(Switch::HangCommand, word) {
                    loop {
                        std::thread::park();
                    }
                }
                if faults.names(Switch::FailCommand, word) {
                    self.fail("simulated failure of the command");
                }
                let done = match (self.release.storage, *word) {
                    (StorageCommands::InitOnly, _) => {
                        migrate_ledger(self.release, &place, "default", &faults).map(drop)
                    }
                    (StorageCommands::Full, "init") => self.init(&settings, &place, &faults),
                    (StorageCommands::Full, "list") => list(&place),
                    (StorageCommands::Full, "scan") => scan(&place),
                    (StorageCommands::Full, "delete") => delete(&place, arguments[0]),
                    (StorageCommands::Full, _) => self.upgrade(&place, &faults, arguments[0]),
                };
                match done {
                    Ok(()) => std::process::exit(0),
                    Err(error) => self.fail_stored(&error),
                }
            }
            _ => {
                console::out(&usage::usage(self.release, &path));
                std::process::exit(0)
            }
        }
    }

    fn fail(&self, message: &str) -> ! {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        usage::fail(self.release, &path, message)
    }

    fn fail_stored(&self, error: &StoreError) -> ! {
        match error {
            StoreError::Panic(message) => console::panic_like_go(message),
            StoreError::Migration { .. } | StoreError::Unreadable(_) => {
                console::log(Level::Error, &error.to_string(), "");
                self.fail(&error.to_string())
            }
            StoreError::Sqlite(_)
            | StoreError::Conflict { .. }
            | StoreError::InsufficientFund { .. }
            | StoreError::Cancelled => {
                let code = if self.release.error_codes { " [UNKNOWN]" } else { "" };
                self.fail(&format!("{error}{code}"))
            }
        }
    }

    fn exactly_one(&self, arguments: &[&str]) {
        if arguments.len() != 1 {
            self.fail(&format!("accepts 1 arg(s), received {}", arguments.len()));
        }
    }

    /// Every real command creates `storage.dir` first, `version` too, and for PostgreSQL too.
    fn create_storage_dir(&self, settings: &Settings) {
        let dir = settings.storage_dir();
        if let Err(error) = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir) {
            // Go prints the system's words alone, in lower case, without the number that Rust adds.
            let text = error.to_string().to_lowercase();
            let why = text.split(" (os error").next().unwrap_or_default();
            self.fail(&format!("creating storage directory: mkdir {}: {why}", dir.display()));
        }
    }

    fn refuse_other_drivers(&self, settings: &Settings) {
        let driver = settings.text("storage.driver");
        if driver == "sqlite" {
            return;
        }
        if driver == "postgres" {
            self.fail("the simulator keeps no PostgreSQL storage yet");
        }
        if self.release.system_store {
            console::panic_like_go(&format!("Unsupported driver: {driver}"));
        }
        self.fail(&format!("unknown storage driver {driver}"));
    }

    fn init(&self, settings: &Settings, place: &Place, faults: &Faults) -> Stored<()> {
        let name = settings.init_name();
        console::out(&format!("Creating ledger '{name}'..."));
        let migrated = self.register_and_migrate(place, faults, &name)?;
        console::out(if migrated { " OK\r\n" } else { " Already initialized!\r\n" });
        Ok(())
    }

    /// Registers the name whatever it is: a ledger that does not exist is created.
    fn upgrade(&self, place: &Place, faults: &Faults, name: &str) -> Stored<()> {
        if name == RESERVED {
            self.fail("reserved name");
        }
        let migrated = self.register_and_migrate(place, faults, name)?;
        let outcome = if migrated { "migrated" } else { "left in place" };
        console::out(&format!("Storage '{name}' {outcome}\r\n"));
        Ok(())
    }

    fn register_and_migrate(&self, place: &Place, faults: &Faults, name: &str) -> Stored<bool> {
        let system = SystemStore::open(place)?;
        system.register(name)?;
        system.abandon();
        migrate_ledger(self.release, place, name, faults)
    }
}

/// Leaves the file as the process does: it ends without closing it, so a file in WAL mode keeps the migration in its `-wal`.
fn migrate_ledger(release: &Release, place: &Place, name: &str, faults: &Faults) -> Stored<bool> {
    let mut connection = place.open(release, name)?;
    let migrated = migrate::initialise(&mut connection, release, name, faults, &Cancel::default());
    std::mem::forget(connection);
    migrated
}

fn list(place: &Place) -> Stored<()> {
    let system = SystemStore::open(place)?;
    let ledgers = system.ledgers()?;
    system.abandon();
    if ledgers.is_empty() {
        console::out("No ledger found.\n");
        return Ok(());
    }
    console::out("Ledgers:\n");
    for ledger in ledgers {
        console::out(&format!("- {ledger}\n"));
    }
    Ok(())
}

/// Takes the part of a file's name up to the first `_` for the database's name: where that holds a `_` itself, nothing matches.
fn scan(place: &Place) -> Stored<()> {
    let system = SystemStore::open(place)?;
    let entries = std::fs::read_dir(&place.dir).map_err(|error| StoreError::Unreadable(error.to_string()))?;
    let mut files: Vec<String> =
        entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name().to_string_lossy().into_owned())).collect();
    files.sort();
    for file in files {
        let Some(stem) = file.strip_suffix(".db") else {
            console::out(&format!("Skip file {file}\n"));
            continue;
        };
        let Some((db_name, ledger)) = stem.split_once('_') else {
            console::out(&format!("Skip file {file} : Bad name\n"));
            continue;
        };
        if db_name != place.db_name {
            console::out(&format!("Skip file {file} : DB name not mathing\n"));
            continue;
        }
        if ledger == RESERVED {
            continue;
        }
        console::out(&format!("Registering ledger '{ledger}'\r\n"));
        match system.register(ledger) {
            Ok(true) => console::out(&format!("Ledger '{ledger}' registered\r\n")),
            Ok(false) => console::out(&format!("Ledger '{ledger}' already registered\r\n")),
            Err(error) => console::out(&format!("Error registering ledger '{ledger}': {error}\r\n")),
        }
    }
    system.abandon();
    Ok(())
}

/// Works for a name that is registered or not; what fails is the missing file.
fn delete(place: &Place, name: &str) -> Stored<()> {
    let system = SystemStore::open(place)?;
    let file = place.file(name);
    std::fs::remove_file(&file)
        .map_err(|_| StoreError::Unreadable(format!("remove {}: no such file or directory", file.display())))?;
    system.forget(name)?;
    system.abandon();
    console::out("Storage deleted!\n");
    Ok(())
}
