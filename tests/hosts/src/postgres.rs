//! A PostgreSQL server for the hosts of a lab.

use crate::lab::Lab;
use cutover_trial_postgres::{Cluster, ClusterError};
use std::ops::Deref;

/// A server in the lab, beside its hosts, which reach it at [`Lab::ADDRESS`]: a host's power and wire do not touch it, and
/// [`crate::Host::drop_from`] that address cuts a host off from it. It ends with the lab.
#[derive(Debug)]
pub struct Postgres {
    cluster: Cluster,
}

impl Lab {
    /// Makes a server that every host may enter with a password. `settings` are lines for `postgresql.conf`.
    ///
    /// # Errors
    /// [`ClusterError`]; it is missing from the machine for one.
    pub fn postgres(&self, settings: &str) -> Result<Postgres, ClusterError> {
        let folder = self.folder().join("postgres");
        let cluster = Cluster::create(&folder, &format!("listen_addresses = '*'\n{settings}"))?;
        let access = cluster.data().join("pg_hba.conf");
        let text = std::fs::read_to_string(&access).unwrap();
        std::fs::write(&access, format!("{text}\nhost all all 10.77.0.0/16 scram-sha-256\n")).unwrap();
        cluster.sql("postgres", "SELECT pg_reload_conf()")?;
        Ok(Postgres { cluster })
    }
}

impl Postgres {
    /// A connection string that holds in the lab and in every host of it.
    pub fn url(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgresql://{role}:{password}@{}:{}/{database}", Lab::ADDRESS, self.port())
    }
}

impl Deref for Postgres {
    type Target = Cluster;
    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}
