//! Connection strings as pgx reads them: URLs, `host=… dbname=…`, and the variables of libpq.

use crate::percent::decode;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::Path;

/// Where the database is, and what its sessions ask for.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) options: PgConnectOptions,
    /// The session's time zone, where the string names one.
    pub(super) timezone: Option<String>,
}

/// pgx knows nothing of `PGOPTIONS`; sqlx reads it and cannot be told not to. So the program begins again without it, in the same
/// process. Returns where there is no such variable.
pub(crate) fn forget_pgoptions() {
    if std::env::var_os("PGOPTIONS").is_none() {
        return;
    }
    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let error = command.args(arguments).env_remove("PGOPTIONS").exec();
    crate::console::err(&format!("Error: cannot start again without PGOPTIONS: {error}\n"));
    std::process::exit(1)
}

impl Target {
    /// Reads a connection string; what it does not say comes from the environment, then from libpq's defaults.
    ///
    /// # Errors
    /// pgx's words for a string that it cannot read. They never repeat the string: it may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let cannot = |why: String| format!("cannot parse connection string: {why}");
        let url = text.starts_with("postgres://") || text.starts_with("postgresql://");
        let fields = if url { fields_of_url(text) } else { fields_of_words(text) }.map_err(cannot)?;
        let mut target =
            Self { options: PgConnectOptions::new_without_pgpass().extra_float_digits(None), timezone: None };
        for (key, value) in fields {
            target.set(&key, &value).map_err(|why| cannot(format!("{key}: {why}")))?;
        }
        target.options = target.options.disable_statement_logging();
        Ok(target)
    }

    /// What the connection itself does not understand is a parameter of the session.
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let options = self.options.clone();
        self.options = match key {
            "host" | "hostaddr" if value.starts_with('/') => options.socket(value),
            "host" | "hostaddr" => options.host(value),
            "port" => options.port(value.parse().map_err(|_| format!("invalid port {value:?}"))?),
            "user" => options.username(value),
            "password" => options.password(value),
            "database" | "dbname" => options.database(value),
            "sslmode" => options.ssl_mode(value.parse().map_err(|_| "sslmode is invalid".to_owned())?),
            "sslrootcert" => options.ssl_root_cert(value),
            "sslcert" => options.ssl_client_cert(value),
            "sslkey" => options.ssl_client_key(value),
            "application_name" => options.application_name(value),
            "connect_timeout" => options,
            zone if zone.eq_ignore_ascii_case("timezone") => {
                self.timezone = Some(value.to_owned());
                options
            }
            parameter => options.options([(parameter, value)]),
        };
        Ok(())
    }

    /// `host=… user=… database=…`, as errors name it.
    pub(super) fn shown(&self) -> String {
        let database = self.options.get_database().unwrap_or_default();
        format!("host={} user={} database={database}", self.host(), self.options.get_username())
    }

    /// `tcp 127.0.0.1:5432` or `unix /tmp/.s.PGSQL.5432`.
    pub(super) fn dialled(&self) -> String {
        let (host, port) = (self.host(), self.options.get_port());
        if host.starts_with('/') {
            let socket = Path::new(&host).join(format!(".s.PGSQL.{port}"));
            return format!("unix {}", socket.display());
        }
        format!("tcp {}:{port}", if host == "localhost" { "127.0.0.1" } else { &host })
    }

    fn host(&self) -> String {
        match self.options.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => self.options.get_host().to_owned(),
        }
    }
}

type Fields = BTreeMap<String, String>;

fn fields_of_url(text: &str) -> Result<Fields, String> {
    let rest = text.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let mut fields = Fields::new();
    let mut put = |key: &str, value: &str| {
        if !value.is_empty() {
            fields.insert(key.to_owned(), decode(value));
        }
    };
    if let Some(user) = user {
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        put("user", user);
        put("password", password);
    }
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        Some(_) | None => (host, ""),
    };
    put("host", host.trim_start_matches('[').trim_end_matches(']'));
    put("port", port);
    put("database", database);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or("invalid query")?;
        fields.insert(decode(&key.replace('+', " ")), decode(&value.replace('+', " ")));
    }
    Ok(fields)
}

/// `key = value`, with values in single quotes and backslashes as libpq has them.
fn fields_of_words(text: &str) -> Result<Fields, String> {
    let mut fields = Fields::new();
    let mut letters = text.trim().chars().peekable();
    while letters.peek().is_some() {
        let mut key = String::new();
        loop {
            match letters.next() {
                Some('=') => break,
                Some(letter) => key.push(letter),
                None => return Err("invalid keyword/value".to_owned()),
            }
        }
        while letters.peek() == Some(&' ') {
            letters.next();
        }
        let quoted = letters.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match letters.next() {
                Some('\\') => value.extend(letters.next()),
                Some('\'') if quoted => break,
                Some(letter) if !quoted && letter.is_whitespace() => break,
                Some(letter) => value.push(letter),
                None if quoted => return Err("unterminated quoted string".to_owned()),
                None => break,
            }
        }
        fields.insert(key.trim().to_owned(), value);
        while letters.peek().is_some_and(|letter| letter.is_whitespace()) {
            letters.next();
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let target = Target::parse(text).unwrap();
        let options = target.options.get_options().unwrap_or_default().to_owned();
        let name = target.options.get_application_name().unwrap_or_default().to_owned();
        format!("{} port={} [{options}] [{name}] {:?}", target.shown(), target.options.get_port(), target.timezone)
    }

    #[test]
    fn parameters_of_a_url_go_to_the_session() {
        assert_eq!(
            shown("postgresql://a:b%40c@h:5433/d?application_name=x+y&statement_timeout=0&timezone=Asia%2FTokyo"),
            "host=h user=a database=d port=5433 [-c statement_timeout=0] [x y] Some(\"Asia/Tokyo\")"
        );
    }

    #[test]
    fn words_are_read_like_urls() {
        assert_eq!(
            shown("host=h port = 5433 user='a b' dbname=d password='it\\'s' statement_timeout=200"),
            "host=h user=a b database=d port=5433 [-c statement_timeout=200] [] None"
        );
    }

    #[test]
    fn an_unreadable_string_is_not_repeated() {
        let error = Target::parse("host=h password=secret nonsense").unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}
