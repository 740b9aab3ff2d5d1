//! A link to a coordinator that follows: kept, so that the agent is there at once when this one begins to lead.
//!
//! Nothing that the agent says counts here but its name. It is told who leads, and again whenever that changes.

use super::attach::{Outgoing, hear_hello};
use crate::election::Shared;
use crate::services::access::{Wish, permit};
use crate::services::unread;
use cutover_proto::Refused;
use cutover_proto::transport::Caller;
use cutover_proto::v1 as pb;
use cutover_store::Leader;
use cutover_vocabulary::OperatorName;
use cutover_vocabulary::link::{Followed, Heard, Standby};
use std::collections::BTreeSet;
use tonic::Streaming;
use tracing::{debug, info};

/// Keeps the link until this coordinator leads, or the agent goes. Ends with a refusal where the agent does not stand by.
pub(super) async fn stand_by(
    shared: &Shared,
    caller: &Caller,
    operators: &BTreeSet<OperatorName>,
    mut inbound: Streaming<pb::AgentMessage>,
    outgoing: &Outgoing,
) -> Result<(), Refused> {
    let Some(hello) = hear_hello(&mut inbound).await? else { return Ok(()) };
    tracing::Span::current().record("agent", hello.agent.as_str());
    permit(caller, Wish::SpeakAs(&hello.agent), operators)?;
    if !hello.stands_by {
        return Err(shared.leading().await.err().unwrap_or_else(|| Refused::not_leader(None)));
    }
    info!(machine = hello.machine, "an agent stands by");
    let (mut leading, mut leader) = (shared.leading.subscribe(), shared.follows.subscribe());
    loop {
        if leading.borrow_and_update().as_ref().is_some_and(|leadership| !leadership.ended.is_cancelled()) {
            let _ = outgoing.send(Ok(Heard::Follower(Standby::Leading).into())).await;
            return Ok(());
        }
        let following = Standby::Following(leader.borrow_and_update().as_ref().map(followed));
        if outgoing.send(Ok(Heard::Follower(following).into())).await.is_err() {
            return Ok(());
        }
        let mut news = false;
        while !news {
            tokio::select! {
                changed = leading.changed() => news = changed.is_ok(),
                changed = leader.changed() => news = changed.is_ok(),
                message = inbound.message() => match message {
                    // The leader hears it too.
                    Ok(Some(_)) => {}
                    Ok(None) => return Ok(()),
                    Err(status) => {
                        debug!(%status, "the transport ended the link");
                        return unread(&status).map_or(Ok(()), Err);
                    }
                },
            }
        }
    }
}

fn followed(leader: &Leader) -> Followed {
    Followed { leader: leader.name.to_string(), epoch: leader.epoch }
}
