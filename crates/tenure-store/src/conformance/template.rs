//! What every store promises of templates (TP-1).

use super::{Subject, at, crowd, service_entry};
use crate::{LeaseTerms, Profile, TemplateRecord};
use tenure_session::LimitRequest;

fn template(name: &str, base: &str) -> TemplateRecord {
    TemplateRecord {
        name: name.to_owned(),
        version: 0,
        base: base.to_owned(),
        limits: LimitRequest { idle_timeout_ms: Some(None), pids: Some(7), ..LimitRequest::default() },
        lease: Some(LeaseTerms { ttl_ms: 60_000, heartbeat_interval_ms: 5000 }),
        env: [("LANG".to_owned(), "C.UTF-8 \u{e9}".to_owned())].into(),
        start_command: Some(vec!["sh".into(), "-c".into(), "true".into()]),
        profile: Profile::Adventure,
        allow_unenforced: true,
        created_at: at(1),
    }
}

async fn put(store: &Subject, name: &str, base: &str) -> TemplateRecord {
    store.template_put(template(name, base), service_entry("template_put")).await.unwrap()
}

async fn remove(store: &Subject, name: &str, version: Option<u32>) -> u32 {
    store.template_remove(name, version, at(9), service_entry("template_remove")).await.unwrap()
}

async fn version(store: &Subject, name: &str, version: Option<u32>) -> Option<u32> {
    store.template_get(name, version).await.unwrap().map(|template| template.version)
}

async fn listed(store: &Subject) -> Vec<(String, u32)> {
    store.template_list().await.unwrap().into_iter().map(|template| (template.name, template.version)).collect()
}

/// TP-1: from 1, per name, and as they were given.
pub async fn templates_get_versions_in_turn(store: &Subject) {
    assert_eq!(store.template_get("lab", None).await.unwrap(), None);
    let lab_1 = put(store, "lab", "first").await;
    assert_eq!(lab_1, TemplateRecord { version: 1, ..template("lab", "first") });
    let lab_2 = put(store, "lab", "second").await;
    let bare = TemplateRecord {
        limits: LimitRequest::default(),
        lease: None,
        env: Default::default(),
        start_command: None,
        profile: Profile::Plain,
        allow_unenforced: false,
        ..template("a", "host")
    };
    let a_1 = store.template_put(bare.clone(), service_entry("template_put")).await.unwrap();
    assert_eq!(a_1, TemplateRecord { version: 1, ..bare });
    assert_eq!(store.template_get("lab", None).await.unwrap(), Some(lab_2.clone()));
    assert_eq!(store.template_get("lab", Some(1)).await.unwrap(), Some(lab_1.clone()));
    assert_eq!(store.template_get("lab", Some(3)).await.unwrap(), None);
    assert_eq!(store.template_get("LAB", None).await.unwrap(), None);
    assert_eq!(store.template_list().await.unwrap(), [a_1, lab_1, lab_2]);
}

/// TP-1: also where many are put at once.
pub async fn of_many_versions_none_is_given_twice(store: &Subject) {
    let mut versions = crowd(store, |n, store| async move { put(&store, "lab", &n.to_string()).await.version }).await;
    versions.sort_unstable();
    assert_eq!(versions, (1..=versions.len() as u32).collect::<Vec<_>>());
}

/// TP-1: sessions that were made from it still find it, and its number is never given again.
pub async fn a_removed_template_is_read_by_its_version_only(store: &Subject) {
    put(store, "lab", "first").await;
    let second = put(store, "lab", "second").await;
    assert_eq!(remove(store, "lab", Some(2)).await, 1);
    assert_eq!(version(store, "lab", None).await, Some(1));
    assert_eq!(store.template_get("lab", Some(2)).await.unwrap(), Some(second));
    assert_eq!(listed(store).await, [("lab".to_owned(), 1)]);
    assert_eq!(remove(store, "lab", Some(2)).await, 0, "it was removed already");
    assert_eq!(remove(store, "lab", Some(7)).await, 0);
    assert_eq!(put(store, "lab", "third").await.version, 3);
}

/// TP-1: all that there are, of that name.
pub async fn every_version_is_removed_at_once(store: &Subject) {
    for name in ["lab", "lab", "lab", "labor"] {
        put(store, name, "base").await;
    }
    assert_eq!(remove(store, "lab", Some(1)).await, 1);
    assert_eq!(remove(store, "lab", None).await, 2);
    assert_eq!(remove(store, "lab", None).await, 0);
    assert_eq!(version(store, "lab", None).await, None);
    assert_eq!(version(store, "lab", Some(3)).await, Some(3));
    assert_eq!(listed(store).await, [("labor".to_owned(), 1)]);
    assert_eq!(put(store, "lab", "base").await.version, 4);
}
