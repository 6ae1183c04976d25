//! What a client knows of its sessions: what was acknowledged is certain, what broke off is one of several things.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Whether something was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// It was not.
    No,
    /// The answer broke off.
    Perhaps,
    /// It was acknowledged.
    Yes,
}

/// How a session ended: written once, and never anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// `terminated_at`.
    pub at: String,
    /// `termination_reason`.
    pub reason: String,
}

impl End {
    /// What a session or a problem says of it.
    pub fn of(body: &Value) -> Option<End> {
        let text = |names: [&str; 2]| names.iter().find_map(|name| body[*name].as_str()).map(str::to_owned);
        Some(End { at: text(["terminated_at", "terminated_at"])?, reason: text(["termination_reason", "reason"])? })
    }
}

/// A limit that ends a session soon, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Soon {
    /// Its lifetime is short.
    Lifetime,
    /// It may not be idle for long. Nobody visits it once it is at work, but to look at it.
    Idle,
}

/// How far a program counts that does not end by itself.
pub const ENDLESS: u64 = 1_000_000;

/// What a program is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Exits with this code.
    Exits(i64),
    /// Counts up to this number in the background, one line for each.
    Counts(u64),
    /// Prints in the background what it is fed, until its input ends.
    Repeats,
}

/// How a program ended, as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// `exited`, `killed`, `failed` or `unknown`.
    pub state: String,
    /// Only where it exited.
    pub exit_code: Option<i64>,
    /// Where the answer told it.
    pub ended_at: Option<String>,
}

/// A program that was asked for.
#[derive(Debug, Clone)]
pub struct Exec {
    /// By which it is known in the ledger.
    pub tag: String,
    /// `Idempotency-Key`.
    pub key: Option<String>,
    /// What it does.
    pub program: Program,
    /// Whether the server said that it has it.
    pub asked: Certainty,
    /// Its ID, where that was told.
    pub id: Option<String>,
    /// How it ended, once that was told.
    pub outcome: Option<Outcome>,
    /// How many whole lines were seen of it.
    pub lines: u64,
    /// Whether the unanswered request is to be sent again under its key.
    pub again: bool,
    /// The lines that it was fed, in their order.
    pub fed: Vec<(String, Certainty)>,
    /// Whether its input was ended.
    pub closed: Certainty,
}

impl Exec {
    /// One that nobody asked for yet.
    pub fn new(tag: String, key: Option<String>, program: Program) -> Exec {
        let again = key.is_some();
        let (asked, closed) = (Certainty::Perhaps, Certainty::No);
        Exec { tag, key, program, asked, id: None, outcome: None, lines: 0, again, fed: Vec::new(), closed }
    }

    /// The request's body.
    pub fn body(&self) -> Value {
        let tag = &self.tag;
        // The program itself says that it ran, in a file that outlives every connection.
        let script = match self.program {
            Program::Exits(code) => format!("echo {tag} >>/workspace/done; echo {tag}; exit {code}"),
            Program::Counts(to) => format!(
                "echo {tag} >>/workspace/done; i=0; while [ $i -lt {to} ]; do i=$((i+1)); echo $i; sleep 0.05; done"
            ),
            Program::Repeats => format!("echo {tag} >>/workspace/done; exec cat"),
        };
        let background = !matches!(self.program, Program::Exits(_));
        json!({ "cmd": ["sh", "-c", script], "tag": tag, "background": background })
    }

    /// The code that it exits with by itself.
    pub fn code(&self) -> i64 {
        match self.program {
            Program::Exits(code) => code,
            Program::Counts(_) | Program::Repeats => 0,
        }
    }
}

/// A terminal, and what was typed in it.
#[derive(Debug, Clone)]
pub struct Typed {
    /// By which it is found again.
    pub exec_id: String,
    /// The words, in their order: certain once they were echoed and printed.
    pub words: Vec<(String, Certainty)>,
}

/// What is known of a session's lease.
#[derive(Debug, Clone, Default)]
pub struct Hold {
    /// The highest token that was ever told.
    pub token_last: u64,
    /// The token of the holder, where there is one.
    pub held: Option<u64>,
    /// When it runs out, as it was told last: never earlier.
    pub expires_at: String,
    /// Whether an answer broke off that would have said who holds it.
    pub unsure: bool,
}

