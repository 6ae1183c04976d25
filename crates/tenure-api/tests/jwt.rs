//! Which tokens are taken, and whom they name.

#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tenure_api::jwt::{Jwt, JwtKey, KeyMaterial, LEEWAY_S, Refused, RoleClaim, TOKEN_MAX_BYTES, UserClaim};
use tenure_session::{Role, Timestamp};

const NOW: i64 = 1_800_000_000;
const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
const RSA_PRIVATE: &str = include_str!("jwt_keys/rsa-private.pem");
const RSA_PUBLIC: &str = include_str!("jwt_keys/rsa-public.pem");
const RSA_SMALL: &str = include_str!("jwt_keys/rsa-1024-public.pem");
const ED_PRIVATE: &str = include_str!("jwt_keys/ed25519-private.pem");
const ED_PUBLIC: &str = include_str!("jwt_keys/ed25519-public.pem");

fn key(name: &str, material: KeyMaterial) -> JwtKey {
    JwtKey {
        name: name.to_owned(),
        kid: None,
        material,
        issuer: format!("https://{name}.example"),
        audience: "tenure".to_owned(),
        user_claim: UserClaim::Sub,
        role_claim: None,
    }
}

fn hs256(name: &str) -> JwtKey {
    key(name, KeyMaterial::Hs256(SECRET.to_vec()))
}

fn rs256(name: &str) -> JwtKey {
    key(name, KeyMaterial::Rs256(RSA_PUBLIC.to_owned()))
}

fn jwt(keys: Vec<JwtKey>) -> Jwt {
    Jwt::new(keys).unwrap()
}

fn claims() -> Value {
    json!({ "iss": "https://acme.example", "aud": "tenure", "exp": NOW + 600, "sub": "bob" })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn signed(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, key).unwrap()
}

fn by_secret(claims: &Value) -> String {
    signed(Algorithm::HS256, &EncodingKey::from_secret(SECRET), claims)
}

/// The token with another header, and the signature of `secret` over it all.
fn forged(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn check(keys: Vec<JwtKey>, token: &str, why: Refused) {
    assert_eq!(jwt(keys).verify(token, NOW), Err(why), "{token}");
}

/// AU-1
#[test]
fn a_good_token_of_each_algorithm_names_its_user_below_its_issuer() {
    let rsa = EncodingKey::from_rsa_pem(RSA_PRIVATE.as_bytes()).unwrap();
    let ed = EncodingKey::from_ed_pem(ED_PRIVATE.as_bytes()).unwrap();
    let cases = [
        (hs256("acme"), by_secret(&claims())),
        (rs256("acme"), signed(Algorithm::RS256, &rsa, &claims())),
        (key("acme", KeyMaterial::EdDsa(ED_PUBLIC.to_owned())), signed(Algorithm::EdDSA, &ed, &claims())),
    ];
    for (key, token) in cases {
        let verified = jwt(vec![key]).verify(&token, NOW).unwrap();
        assert_eq!(verified.caller.user.as_str(), "acme:bob");
        assert_eq!(verified.caller.role, Role::User);
        assert_eq!(verified.caller.credential, "jwt:acme");
        assert_eq!(verified.expires_at, Timestamp::from_ms((NOW + 600 + LEEWAY_S) * 1000));
    }
}

/// AU-1
#[test]
fn a_token_of_another_algorithm_than_its_keys_is_refused() {
    let rsa = EncodingKey::from_rsa_pem(RSA_PRIVATE.as_bytes()).unwrap();
    let hs384 = signed(Algorithm::HS384, &EncodingKey::from_secret(SECRET), &claims());
    check(vec![hs256("acme")], &hs384, Refused::NoKey);
    check(vec![hs256("acme")], &signed(Algorithm::RS256, &rsa, &claims()), Refused::NoKey);
    check(vec![rs256("acme")], &signed(Algorithm::RS512, &rsa, &claims()), Refused::NoKey);
    check(vec![rs256("acme")], &signed(Algorithm::PS256, &rsa, &claims()), Refused::NoKey);
    check(vec![], &by_secret(&claims()), Refused::NoKey);
}

/// AU-1
#[test]
fn a_token_without_a_signature_is_refused() {
    for none in ["none", "None", "NONE", ""] {
        let token = forged(&json!({ "alg": none, "typ": "JWT" }), &claims(), SECRET);
        check(vec![hs256("acme")], &token, Refused::Malformed);
        let bare = format!("{}.", token.rsplit_once('.').unwrap().0);
        check(vec![hs256("acme")], &bare, Refused::Malformed);
    }
    let stripped = format!("{}.", by_secret(&claims()).rsplit_once('.').unwrap().0);
    check(vec![hs256("acme")], &stripped, Refused::Signature);
}

/// AU-1
#[test]
fn a_public_key_is_never_a_secret() {
    // Whoever knows the public key signs with it as if it were a secret.
    for secret in [RSA_PUBLIC, RSA_PUBLIC.trim()] {
        let token = forged(&json!({ "alg": "HS256" }), &claims(), secret.as_bytes());
        check(vec![rs256("acme")], &token, Refused::NoKey);
        check(vec![rs256("acme"), hs256("acme")], &token, Refused::Signature);
        let named = forged(&json!({ "alg": "RS256" }), &claims(), secret.as_bytes());
        check(vec![rs256("acme")], &named, Refused::Signature);
    }
    let mut named = rs256("acme");
    named.kid = Some("k1".to_owned());
    let token = forged(&json!({ "alg": "HS256", "kid": "k1" }), &claims(), RSA_PUBLIC.as_bytes());
    check(vec![named], &token, Refused::NoKey);
}

/// AU-1
#[test]
fn a_key_brought_along_in_the_header_is_not_looked_at() {
    let own = b"a secret that the sender chose himself";
    let jwk = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(own) });
    let header = json!({ "alg": "HS256", "jwk": jwk, "jku": "https://evil.example/keys" });
    check(vec![hs256("acme")], &forged(&header, &claims(), own), Refused::Signature);
}

