//! A coordinator that answers what a test wants to see the command line make of it.

use cutover_proto::transport::{builder, listen};
use cutover_proto::v1 as pb;
use cutover_proto::{Code, Refused};
use pb::fleet_server::{Fleet, FleetServer};
use pb::upgrades_server::{Upgrades, UpgradesServer};
use std::process::{Command, Output};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

/// Escapes of a terminal, ends of lines, overridden directions, what is not seen, and much of it.
pub(crate) fn hostile() -> String {
    format!(
        "a\u{1b}]0;title\u{7}\u{1b}[2J\r\n\t\u{9b}31m\u{7f}\u{202e}\u{2066}\u{200f}\u{61c}\u{200b}\u{feff} {}",
        "long".repeat(100)
    )
}

/// A coordinator on a socket of its own, and the command line that is told to ask it.
pub(crate) struct Answering {
    folder: tempfile::TempDir,
    /// It serves as long as this is there.
    _runtime: tokio::runtime::Runtime,
}

impl Answering {
    /// Serves.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let endpoint = format!("unix:{}/c.sock", folder.path().display()).parse().unwrap();
        let listening = runtime.block_on(listen(&endpoint)).unwrap();
        let router = builder().add_service(UpgradesServer::new(Answers)).add_service(FleetServer::new(Answers));
        runtime.spawn(router.serve_with_incoming(listening));
        Self { folder, _runtime: runtime }
    }

    /// Runs the command line.
    pub(crate) fn cutover(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
        let socket = format!("unix:{}/c.sock", self.folder.path().display());
        command.args(args).env("CUTOVER_COORDINATOR", socket).env("USER", "tester").output().unwrap()
    }
}

/// What is named `code-WORD` is refused with that code, everything else is answered with hostile texts.
struct Answers;

fn refusal(name: &str) -> Result<(), Status> {
    match name.strip_prefix("code-") {
        Some(word) => {
            let code = Code::ALL.iter().find(|code| code.word() == word).unwrap().clone();
            Err(Refused::new(code, hostile(), hostile()).into())
        }
        None => Ok(()),
    }
}

/// A status whose failures and reasons are hostile, or which is refused as unreadable where `whole` is not so.
fn status(upgrade: &str) -> pb::Status {
    pb::Status { id: format!("{upgrade}{}", hostile()), deployment: hostile(), ..Default::default() }
}

fn what_if(upgrade: &str) -> pb::WhatIf {
    let allowed = upgrade.starts_with("possible");
    pb::WhatIf { allowed, meaning: hostile(), lost_writes: hostile(), ledgers: vec![hostile()], ..Default::default() }
}

fn instance() -> pb::Instance {
    pb::Instance { name: hostile(), deployment: hostile(), agent: hostile(), ..Default::default() }
}

fn details() -> pb::DeploymentDetails {
    let claim = pb::RefusedClaim {
        instance: hostile(),
        agent: hostile(),
        machine: hostile(),
        why: hostile(),
        ..Default::default()
    };
    pb::DeploymentDetails {
        deployment: Some(deployment()),
        instances: vec![instance()],
        missing: vec![hostile()],
        claims: vec![claim],
    }
}

fn deployment() -> pb::Deployment {
    pb::Deployment { name: hostile(), upgrade: Some(hostile()), ..Default::default() }
}

#[tonic::async_trait]
impl Upgrades for Answers {
    type WatchStream = BoxStream<pb::Event>;

