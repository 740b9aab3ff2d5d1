//! The three files of TLS, and what can be wrong with them.

use super::certificate::Certificate;
use cutover_vocabulary::Timestamp;
use rustls::client::Resumption;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A certificate that is valid for fewer days than this is warned of.
pub const EXPIRES_SOON_DAYS: i64 = 30;

/// Larger than any file of certificates; a path to something else must not fill the memory.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// Where certificate, key and authority lie, in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate that this side shows; behind it the certificates of the authorities between it and the root, if any.
    pub certificate: PathBuf,
    /// Its private key; nobody but its owner may read it.
    pub key: PathBuf,
    /// The authorities whose certificates this side believes.
    pub authority: PathBuf,
}

/// Why the files of TLS cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum CannotUseTls {
    /// A file cannot be read.
    #[error(
        "cannot read the {what} {path}: {why}; put it there, readable for this program's user, or name the right file"
    )]
    Unreadable {
        /// What it should hold.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// Others may read the key.
    #[error(
        "others may read the private key {path} (its mode is {mode:04o}): `chmod 0600` it; where somebody may have copied it, \
         have a new key and certificate issued"
    )]
    KeyOpen {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file holds something else.
    #[error("{path} holds no {what} in PEM form ({why}): put a file there that has a block `-----BEGIN {block}-----`")]
    NotPem {
        /// What it should hold.
        what: &'static str,
        /// How its block begins.
        block: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A certificate's time is over.
    #[error(
        "the certificate {path} expired on {not_after}: have a new one issued and put it in its place; no restart is needed where \
         this program runs"
    )]
    Expired {
        /// Which file.
        path: PathBuf,
        /// When.
        not_after: Timestamp,
    },
    /// A certificate's time has not come.
    #[error(
        "the certificate {path} is valid only from {not_before} on: is the clock of this host right? If so, have a new one issued"
    )]
    NotYet {
        /// Which file.
        path: PathBuf,
        /// From when on.
        not_before: Timestamp,
    },
    /// Certificate and key do not belong together.
    #[error("the key {key} does not belong to the certificate {certificate}: put both from one issue there")]
    NotAPair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The cryptography refuses what the files hold.
    #[error(
        "certificate {certificate} with key {key} cannot be used: {why}; have a new one issued, ECDSA P-256 suits everywhere"
    )]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What it said.
        why: rustls::Error,
    },
    /// No certificate of the authority's file can be believed.
    #[error("no certificate in {path} can be used as an authority: {why}; put the root of the company's PKI there")]
    NoAuthority {
        /// Which file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The program is ending.
    #[error("this program is ending")]
    Stopped,
}

impl TlsFiles {
    /// Reads the files as a connection would, and tells of each certificate in which file it lies, this side's own first.
    ///
    /// # Errors
    /// Where they cannot be used.
    pub fn certificates(&self) -> Result<Vec<(PathBuf, Certificate)>, CannotUseTls> {
        let texts = Texts::read(self)?;
        let of = |what, path: &PathBuf, text| -> Result<Vec<(PathBuf, Certificate)>, CannotUseTls> {
            let named = |(_, certificate)| (path.clone(), certificate);
            Ok(chain(what, path, text)?.into_iter().map(named).collect())
        };
        Loaded::of(self, &texts)?;
        let mut all = of(CERTIFICATE, &self.certificate, &texts.certificate)?;
        all.extend(of(AUTHORITY, &self.authority, &texts.authority)?);
        Ok(all)
    }
}

/// What is in the files, to see whether they changed. Compared as it is, because the times of files are coarser than what can
/// happen to them.
#[derive(PartialEq, Eq)]
struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Vec<u8>,
}

const CERTIFICATE: &str = "certificate";
const KEY: &str = "private key";
const AUTHORITY: &str = "certificate of an authority";

impl Texts {
    fn read(files: &TlsFiles) -> Result<Self, CannotUseTls> {
        Ok(Self {
            certificate: read(CERTIFICATE, &files.certificate)?.0,
            key: match read(KEY, &files.key)? {
                (_, mode) if mode & 0o077 != 0 => {
                    return Err(CannotUseTls::KeyOpen { path: files.key.clone(), mode: mode & 0o7777 });
                }
                (text, _) => text,
            },
            authority: read(AUTHORITY, &files.authority)?.0,
        })
    }
}

/// A file's bytes with its permissions.
fn read(what: &'static str, path: &Path) -> Result<(Vec<u8>, u32), CannotUseTls> {
    let unreadable = |why| CannotUseTls::Unreadable { what, path: path.to_owned(), why };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mut text = Vec::new();
    file.take(LARGEST_FILE).read_to_end(&mut text).map_err(unreadable)?;
    Ok((text, mode))
}

