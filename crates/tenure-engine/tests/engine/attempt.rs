//! Every operation of the table, tried.

use crate::world::{World, run, uploaded};
use tenure_engine::*;
use tenure_session::{Operation, Role};

fn page() -> PageRequest {
    PageRequest { limit: 10, cursor: None }
}

fn kept<T>(answer: Answer<T>) -> Result<(), EngineError> {
    match answer {
        Answer::Fresh { result, .. } => result.map(drop),
        Answer::Replayed(_) => Ok(()),
    }
}

/// Tries to do this to this session, or to the service.
pub async fn attempt(world: &World, call: &Call, operation: Operation, id: &str) -> Result<(), EngineError> {
    let engine = &world.engine;
    let exec = "x_0000000000000001";
    match operation {
        Operation::SessionCreate => kept(engine.session_create(call, Ok(CreateRequest::default())).await?),
        Operation::SessionList => engine.session_list(call, SessionFilter::default(), page()).await.map(drop),
        Operation::SessionGet => engine.session_get(call, id).await.map(drop),
        Operation::SessionStatus => engine.session_status(call, id).await.map(drop),
        Operation::SessionExplain => engine.session_explain(call, id).await.map(drop),
        Operation::SessionAudit => engine.session_audit(call, id, page()).await.map(drop),
        Operation::SessionEvents => engine.session_events(call, id).await?.next().await.map(drop),
        Operation::SessionPause => engine.session_pause(call, id).await.map(drop),
        Operation::SessionResume => engine.session_resume(call, id).await.map(drop),
        Operation::SessionTerminate => {
            engine.session_terminate(call, id, Ok(TerminateRequest::default())).await.map(drop)
        }
        Operation::SessionDelete => engine.session_delete(call, id).await.map(drop),
        Operation::SessionUndelete => engine.session_undelete(call, id).await.map(drop),
        Operation::SessionExtend => engine.session_extend(call, id, Ok(ExtendRequest { by_ms: 1000 })).await.map(drop),
        Operation::SessionTransition => {
            let request = TransitionRequest { to: "terminated".to_owned(), reason: None };
            engine.session_transition(call, id, Ok(request)).await.map(drop)
        }
        Operation::ExecRun => kept(engine.exec_run(call, id, Ok(run(&["say", "hello"]))).await?),
        Operation::ExecList => engine.exec_list(call, id, page()).await.map(drop),
        Operation::ExecGet => engine.exec_get(call, id, exec).await.map(drop),
        Operation::ExecOutput => engine.exec_output(call, id, exec, OutputStream::Stdout, 0).await.map(drop),
        Operation::ExecStdin => engine.exec_stdin(call, id, exec).await.map(drop),
        Operation::ExecKill => {
            engine.exec_kill(call, id, exec, Ok(KillRequest { signal: "TERM".into() })).await.map(drop)
        }
        Operation::FileRead => engine.file_read(call, id, "a", (0, None)).await.map(drop),
        Operation::FileStat => engine.file_stat(call, id, "a").await.map(drop),
        Operation::DirList => engine.dir_list(call, id, "/workspace").await.map(drop),
        Operation::FileWatch => engine.file_watch(call, id, "/workspace", false).await.map(drop),
        Operation::FileWrite => engine.file_write(call, id, "a", content(b"hello")).await.map(drop),
        Operation::FileDelete => engine.file_delete(call, id, "a", false).await,
        Operation::PreviewRegister => engine.preview_register(call, id, Ok(8080)).await.map(drop),
        Operation::PreviewList => engine.preview_list(call, id).await.map(drop),
        Operation::PreviewRemove => engine.preview_remove(call, id, "8080").await,
        Operation::PreviewHealth => engine.preview_health(call, id, "8080").await.map(drop),
        Operation::PreviewProxy => engine.preview_open(call, id, "8080").await.map(drop),
        Operation::Terminal => {
            let size = WindowSize { rows: 24, cols: 80 };
            let request = TerminalRequest { exec_id: None, cmd: vec!["say".to_owned(), "hello".to_owned()], size };
            let mut terminal = engine.terminal_open(call, id, Ok(request)).await?;
            while terminal.next().await?.is_some() {}
            Ok(())
        }
        Operation::LeaseHeartbeat => engine.lease_heartbeat(call, id).await.map(drop),
        Operation::LeaseTake => engine.lease_take(call, id, Ok(LeaseTakeRequest::default())).await.map(drop),
        Operation::LeaseRelease => engine.lease_release(call, id).await.map(drop),
        Operation::TicketCreate => engine.ticket_admit(call, id).await.map(drop),
        Operation::EnvironmentGet => engine.environment_get(call, id).await.map(drop),
        Operation::EnvironmentCreate => engine.environment_create(call, id).await.map(drop),
        Operation::EnvironmentDelete => engine.environment_delete(call, id).await.map(drop),
        Operation::KeyCreate => {
            let request = KeyRequest { role: Role::User, user: "carol".to_owned(), label: None, expires_in_ms: None };
            engine.key_create(call, Ok(request)).await.map(drop)
        }
        Operation::KeyList => engine.key_list(call).await.map(drop),
        Operation::KeyRevoke => engine.key_revoke(call, "key_0000000000000001").await.map(drop),
        Operation::KeyRotate => engine.key_rotate(call, "key_0000000000000001").await.map(drop),
        Operation::TemplateCreate => {
            let request = TemplateRequest { name: "python".to_owned(), ..TemplateRequest::default() };
            engine.template_create(call, Ok(request), Some(uploaded())).await.map(drop)
        }
        Operation::TemplateList => engine.template_list(call).await.map(drop),
        Operation::TemplateGet => engine.template_get(call, "default").await.map(drop),
        Operation::TemplateDelete => engine.template_delete(call, "nothing").await,
        Operation::AuditList => engine.audit_list(call, AuditFilter::default(), page()).await.map(drop),
        Operation::AuditVerify => engine.audit_verify(call, Vec::new(), None).await.map(drop),
        Operation::AccessAuthorize => engine.access_authorize(call, id, "alice").await.map(drop),
        Operation::AccessDeny => match engine.access_deny(call, Some(id), Some("bob"), "by hand").await {
            Err(EngineError::Denied) if call.caller.role == Role::Admin => Ok(()),
            other => other,
        },
        Operation::CleanupCheck => engine.cleanup_check(call, id).await.map(drop),
        Operation::CleanupSweep => engine.cleanup_sweep(call, Sweep::Dry).await.map(drop),
        // Admitted; what is in memory is not copied.
        Operation::Backup => match engine.backup(call).await {
            Err(EngineError::Unavailable { .. }) => Ok(()),
            other => other.map(drop),
        },
        Operation::MetricsGet => engine.metrics_text(call).await.map(drop),
        // The door answers these by itself.
        Operation::HealthGet | Operation::ReadyGet | Operation::OpenapiGet => Ok(()),
    }
}

/// A body that comes in one piece.
pub fn content(bytes: &'static [u8]) -> impl futures_util::Stream<Item = Result<Bytes, EngineError>> {
    futures_util::stream::iter([Ok(Bytes::from_static(bytes))])
}
