//! What goes out over a link.

use cutover_proto::v1;
use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::link::AgentMessage;
use tokio::sync::{mpsc, oneshot, watch};

/// Puts messages on the wire, and from the welcome on reports where there is room: a coordinator that follows has no use for
/// them. Ends when the link does.
pub(super) async fn speak(
    mut messages: mpsc::Receiver<AgentMessage>,
    mut reports: watch::Receiver<Vec<InstanceReport>>,
    wire: mpsc::Sender<v1::AgentMessage>,
    mut welcomed: oneshot::Receiver<()>,
) {
    let mut waits = true;
    loop {
        tokio::select! {
            biased;
            message = messages.recv() => {
                let Some(message) = message else { return };
                if wire.send(message.into()).await.is_err() {
                    return;
                }
            }
            _ = &mut welcomed, if waits => waits = false,
            changed = reports.changed(), if !waits => {
                if changed.is_err() {
                    return;
                }
                let report = AgentMessage::Report(reports.borrow_and_update().clone());
                match wire.try_send(report.into()) {
                    // Telemetry may be dropped.
                    Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
                    Err(mpsc::error::TrySendError::Closed(_)) => return,
                }
            }
        }
    }
}
