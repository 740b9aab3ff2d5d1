//! Where a PostgreSQL storage is, read as the ledger's own driver (pgx) reads it: the connection string first, then the
//! service's environment, then defaults.

mod endpoint;
mod passfile;
mod text;
mod tls;

use crate::StorageError;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use sqlx::postgres::PgConnectOptions;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use text::Text;
use tls::Tls;

pub(crate) use endpoint::Endpoint;

/// How the `application_name` of every session of ours begins.
pub(crate) const OURS: &str = "cutover:";

/// PostgreSQL cuts an `application_name` at this many bytes.
const NAME_BYTES: usize = 63;

/// The variables that the ledger's driver reads, each with the setting that it stands for.
const VARIABLES: [(&str, &str); 13] = [
    ("PGHOST", "host"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGPASSFILE", "passfile"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGSERVICE", "service"),
];

/// Settings that are about the way to the server; anything else in a string is a parameter of the session.
const NOT_OF_THE_SESSION: [&str; 20] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "connect_timeout",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslsni",
    "target_session_attrs",
    "min_read_buffer_size",
    "service",
    "servicefile",
    "application_name",
    "options",
];

/// What every session of ours sets, whatever the role, the database or the connection string says: no time limit ends a
/// migration or a backup half way, and no time shifts by the session's zone.
pub(crate) const SESSION: [(&str, &str); 4] = [
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("timezone", "UTC"),
];

