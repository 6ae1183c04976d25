//! What administers the service: keys (AU-1), templates (TP-1), the audit (TR-5), metrics (MT-1).

use crate::world::{World, alice, code, root, soon, uploaded};
use std::sync::Arc;
use std::time::Duration;
use tenure_engine::*;
use tenure_session::*;
use tenure_store::Store;

fn key(user: &str, expires_in_ms: Option<u64>) -> Result<KeyRequest, EngineError> {
    Ok(KeyRequest { role: Role::User, user: user.to_owned(), label: None, expires_in_ms })
}

fn bearer(key: &KeyRecord) -> Caller {
    Caller { user: key.user.clone(), role: key.role, credential: key.id.to_string() }
}

/// AU-1
#[tokio::test]
async fn a_key_is_good_until_it_is_revoked_rotated_or_expires() {
    let mut world = World::new().await;
    let made = world.engine.key_create(&root(), key("alice", None)).await.unwrap();
    assert!(made.secret.starts_with("tnr_") && made.secret.len() >= 47, "at least 256 bits");
    assert!(!format!("{made:?}").contains(&made.secret));
    assert!(!made.record.digest.contains(&made.secret[4..]));
    assert_eq!(world.engine.key_check(&made.secret), Some(made.record.clone()));
    for wrong in ["", "tnr_", &made.secret[1..], &made.record.digest] {
        assert_eq!(world.engine.key_check(wrong), None);
    }
    world.restart().await;
    assert_eq!(world.engine.key_check(&made.secret), Some(made.record.clone()));

    let rotated = world.engine.key_rotate(&root(), made.record.id.as_str()).await.unwrap();
    assert_eq!(rotated.record.id, made.record.id);
    assert_eq!(world.engine.key_check(&made.secret), None);
    assert_eq!(world.engine.key_check(&rotated.secret), Some(rotated.record.clone()));
    for _ in 0..2 {
        let revoked = world.engine.key_revoke(&root(), made.record.id.as_str()).await.unwrap();
        assert!(revoked.revoked_at.is_some());
        assert_eq!(world.engine.key_check(&rotated.secret), None);
    }
    assert_eq!(code(world.engine.key_rotate(&root(), made.record.id.as_str()).await), Code::KeyNotFound);
    assert_eq!(code(world.engine.key_revoke(&root(), "key_00000000000000ff").await), Code::KeyNotFound);

    let short = world.engine.key_create(&root(), key("alice", Some(1000))).await.unwrap();
    world.clock.pass(999);
    assert!(world.engine.key_check(&short.secret).is_some());
    world.clock.pass(1);
    assert!(world.engine.key_check(&short.secret).is_none());
    assert_eq!(world.engine.key_list(&root()).await.unwrap().len(), 2);
    assert_eq!(code(world.engine.key_create(&root(), key("", Some(0))).await), Code::Validation);
}

/// AU-1
#[tokio::test]
async fn the_first_start_makes_one_administrators_key() {
    let mut world = World::new().await;
    let fails = |_: &str| Err(std::io::Error::other("no room"));
    assert_eq!(code(world.engine.key_first_admin(fails).await), Code::Unavailable);
    assert_eq!(world.engine.key_list(&root()).await.unwrap(), [], "no key is good whose secret nobody has");
    let mut secret = String::new();
    let keep = |text: &str| {
        secret = text.to_owned();
        Ok(())
    };
    let first = world.engine.key_first_admin(keep).await.unwrap().unwrap();
    assert_eq!((first.role, first.user.as_str()), (Role::Admin, "admin"));
    assert_eq!(world.engine.key_check(&secret), Some(first.clone()));
    assert_eq!(world.engine.key_first_admin(|_| unreachable!()).await.unwrap(), None);
    world.engine.key_revoke(&root(), first.id.as_str()).await.unwrap();
    world.restart().await;
    let again = world.engine.key_first_admin(|_| unreachable!()).await.unwrap();
    assert_eq!(again, None, "a revoked key is not made good by a start");
}

