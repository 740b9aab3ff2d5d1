//! Flags win over the environment, the environment over the file, the file over the default; of a repeated flag the last wins.

use crate::console;
use crate::flags::{Flag, Kind, STORAGE_NAME};
use crate::release::{Release, StorageCommands};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use yaml_rust2::{Yaml, YamlLoader};

/// The arguments, read.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    /// What is no flag: the command's path, then its arguments.
    pub words: Vec<String>,
    /// The flags, each with all its values in order.
    pub given: BTreeMap<String, Vec<String>>,
    /// `-h` or `--help`.
    pub help: bool,
}

/// A flag that cannot be read; the words up to it decide whose usage is shown.
#[derive(Clone, Debug)]
pub struct BadFlag {
    /// All words.
    pub words: Vec<String>,
    /// `unknown flag: --x`.
    pub message: String,
}

impl CommandLine {
    /// Reads the arguments by the flags that `release` has.
    ///
    /// # Errors
    /// The first flag that it does not have, that lacks its value or whose value is none of its kind.
    pub fn read(release: &Release, arguments: impl IntoIterator<Item = String>) -> Result<Self, BadFlag> {
        let mut line = Self::default();
        let mut bad = None;
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            if argument == "-h" || argument == "--help" {
                line.help = true;
            } else if let Some(flag) = argument.strip_prefix("--") {
                let (name, value) = match flag.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (flag, None),
                };
                match line.take(release, name, value, &mut arguments) {
                    Ok(()) => {}
                    Err(message) => bad = bad.or(Some(message)),
                }
            } else if argument.len() > 1 && argument.starts_with('-') {
                let letter = argument.chars().nth(1).unwrap_or('-');
                bad = bad.or(Some(format!("unknown shorthand flag: '{letter}' in {argument}")));
            } else {
                line.words.push(argument);
            }
        }
        match bad {
            Some(message) => Err(BadFlag { words: line.words, message }),
            None => Ok(line),
        }
    }

    fn take(
        &mut self,
        release: &Release,
        name: &str,
        value: Option<String>,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<(), String> {
        let of_init =
            Some(&*STORAGE_NAME).filter(|flag| flag.name == name && release.commands.storage == StorageCommands::Full);
        let flag = release.flag(name).or(of_init).ok_or_else(|| format!("unknown flag: --{name}"))?;
        let value = match (flag.kind, value) {
            (_, Some(value)) => value,
            (Kind::Bool, None) => "true".to_owned(),
            (Kind::Text | Kind::List | Kind::Number | Kind::Duration, None) => {
                rest.next().ok_or_else(|| format!("flag needs an argument: --{name}"))?
            }
        };
        if flag.kind == Kind::Bool && go_bool(&value).is_none() {
            return Err(format!(
                "invalid argument \"{value}\" for \"--{name}\" flag: strconv.ParseBool: parsing \"{value}\": invalid syntax"
            ));
        }
        if flag.hidden {
            console::err(&format!("Flag --{name} has been deprecated, SQLite is not supported from v2 on\n"));
        }
        self.given.entry(name.to_owned()).or_default().push(value);
        Ok(())
    }
}

/// The effective configuration of one run.
#[derive(Clone, Debug)]
pub struct Settings {
    release: &'static Release,
    given: BTreeMap<String, Vec<String>>,
    file: BTreeMap<String, Vec<String>>,
    /// The file that was read.
    pub file_path: Option<PathBuf>,
    /// The home folder.
    pub home: PathBuf,
}

impl Settings {
    /// Reads the file, and prints what the release prints where there is none.
    #[must_use]
    pub fn load(release: &'static Release, line: &CommandLine) -> Self {
        let home = home();
        let folders = [home.join(".numary"), PathBuf::from("/etc/numary")];
        let found = folders.iter().map(|folder| folder.join("numary.yaml")).find(|file| file.is_file());
        let read = match &found {
            None => Err(format!("Config File \"numary\" Not Found in \"[{} /etc/numary]\"", folders[0].display())),
            Some(path) => read_file(path).map_err(|error| format!("While parsing config: {error}")),
        };
        let file = read.unwrap_or_else(|message| {
            if release.config.announces_missing {
                console::out(&format!("loading config file: {message}\n"));
            }
            BTreeMap::new()
        });
        Self { release, given: line.given.clone(), file, file_path: found, home }
    }

    /// The ledger that `storage init` is told to create.
    #[must_use]
    pub fn init_name(&self) -> String {
        let given = self.given.get(&STORAGE_NAME.name).and_then(|values| values.last());
        given.unwrap_or(&STORAGE_NAME.default).to_owned()
    }

    /// The text of a key; empty for one that the release does not have.
    #[must_use]
    pub fn text(&self, key: &str) -> String {
        let Some(flag) = self.release.flag(key) else { return String::new() };
        if let Some(value) = self.given.get(key).and_then(|values| values.last()) {
            return value.clone();
        }
        if let Some(value) = environment(key) {
            return value;
        }
        match self.file.get(&key.to_lowercase()) {
            Some(values) => values.join(","),
            None => self.default_of(flag),
        }
    }

    /// The truth of a key; what cannot be read is false.
    #[must_use]
    pub fn bool(&self, key: &str) -> bool {
        go_bool(&self.text(key)).unwrap_or(false)
    }

