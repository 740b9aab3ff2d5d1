//! What of systemd's interface on the system bus is used, in its own words (man org.freedesktop.systemd1).

use std::time::Duration;
use tokio::sync::Mutex;
use zbus::Variant;
use zbus::proxy::CacheProperties;
use zbus::{Connection, ObjectPath, OwnedObjectPath};

/// How long any call may take. A reload of a large host takes a second; a bus that does not answer is a failure.
const WITHIN: Duration = Duration::from_secs(30);

/// One command of a unit: path, arguments, flags, and seven numbers about its last run that are not used here.
pub(super) type ExecEx = (String, Vec<String>, Vec<String>, u64, u64, u64, u64, u32, i32, i32);

/// One assertion of a unit: type, whether it triggers, whether it is negated, parameter, what came of it.
pub(super) type Assertion = (String, bool, bool, String, i32);

/// A loaded unit: its name first; the nine others are asked of the unit itself where they matter.
pub(super) type Listed =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(super) trait Manager {
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[(&str, Variant<'_>)],
        auxiliary: &[(&str, Vec<(&str, Variant<'_>)>)],
    ) -> zbus::Result<OwnedObjectPath>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    fn reload(&self) -> zbus::Result<()>;
    fn subscribe(&self) -> zbus::Result<()>;
    fn list_units(&self) -> zbus::Result<Vec<Listed>>;
    fn list_unit_files(&self) -> zbus::Result<Vec<(String, String)>>;
    fn get_unit_processes(&self, name: &str) -> zbus::Result<Vec<(String, u32, String)>>;
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;
    #[zbus(property)]
    fn environment(&self) -> zbus::Result<Vec<String>>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1")]
pub(super) trait Unit {
    #[zbus(property)]
    fn id(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn load_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn load_error(&self) -> zbus::Result<(String, String)>;
    #[zbus(property)]
    fn assert_result(&self) -> zbus::Result<bool>;
    #[zbus(property)]
    fn assert_timestamp(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn active_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn need_daemon_reload(&self) -> zbus::Result<bool>;
    #[zbus(property)]
    fn fragment_path(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn drop_in_paths(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property)]
    fn asserts(&self) -> zbus::Result<Vec<Assertion>>;
    #[zbus(property)]
    fn triggered_by(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property, name = "InvocationID")]
    fn invocation_id(&self) -> zbus::Result<Vec<u8>>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Service", default_service = "org.freedesktop.systemd1")]
pub(super) trait Service {
    #[zbus(property, name = "MainPID")]
    fn main_pid(&self) -> zbus::Result<u32>;
    #[zbus(property)]
    fn result(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn exec_main_code(&self) -> zbus::Result<i32>;
    #[zbus(property)]
    fn exec_main_status(&self) -> zbus::Result<i32>;
    #[zbus(property, name = "TimeoutStartUSec")]
    fn timeout_start_usec(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn exec_start_ex(&self) -> zbus::Result<Vec<ExecEx>>;
    #[zbus(property)]
    fn exec_condition_ex(&self) -> zbus::Result<Vec<ExecEx>>;
    #[zbus(property)]
    fn exec_start_pre_ex(&self) -> zbus::Result<Vec<ExecEx>>;
    #[zbus(property)]
    fn exec_start_post_ex(&self) -> zbus::Result<Vec<ExecEx>>;
    #[zbus(property)]
    fn exec_stop_ex(&self) -> zbus::Result<Vec<ExecEx>>;
    #[zbus(property)]
    fn exec_stop_post_ex(&self) -> zbus::Result<Vec<ExecEx>>;
    #[zbus(property, name = "Environment")]
    fn variables(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property)]
    fn environment_files(&self) -> zbus::Result<Vec<(String, bool)>>;
    #[zbus(property)]
    fn unset_environment(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property)]
    fn user(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn group(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn supplementary_groups(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property)]
    fn dynamic_user(&self) -> zbus::Result<bool>;
    #[zbus(property)]
    fn working_directory(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn root_directory(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn root_image(&self) -> zbus::Result<String>;
}

/// The host's system bus, connected to when it is first needed, and again where the connection has ended: the bus may come after
/// the agent at a boot, and be started anew later.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bus;

static CONNECTION: Mutex<Option<Connection>> = Mutex::const_new(None);

impl Bus {
    async fn connection(self) -> zbus::Result<Connection> {
        let mut kept = CONNECTION.lock().await;
        if let Some(connection) = kept.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let connect = async {
            let connection = zbus::connection::Builder::system().method_timeout(WITHIN).build().await?;
            // Without it no job is announced.
            plain_manager(&connection).await?.subscribe().await?;
            zbus::Result::Ok(connection)
        };
        let silent = |_| zbus::Error::Failure(format!("the system bus gave no answer within {} s", WITHIN.as_secs()));
        let connection = tokio::time::timeout(WITHIN, connect).await.map_err(silent)??;
        Ok(kept.insert(connection).clone())
    }

    /// The manager itself.
    pub(super) async fn manager(self) -> zbus::Result<ManagerProxy<'static>> {
        plain_manager(&self.connection().await?).await
    }

    /// A unit as systemd has it loaded; it is loaded if it was not.
    pub(super) async fn unit(self, name: &str) -> zbus::Result<(UnitProxy<'static>, ServiceProxy<'static>)> {
        let connection = self.connection().await?;
        let path: ObjectPath<'static> = plain_manager(&connection).await?.load_unit(name).await?.into_inner();
        let unit = UnitProxy::builder(&connection).path(path.clone()).cache_properties(CacheProperties::No).build();
        let service = ServiceProxy::builder(&connection).path(path).cache_properties(CacheProperties::No).build();
        Ok((unit.await?, service.await?))
    }
}

/// Its properties are asked for each time: what was true a moment ago proves nothing.
async fn plain_manager(connection: &Connection) -> zbus::Result<ManagerProxy<'static>> {
    ManagerProxy::builder(connection).cache_properties(CacheProperties::No).build().await
}
