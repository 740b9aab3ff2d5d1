//! What an agent notices of its services while it looks for a plan: disasters 5 and 7 before anything was touched.

use crate::support::Bed;
use cutover_vocabulary::survey::{InstanceSurvey, Tried};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

async fn look(bed: &Bed) -> InstanceSurvey {
    bed.survey().await.instances.remove(0)
}

fn tried(survey: &InstanceSurvey) -> &Tried {
    survey.tried.as_ref().unwrap().as_ref().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_argument_that_the_target_refuses_is_named_before_anything_is_touched() {
    let bed = Bed::with_args("", ", \"--persist-config=false\", \"--ledgers\", \"a,b\", \"--debug\"").await;
    let survey = look(&bed).await;
    assert_eq!(tried(&survey).refused, ["unknown flag: --persist-config", "unknown flag: --ledgers"]);
    assert_eq!(tried(&survey).ignored, Vec::<String>::new(), "an argument is no variable");
    for untouched in ["data", "home/.numary", "state/releases/1.4.6"] {
        assert!(!bed.dir.path().join(untouched).exists(), "{untouched}");
    }
    let left: Vec<_> = std::fs::read_dir(bed.dir.path().join("state/scratch")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn arguments_that_the_target_knows_are_no_trouble_whatever_their_values() {
    let args = ", \"--lock-strategy-redis-duration=1500ms\", \"--publisher-kafka-sasl-scram-sha-size\", \"512\", \
                \"--server.http.basic_auth=u:secret\", \"--storage.cache=false\"";
    let bed = Bed::with_args("", args).await;
    assert_eq!(*tried(&look(&bed).await), Tried::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_variable_that_worked_and_would_be_ignored_is_named_and_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("env");
    let lines =
        "NUMARY_LEDGERS=a b\nNUMARY_PERSIST_CONFIG=false\nNUMARY_LOCK_STRATEGY=none\nNUMARY_OF_NOBODY=1\nOTHER=2\n";
    std::fs::write(&file, lines).unwrap();
    let bed = Bed::new(&format!("env_file = \"{}\"", file.display())).await;
    let wanted =
        Tried { refused: Vec::new(), ignored: vec!["NUMARY_LEDGERS".to_owned(), "NUMARY_PERSIST_CONFIG".to_owned()] };
    assert_eq!(*tried(&look(&bed).await), wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_target_that_cannot_be_run_here_says_why() {
    let bed = Bed::new("").await;
    let settings = bed.dir.path().join("agent.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let place = text.lines().find(|line| line.starts_with("releases")).unwrap().to_owned();
    let small = place.replace("}", ", max_binary_bytes = 1000 }");
    std::fs::write(&settings, text.replace(&place, &small)).unwrap();
    let why = look_again(&bed).await.tried.unwrap().unwrap_err();
    assert!(why.contains("more than max_binary_bytes"), "{why}");
}

/// With the settings as they are in the file now.
async fn look_again(bed: &Bed) -> InstanceSurvey {
    use cutover_agent::perform::Perform as _;
    use cutover_vocabulary::DeploymentName;
    use cutover_vocabulary::survey::SurveyAsk;
    let ask = SurveyAsk { deployment: DeploymentName::new("prod").unwrap(), target: crate::support::target() };
    bed.restarted_host().survey(&ask).await.instances.remove(0)
}

fn write_settings(home: &Path, text: &str, mode: u32) {
    let folder = home.join(".numary");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("numary.yaml"), text).unwrap();
    std::fs::set_permissions(folder.join("numary.yaml"), std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_settings_file_that_leads_elsewhere_is_named_without_its_secrets() {
    let bed = Bed::new("").await;
    assert_eq!(look(&bed).await.settings_file, None);
    let home = bed.dir.path().join("home");
    let data = bed.dir.path().join("data");
    let text = format!(
        "storage:\n  driver: sqlite\n  dir: {}\n  postgres.conn_string: postgres://led:hunter22@db/ledger\n",
        home.join("elsewhere").display()
    );
    write_settings(&home, &text, 0o644);
    let survey = look(&bed).await;
    let file = survey.settings_file.clone().unwrap();
    let origin = "environment variable NUMARY_STORAGE_DIR".to_owned();
    assert_eq!(
        file.overridden,
        [("storage.dir".to_owned(), origin)],
        "the driver is the same, the string nobody overrides"
    );
    assert!(file.exposed && file.ignored.is_none() && file.path.ends_with("/home/.numary/numary.yaml"), "{file:?}");
    assert!(!format!("{survey:?}").contains("hunter22"));

    write_settings(&home, &format!("storage.dir: {}\n", data.display()), 0o644);
    let file = look(&bed).await.settings_file.unwrap();
    assert!(file.overridden.is_empty() && !file.exposed, "the same folder, and no password: {file:?}");

    write_settings(&home, "storage: {dir: [", 0o600);
    let why = look(&bed).await.settings_file.unwrap().ignored.unwrap();
    assert!(why.contains("it is no YAML"), "{why}");
}
