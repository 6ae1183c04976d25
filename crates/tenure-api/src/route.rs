//! Where each operation is found, and who answers there: an operation without a route or a handler does not compile (AP-1).

use crate::asked::{Answered, Asked, Shared};
use crate::pass::pass;
use crate::problem::Problem;
use crate::{
    access, audit, auth, backup, cleanup, environment, exec, file, key, lease, previews, service, session, template,
    terminal, ticket_route, watch,
};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, any, on};
use tenure_engine::Code;
use tenure_session::Operation;

/// The method of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteMethod {
    /// Reads.
    Get,
    /// Does something.
    Post,
    /// Puts something in its place.
    Put,
    /// Removes something.
    Delete,
    /// All methods are passed on.
    Any,
}

/// Where an operation is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// By which method.
    pub method: RouteMethod,
    /// At which path.
    pub path: &'static str,
}

/// Where an operation is found.
pub const fn route(operation: Operation) -> Route {
    use Operation::*;
    use RouteMethod::{Any, Delete, Get, Post, Put};
    let (method, path) = match operation {
        SessionCreate => (Post, "/v1/sessions"),
        SessionList => (Get, "/v1/sessions"),
        SessionGet => (Get, "/v1/sessions/{id}"),
        SessionStatus => (Get, "/v1/sessions/{id}/status"),
        SessionExplain => (Get, "/v1/sessions/{id}/explain"),
        SessionAudit => (Get, "/v1/sessions/{id}/audit"),
        SessionEvents => (Get, "/v1/sessions/{id}/events"),
        SessionPause => (Post, "/v1/sessions/{id}/pause"),
        SessionResume => (Post, "/v1/sessions/{id}/resume"),
        SessionTerminate => (Post, "/v1/sessions/{id}/terminate"),
        SessionDelete => (Delete, "/v1/sessions/{id}"),
        SessionUndelete => (Post, "/v1/sessions/{id}/undelete"),
        SessionExtend => (Post, "/v1/sessions/{id}/extend"),
        LeaseHeartbeat => (Post, "/v1/sessions/{id}/heartbeat"),
        LeaseTake => (Post, "/v1/sessions/{id}/lease"),
        LeaseRelease => (Delete, "/v1/sessions/{id}/lease"),
        SessionTransition => (Post, "/v1/sessions/{id}/transition"),
        ExecRun => (Post, "/v1/sessions/{id}/exec"),
        ExecList => (Get, "/v1/sessions/{id}/execs"),
        ExecGet => (Get, "/v1/sessions/{id}/execs/{exec_id}"),
        ExecOutput => (Get, "/v1/sessions/{id}/execs/{exec_id}/output"),
        ExecStdin => (Post, "/v1/sessions/{id}/execs/{exec_id}/stdin"),
        ExecKill => (Post, "/v1/sessions/{id}/execs/{exec_id}/kill"),
        FileRead => (Get, "/v1/sessions/{id}/files"),
        FileStat => (Get, "/v1/sessions/{id}/stat"),
        DirList => (Get, "/v1/sessions/{id}/dirs"),
        FileWatch => (Get, "/v1/sessions/{id}/watch"),
        FileWrite => (Put, "/v1/sessions/{id}/files"),
        FileDelete => (Delete, "/v1/sessions/{id}/files"),
        PreviewRegister => (Post, "/v1/sessions/{id}/previews"),
        PreviewList => (Get, "/v1/sessions/{id}/previews"),
        PreviewRemove => (Delete, "/v1/sessions/{id}/previews/{port}"),
        PreviewHealth => (Get, "/v1/sessions/{id}/previews/{port}/health"),
        PreviewProxy => (Any, "/v1/sessions/{id}/preview/{port}/{*path}"),
        Terminal => (Get, "/v1/sessions/{id}/terminal"),
        TicketCreate => (Post, "/v1/tickets"),
        EnvironmentGet => (Get, "/v1/sessions/{id}/environment"),
        EnvironmentCreate => (Post, "/v1/sessions/{id}/environment"),
        EnvironmentDelete => (Delete, "/v1/sessions/{id}/environment"),
        KeyCreate => (Post, "/v1/keys"),
        KeyList => (Get, "/v1/keys"),
        KeyRevoke => (Delete, "/v1/keys/{key_id}"),
        KeyRotate => (Post, "/v1/keys/{key_id}/rotate"),
        TemplateCreate => (Post, "/v1/templates"),
        TemplateList => (Get, "/v1/templates"),
        TemplateGet => (Get, "/v1/templates/{name}"),
        TemplateDelete => (Delete, "/v1/templates/{name}"),
        AuditList => (Get, "/v1/audit"),
        AuditVerify => (Post, "/v1/audit/verify"),
        AccessAuthorize => (Post, "/v1/access/authorize"),
        AccessDeny => (Post, "/v1/access/deny"),
        CleanupCheck => (Get, "/v1/admin/check/{id}"),
        CleanupSweep => (Post, "/v1/admin/sweep"),
        Backup => (Post, "/v1/admin/backup"),
        MetricsGet => (Get, "/metrics"),
        HealthGet => (Get, "/healthz"),
        ReadyGet => (Get, "/readyz"),
        OpenapiGet => (Get, "/openapi.json"),
    };
    Route { method, path }
}

