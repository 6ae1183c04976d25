//! Stores that are wrong in one way each: the conformance suite must turn every one of them down.
//!
//! Each is a real store behind a wrapper that bends what goes in or what comes out.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use async_trait::async_trait;
use serde_json::Value;
use std::any::Any;
use std::fs::File;
use std::sync::Arc;
use tenure_session::{EnvironmentState, ExecId, KeyId, Session, SessionId, State, Timestamp, UserId};
use tenure_sqlite::SqliteStore;
use tenure_store::*;

macro_rules! flaws {
    ($($flaw:ident),+ $(,)?) => {
        /// What is wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Flaw { $($flaw),+ }
        const FLAWS: &[Flaw] = &[$(Flaw::$flaw),+];
    };
}

flaws! {
    None,
    AClaimIsForgotten,
    AKeyOfARequestIsEverybodys,
    ALateWordIsTaken,
    OnlyOneWordIsLookedFor,
    ALeaseIsAnybodys,
    ALeaseIsTakenLater,
    APageEndsTheList,
    ARenewalComesBefore,
    ARenewalIsForgotten,
    AStartMovesEverything,
    AStartMovesNothing,
    AnyTokenRenews,
    ARefusedChangeIsDone,
    AStartCommandIsActivity,
    ATakenIdIsMade,
    ATemplateIsListedUnderEveryVersion,
    ActivityIsForgotten,
    AnEndForgetsItsGuard,
    AnEntryIsWrittenTwice,
    AnArchiveLosesItsLedger,
    AnEnvironmentForgetsItsLife,
    ArchivesAreForgotten,
    AnIdleGuardIsTooStrict,
    AnotherLifeIsBegunAnyway,
    AnswersAreForgotten,
    CountsAreOneTooHigh,
    DeletedOnesAreListed,
    DueIsAfterTheInstant,
    DueIsInNoOrder,
    EntriesAreReversed,
    EverythingIsSettledFirst,
    ListsAreOldestFirst,
    MetadataIsLost,
    PreviewsAreAlwaysRemoved,
    PurgesAreForgotten,
    RetentionIsAfterTheInstant,
    RetentionIsInNoOrder,
    RetentionKnowsNoPieces,
    SettledArchivesAreUnsettled,
    SettlingTakesEveryWord,
    SettledExecsAreUnsettled,
    TheAnchorStays,
    TheFirstEntryIsHidden,
    TombstonesForgetTheirDigests,
    UnfinishedIsInNoOrder,
}

struct Wrong {
    inner: SqliteStore,
    flaw: Flaw,
}

/// What goes in, bent.
trait Bend {
    fn bend(&mut self, _method: &str, _flaw: Flaw) {}
}

macro_rules! straight {
    ($($type:ty),+ $(,)?) => { $(impl Bend for $type {})+ };
}
straight! {
    u16, u32, RetentionPurge, &str, &SessionId, &ExecId, &KeyId, &UserId, Option<u32>, Option<SessionId>, Option<AuditDraft>, AuditDraft, ClockAnchor, SessionAttach,
    SessionDelete, SessionExtend, ExecOutcome, StoredAnswer, PreviewRecord, KeyRecord, TemplateRecord, AuditFilter, EnvironmentState, PageRequest, SessionMove, LeaseGivingUp,
}

impl Bend for SessionCreate {
    fn bend(&mut self, _: &str, flaw: Flaw) {
        if flaw == Flaw::AClaimIsForgotten {
            self.claim = None;
        }
        if let (Flaw::AKeyOfARequestIsEverybodys, Some(claim)) = (flaw, &mut self.claim) {
            claim.user = "anybody".parse().unwrap();
        }
    }
}

impl Bend for LeaseTaking {
    fn bend(&mut self, _: &str, flaw: Flaw) {
        self.takeover |= flaw == Flaw::ALeaseIsAnybodys;
        if flaw == Flaw::ALeaseIsTakenLater {
            self.at = self.at.plus_ms(1);
        }
    }
}

impl Bend for LeaseBeat {
    fn bend(&mut self, _: &str, flaw: Flaw) {
        match flaw {
            Flaw::ARenewalComesBefore => self.at = Timestamp::from_ms(self.at.as_ms() - 1),
            Flaw::AnyTokenRenews => self.token = tenure_session::LeaseToken(1),
            _ => {}
        }
    }
}

