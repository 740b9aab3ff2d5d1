//! A server and a client of `cutover.v1` over real sockets.
#![cfg(feature = "transport")]
#![allow(clippy::unwrap_used, reason = "a test")]

use cutover_proto::refused::{Code, Refused};
use cutover_proto::transport::{
    Caller, CannotListen, Endpoint, MAX_MESSAGE_BYTES, builder, connect, connect_lazy, listen,
};
use cutover_proto::v1::fleet_client::FleetClient;
use cutover_proto::v1::fleet_server::{Fleet, FleetServer};
use cutover_proto::v1::{
    CreateDeploymentRequest, Deployment, DeploymentDetails, ExcuseMemberRequest, ExcuseMemberResponse,
    GetDeploymentRequest, GetLeaderRequest, Leader, ListDeploymentsRequest, ListDeploymentsResponse,
    ListInstancesRequest, ListInstancesResponse,
};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status};

/// Answers with who called, with a large answer, and with a refusal as long as one can get.
struct Probe;

#[tonic::async_trait]
impl Fleet for Probe {
    async fn list_instances(
        &self,
        _: Request<ListInstancesRequest>,
    ) -> Result<Response<ListInstancesResponse>, Status> {
        let long = "ä\u{1f4a3}".repeat(10_000);
        let refused = Refused::new(Code::PlanStale, long.clone(), long.clone()).with("changes", long.clone());
        Err(refused.with("zzz", long).into())
    }
    async fn list_deployments(
        &self,
        _: Request<ListDeploymentsRequest>,
    ) -> Result<Response<ListDeploymentsResponse>, Status> {
        let deployment = Deployment { name: "x".repeat(3 * 1024 * 1024), ..Default::default() };
        Ok(Response::new(ListDeploymentsResponse { deployments: vec![deployment] }))
    }
    async fn get_leader(&self, request: Request<GetLeaderRequest>) -> Result<Response<Leader>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        Ok(Response::new(Leader { this_coordinator: format!("{caller:?}"), ..Default::default() }))
    }
    async fn create_deployment(
        &self,
        _: Request<CreateDeploymentRequest>,
    ) -> Result<Response<DeploymentDetails>, Status> {
        Err(Status::unimplemented("not asked here"))
    }
    async fn get_deployment(&self, _: Request<GetDeploymentRequest>) -> Result<Response<DeploymentDetails>, Status> {
        Err(Status::unimplemented("not asked here"))
    }
    async fn excuse_member(&self, _: Request<ExcuseMemberRequest>) -> Result<Response<ExcuseMemberResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }
}

struct Served {
    endpoint: Endpoint,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}
impl Served {
    async fn at(text: &str) -> Self {
        let listening = listen(&text.parse().unwrap()).await.unwrap();
        let endpoint = listening.endpoints()[0].clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let service = FleetServer::new(Probe).max_encoding_message_size(MAX_MESSAGE_BYTES);
        let serve = builder().add_service(service).serve_with_incoming_shutdown(listening, async {
            stopped.await.ok();
        });
        let task = tokio::spawn(async { serve.await.unwrap() });
        Self { endpoint, stop, task }
    }
    async fn end(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

fn socket(folder: &Path) -> String {
    format!("unix:{}/c.sock", folder.display())
}

#[tokio::test]
async fn a_call_over_a_unix_socket_is_answered_and_the_caller_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::at(&socket(folder.path())).await;
    let mut client = FleetClient::new(connect(&served.endpoint).await.unwrap());
    let answer = client.get_leader(GetLeaderRequest {}).await.unwrap().into_inner();
    let pid = i32::try_from(std::process::id()).unwrap();
    let uid = std::os::unix::fs::MetadataExt::uid(&folder.path().metadata().unwrap());
    assert_eq!(answer.this_coordinator, format!("{:?}", Some(Caller::Unix { uid: Some(uid), pid: Some(pid) })));
    let answer = client.list_deployments(ListDeploymentsRequest {}).await.unwrap().into_inner();
    assert_eq!(answer.deployments[0].name.len(), 3 * 1024 * 1024);
    drop(client);
    served.end().await;
}

#[tokio::test]
async fn a_call_over_a_loopback_port_is_answered() {
    let served = Served::at("http://127.0.0.1:0").await;
    assert_ne!(served.endpoint.to_string(), "http://127.0.0.1:0", "the port that was chosen is told");
    let mut client = FleetClient::new(connect(&served.endpoint).await.unwrap());
    let answer = client.get_leader(GetLeaderRequest {}).await.unwrap().into_inner();
    assert!(answer.this_coordinator.starts_with("Some(Loopback(Some(127.0.0.1:"), "{}", answer.this_coordinator);
    drop(client);
    served.end().await;
}

#[tokio::test]
async fn the_longest_refusal_still_arrives_with_code_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::at(&socket(folder.path())).await;
    let mut client = FleetClient::new(connect(&served.endpoint).await.unwrap());
    let status = client.list_instances(ListInstancesRequest::default()).await.unwrap_err();
    let refused = Refused::of(&status).unwrap_or_else(|| panic!("no refusal: {status}"));
    assert_eq!(refused.code, Code::PlanStale);
    assert!(refused.message.starts_with('ä') && refused.remedy.ends_with('…'), "{refused:?}");
    assert!(refused.metadata["changes"].ends_with('…'), "{refused:?}");
}

