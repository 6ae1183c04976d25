//! The API's own description: OpenAPI 3.1, made from the table of operations, the routes and the wire types (AP-1).

mod describe;
mod parameter;
mod problems;

use crate::route::{RouteMethod, route};
use describe::{Answer, Content, Description, describe};
use parameter::Parameter;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use tenure_session::{Operation, Who};
use utoipa::openapi::path::{HttpMethod, OperationBuilder, PathItem, Paths, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ContactBuilder, ContentBuilder, HeaderBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder,
    Ref, RefOr, Required, ResponseBuilder, Schema, ServerBuilder,
};
use utoipa::openapi::{ObjectBuilder, Type};

const BEARER: &str = "bearer";
const TICKET: &str = "ticket";

/// The description as it is served. Made once.
pub(crate) fn document_json() -> &'static [u8] {
    static DOCUMENT: OnceLock<Vec<u8>> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::to_vec(&document()).unwrap_or_default())
}

/// The description of the whole API.
pub fn document() -> OpenApi {
    let mut schemas = Schemas::default();
    schemas.add::<crate::wire::problem::ProblemBody>();
    let paths = paths(&mut schemas);
    let mut components = Components::new();
    components.schemas = schemas.known;
    for (status, response) in problems::responses() {
        components.responses.insert(problems::name(status), RefOr::T(response));
    }
    for (name, scheme) in [(BEARER, bearer()), (TICKET, ticket())] {
        components.add_security_scheme(name, scheme);
    }
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("Tenure")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Durable, isolated sessions: each begins at once, works in an environment of its own, and ends once, for one recorded reason."))
        .license(Some(license))
        .contact(Some(ContactBuilder::new().name(Some("The Tenure project")).build()));
    let server = ServerBuilder::new().url("/").description(Some("This service")).build();
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([server]))
        .tags(Some(describe::TAGS.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build())))
        .security(Some([requirement(BEARER)]))
        .paths(paths)
        .components(Some(components))
        .build()
}

fn bearer() -> SecurityScheme {
    let about = "An API key, or a JWT of a configured issuer.";
    SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(about)).build())
}

fn ticket() -> SecurityScheme {
    let about = "A ticket from `POST /v1/tickets`, for what cannot send a header. Good once, for 30 seconds.";
    SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::with_description("ticket", about)))
}

fn requirement(scheme: &str) -> SecurityRequirement {
    SecurityRequirement::new(scheme, Vec::<String>::new())
}

/// Every schema that is referred to, by name.
#[derive(Default)]
pub(crate) struct Schemas {
    known: BTreeMap<String, RefOr<Schema>>,
}

impl Schemas {
    /// A reference to a type's schema, which is added with all that it refers to.
    pub fn add<T: utoipa::ToSchema>(&mut self) -> RefOr<Schema> {
        let name = T::name().into_owned();
        if !self.known.contains_key(&name) {
            self.known.insert(name.clone(), T::schema());
            let mut others = Vec::new();
            T::schemas(&mut others);
            for (name, schema) in others {
                self.known.entry(name).or_insert(schema);
            }
        }
        RefOr::Ref(Ref::from_schema_name(name))
    }
}

fn paths(schemas: &mut Schemas) -> Paths {
    let mut builder = PathsBuilder::new();
    for operation in Operation::ALL.iter().copied() {
        let found = route(operation);
        let description = describe(operation, schemas);
        for (method, suffix) in methods(found.method) {
            let id = format!("{}{suffix}", operation.row().name);
            let body = described(operation, found.path, &description, id);
            builder = builder.path(found.path.replace("{*", "{"), PathItem::new(method.clone(), body));
        }
    }
    builder.build()
}

/// The methods of a route, and what is added to the operation's ID where it has more than one.
fn methods(method: RouteMethod) -> Vec<(HttpMethod, &'static str)> {
    match method {
        RouteMethod::Get => vec![(HttpMethod::Get, "")],
        RouteMethod::Post => vec![(HttpMethod::Post, "")],
        RouteMethod::Put => vec![(HttpMethod::Put, "")],
        RouteMethod::Delete => vec![(HttpMethod::Delete, "")],
        RouteMethod::Any => vec![
            (HttpMethod::Get, ""),
            (HttpMethod::Post, "_post"),
            (HttpMethod::Put, "_put"),
            (HttpMethod::Patch, "_patch"),
            (HttpMethod::Delete, "_delete"),
        ],
    }
}

fn described(operation: Operation, path: &str, description: &Description, id: String) -> OperationBuilder {
    let row = operation.row();
    let mut builder = OperationBuilder::new()
        .operation_id(Some(id))
        .summary(Some(operation.about().trim_end_matches('.')))
        .description(Some(description.about.unwrap_or(operation.about())))
        .tag(description.tag)
        .securities(Some(securities(row.who, description.takes_tickets)));
    for parameter in parameter::of(operation, path).iter().chain(description.query.iter()) {
        builder = builder.parameter(parameter.built());
    }
    if !description.sends.is_empty() {
        let mut body = RequestBodyBuilder::new().required(Some(match description.body_required {
            true => Required::True,
            false => Required::False,
        }));
        for content in &description.sends {
            body = body.content(content.kind, ContentBuilder::new().schema(Some(content.schema.clone())).build());
        }
        builder = builder.request_body(Some(body.build()));
    }
    for answer in &description.answers {
        builder = builder.response(answer.status.to_string(), response(answer));
    }
    for status in problems::of(operation, description) {
        builder = builder.response(status.to_string(), Ref::from_response_name(problems::name(status)));
    }
    builder
}

fn securities(who: Who, takes_tickets: bool) -> Vec<SecurityRequirement> {
    match who {
        Who::Anyone => Vec::new(),
        Who::User | Who::Owner | Who::Admin if takes_tickets => vec![requirement(BEARER), requirement(TICKET)],
        Who::User | Who::Owner | Who::Admin => vec![requirement(BEARER)],
    }
}

fn response(answer: &Answer) -> utoipa::openapi::Response {
    let text = || ObjectBuilder::new().schema_type(Type::String).build();
    let header = |about: &str| HeaderBuilder::new().description(Some(about)).schema(text()).build();
    let mut builder = ResponseBuilder::new().description(answer.about);
    builder = builder.header("x-request-id", header("Names this request in the server's log."));
    for (name, about) in answer.headers {
        builder = builder.header(*name, header(about));
    }
    for Content { kind, schema } in answer.content.iter().chain(&answer.instead) {
        builder = builder.content(*kind, ContentBuilder::new().schema(Some(schema.clone())).build());
    }
    builder.build()
}

/// The names of parameters in a path, in their order.
fn names_in(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| name.trim_start_matches('*'))
}

/// What a parameter's description is made from.
impl Parameter {
    fn named_in(path: &str) -> Vec<Parameter> {
        names_in(path).filter_map(Parameter::in_path).collect()
    }
}