impl Bend for SessionsShift {
    fn bend(&mut self, _: &str, flaw: Flaw) {
        match flaw {
            Flaw::AStartMovesEverything => self.from = Timestamp::default(),
            Flaw::AStartMovesNothing => self.until = self.from,
            _ => {}
        }
    }
}

impl Bend for SessionFilter {
    fn bend(&mut self, _: &str, flaw: Flaw) {
        self.include_deleted |= flaw == Flaw::DeletedOnesAreListed;
        if flaw == Flaw::OnlyOneWordIsLookedFor {
            self.metadata.truncate(1);
        }
    }
}

impl Bend for SessionEnd {
    fn bend(&mut self, _: &str, flaw: Flaw) {
        match (flaw, self.guard) {
            (Flaw::AnEndForgetsItsGuard, _) => self.guard = EndGuard::Always,
            (Flaw::AnIdleGuardIsTooStrict, EndGuard::Idle(at)) => {
                self.guard = EndGuard::Idle(Timestamp::from_ms(at.as_ms() - 1));
            }
            _ => {}
        }
    }
}

impl Bend for SessionRemake {
    fn bend(&mut self, _: &str, flaw: Flaw) {
        if flaw == Flaw::AnotherLifeIsBegunAnyway {
            self.from = 1;
        }
    }
}

impl Bend for u64 {
    fn bend(&mut self, method: &str, flaw: Flaw) {
        if (flaw, method) == (Flaw::AnEnvironmentForgetsItsLife, "session_environment") {
            *self = 1;
        }
    }
}

impl Bend for ExecIntent {
    fn bend(&mut self, _: &str, flaw: Flaw) {
        if flaw == Flaw::AStartCommandIsActivity {
            self.activity = Some("exec".into());
        }
    }
}

impl Bend for RetentionDue {
    fn bend(&mut self, _: &str, flaw: Flaw) {
        match flaw {
            Flaw::RetentionIsAfterTheInstant => self.by = Timestamp::from_ms(self.by.as_ms() - 1),
            Flaw::RetentionKnowsNoPieces => {
                self.limit = if self.after.is_some() { 0 } else { self.limit };
            }
            _ => {}
        }
    }
}

impl Bend for RetentionArchive {
    fn bend(&mut self, _: &str, flaw: Flaw) {
        if flaw == Flaw::TombstonesForgetTheirDigests {
            self.output = None;
        }
    }
}

impl Bend for bool {
    fn bend(&mut self, _: &str, flaw: Flaw) {
        *self |= flaw == Flaw::SettlingTakesEveryWord;
    }
}

impl Bend for Timestamp {
    fn bend(&mut self, method: &str, flaw: Flaw) {
        match (flaw, method) {
            (Flaw::DueIsAfterTheInstant, "session_due") => *self = Timestamp::from_ms(self.as_ms() - 1),
            (Flaw::ALateWordIsTaken, "session_activity") => *self = self.plus_ms(3_600_000),
            _ => {}
        }
    }
}

impl Bend for Vec<AuditDraft> {
    fn bend(&mut self, _: &str, flaw: Flaw) {
        if flaw == Flaw::EntriesAreReversed {
            self.reverse();
        }
    }
}

