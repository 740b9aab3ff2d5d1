//! Settings, secrets, break glass.

use crate::support::{Bed, target};
use cutover_agent::local::{self, LocalCommand};
use cutover_agent::perform::Perform as _;
use cutover_agent::settings::Settings;
use cutover_vocabulary::phase::Phase;
use cutover_vocabulary::{Elapsed, Work};
use std::path::Path;

const GOOD: &str = "name = \"a\"\ncoordinator = \"unix:/run/x.sock\"\nstate = \"/var/lib/x\"\n";

fn refused(text: &str) -> String {
    Settings::parse(text, Path::new("agent.toml")).unwrap_err().to_string()
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_right_one() {
    Settings::parse(GOOD, Path::new("agent.toml")).unwrap();
    let error = refused(&format!("{GOOD}recovry = \"/x\"\n"));
    assert!(error.contains("line 4") && error.contains("did you mean \"recovery\""), "{error}");
    let error = refused(&format!("{GOOD}[[instance]]\nname = \"i\"\ncomand = \"/x\"\n"));
    assert!(error.contains("line 6") && error.contains("did you mean \"command\""), "{error}");
}

#[test]
fn a_coordinator_that_others_on_the_network_could_reach_is_refused_for_want_of_tls() {
    let at = |address: &str| GOOD.replace("unix:/run/x.sock", address);
    Settings::parse(&at("http://127.0.0.1:7080"), Path::new("agent.toml")).unwrap();
    for address in ["http://10.0.0.7:7080", "https://127.0.0.1:7080", "http://coordinator:7080"] {
        let error = refused(&at(address));
        assert!(error.contains("TLS") && error.contains(address), "{error}");
    }
}

#[test]
fn no_error_and_no_debug_output_of_settings_shows_a_value_that_may_be_secret() {
    let secret = "postgresql://u:hunter22@h/d";
    let head =
        format!("{GOOD}[[instance]]\nname = \"i\"\ndeployment = \"d\"\nmanager = \"process\"\ncommand = \"/x\"\n");
    for wrong in [format!("args = \"{secret}\"\n"), format!("start = \"{secret}\"\n"), format!("env = \"{secret}\"\n")]
    {
        let error = refused(&format!("{head}{wrong}"));
        assert!(!error.contains("hunter22"), "{error}");
    }
    let good = format!("{head}args = [\"--x={secret}\"]\nenv = {{ Y = \"{secret}\" }}\n");
    let settings = Settings::parse(&good, Path::new("agent.toml")).unwrap();
    assert!(!format!("{settings:?}").contains("hunter22"));
}

#[test]
fn one_command_for_instances_of_two_deployments_is_refused_because_a_switch_would_change_both() {
    let bench = tempfile::tempdir().unwrap();
    let (real, alias) = (bench.path().join("opt"), bench.path().join("alias"));
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &alias).unwrap();
    let with = |second: &str, command: &Path| {
        let instance = |name: &str, deployment: &str, command: &Path| {
            format!(
                "[[instance]]\nname = {name:?}\ndeployment = {deployment:?}\nmanager = \"process\"\ncommand = {command:?}\n"
            )
        };
        format!("{GOOD}{}{}", instance("a", "prod", &real.join("numary")), instance("b", second, command))
    };
    for command in [real.join("numary"), alias.join("numary")] {
        let error = refused(&with("books", &command));
        assert!(error.contains("deployment books") && error.contains("a link of its own"), "{error}");
    }
    for (deployment, command) in [("books", real.join("numary-2")), ("prod", real.join("numary"))] {
        Settings::parse(&with(deployment, &command), Path::new("agent.toml")).unwrap();
    }
}

#[test]
fn a_download_that_would_prove_nothing_is_refused_with_what_to_do_instead() {
    for releases in ["\"http://example.org/numary-{version}.tar.gz\"", "{ place = \"http://example.org/x\" }"] {
        let error = refused(&format!("{GOOD}releases = {releases}\n"));
        assert!(error.contains("prove nothing") && error.contains("copy releases to a folder"), "{error}");
    }
    let error = refused(&format!("{GOOD}releases = {{ plase = \"/srv/x\" }}\n"));
    assert!(error.contains("plase") && error.contains("place"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_planted_secret_appears_in_no_file_of_the_agent_and_in_no_failure() {
    let bed = Bed::with_args("env_file = \"/SECRETS\"", ", \"--no-such-flag=pl4nted-flag\"").await;
    let secrets = bed.dir.path().join("secrets.env");
    std::fs::write(&secrets, "MY_PASSWORD=pl4nted-env\n").unwrap();
    let file = bed.dir.path().join("agent.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("\"/SECRETS\"", &format!("\"{}\"", secrets.display()));
    std::fs::write(&file, text).unwrap();
    let host = bed.restarted_host();
    let order = bed.order(
        Phase::Reopen,
        cutover_vocabulary::Subject::Instance(crate::support::instance()),
        bed.opening(crate::support::source()).await,
    );
    let outcome = host.perform(&order, tokio_util::sync::CancellationToken::new()).await;
    assert!(!format!("{outcome:?}").contains("pl4nted"), "{outcome:?}");
    let staged = bed.staged().await;
    std::fs::create_dir_all(bed.dir.path().join("data")).unwrap();
    let work = Work::Rehearse { target: staged, ledgers: Vec::new() };
    let rehearsed = bed.run(Phase::Rehearse, cutover_vocabulary::Subject::Storage, work).await;
    assert!(!format!("{rehearsed:?}").contains("pl4nted"), "{rehearsed:?}");
    let found =
        std::process::Command::new("grep").args(["-rl", "pl4nted"]).arg(bed.dir.path().join("state")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "files that hold a secret");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_dying_service_prints_is_told_without_its_secrets() {
    // Its message names the flag that it does not know.
    let bed = Bed::with_args("", ", \"--pl4nted-env\"").await;
    let file = bed.dir.path().join("agent.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("env = {", "env = { MY_PASSWORD = \"pl4nted-env\",");
    std::fs::write(&file, text).unwrap();
    let work = bed.opening(crate::support::source()).await;
    let order = bed.order(Phase::Reopen, cutover_vocabulary::Subject::Instance(crate::support::instance()), work);
    let outcome = bed.restarted_host().perform(&order, tokio_util::sync::CancellationToken::new()).await;
    let text = format!("{outcome:?}");
    assert!(text.contains("unknown flag: --[secret]"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn break_glass_shows_the_fence_and_lifts_it_without_any_coordinator() {
    let bed = Bed::new("").await;
    bed.instance(Phase::Drain, Work::Drain { patience: Elapsed(1_000), for_good: false }).await.unwrap();
    let settings = bed.settings();
    let status = local::run(&settings, &LocalCommand::Status { upgrade: None }).await.unwrap();
    assert!(status.contains("FENCED since") && status.contains("up-1/01.1/drain"), "{status}");
    let unfence = LocalCommand::Unfence { instance: crate::support::instance() };
    for _ in 0..2 {
        assert!(local::run(&settings, &unfence).await.unwrap().contains("start ledger-a"));
    }
    let failure = bed.instance(Phase::ConfirmDrained, Work::Attest).await.unwrap_err();
    assert!(failure.message.contains("a person on this host"), "{failure:?}");
    let _ = target();
}
