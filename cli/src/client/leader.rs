//! Finds the coordinator that leads: each call is taken to one after the other until one takes it.
//!
//! A call whose answer was lost may have been taken. It is asked again as it was, with its own request id, by which
//! coordinators know it: what was done is not done twice.

use super::refused;
use crate::trouble::Trouble;
use cutover_proto::refused::{Code, Refused};
use cutover_proto::transport::{self, CannotConnect, Endpoint, Tls};
use cutover_proto::v1::fleet_client::FleetClient;
use cutover_proto::v1::upgrades_client::UpgradesClient;
use cutover_vocabulary::name::shown;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Response, Status};

/// How long a call looks for a leader while coordinators answer that none of them is. An election takes seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(250);

/// The coordinators of a fleet, of which one leads.
#[derive(Debug)]
pub(super) struct Coordinators {
    endpoints: Vec<Endpoint>,
    tls: Option<Tls>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    /// Who took a call last.
    first: usize,
    lines: BTreeMap<usize, Channel>,
}

/// A connection to one of them.
#[derive(Debug, Clone)]
pub(super) struct Line(Channel);
impl Line {
    pub(super) fn upgrades(&self) -> UpgradesClient<Channel> {
        UpgradesClient::new(self.0.clone()).max_decoding_message_size(transport::MAX_MESSAGE_BYTES)
    }
    pub(super) fn fleet(&self) -> FleetClient<Channel> {
        FleetClient::new(self.0.clone()).max_decoding_message_size(transport::MAX_MESSAGE_BYTES)
    }
}

/// What a call came to at one coordinator that did not take it.
enum Missed {
    /// It did not get there.
    Unreachable(CannotConnect),
    /// It got there, and another coordinator, or this one in a moment, may take it. Whether `elsewhere` a leader is known.
    NotHere { status: Status, elsewhere: bool },
    /// Nothing is known of it.
    Lost(Status),
    /// No other coordinator would say anything else.
    Final(Status),
}
impl Missed {
    fn of(status: Status) -> Self {
        // What a transport says of a connection that broke.
        let broke = [tonic::Code::Unavailable, tonic::Code::Unknown, tonic::Code::Cancelled, tonic::Code::Internal];
        match Refused::of(&status) {
            Some(refused) if refused.code == Code::NotLeader => {
                Self::NotHere { elsewhere: refused.metadata.contains_key("leader"), status }
            }
            // One that has lost its store has lost its lead, or is about to.
            Some(refused) if refused.code == Code::StoreUnavailable => Self::NotHere { elsewhere: true, status },
            Some(_) => Self::Final(status),
            None if broke.contains(&status.code()) => Self::Lost(status),
            None => Self::Final(status),
        }
    }
}

impl Coordinators {
    /// Connects to the first that answers.
    ///
    /// # Errors
    /// [`Trouble::Unreachable`] where none does; an address under TLS needs certificates.
    pub(super) async fn connect(endpoints: &[Endpoint], tls: Option<&Tls>) -> Result<Self, Trouble> {
        let known = Mutex::new(Known { first: 0, lines: BTreeMap::new() });
        let all = Self { endpoints: endpoints.to_vec(), tls: tls.cloned(), known };
        let mut said = BTreeMap::new();
        for at in 0..all.endpoints.len() {
            match all.line(at).await {
                Ok(_) => {
                    all.known().first = at;
                    return Ok(all);
                }
                Err(error) => {
                    said.insert(at, all.unreachable(at, error)?);
                }
            }
        }
        Err(all.nobody(said))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn line(&self, at: usize) -> Result<Line, CannotConnect> {
        let known = self.known().lines.get(&at).cloned();
        let channel = match known {
            Some(channel) => channel,
            None => {
                let channel = transport::connect_with(&self.endpoints[at], self.tls.as_ref()).await?;
                self.known().lines.insert(at, channel.clone());
                channel
            }
        };
        Ok(Line(channel))
    }

    /// Takes a call to the coordinator that leads.
    ///
    /// # Errors
    /// [`Trouble`]: what the leader refuses; where nobody leads for longer than an election takes, who was asked and what each
    /// said.
    pub(super) async fn ask<T, F>(&self, doing: &str, call: impl Fn(Line) -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let patience = tokio::time::sleep(PATIENCE);
        tokio::pin!(patience);
        loop {
            let (mut said, mut again) = (BTreeMap::new(), false);
            let first = self.known().first;
            for at in (first..self.endpoints.len()).chain(0..first) {
                let missed = match self.line(at).await {
                    Ok(line) => match call(line).await {
                        Ok(answer) => {
                            self.known().first = at;
                            return Ok(answer.into_inner());
                        }
                        Err(status) => Missed::of(status),
                    },
                    Err(error) => Missed::Unreachable(error),
                };
                let alone = self.endpoints.len() == 1;
                match missed {
                    Missed::Unreachable(error) => {
                        said.insert(at, self.unreachable(at, error)?);
                        continue;
                    }
                    Missed::Final(status) => return Err(refused(doing, &status)),
                    // The only one that was named: whoever asked looks elsewhere.
                    Missed::Lost(status) | Missed::NotHere { status, elsewhere: true } if alone => {
                        self.known().lines.remove(&at);
                        return Err(refused(doing, &status));
                    }
                    Missed::Lost(status) => {
                        // Its connection is tried anew, which tells why it is none.
                        self.known().lines.remove(&at);
                        said.insert(at, format!("the answer was lost ({})", status.message()).into());
                    }
                    Missed::NotHere { status, .. } => {
                        said.insert(at, status.message().to_owned().into());
                    }
                }
                again = true;
            }
            if !again {
                return Err(self.nobody(said));
            }
            tokio::select! {
                biased;
                () = &mut patience => {
                    return Err(Trouble::Leaderless { doing: doing.to_owned(), said: self.each(&said) });
                }
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Why one cannot be reached; what is wrong with the call itself is said at once.
    fn unreachable(&self, at: usize, error: CannotConnect) -> Result<crate::trouble::Cause, Trouble> {
        match error {
            CannotConnect::NoCertificates(_) => Err(Trouble::usage(error.to_string()).next(
                "--tls-certificate, --tls-key and --tls-authority, or CUTOVER_TLS_CERTIFICATE, CUTOVER_TLS_KEY and \
                 CUTOVER_TLS_AUTHORITY",
            )),
            CannotConnect::Nobody { .. } | CannotConnect::Tls(_) => {
                self.known().lines.remove(&at);
                Ok(Box::new(error))
            }
        }
    }

    /// No coordinator could be reached at all.
    fn nobody(&self, mut said: BTreeMap<usize, crate::trouble::Cause>) -> Trouble {
        let endpoint = named(&self.endpoints);
        let source = match (said.len(), said.pop_first()) {
            (1, Some((_, source))) => source,
            (_, Some((at, source))) => {
                said.insert(at, source);
                self.each(&said).into()
            }
            (_, None) => "none was named".into(),
        };
        Trouble::Unreachable { endpoint, source }
    }

    /// What each said.
    fn each(&self, said: &BTreeMap<usize, crate::trouble::Cause>) -> String {
        let one = |(at, what): (&usize, &crate::trouble::Cause)| {
            format!("{}: {}", self.endpoints[*at], shown(&what.to_string()))
        };
        said.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

/// Addresses as `--coordinator` takes them.
pub fn named(endpoints: &[Endpoint]) -> String {
    endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
