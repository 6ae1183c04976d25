//! What every store promises of registered ports (EN-6).

use super::{Subject, actions, at, entry, ready};
use crate::PreviewRecord;

/// EN-6: lowest first, each once, as it was registered first.
pub async fn previews_are_registered_once_and_listed_by_port(store: &Subject) {
    let id = ready(store, "alice").await.id;
    let other = ready(store, "bob").await.id;
    let preview = |port, seconds| PreviewRecord { session_id: id.clone(), port, created_at: at(seconds) };
    for (port, seconds) in [(65_535, 1), (1024, 2), (8080, 3), (1024, 9)] {
        store.preview_put(preview(port, seconds), entry(&id, "preview_register")).await.unwrap();
    }
    let elsewhere = PreviewRecord { session_id: other.clone(), ..preview(8080, 5) };
    store.preview_put(elsewhere.clone(), entry(&other, "preview_register")).await.unwrap();
    let listed = store.preview_list(&id).await.unwrap();
    assert_eq!(listed, [preview(1024, 2), preview(8080, 3), preview(65_535, 1)]);
    assert_eq!(store.preview_list(&other).await.unwrap(), [elsewhere]);
    let audited = actions(store, &other).await;
    assert_eq!(audited.last().map(String::as_str), Some("preview_register"));
}

/// EN-6: removed once, from its own session.
pub async fn a_removed_preview_is_gone(store: &Subject) {
    let id = ready(store, "alice").await.id;
    let other = ready(store, "bob").await.id;
    for session_id in [&id, &other] {
        let preview = PreviewRecord { session_id: session_id.clone(), port: 8080, created_at: at(1) };
        store.preview_put(preview, entry(session_id, "preview_register")).await.unwrap();
    }
    let remove = |port| store.preview_remove(&id, port, entry(&id, "preview_remove"));
    assert!(!remove(8081).await.unwrap());
    assert!(remove(8080).await.unwrap());
    assert!(!remove(8080).await.unwrap());
    assert_eq!(store.preview_list(&id).await.unwrap(), []);
    assert_eq!(store.preview_list(&other).await.unwrap().len(), 1);
}
