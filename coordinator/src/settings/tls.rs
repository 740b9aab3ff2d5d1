//! Certificates, for addresses that others on the network may reach.

use cutover_proto::transport::TlsFiles;
use cutover_vocabulary::OperatorName;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The table `tls`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsSettings {
    /// The coordinator's certificate, behind it those of authorities between it and the root. Its names are what agents call the
    /// coordinator by: DNS names, or addresses in numbers.
    #[schemars(extend("format" = "absolute path"), example = "/etc/cutover/tls/cert.pem")]
    certificate: PathBuf,
    /// Its private key. Refused where anybody but its owner may read it.
    #[schemars(extend("format" = "absolute path"), example = "/etc/cutover/tls/key.pem")]
    key: PathBuf,
    /// The authorities that sign the certificates of agents and operators.
    #[schemars(extend("format" = "absolute path"), example = "/etc/cutover/tls/authority.pem")]
    authority: PathBuf,
    /// Names in the certificates of those who may call as operators over TLS; what they decide is stored under that name. None by
    /// default: over TLS only agents are let in, and operators use the Unix socket.
    #[serde(default)]
    #[schemars(with = "Vec<String>", example = ["ops.example.com"])]
    operators: Vec<OperatorName>,
}

impl TlsSettings {
    pub(super) fn files(self) -> Result<(TlsFiles, BTreeSet<OperatorName>), String> {
        let Self { certificate, key, authority, operators } = self;
        for (name, path) in [("certificate", &certificate), ("key", &key), ("authority", &authority)] {
            if !path.is_absolute() {
                return Err(format!("{name} = {:?} must be an absolute path", path.display().to_string()));
            }
        }
        Ok((TlsFiles { certificate, key, authority }, operators.into_iter().collect()))
    }
}
