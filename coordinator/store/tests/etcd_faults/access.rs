//! Users, passwords and certificates of etcd.

use super::*;
use cutover_store::StoreError;
use cutover_store::etcd::EtcdTls;
use cutover_test_etcd::{Certificates, Etcd};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

#[path = "../../../../tests/src/pki.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared with other tests, which use more of it")]
mod pki;

fn password(folder: &Path, file: &str, text: &str, mode: u32) -> PathBuf {
    let path = folder.join(file);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_its_password_works_below_the_prefix_and_others_are_told_why_not() {
    let etcd = Etcd::start(1);
    let folder = tempfile::tempdir().unwrap();
    for command in [
        &["user", "add", "root:secret"] as &[&str],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "cutover"],
        &["role", "grant-permission", "cutover", "--prefix=true", "readwrite", "cutover/"],
        &["user", "add", "cutover:pass word"],
        &["user", "grant-role", "cutover", "cutover"],
        &["auth", "enable"],
    ] {
        etcd.ctl(0, command);
    }
    let right = password(folder.path(), "right", "pass word\n", 0o600);
    let wrong = password(folder.path(), "wrong", "secret\n", 0o600);
    let open = |user: Option<(String, PathBuf)>, prefix: &str| {
        let prefix = prefix.to_owned();
        EtcdStore::open(EtcdSettings { user, prefix, ..EtcdSettings::new(etcd.endpoints()) })
    };
    let cutover = |file: &PathBuf| Some(("cutover".to_owned(), file.clone()));
    let store = open(cutover(&right), "cutover/").unwrap();
    let epoch = leads(&store, "a").await;
    let facts = Writer::new(epoch).append(&store, &upgrade(), 3).await;
    store.announce(&name("a"), "x").await.unwrap();
    assert_eq!(stored(&store).await, facts);
    // Etcd forgets tokens when it is restarted; the store shows its password again.
    for (user, prefix, says) in [
        (cutover(&wrong), "cutover/", "authentication failed"),
        (None, "cutover/", "user"),
        (cutover(&right), "other/", "permission denied"),
    ] {
        let error = open(user, prefix).unwrap().lead(&name("b")).await.unwrap_err();
        assert!(matches!(error, StoreError::EtcdRefused { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(says) && text.contains("[etcd]") && !text.contains("pass word"), "{text}");
    }
    let loose = password(folder.path(), "loose", "pass word", 0o644);
    for (file, says) in [(loose, "chmod 0600"), (folder.path().join("none"), "No such file")] {
        let error = open(cutover(&file), "cutover/").unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(&file.display().to_string()), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_etcd_that_forgot_the_token_is_shown_the_password_again() {
    let mut etcd = Etcd::start(1);
    let folder = tempfile::tempdir().unwrap();
    for command in
        [&["user", "add", "root:secret"] as &[&str], &["user", "grant-role", "root", "root"], &["auth", "enable"]]
    {
        etcd.ctl(0, command);
    }
    let user = Some(("root".to_owned(), password(folder.path(), "password", "secret", 0o600)));
    let store = EtcdStore::open(EtcdSettings { user, ..EtcdSettings::new(etcd.endpoints()) }).unwrap();
    let epoch = leads(&store, "a").await;
    let facts = Writer::new(epoch).append(&store, &upgrade(), 3).await;
    etcd.kill(0);
    etcd.start_member(0);
    etcd.healthy();
    assert_eq!(stored(&store).await, facts);
    assert!(wins(&store, "a", PATIENCE).await > epoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_was_changed_in_etcd_and_in_its_file_needs_no_restart() {
    let etcd = Etcd::start(1);
    let folder = tempfile::tempdir().unwrap();
    for command in
        [&["user", "add", "root:first"] as &[&str], &["user", "grant-role", "root", "root"], &["auth", "enable"]]
    {
        etcd.ctl(0, command);
    }
    let file = password(folder.path(), "password", "first", 0o600);
    let user = Some(("root".to_owned(), file.clone()));
    let store = EtcdStore::open(EtcdSettings { user, ..EtcdSettings::new(etcd.endpoints()) }).unwrap();
    let epoch = leads(&store, "a").await;
    let mut writer = Writer::new(epoch);
    writer.append(&store, &upgrade(), 1).await;
    let mut client = etcd_client::Client::connect(
        etcd.endpoints(),
        Some(etcd_client::ConnectOptions::new().with_user("root", "first")),
    )
    .await
    .unwrap();
    client.user_change_password("root", "second").await.unwrap();
    password(folder.path(), "password", "second", 0o600);
    writer.append(&store, &upgrade(), 1).await;
    assert!(store.may_lead(epoch));
    assert_eq!(stored(&store).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_both_sides_show_certificates_and_whoever_does_not_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (pki::Authority::default(), pki::Authority::new("another"));
    let server = ours.issue(&["127.0.0.1"], &folder.path().join("server"));
    let client = ours.issue(&["cutover"], &folder.path().join("client"));
    let stranger = other.issue(&["cutover"], &folder.path().join("stranger"));
    let etcd = Etcd::start_with(
        1,
        Some(&Certificates {
            certificate: server.certificate.clone(),
            key: server.key.clone(),
            authority: server.authority.clone(),
        }),
        &[],
    );
    let open = |authority: &PathBuf, identity: Option<&pki::Issued>| {
        let identity = identity.map(|issued| (issued.certificate.clone(), issued.key.clone()));
        let tls = Some(EtcdTls { authority: authority.clone(), identity });
        EtcdStore::open(EtcdSettings { tls, ..EtcdSettings::new(etcd.endpoints()) }).unwrap()
    };
    let store = open(&client.authority, Some(&client));
    let epoch = leads(&store, "a").await;
    let facts = Writer::new(epoch).append(&store, &upgrade(), 3).await;
    assert_eq!(stored(&store).await, facts);
    for (store, says) in [
        (open(&stranger.authority, Some(&client)), "certificate"),
        (open(&client.authority, Some(&stranger)), "certificate"),
        (open(&client.authority, None), "certificate"),
    ] {
        let error = store.lead(&name("b")).await.unwrap_err().to_string();
        assert!(error.to_lowercase().contains(says), "{error}");
    }
}
