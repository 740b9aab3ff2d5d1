//! TLS 1.3 between a server and a client of `cutover.v1`, over real sockets and with certificates from files.
#![cfg(feature = "transport")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

#[path = "../../tests/src/pki.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other tests")]
mod pki;

use cutover_proto::transport::{Caller, Endpoint, Tls, TlsFiles, builder, connect, connect_with, listen, listen_on};
use cutover_proto::v1::GetLeaderRequest;
use cutover_proto::v1::fleet_client::FleetClient;
use pki::{Authority, Issued, Kind};
use rcgen::ExtendedKeyUsagePurpose;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::task::AbortOnDropHandle;
use tonic::Request;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::NamedService;

const DEADLINE: Duration = Duration::from_secs(20);

/// Answers every call with who calls, as the message of a status.
#[derive(Clone)]
struct WhoCalls;
impl NamedService for WhoCalls {
    const NAME: &'static str = "cutover.v1.Fleet";
}
impl tower::Service<http::Request<Body>> for WhoCalls {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;
    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let who = match request.extensions().get::<Caller>() {
            Some(Caller::Tls { names, .. }) => names.to_string(),
            Some(other) => format!("{other:?}"),
            None => "nobody".to_owned(),
        };
        std::future::ready(Ok(tonic::Status::unimplemented(who).into_http()))
    }
}

/// A server of a PKI's, and folders of certificates beside it.
struct Site {
    folder: TempDir,
    authority: Authority,
    endpoint: Endpoint,
    _serving: AbortOnDropHandle<()>,
}

fn tls(issued: &Issued) -> Tls {
    let Issued { certificate, key, authority } = issued.clone();
    Tls::new(TlsFiles { certificate, key, authority })
}

impl Site {
    /// One whose certificate has these names, and which is called at an address in numbers.
    async fn with(names: &[&str], kind: &Kind) -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::default());
        let own = authority.issue_as(names, &folder.path().join("server"), kind);
        let endpoint = "https://127.0.0.1:0".parse().unwrap();
        let listening = listen_on(&[endpoint], Some(&tls(&own))).await.unwrap();
        let endpoint = listening.endpoints()[0].clone();
        let serve = builder().add_service(WhoCalls).serve_with_incoming(listening);
        let serving = AbortOnDropHandle::new(tokio::spawn(async { serve.await.unwrap() }));
        Self { folder, authority, endpoint, _serving: serving }
    }
    async fn new() -> Self {
        Self::with(&["127.0.0.1", "coordinator.example.com"], &Kind::default()).await
    }
    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    fn issue(&self, names: &[&str], folder: &str) -> Issued {
        self.authority.issue(names, &self.at(folder))
    }
    /// Who the server says that calls; or why there is no connection.
    async fn ask(&self, tls: &Tls) -> Result<String, String> {
        let channel = connect_with(&self.endpoint, Some(tls)).await.map_err(|error| error.to_string())?;
        let status = FleetClient::new(channel).get_leader(Request::new(GetLeaderRequest {})).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unimplemented, "{status:?}");
        Ok(status.message().to_owned())
    }
    fn port(&self) -> u16 {
        let Endpoint::Tls(remote) = &self.endpoint else { panic!("{}", self.endpoint) };
        remote.port()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_a_certificate_of_the_authority_is_let_in_and_known_by_its_names() {
    let site = Site::new().await;
    let caller = site.issue(&["host-a", "10.0.0.7", "spiffe://company/host-a"], "host-a");
    assert_eq!(site.ask(&tls(&caller)).await.unwrap(), "host-a, spiffe://company/host-a");
}

/// Handshakes by hand; what the server says to the first bytes that it is asked for, or why it does not.
async fn raw(site: &Site, config: rustls::ClientConfig) -> Result<usize, String> {
    let stream = TcpStream::connect(("127.0.0.1", site.port())).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connected = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let mut stream = connected.map_err(|error| error.to_string())?;
    let read = tokio::time::timeout(DEADLINE, stream.read(&mut [0; 64])).await.expect("an answer");
    read.map_err(|error| error.to_string())
}

fn roots(issued: &Issued) -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&issued.authority).unwrap()).unwrap();
    roots
}

fn client(
    issued: &Issued,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots(issued))
}