/// AU-2: streams end with the credential that they were opened with.
#[tokio::test(flavor = "multi_thread")]
async fn a_credential_ends_when_it_is_revoked_rotated_or_expires() {
    let world = World::new().await;
    let ended = |caller: &Caller, expires_at| tokio::spawn(world.engine.credential_ended(caller, expires_at));
    let revoked = world.engine.key_create(&root(), key("alice", None)).await.unwrap().record;
    let rotated = world.engine.key_create(&root(), key("alice", None)).await.unwrap().record;
    let kept = world.engine.key_create(&root(), key("alice", None)).await.unwrap().record;
    let by_revoked = ended(&bearer(&revoked), None);
    let by_rotated = ended(&bearer(&rotated), None);
    let by_kept = ended(&bearer(&kept), None);
    let token = Caller { credential: "an issuer".to_owned(), ..bearer(&kept) };
    let by_token = ended(&token, Some(world.engine.now().plus_ms(300)));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!by_revoked.is_finished() && !by_rotated.is_finished() && !by_token.is_finished());
    world.engine.key_revoke(&root(), revoked.id.as_str()).await.unwrap();
    soon(by_revoked).await.unwrap();
    world.engine.key_rotate(&root(), rotated.id.as_str()).await.unwrap();
    soon(by_rotated).await.unwrap();
    world.clock.run();
    soon(by_token).await.unwrap();
    assert!(!by_kept.is_finished());
    soon(world.engine.credential_ended(&bearer(&revoked), None)).await;
    by_kept.abort();
}

/// AU-1: whatever order changes of one key come in, the store and the memory agree.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_stays_revoked_whoever_rotates_it_meanwhile() {
    let world = Arc::new(World::new().await);
    for _ in 0..20 {
        let made = world.engine.key_create(&root(), key("alice", None)).await.unwrap();
        let rotate = {
            let (world, id) = (world.clone(), made.record.id.clone());
            tokio::spawn(async move { world.engine.key_rotate(&root(), id.as_str()).await })
        };
        world.engine.key_revoke(&root(), made.record.id.as_str()).await.unwrap();
        let rotated = soon(rotate).await.unwrap();
        assert_eq!(world.engine.key_check(&made.secret), None);
        assert_eq!(rotated.ok().and_then(|rotated| world.engine.key_check(&rotated.secret)), None);
    }
}

fn template(name: &str) -> TemplateRequest {
    TemplateRequest { name: name.to_owned(), ..TemplateRequest::default() }
}

/// TP-1
#[tokio::test]
async fn templates_have_versions_that_sessions_keep() {
    let world = World::new().await;
    let from = |source: &str| Ok(TemplateRequest { source: Some(source.to_owned()), ..template("python") });
    let first = world.engine.template_create(&root(), from("/srv/python"), None).await.unwrap();
    assert_eq!((first.version, first.base.as_str()), (1, "python@1"));
    let second = world.engine.template_create(&root(), Ok(template("python")), Some(uploaded())).await.unwrap();
    assert_eq!((second.version, second.base.as_str()), (2, "python@2"));
    assert_eq!(world.engine.template_get(&root(), "python").await.unwrap(), second);
    assert_eq!(world.engine.template_get(&root(), "python@1").await.unwrap(), first);
    let request = CreateRequest { template: Some("python@1".to_owned()), ..CreateRequest::default() };
    let session = world.create(request).await.unwrap();
    assert_eq!(session.template, "python@1");
    for wanted in ["python", "python@1"] {
        assert_eq!(code(world.engine.template_delete(&root(), wanted).await), Code::TemplateInUse);
    }
    world.engine.template_delete(&root(), "python@2").await.unwrap();
    assert_eq!(*world.bases.there.lock().unwrap(), ["python@1"]);
    world.engine.session_terminate(&alice(), session.id.as_str(), Ok(TerminateRequest::default())).await.unwrap();
    world.engine.template_delete(&root(), "python").await.unwrap();
    assert!(world.bases.there.lock().unwrap().is_empty());
    for wanted in ["python", "python@x", "nothing"] {
        assert_eq!(code(world.engine.template_delete(&root(), wanted).await), Code::TemplateNotFound);
    }
    let names: Vec<_> = world.engine.template_list(&root()).await.unwrap().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["default"]);
    world.engine.template_seed().await.unwrap();
    assert_eq!(world.engine.template_get(&root(), "default").await.unwrap().version, 1);
}

