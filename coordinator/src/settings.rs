//! The coordinator's settings file.
//!
//! TOML; an unknown key is refused and named with the nearest right one, because a key that is silently ignored is found
//! out during an upgrade. No setting of the coordinator is a secret: the password for etcd lies in a file of its own.
//!
//! - `keys`: the file as it is written, and its schema.
//! - `rules`: from the file to [`Settings`].
//! - `store`: where facts are kept, with the table `[etcd]`.
//! - `tls`: certificates.

mod error;
mod keys;
mod rules;
mod store;
mod tls;

pub use error::SettingsError;
pub use keys::schema;
pub use store::StorePlace;

use cutover_core::catalogue::Catalogue;
use cutover_proto::transport::{Endpoint, TlsFiles};
use cutover_store::CoordinatorName;
use cutover_vocabulary::plan::Limits;
use cutover_vocabulary::{Elapsed, OperatorName};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Settings of one coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its name, unique among the coordinators of a fleet.
    pub name: CoordinatorName,
    /// Where it listens: `unix:/path`, `http://127.0.0.1:PORT`, or with [`Settings::tls`] `https://ADDRESS:PORT`.
    pub listen: Vec<Endpoint>,
    /// Where others are told that it is reached; none: where it listens.
    pub advertise: Option<Endpoint>,
    /// What it shows and whom it believes on the network; none: it listens on this host alone.
    pub tls: Option<TlsFiles>,
    /// The names in certificates whose owners may call as operators. Over the Unix socket and loopback everybody may who can.
    pub operators: BTreeSet<OperatorName>,
    /// Where facts are kept.
    pub store: StorePlace,
    /// Where `GET /metrics` is answered to Prometheus, like `127.0.0.1:9464`; nowhere by default. Plain HTTP without a password:
    /// whoever reaches the address reads names of deployments, upgrades and agents, and how they are.
    pub metrics: Option<SocketAddr>,
    /// A program that is run when an upgrade is held, when clients are let in on its target, and when it ends; none by default.
    /// `docs/watching.md` has what it is told. It runs beside the upgrade, for at most a minute, and nothing waits for it.
    ///
    /// Each event is told at least once: what was being told when the leader changed, the next leader tells again. Upgrade and
    /// `seq` together tell a repetition from news. One that fails or takes too long is logged and not repeated.
    pub hook: Option<HookCommand>,
    /// How long things may take; part of every plan.
    pub limits: Limits,
    /// How long agents have to answer a survey. A look at a storage reads every ledger once.
    pub survey: Elapsed,
    /// What is known of the ledger's releases: what ships with this program, and what the company's own file adds.
    pub catalogue: Arc<Catalogue>,
}

/// A program with its arguments. No shell reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookCommand {
    /// Its file, from the root.
    pub program: PathBuf,
    /// What is given to it, word by word.
    pub args: Vec<String>,
}

impl Settings {
    /// Settings with default limits; for single-node mode, which needs no file.
    ///
    /// # Errors
    /// [`SettingsError::Catalogue`], where the program itself is damaged.
    pub fn new(name: CoordinatorName, listen: Endpoint, store: StorePlace) -> Result<Self, SettingsError> {
        let survey = Elapsed::from_secs(keys::default_survey());
        let catalogue = Arc::new(cutover_core::catalogue::shipped()?);
        Ok(Self {
            name,
            listen: vec![listen],
            advertise: None,
            tls: None,
            operators: BTreeSet::new(),
            store,
            metrics: None,
            hook: None,
            limits: Limits::default(),
            survey,
            catalogue,
        })
    }

    /// Reads a settings file.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cutover_store::EtcdSettings;

