//! What every store promises, one named function a promise. A store's tests implement [`Fixture`] and call
//! [`conformance!`](crate::conformance!), which makes one test of each. A promise that is broken panics.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "these functions are tests; only the tests' build has them"
)]

pub mod appending;
pub mod chunks;
pub mod facts;
pub mod leadership;
pub mod loading;
pub mod registry;

use crate::{CoordinatorName, Store};
use cutover_vocabulary::{Epoch, UpgradeId};
use std::sync::Arc;

/// One empty store, as its tests need it.
#[async_trait::async_trait]
pub trait Fixture: Send + Sync {
    /// Another handle on the store; the first call makes the first. Dropping a handle is the death of its process.
    async fn open(&self) -> Arc<dyn Store>;

    /// Makes the present leader lose leadership without being told, so that another handle can win it.
    async fn depose(&self);

    /// Puts a text where a fact belongs, past all checks; right behind the last fact it becomes the last one.
    async fn plant(&self, upgrade: &UpgradeId, seq: u64, text: &[u8]);
}

/// Calls `$call!` with every promise as `module::function`. A new promise is added here; a test compares this list with
/// the functions.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_promise {
    ($($call:tt)+) => {
        $($call)+! {
            leadership::the_first_epoch_is_greater_than_zero
            leadership::a_second_handle_cannot_lead_while_the_first_does
            leadership::of_many_that_try_at_once_exactly_one_leads
            leadership::after_a_resignation_another_leads_with_a_greater_epoch
            leadership::when_the_leaders_handle_is_gone_another_leads_with_a_greater_epoch
            leadership::leading_again_gives_a_greater_epoch_and_fences_the_former
            leadership::resigning_with_another_epoch_or_twice_changes_nothing
            leadership::everybody_sees_who_leads
            appending::a_committed_batch_is_loaded_as_it_was_appended
            appending::a_deposed_leader_is_fenced_by_its_successor
            appending::a_leader_that_resigned_is_fenced
            appending::an_epoch_that_was_never_given_is_fenced
            appending::a_batch_after_another_seq_conflicts_and_is_told_the_last_one
            appending::a_batch_that_does_not_carry_the_last_hash_conflicts
            appending::a_batch_that_contradicts_itself_is_refused_for_good
            appending::a_batch_of_exactly_the_limit_fits_and_one_byte_more_does_not
            appending::a_fact_alone_may_be_larger_than_a_batch
            appending::of_many_batches_after_one_seq_exactly_one_commits
            appending::a_committed_batch_is_found_by_its_nonce
            appending::a_nonce_is_stored_once
            appending::upgrades_do_not_touch_each_other
            loading::pages_of_any_size_add_up_to_the_same
            loading::an_upgrade_that_does_not_exist_is_empty
            loading::followers_read_what_the_leader_committed
            loading::a_fact_of_an_unknown_kind_is_foreign_and_the_rest_is_read
            loading::a_newer_envelope_is_foreign
            loading::a_text_that_is_no_fact_is_foreign
            loading::an_altered_fact_breaks_the_chain_right_behind_it
            loading::the_head_is_the_hash_of_the_stored_text
            loading::every_upgrade_is_listed_with_its_end
            registry::a_document_is_created_only_where_there_is_none
            registry::a_document_is_replaced_only_at_its_revision
            registry::documents_are_listed_by_key_and_prefix_to_the_letter
            registry::only_the_leader_writes_documents
            registry::a_document_of_exactly_the_limit_fits_and_one_byte_more_does_not
            registry::of_many_writers_at_one_revision_exactly_one_wins
            chunks::a_chunk_is_found_by_its_digest
            chunks::a_chunk_is_stored_once
            chunks::only_the_leader_stores_chunks
            chunks::a_chunk_of_exactly_the_limit_fits_and_one_byte_more_does_not
        }
    };
}

/// Makes one `#[tokio::test]` of every promise. Before it, the caller defines `async fn fixture() -> impl Fixture`.
#[macro_export]
macro_rules! conformance {
    () => {
        $crate::for_each_promise!($crate::__promise_tests);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __promise_tests {
    ($($module:ident :: $promise:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            let fixture = fixture().await;
            $crate::conformance::$module::$promise(&fixture).await;
        }
    )*};
}

/// The name of a coordinator.
pub(crate) fn name(text: &str) -> CoordinatorName {
    CoordinatorName::new(text).expect("a test's name is valid")
}

/// The name of an upgrade.
pub(crate) fn upgrade(text: &str) -> UpgradeId {
    UpgradeId::new(text).expect("a test's name is valid")
}

/// A new handle that leads.
pub(crate) async fn leader(fixture: &impl Fixture, who: &str) -> (Arc<dyn Store>, Epoch) {
    let store = fixture.open().await;
    let epoch = store.lead(&name(who)).await.expect("electing works").expect("nobody else leads");
    (store, epoch)
}
