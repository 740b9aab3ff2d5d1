use super::host::{Leads, Silence};
use super::*;
use crate::render::ink::Ink;
use crate::render::page::{WIDTH, columns};
use cutover_agent::settings::Settings;
use cutover_trial_postgres::Missing;
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use tempfile::TempDir;

/// A folder with everything that an agent's settings name.
struct Fixture {
    dir: TempDir,
    settings: String,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["state", "releases", "data", "bin", "tmp"] {
            fs::create_dir(at(folder)).unwrap();
        }
        fs::set_permissions(at("state"), Permissions::from_mode(0o700)).unwrap();
        for program in ["numary", "bin/lb"] {
            fs::write(at(program), "#!/bin/sh\n").unwrap();
            fs::set_permissions(at(program), Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(at("numary.env"), "NUMARY_SERVER_HTTP_BIND_ADDRESS=:3068\n").unwrap();
        let root = dir.path().display();
        let settings = format!(
            "name = \"a\"\ncoordinator = \"unix:/run/c.sock\"\nstate = \"{root}/state\"\nunseen_users = [65534]\n\
             releases = {{ place = \"{root}/releases\" }}\n[[instance]]\nname = \"ledger-a\"\ndeployment = \"prod\"\n\
             manager = \"process\"\ncommand = \"{root}/numary\"\nhome = \"{root}\"\nenv_file = \"{root}/numary.env\"\n\
             env = {{ NUMARY_STORAGE_DIR = \"{root}/data\" }}\nout_of_rotation = [\"lb\", \"drain\"]\n\
             into_rotation = [\"{root}/bin/lb\", \"ready\"]\n"
        );
        Self { dir, settings }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn host(&self) -> Host {
        Host {
            path: self.at("bin").into(),
            client_programs: vec![("/usr/lib/postgresql/15/bin".into(), 15)],
            temporary: self.at("tmp"),
            server: Err(Missing::Server),
            beside: None,
            releases: None,
            settings: Some(Settings::parse(&self.settings, &self.at("agent.toml")).map_err(|error| error.to_string())),
            coordinator: ("unix:/run/c.sock".to_owned(), Ok(Some(leads(Some("c1"))))),
        }
    }
}

fn leads(leader: Option<&str>) -> Leads {
    Leads { answered: "c1".to_owned(), leader: leader.map(str::to_owned), epoch: 7 }
}

/// Group and check of every line in that state.
fn of(lines: &[Line], state: State) -> Vec<(&'static str, &'static str)> {
    lines.iter().filter(|line| line.state == state).map(|line| (line.group, line.check)).collect()
}

#[test]
fn a_host_that_has_what_its_agents_settings_name_lacks_nothing() {
    let lines = lines(&Fixture::new().host());
    assert_eq!(of(&lines, State::Missing), [], "{lines:#?}");
    assert_eq!(exit(&lines), Exit::Done);
    let told: BTreeSet<&str> = lines.iter().map(|line| line.group).collect();
    assert_eq!(told, ["Kernel", "Disk", "Coordinator", "Agent", "Instances"].into());
}

/// Changes the settings.
fn say(fixture: &mut Fixture, instead_of: &str, this: &str) {
    assert!(fixture.settings.contains(instead_of), "{instead_of}");
    fixture.settings = fixture.settings.replace(instead_of, this);
}

#[test]
fn each_thing_that_is_taken_away_is_missed_by_its_own_check_with_a_remedy() {
    type Break = fn(&mut Fixture);
    let cases: [(&str, &str, Break); 10] = [
        ("Kernel", "file locks", |it| fs::remove_dir(it.at("tmp")).unwrap()),
        ("Agent", "settings", |it| say(it, "home =", "hoem =")),
        ("Agent", "state directory", |it| fs::set_permissions(it.at("state"), Permissions::from_mode(0o750)).unwrap()),
        ("Agent", "releases", |it| fs::remove_dir(it.at("releases")).unwrap()),
        ("Instances", "command", |it| fs::set_permissions(it.at("numary"), Permissions::from_mode(0o644)).unwrap()),
        ("Instances", "storage", |it| fs::remove_dir(it.at("data")).unwrap()),
        ("Instances", "storage", |it| say(it, "env = {", "env = { NUMARY_STORAGE_DRIVER = \"mysql\",")),
        ("Instances", "port", |it| fs::write(it.at("numary.env"), "NUMARY_SERVER_HTTP_BIND_ADDRESS=3068\n").unwrap()),
        ("Instances", "out_of_rotation", |it| say(it, "\"lb\"", "\"balancer\"")),
        ("Instances", "into_rotation", |it| say(it, "/bin/lb\", \"ready\"", "/bin/gone\", \"ready\"")),
    ];
    for (group, check, take_away) in cases {
        let mut fixture = Fixture::new();
        take_away(&mut fixture);
        let lines = lines(&fixture.host());
        assert_eq!(of(&lines, State::Missing), [(group, check)], "{lines:#?}");
        let line = lines.iter().find(|line| line.state == State::Missing).unwrap();
        assert!(line.remedy.as_ref().is_some_and(|remedy| !remedy.is_empty()) && !line.why.is_empty());
        assert_eq!(exit(&lines), Exit::Error);
    }
}

#[test]
fn an_environment_file_that_is_gone_is_missed_instead_of_all_that_it_would_tell() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.at("numary.env")).unwrap();
    let lines = lines(&fixture.host());
    assert_eq!(of(&lines, State::Missing), [("Instances", "environment")], "{lines:#?}");
}