    const SMALLEST: &str = "name = \"c-1\"\nlisten = \"unix:/run/c.sock\"\nstore = \"sqlite:/var/lib/c.db\"\n";

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse(text, Path::new("c.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_left_away_keeps_its_default() {
        let settings = parse(&format!("{SMALLEST}[limits]\nagent_lost_seconds = 5\n")).unwrap();
        assert_eq!(settings.limits, Limits { agent_lost: Elapsed::from_secs(5), ..Limits::default() });
        assert_eq!(settings.store, StorePlace::Sqlite("/var/lib/c.db".into()));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_right_one() {
        let error = parse(&format!("{SMALLEST}[limits]\nagent_lots_seconds = 5\n")).unwrap_err();
        assert!(error.contains("line 5") && error.contains("did you mean `agent_lost_seconds`?"), "{error}");
    }

    #[test]
    fn a_companys_catalogue_is_added_to_what_ships_and_a_fault_in_it_names_file_place_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let (settings, ours) = (folder.path().join("c.toml"), folder.path().join("ours.toml"));
        let text = format!("{SMALLEST}catalogue = \"ours.toml\"\n");
        let parse = || Settings::parse(&text, &settings).map_err(|error| error.to_string());
        let missing = parse().unwrap_err();
        assert!(missing.contains("ours.toml") && missing.contains("c.toml names"), "{missing}");
        std::fs::write(&ours, "[[bad_release]]\nversions = \"=1.12.0\"\nraeson = \"audit\"\n").unwrap();
        let fault = parse().unwrap_err();
        assert!(["ours.toml", "line 3", "raeson"].iter().all(|part| fault.contains(part)), "{fault}");
        std::fs::write(&ours, "[[bad_release]]\nversions = \"=1.12.0\"\nreason = \"audit\"\n").unwrap();
        let known = parse().unwrap().catalogue;
        let bad = known.bad_release(&cutover_vocabulary::Version::new(1, 12, 0)).unwrap();
        assert_eq!((bad.reason.as_str(), bad.source.to_string().as_str()), ("audit", "company file"));
    }

    /// The keys that the parser knows at a place, by its own word: ``unknown field `zz`, expected one of `name`, …``.
    fn known(text: &str) -> Vec<String> {
        let error = toml::from_str::<keys::File>(text).err().unwrap();
        let mut known: Vec<String> = error.message().split('`').skip(3).step_by(2).map(str::to_owned).collect();
        known.sort();
        known
    }

    #[test]
    fn a_key_that_the_file_may_have_is_in_the_schema_and_no_other_is() {
        let schema = schema();
        let described = |table: &serde_json::Value| -> Vec<String> {
            table["properties"].as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(described(&schema), known("zz = 1"));
        assert_eq!(described(&schema["properties"]["limits"]), known("[limits]\nzz = 1"));
        assert_eq!(described(&schema["properties"]["tls"]), known("[tls]\nzz = 1"));
        assert_eq!(described(&schema["properties"]["etcd"]), known("[etcd]\nzz = 1"));
        assert!(known("zz = 1").contains(&"catalogue".to_owned()));
    }

    #[test]
    fn an_address_that_others_could_reach_is_refused() {
        let error = parse(&SMALLEST.replace("unix:/run/c.sock", "http://10.0.0.7:7080")).unwrap_err();
        assert!(error.contains("listen") && error.contains("loopback"), "{error}");
    }

    #[test]
    fn an_address_on_the_network_needs_certificates_and_certificates_an_address() {
        const TLS: &str = "[tls]\ncertificate = \"/t/c.pem\"\nkey = \"/t/k.pem\"\nauthority = \"/t/a.pem\"\n";
        let both = SMALLEST.replace("\"unix:/run/c.sock\"", "[\"unix:/run/c.sock\", \"https://0.0.0.0:7443\"]");
        let settings = parse(&format!("{both}{TLS}operators = [\"ops.example.com\"]\n")).unwrap();
        let listen: Vec<String> = settings.listen.iter().map(ToString::to_string).collect();
        assert_eq!(listen, ["unix:/run/c.sock", "https://0.0.0.0:7443"]);
        assert_eq!(settings.operators, [OperatorName::new("ops.example.com").unwrap()].into());
        assert_eq!(settings.tls.unwrap().key, PathBuf::from("/t/k.pem"));
        assert!(parse(&format!("{both}{TLS}")).unwrap().operators.is_empty(), "nobody by default");
        for (text, says) in [
            (both.clone(), "add the table [tls]"),
            (format!("{SMALLEST}{TLS}"), "begins with https://"),
            (format!("{both}{}", TLS.replace("\"/t/k.pem\"", "\"k.pem\"")), "must be an absolute path"),
            (SMALLEST.replace("\"unix:/run/c.sock\"", "[]"), "names no address"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn an_advertised_address_is_one_that_is_listened_at() {
        let with = |text: &str| parse(&format!("{SMALLEST}advertise = \"{text}\"\n"));
        assert_eq!(parse(SMALLEST).unwrap().advertise, None);
        assert_eq!(with("unix:/run/d.sock").unwrap().advertise.unwrap().to_string(), "unix:/run/d.sock");
        for (text, says) in [("c1.example.com", "unix:/path"), ("https://c1.example.com:7443", "must begin alike")] {
            let error = with(text).unwrap_err();
            assert!(error.contains("advertise") && error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_store_that_is_none_says_what_to_write() {
        for store in ["etc", "sqlite:c.db", ""] {
            let error = parse(&SMALLEST.replace("sqlite:/var/lib/c.db", store)).unwrap_err();
            assert!(error.contains("sqlite:/path"), "{error}");
        }
    }

    #[test]
    fn etcd_needs_its_table_and_the_table_etcd() {
        let etcd = |table: &str| parse(&format!("{}[etcd]\n{table}", SMALLEST.replace("sqlite:/var/lib/c.db", "etcd")));
        let settings = etcd("endpoints = [\"http://127.0.0.1:2379\"]\n").unwrap();
        let expected = EtcdSettings::new(["http://127.0.0.1:2379".to_owned()]);
        assert_eq!(settings.store, StorePlace::Etcd(expected));
        let all = "endpoints = [\"https://a:2379\", \"https://b:2379\"]\nprefix = \"eu\"\nlease_seconds = 10\nuser = \"c\"\n\
                   password_file = \"/p\"\ncertificate = \"/c\"\nkey = \"/k\"\nauthority = \"/a\"\n";
        let StorePlace::Etcd(settings) = etcd(all).unwrap().store else { panic!("no etcd") };
        assert_eq!((settings.prefix.as_str(), settings.lease.as_secs()), ("eu/", 10));
        assert_eq!(settings.user, Some(("c".to_owned(), "/p".into())));
        let without = |key: &str| all.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n");
        let changed = |from: &str, to: &str| all.replace(from, to);
        for (table, says) in [
            (without("endpoints"), "names none"),
            (changed("https://a:2379", "a:2379"), "https://HOST:2379"),
            (changed("https://a:2379", "https://a"), "https://HOST:2379"),
            (changed("https://a:2379", "https://a:2379/x"), "https://HOST:2379"),
            (changed("https://a:2379", "http://a:2379"), "must begin alike"),
            (changed("https", "http"), "begin with https://"),
            (without("authority"), "add authority"),
            (without("key"), "add key"),
            (without("certificate"), "add certificate"),
            (without("user"), "add user"),
            (without("password_file"), "add password_file"),
            (changed("\"/k\"", "\"k\""), "must be an absolute path"),
            (changed("= 10", "= 1"), "from 2 to 60"),
            (changed("\"eu\"", "\"/\""), "prefix is empty"),
            (changed("\"eu\"", "\"e u\""), "no space"),
        ] {
            let error = etcd(&table).unwrap_err();
            assert!(error.contains("etcd") && error.contains(says), "{says}: {error}");
        }
        let alone = parse(&SMALLEST.replace("sqlite:/var/lib/c.db", "etcd")).unwrap_err();
        assert!(alone.contains("add the table [etcd]"), "{alone}");
        let both = parse(&format!("{SMALLEST}[etcd]\nendpoints = [\"http://127.0.0.1:2379\"]\n")).unwrap_err();
        assert!(both.contains("leave the table away"), "{both}");
    }

    #[test]
    fn metrics_are_off_until_an_address_is_named_and_a_text_that_is_none_says_what_to_write() {
        assert_eq!(parse(SMALLEST).unwrap().metrics, None);
        let settings = parse(&format!("{SMALLEST}metrics = \"127.0.0.1:9464\"\n")).unwrap();
        assert_eq!(settings.metrics, Some(([127, 0, 0, 1], 9464).into()));
        let error = parse(&format!("{SMALLEST}metrics = \"9464\"\n")).unwrap_err();
        assert!(error.contains("metrics") && error.contains("127.0.0.1:9464"), "{error}");
    }

    #[test]
    fn a_hook_is_a_program_by_its_whole_path_with_its_arguments() {
        assert_eq!(parse(SMALLEST).unwrap().hook, None);
        let settings = parse(&format!("{SMALLEST}hook = [\"/usr/bin/page\", \"a b\"]\n")).unwrap();
        assert_eq!(settings.hook, Some(HookCommand { program: "/usr/bin/page".into(), args: vec!["a b".to_owned()] }));
        for words in ["[]", "[\"page\"]", "[\"\"]"] {
            let error = parse(&format!("{SMALLEST}hook = {words}\n")).unwrap_err();
            assert!(error.contains("hook") && error.contains("/path/program"), "{error}");
        }
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        let error = parse(&format!("{SMALLEST}[limits]\nlanes = 0\n")).unwrap_err();
        assert!(error.contains("limits.lanes"), "{error}");
    }
}
