//! What is to be said to one agent over its present link.

use cutover_vocabulary::survey::SurveyAsk;
use cutover_vocabulary::{OrderId, RequestId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// One entry an order, whatever happens: an order that was revoked before it was sent is sent as a revoke alone.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    acknowledge: BTreeSet<OrderId>,
    orders: BTreeSet<OrderId>,
    surveys: BTreeMap<RequestId, SurveyAsk>,
}

/// The next thing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// First, because an acknowledged order makes room on the agent's side.
    Acknowledge(OrderId),
    /// Say what is wanted of this order, if it still stands.
    Order(OrderId),
    Survey(RequestId, SurveyAsk),
}

impl Outbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn give(&self, order: &OrderId) {
        self.waiting().orders.insert(order.clone());
        self.news.notify_one();
    }

    pub(crate) fn acknowledge(&self, order: &OrderId) {
        self.waiting().acknowledge.insert(order.clone());
        self.news.notify_one();
    }

    pub(crate) fn survey(&self, request: &RequestId, ask: &SurveyAsk) {
        self.waiting().surveys.insert(request.clone(), ask.clone());
        self.news.notify_one();
    }

    fn pop(&self) -> Option<Next> {
        let mut waiting = self.waiting();
        if let Some(order) = waiting.acknowledge.pop_first() {
            return Some(Next::Acknowledge(order));
        }
        if let Some((request, ask)) = waiting.surveys.pop_first() {
            return Some(Next::Survey(request, ask));
        }
        waiting.orders.pop_first().map(Next::Order)
    }

    /// The next thing to say; waits until there is one.
    pub(crate) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.pop() {
                return next;
            }
            self.news.notified().await;
        }
    }
}
