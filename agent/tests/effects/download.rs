//! Releases from a mirror: a server in this process.

use crate::support::{Bed, releases, target, until, worker};
use cutover_agent::release::archive::verify;
use cutover_agent::release::download::download;
use cutover_agent::settings::Settings;
use cutover_agent::worker::{Task, WorkFolder};
use cutover_vocabulary::phase::Phase;
use cutover_vocabulary::survey::ReleaseProblem;
use cutover_vocabulary::{Digest, Evidence, Work};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const ARCHIVE: &str = "/numary/v1.4.6/numary_1.4.6_Linux-64bit.tar.gz";
const CHECKSUMS: &str = "/numary/v1.4.6/checksums_linux.txt";

/// A status and a body; where it leads to another place, the body is that place.
type Answer = (u16, Vec<u8>);

/// A mirror; what it has can be changed while it answers.
#[derive(Clone, Default)]
struct Mirror {
    files: Arc<Mutex<BTreeMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Mirror {
    fn put(&self, path: &str, status: u16, body: impl Into<Vec<u8>>) {
        self.files.lock().unwrap().insert(path.to_owned(), (status, body.into()));
    }

    /// The simulated release, as its pages have it.
    fn put_release(&self) -> Vec<u8> {
        let file = |path: &str| std::fs::read(releases().join(path.strip_prefix("/numary/").unwrap())).unwrap();
        self.put(ARCHIVE, 200, file(ARCHIVE));
        self.put(CHECKSUMS, 200, file(CHECKSUMS));
        file(ARCHIVE)
    }

    fn put_archive(&self, body: &[u8]) {
        self.put(ARCHIVE, 200, body);
        self.put(CHECKSUMS, 200, format!("{}  numary_1.4.6_Linux-64bit.tar.gz\n", Digest::of(body)));
    }

    /// Every path that was asked for since the last look.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mirror = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mirror = mirror.clone();
                let answer = service_fn(move |request: Request<Incoming>| {
                    let path = request.uri().path().to_owned();
                    mirror.asked.lock().unwrap().push(path.clone());
                    let (status, body) = mirror.files.lock().unwrap().get(&path).cloned().unwrap_or((404, Vec::new()));
                    let answer = Response::builder().status(status);
                    let answer = if status == 302 {
                        answer.header("location", String::from_utf8(body.clone()).unwrap())
                    } else {
                        answer
                    };
                    async move { Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(body))).unwrap()) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        address
    }
}

fn settings(state: &Path, releases: &str) -> Settings {
    let text =
        format!("name = \"a\"\ncoordinator = \"unix:/c\"\nstate = \"{}\"\nreleases = {releases}\n", state.display());
    Settings::parse(&text, Path::new("agent.toml")).unwrap()
}

