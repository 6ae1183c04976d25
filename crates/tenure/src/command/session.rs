//! `tenure session`: sessions, from their beginning to their end and what is known of them afterwards.

use super::session_create::{self, CreateArgs};
use super::show::{Column, Show, text};
use crate::client::Client;
use crate::failure::Failure;
use serde_json::{Value, json};
use std::time::Duration;

/// Subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a session, and print its ID
    Create(Box<CreateArgs>),
    /// List sessions
    List(ListArgs),
    /// Show a session
    Get(ReadArgs),
    /// Show what its user sees of it: where it is, and how long it lives
    Status(ReadArgs),
    /// Say why it is alive, or why it ended, and by what evidence
    Explain(ReadArgs),
    /// List its audit
    Audit(AuditArgs),
    /// Follow its status until it ends
    Events(ReadArgs),
    /// Freeze everything in it
    Pause(One),
    /// Thaw it
    Resume(One),
    /// End it
    Terminate(TerminateArgs),
    /// Delete it, ending it first
    Delete(One),
    /// Bring it back after it was deleted
    Undelete(One),
    /// Give it more time
    Extend {
        /// The session's ID
        session: String,
        /// How much, as in 30m
        #[arg(long, value_name = "TIME", value_parser = super::run::parse_time)]
        by: Duration,
    },
    /// Move it to another state
    Transition {
        /// The session's ID
        session: String,
        /// paused, ready, running or terminated
        #[arg(long, value_name = "STATE")]
        to: String,
        /// Why, where it is the end
        #[arg(long)]
        reason: Option<String>,
    },
}

/// A session.
#[derive(Debug, clap::Args)]
pub struct One {
    /// The session's ID
    session: String,
}

/// A session that is read.
#[derive(Debug, clap::Args)]
pub struct ReadArgs {
    /// The session's ID
    session: String,
    /// Also where it was deleted
    #[arg(long)]
    include_deleted: bool,
}

/// Which page of a list.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PageArgs {
    /// Most items of one page
    #[arg(long, value_name = "COUNT")]
    limit: Option<u32>,
    /// Where to go on, as the page before said
    #[arg(long)]
    cursor: Option<String>,
    /// Every page
    #[arg(long)]
    all: bool,
}

impl PageArgs {
    /// Whether every page is wanted.
    pub fn all(&self) -> bool {
        self.all
    }

    /// As parameters.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let limit = self.limit.map(|limit| ("limit", limit.to_string()));
        limit.into_iter().chain(self.cursor.clone().map(|cursor| ("cursor", cursor))).collect()
    }
}

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    page: PageArgs,
}

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Those in this state, as in running
    #[arg(long)]
    state: Option<String>,
    /// Those in this phase, as in ACTIVE
    #[arg(long)]
    phase: Option<String>,
    /// Those of this user
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// Those of this template
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// Those with these words about them
    #[arg(long, value_name = "KEY:VALUE")]
    metadata: Vec<String>,
    /// Deleted ones, too
    #[arg(long)]
    include_deleted: bool,
    #[command(flatten)]
    page: PageArgs,
}

/// Arguments of `terminate`.
#[derive(Debug, clap::Args)]
pub struct TerminateArgs {
    /// The session's ID
    session: String,
    /// user_request, completed, or for administrators admin_request
    #[arg(long)]
    reason: Option<String>,
    /// Whatever else is to be remembered
    #[arg(long, value_name = "TEXT")]
    detail: Option<String>,
}

const LIST: &[Column] = &[
    ("ID", "id"),
    ("OWNER", "owner"),
    ("TEMPLATE", "template"),
    ("STATE", "state"),
    ("CREATED", "created_at"),
    ("EXPIRES", "expires_at"),
    ("ENDED FOR", "termination_reason"),
];

/// The columns of an audit.
pub const AUDIT: &[Column] = &[
    ("SEQ", "seq"),
    ("AT", "at"),
    ("ACTOR", "actor"),
    ("ACTION", "action"),
    ("FROM", "old_state"),
    ("TO", "new_state"),
    ("TRIGGER", "trigger"),
    ("REASON", "reason"),
];

