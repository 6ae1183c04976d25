//! Retention: what is archived when, what is answered then, what a purge leaves, and what a crash in between leaves to the next pass (TR-6).

use crate::world::{World, alice, bob, code, fresh, keyed, root, run};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tenure_engine::*;
use tenure_session::*;
use tenure_store::{AuditDraft, Changed, RetentionArchive, Store};
use tokio::io::AsyncReadExt;

const DAY: u64 = 24 * 3_600_000;

fn with_deleted(call: Call) -> Call {
    Call { include_deleted: true, ..call }
}

/// A session of alice's in which a program printed something, and that ended; with the program.
async fn worked_in(world: &World) -> (SessionId, ExecRecord) {
    let metadata = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
    let env = BTreeMap::from([("TOKEN".to_owned(), "secret".to_owned())]);
    let session = world.create(CreateRequest { metadata, env, ..CreateRequest::default() }).await.unwrap();
    let printed = world.exec(&session.id, &["say", "words", "that", "stay"]).await.unwrap();
    terminate(world, &session.id).await;
    (session.id, printed.record)
}

async fn terminate(world: &World, id: &SessionId) {
    let request = TerminateRequest { reason: Some("completed".to_owned()), detail: Some("handed in".to_owned()) };
    world.engine.session_terminate(&alice(), id.as_str(), Ok(request)).await.unwrap();
    world.quiet().await;
}

/// What lies in the directory of all output.
fn files(world: &World) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(output_dir(world))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn output_dir(world: &World) -> PathBuf {
    world.engine.settings().output_dir.clone()
}

async fn printed(
    world: &World,
    call: &Call,
    id: &SessionId,
    exec: &ExecId,
    offset: u64,
) -> Result<String, EngineError> {
    let stream = OutputStream::Stdout;
    let mut read = world.engine.exec_output(call, id.as_str(), exec.as_str(), stream, offset).await?;
    let mut text = String::new();
    read.file.read_to_string(&mut text).await.unwrap();
    assert_eq!(text.len() as u64, read.bytes);
    Ok(text)
}

async fn lookup(world: &World, id: &SessionId) -> Lookup {
    match world.engine.session_get(&alice(), id.as_str()).await {
        Ok(_) => Lookup::Ok,
        Err(EngineError::NoSession { lookup, .. }) => lookup,
        Err(error) => panic!("{error:?}"),
    }
}

async fn audit_holds(world: &World) {
    let found = world.engine.audit_verify(&root(), Vec::new(), None).await.unwrap();
    assert_eq!(found.problem, None);
}

/// TR-6: at 30 days, neither before nor twice.
#[tokio::test]
async fn an_ended_session_is_archived_after_thirty_days_and_once() {
    let world = World::new().await;
    let (id, _) = worked_in(&world).await;
    let lives = world.create(CreateRequest::default()).await.unwrap().id;
    world.clock.pass(30 * DAY - 1);
    assert_eq!(world.engine.retain().await.unwrap(), Retained::default());
    world.clock.pass(1);
    // The other has outlived its lifetime, and nobody has noticed: it has not ended yet.
    let retained = world.engine.retain().await.unwrap();
    assert_eq!(retained, Retained { archived: vec![id.clone()], ..Retained::default() });
    assert_eq!(world.engine.retain().await.unwrap(), Retained::default());
    assert!(world.stored(&lives).await.archived_at.is_none());
    let actions = world.actions(&id).await;
    assert_eq!(actions.last().map(String::as_str), Some("archive"));
    assert_eq!(world.ends(&id).await, 1);
    audit_holds(&world).await;
}

