//! What every store promises of the audit (TR-4, TR-5).

use super::{
    Subject, actions, at, change, create, creation, crowd, deletion, done, end, entries, entry, extension, intended,
    intent, page, ready, refused, service_entry, session, unique, user,
};
use crate::audit::verify;
use crate::{
    AuditDraft, AuditFilter, ExecLedgerState, ExecOutcome, KeyRecord, PreviewRecord, SessionCreated, SessionMove,
    StreamTotal, TemplateRecord,
};
use serde_json::json;
use tenure_session::{EnvironmentState, KeyId, Role, State, Trigger};

/// TR-5: the whole line and every chain hold, metadata included, and every head that the store signed names what is there.
pub async fn the_audit_holds(store: &Subject) {
    let heads = store.audit_heads(0, 1000).await.unwrap();
    let entries = entries(store, AuditFilter::default()).await;
    let found = verify(None, &heads, &entries);
    assert_eq!(found.problem, None);
    assert_eq!(found.entries, entries.len() as u64);
    // Nothing but a purge erases what was said, and that of its own session alone.
    let purged = |id| entries.iter().any(|entry| entry.session_id.as_ref() == Some(id) && entry.action == "purge");
    assert!(entries.iter().all(|entry| entry.metadata.is_some() || entry.session_id.as_ref().is_some_and(purged)));
}

/// TR-4: as they were given, in the order in which they were given.
pub async fn entries_are_kept_in_their_order(store: &Subject) {
    let id = create(store, session("alice")).await.id;
    let full = AuditDraft {
        at: at(5),
        old_state: Some(State::Paused),
        new_state: Some(State::Failed),
        trigger: Trigger::Recovery,
        actor: "admin:root".into(),
        reason: None,
        metadata: json!({"deep": [{"\u{1F600}": 1e-7}], "big": 9_007_199_254_740_991u64}),
        ..entry(&id, "first")
    };
    let drafts = vec![full, service_entry("second"), entry(&id, "third"), service_entry("fourth")];
    store.audit_append(drafts.clone()).await.unwrap();
    store.audit_append(Vec::new()).await.unwrap();
    let stored = entries(store, AuditFilter::default()).await.split_off(1);
    assert_eq!(stored.len(), drafts.len());
    for (stored, draft) in stored.into_iter().zip(drafts) {
        let back = AuditDraft {
            session_id: stored.session_id,
            at: stored.at,
            old_state: stored.old_state,
            new_state: stored.new_state,
            trigger: stored.trigger,
            actor: stored.actor,
            action: stored.action,
            reason: stored.reason,
            metadata: stored.metadata.unwrap(),
        };
        assert_eq!(back, draft);
    }
}

/// TR-4: each filter alone, together, and page by page.
pub async fn entries_are_filtered(store: &Subject) {
    let id = create(store, session("alice")).await.id;
    let other = create(store, session("bob")).await.id;
    let by = |actor: &str, draft: AuditDraft| AuditDraft { actor: actor.to_owned(), ..draft };
    for _ in 0..3 {
        let exec = by("user:carol", entry(&id, "exec"));
        let denied = by("user:carol", service_entry("access_denied"));
        store.audit_append(vec![exec, by("user:dave", entry(&other, "exec")), denied]).await.unwrap();
    }
    let all = AuditFilter::default;
    let session_id = Some(id.clone());
    let check = async |filter: AuditFilter, count: usize| {
        let found = entries(store, filter.clone()).await;
        assert_eq!(found.len(), count, "{filter:?}");
        assert!(found.is_sorted_by_key(|entry| entry.position));
        let first = store.audit_list(filter, page(2, None)).await.unwrap();
        assert_eq!(first.items, found[..count.min(2)]);
    };
    check(all(), 11).await;
    check(AuditFilter { session_id: session_id.clone(), ..all() }, 4).await;
    check(AuditFilter { action: Some("exec".into()), ..all() }, 6).await;
    check(AuditFilter { actor: Some("user:carol".into()), ..all() }, 6).await;
    check(AuditFilter { session_id, action: Some("exec".into()), actor: Some("user:carol".into()) }, 3).await;
    check(AuditFilter { actor: Some("user:dave".into()), action: Some("access_denied".into()), ..all() }, 0).await;
}

/// TR-5: chains and line have no gap, however many write at once.
pub async fn the_line_is_whole_under_a_crowd(store: &Subject) {
    let ids = [ready(store, "alice").await.id, ready(store, "bob").await.id];
    let before = entries(store, AuditFilter::default()).await.len();
    let said = crowd(store, |n, store| {
        let id = ids[n as usize % 2].clone();
        async move {
            match n % 5 {
                0 => drop(intended(&store, intent(&id)).await),
                1 => drop(done(store.session_extend(extension(&id)).await)),
                2 => drop(create(&store, session("carol")).await),
                3 => store.audit_append(vec![service_entry("one")]).await.unwrap(),
                _ => store.audit_append(vec![entry(&id, "one")]).await.unwrap(),
            }
        }
    })
    .await;
    let entries = entries(store, AuditFilter::default()).await;
    // Each wrote one, and the first exec of either session one more.
    assert_eq!(entries.len(), before + said.len() + 2);
    assert!(entries.iter().zip(1..).all(|(entry, position)| entry.position == position));
}

