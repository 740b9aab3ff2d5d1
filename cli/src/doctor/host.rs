//! What the looks are given: where to look, and what only can be asked while other things wait.

use crate::Context;
use crate::args::{DEFAULT_COORDINATOR, DoctorArgs};
use crate::client::named;
use crate::trouble::Trouble;
use cutover_agent::needs::{self, DataPlace};
use cutover_agent::service::systemd::settings_now;
use cutover_agent::settings::Settings;
use cutover_proto::Code;
use cutover_proto::transport::TlsFiles;
use cutover_proto::v1::Leader;
use cutover_trial_postgres::{Missing, Programs};
use std::error::Error as _;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// How long a coordinator may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// This host, as it is looked at.
#[derive(Debug)]
pub(super) struct Host {
    /// Where programs are looked for.
    pub(super) path: OsString,
    /// PostgreSQL's client programs: where, of which major version.
    pub(super) client_programs: Vec<(PathBuf, u32)>,
    /// PostgreSQL's server, for the sandbox.
    pub(super) server: Result<Programs, Missing>,
    /// The folder of temporary files.
    pub(super) temporary: PathBuf,
    /// The folder of this program, where the simulator lies beside it.
    pub(super) beside: Option<PathBuf>,
    /// A folder with releases that was named for the sandbox.
    pub(super) releases: Option<PathBuf>,
    /// The agent's settings; none: no file was named.
    pub(super) settings: Option<Result<Settings, String>>,
    /// Where a coordinator was looked for, and who leads or why nobody answered. None: it answers, and tells an agent no more.
    pub(super) coordinator: (String, Result<Option<Leads>, Silence>),
}

/// What a coordinator says of leadership.
#[derive(Debug)]
pub(super) struct Leads {
    /// Which coordinator answered.
    pub(super) answered: String,
    /// Who leads, if somebody does.
    pub(super) leader: Option<String>,
    /// The epoch of that leadership.
    pub(super) epoch: u64,
}

/// Why nobody answered.
#[derive(Debug)]
pub(super) struct Silence {
    /// In one line.
    pub(super) why: String,
    /// What to do.
    pub(super) remedy: String,
}

impl Host {
    /// Reads the settings and asks the coordinator: the one of the settings, unless another one is named.
    pub(super) async fn of(context: &Context, args: &DoctorArgs) -> Self {
        let settings = match args.settings.as_deref() {
            Some(file) => Some(settings_now(file).await.map_err(|error| error.to_string())),
            None => None,
        };
        let mut context = context.clone();
        if let Some(Ok(settings)) = &settings
            && named(&context.global.coordinator) == DEFAULT_COORDINATOR
        {
            context.global.coordinator = settings.coordinator.0.clone();
            if let Some(tls) = &settings.tls {
                let TlsFiles { certificate, key, authority } = tls.files();
                context.global.tls_certificate = Some(certificate);
                context.global.tls_key = Some(key);
                context.global.tls_authority = Some(authority);
            }
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self {
            client_programs: needs::client_programs(&path),
            path,
            server: Programs::find(),
            temporary: std::env::temp_dir(),
            beside: std::env::current_exe().ok().and_then(|own| own.parent().map(PathBuf::from)),
            releases: args.releases.clone(),
            coordinator: (named(&context.global.coordinator), ask(&context).await),
            settings,
        }
    }

    /// The agent's settings, where they can be read.
    pub(super) fn agent(&self) -> Option<&Settings> {
        self.settings.as_ref()?.as_ref().ok()
    }

    /// Whether this is a host for trials: nobody named an agent's settings.
    pub(super) fn for_trials(&self) -> bool {
        self.settings.is_none()
    }

    /// Whether an instance of this host keeps its ledgers in PostgreSQL.
    pub(super) fn uses_postgres(&self) -> bool {
        let instances = self.agent().into_iter().flat_map(|settings| &settings.instances);
        instances.into_iter().any(|instance| matches!(needs::data_place(instance), Ok(DataPlace::Database)))
    }
}

async fn ask(context: &Context) -> Result<Option<Leads>, Silence> {
    let asked = async {
        match context.client().await?.leader().await {
            Ok(leader) => {
                let Leader { this_coordinator, name, epoch, .. } = leader;
                Ok(Some(Leads { answered: this_coordinator, leader: name, epoch }))
            }
            // An agent's certificate: it was let in, and this is not for it to ask.
            Err(Trouble::Refused { code, .. }) if code == Code::NotPermitted.word() => Ok(None),
            Err(trouble) => Err(trouble),
        }
    };
    let remedy = "start one, or name another one with --coordinator; `cutover sandbox` and `cutover single` need none";
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(leads)) => Ok(leads),
        Ok(Err(trouble)) => {
            // The cause says where nobody answered, too.
            let why = trouble.source().map_or_else(|| trouble.to_string(), ToString::to_string);
            Err(Silence { why, remedy: remedy.to_owned() })
        }
        Err(_) => Err(Silence {
            why: format!("nothing answers at {} within {} s", named(&context.global.coordinator), PATIENCE.as_secs()),
            remedy: remedy.to_owned(),
        }),
    }
}