/// TR-6, TM-1, TM-2, TM-3: operations are gone, with reason and time as ever; reads do not find it, and give the record where that is asked for.
#[tokio::test]
async fn an_archived_session_answers_as_it_should() {
    let world = World::new().await;
    let (id, exec) = worked_in(&world).await;
    let before = world.stored(&id).await;
    world.clock.pass(31 * DAY);
    world.engine.retain().await.unwrap();
    assert_eq!(lookup(&world, &id).await, Lookup::Archived);
    let listed = world.engine.exec_list(&alice(), id.as_str(), PageRequest { limit: 10, cursor: None }).await;
    assert!(matches!(listed, Err(EngineError::NoSession { lookup: Lookup::Archived, .. })), "{listed:?}");
    let stranger = world.engine.session_get(&with_deleted(bob()), id.as_str()).await;
    assert!(matches!(stranger, Err(EngineError::NoSession { lookup: Lookup::NeverExisted, .. })), "{stranger:?}");

    let run_again = world.engine.exec_run(&alice(), id.as_str(), Ok(run(&["say"]))).await;
    let Err(EngineError::Archived { end, archived_at, .. }) = run_again.map(|_| ()) else { panic!("it is archived") };
    assert_eq!((Some(*end), Some(archived_at)), (before.end.clone(), world.stored(&id).await.archived_at));
    assert_eq!(code(world.engine.session_delete(&alice(), id.as_str()).await), Code::Gone);
    assert_eq!(code(world.engine.session_undelete(&alice(), id.as_str()).await), Code::Gone);
    let again = world.engine.session_terminate(&alice(), id.as_str(), Ok(TerminateRequest::default())).await.unwrap();
    assert_eq!(again.session.end, before.end, "the first end stands");
    assert_eq!(world.ends(&id).await, 1);

    let call = with_deleted(alice());
    let read = world.engine.session_get(&call, id.as_str()).await.unwrap();
    assert_eq!((&read.session.end, &read.session.metadata), (&before.end, &before.metadata));
    assert!(read.session.archived_at.is_some() && read.session.variables.is_empty());
    let archive = read.archive.unwrap();
    assert_eq!((archive.execs, archive.output.is_some()), (1, true));
    let page = PageRequest { limit: 10, cursor: None };
    let execs = world.engine.exec_list(&call, id.as_str(), page.clone()).await.unwrap().items;
    assert_eq!(execs.iter().map(|exec| &exec.id).collect::<Vec<_>>(), [&exec.id]);
    let result = world.engine.exec_get(&call, id.as_str(), exec.id.as_str()).await.unwrap();
    assert_eq!(result.stdout, b"words that stay");
    assert_eq!(printed(&world, &call, &id, &exec.id, 6).await.unwrap(), "that stay");
    world.engine.session_status(&call, id.as_str()).await.unwrap();
    world.engine.session_explain(&call, id.as_str()).await.unwrap();
    let audit = world.engine.session_audit(&call, id.as_str(), page).await.unwrap();
    assert!(audit.items.iter().all(|entry| entry.metadata.is_some()));
    let all = SessionFilter::default();
    let listed = async |filter| {
        world.engine.session_list(&alice(), filter, PageRequest { limit: 10, cursor: None }).await.unwrap().items.len()
    };
    assert_eq!(listed(all.clone()).await, 0);
    assert_eq!(listed(SessionFilter { include_deleted: true, ..all }).await, 1);
}

/// TR-6, TR-1: a deleted session waits for its window, and for nothing else; within it nothing takes it away.
#[tokio::test]
async fn a_deleted_session_can_be_brought_back_until_its_window_closes_and_is_archived_then() {
    let world = World::new().await;
    let (young, _) = worked_in(&world).await;
    world.engine.session_delete(&alice(), young.as_str()).await.unwrap();
    world.clock.pass(7 * DAY - 1);
    assert_eq!(world.engine.retain().await.unwrap(), Retained::default());
    world.engine.session_undelete(&alice(), young.as_str()).await.unwrap();
    world.engine.session_delete(&alice(), young.as_str()).await.unwrap();
    world.clock.pass(7 * DAY);
    assert_eq!(world.engine.retain().await.unwrap().archived, std::slice::from_ref(&young));
    assert_eq!(lookup(&world, &young).await, Lookup::Archived);
    assert_eq!(code(world.engine.session_undelete(&alice(), young.as_str()).await), Code::Gone);
    let again = world.engine.session_delete(&alice(), young.as_str()).await.unwrap();
    assert!(again.session.deleted_at.is_some(), "deleted already is as good");

    let (old, _) = worked_in(&world).await;
    world.clock.pass(29 * DAY);
    world.engine.session_delete(&alice(), old.as_str()).await.unwrap();
    world.clock.pass(2 * DAY);
    assert_eq!(world.engine.retain().await.unwrap(), Retained::default(), "its window is open");
    world.engine.session_undelete(&alice(), old.as_str()).await.unwrap();
    assert_eq!(world.engine.retain().await.unwrap().archived, [old]);
}

