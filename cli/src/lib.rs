//! Operator commands over the API; with the feature `all-in-one` also the sandbox and single-node mode.
//!
//! - [`args`], [`exit`], [`trouble`]: what comes in, what goes out, what can go wrong.
//! - [`client`]: the API in the words of the vocabulary. Every command uses it and nothing else.
//! - [`render`]: pages for people; pure.
//! - [`screen`], [`follow`]: the terminal; following an upgrade.
//! - [`commands`]: one file a group of commands.
//! - `house` (all-in-one): coordinator and agent in this process, over a socket with the same API.
//! - `sandbox`, `single` (all-in-one): what is done in such a house.
//! - `doctor` (all-in-one): what is missing on this host.
//! - `explain` (all-in-one): the reference of the settings files, made of what reads them.

pub mod args;
pub mod client;
pub mod commands;
#[cfg(feature = "all-in-one")]
pub mod doctor;
pub mod exit;
#[cfg(feature = "all-in-one")]
pub mod explain;
pub mod follow;
#[cfg(feature = "all-in-one")]
pub mod house;
pub mod render;
#[cfg(feature = "all-in-one")]
pub mod sandbox;
pub mod screen;
#[cfg(feature = "all-in-one")]
pub mod single;
pub mod trouble;

use args::{Command, CommandLine, Global};
use client::Client;
use cutover_proto::transport::{Endpoint, Tls};
use cutover_vocabulary::OperatorName;
use exit::Exit;
use render::next::Next;
use screen::Screen;
use trouble::Trouble;

/// What every command has at hand.
#[derive(Debug, Clone)]
pub struct Context {
    /// What holds for every command.
    pub global: Global,
    /// Where output goes.
    pub screen: Screen,
    /// Writes commands for the reader.
    pub next: Next,
}

impl Context {
    /// Of a command line.
    pub fn new(global: Global, screen: Screen) -> Self {
        let endpoint = client::named(&global.coordinator);
        let next =
            Next::of(&called_with(&global), (endpoint != args::DEFAULT_COORDINATOR).then_some(endpoint.as_str()));
        Self { global, screen, next }
    }

    /// Who asks.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn operator(&self) -> Result<OperatorName, Trouble> {
        self.global.operator.clone().map_or_else(user, Ok)
    }

    /// Connects to the coordinators.
    ///
    /// # Errors
    /// [`Trouble::Unreachable`]; [`Trouble::Usage`] when it cannot be told who asks.
    pub async fn client(&self) -> Result<Client, Trouble> {
        let tls = self.global.tls()?.map(Tls::new);
        let remote = self.global.coordinator.iter().any(|endpoint| matches!(endpoint, Endpoint::Tls(_)));
        let operator = match (&self.global.operator, remote, &tls) {
            (None, true, Some(tls)) => certified(tls).await?,
            (None | Some(_), true | false, _) => self.operator()?,
        };
        Client::connect(&self.global.coordinator, tls.as_ref(), operator).await
    }
}

/// This program as it was called, so that a command that it tells its reader to type works from the same place.
pub fn program() -> String {
    let called = std::env::args_os().next().map(|word| word.to_string_lossy().into_owned());
    called.filter(|word| word.contains('/')).map_or_else(|| "cutover".to_owned(), |word| render::words::quoted(&word))
}

/// This program with the certificates that it was called with; those of the environment are there for the next command too.
fn called_with(global: &Global) -> String {
    let files = [
        ("--tls-certificate", "CUTOVER_TLS_CERTIFICATE", &global.tls_certificate),
        ("--tls-key", "CUTOVER_TLS_KEY", &global.tls_key),
        ("--tls-authority", "CUTOVER_TLS_AUTHORITY", &global.tls_authority),
    ];
    let named = files.into_iter().filter_map(|(flag, variable, file)| {
        let file = file.as_ref().filter(|file| std::env::var_os(variable).as_deref() != Some(file.as_os_str()))?;
        Some(format!(" {flag} {}", render::words::quoted(&file.to_string_lossy())))
    });
    named.fold(program(), |called, word| called + &word)
}

