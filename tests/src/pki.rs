//! A PKI of a test's own: an authority, and certificates that it issues into folders. Also used by the tests of the other crates,
//! which take this file in by its path.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Where a certificate, its key and its authority lie.
#[derive(Debug, Clone)]
pub struct Issued {
    /// `cert.pem`.
    pub certificate: PathBuf,
    /// `key.pem`, with mode 0600.
    pub key: PathBuf,
    /// `authority.pem`.
    pub authority: PathBuf,
}

/// What a certificate is for, apart from its names.
#[derive(Debug, Clone)]
pub struct Kind {
    /// The first and the last year in which it is valid; it begins and ends with them.
    pub years: (i32, i32),
    /// What it may be used for.
    pub usages: Vec<ExtendedKeyUsagePurpose>,
}
impl Default for Kind {
    /// For servers and clients, and for long.
    fn default() -> Self {
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Self { years: (2020, 2100), usages }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new("test authority")
    }
}

impl Authority {
    /// One of this name.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// Issues a certificate with these names into a folder, which is made; what is there is replaced. A name is an address in
    /// numbers, a URI where it has `://`, or a DNS name.
    pub fn issue(&self, names: &[&str], folder: &Path) -> Issued {
        self.issue_as(names, folder, &Kind::default())
    }

    /// [`Authority::issue`] of another kind.
    pub fn issue_as(&self, names: &[&str], folder: &Path, kind: &Kind) -> Issued {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.iter().map(|name| alternative(name)).collect();
        params.extended_key_usages.clone_from(&kind.usages);
        params.not_before = date_time_ymd(kind.years.0, 1, 1);
        params.not_after = date_time_ymd(kind.years.1, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::create_dir_all(folder).unwrap();
        let issued = Issued {
            certificate: folder.join("cert.pem"),
            key: folder.join("key.pem"),
            authority: folder.join("authority.pem"),
        };
        fs::write(&issued.certificate, certificate.pem()).unwrap();
        fs::write(&issued.key, "").unwrap();
        fs::set_permissions(&issued.key, Permissions::from_mode(0o600)).unwrap();
        fs::write(&issued.key, key.serialize_pem()).unwrap();
        fs::write(&issued.authority, self.pem()).unwrap();
        issued
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }
}

impl Issued {
    /// A table `[tls]` of a settings file.
    pub fn table(&self) -> String {
        let Self { certificate, key, authority } = self;
        format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\nauthority = {authority:?}\n")
    }
}

fn alternative(name: &str) -> SanType {
    match name.parse::<IpAddr>() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) if name.contains("://") => SanType::URI(name.try_into().unwrap()),
        Err(_) => SanType::DnsName(name.try_into().unwrap()),
    }
}
