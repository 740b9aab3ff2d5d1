//! The command line: which command does what, what it prints and how it ends.

use crate::console::{self, Level};
use crate::faults::{Faults, Switch};
use crate::http;
use crate::release::{Logger, Release, RepeatedInit, StorageCommands};
use crate::settings::{CommandLine, Settings};
use crate::storage::postgres::{self, Schemas};
use crate::storage::sqlite::Files;
use crate::storage::{Cancel, Driver, Found, LockStrategy, RESERVED, Storage, StoreError, Stored};
use crate::usage;
use std::os::unix::fs::DirBuilderExt;
use std::time::Duration;

/// Runs the program as `release` with these arguments (without the program's name) and ends the process.
pub fn run(release: &'static Release, arguments: impl IntoIterator<Item = String>) -> ! {
    postgres::forget_pgoptions();
    console::send_log(release.logger);
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

fn hang() -> ! {
    loop {
        std::thread::park();
    }
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
            let faults = Faults::read(&self.release.version, &settings.storage_dir());
            if faults.names(Switch::HangCommand, "version") {
                hang();
            }
            let Release { version, date, commit, .. } = self.release;
            console::out(&format!("Version: {version} \nDate: {date} \nCommit: {commit} \n"));
            std::process::exit(0);
        }
        let opened = self.storage(&settings);
        let storage = opened.as_ref();
        self.complain(&settings, storage.driver());
        let faults = Faults::read(&self.release.version, &settings.storage_dir());
        if !faults.skips_pauses() {
            std::thread::sleep(Duration::from_millis(self.release.commands.sleep_millis));
        }
        match path.as_slice() {
            ["server", "start"] => http::serve(self.release, opened, settings, faults),
            ["storage", word] => {
                if faults.names(Switch::HangCommand, word) {
                    hang();
                }
                if faults.names(Switch::FailCommand, word) {
                    self.fail("simulated failure of the command");
                }
                self.note(storage, "Opening storage");
                let done = match (self.release.commands.storage, *word) {
                    (StorageCommands::InitOnly, _) => init_default(storage, &faults),
                    (StorageCommands::Full, "init") => self.init(&settings, storage, &faults),
                    (StorageCommands::Full, "list") => list(storage),
                    (StorageCommands::Full, "scan") => scan(storage),
                    (StorageCommands::Full, "delete") => delete(storage, arguments[0]),
                    (StorageCommands::Full, _) => self.upgrade(storage, &faults, arguments[0]),
                };
                match done {
                    Ok(()) => {
                        self.note(storage, "Closing storage");
                        std::process::exit(0)
                    }
                    Err(error) => self.fail_stored(&error),
                }
            }
            _ => {
                console::out(&usage::usage(self.release, &path));
                std::process::exit(0)
            }
        }
    }

    /// From 1.10.0 on the logger's lines come between those of a command, on standard output; which ones was not measured.
    fn note(&self, storage: &dyn Storage, what: &str) {
        match self.release.logger {
            Logger::Stderr => {}
            Logger::Stdout => console::log(Level::Info, what, &format!("driver={}", storage.driver().name())),
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
                if self.release.errors.codes {
                    console::log(Level::Error, &error.to_string(), "");
                }
                self.fail(&error.to_string())
            }
            StoreError::Refused(refusal) => {
                let code = if refusal.is_taken() { "CONSTRAINT_FAILED" } else { "UNKNOWN" };
                let code = if self.release.errors.codes { format!(" [{code}]") } else { String::new() };
                self.fail(&format!("{error}{code}"))
            }
            StoreError::Conflict { .. } | StoreError::InsufficientFund { .. } | StoreError::Cancelled => {
                self.fail(&error.to_string())
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

    /// The storage that the settings lead to; nothing is opened yet.
    fn storage(&self, settings: &Settings) -> Box<dyn Storage> {
        let driver = settings.text("storage.driver");
        match Driver::find(&driver) {
            Some(Driver::Sqlite) => {
                let files = Files::new(self.release, settings.storage_dir(), settings.text("storage.sqlite.db_name"));
                Box::new(files.locked(LockStrategy::of(settings)))
            }
            Some(Driver::Postgres) => {
                match Schemas::new(self.release, &settings.text("storage.postgres.conn_string")) {
                    Ok(schemas) => Box::new(schemas.locked(LockStrategy::of(settings))),
                    Err(why) => self.fail(&why),
                }
            }
            None if self.release.has_system_store() => console::panic_like_go(&format!("Unsupported driver: {driver}")),
            None => self.fail(&format!("unknown storage driver {driver}")),
        }
    }

    /// What the release says at every real command beside its work.
    fn complain(&self, settings: &Settings, driver: Driver) {
        if self.release.commands.sqlite_deprecated && driver == Driver::Sqlite {
            console::err(
                "WARNING: SQLite is being deprecated and will not be supported starting from the v2 of the Formance Ledger. \
                 Please use Postgres instead.\n",
            );
        }
        let telemetry = &self.release.telemetry;
        if telemetry.note.is_empty() || !settings.bool(&telemetry.enabled) || !settings.text(&telemetry.key).is_empty()
        {
            return;
        }
        if telemetry.logged {
            console::log(Level::Info, &telemetry.note, "");
        } else {
            console::err(&format!("{}\n", telemetry.note));
        }
    }

    fn init(&self, settings: &Settings, storage: &dyn Storage, faults: &Faults) -> Stored<()> {
        let name = settings.init_name();
        console::out(&format!("Creating ledger '{name}'..."));
        let migrated = register_and_migrate(storage, faults, &name)?;
        let ok = migrated || self.release.commands.repeated_init == RepeatedInit::Ok;
        console::out(if ok { " OK\r\n" } else { " Already initialized!\r\n" });
        Ok(())
    }

    /// Registers the name whatever it is: a ledger that does not exist is created.
    fn upgrade(&self, storage: &dyn Storage, faults: &Faults, name: &str) -> Stored<()> {
        if name == RESERVED {
            self.fail("reserved name");
        }
        let migrated = register_and_migrate(storage, faults, name)?;
        let outcome = if migrated { "migrated" } else { "left in place" };
        console::out(&format!("Storage '{name}' {outcome}\r\n"));
        Ok(())
    }
}

/// Up to 1.3.1, where it was never tried on PostgreSQL.
fn init_default(storage: &dyn Storage, faults: &Faults) -> Stored<()> {
    match storage.driver() {
        Driver::Sqlite => migrate(storage, faults, "default").map(drop),
        Driver::Postgres => {
            Err(StoreError::Panic("runtime error: invalid memory address or nil pointer dereference".to_owned()))
        }
    }
}

fn register_and_migrate(storage: &dyn Storage, faults: &Faults, name: &str) -> Stored<bool> {
    let system = storage.system()?;
    system.register(name)?;
    system.abandon();
    migrate(storage, faults, name)
}

/// Leaves the storage as the process does: it ends without closing it.
fn migrate(storage: &dyn Storage, faults: &Faults, name: &str) -> Stored<bool> {
    let mut ledger = storage.ledger(name)?;
    let migrated = ledger.migrate(faults, &Cancel::default());
    ledger.abandon();
    migrated
}

fn list(storage: &dyn Storage) -> Stored<()> {
    let system = storage.system()?;
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

/// Ends well though registering failed.
fn scan(storage: &dyn Storage) -> Stored<()> {
    let system = storage.system()?;
    for found in storage.find()? {
        let ledger = match found {
            Found::Ledger(ledger) => ledger,
            Found::Skipped(line) => {
                console::out(&line);
                continue;
            }
        };
        console::out(&format!("Registering ledger '{ledger}'\r\n"));
        match system.register(&ledger) {
            Ok(true) => console::out(&format!("Ledger '{ledger}' registered\r\n")),
            Ok(false) => console::out(&format!("Ledger '{ledger}' already registered\r\n")),
            Err(error) => console::out(&format!("Error registering ledger '{ledger}': {error}\r\n")),
        }
    }
    system.abandon();
    Ok(())
}

fn delete(storage: &dyn Storage, name: &str) -> Stored<()> {
    let system = storage.system()?;
    storage.delete(name)?;
    system.forget(name)?;
    system.abandon();
    console::out("Storage deleted!\n");
    Ok(())
}
