//! The memory store keeps every promise, and fails as it is asked to.
#![expect(clippy::unwrap_used, reason = "a test: what is not as expected panics")]

use cutover_store::conformance::Fixture;
use cutover_store::conformance::facts::{Writer, all_known, committed, load_in_pages};
use cutover_store::memory::AppendFault;
use cutover_store::{Appended, CoordinatorName, MemoryStore, Store};
use cutover_vocabulary::{Epoch, UpgradeId};
use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

struct Memory(MemoryStore);

#[async_trait::async_trait]
impl Fixture for Memory {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.0.another_handle())
    }
    async fn depose(&self) {
        self.0.depose();
    }
    async fn plant(&self, upgrade: &UpgradeId, seq: u64, text: &[u8]) {
        self.0.plant(upgrade, seq, text);
    }
}

async fn fixture() -> Memory {
    Memory(MemoryStore::new())
}

cutover_store::conformance!();

fn upgrade() -> UpgradeId {
    UpgradeId::new("u").unwrap()
}

async fn leading() -> (MemoryStore, Epoch) {
    let store = MemoryStore::new();
    let epoch = store.lead(&CoordinatorName::new("a").unwrap()).await.unwrap().unwrap();
    (store, epoch)
}

/// The answer, or none when it never comes.
fn answer(store: &MemoryStore, epoch: Epoch, writer: &mut Writer) -> Option<Appended> {
    let (upgrade, before, batch) = (upgrade(), writer.seq, writer.batch(2));
    let append = pin!(store.append(epoch, &upgrade, before, &batch));
    let mut append = append;
    match append.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

#[tokio::test]
async fn each_fault_stores_and_answers_as_its_name_says() {
    for fault in AppendFault::ALL.iter().copied() {
        let (store, epoch) = leading().await;
        let mut writer = Writer::new(epoch);
        writer.append(&store, &upgrade(), 1).await;
        store.fail_append(2, fault);
        let nonce = writer.clone().batch(2).nonce;
        let answer = answer(&store, epoch, &mut writer);
        let is_stored = store.find_batch(&upgrade(), &nonce).await.unwrap().is_some();
        let still_leads = store.leader().await.unwrap().is_some();
        // What the caller is told; whether it is stored; whether the caller still leads.
        let told = match answer {
            Some(Appended::Committed) => "committed",
            Some(Appended::Fenced { by }) if by > epoch => "fenced",
            Some(Appended::Unknown(error)) if error.nothing_was_stored() => "nothing stored",
            Some(Appended::Unknown(_)) => "unknown",
            None => "no answer",
            Some(other) => panic!("{fault:?}: {other:?}"),
        };
        let expected = match fault {
            AppendFault::Fails => ("nothing stored", false, true),
            AppendFault::UnknownNotStored => ("unknown", false, true),
            AppendFault::UnknownStored => ("unknown", true, true),
            AppendFault::UnknownStoredAndDeposed => ("unknown", true, false),
            AppendFault::DeposedBefore => ("fenced", false, false),
            AppendFault::DeposedAfter => ("committed", true, false),
            AppendFault::HangsBefore => ("no answer", false, true),
            AppendFault::HangsAfter => ("no answer", true, true),
        };
        assert_eq!((told, is_stored, still_leads), expected, "{fault:?}");
        assert_eq!(store.appends(), 2);
    }
}

#[tokio::test]
async fn only_the_chosen_append_goes_wrong_and_a_healed_store_works() {
    let (store, epoch) = leading().await;
    let mut writer = Writer::new(epoch);
    store.fail_append(2, AppendFault::UnknownNotStored);
    writer.append(&store, &upgrade(), 2).await;
    let batch = writer.clone().batch(1);
    assert!(matches!(store.append(epoch, &upgrade(), 2, &batch).await, Appended::Unknown(_)));
    committed(store.append(epoch, &upgrade(), 2, &batch).await);
    store.fail_appends(|attempt| (attempt.batch.facts.len() > 1).then_some(AppendFault::Fails));
    let mut writer = Writer::at_the_end_of(&store, epoch, &upgrade()).await;
    writer.append(&store, &upgrade(), 1).await;
    let two = writer.clone().batch(2);
    assert!(matches!(store.append(epoch, &upgrade(), 4, &two).await, Appended::Unknown(_)));
    store.heal();
    committed(store.append(epoch, &upgrade(), 4, &two).await);
    assert_eq!(all_known(load_in_pages(&store, &upgrade(), 3).await).len(), 6);
}

#[tokio::test]
async fn an_append_that_would_be_refused_is_refused_whatever_was_to_happen_after_it() {
    for fault in [AppendFault::UnknownStored, AppendFault::DeposedAfter, AppendFault::HangsAfter] {
        let (store, epoch) = leading().await;
        store.fail_append(1, fault);
        let mut ahead = Writer { seq: 5, ..Writer::new(epoch) };
        let refused = answer(&store, epoch, &mut ahead);
        assert!(matches!(refused, Some(Appended::Conflict { seq: 0 })), "{fault:?}: {refused:?}");
        assert!(store.leader().await.unwrap().is_some());
    }
}
