//! The first break of the line, and what the entries after it tell about it.
//!
//! ```text
//!   n-1 ──╳── n ── n+1      n+1 follows n-1          n was put in
//!                           n+1 follows n's hash      n's line hash was changed, nothing else
//!                           n+1 follows n's line hash n is as it was: n-1 is not, or one between them is gone;
//!                                                     the next entry in the chain of n-1, or of the one that is gone, tells
//! ```

use super::problem::{Problem, ProblemKind};
use super::verify::ChainEnd;
use super::{AuditEntry, line_hash};
use tenure_digest::Sha256Digest;
use tenure_session::SessionId;

/// Where the line broke.
pub(super) struct Seam {
    problem: Problem,
    next: Next,
    /// What a chain says of it, should the entry at the break be as it was.
    by_chain: Option<(u64, ProblemKind)>,
    session_before: Option<SessionId>,
}

/// Whether the entry after the break was looked at.
#[derive(Clone, Copy)]
enum Next {
    /// Not yet: the line hash before the break, and the two that may be the one at it.
    Awaited { before: Sha256Digest, through: Option<Sha256Digest>, stored: Option<Sha256Digest> },
    /// It says that the entry at the break is as it was.
    Innocent,
    /// It said what it is, or nothing.
    Told,
}

impl Seam {
    /// The line, which was `line` before, broke at this entry in this way.
    pub(super) fn new(
        position: u64,
        kind: ProblemKind,
        line: Sha256Digest,
        entry: &AuditEntry,
        own: Option<Sha256Digest>,
        before: &ChainEnd,
    ) -> Seam {
        // Whose entry was removed is not known by the one that stands there now.
        let session_id = entry.session_id.clone().filter(|_| kind != ProblemKind::Removed);
        let next = Next::Awaited {
            before: line,
            through: own.map(|own| line_hash(line, own)),
            stored: entry.line_hash.parse().ok(),
        };
        let problem = Problem { position, kind, session_id };
        let mut seam = Seam { problem, next, by_chain: None, session_before: None };
        seam.ask_chain(entry, own, before);
        seam
    }

    /// Takes an entry after the break.
    pub(super) fn explain(&mut self, entry: &AuditEntry, own: Option<Sha256Digest>, before: &ChainEnd) {
        if self.problem.kind == ProblemKind::Removed && entry.position == self.problem.position {
            self.problem.kind = ProblemKind::OutOfOrder;
            self.problem.session_id = entry.session_id.clone();
        }
        self.ask_next(entry, own);
        self.ask_chain(entry, own, before);
    }

    /// What is known at the end.
    pub(super) fn problem(self) -> Problem {
        match (self.next, self.by_chain) {
            (Next::Innocent, Some((position, kind))) => Problem { position, kind, session_id: self.session_before },
            (Next::Innocent | Next::Told | Next::Awaited { .. }, _) => self.problem,
        }
    }

    fn ask_next(&mut self, entry: &AuditEntry, own: Option<Sha256Digest>) {
        let Next::Awaited { before, through, stored } = self.next else {
            return;
        };
        self.next = Next::Told;
        let follows = |line: Sha256Digest| own.is_some_and(|own| line_hash(line, own).to_string() == entry.line_hash);
        let open = matches!(self.problem.kind, ProblemKind::Unlinked | ProblemKind::Changed);
        if open && follows(before) {
            self.problem.kind = ProblemKind::Inserted;
        } else if self.problem.kind == ProblemKind::Unlinked && through.is_some_and(follows) {
            self.problem.kind = ProblemKind::Changed;
        } else if self.problem.kind == ProblemKind::Unlinked && stored.is_some_and(follows) {
            self.next = Next::Innocent;
        }
    }

    /// The first thing that a chain says of the break counts.
    fn ask_chain(&mut self, entry: &AuditEntry, own: Option<Sha256Digest>, before: &ChainEnd) {
        if own.is_none() || self.by_chain.is_some() {
            return;
        }
        let place = self.problem.position;
        let ends_before_it = before.position + 1 == place;
        if entry.seq > before.seq + 1 {
            self.by_chain = Some((place, ProblemKind::Removed));
        } else if ends_before_it && entry.seq <= before.seq {
            self.by_chain = Some((place - 1, ProblemKind::Inserted));
        } else if ends_before_it && entry.prev_hash != before.hash.to_string() {
            self.by_chain = Some((place - 1, ProblemKind::Changed));
        }
        self.session_before = self.by_chain.and_then(|(at, _)| entry.session_id.clone().filter(|_| at < place));
    }
}
