//! What each operation takes and answers, as it is described. An operation without a description does not compile.

use crate::openapi::Schemas;
use crate::openapi::parameter::{Kind, Parameter, session_list};
use crate::wire;
use crate::wire::session_request as ask;
use tenure_session::Operation;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, SchemaFormat};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};

/// The groups that operations are shown in.
pub(crate) const TAGS: [(&str, &str); 12] = [
    ("sessions", "What a session is, from its beginning to its end."),
    ("execs", "Programs that are run in a session."),
    ("terminals", "Programs on a terminal, over WebSocket."),
    ("files", "Files of a session."),
    ("previews", "Ports of a session that can be reached from outside."),
    ("tickets", "Tickets, for what cannot send a header."),
    ("environments", "What sessions work in, for administrators."),
    ("keys", "API keys, for administrators."),
    ("templates", "What sessions are made from, for administrators."),
    ("audit", "What happened, for administrators."),
    ("cleanup", "What is to go and does not go by itself, for administrators."),
    ("service", "The service itself."),
];

const GENERATION: (&str, &str) = ("Tenure-Generation", "In which life of its environment the session answered.");
const OUTPUT_HEADERS: &[(&str, &str)] = &[
    ("Tenure-Offset", "Where the bytes begin."),
    ("Tenure-Next-Offset", "Where to read on."),
    ("Tenure-Running", "Whether more may follow later."),
    ("Tenure-Dropped", "How many bytes were dropped at the cap."),
];

/// Bytes of a kind, and their shape.
pub(crate) struct Content {
    /// The media type.
    pub kind: &'static str,
    /// The shape.
    pub schema: RefOr<Schema>,
}

/// An answer that is no problem.
pub(crate) struct Answer {
    /// Its status.
    pub status: u16,
    /// What it is.
    pub about: &'static str,
    /// What it holds.
    pub content: Option<Content>,
    /// What it holds instead, where it is asked for differently.
    pub instead: Option<Content>,
    /// Headers that it has beside those of every answer, each with what it says.
    pub headers: &'static [(&'static str, &'static str)],
}

/// What an operation takes and answers.
pub(crate) struct Description {
    /// Its group.
    pub tag: &'static str,
    /// More than the table says of it.
    pub about: Option<&'static str>,
    /// Its query.
    pub query: Vec<Parameter>,
    /// What is sent along, in one of these ways.
    pub sends: Vec<Content>,
    /// Whether anything must be sent along.
    pub body_required: bool,
    /// Whether a ticket will do.
    pub takes_tickets: bool,
    /// What it answers.
    pub answers: Vec<Answer>,
}

impl Description {
    fn new(tag: &'static str, answer: Answer) -> Description {
        let answers = vec![answer];
        let (query, sends) = (Vec::new(), Vec::new());
        Description { tag, about: None, query, sends, body_required: true, takes_tickets: false, answers }
    }

    fn about(mut self, about: &'static str) -> Description {
        self.about = Some(about);
        self
    }

    fn query(mut self, query: impl IntoIterator<Item = Parameter>) -> Description {
        self.query.extend(query);
        self
    }

    fn sends<T: ToSchema>(mut self, schemas: &mut Schemas) -> Description {
        self.sends.push(Content { kind: JSON, schema: schemas.add::<T>() });
        self
    }

    fn sends_bytes(mut self) -> Description {
        self.sends.push(Content { kind: BYTES, schema: bytes() });
        self
    }

    fn body_optional(mut self) -> Description {
        self.body_required = false;
        self
    }

    fn tickets(mut self) -> Description {
        self.takes_tickets = true;
        self
    }

    fn or(mut self, answer: Answer) -> Description {
        self.answers.push(answer);
        self
    }
}

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";
const EVENTS: &str = "text/event-stream";

fn text() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).into()
}

fn bytes() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary))).into()
}

fn answer(status: u16, about: &'static str, kind: &'static str, schema: RefOr<Schema>) -> Answer {
    Answer { status, about, content: Some(Content { kind, schema }), instead: None, headers: &[] }
}

