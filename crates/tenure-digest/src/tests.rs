//! Tests of canonical bytes, by the vectors of RFC 8785, and of digests.

use super::*;
use proptest::prelude::*;
use serde_json::{Map, Number, Value, json};

fn text(value: &impl Serialize) -> String {
    String::from_utf8(canonical(value).unwrap()).unwrap()
}

fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// TR-5: the numbers of RFC 8785, appendix B.
#[test]
fn numbers_are_written_as_the_standard_says() {
    let vectors: &[(u64, &str)] = &[
        (0x0000000000000000, "0"),
        (0x8000000000000000, "0"),
        (0x0000000000000001, "5e-324"),
        (0x8000000000000001, "-5e-324"),
        (0x7fefffffffffffff, "1.7976931348623157e+308"),
        (0xffefffffffffffff, "-1.7976931348623157e+308"),
        (0x4340000000000000, "9007199254740992"),
        (0xc340000000000000, "-9007199254740992"),
        (0x4430000000000000, "295147905179352830000"),
        (0x44b52d02c7e14af5, "9.999999999999997e+22"),
        (0x44b52d02c7e14af6, "1e+23"),
        (0x44b52d02c7e14af7, "1.0000000000000001e+23"),
        (0x444b1ae4d6e2ef4e, "999999999999999700000"),
        (0x444b1ae4d6e2ef4f, "999999999999999900000"),
        (0x444b1ae4d6e2ef50, "1e+21"),
        (0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"),
        (0x3eb0c6f7a0b5ed8d, "0.000001"),
        (0x41b3de4355555553, "333333333.3333332"),
        (0x41b3de4355555554, "333333333.33333325"),
        (0x41b3de4355555555, "333333333.3333333"),
        (0x41b3de4355555556, "333333333.3333334"),
        (0x41b3de4355555557, "333333333.33333343"),
        (0xbecbf647612f3696, "-0.0000033333333333333333"),
        (0x43143ff3c1cb0959, "1424953923781206.2"),
    ];
    for (bits, expected) in vectors {
        let number = f64::from_bits(*bits);
        assert_eq!(text(&number), *expected, "{bits:016x}");
        assert_eq!(text(&json!(number)), *expected, "{bits:016x} inside a value");
    }
}

/// TR-5
#[test]
fn numbers_that_are_not_finite_have_no_canonical_form() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(canonical(&number).is_err(), "{number}");
    }
}

/// TR-5: RFC 8785, section 3.2.2.
#[test]
fn the_sample_of_the_standard_is_written_as_it_says() {
    let sample = r#"{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"#;
    let expected = concat!(
        r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
        r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
    );
    assert_eq!(text(&parse(sample.as_bytes())), expected);
}

/// TR-5: RFC 8785, section 3.2.3: by the units of UTF-16, in which an emoji comes before a Hebrew letter.
#[test]
fn keys_are_in_the_order_of_the_standard() {
    let sample = r#"{
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\ud83d\ude00": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis"
    }"#;
    let expected = concat!(
        "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",",
        "\"\u{f6}\":\"Latin Small Letter O With Diaeresis\",\"\u{20ac}\":\"Euro Sign\",",
        "\"\u{1f600}\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}"
    );
    assert_eq!(text(&parse(sample.as_bytes())), expected);
    assert_eq!(
        text(&json!({"b": {"d": 1, "c": 2}, "a": [{"z": 1, "y": 2}]})),
        r#"{"a":[{"y":2,"z":1}],"b":{"c":2,"d":1}}"#
    );
}

/// TR-5: nothing is normalized, and only what must be is escaped.
#[test]
fn strings_stay_as_they_are() {
    assert_eq!(text(&"e\u{301} \u{e9} \u{7f} \u{2028} </"), "\"e\u{301} \u{e9} \u{7f} \u{2028} </\"");
    assert_eq!(text(&"\u{8}\t\n\u{c}\r\u{1f}"), r#""\b\t\n\f\r\u001f""#);
}

/// TR-5: a struct and a map of the same content have one digest.
#[test]
fn what_is_digested_is_the_content_and_not_its_type() {
    #[derive(Serialize)]
    struct Pair {
        b: u8,
        a: Option<&'static str>,
    }
    let pair = Pair { b: 1, a: None };
    assert_eq!(digest(&pair).unwrap(), digest(&json!({"a": null, "b": 1.0})).unwrap());
    assert_eq!(
        digest(&json!({})).unwrap().to_string(),
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    );
    assert_eq!(digest_bytes(b"").to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/// TR-5
#[test]
fn only_64_lower_case_hex_digits_are_a_digest() {
    for text in ["", "ab", &"AB".repeat(32), &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"\u{e9}".repeat(32)] {
        assert_eq!(text.parse::<Sha256Digest>(), Err(NotADigest), "{text}");
    }
}

/// Numbers that JSON text and memory hold alike: whole ones up to 2⁵³, others with a fraction, or so great that they are written with an exponent.
fn number() -> impl Strategy<Value = Value> {
    let whole = (-(1i64 << 53)..=1 << 53).prop_map(Value::from);
    let other = prop::num::f64::NORMAL
        .prop_filter("neither whole nor small", |number| number.fract() != 0.0 || number.abs() >= 1e21)
        .prop_map(|number| Value::Number(Number::from_f64(number).unwrap()));
    prop_oneof![whole, other]
}

fn value(number: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    let word = prop_oneof!["\\PC{0,6}", ".{0,3}", "[\u{0}-\u{20}\"\\\\/]{0,4}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number,
        word.clone().prop_map(Value::String)
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((word.clone(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    /// TR-5
    #[test]
    fn canonical_bytes_mean_the_same(value in value(number())) {
        prop_assert_eq!(parse(&canonical(&value).unwrap()), value);
    }

    /// TR-5: also for numbers that JSON cannot hold as they are, once they were written.
    #[test]
    fn canonical_bytes_are_canonical(value in value(prop_oneof![
        prop::num::f64::ANY.prop_map(|number| Number::from_f64(number).map_or(Value::Null, Value::Number)),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
    ])) {
        let once = canonical(&value).unwrap();
        prop_assert_eq!(canonical(&parse(&once)).unwrap(), once.clone());
        // What is stored as ordinary text has the same digest when it is read again.
        let stored = serde_json::to_vec(&value).unwrap();
        prop_assert_eq!(canonical(&parse(&stored)).unwrap(), once);
    }

    /// TR-5
    #[test]
    fn a_digest_reads_back(bytes: [u8; 32]) {
        let digest = Sha256Digest(bytes);
        prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        prop_assert_eq!(format!("{digest:?}"), digest.to_string());
    }
}