/// The name of the certificate, where it has one that can be an operator's: the coordinator takes no other.
async fn certified(tls: &Tls) -> Result<OperatorName, Trouble> {
    let names = tls.names().await.map_err(|error| Trouble::failed("cannot use the certificate", error))?;
    let mut operators = names.iter().filter_map(|name| OperatorName::new(name).ok());
    match (operators.next(), operators.next()) {
        (Some(operator), None) => Ok(operator),
        (Some(_), Some(_)) => Err(Trouble::usage(format!("the certificate has several names: {names}"))
            .next("say which of them you are with --operator NAME or CUTOVER_OPERATOR")),
        (None, _) => Err(Trouble::usage(format!("the certificate has {names} that could be an operator's"))
            .next("have one issued with your name among its subject alternative names (DNS)")),
    }
}

/// The user's name.
fn user() -> Result<OperatorName, Trouble> {
    let name = ["USER", "LOGNAME"].iter().find_map(|key| std::env::var(key).ok().filter(|name| !name.is_empty()));
    let hint = "name yourself with --operator NAME or CUTOVER_OPERATOR: who decides is stored with what was decided";
    match name {
        Some(name) => OperatorName::new(name).map_err(|error| Trouble::usage(error.to_string()).next(hint)),
        // Containers and cron jobs of root often have no USER.
        None if std::env::var("HOME").is_ok_and(|home| home == "/root") => {
            OperatorName::new("root").map_err(|error| Trouble::usage(error.to_string()))
        }
        None => Err(Trouble::usage("it cannot be told who asks: USER is not set").next(hint)),
    }
}

/// Runs a command line.
///
/// # Errors
/// [`Trouble`], with which [`Exit::of_trouble`] goes.
pub async fn run(line: CommandLine) -> Result<Exit, Trouble> {
    let screen = Screen::choose(line.global.json);
    let context = Context::new(line.global, screen);
    match line.command {
        #[cfg(feature = "all-in-one")]
        Command::Sandbox(args) => sandbox::command(&context, args).await,
        #[cfg(feature = "all-in-one")]
        Command::Single(args) => single::command(&context, args).await,
        #[cfg(feature = "all-in-one")]
        Command::Doctor(args) => doctor::command(&context, &args).await,
        #[cfg(feature = "all-in-one")]
        Command::Explain(args) => explain::command(&context, &args),
        Command::Completions(args) => Ok(commands::shell::completions(screen, &args)),
        Command::Man(args) => commands::shell::man(screen, &args),
        #[cfg(feature = "all-in-one")]
        Command::Guard { .. } => Err(Trouble::usage("a unit's guard runs this before its start")),
        #[cfg(feature = "all-in-one")]
        Command::Work(_) => Err(Trouble::usage("workers are started by the agent")),
        Command::Plan(args) => commands::plan::plan(&context, args).await,
        Command::Rehearse(args) => commands::upgrade::rehearse(&context, args).await,
        Command::Approve(args) => commands::plan::approve(&context, args).await,
        Command::Start(args) => commands::upgrade::start(&context, args).await,
        Command::Upgrade(args) => commands::upgrade::upgrade(&context, args).await,
        Command::Rejoin(args) => commands::rejoin::rejoin(&context, args).await,
        Command::Status(args) => commands::look::status(&context, args).await,
        Command::Watch(args) => commands::look::watch(&context, args).await,
        Command::Facts(args) => commands::look::facts(&context, args).await,
        Command::Fleet => commands::look::fleet(&context).await,
        Command::Deployment(command) => commands::members::deployment(&context, command).await,
        Command::Member(command) => commands::members::member(&context, command).await,
        Command::Runbook(args) => commands::runbook::runbook(&context, args).await,
        Command::Decide(args) => commands::steer::decide(&context, args).await,
        Command::Abort(args) => commands::steer::abort(&context, args).await,
        Command::Rollback(args) => commands::steer::rollback(&context, args).await,
        Command::Pause(args) => commands::steer::steer(&context, args, client::Steer::Pause).await,
        Command::Resume(args) => commands::steer::steer(&context, args, client::Steer::Resume).await,
        Command::Close(args) => commands::steer::steer(&context, args, client::Steer::Close).await,
    }
}
