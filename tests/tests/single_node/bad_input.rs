//! What people and disks put before Cutover that it must not take: each is refused before any downtime, in words that say
//! what is wrong, with which file, version or process, and what to do.

use cutover_tests::clients::version;
use cutover_tests::house::{House, Plan, program, releases, skipped};
use cutover_tests::until;
use cutover_vocabulary::Digest;
use cutover_vocabulary::finding::{Finding, Level};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A plan that is refused outright, once the agent is there; the words of the refusal.
fn refused(house: &House, target: &str) -> String {
    until("a refusal", Duration::from_secs(60), || match house.voice.plan("prod", target) {
        Err(why) if ["AGENT_NOT_SEEN", "NO_SUCH_DEPLOYMENT"].iter().any(|code| why.starts_with(code)) => None,
        Err(why) => Some(why),
        Ok(plan) => panic!("a plan: {:#?}", plan.observed.findings),
    })
}

/// The finding of a plan that blocks it; neither approval nor start lift it.
fn blocks(house: &House, target: &str, code: &str) -> Finding {
    let plan = house.voice.plan_when_ready("prod", target);
    let finding = plan.findings(Level::Block).find(|finding| finding.code.0 == code).cloned();
    let finding = finding.unwrap_or_else(|| panic!("no {code}: {:#?}", plan.observed.findings));
    for refused in [house.voice.approve(&plan).unwrap_err(), house.voice.start(&plan).unwrap_err()] {
        assert!(refused.starts_with("BLOCKED") && refused.contains(code), "{refused}");
    }
    finding
}

