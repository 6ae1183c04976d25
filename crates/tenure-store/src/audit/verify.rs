//! Reads the audit again, and names the first place where it is not as it was written (TR-5).
//!
//! The line says where: each position's line hash follows from the one before it. The chains say what: by the numbers and hashes that later entries of
//! the same chain hold, an entry that was rewritten, removed or put in can be told from its neighbor. Whoever holds the store can make all hashes anew;
//! then only a signed head shows it.

use super::problem::{Problem, ProblemKind};
use super::seam::Seam;
use super::{AuditEntry, SignedHead, entry_hash, head_signature_holds, line_hash, metadata_hash};
use ed25519_dalek::VerifyingKey;
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use tenure_digest::Sha256Digest;
use tenure_session::SessionId;

/// What a whole reading found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// How many entries were read.
    pub entries: u64,
    /// How many chains they are in.
    pub chains: u64,
    /// How many heads were compared with the line and agree. Without a key their signatures were not looked at.
    pub heads_checked: u64,
    /// The first problem; `None` where all holds.
    pub problem: Option<Problem>,
}

/// Verifies a whole log.
pub fn verify<'a>(
    key: Option<VerifyingKey>,
    heads: &[SignedHead],
    entries: impl IntoIterator<Item = &'a AuditEntry>,
) -> Verification {
    let mut verifier = Verifier::new(key);
    heads.iter().for_each(|head| verifier.head(head));
    entries.into_iter().for_each(|entry| verifier.entry(entry));
    verifier.finish()
}

/// Verifies a log while it is read from its beginning: first its heads, then its entries in the order in which they are listed. Keeps one small record
/// for each head and each chain. Heads that are read before the entries never name what the entries do not have, also while the log grows.
pub struct Verifier {
    key: Option<VerifyingKey>,
    heads: BTreeSet<(u64, String)>,
    heads_checked: u64,
    entries: u64,
    line: Sha256Digest,
    chains: HashMap<Option<SessionId>, ChainEnd>,
    seam: Option<Seam>,
    problem: Option<Problem>,
}

/// The end of one chain, as far as it was read.
#[derive(Clone, Copy, Default)]
pub(super) struct ChainEnd {
    pub(super) seq: u64,
    pub(super) hash: Sha256Digest,
    pub(super) position: u64,
}

impl Verifier {
    /// Begins. Without a key, heads are compared with the line and their signatures are not looked at.
    pub fn new(key: Option<VerifyingKey>) -> Verifier {
        Verifier {
            key,
            heads: BTreeSet::new(),
            heads_checked: 0,
            entries: 0,
            line: Sha256Digest::default(),
            chains: HashMap::new(),
            seam: None,
            problem: None,
        }
    }

    /// Takes a head, from the store or from the file outside it. All of them before the first entry; one that is given twice counts once.
    pub fn head(&mut self, head: &SignedHead) {
        debug_assert_eq!(self.entries, 0, "heads come before entries");
        if self.key.as_ref().is_none_or(|key| head_signature_holds(key, head)) {
            self.heads.insert((head.position, head.line_hash.clone()));
            // The line may have been signed before it had an entry.
            self.check_heads_at(0);
        } else {
            self.note(Problem { position: head.position, kind: ProblemKind::BadSignature, session_id: None });
        }
    }

    /// Takes the next entry.
    pub fn entry(&mut self, entry: &AuditEntry) {
        let expected = self.entries + 1;
        self.entries = expected;
        let own = entry_hash(entry).ok().filter(|hash| hash.to_string() == entry.hash);
        let before = self.chains.get(&entry.session_id).copied().unwrap_or_default();
        if let Some(seam) = &mut self.seam {
            seam.explain(entry, own, &before);
        } else if let Some(kind) = self.problem_at(expected, entry, own, &before) {
            self.seam = Some(Seam::new(expected, kind, self.line, entry, own, &before));
        } else {
            self.line = line_hash(self.line, own.unwrap_or_default());
            self.check_heads_at(expected);
        }
        let end = ChainEnd { seq: entry.seq, hash: own.unwrap_or_default(), position: expected };
        self.chains.insert(entry.session_id.clone(), end);
    }

    /// What was found. Heads that name positions after the last entry show a missing tail.
    pub fn finish(mut self) -> Verification {
        if let Some(seam) = self.seam.take() {
            self.note(seam.problem());
        } else if self.heads.last().is_some_and(|(position, _)| *position > self.entries) {
            self.note(Problem { position: self.entries + 1, kind: ProblemKind::MissingTail, session_id: None });
        }
        Verification {
            entries: self.entries,
            chains: self.chains.len() as u64,
            heads_checked: self.heads_checked,
            problem: self.problem,
        }
    }

    fn problem_at(
        &self,
        expected: u64,
        entry: &AuditEntry,
        own: Option<Sha256Digest>,
        before: &ChainEnd,
    ) -> Option<ProblemKind> {
        let follows = own.is_some_and(|own| line_hash(self.line, own).to_string() == entry.line_hash);
        match (follows, entry.position.cmp(&expected)) {
            (false, Ordering::Greater) => Some(ProblemKind::Removed),
            (false, Ordering::Less) => Some(ProblemKind::Inserted),
            (false, Ordering::Equal) if own.is_none() => Some(ProblemKind::Changed),
            (false, Ordering::Equal) if entry.seq > before.seq + 1 => Some(ProblemKind::Removed),
            (false, Ordering::Equal) => Some(ProblemKind::Unlinked),
            (true, Ordering::Greater | Ordering::Less) => Some(ProblemKind::Changed),
            (true, Ordering::Equal) => metadata_changed(entry).or_else(|| problem_in_chain(entry, before)),
        }
    }

    fn check_heads_at(&mut self, position: u64) {
        let line = self.line.to_string();
        while self.heads.first().is_some_and(|(at, _)| *at <= position) {
            match self.heads.pop_first() {
                Some((at, signed)) if at == position && signed == line => self.heads_checked += 1,
                Some((at, _)) => self.note(Problem { position: at, kind: ProblemKind::OtherLine, session_id: None }),
                None => {}
            }
        }
    }

    fn note(&mut self, problem: Problem) {
        if self.problem.as_ref().is_none_or(|first| problem.position < first.position) {
            self.problem = Some(problem);
        }
    }
}

fn metadata_changed(entry: &AuditEntry) -> Option<ProblemKind> {
    let metadata = entry.metadata.as_ref()?;
    let holds = metadata_hash(metadata).is_ok_and(|hash| hash.to_string() == entry.metadata_hash);
    (!holds).then_some(ProblemKind::MetadataChanged)
}

/// The line holds at this entry. If its chain does not, the line was made anew after a change.
fn problem_in_chain(entry: &AuditEntry, before: &ChainEnd) -> Option<ProblemKind> {
    match entry.seq.cmp(&(before.seq + 1)) {
        Ordering::Greater => Some(ProblemKind::Removed),
        Ordering::Less => Some(ProblemKind::Inserted),
        Ordering::Equal => (entry.prev_hash != before.hash.to_string()).then_some(ProblemKind::Unlinked),
    }
}
