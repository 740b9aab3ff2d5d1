//! Whatever was appended in whatever batches, pages of any size replay it, in every store alike.
#![expect(clippy::unwrap_used, reason = "a test: what is not as expected panics")]

use cutover_store::conformance::facts::{Writer, all_known, load_in_pages};
use cutover_store::{CoordinatorName, MemoryStore, SqliteStore, Store};
use cutover_vocabulary::UpgradeId;
use proptest::prelude::*;

async fn appended_and_replayed(store: &dyn Store, batches: &[usize], pages: &[usize]) {
    let upgrade = UpgradeId::new("u").unwrap();
    let epoch = store.lead(&CoordinatorName::new("a").unwrap()).await.unwrap().unwrap();
    let mut writer = Writer::new(epoch);
    let mut appended = Vec::new();
    for count in batches {
        appended.extend(writer.append(store, &upgrade, *count).await);
    }
    for limit in pages {
        assert_eq!(all_known(load_in_pages(store, &upgrade, *limit).await), appended, "pages of {limit}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pages_of_any_size_replay_what_was_appended_in_batches_of_any_size(
        batches in proptest::collection::vec(1_usize..9, 0..8),
        pages in proptest::collection::vec(1_usize..40, 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            appended_and_replayed(&MemoryStore::new(), &batches, &pages).await;
            let folder = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(folder.path().join("store.db")).await.unwrap();
            appended_and_replayed(&store, &batches, &pages).await;
            store.close().await;
        });
    }
}
