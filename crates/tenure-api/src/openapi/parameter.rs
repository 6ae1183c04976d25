//! Parameters, as they are described: in the path, in the query, in headers.

use crate::asked::takes_idempotency_keys;
use crate::query::PAGE_MAX;
use crate::wire::words;
use tenure_session::{Fence, Operation};
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, SchemaFormat};
use utoipa::openapi::{ObjectBuilder, RefOr, Required, Schema, Type};

/// A parameter.
pub(crate) struct Parameter {
    name: &'static str,
    place: Place,
    about: &'static str,
    kind: Kind,
    required: bool,
}

/// Where it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Path,
    Query,
    Header,
}

/// What it is.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Text.
    Text,
    /// Text of this form.
    Form(&'static str),
    /// One of these words.
    Words(&'static [&'static str]),
    /// True or false.
    Flag,
    /// A whole number from the least to the most.
    Number(u64, Option<u64>),
    /// Text of this form, given as often as need be.
    Many(&'static str),
}

/// How IDs are written.
const SESSION: Kind = Kind::Form("^exec_[0-9]{8}_[0-9]{6}_[0-9a-f]{8}$");
const EXEC: Kind = Kind::Form("^x_[0-9a-f]{16}$");
const KEY: Kind = Kind::Form("^key_[0-9a-f]{16}$");
const PORT: Kind = Kind::Number(1024, Some(65535));
const PATH: Kind = Kind::Form("^[^\\u0000]+$");

impl Parameter {
    /// One of the query.
    pub fn query(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
        Parameter { name, place: Place::Query, about, kind, required: false }
    }

    /// The path of a file, which must be given.
    pub fn file_path() -> Parameter {
        let about = "The path: absolute, or relative to `/workspace`.";
        Parameter { required: true, ..Parameter::query("path", PATH, about) }
    }

    /// Both of a list.
    pub fn page() -> [Parameter; 2] {
        let most = Kind::Number(1, Some(PAGE_MAX as u64));
        [
            Parameter::query("limit", most, "Most items of the page; 100 where nothing is given."),
            Parameter::query("cursor", Kind::Text, "Where the page begins: `next_cursor` of the one before."),
        ]
    }

    /// Of a read.
    pub fn include_deleted() -> Parameter {
        Parameter::query("include_deleted", Kind::Flag, "Whether deleted and archived sessions are read as well.")
    }

    /// By its name in a path.
    pub fn in_path(name: &str) -> Option<Parameter> {
        let (name, kind, about) = match name {
            "id" => ("id", SESSION, "The session."),
            "exec_id" => ("exec_id", EXEC, "The exec."),
            "key_id" => ("key_id", KEY, "The key."),
            "port" => ("port", PORT, "The port inside."),
            "name" => ("name", Kind::Form("^[^/]+$"), "The template: `name`, or `name@version`."),
            "path" => ("path", Kind::Text, "What is asked for inside."),
            _ => return None,
        };
        Some(Parameter { name, place: Place::Path, about, kind, required: true })
    }

    /// As it is written.
    pub fn built(&self) -> ParameterBuilder {
        ParameterBuilder::new()
            .name(self.name)
            .parameter_in(match self.place {
                Place::Path => ParameterIn::Path,
                Place::Query => ParameterIn::Query,
                Place::Header => ParameterIn::Header,
            })
            .description(Some(self.about))
            .required(if self.required { Required::True } else { Required::False })
            .schema(Some(self.kind.schema()))
    }
}

impl Kind {
    fn schema(self) -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        match self {
            Kind::Text => text().into(),
            Kind::Form(form) => text().pattern(Some(form)).into(),
            Kind::Words(words) => text().enum_values(Some(words.iter().copied())).into(),
            Kind::Flag => ObjectBuilder::new().schema_type(Type::Boolean).into(),
            Kind::Number(least, most) => ObjectBuilder::new()
                .schema_type(Type::Integer)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
                .minimum(Some(least as f64))
                .maximum(most.map(|most| most as f64))
                .into(),
            Kind::Many(form) => ArrayBuilder::new().items(text().pattern(Some(form))).into(),
        }
    }
}

/// What an operation takes beside its query: what its path names, and headers.
pub(crate) fn of(operation: Operation, path: &str) -> Vec<Parameter> {
    let mut all = Parameter::named_in(path);
    let header = |name, kind, about| Parameter { name, place: Place::Header, about, kind, required: false };
    if operation.row().fence == Fence::Token {
        let about = "The current token of the session's lease; needed while one is held.";
        all.push(header("Tenure-Lease-Token", Kind::Number(0, None), about));
    }
    if takes_idempotency_keys(operation) {
        let about = "The same key and the same body are answered the same, for ever.";
        all.push(header("Idempotency-Key", Kind::Form("^[!-~]{1,255}$"), about));
    }
    all
}

/// The query of a list of sessions.
pub(crate) fn session_list() -> Vec<Parameter> {
    let mut all = vec![
        Parameter::query("state", Kind::Words(words::SessionState::ALL), "In this state."),
        Parameter::query("phase", Kind::Words(words::SessionPhase::ALL), "In this phase."),
        Parameter::query("owner", Kind::Form("^[A-Za-z0-9][A-Za-z0-9._@:+/=|-]{0,127}$"), "Of this owner."),
        Parameter::query("template", Kind::Text, "Made from this template: `name`, or `name@version`."),
        Parameter::query("metadata", Kind::Many("^[^:]+:.*$"), "With this word, `key:value`; all of them."),
        Parameter::include_deleted(),
    ];
    all.extend(Parameter::page());
    all
}