/// Who answers.
fn handler(operation: Operation) -> MethodRouter<Shared> {
    use Operation::*;
    match operation {
        SessionCreate => at(operation, session::create),
        SessionList => at(operation, session::list),
        SessionGet => at(operation, session::get),
        SessionStatus => at(operation, session::status),
        SessionExplain => at(operation, session::explain),
        SessionAudit => at(operation, session::audit),
        SessionEvents => at(operation, session::events),
        SessionPause => at(operation, session::pause),
        SessionResume => at(operation, session::resume),
        SessionTerminate => at(operation, session::terminate),
        SessionDelete => at(operation, session::delete),
        SessionUndelete => at(operation, session::undelete),
        SessionExtend => at(operation, session::extend),
        LeaseHeartbeat => at(operation, lease::heartbeat),
        LeaseTake => at(operation, lease::take),
        LeaseRelease => at(operation, lease::release),
        SessionTransition => at(operation, session::transition),
        ExecRun => at(operation, exec::run),
        ExecList => at(operation, exec::list),
        ExecGet => at(operation, exec::get),
        ExecOutput => at(operation, exec::output),
        ExecStdin => at(operation, exec::stdin),
        ExecKill => at(operation, exec::kill),
        FileRead => at(operation, file::read),
        FileStat => at(operation, file::stat),
        DirList => at(operation, file::dirs),
        FileWatch => at(operation, watch::watch),
        FileWrite => at(operation, file::write),
        FileDelete => at(operation, file::delete),
        PreviewRegister => at(operation, previews::register),
        PreviewList => at(operation, previews::list),
        PreviewRemove => at(operation, previews::remove),
        PreviewHealth => at(operation, previews::health),
        PreviewProxy => any(proxied),
        Terminal => on(filter(operation), terminal::open),
        TicketCreate => at(operation, ticket_route::create),
        EnvironmentGet => at(operation, environment::get),
        EnvironmentCreate => at(operation, environment::create),
        EnvironmentDelete => at(operation, environment::delete),
        KeyCreate => at(operation, key::create),
        KeyList => at(operation, key::list),
        KeyRevoke => at(operation, key::revoke),
        KeyRotate => at(operation, key::rotate),
        TemplateCreate => at(operation, template::create),
        TemplateList => at(operation, template::list),
        TemplateGet => at(operation, template::get),
        TemplateDelete => at(operation, template::delete),
        AuditList => at(operation, audit::list),
        AuditVerify => at(operation, audit::verify),
        AccessAuthorize => at(operation, access::authorize),
        AccessDeny => at(operation, access::deny),
        CleanupCheck => at(operation, cleanup::check),
        CleanupSweep => at(operation, cleanup::sweep),
        Backup => at(operation, backup::make),
        MetricsGet => at(operation, service::metrics),
        HealthGet => open(operation, service::health),
        ReadyGet => open(operation, service::ready),
        OpenapiGet => open(operation, service::openapi),
    }
}

/// The router: every operation of the table, and nothing else.
pub(crate) fn router(door: Shared) -> Router {
    let mut router = Router::new();
    for operation in Operation::ALL {
        router = router.route(route(*operation).path, handler(*operation));
    }
    // A preview's own root is below its port, too.
    router = router.route("/v1/sessions/{id}/preview/{port}", any(proxied));
    router = router.route("/v1/sessions/{id}/preview/{port}/", any(proxied));
    router.fallback(nowhere).method_not_allowed_fallback(otherwise).with_state(door)
}

/// A handler for whoever is known.
fn at<H, F>(operation: Operation, handle: H) -> MethodRouter<Shared>
where
    H: Fn(Asked) -> F + Copy + Send + Sync + 'static,
    F: Future<Output = Answered> + Send + 'static,
{
    let answer = move |State(door): State<Shared>, request: Request| {
        pass(door, Some(operation), request, move |door, request| async move {
            let (parts, body) = request.into_parts();
            let credential = auth::credential(&door, operation, &parts)?;
            handle(Asked::new(door, operation, credential, parts, body).await?).await
        })
    };
    on(filter(operation), answer)
}

/// A handler for anybody.
fn open<H, F>(operation: Operation, handle: H) -> MethodRouter<Shared>
where
    H: Fn(Shared) -> F + Copy + Send + Sync + 'static,
    F: Future<Output = Answered> + Send + 'static,
{
    debug_assert!(auth::is_open(operation), "the table says who may");
    let answer = move |State(door): State<Shared>, request: Request| {
        pass(door, Some(operation), request, move |door, _| handle(door))
    };
    on(filter(operation), answer)
}

fn filter(operation: Operation) -> MethodFilter {
    match route(operation).method {
        RouteMethod::Get => MethodFilter::GET,
        RouteMethod::Post => MethodFilter::POST,
        RouteMethod::Put => MethodFilter::PUT,
        RouteMethod::Delete => MethodFilter::DELETE,
        RouteMethod::Any => {
            let all = [MethodFilter::POST, MethodFilter::PUT, MethodFilter::DELETE, MethodFilter::PATCH];
            all.into_iter().fold(MethodFilter::GET.or(MethodFilter::OPTIONS), MethodFilter::or)
        }
    }
}

async fn proxied(State(door): State<Shared>, request: Request) -> Response {
    pass(door, Some(Operation::PreviewProxy), request, |door, request| async move {
        Ok(crate::preview::at_path(&door, request).await)
    })
    .await
}

async fn nowhere(State(door): State<Shared>, request: Request) -> Response {
    pass(door, None, request, |door, request| async move {
        let (parts, _) = request.into_parts();
        if parts.uri.path().starts_with("/v1") {
            auth::somebody(&door, &parts)?;
        }
        Err(Problem::no_route())
    })
    .await
}

async fn otherwise(State(door): State<Shared>, request: Request) -> Response {
    pass(door, None, request, |door, request| async move {
        let (parts, _) = request.into_parts();
        if parts.uri.path().starts_with("/v1") {
            auth::somebody(&door, &parts)?;
        }
        Err(Problem::new(Code::MethodNotAllowed, "the route does not answer to that method"))
    })
    .await
}