/// TR-6, TM-1, TR-5: reason, times and digests stay; content, output and what was said go; the audit holds.
#[tokio::test]
async fn a_purge_leaves_a_tombstone_and_an_audit_that_holds() {
    let world = World::new().await;
    let (id, exec) = worked_in(&world).await;
    let end = world.stored(&id).await.end.unwrap();
    world.clock.pass(90 * DAY - 1);
    assert_eq!(world.engine.retain().await.unwrap().purged, []);
    let archive = world.engine.session_get(&with_deleted(alice()), id.as_str()).await.unwrap().archive;
    assert_eq!(files(&world), [format!("{id}.tar.zst")]);
    world.clock.pass(1);
    let retained = world.engine.retain().await.unwrap();
    assert_eq!(retained, Retained { purged: vec![id.clone()], ..Retained::default() });
    assert_eq!(world.engine.retain().await.unwrap(), Retained::default());
    assert_eq!(files(&world), [""; 0]);

    assert_eq!(lookup(&world, &id).await, Lookup::Archived);
    let call = with_deleted(alice());
    let read = world.engine.session_get(&call, id.as_str()).await.unwrap();
    let purged_at = read.session.purged_at;
    assert!(purged_at.is_some() && read.session.metadata.is_empty());
    let kept = read.session.end.unwrap();
    assert_eq!((kept.at, kept.reason, kept.detail), (end.at, end.reason, None));
    assert_eq!(read.archive, archive.map(|archive| ArchiveRecord { purged_at, ..archive }));
    let missing = world.engine.exec_get(&call, id.as_str(), exec.id.as_str()).await;
    assert_eq!(code(missing), Code::ExecNotFound);
    let audit = world.engine.session_audit(&call, id.as_str(), PageRequest { limit: 100, cursor: None }).await.unwrap();
    for entry in &audit.items {
        let about = entry.metadata.as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(!about.contains("handed in") && !about.contains("words"), "{about}");
    }
    assert!(audit.items.iter().any(|entry| entry.metadata.is_none()));
    assert!(audit.items.last().unwrap().metadata.as_ref().unwrap()["content"]["sha256"].is_string());
    audit_holds(&world).await;
    let run_again = world.engine.exec_run(&alice(), id.as_str(), Ok(run(&["say"]))).await;
    assert_eq!(code(run_again.map(|_| ())), Code::Gone);
}

/// TR-6: who comes late does both at once.
#[tokio::test]
async fn what_was_never_looked_at_is_archived_and_purged_in_one_pass() {
    let world = World::new().await;
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(worked_in(&world).await.0);
    }
    world.clock.pass(365 * DAY);
    let retained = world.engine.retain().await.unwrap();
    assert_eq!((retained.archived.len(), retained.purged.len(), retained.failed), (3, 3, 0));
    assert!(all.iter().all(|id| retained.archived.contains(id) && retained.purged.contains(id)));
    let (one, other) = tokio::join!(world.engine.retain(), world.engine.retain());
    assert_eq!((one.unwrap(), other.unwrap()), (Retained::default(), Retained::default()));
}

/// LC-6: the same key is answered the same also of an archived session, and another body under it is refused; after a purge the claim stands, and the
/// answer is that it is gone.
#[tokio::test]
async fn a_key_is_never_free_again() {
    let world = World::new().await;
    let call = keyed(alice(), "a key", "body");
    let Answer::Fresh { result, keep } =
        world.engine.session_create(&call, Ok(CreateRequest::default())).await.unwrap()
    else {
        panic!("it is new");
    };
    let id = result.unwrap().id;
    keep.unwrap().answered(201, b"{\"made\":true}".to_vec()).await;
    let exec_call = keyed(alice(), "another key", "body");
    let ran = fresh(world.engine.exec_run(&exec_call, id.as_str(), Ok(run(&["say", "once"]))).await.unwrap()).unwrap();
    terminate(&world, &id).await;

    world.clock.pass(31 * DAY);
    world.engine.retain().await.unwrap();
    let replayed = world.engine.session_create(&call, Ok(CreateRequest::default())).await.unwrap();
    assert!(matches!(replayed, Answer::Replayed(StoredAnswer { status: 201, .. })));
    // The answer of the program was lost: it is made again, from the archive.
    let again =
        fresh(world.engine.exec_run(&exec_call, id.as_str(), Ok(run(&["say", "once"]))).await.unwrap()).unwrap();
    assert_eq!((again.record.id, again.stdout), (ran.record.id, b"once".to_vec()));

    world.clock.pass(60 * DAY);
    world.engine.retain().await.unwrap();
    for (call, keyed_exec) in [(&call, false), (&exec_call, true)] {
        let answer = if keyed_exec {
            world.engine.exec_run(call, id.as_str(), Ok(run(&["say", "once"]))).await.map(|_| ())
        } else {
            world.engine.session_create(call, Ok(CreateRequest::default())).await.map(|_| ())
        };
        let Err(EngineError::Archived { end, .. }) = answer else { panic!("it is purged: {answer:?}") };
        assert_eq!(end.reason, TerminationReason::Completed);
    }
    let other = keyed(alice(), "a key", "another body");
    let conflict = world.engine.session_create(&other, Ok(CreateRequest::default())).await.map(|_| ());
    assert_eq!(code(conflict), Code::IdempotencyConflict);
}

