//! Environment files of services, and keeping what is secret in an environment out of messages.

use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// An environment file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// It cannot be read.
    #[error("cannot read the environment file {}: {source}; check the path and who may read it", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A line is no `KEY=VALUE`.
    #[error("{} line {line} is not KEY=VALUE", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1; not quoted, for it may hold a secret.
        line: usize,
    },
}

/// Reads `KEY=VALUE` lines as systemd's `EnvironmentFile` does for plain values: empty lines and lines that begin with `#`
/// or `;` are comments, one pair of quotes around the value is removed.
///
/// # Errors
/// [`EnvironmentError`].
pub fn read_env_file(path: &Path) -> Result<BTreeMap<String, SecretString>, EnvironmentError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| EnvironmentError::Unreadable { path: path.to_owned(), source })?;
    let mut all = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let malformed = || EnvironmentError::Malformed { path: path.to_owned(), line: index + 1 };
        let (key, value) = line.split_once('=').ok_or_else(malformed)?;
        let key = key.trim();
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(malformed());
        }
        let value = value.trim();
        // systemd would read on in the next line.
        let opened =
            ['"', '\''].iter().any(|quote| value.starts_with(*quote) && (value.len() < 2 || !value.ends_with(*quote)));
        if value.ends_with('\\') || opened {
            return Err(malformed());
        }
        let bare =
            ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value);
        all.insert(key.to_owned(), bare.to_owned().into());
    }
    Ok(all)
}

/// Variables and flags whose values are known to be no secret, so that messages may show them.
const HARMLESS: [&str; 22] = [
    "HOME",
    "PATH",
    "USER",
    "LANG",
    "TZ",
    "SHELL",
    "LOGNAME",
    "PWD",
    "NUMARY_DEBUG",
    "NUMARY_STORAGE_DRIVER",
    "NUMARY_STORAGE_DIR",
    "NUMARY_STORAGE_SQLITE_DB_NAME",
    "NUMARY_STORAGE_CACHE",
    "NUMARY_SERVER_HTTP_BIND_ADDRESS",
    "NUMARY_UI_HTTP_BIND_ADDRESS",
    "NUMARY_LEDGERS",
    "NUMARY_PERSIST_CONFIG",
    "NUMARY_LOCK_STRATEGY",
    "NUMARY_COMMIT_POLICY",
    "NUMARY_SEGMENT_ENABLED",
    "NUMARY_TELEMETRY_ENABLED",
    "NUMARY_CACHE_ENABLED",
];

/// A value shorter than this is not taken out of messages: it would take words out of them.
const SHORTEST_SECRET: usize = 4;

/// Takes a service's secrets out of what its processes print before anybody sees it.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Vec<SecretString>,
}

impl Redactor {
    /// Everything in arguments and environment that is not known to be harmless counts as a secret, and of a connection
    /// string its password and user info too: the ledger prints parts of it in its errors.
    pub fn of<'a>(
        args: &[SecretString],
        environment: impl IntoIterator<Item = (&'a String, &'a SecretString)>,
    ) -> Self {
        let mut secrets = Vec::new();
        let mut add = |value: &str| {
            if value.len() >= SHORTEST_SECRET {
                secrets.push(SecretString::from(value.to_owned()));
            }
            if let Some((_, rest)) = value.split_once("://")
                && let Some((user_info, _)) = rest.rsplit_once('@')
                && let Some((_, password)) = user_info.split_once(':')
                && password.len() >= SHORTEST_SECRET
            {
                secrets.push(SecretString::from(password.to_owned()));
            }
            for word in value.split_whitespace() {
                if let Some(password) = word.strip_prefix("password=").filter(|text| text.len() >= SHORTEST_SECRET) {
                    secrets.push(SecretString::from(password.to_owned()));
                }
            }
        };
        for (key, value) in environment {
            if !HARMLESS.contains(&key.as_str()) && !key.starts_with("NUMARY_SIM_") {
                add(value.expose_secret());
            }
        }
        let mut flag: Option<String> = None;
        for arg in args {
            let arg = arg.expose_secret();
            match (arg.strip_prefix("--"), flag.take()) {
                (Some(text), _) => match text.split_once('=') {
                    Some((name, value)) => {
                        if !harmless_flag(name) {
                            add(value);
                        }
                    }
                    None => flag = Some(text.to_owned()),
                },
                (None, Some(name)) => {
                    if !harmless_flag(&name) {
                        add(arg);
                    }
                }
                (None, None) => {}
            }
        }
        // The longest first: a password inside a connection string is gone with it.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        Self { secrets }
    }

    /// The text without the secrets.
    pub fn clean(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.expose_secret(), "[secret]"))
    }
}

/// A command's arguments for people: values of flags that are not known to be harmless are not shown.
pub fn shown_arguments(args: &[String]) -> String {
    let mut shown = Vec::new();
    let mut hidden = false;
    for arg in args {
        let flag = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'));
        let text = match flag.map(|flag| flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value))))
        {
            Some((name, value)) => {
                let harmless = harmless_flag(name);
                hidden = value.is_none() && !harmless;
                match value {
                    Some(_) if !harmless => format!("--{name}=[secret]"),
                    Some(_) | None => arg.clone(),
                }
            }
            None if std::mem::take(&mut hidden) => "[secret]".to_owned(),
            None => arg.clone(),
        };
        shown.push(text);
    }
    shown.join(" ")
}

fn harmless_flag(name: &str) -> bool {
    let variable = format!("NUMARY_{}", name.to_uppercase().replace(['.', '-'], "_"));
    HARMLESS.contains(&variable.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_arguments_only_harmless_values_are_shown() {
        let shown = |args: &[&str]| shown_arguments(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>());
        let args =
            ["server", "start", "--storage.driver=postgres", "--storage.postgres.conn_string=postgres://u:pw@h/d"];
        assert_eq!(shown(&args), "server start --storage.driver=postgres --storage.postgres.conn_string=[secret]");
        assert_eq!(shown(&["--auth-basic-credentials", "u:pw", "server"]), "--auth-basic-credentials [secret] server");
        assert_eq!(shown(&["--storage.dir", "/data", "$OPTIONS"]), "--storage.dir /data $OPTIONS");
    }

    #[test]
    fn a_connection_string_its_password_and_an_unknown_variable_are_taken_out_and_a_folder_is_not() {
        let secret = |text: &str| SecretString::from(text.to_owned());
        let args = [
            "server",
            "start",
            "--storage.postgres.conn_string",
            "postgresql://u:hunter22@db/x",
            "--storage.dir=/data",
        ];
        let environment =
            BTreeMap::from([("MY_TOKEN".to_owned(), secret("t0ken-value")), ("HOME".to_owned(), secret("/home/x"))]);
        let redactor = Redactor::of(&args.map(secret), &environment);
        assert_eq!(
            redactor.clean("at postgresql://u:hunter22@db/x: hunter22, t0ken-value, /data, /home/x, server"),
            "at [secret]: [secret], [secret], /data, /home/x, server"
        );
    }
}