/// A connection string with everything that it leaves out. Debug shows no secret.
#[derive(Clone)]
pub(crate) struct Address {
    /// As the service has it: ledger commands get it in the same form.
    text: SecretString,
    endpoints: Vec<Endpoint>,
    user: String,
    password: Option<SecretString>,
    database: String,
    tls: Tls,
    root: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    /// Whether only a server that takes writes will do (`target_session_attrs`).
    writable: bool,
    /// Parameters of the session, in order.
    session: Vec<(String, String)>,
    /// The service's own variables, for ledger commands.
    variables: Vec<(String, SecretString)>,
}
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("endpoints", &self.endpoints)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Address {
    /// Reads a connection string with what the service's environment adds to it. Of our own environment nothing counts.
    /// `home` is the service's, for the files that its driver looks for there.
    ///
    /// # Errors
    /// [`StorageError::Settings`] where the string cannot be read, or leads nowhere that we can follow.
    pub(crate) fn parse(
        text: &SecretString,
        environment: &BTreeMap<String, SecretString>,
        home: &Path,
    ) -> Result<Self, StorageError> {
        let refuse = |why: String| Err(StorageError::Settings(why));
        let mut all: BTreeMap<String, SecretString> = BTreeMap::new();
        let mut variables = Vec::new();
        for (name, value) in environment.iter().filter(|(_, value)| !value.expose_secret().is_empty()) {
            if name.starts_with("PG") {
                variables.push((name.clone(), value.clone()));
            }
            if let Some((_, setting)) = VARIABLES.iter().find(|(variable, _)| variable == name) {
                all.insert((*setting).to_owned(), value.clone());
            }
        }
        for (key, value) in Text::parse(text.expose_secret())?.settings()? {
            // An empty value leaves the setting out.
            if !value.expose_secret().is_empty() {
                all.insert(key, value);
            }
        }
        let get = |key: &str| all.get(key).map(SecretString::expose_secret);
        if let Some(service) = get("service") {
            return refuse(format!(
                "the connection names the service {service:?} of a pg_service.conf; write host, port, user and dbname into storage.postgres.conn_string instead"
            ));
        }
        let Some(user) = get("user").map(str::to_owned).or_else(|| system_user(environment)) else {
            return refuse(
                "neither storage.postgres.conn_string nor PGUSER names a user, and the environment has no USER; name it"
                    .to_owned(),
            );
        };
        let database = get("dbname").unwrap_or(&user).to_owned();
        let endpoints = endpoint::all(get("host"), get("port"))?;
        let tls = match get("sslmode") {
            None => Tls::Prefer,
            Some(text) => match Tls::ALL.into_iter().find(|tls| tls.name() == text) {
                Some(tls) => tls,
                None => {
                    return refuse(format!(
                        "sslmode is {text:?}; PostgreSQL knows {}",
                        Tls::ALL.map(Tls::name).join(", ")
                    ));
                }
            },
        };
        let in_home = |name: &str| Some(home.join(".postgresql").join(name)).filter(|path| path.exists());
        let path = |key: &str, name: &str| get(key).map(PathBuf::from).or_else(|| in_home(name));
        let root = path("sslrootcert", "root.crt").or_else(|| {
            // pgx asks the system where no file is named; libpq's programs want the file.
            Some(PathBuf::from("/etc/ssl/certs/ca-certificates.crt")).filter(|path| tls.verifies() && path.exists())
        });
        let password = all.get("password").cloned().or_else(|| {
            let file = get("passfile").map_or_else(|| home.join(".pgpass"), PathBuf::from);
            let text = std::fs::read_to_string(file).ok()?;
            let first = endpoints.first()?;
            passfile::find(&text, &first.host, first.port, &database, &user)
        });
        let mut session = get("options").map(text::options).unwrap_or_default();
        let others = all.iter().filter(|(key, _)| !NOT_OF_THE_SESSION.contains(&key.as_str()));
        session.extend(others.map(|(key, value)| (key.clone(), value.expose_secret().to_owned())));
        Ok(Self {
            text: text.clone(),
            writable: matches!(get("target_session_attrs"), Some("read-write" | "primary")),
            certificate: path("sslcert", "postgresql.crt").zip(path("sslkey", "postgresql.key")),
            endpoints,
            user,
            password,
            database,
            tls,
            root,
            session,
            variables,
        })
    }

    /// The servers, in the order in which they are tried.
    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Whether only a server that takes writes will do.
    pub(crate) fn wants_writable(&self) -> bool {
        self.writable
    }

    /// The ledger's role.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// The database.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// For sqlx. What it reads of our own environment is overridden, down to an empty password where there is none.
    pub(super) fn options(&self, endpoint: &Endpoint, database: &str, application: &str) -> PgConnectOptions {
        let password = self.password.as_ref().map_or("", SecretString::expose_secret);
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&endpoint.host)
            .port(endpoint.port)
            .username(&self.user)
            .password(password)
            .database(database)
            .ssl_mode(self.tls.mode())
            .application_name(application);
        if let Some(root) = &self.root {
            options = options.ssl_root_cert(root);
        }
        if let Some((certificate, key)) = &self.certificate {
            options = options.ssl_client_cert(certificate).ssl_client_key(key);
        }
        options
    }

    /// The connection string's own parameters of the session.
    pub(super) fn session(&self) -> impl Iterator<Item = (&str, &str)> {
        self.session.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The whole environment of `pg_dump`, `pg_restore` or `psql`, `PATH` apart: clear theirs before. Arguments are seen by
    /// everybody in `ps`, so nothing of it is ever one.
    pub(crate) fn tool_environment(
        &self,
        endpoint: &Endpoint,
        database: &str,
        application: &str,
    ) -> Vec<(&'static str, SecretString)> {
        let options = text::as_options(self.session().chain(SESSION).chain(super::KEEPALIVES));
        let text = |text: &str| SecretString::from(text);
        let file = |path: &Path| SecretString::from(path.to_string_lossy().as_ref());
        let mut all = vec![
            ("PGHOST", text(&endpoint.host)),
            ("PGPORT", text(&endpoint.port.to_string())),
            ("PGUSER", text(&self.user)),
            ("PGDATABASE", text(database)),
            ("PGSSLMODE", text(self.tls.name())),
            ("PGAPPNAME", text(application)),
            ("PGOPTIONS", text(&options)),
            ("PGCONNECT_TIMEOUT", text("10")),
            // Whatever is found there is in PGPASSWORD.
            ("PGPASSFILE", text("/dev/null")),
        ];
        all.extend(self.password.iter().map(|password| ("PGPASSWORD", password.clone())));
        all.extend(self.root.iter().map(|root| ("PGSSLROOTCERT", file(root))));
        if let Some((certificate, key)) = &self.certificate {
            all.extend([("PGSSLCERT", file(certificate)), ("PGSSLKEY", file(key))]);
        }
        all
    }

    /// The environment of a `psql` whose session begins as the service's own do, except that no limit ends what it asks.
    pub(crate) fn service_environment(
        &self,
        endpoint: &Endpoint,
        database: &str,
        application: &str,
    ) -> Vec<(&'static str, SecretString)> {
        let options = SecretString::from(text::as_options(self.session().chain([("statement_timeout", "0")])));
        let all = self.tool_environment(endpoint, database, application).into_iter();
        all.map(|(name, value)| if name == "PGOPTIONS" { (name, options.clone()) } else { (name, value) }).collect()
    }

    /// The connection string for ledger commands, in the form that the service has it in, for a task of ours, and for
    /// another database where one is named.
    pub(crate) fn command_string(
        &self,
        endpoint: &Endpoint,
        task: &str,
        database: Option<&str>,
    ) -> Result<SecretString, StorageError> {
        let (name, port) = (application(task), endpoint.port.to_string());
        let mut replaced = vec![("application_name", name.as_str())];
        // Of several servers the one that was looked at and locked, whichever would answer the command first.
        if self.endpoints.len() > 1 {
            replaced.extend([("host", endpoint.host.as_str()), ("port", port.as_str())]);
        }
        replaced.extend(SESSION);
        Ok(Text::parse(self.text.expose_secret())?.with(&replaced, database))
    }

    /// The service's own variables of PostgreSQL, which a ledger command needs beside the connection string.
    pub(crate) fn variables(&self) -> &[(String, SecretString)] {
        &self.variables
    }
}

