//! What every backend promises, as tests over `&dyn Store`.

use super::*;
use crate::vault::{KeySource, Place, Secret, Vault};

fn put(key: &[u8], value: &[u8], expect: Expect) -> Op {
    Op::Put { key: key.to_vec(), value: value.to_vec(), expect }
}

async fn smoke(store: &dyn Store) {
    let source = KeySource::Variable(Secret::new(b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_vec()));
    let vault = Vault::open(store, &source).await.expect("created");
    let again = Vault::open(store, &source).await.expect("opened");
    let place = Place { owner: "user:local", kind: "account", id: "x", generation: 1 };
    let sealed = vault.seal(&place, b"plain").expect("sealed");
    assert_eq!(again.open_sealed(&place, &sealed).expect("opens").as_slice(), b"plain");
    store.commit(vec![put(b"a", b"1", Expect::Absent)]).await.expect("put");
    assert!(matches!(store.commit(vec![put(b"a", b"1", Expect::Absent)]).await, Err(StoreError::Conflict { .. })));
    assert_eq!(store.scan(b"a", None, 10).await.expect("scan").len(), 1);
}

#[tokio::test]
async fn smoke_test() {
    smoke(&MemoryStore::new()).await;
    let data = tempfile::tempdir().expect("temp dir");
    smoke(&SledStore::open(data.path()).expect("open")).await;
    smoke_again(&SledStore::open(data.path()).expect("open")).await;
}

async fn smoke_again(store: &dyn Store) {
    assert_eq!(store.get(b"a").await.expect("get").expect("there").generation, 1);
}