fn one<T: ToSchema>(status: u16, about: &'static str, schemas: &mut Schemas) -> Answer {
    answer(status, about, JSON, schemas.add::<T>())
}

fn inside<T: ToSchema>(about: &'static str, schemas: &mut Schemas) -> Answer {
    Answer { headers: &[GENERATION], ..one::<T>(200, about, schemas) }
}

fn many<T: ToSchema>(about: &'static str, schemas: &mut Schemas) -> Answer {
    let items = ArrayBuilder::new().items(schemas.add::<T>());
    let cursor = ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::SchemaType::from_iter([Type::String, Type::Null]))
        .description(Some("Where the next page begins; `null` where this is the last."));
    let page = ObjectBuilder::new().property("items", items).required("items").property("next_cursor", cursor);
    answer(200, about, JSON, page.required("next_cursor").into())
}

fn nothing(about: &'static str) -> Answer {
    Answer { status: 204, about, content: None, instead: None, headers: &[] }
}

type Session = wire::session::SessionBody<'static>;
type Exec = wire::exec::ExecBody<'static>;
type Key = wire::key::KeyBody<'static>;
type Template = wire::template::TemplateBody<'static>;
type Audit = wire::audit::AuditBody<'static>;

/// What an operation takes and answers.
pub(crate) fn describe(operation: Operation, schemas: &mut Schemas) -> Description {
    use Operation::*;
    match operation {
        SessionCreate | SessionList | SessionGet | SessionStatus | SessionExplain | SessionAudit | SessionEvents => {
            session_read(operation, schemas)
        }
        SessionPause | SessionResume | SessionTerminate | SessionDelete | SessionUndelete | SessionExtend
        | SessionTransition => session_change(operation, schemas),
        LeaseHeartbeat | LeaseTake | LeaseRelease => lease(operation, schemas),
        ExecRun | ExecList | ExecGet | ExecOutput | ExecStdin | ExecKill => exec(operation, schemas),
        FileRead | FileStat | DirList | FileWatch | FileWrite | FileDelete => file(operation, schemas),
        PreviewRegister | PreviewList | PreviewRemove | PreviewHealth | PreviewProxy => preview(operation, schemas),
        Terminal => terminal(),
        TicketCreate => Description::new("tickets", one::<wire::ticket::Ticket>(200, "The ticket.", schemas))
            .sends::<wire::ticket::TicketRequest>(schemas),
        EnvironmentGet => Description::new(
            "environments",
            inside::<wire::environment::EnvironmentViewBody<'static>>("What is known of it.", schemas),
        ),
        EnvironmentCreate => Description::new("environments", one::<Session>(201, "The session.", schemas)),
        EnvironmentDelete => Description::new("environments", one::<Session>(200, "The session, ended.", schemas)),
        KeyCreate | KeyList | KeyRevoke | KeyRotate => key(operation, schemas),
        TemplateCreate | TemplateList | TemplateGet | TemplateDelete => template(operation, schemas),
        AuditList | AuditVerify | AccessAuthorize | AccessDeny => audit(operation, schemas),
        CleanupCheck => Description::new(
            "cleanup",
            one::<wire::cleanup::CheckBody<'static>>(200, "What a sweep would do with it.", schemas),
        )
        .query([Parameter::include_deleted()]),
        CleanupSweep => Description::new("cleanup", one::<wire::cleanup::SweptBody>(200, "What was done.", schemas))
            .about(
                "Ends every session whose time has come, and takes down what is left of environments: of sessions that \
                 have ended, and of nobody. Audited, unless it is only tried.",
            )
            .query([Parameter::query("dry_run", Kind::Flag, "Whether it is only tried: nothing is changed then.")]),
        Backup => {
            let content = Some(Content { kind: BYTES, schema: bytes() });
            let copy = Answer { status: 200, about: "A database file.", content, instead: None, headers: &[] };
            Description::new("backup", copy).about(
                "Copies everything that is remembered, as it is at one instant, while the service goes on. What programs \
                 printed, templates and keys to sign with are files of the data directory, and not in it. Audited.",
            )
        }
        MetricsGet => {
            Description::new("service", answer(200, "OpenMetrics text.", "application/openmetrics-text", text()))
        }
        HealthGet => Description::new("service", one::<wire::service::Health>(200, "It runs.", schemas)),
        ReadyGet => Description::new("service", one::<wire::service::Health>(200, "It answers.", schemas)),
        OpenapiGet => Description::new(
            "service",
            answer(200, "This document.", JSON, ObjectBuilder::new().schema_type(Type::Object).into()),
        ),
    }
}

