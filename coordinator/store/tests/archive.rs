//! A store moves to another kind of store and back, and holds the same.
#![expect(clippy::unwrap_used, reason = "a test: what is not as expected panics")]

use cutover_store::archive::{Archive, ArchiveError, GAP, check, export, import};
use cutover_store::conformance::facts::{Writer, load_in_pages};
use cutover_store::{
    Appended, CoordinatorName, EtcdSettings, EtcdStore, Key, MemoryStore, Nonce, Put, Revision, SqliteStore, Store,
};
use cutover_test_etcd::Etcd;
use cutover_vocabulary::{Digest, Epoch, UpgradeId};
use std::io::Cursor;
use std::path::Path;

fn who() -> CoordinatorName {
    CoordinatorName::new("mover").unwrap()
}

fn upgrade(name: &str) -> UpgradeId {
    UpgradeId::new(name).unwrap()
}

/// Upgrades of several pages, one of which ends with a fact of a later version, documents and chunks of text and of bytes.
async fn filled(store: &dyn Store) {
    let epoch = store.lead(&who()).await.unwrap().unwrap();
    let mut long = Writer::new(epoch);
    for _ in 0..7 {
        long.append(store, &upgrade("prod-1"), 50).await;
    }
    let mut later = Writer::new(epoch);
    later.append(store, &upgrade("prod-2"), 3).await;
    let newer = format!(
        "{{\"v\":1,\"seq\":4,\"prev\":\"{}\",\"at\":1,\"epoch\":{},\"fact\":{{\"brewed\":{{\"tea\":\"ü\"}}}}}}",
        later.hash, epoch.0
    );
    let planted = store.restore(epoch, &upgrade("prod-2"), 3, &Nonce::new(77), &[newer]).await;
    assert!(matches!(planted, Appended::Committed), "{planted:?}");
    for number in 0..40_u32 {
        let key = Key::new(format!("deployments/d{number}")).unwrap();
        let put = store.put(epoch, &key, Revision::NONE, format!("{{\"n\":{number}}}").as_bytes()).await;
        let Put::Stored(revision) = put else { panic!("{put:?}") };
        assert!(matches!(store.put(epoch, &key, revision, b"\xff\x00 no text").await, Put::Stored(_)));
    }
    store.put_chunk(epoch, b"evidence \"in quotes\"\n").await.unwrap();
    store.put_chunk(epoch, &[0xfe; 700_000]).await.unwrap();
    store.put_chunk(epoch, b"").await.unwrap();
    store.resign(epoch).await.unwrap();
}

async fn exported(store: &dyn Store) -> (Archive, Vec<u8>) {
    let mut file = Vec::new();
    let archive = export(store, &who(), &mut file).await.unwrap();
    assert_eq!(check(file.as_slice()).unwrap(), archive);
    (archive, file)
}

/// All lines but the first and the last, which speak of epochs.
fn content(file: &[u8]) -> Vec<&[u8]> {
    let lines: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
    lines[1..lines.len() - 1].to_vec()
}

async fn sqlite(folder: &Path, name: &str) -> SqliteStore {
    SqliteStore::open(folder.join(name)).await.unwrap()
}

