//! Release files that must not be used, and staging.

use crate::support::{Bed, releases, target};
use cutover_agent::release::archive::{VerifiedArchive, verify};
use cutover_agent::service::allowed;
use cutover_agent::settings::ReleasesSettings;
use cutover_vocabulary::outcome::FailureKind;
use cutover_vocabulary::phase::Phase;
use cutover_vocabulary::survey::ReleaseProblem;
use cutover_vocabulary::{Digest, Work};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::path::Path;

/// A folder with one release whose archive holds these entries.
fn packed(entries: &[(&str, tar::EntryType, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        // Written raw: the builder itself refuses such names.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(if kind.is_file() { content.len() as u64 } else { 0 });
        header.set_mode(0o755);
        if !kind.is_file() {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        archive.append(&header, if kind.is_file() { *content } else { &[] }).unwrap();
    }
    let bytes = archive.into_inner().unwrap().finish().unwrap();
    write(dir.path(), &bytes, Digest::of(&bytes));
    dir
}

fn found(dir: &Path) -> Result<VerifiedArchive, ReleaseProblem> {
    verify(dir, &ReleasesSettings::default(), &target())
}

fn write(dir: &Path, bytes: &[u8], digest: Digest) {
    let folder = dir.join("v1.4.6");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("numary_1.4.6_Linux-64bit.tar.gz"), bytes).unwrap();
    let line = format!("{digest}  numary_1.4.6_Linux-64bit.tar.gz\n");
    std::fs::write(folder.join("checksums_linux.txt"), line).unwrap();
}

#[test]
fn an_archive_with_a_path_outside_a_link_or_no_binary_is_refused_as_a_whole() {
    let file = tar::EntryType::Regular;
    let binary: (&str, tar::EntryType, &[u8]) = ("numary", file, b"x");
    for (entries, why) in [
        (vec![binary, ("../evil", file, b"x")], "leads out of it"),
        (vec![binary, ("/etc/evil", file, b"x")], "leads out of it"),
        (vec![binary, ("docs", tar::EntryType::Symlink, b"")], "is a link"),
        (vec![binary, ("docs", tar::EntryType::Link, b"")], "is a link"),
        (vec![binary, ("dev", tar::EntryType::Char, b"")], "neither a file nor a folder"),
        (vec![("other", file, b"x")], "holds no entry numary"),
        (vec![binary, binary], "2 entries named numary"),
        (vec![("numary", file, &[0; 4096])], "more than max_binary_bytes"),
    ] {
        let dir = packed(&entries);
        let to = dir.path().join("out");
        let problem = found(dir.path()).unwrap().unpack(&to, 1000).unwrap_err();
        assert!(matches!(&problem, ReleaseProblem::BadArchive { .. }), "{problem:?}");
        assert!(problem.to_string().contains(why), "{problem}");
        assert!(!to.exists(), "nothing was unpacked");
    }
}

#[test]
fn an_archive_whose_bytes_are_not_those_of_its_checksum_file_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(found(dir.path()), Err(ReleaseProblem::Missing { .. })));
    write(dir.path(), b"no archive at all", Digest::of(b"another"));
    assert!(matches!(found(dir.path()), Err(ReleaseProblem::Corrupt { .. })));
    std::fs::write(dir.path().join("v1.4.6/checksums_linux.txt"), "").unwrap();
    assert!(matches!(found(dir.path()), Err(ReleaseProblem::NoChecksum { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_staged_binary_that_somebody_changed_is_not_switched_to_and_is_staged_anew() {
    let bed = Bed::new("").await;
    let staged = bed.staged().await;
    assert!(staged.storage_commands);
    assert_eq!(bed.staged().await, staged, "again: the same");
    let binary = bed.dir.path().join("state/releases/1.4.6/numary");
    std::fs::write(&binary, "other").unwrap();
    let refused = bed.instance(Phase::Switch, Work::Switch { to: staged.clone() }).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Refused, "{refused:?}");
    assert_eq!(bed.staged().await, staged);
    bed.instance(Phase::Switch, Work::Switch { to: staged }).await.unwrap();
    let _ = releases();
}

/// Cuts 1.4.6 anew: a binary that says it is `says`, and is not the one that was released before.
async fn cut_again(bed: &mut Bed, says: &str) -> Digest {
    let dir = bed.dir.path().join("cut-again");
    let _ = std::fs::remove_dir_all(&dir);
    let script = format!("#!/bin/sh\ncase $1 in version) echo 'Version: {says}';; *) echo Usage:;; esac\n");
    let made = packed(&[("numary", tar::EntryType::Regular, script.as_bytes())]);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::rename(made.path().join("v1.4.6"), dir.join("v1.4.6")).unwrap();
    let file = bed.dir.path().join("agent.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&releases().display().to_string(), &dir.display().to_string())).unwrap();
    bed.host = bed.restarted_host();
    Digest::of(script.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_version_that_was_cut_again_takes_no_other_instances_binary_away() {
    let mut bed = Bed::new("").await;
    let staged = bed.staged().await;
    let binary = bed.dir.path().join("state/releases/1.4.6/numary");
    let lies = || Digest::of(&std::fs::read(&binary).unwrap());
    // One of another deployment on the same host.
    let other = bed.settings().instance_dir(&"ledger-eu".parse().unwrap());
    allowed::allow(&other, &binary).unwrap();
    let again = cut_again(&mut bed, "1.4.6").await;
    let release = bed.release();
    let stage = || bed.instance(Phase::Stage, Work::StageRelease { release: release.clone() });
    let refused = stage().await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Refused, "{refused:?}");
    for part in ["instance ledger-eu", &staged.binary.to_string(), &again.to_string(), "a version of its own"] {
        assert!(refused.message.contains(part), "{part}: {refused:?}");
    }
    assert_eq!(lies(), staged.binary, "it starts what it did");
    assert_eq!(std::fs::read_dir(binary.parent().unwrap()).unwrap().count(), 2, "nothing is left of the other");
    // Nobody needs it any more.
    std::fs::remove_dir_all(other).unwrap();
    stage().await.unwrap();
    assert_eq!(lies(), again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_binary_that_is_another_version_than_its_archive_says_replaces_nothing() {
    let mut bed = Bed::new("").await;
    let staged = bed.staged().await;
    let binary = bed.dir.path().join("state/releases/1.4.6/numary");
    cut_again(&mut bed, "1.5.0").await;
    let misnamed = Work::StageRelease { release: bed.release() };
    let refused = bed.instance(Phase::Stage, misnamed).await.unwrap_err();
    assert!(refused.message.contains("says it is 1.5.0"), "{refused:?}");
    assert_eq!(Digest::of(&std::fs::read(&binary).unwrap()), staged.binary);
    assert_eq!(std::fs::read_dir(binary.parent().unwrap()).unwrap().count(), 2, "nothing is left of the other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_release_that_several_orders_want_at_one_moment_is_there_whole_for_each() {
    for _ in 0..4 {
        let bed = Bed::new("").await;
        let staged = futures::future::join_all((0..6).map(|_| bed.staged())).await;
        assert!(staged.iter().all(|one| *one == staged[0]));
        let binary = std::fs::read(bed.dir.path().join("state/releases/1.4.6/numary")).unwrap();
        assert_eq!(Digest::of(&binary), staged[0].binary);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn asking_a_binary_touches_no_storage() {
    let bed = Bed::new("").await;
    bed.staged().await;
    assert!(!bed.dir.path().join("data").exists(), "every command creates its storage directory");
    assert!(!bed.dir.path().join("home/.numary").exists());
}