fn session_read(operation: Operation, schemas: &mut Schemas) -> Description {
    let tag = "sessions";
    let with_deleted = [Parameter::include_deleted()];
    match operation {
        Operation::SessionCreate => Description::new(tag, one::<Session>(201, "The session, ready.", schemas))
            .sends::<ask::CreateRequest>(schemas)
            .body_optional(),
        Operation::SessionList => {
            Description::new(tag, many::<Session>("The sessions, newest first.", schemas)).query(session_list())
        }
        Operation::SessionStatus => {
            let status = one::<wire::session::StatusBody<'static>>(200, "The status.", schemas);
            Description::new(tag, status).query(with_deleted)
        }
        Operation::SessionExplain => {
            let explained = one::<wire::explanation::ExplanationBody<'static>>(200, "The explanation.", schemas);
            Description::new(tag, explained).query(with_deleted)
        }
        Operation::SessionAudit => Description::new(tag, many::<Audit>("The entries, oldest first.", schemas))
            .query(with_deleted)
            .query(Parameter::page()),
        Operation::SessionEvents => Description::new(tag, answer(200, "Events.", EVENTS, text()))
            .about("Follows its status: the event `status` now, and with every change, until the session has ended.")
            .query(with_deleted)
            .tickets(),
        _ => Description::new(tag, one::<Session>(200, "The session.", schemas)).query(with_deleted),
    }
}

fn session_change(operation: Operation, schemas: &mut Schemas) -> Description {
    let description = Description::new("sessions", one::<Session>(200, "The session as it is now.", schemas));
    match operation {
        Operation::SessionTerminate => description.sends::<ask::TerminateRequest>(schemas).body_optional(),
        Operation::SessionExtend => description.sends::<ask::ExtendRequest>(schemas),
        Operation::SessionTransition => description.sends::<ask::TransitionRequest>(schemas),
        _ => description,
    }
}

fn lease(operation: Operation, schemas: &mut Schemas) -> Description {
    let tag = "leases";
    match operation {
        Operation::LeaseHeartbeat => {
            let heard = one::<wire::lease::HeartbeatBody<'static>>(200, "It was heard.", schemas);
            Description::new(tag, heard)
        }
        Operation::LeaseTake => Description::new(tag, one::<Session>(200, "The session, with its lease.", schemas))
            .about("Takes the lease. What its last holder had begun is over when this is answered.")
            .sends::<ask::LeaseTakeRequest>(schemas)
            .body_optional(),
        _ => Description::new(tag, one::<Session>(200, "The session, without a lease.", schemas)),
    }
}

fn exec(operation: Operation, schemas: &mut Schemas) -> Description {
    let tag = "execs";
    match operation {
        Operation::ExecRun => {
            let mut ended = inside::<Exec>(
                "How it ended, and what it printed; with `stream`, the events `started`, `stdout`, `stderr` and `exit`.",
                schemas,
            );
            ended.instead = Some(Content { kind: EVENTS, schema: text() });
            Description::new(tag, ended)
                .or(one::<Exec>(202, "It runs in the background.", schemas))
                .sends::<wire::exec::ExecRequest>(schemas)
        }
        Operation::ExecList => Description::new(tag, many::<Exec>("The execs, oldest first.", schemas))
            .query([Parameter::include_deleted()])
            .query(Parameter::page()),
        Operation::ExecOutput => {
            let content = Some(Content { kind: BYTES, schema: bytes() });
            let printed =
                Answer { status: 200, about: "What was printed.", content, instead: None, headers: OUTPUT_HEADERS };
            let streams = Kind::Words(&["stdout", "stderr"]);
            Description::new(tag, printed).query([
                Parameter::include_deleted(),
                Parameter::query("stream", streams, "Which output; `stdout` where nothing is given."),
                Parameter::query("offset", Kind::Number(0, None), "Where to begin, in bytes."),
            ])
        }
        Operation::ExecStdin => Description::new(tag, nothing("It is on its way."))
            .query([Parameter::query("eof", Kind::Flag, "Whether its input ends with this.")])
            .sends_bytes()
            .body_optional(),
        Operation::ExecKill => Description::new(tag, inside::<Exec>("The exec as it is now.", schemas))
            .sends::<wire::exec::KillRequest>(schemas),
        _ => Description::new(tag, inside::<Exec>("The exec, and the beginning of its output.", schemas))
            .query([Parameter::include_deleted()]),
    }
}

