//! Why a handshake failed, in words: what happened, to whom, and what to do next.

use super::TlsFiles;
use cutover_vocabulary::Timestamp;
use rustls::{AlertDescription, CertificateError, Error};
use rustls_pki_types::UnixTime;
use std::io;

/// What `other` (a host, a caller) and this side, which has these files, do not agree on. `usage` is what the other side's
/// certificate must be for.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enumeration that grows; the rest is said in its own words"
)]
pub(super) fn words(error: &io::Error, other: &str, files: &TlsFiles, usage: &str) -> String {
    let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) else {
        return format!("TLS with {other} failed: {error}");
    };
    let (certificate, authority) = (files.certificate.display(), files.authority.display());
    match error {
        Error::InvalidCertificate(error) => of_certificate(error, other, files, usage),
        Error::NoCertificatesPresented => {
            format!("{other} shows no certificate: its settings must name certificate, key and authority")
        }
        Error::AlertReceived(AlertDescription::CertificateExpired) => format!(
            "{other} says that the certificate {certificate} has expired: put a new one in its place, and see that the clocks of \
             both hosts are right"
        ),
        Error::AlertReceived(AlertDescription::UnknownCA) => format!(
            "{other} does not know the authority that signed {certificate}: put that authority into the file that is its \
             `authority`, or have the certificate issued by one that it knows"
        ),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            format!("{other} wants a certificate and was shown none: name certificate, key and authority")
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
            format!("{other} does not speak TLS 1.3, and nothing older is spoken here: bring it up to date ({error})")
        }
        Error::AlertReceived(_) => {
            format!("{other} does not accept the certificate {certificate} ({error}): its log says why")
        }
        Error::InvalidMessage(_) => format!("{other} does not speak TLS ({error}): is another program there?"),
        _ => format!("TLS with {other} failed: {error}; this side shows {certificate} and believes {authority}"),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign enumeration that grows; the rest is said in its own words"
)]
fn of_certificate(error: &CertificateError, other: &str, files: &TlsFiles, usage: &str) -> String {
    let authority = files.authority.display();
    match error {
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "{other} shows a certificate that expired on {}: put a new one in its place there; no restart is needed",
            moment(*not_after)
        ),
        CertificateError::Expired => {
            format!(
                "{other} shows a certificate that has expired: put a new one in its place there; no restart is needed"
            )
        }
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "{other} shows a certificate that is valid only from {} on: see that the clocks of both hosts are right",
            moment(*not_before)
        ),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "{other} shows a certificate that no authority in {authority} has signed: put the authority of the company's PKI into \
             that file, or a certificate of that authority there"
        ),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let (expected, presented) = (expected.to_str(), named(presented));
            format!(
                "{other} shows a certificate for {presented}, not for {expected}: call it by a name of its certificate, or have \
                 one issued for {expected}"
            )
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => format!(
            "{other} shows a certificate that is not for this use: have one issued whose extended key usage has {usage}"
        ),
        _ => format!("{other} shows a certificate that cannot be used ({error}): have a new one issued"),
    }
}

/// Names as rustls writes them, like `DnsName("host")`, without what is around them.
fn named(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, inner)| inner.trim_end_matches(')'));
        inner.trim_matches('"').to_owned()
    };
    if presented.is_empty() { "no name".to_owned() } else { presented.iter().map(bare).collect::<Vec<_>>().join(", ") }
}

/// A moment of the handshake in our words.
pub(super) fn moment(time: UnixTime) -> Timestamp {
    Timestamp::from_millis(i64::try_from(time.as_secs()).unwrap_or(i64::MAX).saturating_mul(1000))
}