fn template(address: SocketAddr) -> String {
    format!("\"http://{address}/numary/v{{version}}/numary_{{version}}_Linux-64bit.tar.gz\"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_release_of_a_mirror_is_downloaded_once_and_its_checksums_are_asked_for_each_time() {
    let (mirror, state) = (Mirror::default(), tempfile::tempdir().unwrap());
    let archive = mirror.put_release();
    let settings = settings(state.path(), &template(mirror.serve().await));
    download(&settings, &target()).await.unwrap();
    let verified = verify(&settings.release_folder(), &settings.releases, &target()).unwrap();
    assert_eq!(verified.release().archive, Digest::of(&archive));
    assert_eq!(mirror.asked(), [CHECKSUMS, ARCHIVE]);
    download(&settings, &target()).await.unwrap();
    assert_eq!(mirror.asked(), [CHECKSUMS]);
    // Published anew under the same name.
    mirror.put_archive(b"another");
    download(&settings, &target()).await.unwrap();
    assert_eq!(mirror.asked(), [CHECKSUMS, ARCHIVE]);
    let verified = verify(&settings.release_folder(), &settings.releases, &target()).unwrap();
    assert_eq!(verified.release().archive, Digest::of(b"another"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn both_names_that_releases_ever_had_are_found_below_an_address_and_a_mirror_may_lead_elsewhere() {
    let (mirror, state) = (Mirror::default(), tempfile::tempdir().unwrap());
    mirror.put("/numary/v1.4.6/numary_Linux_x86_64.tar.gz", 302, "/elsewhere");
    mirror.put("/elsewhere", 200, "archive");
    let line = format!("{}  numary_Linux_x86_64.tar.gz\n", Digest::of(b"archive"));
    mirror.put("/numary/v1.4.6/checksums.txt", 200, line);
    let settings = settings(state.path(), &format!("{{ place = \"http://{}/numary\" }}", mirror.serve().await));
    download(&settings, &target()).await.unwrap();
    verify(&settings.release_folder(), &settings.releases, &target()).unwrap();
    // The other name comes first, and is what the mirror has now.
    mirror.put_archive(b"another");
    download(&settings, &target()).await.unwrap();
    let verified = verify(&settings.release_folder(), &settings.releases, &target()).unwrap();
    assert_eq!(verified.release().archive, Digest::of(b"another"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_is_kept_of_an_archive_that_is_not_what_its_checksum_says_or_is_too_large() {
    let (mirror, state) = (Mirror::default(), tempfile::tempdir().unwrap());
    mirror.put_archive(b"archive");
    mirror.put(ARCHIVE, 200, "changed on its way");
    let address = mirror.serve().await;
    let settings_ = settings(state.path(), &template(address));
    let corrupt = download(&settings_, &target()).await.unwrap_err();
    assert!(matches!(corrupt, ReleaseProblem::Corrupt { .. }), "{corrupt}");
    mirror.put_archive(&[7; 5000]);
    let small = settings(state.path(), &format!("{{ place = \"http://{address}/numary\", max_binary_bytes = 4000 }}"));
    let large = download(&small, &target()).await.unwrap_err().to_string();
    assert!(large.contains(ARCHIVE) && large.contains("more than 4000 bytes"), "{large}");
    mirror.put(CHECKSUMS, 200, "");
    let unnamed = download(&settings_, &target()).await.unwrap_err();
    assert!(matches!(&unnamed, ReleaseProblem::NoChecksum { .. }), "{unnamed}");
    let folder = settings_.release_folder();
    assert_eq!(files(&folder), ["v1.4.6"], "nothing is kept");
    assert_eq!(files(&folder.join("v1.4.6")), Vec::<String>::new(), "nothing is kept");
}

/// What is in a folder, by name.
fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A mirror whose archive never comes to its end.
async fn endless() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let checksums = format!("{}  numary_1.4.6_Linux-64bit.tar.gz\n", Digest::of(b"all of it"));
                let (length, body) = if String::from_utf8_lossy(&request).contains(CHECKSUMS) {
                    (checksums.len(), checksums.as_str())
                } else {
                    (checksums.len(), "part of it")
                };
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
                std::future::pending::<()>().await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_download_left_is_removed_by_the_next_one_and_what_a_living_one_writes_to_is_not() {
    let (mirror, dir) = (Mirror::default(), tempfile::tempdir().unwrap());
    let file = dir.path().join("agent.toml");
    let text = format!(
        "name = \"a\"\ncoordinator = \"unix:/c\"\nstate = \"{}\"\nreleases = {}\n",
        dir.path().display(),
        template(endless().await)
    );
    std::fs::write(&file, text).unwrap();
    mirror.put_archive(b"archive");
    let settings = settings(dir.path(), &template(mirror.serve().await));
    let folder = settings.release_folder();
    let under_way = || match folder.exists() {
        true => files(&folder).into_iter().filter(|name| name != "v1.4.6").collect(),
        false => Vec::new(),
    };
    let begin = |name: &str| {
        let (folder, task) =
            (WorkFolder::at(dir.path().join(name)), Task::Download { settings: file.clone(), version: target() });
        folder.prepare(&task).unwrap();
        let alive = folder.alive().unwrap();
        assert!(alive.try_lock().unwrap());
        worker().spawn_worker(&folder, alive).unwrap()
    };
    let mut killed = begin("killed");
    until("one is under way", || !under_way().is_empty()).await;
    killed.kill().await.unwrap();
    let left = under_way();
    assert_eq!(left.len(), 1, "whoever is killed tidies nothing up");
    let mut living = begin("living");
    until("another one is", || under_way().iter().any(|name| !left.contains(name))).await;
    let lives = under_way();
    assert_eq!(lives.len(), 1, "what the killed one left is gone");
    download(&settings, &target()).await.unwrap();
    assert_eq!(under_way(), lives);
    living.kill().await.unwrap();
    download(&settings, &target()).await.unwrap();
    assert_eq!(under_way(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_mirror_that_does_not_have_it_or_does_not_answer_is_named_with_what_came_of_it() {
    let (mirror, state) = (Mirror::default(), tempfile::tempdir().unwrap());
    let address = mirror.serve().await;
    let settings_ = settings(state.path(), &template(address));
    let said = download(&settings_, &target()).await.unwrap_err().to_string();
    for part in [CHECKSUMS, "/checksums.txt", "404 Not Found", "correct `releases`"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    mirror.put(CHECKSUMS, 503, "");
    let said = download(&settings_, &target()).await.unwrap_err().to_string();
    assert!(said.contains("503 Service Unavailable") && !said.contains("/checksums.txt"), "{said}");
    let nobody = settings(state.path(), &template("127.0.0.1:1".parse().unwrap()));
    let said = download(&nobody, &target()).await.unwrap_err().to_string();
    assert!(said.contains("refused") && said.contains("HTTPS_PROXY") && said.contains("127.0.0.1:1/"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_staged_from_a_mirror_also_after_somebody_removed_what_the_survey_downloaded() {
    let mirror = Mirror::default();
    mirror.put_release();
    let mut bed = Bed::new("").await;
    let file = bed.dir.path().join("agent.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let folder = format!("{{ place = \"{}\" }}", releases().display());
    assert!(text.contains(&folder));
    std::fs::write(&file, text.replace(&folder, &template(mirror.serve().await))).unwrap();
    bed.host = bed.restarted_host();
    let release = bed.survey().await.target.unwrap();
    assert_eq!(mirror.asked(), [CHECKSUMS, ARCHIVE]);
    std::fs::remove_dir_all(bed.dir.path().join("state/downloads")).unwrap();
    let staged = bed.instance(Phase::Stage, Work::StageRelease { release: release.clone() }).await.unwrap();
    assert!(matches!(&staged, Evidence::Staged(staged) if staged.release == release), "{staged:?}");
    assert_eq!(mirror.asked(), [CHECKSUMS, ARCHIVE]);
    // What was planned with is here: a mirror that is down by now does not matter.
    mirror.put(CHECKSUMS, 503, "");
    std::fs::remove_dir_all(bed.dir.path().join("state/releases")).unwrap();
    bed.instance(Phase::Stage, Work::StageRelease { release }).await.unwrap();
    assert_eq!(mirror.asked(), Vec::<String>::new());
}