fn file(operation: Operation, schemas: &mut Schemas) -> Description {
    let tag = "files";
    let recursive = || Parameter::query("recursive", Kind::Flag, "Whether what is below it is meant, too.");
    let description = match operation {
        Operation::FileStat => {
            Description::new(tag, inside::<wire::file::StatBody<'static>>("What is there, if anything.", schemas))
        }
        Operation::DirList => {
            Description::new(tag, inside::<wire::file::DirBody<'static>>("What is in it, by name.", schemas))
        }
        Operation::FileWatch => Description::new(tag, answer(200, "Events.", EVENTS, text()))
            .about("Follows changes below a path: the event `change` for each.")
            .query([recursive()])
            .tickets(),
        Operation::FileWrite => Description::new(tag, nothing("It is written.")).sends_bytes().body_optional(),
        Operation::FileDelete => Description::new(tag, nothing("It is gone.")).query([recursive()]),
        _ => {
            let content = Some(Content { kind: BYTES, schema: bytes() });
            let read = Answer { status: 200, about: "Its bytes.", content, instead: None, headers: &[GENERATION] };
            Description::new(tag, read).query([
                Parameter::query("offset", Kind::Number(0, None), "Where to begin, in bytes."),
                Parameter::query("length", Kind::Number(0, None), "Most bytes to read."),
            ])
        }
    };
    description.query([Parameter::file_path()])
}

fn preview(operation: Operation, schemas: &mut Schemas) -> Description {
    let tag = "previews";
    type Preview = wire::preview::PreviewBody<'static>;
    match operation {
        Operation::PreviewRegister => Description::new(tag, one::<Preview>(200, "It can be reached.", schemas))
            .sends::<wire::preview::PreviewRequest>(schemas),
        Operation::PreviewList => Description::new(tag, many::<Preview>("The ports, lowest first.", schemas)),
        Operation::PreviewRemove => Description::new(tag, nothing("It cannot be reached any more.")),
        Operation::PreviewHealth => {
            Description::new(tag, one::<wire::preview::PreviewHealthBody>(200, "Whether it answers.", schemas))
        }
        _ => {
            let content = Some(Content { kind: "*/*", schema: bytes() });
            let passed =
                Answer { status: 200, about: "What the server inside answered.", content, instead: None, headers: &[] };
            Description::new(tag, passed).about(
                "Passes a request on to a port, with every method, WebSockets too. The server inside answers with \
                 whatever status it likes.",
            )
        }
    }
}

fn terminal() -> Description {
    let about = "Becomes a WebSocket.";
    let opened = Answer { status: 101, about, content: None, instead: None, headers: &[] };
    let side = Kind::Number(1, Some(1000));
    Description::new("terminals", opened)
        .about(
            "Opens a terminal, or comes back to one: a WebSocket. Text messages are JSON. To the service: \
             `{\"type\":\"input\",\"data\"}` and `{\"type\":\"resize\",\"rows\",\"cols\"}`; binary messages are input as well. From it: \
             `{\"type\":\"status\",\"state\",\"exec_id\",\"exec_state\",\"exit_code\",\"signal\",\"oom_killed\",\"remaining_seconds\",\
             \"dropped_bytes\"}` first and with every change, `{\"type\":\"output\",\"data\"}`, or binary messages where bytes are asked \
             for, `{\"type\":\"termination\",\"reason\",\"terminated_at\",\"detail\"}` and `{\"type\":\"error\",\"problem\"}`. A message \
             has at most 65536 bytes. Whoever comes back is shown the last 64 KiB. Closing leaves the program running. The codes it is \
             closed with: 1000 the program has ended, 1001 the service stops, 1008 the request or a message cannot be so, 1009 a message \
             is too large, 1013 not now, 4001 no valid credential, 4003 not with this role, 4004 there is no such session or terminal, \
             4005 not ready, paused, or another holds the lease, 4006 the session has ended. A ticket is also taken as the subprotocol \
             `tenure.ticket.<ticket>`; the subprotocols `tenure.terminal` and `tenure.terminal.raw` can be offered beside it. Without \
             an upgrade it is answered as a request that cannot be understood.",
        )
        .query([
            Parameter::query("exec_id", Kind::Form("^x_[0-9a-f]{16}$"), "The terminal to come back to; a new one without."),
            Parameter::query("cmd", Kind::Many("^[^\\u0000]*$"), "The program, then its arguments; a shell without."),
            Parameter::query("rows", side, "How many rows are shown; 24 where nothing is given."),
            Parameter::query("cols", side, "How many columns are shown; 80 where nothing is given."),
            Parameter::query("raw", Kind::Flag, "Whether output comes as bytes, in binary messages."),
        ])
        .tickets()
}

fn key(operation: Operation, schemas: &mut Schemas) -> Description {
    let tag = "keys";
    match operation {
        Operation::KeyCreate => Description::new(tag, one::<Key>(201, "The key, with its secret.", schemas))
            .sends::<wire::key::KeyRequest>(schemas),
        Operation::KeyList => Description::new(tag, many::<Key>("The keys, oldest first.", schemas)),
        Operation::KeyRevoke => Description::new(tag, one::<Key>(200, "The key, revoked.", schemas)),
        _ => Description::new(tag, one::<Key>(200, "The key, with its new secret.", schemas)),
    }
}

fn template(operation: Operation, schemas: &mut Schemas) -> Description {
    let tag = "templates";
    match operation {
        Operation::TemplateCreate => {
            let request = "With an archive as the body: everything else, as JSON.";
            Description::new(tag, one::<Template>(201, "The template.", schemas))
                .about(
                    "Makes a template, or the next version of one: of a root that the server has or finds on its host, \
                     or of an OCI archive that is the body.",
                )
                .query([
                    Parameter::query("name", Kind::Text, "With an archive as the body: the template's name."),
                    Parameter::query("request", Kind::Text, request),
                ])
                .sends::<wire::template::TemplateRequest>(schemas)
                .sends_bytes()
        }
        Operation::TemplateList => {
            Description::new(tag, many::<Template>("The templates, by name, then version.", schemas))
        }
        Operation::TemplateDelete => Description::new(tag, nothing("It is gone.")),
        _ => Description::new(tag, one::<Template>(200, "The template.", schemas)),
    }
}

fn audit(operation: Operation, schemas: &mut Schemas) -> Description {
    let tag = "audit";
    match operation {
        Operation::AuditList => Description::new(tag, many::<Audit>("The entries, oldest first.", schemas))
            .query([
                Parameter::query("session_id", Kind::Form("^exec_[0-9]{8}_[0-9]{6}_[0-9a-f]{8}$"), "About this one."),
                Parameter::query("action", Kind::Text, "With this action."),
                Parameter::query("actor", Kind::Text, "By this actor."),
            ])
            .query(Parameter::page()),
        Operation::AuditVerify => {
            Description::new(tag, one::<wire::audit::VerificationBody<'static>>(200, "What was found.", schemas))
        }
        Operation::AccessAuthorize => {
            Description::new(tag, one::<wire::access::GrantedBody<'static>>(200, "Access is granted.", schemas))
                .sends::<wire::access::AuthorizeRequest>(schemas)
        }
        _ => Description::new(tag, nothing("Never: whoever is denied hears `ACCESS_DENIED`, once that is recorded."))
            .sends::<wire::access::DenyRequest>(schemas),
    }
}