/// The `application_name` of a task of ours. A long name is cut and told apart by a hash of the whole; PostgreSQL itself makes
/// a question mark of what is not plain ASCII.
pub(crate) fn application(task: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let whole: String = OURS.chars().chain(task.chars()).map(plain).collect();
    if whole.len() <= NAME_BYTES && !task.contains(|c| plain(c) != c) {
        return whole;
    }
    let hash = hex::encode(&Sha256::digest(task.as_bytes())[..6]);
    let kept = &whole[..whole.len().min(NAME_BYTES - hash.len() - 1)];
    format!("{kept}~{hash}")
}

/// The service's user, as its manager tells it.
fn system_user(environment: &BTreeMap<String, SecretString>) -> Option<String> {
    ["USER", "LOGNAME"]
        .into_iter()
        .filter_map(|name| environment.get(name))
        .map(|value| value.expose_secret().to_owned())
        .find(|user| !user.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Address, StorageError> {
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))).collect();
        Address::parse(&SecretString::from(text), &environment, Path::new("/nonexistent"))
    }

    fn tool(address: &Address, name: &str) -> Option<String> {
        let all = address.tool_environment(&address.endpoints[0], address.database(), "cutover:t");
        all.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.expose_secret().to_owned())
    }

    #[test]
    fn what_the_string_leaves_out_comes_from_the_services_environment() {
        let environment = [
            ("PGHOST", "db"),
            ("PGPORT", "7"),
            ("PGUSER", "led"),
            ("PGPASSWORD", "secret"),
            ("PGDATABASE", "fleet"),
            ("PGSSLMODE", "disable"),
        ];
        for text in ["postgresql:///", ""] {
            let address = parse(text, &environment).unwrap();
            assert_eq!(address.endpoints, [Endpoint { host: "db".into(), port: 7 }]);
            assert_eq!((address.user(), address.database(), address.tls), ("led", "fleet", Tls::Disable));
            assert_eq!(tool(&address, "PGPASSWORD").as_deref(), Some("secret"));
            assert_eq!(address.variables().len(), 6, "ledger commands get them too");
        }
        let address = parse("host=other dbname=mine sslmode=require", &environment).unwrap();
        assert_eq!(address.endpoints[0].host, "other");
        assert_eq!((address.user(), address.database(), address.tls), ("led", "mine", Tls::Require));
    }

    #[test]
    fn nothing_that_can_be_printed_holds_the_password() {
        let address = parse("postgres://led:topsecret@h/x?sslmode=disable", &[]).unwrap();
        assert!(!format!("{address:?}").contains("topsecret"));
        let command = address.command_string(&address.endpoints()[0], "t", None).unwrap();
        assert!(!format!("{command:?}").contains("topsecret"));
        let error = parse("postgres://led:topsecret@h/x?sslmode=never", &[]).unwrap_err();
        assert!(!error.to_string().contains("topsecret"), "{error}");
    }

    #[test]
    fn parameters_of_the_session_reach_the_programs_and_no_time_limit_does() {
        let address =
            parse("postgres://led@h/x?role=other%20one&statement_timeout=5&options=-c%20jit%3Doff", &[]).unwrap();
        let options = tool(&address, "PGOPTIONS").unwrap();
        assert!(
            options.starts_with("-c jit=off -c role=other\\ one -c statement_timeout=5 -c statement_timeout=0"),
            "{options}"
        );
        let command = address.command_string(&address.endpoints()[0], "m", Some("copy")).unwrap();
        assert_eq!(
            command.expose_secret(),
            "postgres://led@h/copy?role=other%20one&options=-c%20jit%3Doff&application_name=cutover%3Am&statement_timeout=0\
             &lock_timeout=0&idle_in_transaction_session_timeout=0&timezone=UTC"
        );
    }

    #[test]
    fn a_task_has_one_application_name_that_postgres_does_not_cut() {
        assert_eq!(application("look"), "cutover:look");
        let long = "x".repeat(80);
        let (one, other) = (application(&format!("{long}/1")), application(&format!("{long}/2")));
        assert_eq!((one.len(), other.len()), (NAME_BYTES, NAME_BYTES));
        assert_ne!(one, other);
        assert!(one.starts_with(OURS));
        assert_ne!(application("é"), application("è"));
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for (text, why) in [
            ("service=prod", "pg_service.conf"),
            ("host=h", "neither storage.postgres.conn_string nor PGUSER"),
            ("host=h user=u port=x", "is no port"),
            ("host=h user=u sslmode=x", "PostgreSQL knows disable, allow"),
        ] {
            let error = parse(text, &[]).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