    /// The list of a key: by commas in flags, by white space in the environment.
    #[must_use]
    pub fn list(&self, key: &str) -> Vec<String> {
        let commas = |text: &str| -> Vec<String> {
            text.split(',').map(str::to_owned).filter(|item| !item.is_empty()).collect()
        };
        if let Some(values) = self.given.get(key) {
            return values.iter().flat_map(|value| commas(value)).collect();
        }
        if let Some(value) = environment(key) {
            return value.split_whitespace().map(str::to_owned).collect();
        }
        match self.file.get(&key.to_lowercase()) {
            Some(values) => values.clone(),
            None => self.release.flag(key).map(|flag| commas(&flag.default)).unwrap_or_default(),
        }
    }

    /// `storage.dir`, with a leading `~/` resolved.
    #[must_use]
    pub fn storage_dir(&self) -> PathBuf {
        PathBuf::from(self.text("storage.dir"))
    }

    /// Writes the whole effective configuration, with `ledgers` in place of the configured list, as the releases do that persist
    /// it: to the file that was read, else to `$HOME/.numary/numary.yaml`. Mode 0644, secrets included.
    ///
    /// # Errors
    /// When the file cannot be written, for example without `$HOME/.numary`.
    pub fn persist(&self, ledgers: &[String]) -> std::io::Result<()> {
        let path = self.file_path.clone().unwrap_or_else(|| self.home.join(".numary/numary.yaml"));
        let mut root = Node::default();
        for flag in self.release.all_flags() {
            let value = if flag.name == "ledgers" {
                Value::List(ledgers.to_vec())
            } else {
                match flag.kind {
                    Kind::Bool | Kind::Number => Value::Plain(self.text(&flag.name)),
                    Kind::Text | Kind::Duration => Value::Text(self.text(&flag.name)),
                    Kind::List => Value::List(self.list(&flag.name)),
                }
            };
            root.put(&flag.name, value);
        }
        let mut text = String::new();
        root.write(0, &mut text);
        std::fs::write(path, text)
    }

    fn default_of(&self, flag: &Flag) -> String {
        match flag.default.strip_prefix("~/") {
            Some(rest) => self.home.join(rest).display().to_string(),
            None => flag.default.clone(),
        }
    }
}

/// The user's home: `HOME`, or what the user database says where that is empty.
#[must_use]
pub fn home() -> PathBuf {
    if let Some(home) = std::env::var_os("HOME").filter(|home| !home.is_empty()) {
        return PathBuf::from(home);
    }
    let uid = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let home =
        users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|user| user.get(2) == Some(&uid.as_str()));
    home.and_then(|user| user.get(5).map(PathBuf::from)).unwrap_or_else(|| PathBuf::from("/root"))
}

/// `NUMARY_STORAGE_DRIVER` for `storage.driver`; an empty variable counts as unset.
fn environment(key: &str) -> Option<String> {
    let name = format!("NUMARY_{}", key.to_uppercase().replace(['.', '-'], "_"));
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn read_file(path: &Path) -> Result<BTreeMap<String, Vec<String>>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let documents = YamlLoader::load_from_str(&text).map_err(|error| format!("yaml: {error}"))?;
    let mut flat = BTreeMap::new();
    if let Some(document) = documents.first() {
        flatten("", document, &mut flat)?;
    }
    Ok(flat)
}

/// Nested and dotted keys mean the same; keys are not told apart by case.
fn flatten(prefix: &str, value: &Yaml, into: &mut BTreeMap<String, Vec<String>>) -> Result<(), String> {
    if let Some(hash) = value.as_hash() {
        for (key, value) in hash {
            let key = scalar(key).to_lowercase();
            let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
            flatten(&key, value, into)?;
        }
    } else if prefix.is_empty() {
        if !value.is_null() {
            return Err("yaml: unmarshal errors: cannot unmarshal into map[string]interface {}".to_owned());
        }
    } else if let Some(list) = value.as_vec() {
        into.insert(prefix.to_owned(), list.iter().map(scalar).collect());
    } else {
        into.insert(prefix.to_owned(), vec![scalar(value)]);
    }
    Ok(())
}

fn scalar(value: &Yaml) -> String {
    if let Some(text) = value.as_str() {
        text.to_owned()
    } else if let Some(number) = value.as_i64() {
        number.to_string()
    } else if let Some(truth) = value.as_bool() {
        truth.to_string()
    } else if let Yaml::Real(text) = value {
        text.clone()
    } else {
        String::new()
    }
}

enum Value {
    Plain(String),
    Text(String),
    List(Vec<String>),
}

#[derive(Default)]
struct Node {
    value: Option<Value>,
    children: BTreeMap<String, Node>,
}

impl Node {
    fn put(&mut self, key: &str, value: Value) {
        let mut node = self;
        for part in key.split('.') {
            node = node.children.entry(part.to_owned()).or_default();
        }
        node.value = Some(value);
    }

    fn write(&self, depth: usize, out: &mut String) {
        let indent = "    ".repeat(depth);
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        for (key, child) in &self.children {
            match &child.value {
                Some(Value::Plain(text)) => out.push_str(&format!("{indent}{key}: {text}\n")),
                Some(Value::Text(text)) => out.push_str(&format!("{indent}{key}: {}\n", quoted(text))),
                Some(Value::List(items)) if items.is_empty() => out.push_str(&format!("{indent}{key}: []\n")),
                Some(Value::List(items)) => {
                    out.push_str(&format!("{indent}{key}:\n"));
                    for item in items {
                        out.push_str(&format!("{indent}- {}\n", quoted(item)));
                    }
                }
                None => out.push_str(&format!("{indent}{key}:\n")),
            }
            child.write(depth + 1, out);
        }
    }
}