/// What a person sees of it, asked by the store's other calls.
async fn same(one: &dyn Store, other: &dyn Store) {
    assert_eq!(one.upgrades().await.unwrap(), other.upgrades().await.unwrap());
    assert_eq!(one.chunks().await.unwrap(), other.chunks().await.unwrap());
    for head in one.upgrades().await.unwrap() {
        assert_eq!(load_in_pages(one, &head.id, 64).await, load_in_pages(other, &head.id, 64).await);
    }
    let documents = async |store: &dyn Store| -> Vec<(Key, Vec<u8>)> {
        store.list("").await.unwrap().into_iter().map(|(key, _, value)| (key, value)).collect()
    };
    assert_eq!(documents(one).await, documents(other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_moves_from_sqlite_to_etcd_and_back_is_equal() {
    let (folder, etcd) = (tempfile::tempdir().unwrap(), Etcd::start(1));
    let first = sqlite(folder.path(), "first.db").await;
    filled(&first).await;
    let (archive, file) = exported(&first).await;
    assert_eq!(archive.counts.to_string(), "2 upgrades with 354 facts, 40 documents, 3 chunks");

    let middle = EtcdStore::open(EtcdSettings::new(etcd.endpoints())).unwrap();
    assert_eq!(import(&middle, &who(), Cursor::new(&file)).await.unwrap(), archive);
    same(&first, &middle).await;
    let (moved, again) = exported(&middle).await;
    assert!(moved.highest_epoch.0 > archive.highest_epoch.0 + GAP, "{moved:?} after {archive:?}");
    assert_eq!(content(&again), content(&file));

    let last = sqlite(folder.path(), "last.db").await;
    import(&last, &who(), Cursor::new(&again)).await.unwrap();
    same(&first, &last).await;
    let next = last.lead(&who()).await.unwrap().unwrap();
    assert!(next.0 > moved.highest_epoch.0 + GAP, "{next} after {moved:?}");
}

#[tokio::test]
async fn the_next_fact_follows_the_imported_ones() {
    let store = MemoryStore::new();
    filled(&store).await;
    let (_, file) = exported(&store).await;
    let moved = MemoryStore::new();
    import(&moved, &who(), Cursor::new(file)).await.unwrap();
    let epoch = moved.lead(&who()).await.unwrap().unwrap();
    let mut writer = Writer::at_the_end_of(&moved, epoch, &upgrade("prod-1")).await;
    writer.append(&moved, &upgrade("prod-1"), 2).await;
    assert_eq!(moved.head(&upgrade("prod-1")).await.unwrap().unwrap().seq, 352);
}

#[tokio::test]
async fn an_archive_that_was_cut_or_altered_is_refused_with_its_line_and_nothing_is_written() {
    let store = MemoryStore::new();
    filled(&store).await;
    let (_, file) = exported(&store).await;
    let text = String::from_utf8(file).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let number = |start: &str| lines.iter().position(|line| line.starts_with(start)).unwrap();
    let without = |left: usize| -> String {
        lines.iter().enumerate().filter(|(at, _)| *at != left).map(|(_, line)| *line).collect()
    };
    let altered = |at: usize, from: &str, to: &str| -> String {
        assert!(lines[at].contains(from), "{}", lines[at]);
        let other = lines[at].replacen(from, to, 1);
        lines.iter().enumerate().map(|(number, line)| if number == at { other.as_str() } else { line }).collect()
    };
    let (fact, end_of, document, chunk) =
        (number("{\"fact\""), number("{\"upgrade\""), number("{\"document\""), number("{\"chunk\""));
    let last = lines.len() - 1;
    let line = |at: usize| u64::try_from(at).unwrap() + 1;
    let cases: Vec<(&str, String, u64, &str)> = vec![
        ("nothing at all", String::new(), 1, "it was cut"),
        ("without its last line", without(last), line(last), "it was cut"),
        ("cut in a line", text[..text.len() - 20].to_owned(), line(last), "in the middle of a line"),
        ("without its first line", without(0), 1, "must say `store`"),
        ("a newer form", altered(0, "\"form\":1", "\"form\":2"), 1, "newer Cutover"),
        ("another epoch", altered(0, "epoch\":2", "epoch\":1"), line(last), "was altered"),
        ("a fact is missing", without(fact + 9), line(fact + 9), "fact 10 was expected"),
        ("a fact was altered", altered(fact + 9, "ledger-a", "ledger-b"), line(fact + 10), "hash of the fact before"),
        ("the last fact was altered", altered(end_of - 1, "ledger-a", "ledger-b"), line(end_of), "end with"),
        ("an upgrade without its end", without(end_of), line(end_of), "has no end"),
        ("the last facts are missing", without(end_of - 1), line(end_of - 1), "the facts before it are 349"),
        ("a document is missing", without(document), line(last - 1), "39 documents"),
        ("a document was altered", altered(document, "bm8g", "bm9g"), line(last), "was altered"),
        ("a digest was altered", altered(chunk, "digest\":\"", "digest\":\"0"), line(chunk), "it is none"),
        ("a line more", format!("{text}{}", lines[document]), line(last + 1), "behind the last one"),
        ("no line of ours", altered(document, "{\"document\"", "{\"letter\""), line(document), "it is none"),
    ];
    for (what, file, expected, says) in cases {
        let empty = MemoryStore::new();
        match import(&empty, &who(), Cursor::new(file)).await {
            Err(ArchiveError::Line { line, why }) => {
                assert_eq!(line, expected, "{what}: {why}");
                assert!(why.contains(says), "{what}: {why}");
            }
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(empty.latest_epoch().await.unwrap(), Epoch(0), "{what}");
        assert!(empty.upgrades().await.unwrap().is_empty() && empty.list("").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_store_that_holds_anything_is_not_imported_into() {
    let store = MemoryStore::new();
    filled(&store).await;
    let (_, file) = exported(&store).await;
    let document = |store: MemoryStore| async move {
        let epoch = store.lead(&who()).await.unwrap().unwrap();
        let put = store.put(epoch, &Key::new("instances/a").unwrap(), Revision::NONE, b"{}").await;
        assert!(matches!(put, Put::Stored(_)), "{put:?}");
        store.resign(epoch).await.unwrap();
        store
    };
    let chunk = |store: MemoryStore| async move {
        let epoch = store.lead(&who()).await.unwrap().unwrap();
        store.put_chunk(epoch, b"x").await.unwrap();
        store.resign(epoch).await.unwrap();
        store
    };
    let (one, other) = (document(MemoryStore::new()).await, chunk(MemoryStore::new()).await);
    for (full, says) in [(one, "1 documents"), (other, "1 chunks"), (store, "354 facts")] {
        let before = full.latest_epoch().await.unwrap();
        let refused = import(&full, &who(), Cursor::new(&file)).await.unwrap_err();
        assert!(matches!(&refused, ArchiveError::NotEmpty { .. }) && refused.to_string().contains(says), "{refused}");
        assert_eq!(full.latest_epoch().await.unwrap(), Epoch(before.0 + 1), "its epochs were not raised");
        assert_eq!(full.leader().await.unwrap(), None);
    }
}

#[tokio::test]
async fn neither_side_of_a_move_may_be_led() {
    let store = MemoryStore::new();
    filled(&store).await;
    let (_, file) = exported(&store).await;
    let leader = store.another_handle();
    leader.lead(&CoordinatorName::new("c-1").unwrap()).await.unwrap().unwrap();
    let refused = export(&store, &who(), &mut Vec::new()).await.unwrap_err();
    assert!(refused.to_string().contains("coordinator c-1 leads this store"), "{refused}");
    let new = MemoryStore::new();
    let leader = new.another_handle();
    leader.lead(&CoordinatorName::new("c-2").unwrap()).await.unwrap().unwrap();
    let refused = import(&new, &who(), Cursor::new(file)).await.unwrap_err();
    assert!(refused.to_string().contains("coordinator c-2 leads this store"), "{refused}");
}

#[tokio::test]
async fn a_store_with_a_broken_chain_is_not_exported() {
    let store = MemoryStore::new();
    filled(&store).await;
    store.plant(&upgrade("prod-1"), 20, b"{\"v\":1,\"seq\":20,\"prev\":\"00\"}");
    let refused = export(&store, &who(), &mut Vec::new()).await.unwrap_err();
    assert!(matches!(&refused, ArchiveError::Chain { seq: 20, .. }), "{refused}");
    store.plant(&upgrade("prod-1"), 20, b"no fact");
    let refused = export(&store, &who(), &mut Vec::new()).await.unwrap_err();
    assert!(matches!(&refused, ArchiveError::Chain { seq: 20, .. }), "{refused}");
}

#[tokio::test]
async fn texts_that_do_not_continue_the_chain_are_not_restored() {
    let store = MemoryStore::new();
    let epoch = store.lead(&who()).await.unwrap().unwrap();
    let mut writer = Writer::new(epoch);
    let texts: Vec<String> = writer.batch(4).facts.iter().map(|fact| serde_json::to_string(fact).unwrap()).collect();
    let restored = async |after: u64, texts: &[String]| {
        let nonce = Nonce::new(u128::from(after) + 1);
        store.restore(epoch, &upgrade("u"), after, &nonce, texts).await
    };
    assert!(matches!(restored(0, &texts[1..]).await, Appended::Unknown(_)));
    assert!(matches!(restored(0, &[texts[0].clone(), texts[2].clone()]).await, Appended::Unknown(_)));
    assert!(matches!(restored(0, &[]).await, Appended::Unknown(_)));
    assert!(matches!(restored(2, &texts[2..]).await, Appended::Conflict { seq: 0 }));
    assert!(matches!(restored(0, &texts[..2]).await, Appended::Committed));
    assert!(matches!(restored(2, &texts[2..]).await, Appended::Committed));
    assert_eq!(store.head(&upgrade("u")).await.unwrap().unwrap().hash, Digest::of(texts[3].as_bytes()));
}
