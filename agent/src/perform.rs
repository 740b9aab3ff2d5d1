//! What the desk asks of a host: carry out an order, look closely, look briefly. The desk knows nothing else of a host.

use async_trait::async_trait;
use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::link::Permit;
use cutover_vocabulary::survey::{HostSurvey, SurveyAsk};
use cutover_vocabulary::{Epoch, InstanceName, Order, Outcome};
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// Carries out work on this host.
#[async_trait]
pub trait Perform: Send + Sync + 'static {
    /// Carries out an order and says what came of it. Looks first, so that calling it again for the same order after a
    /// crash adopts what still runs, reads what has finished, or does what is missing; nothing has effect twice.
    /// When `stop` is cancelled it ends as soon as it safely can and returns what is then true: `Done` if it was done
    /// all the same, else a failure that tells what is known of the effect.
    async fn perform(&self, order: &Order, stop: CancellationToken) -> Outcome;

    /// Looks closely at every instance of a deployment on this host. Changes nothing.
    async fn survey(&self, ask: &SurveyAsk) -> HostSurvey;

    /// Looks briefly at every instance on this host; at most a few milliseconds each.
    async fn observe(&self) -> Vec<InstanceReport>;

    /// Sees to it that instances which are down start, or stay down, as a coordinator has said under `epoch`. What runs is left
    /// alone. Idempotent. False: something is still to be done, call it again.
    async fn permitted(&self, epoch: Epoch, permits: &BTreeMap<InstanceName, Permit>) -> bool;
}