    async fn make_plan(&self, request: Request<pb::MakePlanRequest>) -> Result<Response<pb::Plan>, Status> {
        refusal(&request.into_inner().deployment)?;
        Ok(Response::new(pb::Plan { digest: hostile(), ..Default::default() }))
    }
    async fn get_plan(&self, request: Request<pb::GetPlanRequest>) -> Result<Response<pb::Plan>, Status> {
        refusal(&request.into_inner().digest)?;
        Ok(Response::new(pb::Plan { digest: hostile(), ..Default::default() }))
    }
    async fn approve(&self, _: Request<pb::ApproveRequest>) -> Result<Response<pb::Approval>, Status> {
        Err(Status::unimplemented(hostile()))
    }
    async fn start(&self, _: Request<pb::StartRequest>) -> Result<Response<pb::StartResponse>, Status> {
        Err(Status::unimplemented(hostile()))
    }
    async fn get(&self, request: Request<pb::GetUpgradeRequest>) -> Result<Response<pb::Status>, Status> {
        let upgrade = request.into_inner().upgrade;
        refusal(&upgrade)?;
        Ok(Response::new(status(&upgrade)))
    }
    async fn list(&self, _: Request<pb::ListUpgradesRequest>) -> Result<Response<pb::ListUpgradesResponse>, Status> {
        let ended = Some(Default::default());
        let (id, deployment, waiting_for) = (hostile(), hostile(), hostile());
        let (from, target) = (hostile(), hostile());
        let one = pb::UpgradeSummary { id, deployment, from, target, waiting_for, ended, ..Default::default() };
        Ok(Response::new(pb::ListUpgradesResponse { upgrades: vec![one] }))
    }
    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        refusal(&request.into_inner().upgrade)?;
        Err(Status::unimplemented(hostile()))
    }
    async fn list_facts(
        &self,
        request: Request<pb::ListFactsRequest>,
    ) -> Result<Response<pb::ListFactsResponse>, Status> {
        refusal(&request.into_inner().upgrade)?;
        Ok(Response::new(pb::ListFactsResponse {
            facts: vec![pb::StoredFact { json: hostile().into(), ..Default::default() }],
            more: false,
        }))
    }
    async fn decide(&self, request: Request<pb::DecideRequest>) -> Result<Response<pb::Status>, Status> {
        let upgrade = request.into_inner().upgrade;
        refusal(&upgrade)?;
        Ok(Response::new(status(&upgrade)))
    }
    async fn abort(&self, request: Request<pb::GoBackRequest>) -> Result<Response<pb::WhatIf>, Status> {
        let upgrade = request.into_inner().upgrade;
        refusal(&upgrade)?;
        Ok(Response::new(what_if(&upgrade)))
    }
    async fn rollback(&self, request: Request<pb::GoBackRequest>) -> Result<Response<pb::WhatIf>, Status> {
        let upgrade = request.into_inner().upgrade;
        refusal(&upgrade)?;
        Ok(Response::new(what_if(&upgrade)))
    }
    async fn pause(&self, request: Request<pb::SteerRequest>) -> Result<Response<pb::Status>, Status> {
        let upgrade = request.into_inner().upgrade;
        refusal(&upgrade)?;
        Ok(Response::new(status(&upgrade)))
    }
    async fn resume(&self, request: Request<pb::SteerRequest>) -> Result<Response<pb::Status>, Status> {
        let upgrade = request.into_inner().upgrade;
        refusal(&upgrade)?;
        Ok(Response::new(status(&upgrade)))
    }
    async fn close(&self, request: Request<pb::SteerRequest>) -> Result<Response<pb::Status>, Status> {
        let upgrade = request.into_inner().upgrade;
        refusal(&upgrade)?;
        Ok(Response::new(status(&upgrade)))
    }
}

#[tonic::async_trait]
impl Fleet for Answers {
    async fn list_instances(
        &self,
        _: Request<pb::ListInstancesRequest>,
    ) -> Result<Response<pb::ListInstancesResponse>, Status> {
        Ok(Response::new(pb::ListInstancesResponse { instances: vec![instance()] }))
    }
    async fn list_deployments(
        &self,
        _: Request<pb::ListDeploymentsRequest>,
    ) -> Result<Response<pb::ListDeploymentsResponse>, Status> {
        Ok(Response::new(pb::ListDeploymentsResponse { deployments: vec![deployment()] }))
    }
    async fn get_leader(&self, _: Request<pb::GetLeaderRequest>) -> Result<Response<pb::Leader>, Status> {
        Ok(Response::new(pb::Leader { name: Some(hostile()), this_coordinator: hostile(), ..Default::default() }))
    }
    async fn create_deployment(
        &self,
        request: Request<pb::CreateDeploymentRequest>,
    ) -> Result<Response<pb::DeploymentDetails>, Status> {
        refusal(&request.into_inner().name)?;
        Ok(Response::new(details()))
    }
    async fn get_deployment(
        &self,
        request: Request<pb::GetDeploymentRequest>,
    ) -> Result<Response<pb::DeploymentDetails>, Status> {
        refusal(&request.into_inner().name)?;
        Ok(Response::new(details()))
    }
    async fn excuse_member(
        &self,
        request: Request<pb::ExcuseMemberRequest>,
    ) -> Result<Response<pb::ExcuseMemberResponse>, Status> {
        refusal(&request.into_inner().deployment)?;
        Ok(Response::new(pb::ExcuseMemberResponse { upgrade: Some(hostile()) }))
    }
}