/// That every one of these is in a text; shown, so that people can read it as an operator would.
fn says(text: &str, words: &[&str]) {
    println!("{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

fn says_finding(finding: &Finding, evidence: &[&str], remedy: &[&str]) {
    says(&finding.evidence, evidence);
    says(&finding.remedy, remedy);
}

fn untouched(house: &House) {
    assert_eq!(version(house.address).as_deref(), Some("1.3.1"), "{}", house.logs());
}

/// Changes the agent's settings and starts it anew.
fn change_settings(house: &mut House, change: impl FnOnce(&str) -> String) {
    let file = house.dir().join("agent.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    let after = change(&before);
    assert_ne!(before, after);
    house.kill_agent();
    std::fs::write(&file, after).unwrap();
    house.start_agent();
}

/// A house with a folder of releases of its own; the folder of 1.4.6 in it.
fn own_releases() -> (House, PathBuf) {
    let mut house = House::new(Plan::default());
    let own = house.dir().join("release-pages");
    let folder = own.join("v1.4.6");
    std::fs::create_dir_all(&folder).unwrap();
    for entry in std::fs::read_dir(releases("1.4.6").join("v1.4.6")).unwrap().flatten() {
        std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let place = releases("1.4.6").display().to_string();
    change_settings(&mut house, |text| text.replace(&place, &own.display().to_string()));
    (house, folder)
}

const ARCHIVE: &str = "numary_1.4.6_Linux-64bit.tar.gz";

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() { open.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found
}

#[test]
fn a_target_that_is_not_newer_blocks() {
    releases("1.3.1");
    let house = House::new(Plan::default());
    let same = blocks(&house, "1.3.1", "target-not-newer");
    says_finding(&same, &["the deployment runs 1.3.1", "1.3.1 is not newer"], &["choose a newer target"]);
    let older = refused(&house, "1.3.0");
    says(
        &older,
        &["BLOCKED", "target-not-newer", "the deployment runs 1.3.1; 1.3.0 is not newer", "a downgrade is not"],
    );
    untouched(&house);
}

#[test]
fn a_target_that_nobody_has_is_refused_and_one_that_nobody_knows_needs_approval() {
    let house = House::new(Plan::default());
    house.voice.plan_when_ready("prod", "1.4.6");
    says(&refused(&house, "1.4.99"), &["BLOCKED", "release-unusable", "release 1.4.99 was not found at"]);
    releases("1.5.90");
    let unknown = house.voice.plan("prod", "1.5.90").unwrap();
    assert_eq!(unknown.level(), Some(Level::Approve), "{:#?}", unknown.observed.findings);
    let finding = unknown.findings(Level::Approve).find(|finding| finding.code.0 == "unknown-release").unwrap();
    says(&finding.evidence, &["nothing is known of 1.5.90", "asked itself, it has storage commands"]);
    let not_approved = house.voice.start(&unknown).unwrap_err();
    says(&not_approved, &["NEEDS_APPROVAL"]);
    let place = releases("1.4.6").join("v1.4.5").display().to_string();
    let missing = refused(&house, "1.4.5");
    says(
        &missing,
        &["BLOCKED", "release-unusable", "agent-a", "release 1.4.5 was not found at", &place, "put the release"],
    );
    for malformed in ["one.four", "1.4", "1.4.6-rc1", "", "1.4.6/../../etc"] {
        says(&refused(&house, malformed), &["INVALID_ARGUMENT", "target", malformed]);
    }
    let elsewhere = house.voice.plan("prodd", "1.4.6").unwrap_err();
    says(&elsewhere, &["NO_SUCH_DEPLOYMENT", "prodd", "start the agents of its hosts"]);
    untouched(&house);
}

#[test]
fn a_corrupt_release_file_is_refused_before_it_is_unpacked() {
    let (house, folder) = own_releases();
    let plan = house.voice.plan_when_ready("prod", "1.4.6");
    house.voice.approve(&plan).unwrap();
    let archive = folder.join(ARCHIVE);
    let whole = std::fs::read(&archive).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for bytes in [&flipped[..], &whole[..whole.len() / 2], b""] {
        std::fs::write(&archive, bytes).unwrap();
        let named = [Digest::of(bytes).to_string(), Digest::of(&whole).to_string()];
        let words = ["BLOCKED", "the file of release 1.4.6 is corrupt", &named[0], &named[1], "fetch the archive"];
        // It was whole when the plan was made and agreed to.
        says(&house.voice.start(&plan).unwrap_err(), &words);
        says(&refused(&house, "1.4.6"), &words);
    }
    std::fs::write(&archive, &whole).unwrap();
    let checksums = folder.join("checksums_linux.txt");
    std::fs::write(&checksums, format!("{}  another.tar.gz\n", Digest::of(&whole))).unwrap();
    let no_line = refused(&house, "1.4.6");
    says(&no_line, &["no usable checksum", &checksums.display().to_string(), "has no line for", ARCHIVE]);
    std::fs::remove_file(&checksums).unwrap();
    says(&refused(&house, "1.4.6"), &["no usable checksum", "there is no", &checksums.display().to_string()]);
    assert_eq!(files_below(&house.state().join("releases")), [] as [PathBuf; 0], "nothing was unpacked");
    untouched(&house);
}

/// Whoever packed it gave it a right checksum: what is in it is looked at before anything is written.
#[test]
fn an_archive_with_a_path_outside_or_a_link_is_refused_as_a_whole() {
    let pack: [(&str, &[&str], &str); 3] = [
        (
            "mkdir in && cp numary in/ && echo x > escaped && cd in && tar -czPf ../bad.tgz numary ../escaped",
            &["../escaped", "leads out of it"],
            "escaped",
        ),
        ("echo x > escaped && tar -czPf bad.tgz numary \"$PWD/escaped\"", &["/escaped", "leads out of it"], "escaped"),
        ("ln -s /etc/passwd escaped && tar -czf bad.tgz numary escaped", &["escaped", "is a link"], "escaped"),
    ];
    for (script, words, name) in pack {
        let (house, folder) = own_releases();
        let bench = tempfile::tempdir().unwrap();
        std::fs::copy(house.dir().join("numary"), bench.path().join("numary")).unwrap();
        let packed = Command::new("sh").args(["-ec", script]).current_dir(bench.path()).status().unwrap();
        assert!(packed.success(), "{script}");
        let bytes = std::fs::read(bench.path().join("bad.tgz")).unwrap();
        drop(bench);
        std::fs::write(folder.join(ARCHIVE), &bytes).unwrap();
        std::fs::write(folder.join("checksums_linux.txt"), format!("{}  {ARCHIVE}\n", Digest::of(&bytes))).unwrap();
        // The plan asks the target's own binary, so it is unpacked elsewhere first, and refused there already.
        let refused = blocks(&house, "1.4.6", "target-does-not-run");
        says(&refused.evidence, words);
        untouched(&house);
        let all = files_below(house.dir());
        assert!(!all.iter().any(|path| path.ends_with(name)), "{all:?}");
        assert_eq!(files_below(&house.state().join("releases")), [] as [PathBuf; 0], "nothing was unpacked");
    }
}

/// Runs a program that must end by itself, and not well; what it printed.
fn fails(name: &str, args: &[&str], folder: &Path) -> String {
    let mut child = Command::new(program(name))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until(&format!("{name} ends"), Duration::from_secs(20), || child.try_wait().unwrap())
    }));
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(seen.ok().and_then(|status| status.code()), Some(1), "{text}");
    text
}

#[test]
fn settings_with_an_unknown_key_name_it_and_the_nearest_right_one() {
    let house = House::new(Plan::default());
    let wrong = house.dir().join("wrong.toml");
    let agent = std::fs::read_to_string(house.dir().join("agent.toml")).unwrap();
    let coordinator = std::fs::read_to_string(house.dir().join("coordinator.toml")).unwrap();
    for (program, args, text, unknown, nearest) in [
        ("cutover-agent", "run", agent.replace("state =", "stat ="), "stat", "state"),
        ("cutover-agent", "run", agent.replace("deployment =", "deploiment ="), "deploiment", "deployment"),
        ("cutover-agent", "run", agent.replace("{ place =", "{ palce ="), "palce", "place"),
        ("cutover-coordinator", "", coordinator.replace("listen =", "lisen ="), "lisen", "listen"),
        (
            "cutover-coordinator",
            "",
            coordinator.replace("drain_seconds", "drian_seconds"),
            "drian_seconds",
            "drain_seconds",
        ),
    ] {
        let line = text.lines().position(|line| line.contains(unknown)).unwrap() + 1;
        std::fs::write(&wrong, &text).unwrap();
        let args: Vec<&str> = [args, "--settings", "wrong.toml"].into_iter().filter(|arg| !arg.is_empty()).collect();
        let said = fails(program, &args, house.dir());
        says(&said, &["wrong.toml", &format!("line {line}"), unknown, "did you mean", nearest]);
        let meant = said.split("did you mean").nth(1).unwrap();
        assert!(meant.trim_start_matches([' ', '`', '"']).starts_with(nearest), "{said}");
    }
    for (program, args) in [
        ("cutover-agent", vec!["run", "--settings", "nowhere.toml"]),
        ("cutover-coordinator", vec!["--settings", "nowhere.toml"]),
    ] {
        says(&fails(program, &args, house.dir()), &["cannot read the settings nowhere.toml", "--settings"]);
    }
    untouched(&house);
}

#[test]
fn a_data_directory_that_is_missing_blocks_until_it_is_back() {
    let house = House::new(Plan::default());
    house.voice.plan_when_ready("prod", "1.4.6");
    let data = house.data();
    std::fs::rename(&data, house.dir().join("elsewhere")).unwrap();
    let why = refused(&house, "1.4.6");
    says(
        &why,
        &["BLOCKED", "instance ledger-a", &data.display().to_string(), "No such file or directory", "plan again"],
    );
    assert_eq!(why.matches("instance-unreadable").count(), 1, "one trouble is said once: {why}");
    assert!(!data.exists(), "a look makes nothing");
    std::fs::rename(house.dir().join("elsewhere"), &data).unwrap();
    house.voice.plan("prod", "1.4.6").unwrap();
    untouched(&house);
}

/// For root no permission makes a folder read-only, a mount does.
struct ReadOnly(PathBuf);
impl ReadOnly {
    fn over(folder: &Path) -> Result<Self, String> {
        use std::os::unix::fs::PermissionsExt as _;
        if !rustix::process::geteuid().is_root() {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o500)).map_err(|e| e.to_string())?;
            return Ok(Self(folder.to_owned()));
        }
        let mount = |args: &[&str]| {
            let status = Command::new("mount").args(args).arg(folder).stderr(Stdio::null()).status();
            matches!(status, Ok(status) if status.success())
        };
        if !mount(&["--bind", &folder.display().to_string()]) {
            return Err("no right to mount a folder read-only".to_owned());
        }
        let guard = Self(folder.to_owned());
        if mount(&["-o", "remount,bind,ro"]) {
            Ok(guard)
        } else {
            Err("no right to mount a folder read-only".to_owned())
        }
    }
}
impl Drop for ReadOnly {
    fn drop(&mut self) {
        use std::os::unix::fs::PermissionsExt as _;
        if rustix::process::geteuid().is_root() {
            let _ = Command::new("umount").arg("-l").arg(&self.0).stderr(Stdio::null()).status();
        } else {
            let _ = std::fs::set_permissions(&self.0, std::fs::Permissions::from_mode(0o700));
        }
    }
}

