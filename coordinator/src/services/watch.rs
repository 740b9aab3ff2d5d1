//! Following an upgrade: every fact after a number, then those to come. All of them come from the store, so there is no
//! seam between old and new ones where one could be missed.

use super::refusals::{foreign, unreadable};
use crate::describe::describe;
use crate::leadership::Leadership;
use crate::upgrade_loop::Handle;
use cutover_proto::Refused;
use cutover_proto::convert::fact::Event;
use cutover_proto::v1 as pb;
use cutover_store::Stored;
use cutover_vocabulary::Fact;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Events that wait for a slow client; it holds up nobody else.
const OUTGOING: usize = 64;
/// Facts that are read at once.
const PAGE: usize = 64;

/// Events of one upgrade.
pub(super) type Events = ReceiverStream<Result<pb::Event, Status>>;

/// Follows until the client goes, the upgrade is closed, or the leadership ends.
pub(super) fn follow(leadership: Arc<Leadership>, handle: Handle, after_seq: u64) -> Events {
    let (outgoing, events) = mpsc::channel(OUTGOING);
    let tasks = leadership.tasks.clone();
    tasks.spawn(async move {
        let followed = tokio::select! {
            () = leadership.ended.cancelled() => Err(Refused::not_leader(None)),
            () = outgoing.closed() => Ok(()),
            followed = tell(&leadership, handle, after_seq, &outgoing) => followed,
        };
        if let Err(refused) = followed {
            // The client may be gone, or not read: whoever resigns does not wait for it, and for it the stream just ends.
            let _ = outgoing.try_send(Err(refused.into()));
        }
    });
    ReceiverStream::new(events)
}

async fn tell(
    leadership: &Leadership,
    mut handle: Handle,
    after_seq: u64,
    outgoing: &mpsc::Sender<Result<pb::Event, Status>>,
) -> Result<(), Refused> {
    let mut told = after_seq;
    loop {
        let known = handle.published.borrow_and_update().upgrade.clone();
        while told < known.seq() {
            let left = usize::try_from(known.seq() - told).unwrap_or(PAGE).min(PAGE);
            let page = leadership.store.load(&handle.id, told, left).await.map_err(|error| unreadable(&error))?;
            if page.is_empty() {
                break;
            }
            for stored in page {
                let recorded = match stored {
                    Stored::Known(recorded) => recorded,
                    Stored::Foreign { seq, why } => return Err(foreign(&handle.id, seq, &why)),
                };
                told = recorded.seq;
                let closed = recorded.fact == Fact::Closed;
                let status = (told == known.seq()).then(|| known.status(leadership.now()));
                let event = Event { text: describe(&recorded), recorded, status };
                if outgoing.send(Ok(event.into())).await.is_err() || closed {
                    return Ok(());
                }
            }
        }
        if handle.published.changed().await.is_err() {
            // Its loop is gone: with its leadership, or because it is led no more.
            let left_alone = leadership.entry(&handle.id).and_then(|entry| entry.handle(&handle.id).err());
            return Err(left_alone.unwrap_or_else(|| Refused::not_leader(None)));
        }
    }
}