#[test]
fn the_clients_of_postgres_are_needed_only_where_a_ledger_is_in_it() {
    let mut fixture = Fixture::new();
    let without = |fixture: &Fixture| lines(&Host { client_programs: Vec::new(), ..fixture.host() });
    let client = ("PostgreSQL client programs", "pg_dump, pg_restore, psql");
    assert!(without(&fixture).iter().all(|line| line.group != client.0));
    let trials = lines(&Host { client_programs: Vec::new(), settings: None, ..fixture.host() });
    assert!(of(&trials, State::Warning).contains(&client));
    fixture.settings =
        fixture.settings.replace("NUMARY_STORAGE_DIR", "NUMARY_STORAGE_DRIVER = \"postgres\", NUMARY_STORAGE_DIR");
    assert_eq!(of(&without(&fixture), State::Missing), [client]);
    let storage = lines(&fixture.host()).into_iter().find(|line| line.check == "storage").unwrap();
    assert!(storage.found.contains("`cutover plan prod --to VERSION`"), "{}", storage.found);
}

#[test]
fn a_release_to_try_is_needed_on_a_host_for_trials_and_a_server_is_not() {
    let fixture = Fixture::new();
    let releases = ("Sandbox", "releases to try");
    let trials = |releases| lines(&Host { settings: None, releases, ..fixture.host() });
    assert_eq!(of(&trials(None), State::Missing), [releases]);
    assert_eq!(of(&trials(Some(fixture.at("releases"))), State::Missing), [releases], "an empty folder");
    fs::create_dir(fixture.at("releases/v1.4.6")).unwrap();
    let enough = trials(Some(fixture.at("releases")));
    assert_eq!(of(&enough, State::Missing), []);
    assert!(of(&enough, State::Warning).contains(&("Sandbox", "PostgreSQL server")));
    let rootless = lines(&Host { settings: None, server: Err(Missing::User), ..fixture.host() });
    assert!(of(&rootless, State::Warning).contains(&("Sandbox", "user for the server")));
}

#[test]
fn a_coordinator_that_is_away_or_does_not_lead_is_a_warning() {
    let fixture = Fixture::new();
    let silence = Silence { why: "nobody answers".to_owned(), remedy: "start one".to_owned() };
    for answer in [Err(silence), Ok(Some(leads(None)))] {
        let lines = lines(&Host { coordinator: ("unix:/run/c.sock".to_owned(), answer), ..fixture.host() });
        assert!(of(&lines, State::Warning).contains(&("Coordinator", "coordinator")));
        assert_eq!(exit(&lines), Exit::Done);
    }
}

#[test]
fn the_page_says_why_and_what_to_do_of_what_is_not_well_and_fits_80_columns() {
    let mut fixture = Fixture::new();
    say(&mut fixture, "\"lb\"", "\"balancer\"");
    let lines = lines(&fixture.host());
    let text = page::page(&lines, Ink::PLAIN);
    for part in [
        "missing  out_of_rotation: ledger-a: balancer is not in PATH",
        "Why    the load",
        "To do  name it with",
        "1 thing is missing",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    for line in text.lines().filter(|line| !line.contains('/')) {
        assert!(columns(line) <= WIDTH, "{line:?}");
    }
}