/// Runs one of them.
pub async fn run(client: &Client, show: Show, command: Command) -> Result<u8, Failure> {
    match command {
        Command::Create(args) => session_create::run(client, show, *args).await?,
        Command::List(args) => list(client, show, args).await?,
        Command::Get(args) => show.record(&read(client, &args, None).await?)?,
        Command::Status(args) => show.record(&read(client, &args, Some("status")).await?)?,
        Command::Explain(args) => explain(show, &read(client, &args, Some("explain")).await?)?,
        Command::Audit(args) => audit(client, show, &args).await?,
        Command::Events(args) => events(client, show, &args).await?,
        Command::Pause(one) => act(client, show, &one.session, "pause", Value::Null).await?,
        Command::Resume(one) => act(client, show, &one.session, "resume", Value::Null).await?,
        Command::Terminate(TerminateArgs { session, reason, detail }) => {
            act(client, show, &session, "terminate", given(json!({ "reason": reason, "detail": detail }))).await?;
        }
        Command::Delete(one) => {
            let deleted = client.delete(&["sessions", &one.session], &[]).await?;
            moved(show, &one.session, &deleted)?;
        }
        Command::Undelete(one) => act(client, show, &one.session, "undelete", Value::Null).await?,
        Command::Extend { session, by } => {
            act(client, show, &session, "extend", json!({ "by_ms": by.as_millis() as u64 })).await?;
        }
        Command::Transition { session, to, reason } => {
            act(client, show, &session, "transition", given(json!({ "to": to, "reason": reason }))).await?;
        }
    }
    Ok(0)
}

/// An object without what was not given.
pub fn given(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    value
}

async fn act(client: &Client, show: Show, session: &str, what: &str, body: Value) -> Result<(), Failure> {
    let answer = client.post(&["sessions", session, what], &body).await?;
    moved(show, session, &answer)
}

/// Where a session is now.
fn moved(show: Show, session: &str, answer: &Value) -> Result<(), Failure> {
    let mut line = format!("{session} {}", text(&answer["state"]));
    if let Some(reason) = answer["termination_reason"].as_str() {
        line += &format!(" ({reason})");
    }
    if answer["deleted_at"].is_string() {
        line += ", deleted";
    } else if let Some(at) = answer["expires_at"].as_str() {
        line += &format!(", until {at}");
    }
    show.line(answer, &line)
}

async fn read(client: &Client, args: &ReadArgs, what: Option<&str>) -> Result<Value, Failure> {
    let mut path = vec!["sessions", args.session.as_str()];
    path.extend(what);
    client.get(&path, deleted(args.include_deleted)).await
}

fn deleted(include: bool) -> &'static [(&'static str, &'static str)] {
    if include { &[("include_deleted", "true")] } else { &[] }
}

async fn list(client: &Client, show: Show, args: ListArgs) -> Result<(), Failure> {
    let mut query = args.page.parameters();
    let filters = [("state", args.state), ("phase", args.phase), ("owner", args.owner), ("template", args.template)];
    query.extend(filters.into_iter().filter_map(|(name, value)| Some((name, value?))));
    query.extend(args.metadata.into_iter().map(|word| ("metadata", word)));
    if args.include_deleted {
        query.push(("include_deleted", "true".into()));
    }
    let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    show.list(&client.list(&["sessions"], &query, args.page.all()).await?, LIST)
}

async fn audit(client: &Client, show: Show, args: &AuditArgs) -> Result<(), Failure> {
    let parameters = args.page.parameters();
    let mut query: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    query.extend(deleted(args.read.include_deleted));
    show.list(&client.list(&["sessions", &args.read.session, "audit"], &query, args.page.all()).await?, AUDIT)
}

fn explain(show: Show, explanation: &Value) -> Result<(), Failure> {
    if show.json {
        return show.raw(explanation);
    }
    show.line(explanation, &text(&explanation["summary"]))?;
    show.record(&json!({ "evidence": explanation["evidence"], "ends_first": explanation["ends_first"], "ended": explanation["ended"] }))
}

async fn events(client: &Client, show: Show, args: &ReadArgs) -> Result<(), Failure> {
    let path = ["sessions", args.session.as_str(), "events"];
    let request = client.request(reqwest::Method::GET, &path, deleted(args.include_deleted))?;
    let mut events = client.events(request).await?;
    while let Some(event) = events.next().await? {
        let Value::Object(_) = &event.data else { continue };
        let line = format!("{:12} {}", text(&event.data["display_state"]), text(&event.data["message"]));
        show.line(&event.data, &line)?;
    }
    Ok(())
}