/// AU-1
#[test]
fn what_a_header_demands_and_nobody_here_understands_is_refused() {
    let header = json!({ "alg": "HS256", "crit": ["exp"] });
    check(vec![hs256("acme")], &forged(&header, &claims(), SECRET), Refused::Malformed);
}

/// AU-1
#[test]
fn every_claim_that_must_be_there_must_be_there() {
    check(vec![hs256("acme")], &by_secret(&without("iss")), Refused::Issuer);
    check(vec![hs256("acme")], &by_secret(&without("aud")), Refused::Audience);
    check(vec![hs256("acme")], &by_secret(&without("exp")), Refused::Expired);
    check(vec![hs256("acme")], &by_secret(&without("sub")), Refused::User);
}

/// AU-1
#[test]
fn every_claim_must_say_what_is_expected() {
    check(vec![hs256("acme")], &by_secret(&with("iss", json!("https://evil.example"))), Refused::Issuer);
    check(vec![hs256("acme")], &by_secret(&with("iss", json!(["https://acme.example"]))), Refused::Issuer);
    check(vec![hs256("acme")], &by_secret(&with("aud", json!("another"))), Refused::Audience);
    check(vec![hs256("acme")], &by_secret(&with("aud", json!([]))), Refused::Audience);
    check(vec![hs256("acme")], &by_secret(&with("aud", json!({ "tenure": true }))), Refused::Audience);
    check(vec![hs256("acme")], &by_secret(&with("exp", json!("2099-01-01"))), Refused::Expired);
    check(vec![hs256("acme")], &by_secret(&with("exp", json!(-1))), Refused::Expired);
    check(vec![hs256("acme")], &by_secret(&with("nbf", json!("now"))), Refused::NotYet);
    let listed = by_secret(&with("aud", json!(["another", "tenure"])));
    assert!(jwt(vec![hs256("acme")]).verify(&listed, NOW).is_ok());
}

/// AU-1
#[test]
fn a_token_holds_between_its_two_instants_give_or_take_the_leeway() {
    let jwt = jwt(vec![hs256("acme")]);
    let mut claims = with("nbf", json!(NOW));
    claims["exp"] = json!(NOW + 100);
    let token = by_secret(&claims);
    assert_eq!(jwt.verify(&token, NOW - LEEWAY_S - 1), Err(Refused::NotYet));
    assert!(jwt.verify(&token, NOW - LEEWAY_S).is_ok());
    assert!(jwt.verify(&token, NOW + 100 + LEEWAY_S - 1).is_ok());
    assert_eq!(jwt.verify(&token, NOW + 100 + LEEWAY_S), Err(Refused::Expired));
    let huge = by_secret(&with("exp", json!(i64::MAX)));
    assert_eq!(jwt.verify(&huge, NOW).unwrap().expires_at, Timestamp::LATEST);
}

/// AU-1
#[test]
fn two_issuers_never_name_the_same_user() {
    let other_secret = b"another secret of thirty-two bytes or more".to_vec();
    let keys = || vec![hs256("acme"), key("globex", KeyMaterial::Hs256(other_secret.clone()))];
    let of_globex = |claims: &Value| signed(Algorithm::HS256, &EncodingKey::from_secret(&other_secret), claims);
    let globex = with("iss", json!("https://globex.example"));
    let user = |token: &str| jwt(keys()).verify(token, NOW).unwrap().caller.user;
    assert_eq!(user(&by_secret(&claims())).as_str(), "acme:bob");
    assert_eq!(user(&of_globex(&globex)).as_str(), "globex:bob");
    // One signs in the name of the other.
    check(keys(), &of_globex(&claims()), Refused::Issuer);
    check(keys(), &by_secret(&globex), Refused::Issuer);
    // A colon in a subject changes nothing: the first one ends the issuer's name.
    assert_eq!(user(&by_secret(&with("sub", json!("globex:bob")))).as_str(), "acme:globex:bob");
}

