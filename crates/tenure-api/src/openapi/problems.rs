//! Which problems an operation can answer with, from its row in the table.

use crate::openapi::describe::Description;
use crate::route::{RouteMethod, route};
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use tenure_engine::Code;
use tenure_session::{AfterEnd, Fence, Operation, States, Who};
use utoipa::ToSchema;
use utoipa::openapi::{ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, Response, ResponseBuilder, Type};

/// What the answer of a status is called.
pub(crate) fn name(status: u16) -> String {
    format!("Problem{status}")
}

/// The answers that are problems, one for each status that a route declares.
pub(crate) fn responses() -> BTreeMap<u16, Response> {
    let mut by_status = BTreeMap::<u16, Vec<&str>>::new();
    for code in Code::ALL {
        let row = code.row();
        by_status.entry(row.status).or_default().push(row.name);
    }
    by_status.remove(&405);
    by_status.into_iter().map(|(status, codes)| (status, response(status, &codes))).collect()
}

fn response(status: u16, codes: &[&str]) -> Response {
    let text = || ObjectBuilder::new().schema_type(Type::String).build();
    let schema = Ref::from_schema_name(crate::wire::problem::ProblemBody::name());
    let mut builder = ResponseBuilder::new()
        .description(format!("A problem with one of the codes {}.", codes.join(", ")))
        .header("x-request-id", HeaderBuilder::new().schema(text()).build())
        .content("application/problem+json", ContentBuilder::new().schema(Some(schema)).build());
    if status == 401 {
        builder = builder.header("WWW-Authenticate", HeaderBuilder::new().schema(text()).build());
    }
    builder.build()
}

/// The statuses of the problems that an operation can answer with.
pub(crate) fn of(operation: Operation, description: &Description) -> BTreeSet<u16> {
    let (row, path) = (operation.row(), route(operation).path);
    let mut all = BTreeSet::from([400, 431, 500, 503]);
    match row.who {
        Who::Anyone => {}
        Who::User | Who::Owner => {
            all.insert(401);
        }
        Who::Admin => all.extend([401, 403]),
    }
    if route(operation).method != RouteMethod::Get {
        // From a page of another origin.
        all.insert(403);
    }
    if path.contains('{') || operation == Operation::TicketCreate {
        all.insert(404);
    }
    if path.contains('{') || !description.query.is_empty() || !description.sends.is_empty() {
        all.insert(422);
    }
    if !description.sends.is_empty() {
        all.extend([408, 413]);
    }
    match row.states {
        States::NoSession | States::Any => {}
        States::Live | States::Working | States::Running | States::Pause | States::Resume | States::Transition => {
            all.insert(409);
        }
    }
    match row.after_end {
        AfterEnd::Gone => {
            all.insert(410);
        }
        AfterEnd::Read | AfterEnd::Done | AfterEnd::NotApplicable => {}
    }
    match row.fence {
        Fence::Token => {
            all.insert(412);
        }
        Fence::Open => {}
    }
    all.extend(special(operation));
    all
}

/// What only some can answer.
fn special(operation: Operation) -> &'static [u16] {
    use Operation::*;
    match operation {
        // Ended while it was being made; a template that is not there.
        SessionCreate => &[404, 409, 410, 422],
        EnvironmentCreate => &[422, 507],
        // Ended, and the body does not say where to go.
        SessionTransition => &[410],
        ExecRun => &[429, 507],
        FileWrite | FileDelete | Backup => &[507],
        TemplateCreate | TemplateDelete => &[404, 409],
        TicketCreate => &[429],
        Terminal => &[403, 429, 507],
        PreviewProxy => &[429, 502],
        // Past its window; archived.
        SessionUndelete => &[404, 410],
        // Archived, and not deleted before.
        SessionDelete => &[410],
        AccessAuthorize => &[410],
        SessionList | SessionGet | SessionStatus | SessionExplain | SessionAudit | SessionEvents | SessionPause
        | SessionResume | SessionTerminate | SessionExtend | LeaseHeartbeat | LeaseTake | LeaseRelease | ExecList
        | ExecGet | ExecOutput | ExecStdin | ExecKill | FileRead | FileStat | DirList | FileWatch | PreviewRegister
        | PreviewList | PreviewRemove | PreviewHealth | EnvironmentGet | EnvironmentDelete | KeyCreate | KeyList
        | KeyRevoke | KeyRotate | TemplateList | TemplateGet | AuditList | AuditVerify | AccessDeny | CleanupCheck
        | CleanupSweep | MetricsGet | HealthGet | ReadyGet | OpenapiGet => &[],
    }
}
