//! Tests of the chains, the heads and their files.

use super::log::{LogError, line, read_entries, read_heads};
use super::*;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use serde_json::json;
use std::collections::HashMap;
use tenure_digest::Sha256Digest;

const CHAINS: u8 = 4;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn session(chain: u8) -> Option<SessionId> {
    (chain > 0).then(|| SessionId::new(Timestamp::from_ms(0), [0, 0, 0, chain]))
}

fn draft(chain: u8, n: u64) -> AuditDraft {
    AuditDraft {
        session_id: session(chain),
        at: Timestamp::from_ms(n as i64 * 1000),
        old_state: Some(State::Ready),
        new_state: Some(State::Running),
        trigger: Trigger::UserAction,
        actor: "user:alice".into(),
        action: "exec".into(),
        reason: Some(format!("number {n}")),
        metadata: json!({"n": n, "share": n as f64 / 3.0, "name": "\u{e9}\u{1F600}"}),
    }
}

/// Makes all hashes of these entries anew, and their numbers, as somebody can who holds the store.
fn seal_all(drafts: impl IntoIterator<Item = AuditDraft>) -> Vec<AuditEntry> {
    let mut ends: HashMap<Option<SessionId>, (u64, Sha256Digest)> = HashMap::new();
    let mut last = Sha256Digest::default();
    let mut entries = Vec::new();
    for draft in drafts {
        let end = ends.entry(draft.session_id.clone()).or_default();
        let entry = seal(draft, end.0 + 1, entries.len() as u64 + 1, end.1, last).unwrap();
        *end = (entry.seq, entry.hash.parse().unwrap());
        last = entry.line_hash.parse().unwrap();
        entries.push(entry);
    }
    entries
}

fn log_of(chains: &[u8]) -> Vec<AuditEntry> {
    seal_all(chains.iter().zip(1..).map(|(chain, n)| draft(*chain, n)))
}

fn head_at(entries: &[AuditEntry], position: usize) -> SignedHead {
    sign_head(&key(), position as u64, entries[position - 1].line_hash.parse().unwrap(), Timestamp::from_ms(5))
}

fn check(entries: &[AuditEntry], heads: &[SignedHead]) -> Option<(u64, ProblemKind)> {
    let verification = verify(Some(key().verifying_key()), heads, entries);
    assert_eq!(verification.entries, entries.len() as u64);
    verification.problem.map(|problem| (problem.position, problem.kind))
}

fn place(problem: Option<(u64, ProblemKind)>) -> Option<usize> {
    problem.map(|(position, _)| position as usize)
}

fn renumber(entries: &mut [AuditEntry]) {
    entries.iter_mut().zip(1..).for_each(|(entry, n)| entry.position = n);
}

/// Another entry in its place that bears the hashes that belong to it, as seen from what stands before it.
fn forge(entry: &mut AuditEntry, line_before: Sha256Digest) {
    entry.action = "forged".into();
    let hash = entry_hash(entry).unwrap();
    entry.hash = hash.to_string();
    entry.line_hash = line_hash(line_before, hash).to_string();
}

fn line_before(entries: &[AuditEntry], at: usize) -> Sha256Digest {
    at.checked_sub(1).map_or_else(Sha256Digest::default, |before| entries[before].line_hash.parse().unwrap())
}

/// Every way to change one entry without touching another.
fn change(entry: &mut AuditEntry, which: usize) {
    match which {
        0 => entry.session_id = Some(SessionId::new(Timestamp::from_ms(0), [9; 4])),
        1 => entry.at = entry.at.plus_ms(1),
        2 => entry.old_state = None,
        3 => entry.new_state = Some(State::Failed),
        4 => entry.trigger = Trigger::Error,
        5 => entry.actor.push('x'),
        6 => entry.action.push('x'),
        7 => entry.reason = None,
        8 => entry.metadata = Some(json!({"n": "other"})),
        9 => entry.metadata_hash = Sha256Digest([1; 32]).to_string(),
        10 => entry.hash = Sha256Digest([1; 32]).to_string(),
        11 => entry.prev_hash = Sha256Digest([1; 32]).to_string(),
        12 => entry.line_hash = Sha256Digest([1; 32]).to_string(),
        13 => entry.seq += 1,
        14 => entry.position += 1_000_000,
        15 => {
            entry.action.push('x');
            entry.hash = entry_hash(entry).unwrap().to_string();
        }
        _ => {
            entry.metadata = Some(json!({}));
            entry.metadata_hash = metadata_hash(&json!({})).unwrap().to_string();
        }
    }
}
const CHANGES: usize = 17;

