//! What every store promises of API keys (AU-1).

use super::{Subject, at, entries, service_entry, unique, user};
use crate::{AuditFilter, KeyRecord};
use tenure_session::{KeyId, Role};

fn key(seconds: u64) -> KeyRecord {
    KeyRecord {
        id: KeyId::new(unique().to_be_bytes()),
        digest: format!("{:064x}", unique()),
        role: Role::User,
        user: user("alice"),
        label: None,
        created_at: at(seconds),
        expires_at: None,
        revoked_at: None,
    }
}

async fn create(store: &Subject, key: KeyRecord) -> KeyRecord {
    store.key_create(key.clone(), service_entry("key_create")).await.unwrap();
    key
}

/// AU-1: all of them, as they were made.
pub async fn keys_are_listed_oldest_first(store: &Subject) {
    assert_eq!(store.key_list().await.unwrap(), []);
    let second = create(store, key(2)).await;
    let full =
        KeyRecord { role: Role::Admin, label: Some("the \u{e9}-key".into()), expires_at: Some(at(1000)), ..key(1) };
    let first = create(store, full).await;
    assert_eq!(store.key_list().await.unwrap(), [first, second]);
}

/// AU-1: the first instant stands, and the key is listed still.
pub async fn a_key_is_revoked_for_ever(store: &Subject) {
    let other = create(store, key(1)).await;
    let made = create(store, key(2)).await;
    let revoke = |id, seconds| store.key_revoke(id, at(seconds), service_entry("key_revoke"));
    let revoked = KeyRecord { revoked_at: Some(at(5)), ..made.clone() };
    let nobody = KeyId::new([0xff; 8]);
    assert_eq!(revoke(&made.id, 5).await.unwrap(), Some(revoked.clone()));
    assert_eq!(revoke(&made.id, 9).await.unwrap(), Some(revoked.clone()));
    assert_eq!(revoke(&nobody, 5).await.unwrap(), None);
    assert_eq!(store.key_list().await.unwrap(), [other, revoked]);
}

/// AU-1: the same key with another secret; a revoked one gets none.
pub async fn a_rotated_key_has_another_secret(store: &Subject) {
    let made = create(store, key(1)).await;
    let digest = "cd".repeat(32);
    let nobody = KeyId::new([0xff; 8]);
    let rotate = |id| store.key_rotate(id, &digest, at(5), service_entry("key_rotate"));
    let rotated = KeyRecord { digest: digest.clone(), ..made.clone() };
    assert_eq!(rotate(&made.id).await.unwrap(), Some(rotated.clone()));
    assert_eq!(store.key_list().await.unwrap(), std::slice::from_ref(&rotated));
    assert_eq!(rotate(&nobody).await.unwrap(), None);

    let revoked = create(store, key(2)).await;
    store.key_revoke(&revoked.id, at(6), service_entry("key_revoke")).await.unwrap();
    assert_eq!(rotate(&revoked.id).await.unwrap(), None);
    let listed = store.key_list().await.unwrap();
    assert_eq!(listed, [rotated, KeyRecord { revoked_at: Some(at(6)), ..revoked }]);
    let filter = AuditFilter { action: Some("key_rotate".into()), ..AuditFilter::default() };
    assert_eq!(entries(store, filter).await.len(), 1);
}