/// LC-7, TR-4: one entry for everything that was changed, and not one for what was not.
pub async fn every_change_has_its_entry_and_a_refused_one_has_none(store: &Subject) {
    let made = create(store, session("alice")).await;
    let id = &made.id;
    let named = |action: &str| entry(id, action);
    assert_eq!(store.session_create(creation(made.clone())).await.unwrap(), SessionCreated::IdTaken);
    done(
        store
            .session_move(SessionMove { entry: named("move"), ..change(id, State::Created, State::Initializing) })
            .await,
    );
    refused(
        store.session_move(SessionMove { entry: named("no"), ..change(id, State::Created, State::Initializing) }).await,
    );
    done(
        store.session_move(SessionMove { entry: named("move"), ..change(id, State::Initializing, State::Ready) }).await,
    );
    done(store.session_environment(id, 1, EnvironmentState::Ready, at(11), Some(named("environment"))).await);
    refused(store.session_environment(id, 9, EnvironmentState::Lost, at(11), Some(named("no"))).await);
    done(store.session_extend(extension(id)).await);
    let mut first = intent(id);
    first.running_entry.action = "running".into();
    let exec = first.record.id.clone();
    intended(store, first).await;
    let mut second = intent(id);
    second.running_entry.action = "no".into();
    intended(store, second).await;
    for action in ["exec_end", "no"] {
        let outcome = ExecOutcome {
            state: ExecLedgerState::Exited,
            ended_at: at(32),
            exit_code: Some(0),
            signal: None,
            timed_out: false,
            oom_killed: false,
            error: None,
            stdout: StreamTotal::default(),
            stderr: StreamTotal::default(),
            duration_ms: None,
        };
        store.exec_settle(&exec, outcome, Some(named(action))).await.unwrap();
    }
    let preview = PreviewRecord { session_id: id.clone(), port: 8080, created_at: at(33) };
    store.preview_put(preview, named("preview_register")).await.unwrap();
    store.preview_remove(id, 8080, named("preview_remove")).await.unwrap();
    store.preview_remove(id, 8080, named("no")).await.unwrap();
    done(store.session_end(end(id, 40)).await);
    refused(store.session_end(end(id, 41)).await);
    done(store.session_delete(deletion(id)).await);
    refused(store.session_delete(deletion(id)).await);
    done(store.session_undelete(id, at(80), named("session_undelete")).await);
    refused(store.session_undelete(id, at(81), named("no")).await);

    let mut audited = actions(store, id).await;
    let running = audited.iter().position(|action| action == "running").expect("the exec moved it");
    audited.remove(running);
    let expected = "session_create move move environment session_extend exec exec exec_end preview_register \
                    preview_remove session_end session_delete session_undelete";
    assert_eq!(audited, expected.split_whitespace().collect::<Vec<_>>());
    service_changes_have_their_entries(store).await;
}

async fn service_changes_have_their_entries(store: &Subject) {
    let key = KeyRecord {
        id: KeyId::new(unique().to_be_bytes()),
        digest: "ab".repeat(32),
        role: Role::Admin,
        user: user("root"),
        label: None,
        created_at: at(1),
        expires_at: None,
        revoked_at: None,
    };
    let id = key.id.clone();
    store.key_create(key, service_entry("key_create")).await.unwrap();
    store.key_rotate(&id, &"cd".repeat(32), at(2), service_entry("key_rotate")).await.unwrap();
    store.key_revoke(&id, at(3), service_entry("key_revoke")).await.unwrap();
    store.key_rotate(&id, &"ef".repeat(32), at(4), service_entry("no")).await.unwrap();
    let template = TemplateRecord {
        name: "lab".into(),
        version: 0,
        base: "host".into(),
        limits: Default::default(),
        lease: None,
        env: Default::default(),
        start_command: None,
        profile: Default::default(),
        allow_unenforced: false,
        created_at: at(1),
    };
    store.template_put(template, service_entry("template_put")).await.unwrap();
    store.template_remove("lab", None, at(5), service_entry("template_remove")).await.unwrap();
    store.template_remove("lab", None, at(5), service_entry("no")).await.unwrap();
    let mut audited = entries(store, AuditFilter::default()).await;
    audited.retain(|entry| entry.session_id.is_none());
    let audited: Vec<_> = audited.into_iter().map(|entry| entry.action).collect();
    assert_eq!(audited, ["key_create", "key_rotate", "key_revoke", "template_put", "template_remove"]);
}

/// TR-5: whatever the store signs by itself, and whenever, is the line as it is.
pub async fn heads_name_what_the_line_holds(store: &Subject) {
    for _ in 0..3 {
        store.audit_append((0..40).map(|_| service_entry("one")).collect()).await.unwrap();
    }
    let heads = store.audit_heads(0, 1000).await.unwrap();
    assert!(heads.is_sorted_by_key(|head| head.position), "oldest first");
    let entries = entries(store, AuditFilter::default()).await;
    for head in &heads {
        assert_eq!(entries[head.position as usize - 1].line_hash, head.line_hash);
        let from = store.audit_heads(head.position, 1).await.unwrap();
        assert_eq!(from.len(), 1);
        assert_eq!(from[0].position, head.position);
    }
    assert_eq!(store.audit_heads(entries.len() as u64 + 1, 10).await.unwrap(), []);
}