#[test]
fn a_data_directory_that_is_read_only_blocks() {
    let house = House::new(Plan::default());
    house.voice.plan_when_ready("prod", "1.4.6");
    let guard = match ReadOnly::over(&house.data()) {
        Ok(guard) => guard,
        Err(why) => return skipped(&why),
    };
    let finding = blocks(&house, "1.4.6", "storage-read-only");
    let data = house.data().display().to_string();
    says_finding(
        &finding,
        &["it cannot be written", &data],
        &["make it writable for the user that the service runs as"],
    );
    drop(guard);
    untouched(&house);
}

#[test]
fn a_stranger_that_has_the_storage_open_blocks_until_it_is_gone() {
    let house = House::new(Plan::default());
    let stranger = std::fs::File::open(house.data().join("numary_shop.db")).unwrap();
    let finding = blocks(&house, "1.4.6", "storage-held-by-others");
    let pid = format!("process {} ", std::process::id());
    says_finding(&finding, &[&pid, "numary_shop.db"], &["end that process"]);
    crate::close(stranger);
    let plan = house.voice.plan("prod", "1.4.6").unwrap();
    assert_eq!(plan.findings(Level::Block).count(), 0, "{:#?}", plan.observed.findings);
    untouched(&house);
}

#[test]
fn a_db_name_with_an_underscore_blocks() {
    let house = House::new(Plan {
        env: vec![("NUMARY_STORAGE_SQLITE_DB_NAME".to_owned(), "my_db".to_owned())],
        ..Plan::default()
    });
    let finding = blocks(&house, "1.4.6", "db-name-with-underscore");
    says_finding(&finding, &["storage.sqlite.db_name is \"my_db\"", "storage scan"], &["rename the files"]);
    untouched(&house);
}