fn own(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_file(&issued.certificate).unwrap();
    (vec![certificate], PrivateKeyDer::from_pem_file(&issued.key).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_2_is_refused_and_the_same_client_is_let_in_with_1_3() {
    let site = Site::new().await;
    let issued = site.issue(&["host-a"], "host-a");
    let of = |version| {
        let (chain, key) = own(&issued);
        let mut config = client(&issued, &[version]).with_client_auth_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    };
    let refused = raw(&site, of(&rustls::version::TLS12)).await.unwrap_err();
    assert!(refused.contains("ProtocolVersion"), "{refused}");
    assert!(raw(&site, of(&rustls::version::TLS13)).await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_no_certificate_is_refused() {
    let site = Site::new().await;
    let issued = site.issue(&["host-a"], "host-a");
    let refused = raw(&site, client(&issued, &[&rustls::version::TLS13]).with_no_client_auth()).await.unwrap_err();
    assert!(refused.contains("CertificateRequired"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_another_authority_are_refused_on_both_sides_and_each_says_what_to_do() {
    let site = Site::new().await;
    let other = Authority::new("somebody else");
    let stranger = other.issue(&["host-a"], &site.at("stranger"));
    let refused = site.ask(&tls(&stranger)).await.unwrap_err();
    let file = stranger.authority.display().to_string();
    assert!(refused.contains("no authority in") && refused.contains(&file), "{refused}");
    // It believes the server, and the server does not believe it.
    fs::write(&stranger.authority, site.authority.pem()).unwrap();
    let refused = site.ask(&tls(&stranger)).await.unwrap_err();
    let certificate = stranger.certificate.display().to_string();
    assert!(refused.contains("does not know the authority") && refused.contains(&certificate), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_certificate_has_other_names_is_not_spoken_to() {
    let site = Site::with(&["10.0.0.7", "coordinator.example.com"], &Kind::default()).await;
    let refused = site.ask(&tls(&site.issue(&["host-a"], "host-a"))).await.unwrap_err();
    assert!(refused.contains("for 10.0.0.7, coordinator.example.com, not for 127.0.0.1"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_clients_alone_is_no_servers() {
    let kind = Kind { usages: vec![ExtendedKeyUsagePurpose::ClientAuth], ..Kind::default() };
    let site = Site::with(&["127.0.0.1"], &kind).await;
    let refused = site.ask(&tls(&site.issue(&["host-a"], "host-a"))).await.unwrap_err();
    assert!(refused.contains("serverAuth"), "{refused}");
    let kind = Kind { usages: vec![ExtendedKeyUsagePurpose::ServerAuth], ..Kind::default() };
    let site = Site::new().await;
    let caller = site.authority.issue_as(&["host-a"], &site.at("host-a"), &kind);
    let refused = site.ask(&tls(&caller)).await.unwrap_err();
    assert!(refused.contains("does not accept the certificate"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_says_which_file_and_since_when() {
    let site = Site::new().await;
    let past = Kind { years: (2020, 2021), ..Kind::default() };
    let expired = site.authority.issue_as(&["host-a"], &site.at("host-a"), &past);
    let refused = site.ask(&tls(&expired)).await.unwrap_err();
    let file = expired.certificate.display().to_string();
    assert!(refused.contains(&file) && refused.contains("expired on 2021-12-31"), "{refused}");
    let refused = listen_on(&["https://127.0.0.1:0".parse().unwrap()], Some(&tls(&expired))).await.unwrap_err();
    assert!(refused.to_string().contains("expired on 2021-12-31"), "{refused}");
    let future = Kind { years: (2090, 2091), ..Kind::default() };
    let refused = site.ask(&tls(&site.authority.issue_as(&["host-a"], &site.at("host-a"), &future))).await.unwrap_err();
    assert!(refused.contains("valid only from 2090-01-01"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_used_are_named_with_what_to_do() {
    let site = Site::new().await;
    let caller = site.issue(&["host-a"], "host-a");
    let refused = async |change: &dyn Fn(&Issued)| {
        let caller = site.issue(&["host-a"], "host-a");
        change(&caller);
        site.ask(&tls(&caller)).await.unwrap_err()
    };
    for mode in [0o640, 0o604, 0o660] {
        let error = refused(&|it| fs::set_permissions(&it.key, Permissions::from_mode(mode)).unwrap()).await;
        assert!(error.contains(&caller.key.display().to_string()) && error.contains("chmod 0600"), "{error}");
        fs::set_permissions(&caller.key, Permissions::from_mode(0o600)).unwrap();
    }
    let error = refused(&|it| fs::remove_file(&it.authority).unwrap()).await;
    assert!(error.contains("authority.pem") && error.contains("put it there"), "{error}");
    let error = refused(&|it| fs::write(&it.certificate, "nothing").unwrap()).await;
    assert!(error.contains("cert.pem") && error.contains("BEGIN CERTIFICATE"), "{error}");
    let error = refused(&|it| fs::write(&it.key, "nothing").unwrap()).await;
    assert!(error.contains("key.pem") && error.contains("BEGIN PRIVATE KEY"), "{error}");
    let other = site.issue(&["host-b"], "host-b");
    let error = refused(&|it| assert!(fs::copy(&other.key, &it.key).unwrap() > 0)).await;
    assert!(error.contains("does not belong to the certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_replaced_are_used_by_the_next_connection_and_broken_ones_are_not() {
    let site = Site::new().await;
    let caller = tls(&site.issue(&["host-a"], "host-a"));
    assert_eq!(site.ask(&caller).await.unwrap(), "host-a");
    // The caller's: replaced, broken, and well again.
    site.issue(&["host-b"], "host-a");
    assert_eq!(site.ask(&caller).await.unwrap(), "host-b");
    let key = fs::read(site.at("host-a/key.pem")).unwrap();
    fs::write(site.at("host-a/key.pem"), "half a k").unwrap();
    assert_eq!(site.ask(&caller).await.unwrap(), "host-b");
    fs::write(site.at("host-a/key.pem"), key).unwrap();
    site.issue(&["host-c"], "host-a");
    assert_eq!(site.ask(&caller).await.unwrap(), "host-c");
    // The server's: another authority, which does not know the old one's certificates.
    let next = Authority::new("next");
    next.issue(&["127.0.0.1"], &site.at("server"));
    assert!(site.ask(&caller).await.is_err());
    next.issue(&["host-d"], &site.at("host-a"));
    assert_eq!(site.ask(&caller).await.unwrap(), "host-d");
    fs::remove_file(site.at("server/cert.pem")).unwrap();
    assert_eq!(site.ask(&caller).await.unwrap(), "host-d");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_shakes_hands_holds_nobody_up() {
    let site = Site::new().await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(("127.0.0.1", site.port())).await.unwrap());
    }
    let caller = tls(&site.issue(&["host-a"], "host-a"));
    let asked = tokio::time::timeout(Duration::from_secs(4), site.ask(&caller)).await;
    assert_eq!(asked.expect("an answer before any of them is given up").unwrap(), "host-a");
    // Nor do hundreds from another address.
    for _ in 0..300 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        silent.push(socket.connect(([127, 0, 0, 1], site.port()).into()).await.unwrap());
    }
    let asked = tokio::time::timeout(Duration::from_secs(4), site.ask(&caller)).await;
    assert_eq!(asked.expect("an answer beside all of them").unwrap(), "host-a");
    // And they are given up.
    let end = tokio::time::timeout(DEADLINE, silent[0].read(&mut [0; 8])).await.expect("the end of the connection");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_and_a_port_under_tls_are_listened_on_together() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::default());
    let own = tls(&authority.issue(&["127.0.0.1"], &folder.path().join("server")));
    let socket = Endpoint::Unix(folder.path().join("c.sock"));
    let listening = listen_on(&[socket.clone(), "https://127.0.0.1:0".parse().unwrap()], Some(&own)).await.unwrap();
    let endpoint = listening.endpoints()[1].clone();
    let serve = builder().add_service(WhoCalls).serve_with_incoming(listening);
    let _serving = AbortOnDropHandle::new(tokio::spawn(async { serve.await.unwrap() }));
    let asks = async |channel| FleetClient::new(channel).get_leader(GetLeaderRequest {}).await.unwrap_err();
    let caller = tls(&authority.issue(&["host-a"], &folder.path().join("host-a")));
    for _ in 0..3 {
        assert!(asks(connect(&socket).await.unwrap()).await.message().starts_with("Unix"));
        assert_eq!(asks(connect_with(&endpoint, Some(&caller)).await.unwrap()).await.message(), "host-a");
    }
}

#[tokio::test]
async fn an_address_under_tls_without_certificates_is_neither_listened_on_nor_called() {
    let endpoint: Endpoint = "https://127.0.0.1:1".parse().unwrap();
    let refused = listen(&endpoint).await.unwrap_err();
    assert!(refused.to_string().contains("needs certificates"), "{refused}");
    let refused = connect(&endpoint).await.unwrap_err();
    assert!(refused.to_string().contains("with certificates"), "{refused}");
}

#[tokio::test]
async fn nobody_at_an_address_under_tls_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let caller = tls(&Authority::default().issue(&["host-a"], folder.path()));
    let refused = connect_with(&"https://127.0.0.1:1".parse().unwrap(), Some(&caller)).await.unwrap_err().to_string();
    assert!(refused.contains("nobody answers at https://127.0.0.1:1"), "{refused}");
}

#[tokio::test]
async fn a_program_that_speaks_no_tls_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let plain = listen(&"http://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let Endpoint::Loopback(address) = plain.endpoints()[0] else { panic!() };
    let _serving = AbortOnDropHandle::new(tokio::spawn(builder().add_service(WhoCalls).serve_with_incoming(plain)));
    let caller = tls(&Authority::default().issue(&["host-a"], folder.path()));
    let endpoint = format!("https://{address}").parse().unwrap();
    let refused = connect_with(&endpoint, Some(&caller)).await.unwrap_err().to_string();
    assert!(refused.contains("does not speak TLS") || refused.contains("without a word"), "{refused}");
}

#[test]
fn the_days_of_every_certificate_can_be_told() {
    let folder = tempfile::tempdir().unwrap();
    let Issued { certificate, key, authority } = Authority::default().issue(&["host-a"], folder.path());
    let files = TlsFiles { certificate, key, authority };
    let all = files.certificates().unwrap();
    let paths: Vec<&Path> = all.iter().map(|(path, _)| path.as_path()).collect();
    assert_eq!(paths, [files.certificate.as_path(), files.authority.as_path()]);
    let at = |text: &str| cutover_vocabulary::Timestamp(text.parse().unwrap());
    assert_eq!(all[0].1.days_left(at("2100-12-01T00:00:00Z")), 30);
    assert_eq!(all[0].1.days_left(at("2101-01-01T00:00:00Z")), -1);
}
