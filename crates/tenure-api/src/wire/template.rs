//! Templates.

use crate::wire::session_request::LimitRequest;
use crate::wire::words;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tenure_engine::{LeaseTerms, TemplateRecord};
use tenure_session::Timestamp;
use utoipa::ToSchema;

/// What a new template, or a new version of one, is to be. Its root comes from one of `source` and `base`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateRequest {
    /// Its name.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    pub name: String,
    /// Where its root comes from: a path on the server's host.
    #[serde(default)]
    pub source: Option<String>,
    /// A root that the server keeps already.
    #[serde(default)]
    pub base: Option<String>,
    /// Limits other than the default.
    #[serde(default)]
    pub limits: LimitRequest,
    /// The lease that its sessions begin with.
    #[serde(default)]
    pub lease: Option<LeaseTermsBody>,
    /// Variables that its programs start with.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What is started in each new session.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 256)]
    pub start_command: Option<Vec<String>>,
    /// How turns are checked.
    #[serde(default)]
    pub profile: Option<words::Profile>,
    /// Whether its sessions may go without limits that the host does not enforce.
    #[serde(default)]
    pub allow_unenforced: bool,
}

/// The terms of a lease.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LeaseTerms)]
pub struct LeaseTermsBody {
    /// For how long a renewal holds.
    #[schema(minimum = 100, maximum = 86400000)]
    pub ttl_ms: u64,
    /// How often the holder is asked to renew.
    #[schema(minimum = 1, maximum = 86400000)]
    pub heartbeat_interval_ms: u64,
}

/// One version of a template.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Template)]
pub struct TemplateBody<'a> {
    /// Its name.
    name: &'a str,
    /// Which version, from 1.
    version: u32,
    /// The root it starts from.
    base: &'a str,
    /// Limits other than the default.
    #[schema(value_type = LimitRequest)]
    limits: tenure_session::LimitRequest,
    /// The lease that its sessions begin with.
    #[schema(value_type = Option<LeaseTermsBody>)]
    lease: Option<LeaseTerms>,
    /// Variables that its programs start with: their names, as the values may hold secrets.
    env_names: Vec<&'a str>,
    /// What is started in each new session.
    start_command: Option<&'a [String]>,
    /// How turns are checked.
    #[schema(value_type = words::Profile)]
    profile: tenure_engine::Profile,
    /// Whether its sessions may go without limits that the host does not enforce.
    allow_unenforced: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl<'a> TemplateBody<'a> {
    /// A template as it is told.
    pub fn new(template: &'a TemplateRecord) -> TemplateBody<'a> {
        TemplateBody {
            name: &template.name,
            version: template.version,
            base: &template.base,
            limits: template.limits,
            lease: template.lease,
            env_names: template.env.keys().map(String::as_str).collect(),
            start_command: template.start_command.as_deref(),
            profile: template.profile,
            allow_unenforced: template.allow_unenforced,
            created_at: template.created_at,
        }
    }
}