/// TP-1, GV-1
#[tokio::test]
async fn a_template_that_cannot_be_is_refused_by_field() {
    let world = World::new().await;
    let kept = |name: &str| TemplateRequest { base: Some("default".to_owned()), ..template(name) };
    let env = [("A=B".to_owned(), String::new())].into_iter().collect();
    let check = async |request: TemplateRequest, field: &str| {
        let error = world.engine.template_create(&root(), Ok(request), None).await.unwrap_err();
        let EngineError::Invalid { missing, invalid } = &error else { panic!("{error:?}") };
        let named: Vec<_> = missing.iter().chain(invalid.iter().map(|invalid| &invalid.field)).collect();
        assert_eq!(named, [field], "{error}");
    };
    check(kept(""), "name").await;
    check(kept("../x"), "name").await;
    check(template("a"), "source").await;
    check(TemplateRequest { source: Some("/x".to_owned()), ..kept("a") }, "source").await;
    check(TemplateRequest { source: Some("/nowhere".to_owned()), ..template("a") }, "source").await;
    check(TemplateRequest { base: Some("missing".to_owned()), ..template("a") }, "base").await;
    check(
        TemplateRequest { limits: LimitRequest { pids: Some(0), ..LimitRequest::default() }, ..kept("a") },
        "limits.pids",
    )
    .await;
    check(TemplateRequest { env, ..kept("a") }, "env").await;
    check(TemplateRequest { start_command: Some(Vec::new()), ..kept("a") }, "start_command").await;
    let lease = LeaseTerms { ttl_ms: 0, heartbeat_interval_ms: 0 };
    check(TemplateRequest { lease: Some(lease), ..kept("a") }, "lease.ttl_ms").await;
}

/// TR-4, TR-5, AU-3: what was done is in the audit, and the audit holds.
#[tokio::test]
async fn what_administrators_do_is_in_an_audit_that_holds() {
    let world = World::new().await;
    let made = world.engine.key_create(&root(), key("alice", None)).await.unwrap();
    world.engine.key_rotate(&root(), made.record.id.as_str()).await.unwrap();
    world.engine.key_revoke(&root(), made.record.id.as_str()).await.unwrap();
    world.engine.template_create(&root(), Ok(template("t")), Some(uploaded())).await.unwrap();
    world.engine.template_delete(&root(), "t").await.unwrap();
    for _ in 0..10 {
        let id = world.session(LimitRequest::default()).await.id;
        world.engine.session_delete(&alice(), id.as_str()).await.unwrap();
    }
    world.quiet().await;
    let found = world.engine.audit_verify(&root(), Vec::new(), None).await.unwrap();
    assert_eq!((found.problem, found.chains), (None, 11));
    let filter = AuditFilter { actor: Some("admin:root".to_owned()), ..AuditFilter::default() };
    let page = PageRequest { limit: 100, cursor: None };
    let entries = world.engine.audit_list(&root(), filter, page).await.unwrap().items;
    let actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
    let expected = ["key_create", "key_rotate", "key_revoke", "template_create", "template_delete", "audit_verify"];
    assert_eq!(actions, expected);
    assert!(entries.iter().all(|entry| !format!("{entry:?}").contains(&made.secret)));
    let head =
        SignedHead { position: 100_000, line_hash: "0".repeat(64), at: world.engine.now(), signature: String::new() };
    let found = world.engine.audit_verify(&root(), vec![head], None).await.unwrap();
    assert_eq!(found.problem.unwrap().kind, ProblemKind::MissingTail);
}

/// MT-1
#[tokio::test]
async fn metrics_count_sessions_by_state() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    world.exec(&id, &["say"]).await.unwrap();
    world.session(LimitRequest::default()).await;
    let text = world.engine.metrics_text(&root()).await.unwrap();
    for line in [
        "tenure_sessions{state=\"running\"} 1",
        "tenure_sessions{state=\"ready\"} 1",
        "tenure_environments 2",
        "tenure_execs_total 1",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in {text}");
    }
    world.engine.session_delete(&alice(), id.as_str()).await.unwrap();
    world.store.probe().await.unwrap();
    let text = world.engine.metrics_text(&root()).await.unwrap();
    assert!(text.contains("tenure_sessions_ended_total{reason=\"deleted\"} 1"), "{text}");
    assert!(text.contains("tenure_sessions{state=\"running\"} 0"));
}
