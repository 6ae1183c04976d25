//! IDs and identities: what is accepted, and what only looks alike (ID-1, ID-3, ID-4).

use crate::law::Law;
use crate::sample::at;
use crate::trials::property;
use proptest::prelude::*;
use tenure_session::*;

trials![
    a_session_id_is_accepted_as_it_is_made,
    what_only_looks_like_a_session_id_is_refused,
    every_id_made_reads_back_also_from_its_compact_form,
    no_text_but_an_id_made_of_its_own_parts_is_accepted,
    a_compact_form_is_exactly_that,
    an_identity_names_every_part_that_is_missing_or_malformed,
    inside_an_environment_the_environment_belongs_to_the_identity,
    kinds_of_ids_do_not_read_as_each_other,
];

const GOOD: &str = "exec_20261121_020944_4ad060d9";

/// ID-1
fn a_session_id_is_accepted_as_it_is_made(law: &Law) {
    assert_eq!(SessionId::new(at(0), [0x4a, 0xd0, 0x60, 0xd9]).as_str(), GOOD);
    for good in [
        GOOD,
        "exec_20240229_235959_00000000", // a leap day
        "exec_19700101_000000_ffffffff",
        "exec_99991231_000000_0123abcd",
    ] {
        assert_eq!((law.session_id)(good).map(|id| id.to_string()).as_deref(), Ok(good));
    }
}

/// ID-1
fn what_only_looks_like_a_session_id_is_refused(law: &Law) {
    for (bad, why) in [
        ("", "nothing"),
        ("exec_20261121_020944_4ad060d9\n", "a trailing newline"),
        ("exec_20261121_020944_4ad060d9\r\n", "a trailing line end"),
        ("exec_20261121_020944_4ad060d9 ", "a trailing space"),
        (" exec_20261121_020944_4ad060d9", "a leading space"),
        ("exec_20261121_020944_4ad060d9\0", "a trailing zero byte"),
        ("exec_20261121_020944_4AD060D9", "upper-case digits"),
        ("exec_20261121_020944_4ad060dg", "no hex digit"),
        ("EXEC_20261121_020944_4ad060d9", "an upper-case prefix"),
        ("exec_2026112\u{0661}_020944_4ad060d9", "an Arabic digit"),
        ("exec_202611\u{0661}_020944_4ad060d9", "an Arabic digit that keeps the length"),
        ("exec_20261121_02094\u{ff14}_4ad060d9", "a full-width digit"),
        ("exec_20261121_0209\u{00b2}_4ad060d9", "a superscript that keeps the length"),
        ("exec_20260230_020944_4ad060d9", "30 February"),
        ("exec_20250229_020944_4ad060d9", "29 February of no leap year"),
        ("exec_20261131_020944_4ad060d9", "31 November"),
        ("exec_20261301_020944_4ad060d9", "month 13"),
        ("exec_20260001_020944_4ad060d9", "month 0"),
        ("exec_20261100_020944_4ad060d9", "day 0"),
        ("exec_20261121_250944_4ad060d9", "hour 25"),
        ("exec_20261121_240000_4ad060d9", "hour 24"),
        ("exec_20261121_026044_4ad060d9", "minute 60"),
        ("exec_20261121_020960_4ad060d9", "second 60"),
        ("exec_20261121_020944_4ad060d", "7 digits"),
        ("exec_20261121_020944_4ad060d90", "9 digits"),
        ("exec_20261121-020944_4ad060d9", "a dash for an underscore"),
        ("exec_20261121_020944-4ad060d9", "a dash for the last underscore"),
        ("exec_+0261121_020944_4ad060d9", "a sign"),
        ("exec_20261121020944_4ad060d9", "an underscore too few"),
        ("exec202611210209444ad060d9", "the compact form"),
        ("20261121_020944_4ad060d9", "no prefix"),
        ("exec_20261121_020944_4ad060d9/../x", "more behind it"),
    ] {
        assert!((law.session_id)(bad).is_err(), "{why}: {bad:?}");
    }
}

