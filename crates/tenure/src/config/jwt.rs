//! The keys whose tokens are taken: `[[jwt]]` tables in the file.

use super::value::beside;
use figment::value::Value;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How tokens of a key are signed. Pinned: a token that says otherwise is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC with SHA-256, from a secret.
    HS256,
    /// RSA with SHA-256, from a public key in PEM.
    RS256,
    /// Ed25519, from a public key in PEM.
    EdDSA,
}

/// Which claim names the user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserClaim {
    /// `sub`.
    #[default]
    Sub,
    /// `user_id`.
    UserId,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtKey {
    /// What its issuer is called in user IDs, logs and the audit.
    pub name: String,
    /// Its ID, where the issuer has more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// How its tokens are signed.
    pub algorithm: Algorithm,
    /// Whose tokens: `iss` must be exactly this. Users are told apart by it.
    pub issuer: String,
    /// For whom: `aud` must hold this.
    pub audience: String,
    /// The file with the secret, for HS256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// The file with the public key in PEM, for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key_file: Option<PathBuf>,
    /// Which claim names the user.
    #[serde(default)]
    pub user_claim: UserClaim,
    /// Which claim makes an administrator, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_claim: Option<String>,
    /// Which value of that claim does.
    #[serde(default = "admin")]
    pub admin_value: String,
}

fn admin() -> String {
    "admin".into()
}

impl JwtKey {
    /// The file that its tokens are checked with.
    pub fn file(&self) -> &Path {
        self.secret_file.as_deref().or(self.public_key_file.as_deref()).unwrap_or(Path::new(""))
    }

    /// Why it cannot be so.
    fn problem(&self) -> Option<&'static str> {
        let (secret, public) = (self.secret_file.is_some(), self.public_key_file.is_some());
        match self.algorithm {
            Algorithm::HS256 if !secret || public => Some("HS256 needs secret_file, and no public_key_file"),
            Algorithm::RS256 | Algorithm::EdDSA if secret || !public => {
                Some("RS256 and EdDSA need public_key_file, and no secret_file")
            }
            Algorithm::HS256 | Algorithm::RS256 | Algorithm::EdDSA => {
                let empty = [&self.name, &self.issuer, &self.audience].into_iter().any(String::is_empty);
                empty
                    .then_some("name, issuer and audience must not be empty")
                    .or((self.admin_claim.as_deref() == Some("")).then_some("admin_claim must not be empty"))
            }
        }
    }
}

/// Reads the tables.
pub fn from_file(value: &toml::Value, dir: &Path) -> Result<Value, String> {
    let tables = value.as_array().ok_or("is no list of tables: each key begins with [[jwt]]")?;
    let mut keys: Vec<JwtKey> = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let here = |problem: &str| format!("[{index}]: {problem}");
        let mut key: JwtKey = table.clone().try_into().map_err(|error: toml::de::Error| here(error.message()))?;
        if let Some(problem) = key.problem() {
            return Err(here(problem));
        }
        if keys.iter().any(|other| other.name == key.name && other.kid == key.kid) {
            return Err(here(&format!("there are two keys called {:?} with the same kid", key.name)));
        }
        for path in [&mut key.secret_file, &mut key.public_key_file].into_iter().flatten() {
            *path = beside(dir, &path.to_string_lossy());
        }
        keys.push(key);
    }
    Value::serialize(&keys).map_err(|error| error.to_string())
}