/// What comes out, bent.
fn bend_answer(method: &str, flaw: Flaw, answer: &mut dyn Any) {
    macro_rules! when {
        ($wrong:ident, $name:literal, |$said:ident: $type:ty| $bend:expr) => {
            if let (Flaw::$wrong, $name, Some($said)) = (flaw, method, answer.downcast_mut::<$type>()) {
                $bend;
            }
        };
    }
    if let (Flaw::ARefusedChangeIsDone, Some(changed)) = (flaw, answer.downcast_mut::<Changed>())
        && let Changed::Refused(session) = changed
    {
        *changed = Changed::Done(session.clone());
    }
    when!(ATakenIdIsMade, "session_create", |made: SessionCreated| *made = SessionCreated::Made);
    when!(APageEndsTheList, "session_list", |page: Page<Session>| page.next_cursor = None);
    when!(ListsAreOldestFirst, "session_list", |page: Page<Session>| page.items.reverse());
    when!(CountsAreOneTooHigh, "session_count", |counts: Vec<(State, u64)>| counts.iter_mut().for_each(|c| c.1 += 1));
    when!(DueIsInNoOrder, "session_due", |due: Vec<Session>| due.reverse());
    when!(UnfinishedIsInNoOrder, "session_unfinished", |unfinished: Vec<Session>| unfinished.reverse());
    when!(ARenewalIsForgotten, "lease_renew", |renewed: LeaseRenewed| if let LeaseRenewed::Renewed(lease) = renewed {
        lease.last_heartbeat_at = None;
    });
    when!(RetentionIsInNoOrder, "retention_due", |due: Vec<Session>| due.reverse());
    when!(ArchivesAreForgotten, "retention_record", |record: Option<ArchiveRecord>| *record = None);
    when!(PurgesAreForgotten, "retention_record", |record: Option<ArchiveRecord>| if let Some(record) = record {
        record.purged_at = None;
    });
    when!(
        AnArchiveLosesItsLedger,
        "retention_content",
        |content: Option<ArchiveContent>| if let Some(content) = content {
            content.execs.clear();
        }
    );
    when!(EverythingIsSettledFirst, "exec_settle", |first: bool| *first = true);
    when!(PreviewsAreAlwaysRemoved, "preview_remove", |removed: bool| *removed = true);
    when!(MetadataIsLost, "audit_list", |page: Page<AuditEntry>| page.items.iter_mut().for_each(|e| e.metadata = None));
    when!(TheFirstEntryIsHidden, "audit_list", |page: Page<AuditEntry>| page.items.retain(|e| e.position != 1));
    when!(ATemplateIsListedUnderEveryVersion, "template_list", |list: Vec<TemplateRecord>| {
        list.iter_mut().for_each(|template| template.version = 1)
    });
}

impl Wrong {
    /// What is done besides, or in place of the method, given the ID of the session that it is about.
    async fn forgets(&self, method: &str) -> bool {
        if self.flaw == Flaw::AnEntryIsWrittenTwice && method == "session_extend" {
            let draft = AuditDraft {
                session_id: None,
                at: Timestamp::default(),
                old_state: None,
                new_state: None,
                trigger: tenure_session::Trigger::ApiCall,
                actor: "system".into(),
                action: "session_extend".into(),
                reason: None,
                metadata: serde_json::json!({}),
            };
            self.inner.audit_append(vec![draft]).await.unwrap();
        }
        matches!(
            (self.flaw, method),
            (Flaw::ActivityIsForgotten, "session_activity")
                | (Flaw::AnswersAreForgotten, "idempotency_answer")
                | (Flaw::TheAnchorStays, "clock_put")
                | (Flaw::SettledArchivesAreUnsettled, "retention_settled")
                | (Flaw::SettledExecsAreUnsettled, "exec_started")
        )
    }
}

/// Where an answer is nothing, a method can be left out.
fn nothing<T: 'static>() -> Option<T> {
    let nothing: Box<dyn Any> = Box::new(());
    nothing.downcast().ok().map(|nothing| *nothing)
}

macro_rules! wrong {
    ($($method:ident($($name:ident: $type:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl Store for Wrong {
            $(
                #[allow(unused_mut, reason = "not every method has something that can be bent")]
                async fn $method(&self, $(mut $name: $type),*) -> Result<$answer, StoreError> {
                    let method = stringify!($method);
                    $($name.bend(method, self.flaw);)*
                    if self.forgets(method).await && let Some(nothing) = nothing() {
                        return Ok(nothing);
                    }
                    let mut answer: $answer = self.inner.$method($($name),*).await?;
                    bend_answer(method, self.flaw, &mut answer);
                    Ok(answer)
                }
            )+
        }
    };
}
every_store_method!(wrong);

/// Whether the suite passes.
async fn passes(flaw: Flaw) -> bool {
    let new_store = move || async move {
        let store: Arc<dyn Store> = Arc::new(Wrong { inner: SqliteStore::in_memory().unwrap(), flaw });
        (store, ())
    };
    tokio::spawn(conformance::everything(new_store)).await.is_ok()
}

/// TR-9, LC-5, LC-6, TM-2, TR-1, TR-4, EN-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_store_is_turned_down_and_the_right_one_is_not() {
    let mut slipped_through = Vec::new();
    for flaw in FLAWS {
        if passes(*flaw).await != (*flaw == Flaw::None) {
            slipped_through.push(*flaw);
        }
    }
    assert_eq!(slipped_through, []);
}