/// TR-6: killed at any point between the file, the row and the next file, the next pass finishes; no byte is lost and nothing is left over.
#[tokio::test]
async fn a_pass_that_was_cut_off_anywhere_is_finished_by_the_next() {
    let world = World::new().await;
    let call = with_deleted(alice());
    let (id, exec) = worked_in(&world).await;
    let dir = output_dir(&world);
    let archive = dir.join(format!("{id}.tar.zst"));
    let partial = dir.join(format!("{id}.tar.zst.partial"));
    // Cut off while the archive was written, and after it was renamed: neither is what the store says.
    std::fs::write(&partial, b"torn").unwrap();
    std::fs::write(&archive, b"made before the kill").unwrap();
    assert_eq!(printed(&world, &call, &id, &exec.id, 0).await.unwrap(), "words that stay");
    world.clock.pass(31 * DAY);
    world.engine.retain().await.unwrap();
    assert_eq!(files(&world), [format!("{id}.tar.zst")]);
    assert_eq!(printed(&world, &call, &id, &exec.id, 0).await.unwrap(), "words that stay");

    // Cut off between the row and the removal of the files: the steps until there are done by hand.
    let (id, exec) = worked_in(&world).await;
    world.clock.pass(31 * DAY);
    let files_of = dir.join(id.as_str());
    archive_by_hand(&world, &id).await;
    assert_eq!(printed(&world, &call, &id, &exec.id, 0).await.unwrap(), "words that stay");
    assert_eq!(world.engine.retain().await.unwrap().archived, [], "it is archived");
    assert!(!files_of.exists());
    assert_eq!(printed(&world, &call, &id, &exec.id, 0).await.unwrap(), "words that stay");

    // Cut off between the purge and the removal of the archive: something is in the way of that.
    world.clock.pass(60 * DAY);
    let archive = dir.join(format!("{id}.tar.zst"));
    std::fs::remove_file(&archive).unwrap();
    std::fs::create_dir(&archive).unwrap();
    let retained = world.engine.retain().await.unwrap();
    assert_eq!((retained.purged.contains(&id), retained.failed), (false, 1));
    assert!(world.stored(&id).await.purged_at.is_some(), "the store says so");
    std::fs::remove_dir(&archive).unwrap();
    std::fs::write(&archive, b"what the kill left").unwrap();
    assert_eq!(world.engine.retain().await.unwrap(), Retained::default());
    assert_eq!(files(&world), [""; 0]);
    assert_eq!(world.store.retention_unsettled(10).await.unwrap(), []);
    audit_holds(&world).await;
}

/// What a pass does to a session up to its transaction, and no further: its files are as they were.
async fn archive_by_hand(world: &World, id: &SessionId) {
    let path = output_dir(world).join(format!("{id}.tar.zst"));
    let mut tar = tar::Builder::new(zstd::Encoder::new(std::fs::File::create(path).unwrap(), 3).unwrap());
    tar.append_dir_all("", output_dir(world).join(id.as_str())).unwrap();
    tar.into_inner().unwrap().finish().unwrap();
    let entry = AuditDraft {
        session_id: Some(id.clone()),
        at: world.engine.now(),
        old_state: None,
        new_state: None,
        trigger: Trigger::SystemTimeout,
        actor: "system".to_owned(),
        action: "archive".to_owned(),
        reason: None,
        metadata: serde_json::json!({}),
    };
    let content = world.store.retention_content(id).await.unwrap().unwrap().pack().unwrap();
    let (id, at) = (id.clone(), world.engine.now());
    let change = RetentionArchive { id, at, deleted_at: None, content, output: None, entry };
    assert!(matches!(world.store.retention_archive(change).await.unwrap(), Changed::Done(_)));
}

/// TR-6: a session whose output cannot be packed now is left as it is, and keeps no other.
#[tokio::test]
async fn one_sessions_trouble_keeps_no_other() {
    let world = World::new().await;
    let (troubled, exec) = worked_in(&world).await;
    let (other, _) = worked_in(&world).await;
    world.clock.pass(31 * DAY);
    // A directory stands where its archive is to be.
    let in_the_way = output_dir(&world).join(format!("{troubled}.tar.zst"));
    std::fs::create_dir_all(in_the_way.join("full")).unwrap();
    let retained = world.engine.retain().await.unwrap();
    assert_eq!(retained, Retained { archived: vec![other], purged: vec![], failed: 1 });
    assert_eq!(lookup(&world, &troubled).await, Lookup::Ok);
    assert_eq!(printed(&world, &alice(), &troubled, &exec.id, 0).await.unwrap(), "words that stay");
    std::fs::remove_dir_all(in_the_way).unwrap();
    assert_eq!(world.engine.retain().await.unwrap().archived, [troubled]);
}