/// ID-1
fn every_id_made_reads_back_also_from_its_compact_form(law: &Law) {
    property(law, 256, (any::<i64>(), any::<[u8; 4]>()), |(ms, digits)| {
        let id = SessionId::new(Timestamp::from_ms(ms.rem_euclid(Timestamp::LATEST.as_ms() + 1)), digits);
        assert_eq!((law.session_id)(id.as_str()).as_ref(), Ok(&id));
        let compact = id.compact();
        assert!(compact.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{compact}");
        assert_eq!((law.from_compact)(&compact), Ok(id));
    });
}

/// ID-1
fn no_text_but_an_id_made_of_its_own_parts_is_accepted(law: &Law) {
    let changed = (0..GOOD.len(), any::<char>());
    property(law, 512, changed, |(position, char)| {
        let text: String = GOOD.chars().enumerate().map(|(i, c)| if i == position { char } else { c }).collect();
        let digit = char.is_ascii_digit() || (position > 20 && ('a'..='f').contains(&char));
        let fits = match GOOD.as_bytes()[position] {
            _ if text == GOOD => true,
            b'_' => false,
            _ => position > 4 && digit,
        };
        assert!(fits || (law.session_id)(&text).is_err(), "{text:?}");
    });
}

/// ID-1
fn a_compact_form_is_exactly_that(law: &Law) {
    assert_eq!((law.from_compact)("exec202611210209444ad060d9").map(|id| id.to_string()).as_deref(), Ok(GOOD));
    for bad in [
        "",
        GOOD,
        "exec202611210209444ad060d9\n",
        "exec202611210209444AD060D9",
        "exec202602300209444ad060d9",
        "exec20261121_209444ad060d9",
        "exec202611210209444ad060\u{e9}",
        "\u{e9}xec02611210209444ad060d9",
    ] {
        assert!((law.from_compact)(bad).is_err(), "{bad:?}");
    }
}

/// ID-3
fn an_identity_names_every_part_that_is_missing_or_malformed(law: &Law) {
    let check = |user_id, session_id, environment_id, missing: &[&str], invalid: &[&str]| {
        let claim = IdentityClaim { user_id, session_id, environment_id };
        let wrong = (law.identity)(&claim, false).expect_err("it is incomplete or malformed");
        assert_eq!((wrong.missing_fields, wrong.invalid_fields), (owned(missing), owned(invalid)), "{claim:?}");
    };
    check(None, None, None, &["user_id", "session_id"], &[]);
    check(None, Some(GOOD), None, &["user_id"], &[]);
    check(Some(""), Some(GOOD), None, &["user_id"], &[]);
    check(Some("alice"), None, None, &["session_id"], &[]);
    check(Some("al ice"), Some("nonsense"), None, &[], &["user_id", "session_id"]);
    check(Some("alice\n"), Some(GOOD), None, &[], &["user_id"]);
    check(None, Some("nonsense"), Some("env_1"), &["user_id"], &["session_id", "environment_id"]);
    check(Some("alice"), Some(GOOD), Some(""), &["environment_id"], &[]);
    let claim = IdentityClaim { user_id: Some("alice"), session_id: Some(GOOD), environment_id: None };
    let identity = (law.identity)(&claim, false).expect("nothing is missing");
    assert_eq!((identity.user_id.as_str(), identity.session_id.as_str()), ("alice", GOOD));
}

/// ID-3
fn inside_an_environment_the_environment_belongs_to_the_identity(law: &Law) {
    let claim = IdentityClaim { user_id: Some("alice"), session_id: Some(GOOD), environment_id: None };
    let wrong = (law.identity)(&claim, true).expect_err("the environment is missing");
    assert_eq!(wrong.missing_fields, ["environment_id"]);
    let claim = IdentityClaim { environment_id: Some("env_0123456789abcdef"), ..claim };
    let identity = (law.identity)(&claim, true).expect("nothing is missing");
    assert_eq!(identity.environment_id.as_ref().map(EnvironmentId::as_str), Some("env_0123456789abcdef"));
}

/// ID-4
fn kinds_of_ids_do_not_read_as_each_other(_: &Law) {
    let (environment, exec, key) = (EnvironmentId::new([1; 8]), ExecId::new([1; 8]), KeyId::new([1; 8]));
    assert_eq!(environment.as_str().parse(), Ok(environment.clone()));
    assert_eq!(exec.as_str().parse(), Ok(exec.clone()));
    assert_eq!(key.as_str().parse(), Ok(key.clone()));
    for text in
        [exec.as_str(), key.as_str(), GOOD, "env_0101010101010101\n", "env_010101010101010", "env_010101010101010G"]
    {
        assert!(text.parse::<EnvironmentId>().is_err(), "{text:?}");
    }
    for text in [environment.as_str(), key.as_str(), GOOD] {
        assert!(text.parse::<ExecId>().is_err(), "{text:?}");
    }
    let long = "a".repeat(129);
    for text in ["", "-a", "a b", "a\n", "\u{e9}", "a;b", long.as_str()] {
        assert!(text.parse::<UserId>().is_err(), "{text:?}");
    }
    assert!("auth0|5f7c@example.com".parse::<UserId>().is_ok());
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