/// AU-1
#[test]
fn one_name_is_one_issuers() {
    let mut other = hs256("acme");
    other.issuer = "https://globex.example".to_owned();
    assert!(Jwt::new(vec![hs256("acme"), other]).is_err());
    // Two keys of one issuer are as it should be.
    assert!(Jwt::new(vec![hs256("acme"), rs256("acme")]).is_ok());
    for name in ["", "a:b", "Acme", "-acme", "a b", &"a".repeat(33)] {
        assert!(Jwt::new(vec![hs256(name)]).is_err(), "{name:?}");
    }
}

/// AU-1
#[test]
fn a_key_id_chooses_among_keys() {
    let keyed = |kid: &str, secret: &[u8]| {
        let mut key = key("acme", KeyMaterial::Hs256(secret.to_vec()));
        key.kid = Some(kid.to_owned());
        key
    };
    let old = b"the old secret of thirty-two bytes or more";
    let keys = || vec![keyed("old", old), keyed("new", SECRET)];
    let token = |kid: &str| forged(&json!({ "alg": "HS256", "kid": kid }), &claims(), SECRET);
    assert!(jwt(keys()).verify(&token("new"), NOW).is_ok());
    check(keys(), &token("old"), Refused::Signature);
    check(keys(), &token("other"), Refused::NoKey);
    check(keys(), &by_secret(&claims()), Refused::NoKey);
}

/// AU-1
#[test]
fn a_token_makes_an_administrator_only_where_that_is_configured() {
    let token = |role: Value| by_secret(&with("role", role));
    let role = |key: JwtKey, token: &str| jwt(vec![key]).verify(token, NOW).unwrap().caller.role;
    assert_eq!(role(hs256("acme"), &token(json!("admin"))), Role::User);
    let mut configured = hs256("acme");
    configured.role_claim = Some(RoleClaim { claim: "role".to_owned(), admin: "tenure-admin".to_owned() });
    assert_eq!(role(configured.clone(), &token(json!("tenure-admin"))), Role::Admin);
    assert_eq!(role(configured.clone(), &token(json!(["x", "tenure-admin"]))), Role::Admin);
    for other in [json!("admin"), json!("tenure-admin2"), json!(true), json!({ "tenure-admin": 1 }), json!(null)] {
        assert_eq!(role(configured.clone(), &token(other)), Role::User);
    }
    assert_eq!(role(configured, &by_secret(&claims())), Role::User);
}

/// AU-1
#[test]
fn a_user_is_taken_from_the_configured_claim_and_must_be_one() {
    let mut by_user_id = hs256("acme");
    by_user_id.user_claim = UserClaim::UserId;
    check(vec![by_user_id.clone()], &by_secret(&claims()), Refused::User);
    let verified = jwt(vec![by_user_id]).verify(&by_secret(&with("user_id", json!("eve"))), NOW).unwrap();
    assert_eq!(verified.caller.user.as_str(), "acme:eve");
    for sub in [json!(""), json!("a b"), json!("a\nb"), json!(7), json!(null), json!("x".repeat(128))] {
        check(vec![hs256("acme")], &by_secret(&with("sub", sub)), Refused::User);
    }
}

/// AU-1
#[test]
fn what_is_too_long_or_no_token_is_refused() {
    let long = by_secret(&with("more", json!("x".repeat(TOKEN_MAX_BYTES))));
    check(vec![hs256("acme")], &long, Refused::TooLong);
    for text in ["", ".", "..", "...", "a.b.c", "e30.e30.", "é.é.é", &".".repeat(TOKEN_MAX_BYTES)] {
        check(vec![hs256("acme")], text, Refused::Malformed);
    }
}

/// AU-1
#[test]
fn a_key_that_proves_nothing_is_not_configured() {
    let unusable = [
        KeyMaterial::Hs256(b"short".to_vec()),
        KeyMaterial::Hs256(RSA_PUBLIC.as_bytes().to_vec()),
        KeyMaterial::Rs256(RSA_PRIVATE.to_owned()),
        KeyMaterial::Rs256(RSA_SMALL.to_owned()),
        KeyMaterial::Rs256(ED_PUBLIC.to_owned()),
        KeyMaterial::Rs256(String::new()),
        KeyMaterial::EdDsa(ED_PRIVATE.to_owned()),
        KeyMaterial::EdDsa(RSA_PUBLIC.to_owned()),
    ];
    for material in unusable {
        assert!(Jwt::new(vec![key("acme", material)]).is_err());
    }
    let mut unsaid = hs256("acme");
    unsaid.audience.clear();
    assert!(Jwt::new(vec![unsaid]).is_err());
}
