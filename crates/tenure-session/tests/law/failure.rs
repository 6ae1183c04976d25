//! Failures: each has a class, and the words of it fit who reads them (FL-1).

use crate::law::Law;
use tenure_session::*;

trials![
    every_known_cause_has_its_class,
    an_unknown_cause_has_the_class_of_its_type,
    a_cause_of_another_type_is_unknown,
    something_helps_exactly_where_a_failure_is_recoverable,
    a_context_is_understood_by_whichever_word_it_uses,
];

fn context(cause: &str) -> FailureContext {
    FailureContext { cause: cause.to_owned(), details: Some("pidfd: ESRCH".to_owned()) }
}

fn check(law: &Law, kind: FailureType, cause: &str, severity: Severity, action: RecoveryAction) {
    let failure = (law.classify)(kind, &context(cause));
    assert_eq!((failure.kind, failure.severity, failure.recovery_action), (kind, severity, action), "{cause}");
    assert_eq!(failure.technical_details.as_deref(), Some("pidfd: ESRCH"));
    assert!(!failure.message.contains("ESRCH") && !failure.user_message.contains("ESRCH"));
}

/// FL-1
fn every_known_cause_has_its_class(law: &Law) {
    use {FailureType::*, RecoveryAction::*, Severity::*};
    check(law, Init, "timeout", High, Retry);
    check(law, Init, "unavailable", High, Wait);
    check(law, Init, "host_full", High, Wait);
    check(law, Runtime, "environment_died", High, CreateNew);
    check(law, Runtime, "environment_lost", High, CreateNew);
    check(law, Runtime, "oom_killed", High, CreateNew);
    check(law, Infra, "disk_full", Critical, ContactAdmin);
    check(law, Infra, "host_unavailable", Critical, Wait);
    check(law, Infra, "store_unavailable", Critical, Wait);
    let said = |cause: &str| (law.classify)(Runtime, &context(cause)).message;
    assert_ne!(said("environment_lost"), said("environment_died"));
}

/// FL-1
fn an_unknown_cause_has_the_class_of_its_type(law: &Law) {
    use {FailureType::*, Severity::*};
    for cause in ["", "something else", "TIMEOUT"] {
        check(law, Init, cause, High, RecoveryAction::CreateNew);
        check(law, Runtime, cause, High, RecoveryAction::CreateNew);
        check(law, Access, cause, Low, RecoveryAction::None);
        check(law, Infra, cause, Critical, RecoveryAction::ContactAdmin);
    }
}

/// FL-1
fn a_cause_of_another_type_is_unknown(law: &Law) {
    check(law, FailureType::Runtime, "timeout", Severity::High, RecoveryAction::CreateNew);
    check(law, FailureType::Access, "disk_full", Severity::Low, RecoveryAction::None);
    check(law, FailureType::Init, "disk_full", Severity::High, RecoveryAction::CreateNew);
}

/// FL-1
fn something_helps_exactly_where_a_failure_is_recoverable(law: &Law) {
    for class in FAILURES {
        let failure = (law.classify)(class.kind, &context(class.cause.unwrap_or_default()));
        assert_eq!(failure.recoverable, failure.recovery_action != RecoveryAction::None, "{class:?}");
        assert_eq!((failure.message.as_str(), failure.severity), (class.message, class.severity));
    }
}

/// FL-1
fn a_context_is_understood_by_whichever_word_it_uses(_: &Law) {
    for json in [r#"{"cause":"timeout"}"#, r#"{"reason":"timeout"}"#, r#"{"error":"timeout","cause":3}"#] {
        let context = FailureContext::from_json(&serde_json::from_str(json).unwrap());
        assert_eq!(context.cause, "timeout", "{json}");
        assert!(context.details.is_some());
    }
    assert_eq!(FailureContext::from_json(&serde_json::json!({})), FailureContext::default());
    for kind in FailureType::ALL {
        assert_eq!(kind.as_str().parse(), Ok(kind));
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
    assert!("network".parse::<FailureType>().is_err());
}
