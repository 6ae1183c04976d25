//! How request, template and configuration agree on the limits of a session (GV-1).

use crate::law::Law;
use tenure_session::*;

trials![
    what_nobody_chooses_is_the_default,
    the_request_goes_before_the_template_and_the_template_before_the_default,
    every_bound_can_be_chosen_and_nothing_beyond_it,
    every_field_that_is_wrong_is_named,
    only_a_template_switches_idle_off,
    unknown_keys_are_refused_and_null_is_not_the_same_as_not_given,
];

fn nothing() -> LimitRequest {
    LimitRequest::default()
}

fn named(result: Result<SessionLimits, Vec<InvalidField>>) -> Vec<String> {
    result.expect_err("it is refused").into_iter().map(|invalid| invalid.field).collect()
}

/// GV-1
fn what_nobody_chooses_is_the_default(law: &Law) {
    let limits = (law.resolve)(&nothing(), &nothing(), &LimitPolicy::default()).expect("the defaults hold");
    assert_eq!(limits.max_lifetime_ms, 86_400_000);
    assert_eq!(limits.idle_timeout_ms, Some(1_800_000));
    assert_eq!((limits.max_concurrent_execs, limits.on_exec_limit), (16, OnExecLimit::Terminate));
    assert_eq!((limits.cpu_millis, limits.memory_bytes, limits.pids), (1_000, 536_870_912, 256));
    assert_eq!((limits.disk_bytes, limits.network), (2_147_483_648, Network::None));
}

/// GV-1
fn the_request_goes_before_the_template_and_the_template_before_the_default(law: &Law) {
    let template = LimitRequest { pids: Some(20), cpu_millis: Some(200), ..nothing() };
    let request = LimitRequest { pids: Some(30), on_exec_limit: Some(OnExecLimit::Reject), ..nothing() };
    let limits = (law.resolve)(&request, &template, &LimitPolicy::default()).expect("all within the bounds");
    assert_eq!((limits.pids, limits.cpu_millis, limits.memory_bytes), (30, 200, 536_870_912));
    assert_eq!(limits.on_exec_limit, OnExecLimit::Reject);
}

/// GV-1
fn every_bound_can_be_chosen_and_nothing_beyond_it(law: &Law) {
    type Choose = fn(u64) -> LimitRequest;
    let range = Range::new(100..=200);
    let policy = LimitPolicy {
        default: SessionLimits {
            max_lifetime_ms: 150,
            idle_timeout_ms: Some(150),
            max_concurrent_execs: 150,
            cpu_millis: 150,
            memory_bytes: 150,
            pids: 150,
            disk_bytes: 150,
            ..SessionLimits::default()
        },
        max_lifetime_ms: range,
        idle_timeout_ms: range,
        max_concurrent_execs: range,
        cpu_millis: range,
        memory_bytes: range,
        pids: range,
        disk_bytes: range,
    };
    let fields: [(&str, Choose); 7] = [
        ("limits.max_lifetime_ms", |v| LimitRequest { max_lifetime_ms: Some(v), ..nothing() }),
        ("limits.idle_timeout_ms", |v| LimitRequest { idle_timeout_ms: Some(Some(v)), ..nothing() }),
        ("limits.max_concurrent_execs", |v| LimitRequest { max_concurrent_execs: Some(v as u32), ..nothing() }),
        ("limits.cpu_millis", |v| LimitRequest { cpu_millis: Some(v as u32), ..nothing() }),
        ("limits.memory_bytes", |v| LimitRequest { memory_bytes: Some(v), ..nothing() }),
        ("limits.pids", |v| LimitRequest { pids: Some(v as u32), ..nothing() }),
        ("limits.disk_bytes", |v| LimitRequest { disk_bytes: Some(v), ..nothing() }),
    ];
    for (field, choose) in fields {
        for value in [100, 200] {
            assert!((law.resolve)(&choose(value), &nothing(), &policy).is_ok(), "{field} {value}");
            assert!((law.resolve)(&nothing(), &choose(value), &policy).is_ok(), "{field} {value} of a template");
        }
        for value in [0, 99, 201, u64::from(u32::MAX)] {
            assert_eq!(named((law.resolve)(&choose(value), &nothing(), &policy)), [field], "{value}");
            assert_eq!(named((law.resolve)(&nothing(), &choose(value), &policy)), [field], "{value} of a template");
        }
    }
}

/// GV-1
fn every_field_that_is_wrong_is_named(law: &Law) {
    let request = LimitRequest { max_lifetime_ms: Some(0), pids: Some(1), disk_bytes: Some(u64::MAX), ..nothing() };
    let fields = named((law.resolve)(&request, &nothing(), &LimitPolicy::default()));
    assert_eq!(fields, ["limits.max_lifetime_ms", "limits.pids", "limits.disk_bytes"]);
}

/// GV-1
fn only_a_template_switches_idle_off(law: &Law) {
    let off = LimitRequest { idle_timeout_ms: Some(None), ..nothing() };
    let on = LimitRequest { idle_timeout_ms: Some(Some(5_000)), ..nothing() };
    let (policy, none) = (LimitPolicy::default(), nothing());
    let resolve = |request, template| (law.resolve)(request, template, &policy);
    let idle = |request, template| resolve(request, template).map(|limits| limits.idle_timeout_ms);
    assert_eq!(named(resolve(&off, &none)), ["limits.idle_timeout_ms"]);
    assert_eq!(named(resolve(&off, &on)), ["limits.idle_timeout_ms"]);
    assert_eq!(idle(&none, &off), Ok(None));
    assert_eq!(idle(&off, &off), Ok(None));
    assert_eq!(idle(&on, &off), Ok(Some(5_000)));
}

/// GV-1
fn unknown_keys_are_refused_and_null_is_not_the_same_as_not_given(_: &Law) {
    let read = |json: &str| serde_json::from_str::<LimitRequest>(json);
    assert_eq!(read("{}").unwrap(), nothing());
    assert_eq!(read(r#"{"idle_timeout_ms":null}"#).unwrap().idle_timeout_ms, Some(None));
    assert_eq!(read(r#"{"idle_timeout_ms":7}"#).unwrap().idle_timeout_ms, Some(Some(7)));
    for bad in [r#"{"idle_timeout":7}"#, r#"{"pids":-1}"#, r#"{"pids":4294967296}"#, r#"{"network":"host"}"#] {
        assert!(read(bad).is_err(), "{bad}");
    }
    for written in ["{}", r#"{"idle_timeout_ms":null}"#, r#"{"idle_timeout_ms":7,"pids":9}"#] {
        assert_eq!(serde_json::to_string(&read(written).unwrap()).unwrap(), written);
    }
}