#[tokio::test]
async fn a_socket_is_open_to_its_owner_only_and_gone_when_the_server_ends() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::at(&socket(folder.path())).await;
    let there = folder.path().join("c.sock").symlink_metadata().unwrap();
    assert!(there.file_type().is_socket());
    assert_eq!(there.permissions().mode() & 0o777, 0o600);
    served.end().await;
    assert!(!folder.path().join("c.sock").exists());
}

#[tokio::test]
async fn a_socket_on_which_somebody_answers_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::at(&socket(folder.path())).await;
    let refused = listen(&served.endpoint).await.unwrap_err();
    assert!(matches!(refused, CannotListen::InUse { .. }), "{refused}");

    // One that was made by a program that knows nothing of our lock.
    let foreign = folder.path().join("f.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&foreign).unwrap();
    let refused = listen(&Endpoint::Unix(foreign)).await.unwrap_err();
    assert!(matches!(refused, CannotListen::InUse { .. }), "{refused}");

    let mut client = FleetClient::new(connect(&served.endpoint).await.unwrap());
    client.get_leader(GetLeaderRequest {}).await.unwrap();
}

#[tokio::test]
async fn a_socket_that_a_dead_process_left_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a listener that is dropped leaves its file, as a killed process does");
    let served = Served::at(&socket(folder.path())).await;
    let mut client = FleetClient::new(connect(&served.endpoint).await.unwrap());
    client.get_leader(GetLeaderRequest {}).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sock");
    std::fs::write(&path, "somebody's notes").unwrap();
    let refused = listen(&Endpoint::Unix(path.clone())).await.unwrap_err();
    assert!(matches!(refused, CannotListen::InTheWay { .. }), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody's notes");
}

#[tokio::test]
async fn nobody_at_an_address_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint: Endpoint = socket(folder.path()).parse().unwrap();
    let refused = connect(&endpoint).await.unwrap_err();
    assert!(refused.to_string().contains(&endpoint.to_string()), "{refused}");
}

#[tokio::test]
async fn a_lazy_channel_finds_a_server_that_starts_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = FleetClient::new(connect_lazy(&socket(folder.path()).parse().unwrap()));
    let early = client.get_leader(GetLeaderRequest {}).await.unwrap_err();
    assert_eq!(early.code(), tonic::Code::Unavailable, "{early}");
    let served = Served::at(&socket(folder.path())).await;
    client.get_leader(GetLeaderRequest {}).await.unwrap();

    // And again after a restart of the server, without being made anew.
    served.end().await;
    let served = Served::at(&socket(folder.path())).await;
    let again = async {
        while client.get_leader(GetLeaderRequest {}).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.unwrap();
    drop(client);
    served.end().await;
}
