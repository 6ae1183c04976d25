//! `tenure audit`: what was done, by whom, and whether the record of it is as it was written. With the server, or away from it.

use super::session::{AUDIT, PageArgs};
use super::show::{Show, text};
use crate::client::Client;
use crate::failure::{CliCode, Code, Failure};
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::DecodePublicKey;
use serde_json::{Value, json};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use tenure_store::audit::{Verification, Verifier, log};

/// Subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List what was done: everything, or in one session
    List(ListArgs),
    /// Read all of it again, and name the first place where it is not as it was written
    Verify(VerifyArgs),
}

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// In this session
    #[arg(long, visible_alias = "session", value_name = "ID")]
    session_id: Option<String>,
    /// With this action
    #[arg(long)]
    action: Option<String>,
    /// By this actor, as in user:alice
    #[arg(long)]
    actor: Option<String>,
    #[command(flatten)]
    page: PageArgs,
    /// Every entry as a line of JSON: what `audit verify --file` reads
    #[arg(long)]
    lines: bool,
}

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// A log from `audit list --lines`, instead of the server's own
    #[arg(long, value_name = "LOG")]
    file: Option<PathBuf>,
    /// Signed heads to compare it with
    #[arg(long, value_name = "FILE", requires = "file")]
    heads: Option<PathBuf>,
    /// The public key that the heads are signed with: 64 hex digits, or PEM
    #[arg(long, value_name = "FILE", requires = "heads")]
    public_key: Option<PathBuf>,
}

impl Command {
    /// The file that is to be verified, where no server is needed for it.
    pub fn offline(&self) -> Option<&VerifyArgs> {
        match self {
            Command::Verify(args) => Some(args).filter(|args| args.file.is_some()),
            Command::List(_) => None,
        }
    }
}

/// Runs one of them with a server.
pub async fn run(client: &Client, show: Show, command: Command) -> Result<u8, Failure> {
    match command {
        Command::List(args) => list(client, show, args).await?,
        Command::Verify(_) => verdict(show, &client.post(&["audit", "verify"], &Value::Null).await?)?,
    }
    Ok(0)
}

async fn list(client: &Client, show: Show, args: ListArgs) -> Result<(), Failure> {
    let mut query = args.page.parameters();
    let filters = [("session_id", args.session_id), ("action", args.action), ("actor", args.actor)];
    query.extend(filters.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let found = client.list(&["audit"], &query, args.page.all() || args.lines).await?;
    if !args.lines {
        return show.list(&found, AUDIT);
    }
    found["items"].as_array().map(Vec::as_slice).unwrap_or_default().iter().try_for_each(|entry| show.raw(entry))
}

/// Verifies a log away from its server.
pub fn verify_file(show: Show, args: &VerifyArgs) -> Result<u8, Failure> {
    let key = args.public_key.as_deref().map(public_key).transpose()?;
    let mut verifier = Verifier::new(key);
    if let Some(path) = &args.heads {
        let heads = log::read_heads(open(path)?).map_err(|error| damaged(path, &error.to_string()))?;
        heads.heads.iter().for_each(|head| verifier.head(head));
    }
    let path = args.file.as_deref().unwrap_or(Path::new("-"));
    for entry in log::read_entries(open(path)?) {
        verifier.entry(&entry.map_err(|error| damaged(path, &error.to_string()))?);
    }
    let Verification { entries, chains, heads_checked, problem } = verifier.finish();
    let found = json!({
        "intact": problem.is_none(),
        "entries": entries,
        "chains": chains,
        "heads_checked": heads_checked,
        "signatures_checked": key.is_some(),
        "problem": problem,
    });
    verdict(show, &found)?;
    Ok(0)
}

/// Says what was found; what is not intact is a failure.
fn verdict(show: Show, found: &Value) -> Result<(), Failure> {
    let counts =
        format!("{} entries in {} chains, {} signed heads", found["entries"], found["chains"], found["heads_checked"]);
    if found["problem"].is_null() {
        let unsigned = if found["signatures_checked"] == true { "" } else { "; signatures were not checked" };
        return show.line(found, &format!("intact: {counts}{unsigned}"));
    }
    let problem = &found["problem"];
    let message = format!(
        "the audit is not as it was written: {} at entry {} ({counts})",
        text(&problem["kind"]),
        problem["position"]
    );
    Err(Failure::new(CliCode::AuditDamaged, message).details(found.clone()))
}

fn open(path: &Path) -> Result<BufReader<File>, Failure> {
    File::open(path)
        .map(BufReader::new)
        .map_err(|error| Failure::new(Code::FileNotFound, format!("cannot read {}: {error}", path.display())))
}

fn damaged(path: &Path, problem: &str) -> Failure {
    Failure::new(CliCode::AuditDamaged, format!("{} is damaged: {problem}", path.display()))
}

fn public_key(path: &Path) -> Result<VerifyingKey, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(Code::FileNotFound, format!("cannot read {}: {error}", path.display())))?;
    let mut bytes = [0; 32];
    let key = match hex::decode_to_slice(text.trim(), &mut bytes) {
        Ok(()) => VerifyingKey::from_bytes(&bytes).ok(),
        Err(_) => VerifyingKey::from_public_key_pem(&text).ok(),
    };
    key.ok_or_else(|| Failure::new(Code::Validation, format!("{} holds no Ed25519 public key", path.display())))
}