/// A session that was acknowledged, or found to have been made.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its ID.
    pub id: String,
    /// By which it is found in the list.
    pub tag: String,
    /// Under which key it was asked for, and with what.
    pub asked: Option<(String, Value)>,
    /// The limit that ends it soon, where one does.
    pub soon: Option<Soon>,
    /// The states it may be in, while it lives.
    pub states: BTreeSet<String>,
    /// Why it may end, or have ended, without that having been acknowledged.
    pub reasons: BTreeSet<&'static str>,
    /// How it ended, once that was told.
    pub end: Option<End>,
    /// Whether it was deleted.
    pub deleted: Certainty,
    /// What each file may hold; nothing where it may not be there.
    pub files: BTreeMap<String, Vec<Option<Vec<u8>>>>,
    /// What was run in it.
    pub execs: Vec<Exec>,
    /// Its registered ports.
    pub previews: BTreeMap<u16, Certainty>,
    /// Who holds it.
    pub hold: Hold,
    /// When its lifetime ends, where that was told; and whether more time was asked for without an answer.
    pub expires_at: Option<(String, Certainty)>,
    /// Its terminal.
    pub terminal: Option<Typed>,
    /// Terminals that may have been opened without an answer.
    pub terminals_perhaps: usize,
    /// Whether the disk was full while it lived, so that output may be cut.
    pub cut: bool,
    /// How often it was looked at since it ended.
    pub looks: u32,
}

impl Session {
    /// One that is there, and of which nothing else is known.
    pub fn new(id: &str, tag: &str, soon: Option<Soon>) -> Session {
        Session {
            id: id.to_owned(),
            tag: tag.to_owned(),
            asked: None,
            soon,
            states: BTreeSet::from(["ready".to_owned()]),
            reasons: BTreeSet::new(),
            end: None,
            deleted: Certainty::No,
            files: BTreeMap::new(),
            execs: Vec::new(),
            previews: BTreeMap::new(),
            hold: Hold::default(),
            expires_at: None,
            terminal: None,
            terminals_perhaps: 0,
            cut: false,
            looks: 0,
        }
    }

    /// Whether it lives, for all that is known.
    pub fn lives(&self) -> bool {
        self.end.is_none() && self.deleted == Certainty::No
    }

    /// Whether it may be paused.
    pub fn may_be(&self, state: &str) -> bool {
        self.states.contains(state)
    }

    /// It is in this state now, which was acknowledged.
    pub fn is(&mut self, state: &str) {
        self.states = BTreeSet::from([state.to_owned()]);
    }

    /// Whether it may have ended for this reason.
    pub fn may_end(&self, reason: &str) -> bool {
        let by_itself = match self.soon {
            Some(Soon::Lifetime) => reason == "max_lifetime",
            Some(Soon::Idle) => reason == "idle_timeout" && !self.is_at_work(),
            None => false,
        };
        by_itself || self.reasons.contains(reason)
    }

    /// Whether it has ended, or may have ended since it was looked at: at the end of a short life its programs go a moment before it does.
    pub fn may_be_over(&self) -> bool {
        self.end.is_some() || self.soon == Some(Soon::Lifetime)
    }

    /// Whether a program was acknowledged that runs until somebody ends it.
    fn is_at_work(&self) -> bool {
        let endless = |exec: &Exec| exec.program == Program::Counts(ENDLESS) && exec.asked == Certainty::Yes;
        self.execs.iter().any(|exec| endless(exec) && exec.outcome.is_none())
    }

    /// Programs in the background that may run.
    pub fn counting(&self) -> usize {
        let counts = |exec: &&Exec| !matches!(exec.program, Program::Exits(_)) && exec.outcome.is_none();
        self.execs.iter().filter(counts).count()
    }
}

/// A session that was asked for, and nobody knows whether it was made.
#[derive(Debug, Clone)]
pub struct Creating {
    /// By which it is found in the list.
    pub tag: String,
    /// Under which key it is asked for again.
    pub key: Option<String>,
    /// With what.
    pub body: Value,
    /// The limit that ends it soon, where one does.
    pub soon: Option<Soon>,
}

/// An API key.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its name.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// Whether it was revoked.
    pub revoked: Certainty,
}
