//! Where facts are kept: `store`, and the table `[etcd]`.

use cutover_store::EtcdSettings;
use cutover_store::etcd::EtcdTls;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

/// Where facts are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// One file on this machine, `sqlite:/path`.
    Sqlite(PathBuf),
    /// An etcd, `etcd` with a table of that name: for several coordinators.
    Etcd(EtcdSettings),
    /// In this process, `memory`; gone when it ends. For tests.
    Memory,
}

impl StorePlace {
    /// From `store` and the table, which go together. An error names the key it is about.
    pub(super) fn new(store: &str, etcd: Option<EtcdTable>) -> Result<Self, (&'static str, String)> {
        if store == "etcd" {
            let why = "\"etcd\" needs to know where etcd is: add the table [etcd] with endpoints";
            let etcd = etcd.ok_or(("store", why.to_owned()))?;
            return Ok(Self::Etcd(etcd.settings().map_err(|why| ("etcd", why))?));
        }
        let place = match store.strip_prefix("sqlite:") {
            Some(path) if path.starts_with('/') => Self::Sqlite(PathBuf::from(path)),
            Some(path) => {
                return Err((
                    "store",
                    format!("sqlite:{path} does not name an absolute path: write it as sqlite:/path"),
                ));
            }
            None if store == "memory" => Self::Memory,
            None => {
                let why = format!("{store:?} is no store: write it as sqlite:/path, or etcd, or memory for tests");
                return Err(("store", why));
            }
        };
        match etcd {
            Some(_) => {
                Err(("etcd", format!("facts are kept in {store:?}: write store = \"etcd\", or leave the table away")))
            }
            None => Ok(place),
        }
    }
}

/// The table `etcd`: what is left away keeps its default.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EtcdTable {
    /// The client URLs of etcd's members, all of them `http://HOST:PORT` or all `https://HOST:PORT`. One is used until it fails,
    /// then the next. Whoever can write there commands the agents: `http://` is for this host alone, or for a network that is only
    /// etcd's.
    #[schemars(example = ["https://10.0.0.1:2379", "https://10.0.0.2:2379", "https://10.0.0.3:2379"])]
    endpoints: Vec<String>,
    /// What every key begins with. Two fleets in one etcd have two.
    #[schemars(example = "cutover/")]
    prefix: String,
    /// How long a leader that is not heard stays the leader: after its death another leads so much later, and a leader that cannot
    /// reach etcd stops a fifth of it earlier. From 2 to 60.
    #[schemars(example = 5)]
    lease_seconds: u64,
    /// As whom to work, where etcd asks for it. The user needs a role that may read and write below `prefix`.
    #[schemars(example = &"cutover")]
    user: Option<String>,
    /// The file with that user's password. Refused where anybody but its owner may read it. Read anew for every connection.
    #[schemars(extend("format" = "absolute path"), example = "/etc/cutover/etcd-password")]
    password_file: Option<PathBuf>,
    /// What is shown to an etcd that asks for certificates, in PEM form. Read anew for every connection.
    #[schemars(extend("format" = "absolute path"), example = "/etc/cutover/etcd/cert.pem")]
    certificate: Option<PathBuf>,
    /// Its private key. Refused where anybody but its owner may read it.
    #[schemars(extend("format" = "absolute path"), example = "/etc/cutover/etcd/key.pem")]
    key: Option<PathBuf>,
    /// The authorities that sign the certificates of etcd's members; needed for `https://`.
    #[schemars(extend("format" = "absolute path"), example = "/etc/cutover/etcd/authority.pem")]
    authority: Option<PathBuf>,
}

impl Default for EtcdTable {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            prefix: EtcdSettings::PREFIX.to_owned(),
            lease_seconds: EtcdSettings::LEASE.as_secs(),
            user: None,
            password_file: None,
            certificate: None,
            key: None,
            authority: None,
        }
    }
}

impl EtcdTable {
    fn settings(self) -> Result<EtcdSettings, String> {
        let Self { endpoints, prefix, lease_seconds, user, password_file, certificate, key, authority } = self;
        for (name, path) in
            [("password_file", &password_file), ("certificate", &certificate), ("key", &key), ("authority", &authority)]
        {
            absolute(name, path.as_deref())?;
        }
        let tls = scheme(&endpoints)?;
        if !(2..=60).contains(&lease_seconds) {
            return Err(format!("lease_seconds = {lease_seconds} must be from 2 to 60"));
        }
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err("certificate needs its key: add key".to_owned()),
            (None, Some(_)) => return Err("key needs its certificate: add certificate".to_owned()),
        };
        let tls = match (tls, authority) {
            (true, Some(authority)) => Some(EtcdTls { authority, identity }),
            (true, None) => {
                return Err("endpoints begin with https://: add authority, which signs etcd's certificates".to_owned());
            }
            (false, None) if identity.is_none() => None,
            (false, _) => {
                return Err(
                    "certificates are for endpoints that begin with https://: write them so, or leave the files away"
                        .to_owned(),
                );
            }
        };
        let user = match (user, password_file) {
            (Some(user), Some(file)) if !user.is_empty() => Some((user, file)),
            (None, None) => None,
            (Some(_), _) => return Err("user needs a name and its password: add password_file".to_owned()),
            (None, Some(_)) => return Err("password_file needs its user: add user".to_owned()),
        };
        Ok(EtcdSettings { endpoints, prefix: whole(prefix)?, lease: Duration::from_secs(lease_seconds), user, tls })
    }
}

fn absolute(name: &str, path: Option<&Path>) -> Result<(), String> {
    match path.filter(|path| !path.is_absolute()) {
        Some(path) => Err(format!("{name} = {:?} must be an absolute path", path.display().to_string())),
        None => Ok(()),
    }
}

/// Whether all endpoints are spoken to under TLS.
fn scheme(endpoints: &[String]) -> Result<bool, String> {
    let mut tls = 0;
    for endpoint in endpoints {
        let uri = tonic::codegen::http::Uri::from_str(endpoint).ok();
        let plain = uri.as_ref().is_some_and(|uri| {
            uri.host().is_some() && uri.port_u16().is_some() && uri.path() == "/" && uri.query().is_none()
        });
        match uri.as_ref().and_then(|uri| uri.scheme_str()).filter(|_| plain) {
            Some("https") => tls += 1,
            Some("http") => {}
            Some(_) | None => {
                return Err(format!("endpoints: {endpoint:?} is no URL of etcd: write it as https://HOST:2379"));
            }
        }
    }
    match (tls, endpoints.len()) {
        (_, 0) => Err("endpoints is missing, or names none: write it as [\"https://HOST:2379\"]".to_owned()),
        (0, _) => Ok(false),
        (tls, all) if tls == all => Ok(true),
        (_, _) => Err("some endpoints begin with http:// and some with https://: all must begin alike".to_owned()),
    }
}

/// A prefix with its slash at the end.
fn whole(prefix: String) -> Result<String, String> {
    match prefix.trim_end_matches('/') {
        "" => Err("prefix is empty: two programs in one etcd must not meet; leave it away for cutover/".to_owned()),
        text if text.len() > 128 || !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(format!("prefix = {prefix:?} may have at most 128 printable ASCII characters and no space"))
        }
        text => Ok(format!("{text}/")),
    }
}
