//! The servers that a connection string names.

use crate::StorageError;
use std::fmt;
use std::path::Path;

/// One server: a host name, an address, or the folder of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
}
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", cutover_vocabulary::name::shown(&self.host), self.port)
    }
}

/// Hosts and ports, each a list: one port for all, or one each. Without a host the folder where a local server's socket is.
pub(super) fn all(hosts: Option<&str>, ports: Option<&str>) -> Result<Vec<Endpoint>, StorageError> {
    let local = || {
        let folders = ["/var/run/postgresql", "/private/tmp", "/tmp"];
        folders.into_iter().find(|folder| Path::new(folder).exists()).unwrap_or("localhost")
    };
    let hosts: Vec<&str> = hosts.unwrap_or_else(local).split(',').collect();
    let ports: Vec<&str> = ports.unwrap_or("5432").split(',').collect();
    hosts
        .iter()
        .enumerate()
        .map(|(index, host)| {
            let text = ports.get(index).or(ports.first()).copied().unwrap_or_default();
            match text.trim().parse() {
                Ok(port) => Ok(Endpoint { host: host.trim().to_owned(), port }),
                Err(_) => Err(StorageError::Settings(format!("{text:?} in the connection's settings is no port"))),
            }
        })
        .collect()
}