/// `storage upgrade` fails on the one and makes the other anew, empty, and says migrated.
#[test]
fn a_database_file_that_is_damaged_or_empty_blocks_until_it_is_gone() {
    let house = House::new(Plan::default());
    house.voice.plan_when_ready("prod", "1.4.6");
    let cases: [(&[u8], &[&str]); 2] = [
        (&[0x5a; 8192], &["is damaged or no SQLite database", "restore it from the operator's own backup"]),
        (b"", &["0 bytes: the ledger would create it anew, empty"]),
    ];
    for (bytes, words) in cases {
        let file = house.data().join("numary_third.db");
        std::fs::write(&file, bytes).unwrap();
        let why = refused(&house, "1.4.6");
        says(&why, &["BLOCKED", "instance ledger-a", "its storage cannot be used", "numary_third.db", "plan again"]);
        says(&why, words);
        assert_eq!(std::fs::read(&file).unwrap(), bytes, "a look changes nothing");
        std::fs::remove_file(&file).unwrap();
    }
    // What scan passes over is no ledger: a person may agree to leave it.
    std::fs::write(house.data().join("notes.db"), b"mine").unwrap();
    let plan = house.voice.plan("prod", "1.4.6").unwrap();
    let skipped = plan.findings(Level::Approve).find(|finding| finding.code.0 == "file-skipped").unwrap();
    says_finding(skipped, &["notes.db is not upgraded", "scan skips it"], &["move it out of the storage's folder"]);
    untouched(&house);
}

/// The settings of a second instance on the same storage.
fn with_second(text: &str, house: &House, deployment: &str) -> String {
    let root = house.dir().display();
    let port = cutover_tests::free_address().port();
    std::fs::copy(house.dir().join("numary"), house.dir().join("numary-b")).unwrap();
    format!(
        "{text}\n[[instance]]\nname = \"ledger-b\"\ndeployment = \"{deployment}\"\nmanager = \"process\"\n\
         command = \"{root}/numary-b\"\nargs = [\"server\", \"start\"]\nhome = \"{root}/home\"\n\
         env = {{ NUMARY_STORAGE_DIR = \"{root}/data\", NUMARY_SERVER_HTTP_BIND_ADDRESS = \"127.0.0.1:{port}\" }}\n"
    )
}

#[test]
fn a_second_instance_on_the_same_sqlite_blocks() {
    let mut house = House::new(Plan::default());
    let text = with_second(&std::fs::read_to_string(house.dir().join("agent.toml")).unwrap(), &house, "prod");
    change_settings(&mut house, |_| text);
    let finding = until("both instances are seen", Duration::from_secs(60), || {
        let plan = house.voice.plan("prod", "1.4.6").ok()?;
        (plan.binding.members.len() == 2).then(|| blocks(&house, "1.4.6", "sqlite-shared"))
    });
    says_finding(
        &finding,
        &["2 instances are registered on one SQLite storage"],
        &["run one instance on SQLite, or move to PostgreSQL"],
    );
    untouched(&house);
}

/// It may be called another deployment, and have no file open at the moment: the storage is shared all the same.
#[test]
fn an_instance_of_another_deployment_on_the_same_sqlite_blocks() {
    let mut house = House::new(Plan::default());
    let text = with_second(&std::fs::read_to_string(house.dir().join("agent.toml")).unwrap(), &house, "other");
    change_settings(&mut house, |_| text);
    let data = house.data().display().to_string();
    for deployment in ["prod", "other"] {
        let other = if deployment == "prod" { "instance ledger-b of deployment other" } else { "instance ledger-a of" };
        let why = until("both are looked at", Duration::from_secs(60), || {
            let why = house.voice.plan(deployment, "1.4.6").unwrap_err();
            why.contains("uses it too").then_some(why)
        });
        says(&why, &["BLOCKED", "its storage cannot be used", other, &data, "give each deployment its own"]);
    }
    untouched(&house);
}