fn chains_and_place() -> impl Strategy<Value = (Vec<u8>, usize)> {
    prop::collection::vec(0..CHAINS, 1..14).prop_flat_map(|chains| {
        let len = chains.len();
        (Just(chains), 0..len)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// TR-5
    #[test]
    fn what_was_written_holds_also_with_erased_metadata(chains in prop::collection::vec(0..CHAINS, 0..12), erased: u64) {
        let mut entries = log_of(&chains);
        let heads: Vec<_> = (1..=entries.len()).map(|position| head_at(&entries, position)).collect();
        for entry in &mut entries {
            if erased >> entry.position & 1 == 1 {
                entry.metadata = None;
            }
        }
        let mut twice = heads.clone();
        twice.extend(heads);
        let found = verify(Some(key().verifying_key()), &twice, &entries);
        prop_assert_eq!(found.problem, None);
        prop_assert_eq!(found.heads_checked, entries.len() as u64);
        prop_assert_eq!(found.chains as usize, chains.iter().collect::<std::collections::HashSet<_>>().len());
    }

    /// TR-5
    #[test]
    fn a_changed_entry_is_named((chains, at) in chains_and_place(), which in 0..CHANGES) {
        let mut entries = log_of(&chains);
        change(&mut entries[at], which);
        prop_assert_eq!(place(check(&entries, &[])), Some(at + 1));
    }

    /// TR-5
    #[test]
    fn an_entry_that_was_rewritten_with_its_hashes_is_named((chains, at) in chains_and_place()) {
        let mut entries = log_of(&chains);
        let head = head_at(&entries, entries.len());
        let before = line_before(&entries, at);
        forge(&mut entries[at], before);
        // Where no later entry is in its chain, it cannot be told from the one after it.
        let last_of_chain = !chains[at + 1..].contains(&chains[at]);
        let expected = if last_of_chain && at + 1 < chains.len() { at + 2 } else { at + 1 };
        // The last but one needs a second entry after it, which tells that the first of them is as it was.
        let named = place(check(&entries, &[head]));
        if at + 2 == chains.len() {
            prop_assert!(named == Some(at + 1) || named == Some(at + 2));
        } else {
            prop_assert_eq!(named, Some(expected));
        }
    }

    /// TR-5
    #[test]
    fn a_removed_entry_is_named((chains, at) in chains_and_place(), renumbered: bool) {
        let mut entries = log_of(&chains);
        let head = head_at(&entries, entries.len());
        entries.remove(at);
        if renumbered {
            renumber(&mut entries);
        }
        prop_assert_eq!(place(check(&entries, &[head])), Some(at + 1));
    }

    /// TR-5
    #[test]
    fn an_inserted_entry_is_named((chains, at) in chains_and_place(), copied: prop::sample::Index, hashed: bool, renumbered: bool) {
        let mut entries = log_of(&chains);
        let mut inserted = entries[copied.index(entries.len())].clone();
        inserted.position = at as u64 + 1;
        if hashed {
            inserted.action = "forged".into();
            inserted.hash = entry_hash(&inserted).unwrap().to_string();
        }
        // A copy of the entry that stands there is in its place; the one after it is the one too many.
        let same = !hashed && inserted == entries[at];
        entries.insert(at, inserted);
        if renumbered {
            renumber(&mut entries);
        }
        prop_assert_eq!(place(check(&entries, &[])), Some(if same { at + 2 } else { at + 1 }));
    }

    /// TR-5
    #[test]
    fn swapped_entries_are_named_at_the_first((chains, at) in chains_and_place(), other: prop::sample::Index, renumbered: bool) {
        let mut entries = log_of(&chains);
        let other = other.index(entries.len());
        prop_assume!(other != at);
        entries.swap(at, other);
        if renumbered {
            renumber(&mut entries);
        }
        let found = check(&entries, &[]);
        prop_assert_eq!(place(found), Some(at.min(other) + 1));
        if !renumbered {
            prop_assert_eq!(found.unwrap().1, ProblemKind::OutOfOrder);
        }
    }

    /// TR-5
    #[test]
    fn a_tail_cut_off_is_named_by_the_heads_outside((chains, at) in chains_and_place()) {
        let entries = log_of(&chains);
        let outside = head_at(&entries, entries.len());
        let inside: Vec<_> = (1..=at).map(|position| head_at(&entries, position)).collect();
        let kept = &entries[..at];
        prop_assert_eq!(check(kept, &inside), None);
        let heads: Vec<_> = inside.into_iter().chain([outside]).collect();
        prop_assert_eq!(check(kept, &heads), Some((at as u64 + 1, ProblemKind::MissingTail)));
    }

    /// TR-5
    #[test]
    fn a_log_made_anew_from_some_entry_on_is_named_by_the_next_head((chains, at) in chains_and_place(), next: prop::sample::Index) {
        let entries = log_of(&chains);
        let heads: Vec<_> = (1..=entries.len()).map(|position| head_at(&entries, position)).collect();
        let next = at + next.index(entries.len() - at);
        let mut drafts: Vec<_> = chains.iter().zip(1..).map(|(chain, n)| draft(*chain, n)).collect();
        drafts[at].actor = "user:mallory".into();
        let anew = seal_all(drafts);
        prop_assert_eq!(check(&anew, &[]), None);
        let heads: Vec<_> = heads[..at].iter().chain([&heads[next]]).cloned().collect();
        prop_assert_eq!(check(&anew, &heads), Some((next as u64 + 1, ProblemKind::OtherLine)));
    }

    /// TR-5
    #[test]
    fn a_log_and_its_heads_are_the_same_after_a_file(chains in prop::collection::vec(0..CHAINS, 0..12)) {
        let entries = log_of(&chains);
        let heads: Vec<_> = (1..=entries.len()).map(|position| head_at(&entries, position)).collect();
        let log: Vec<u8> = entries.iter().flat_map(|entry| line(entry).unwrap()).collect();
        let file: Vec<u8> = heads.iter().flat_map(|head| line(head).unwrap()).collect();
        let read: Vec<_> = read_entries(log.as_slice()).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(&read, &entries);
        let read_file = read_heads(file.as_slice()).unwrap();
        prop_assert_eq!(&read_file.heads, &heads);
        prop_assert_eq!(check(&read, &read_file.heads), None);
    }
}

/// TR-5
#[test]
fn problems_say_what_was_done() {
    use ProblemKind::*;
    let entries = log_of(&[1, 0, 1, 2, 1, 2, 0, 1]);
    let after = |tamper: &dyn Fn(&mut Vec<AuditEntry>)| {
        let mut entries = entries.clone();
        tamper(&mut entries);
        check(&entries, &[])
    };
    assert_eq!(after(&|e| e[2].action.push('x')), Some((3, Changed)));
    assert_eq!(after(&|e| e[2].metadata = Some(json!({}))), Some((3, MetadataChanged)));
    assert_eq!(after(&|e| e[2].line_hash = e[0].line_hash.clone()), Some((3, Changed)));
    assert_eq!(after(&|e| drop(e.remove(2))), Some((3, Removed)));
    assert_eq!(after(&|e| e.swap(2, 3)), Some((3, OutOfOrder)));
    let removed = after(&|e| {
        e.remove(2);
        renumber(e);
    });
    assert_eq!(removed, Some((3, Removed)));
    let inserted = after(&|e| {
        let mut forged = e[2].clone();
        forge(&mut forged, line_before(e, 2));
        e.insert(2, forged);
        renumber(e);
    });
    assert_eq!(inserted, Some((3, Inserted)));
    let rewritten = after(&|e| {
        let before = line_before(e, 2);
        forge(&mut e[2], before);
    });
    assert_eq!(rewritten, Some((3, Changed)));
}

/// TR-5
#[test]
fn a_head_that_somebody_else_signed_does_not_count() {
    let entries = log_of(&[1, 1, 1]);
    let other =
        sign_head(&SigningKey::from_bytes(&[8; 32]), 2, entries[1].line_hash.parse().unwrap(), Timestamp::from_ms(5));
    let mut altered = head_at(&entries, 2);
    altered.at = altered.at.plus_ms(1);
    let mut garbled = head_at(&entries, 2);
    garbled.signature = "no hex".into();
    for bad in [other, altered, garbled] {
        assert_eq!(check(&entries, std::slice::from_ref(&bad)), Some((2, ProblemKind::BadSignature)));
        assert_eq!(verify(None, &[bad], &entries).problem, None, "without a key, signatures are not looked at");
    }
}

/// TR-5
#[test]
fn the_head_of_an_empty_line_holds_for_ever() {
    let empty = sign_head(&key(), 0, Sha256Digest::default(), Timestamp::from_ms(5));
    for entries in [log_of(&[]), log_of(&[1, 2])] {
        assert_eq!(check(&entries, std::slice::from_ref(&empty)), None);
    }
    let other = sign_head(&key(), 0, Sha256Digest([1; 32]), Timestamp::from_ms(5));
    assert_eq!(check(&[], &[other]), Some((0, ProblemKind::OtherLine)));
}

/// TR-5
#[test]
fn the_message_that_is_signed_is_fixed() {
    let message = head_message(12, Sha256Digest([0xab; 32]), Timestamp::from_ms(1_795_226_984_050));
    let expected = format!("tenure-audit-head\n12\n{}\n2026-11-21T02:09:44.050Z\n", "ab".repeat(32));
    assert_eq!(String::from_utf8(message).unwrap(), expected);
}

/// TR-5: an old sample. What was sealed once holds for ever, so neither the covered fields nor their spelling may change.
#[test]
fn a_sealed_entry_is_the_same_as_ever() {
    let entry = log_of(&[1]).remove(0);
    let covered = format!(
        concat!(
            r#"{{"action":"exec","actor":"user:alice","at":"1970-01-01T00:00:01.000Z","metadata_hash":"{}","new_state":"running","#,
            r#""old_state":"ready","prev_hash":"{}","reason":"number 1","seq":1,"session_id":"exec_19700101_000000_00000001","#,
            r#""trigger":"user_action"}}"#
        ),
        entry.metadata_hash,
        "0".repeat(64)
    );
    let hash = tenure_digest::digest_bytes(covered.as_bytes());
    assert_eq!(entry.hash, hash.to_string());
    assert_eq!(entry.line_hash, tenure_digest::digest_bytes(&[[0; 32], hash.0].concat()).to_string());
    assert_eq!(entry.metadata_hash, "131a2ec9f1ce13ace16cb29e1c2c4e83498b50d6750d1587629118e1a02bd9da");
}

/// TR-4
#[test]
fn metadata_is_an_object_of_bounded_size() {
    let sealed =
        |metadata| seal(AuditDraft { metadata, ..draft(0, 1) }, 1, 1, Sha256Digest::default(), Sha256Digest::default());
    assert!(matches!(sealed(json!([])), Err(NotSealed::NotAnObject)));
    // `{"k":""}` has 8 bytes of its own.
    assert!(sealed(json!({"k": "x".repeat(METADATA_MAX - 8)})).is_ok());
    assert!(matches!(sealed(json!({"k": "x".repeat(METADATA_MAX - 7)})), Err(NotSealed::TooLong(_))));
}

/// TR-5
#[test]
fn a_torn_last_line_of_the_head_file_is_left_out_and_nothing_else_is() {
    let entries = log_of(&[1, 2, 3]);
    let file: Vec<u8> = (1..=3).flat_map(|position| line(&head_at(&entries, position)).unwrap()).collect();
    let line_len = line(&head_at(&entries, 1)).unwrap().len();
    for cut in 2 * line_len..file.len() {
        let read = read_heads(&file[..cut]).unwrap();
        assert_eq!((read.heads.len(), read.intact_bytes as usize), (2, 2 * line_len), "cut at {cut}");
    }
    let mut damaged = file.clone();
    damaged[line_len + 3] = b'#';
    assert!(matches!(read_heads(damaged.as_slice()), Err(LogError::Damaged { line: 2, .. })));
    let zeros = [&file[..], &[0; 100]].concat();
    assert_eq!(read_heads(zeros.as_slice()).unwrap().heads.len(), 3, "what a power cut leaves of a write");
}

/// TR-5
#[test]
fn a_damaged_log_ends_with_the_line_that_is_damaged() {
    let entries = log_of(&[1, 2, 3]);
    let mut log: Vec<u8> = entries.iter().flat_map(|entry| line(entry).unwrap()).collect();
    let first = line(&entries[0]).unwrap().len();
    log.truncate(first + 40);
    let read: Vec<_> = read_entries(log.as_slice()).collect();
    assert!(matches!(&read[..], [Ok(_), Err(LogError::Damaged { line: 2, .. })]), "{read:?}");
    let unknown =
        String::from_utf8(line(&entries[0]).unwrap()).unwrap().replace("{\"position\"", "{\"more\":1,\"position\"");
    assert!(read_entries(unknown.as_bytes()).next().unwrap().is_err(), "what no hash covers is not taken");
    assert!(read_entries(vec![b'x'; 2 << 20].as_slice()).next().unwrap().is_err());
}