/// The certificates of a file, each as it is and as it was read.
fn chain(
    what: &'static str,
    path: &Path,
    text: &[u8],
) -> Result<Vec<(CertificateDer<'static>, Certificate)>, CannotUseTls> {
    let wrong = |why| CannotUseTls::NotPem { what, block: "CERTIFICATE", path: path.to_owned(), why };
    let blocks: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(text).collect();
    let blocks = blocks.map_err(|error| wrong(error.to_string()))?;
    if blocks.is_empty() {
        return Err(wrong("there is none".to_owned()));
    }
    blocks.into_iter().map(|der| Certificate::of_der(&der).map_err(wrong).map(|read| (der, read))).collect()
}

/// What was made of the files.
pub(super) struct Loaded {
    texts: Texts,
    pub(super) certificate: Certificate,
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
}

impl Loaded {
    /// Reads the files; where nothing changed, what was made of them before.
    pub(super) fn read(files: &TlsFiles, before: Option<&Arc<Self>>) -> Result<Arc<Self>, CannotUseTls> {
        let texts = Texts::read(files)?;
        if let Some(before) = before.filter(|before| before.texts == texts) {
            in_time(&files.certificate, &before.certificate)?;
            return Ok(before.clone());
        }
        let (certificate, server, client) = Self::of(files, &texts)?;
        Ok(Arc::new(Self { texts, certificate, server: Arc::new(server), client: Arc::new(client) }))
    }

    fn of(files: &TlsFiles, texts: &Texts) -> Result<(Certificate, ServerConfig, ClientConfig), CannotUseTls> {
        let mut chained = chain(CERTIFICATE, &files.certificate, &texts.certificate)?;
        let certificate = match chained.first() {
            Some((_, own)) => own.clone(),
            None => return Err(CannotUseTls::Stopped),
        };
        in_time(&files.certificate, &certificate)?;
        let shown: Vec<_> = chained.drain(..).map(|(der, _)| der).collect();
        let key = || {
            PrivateKeyDer::from_pem_slice(&texts.key).map_err(|error| CannotUseTls::NotPem {
                what: KEY,
                block: "PRIVATE KEY",
                path: files.key.clone(),
                why: error.to_string(),
            })
        };
        let authorities = authorities(files, texts)?;
        let no_authority = |why: String| CannotUseTls::NoAuthority { path: files.authority.clone(), why };
        let unusable = |why| {
            let (certificate, key) = (files.certificate.clone(), files.key.clone());
            if let rustls::Error::InconsistentKeys(_) = why {
                CannotUseTls::NotAPair { certificate, key }
            } else {
                CannotUseTls::Unusable { certificate, key, why }
            }
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(authorities.clone(), provider.clone());
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(verifier.build().map_err(|error| no_authority(error.to_string()))?)
            .with_single_cert(shown.clone(), key()?)
            .map_err(unusable)?;
        server.alpn_protocols = vec![HTTP2.to_vec()];
        // Every connection shows its certificate: none is let in on the strength of an earlier one.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_root_certificates(authorities)
            .with_client_auth_cert(shown, key()?)
            .map_err(unusable)?;
        client.alpn_protocols = vec![HTTP2.to_vec()];
        client.resumption = Resumption::disabled();
        Ok((certificate, server, client))
    }
}

/// How HTTP/2, which gRPC is spoken over, is called in a handshake.
const HTTP2: &[u8] = b"h2";

fn authorities(files: &TlsFiles, texts: &Texts) -> Result<Arc<RootCertStore>, CannotUseTls> {
    let mut roots = RootCertStore::empty();
    for (der, _) in chain(AUTHORITY, &files.authority, &texts.authority)? {
        roots
            .add(der)
            .map_err(|error| CannotUseTls::NoAuthority { path: files.authority.clone(), why: error.to_string() })?;
    }
    Ok(Arc::new(roots))
}

fn in_time(path: &Path, certificate: &Certificate) -> Result<(), CannotUseTls> {
    let (now, path) = (now(), path.to_owned());
    let Certificate { not_before, not_after, .. } = *certificate;
    if now > not_after {
        return Err(CannotUseTls::Expired { path, not_after });
    }
    if now < not_before {
        return Err(CannotUseTls::NotYet { path, not_before });
    }
    Ok(())
}

/// The wall clock, as the handshake reads it.
pub(super) fn now() -> Timestamp {
    super::failure::moment(UnixTime::now())
}
