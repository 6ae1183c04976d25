//! Templates: what sessions are made from (TP-1).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tenure_session::{LeaseTerms, LimitRequest, Timestamp};

/// How turns are checked in sessions of a template.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Time may advance or not.
    #[default]
    Plain,
    /// Time advances once in every turn but the first.
    Adventure,
}

/// One version of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateRecord {
    /// Its name.
    pub name: String,
    /// Which version, from 1. Given by the store.
    pub version: u32,
    /// The root it starts from, in the driver's own words.
    pub base: String,
    /// Limits other than the default.
    #[serde(default)]
    pub limits: LimitRequest,
    /// The lease that its sessions begin with.
    #[serde(default)]
    pub lease: Option<LeaseTerms>,
    /// Variables that its programs start with.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What is started in each new session.
    #[serde(default)]
    pub start_command: Option<Vec<String>>,
    /// How turns are checked.
    #[serde(default)]
    pub profile: Profile,
    /// Whether its sessions may go without limits that the host does not enforce.
    #[serde(default)]
    pub allow_unenforced: bool,
    /// When it was made.
    pub created_at: Timestamp,
}
