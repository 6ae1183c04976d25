//! JSON Web Tokens: who signed one, for whom, until when, and whom it names (AU-1).
//!
//! - A key is configured with its algorithm; a token's header must name the same one. A public key is never taken for a secret, and `none` is no algorithm.
//! - `kid` chooses among keys and nothing else: a key with one takes only tokens that name it, a key without one takes any.
//! - `iss`, `aud` and `exp` must be there and right; `nbf` is honored. Clocks may differ by [`LEEWAY_S`].
//! - A user is `<issuer's name>:<sub or user_id>`. A name holds no colon, so the first colon ends it and no two issuers can ever name the same user.
//!   Users of API keys are free text of the administrator's choice: one who writes `acme:bob` there means the user whom issuer `acme` calls `bob`.
//! - Everybody is an ordinary user, unless the key says which claim with which value makes an administrator.

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use tenure_session::{Caller, Role, Timestamp, UserId};

/// Longest token that is looked at.
pub const TOKEN_MAX_BYTES: usize = 8 * 1024;
/// By how much the issuer's clock may differ from this one.
pub const LEEWAY_S: i64 = 30;
/// Shortest HS256 secret: as long as what it makes (RFC 7518, 3.2).
const SECRET_MIN_BYTES: usize = 32;
/// An RSA key of 2048 bits has a modulus of as many bytes, and so has its DER at least.
const RSA_DER_MIN_BYTES: usize = 256;

/// How tokens are signed, and what proves it.
#[derive(Clone)]
pub enum KeyMaterial {
    /// HS256: a secret shared with the issuer, at least 32 bytes.
    Hs256(Vec<u8>),
    /// RS256: the issuer's public key in PEM, at least 2048 bits.
    Rs256(String),
    /// EdDSA: the issuer's Ed25519 public key in PEM.
    EdDsa(String),
}

/// Which claim names the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserClaim {
    /// `sub`.
    Sub,
    /// `user_id`.
    UserId,
}

impl UserClaim {
    fn name(self) -> &'static str {
        match self {
            UserClaim::Sub => "sub",
            UserClaim::UserId => "user_id",
        }
    }
}

/// What makes an administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleClaim {
    /// The claim: a text, or a list of texts.
    pub claim: String,
    /// The text that means administrator.
    pub admin: String,
}

/// One key that tokens may be signed with.
#[derive(Clone)]
pub struct JwtKey {
    /// What its issuer is called in user IDs: 1 to 32 of `a-z0-9_-`, beginning with a letter or digit.
    pub name: String,
    /// Its ID, where the issuer has more than one.
    pub kid: Option<String>,
    /// The algorithm and the key.
    pub material: KeyMaterial,
    /// What `iss` must say.
    pub issuer: String,
    /// What `aud` must say, or hold.
    pub audience: String,
    /// Which claim names the user.
    pub user_claim: UserClaim,
    /// What makes an administrator; nothing, where there is none.
    pub role_claim: Option<RoleClaim>,
}

/// A configured key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("JWT key {name:?}: {problem}")]
pub struct InvalidJwtKey {
    /// Which.
    pub name: String,
    /// Why not.
    pub problem: &'static str,
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Who.
    pub caller: Caller,
    /// From when on it is not taken any more. What was begun on it ends then.
    pub expires_at: Timestamp,
}

/// Why a token is not taken. For the operator: whoever sent it hears that it is not taken, and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is longer than 8 KiB.
    #[error("longer than {TOKEN_MAX_BYTES} bytes")]
    TooLong,
    /// It is no signed token, or one of an algorithm that is never taken.
    #[error("no token, or one of an unknown algorithm")]
    Malformed,
    /// No key is configured for its algorithm and key ID.
    #[error("no key is configured for its algorithm and key ID")]
    NoKey,
    /// No configured key made this signature.
    #[error("the signature is wrong")]
    Signature,
    /// Somebody else issued it.
    #[error("iss is missing or another")]
    Issuer,
    /// It is for somebody else.
    #[error("aud is missing or another")]
    Audience,
    /// It holds no more, or does not say until when.
    #[error("exp is missing or has passed")]
    Expired,
    /// It does not hold yet.
    #[error("nbf has not come")]
    NotYet,
    /// It names nobody, or somebody who cannot be a user.
    #[error("it names no user")]
    User,
}

/// The keys that tokens may be signed with.
#[derive(Default)]
pub struct Jwt {
    keys: Vec<Key>,
}

struct Key {
    settings: JwtKey,
    algorithm: Algorithm,
    decoding: DecodingKey,
    validation: Validation,
}

impl Jwt {
    /// Takes the configured keys, all of them or none. Without any, no token is taken.
    pub fn new(keys: Vec<JwtKey>) -> Result<Jwt, InvalidJwtKey> {
        let mut issuer_of = HashMap::<String, String>::new();
        let mut keys_read = Vec::with_capacity(keys.len());
        for key in keys {
            let invalid = |problem| InvalidJwtKey { name: key.name.clone(), problem };
            if !is_name(&key.name) {
                return Err(invalid("a name is 1 to 32 of a-z0-9_- and begins with a letter or digit"));
            }
            if key.issuer.is_empty() || key.audience.is_empty() {
                return Err(invalid("issuer and audience must be given"));
            }
            let issuer = issuer_of.entry(key.name.clone()).or_insert_with(|| key.issuer.clone());
            if *issuer != key.issuer {
                return Err(invalid("another issuer has this name: their users could not be told apart"));
            }
            let (algorithm, decoding) = read(&key.material).map_err(invalid)?;
            keys_read.push(Key { algorithm, decoding, validation: signature_only(algorithm), settings: key });
        }
        Ok(Jwt { keys: keys_read })
    }

    /// Whether any key is configured.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Checks a token. `now_s` is the wall clock's time in seconds since 1970.
    pub fn verify(&self, token: &str, now_s: i64) -> Result<Verified, Refused> {
        if token.len() > TOKEN_MAX_BYTES {
            return Err(Refused::TooLong);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::Malformed)?;
        // What must be understood and is not makes a token worthless (RFC 7515, 4.1.11).
        if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
            return Err(Refused::Malformed);
        }
        let mut refused = Refused::NoKey;
        for key in self.keys.iter().filter(|key| key.is_for(&header)) {
            match key.verify(token, now_s) {
                Ok(verified) => return Ok(verified),
                // What a key says that made the signature is worth more than what others say.
                Err(Refused::Signature) if refused != Refused::NoKey => {}
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }
}

impl Key {
    fn is_for(&self, header: &Header) -> bool {
        self.algorithm == header.alg && (self.settings.kid.is_none() || self.settings.kid == header.kid)
    }

    fn verify(&self, token: &str, now_s: i64) -> Result<Verified, Refused> {
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, &self.decoding, &self.validation);
        let claims = decoded.map_err(|_| Refused::Signature)?.claims;
        self.settings.judge(&claims, now_s)
    }
}

impl JwtKey {
    /// What the claims of a token with a good signature are worth at this time.
    fn judge(&self, claims: &Map<String, Value>, now_s: i64) -> Result<Verified, Refused> {
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            return Err(Refused::Issuer);
        }
        if !claims.get("aud").is_some_and(|audience| says(audience, &self.audience)) {
            return Err(Refused::Audience);
        }
        let until_s = claims.get("exp").and_then(seconds).ok_or(Refused::Expired)?.saturating_add(LEEWAY_S);
        if now_s >= until_s {
            return Err(Refused::Expired);
        }
        let from_s = claims.get("nbf").map(|nbf| seconds(nbf).ok_or(Refused::NotYet)).transpose()?;
        if from_s.is_some_and(|from_s| now_s < from_s.saturating_sub(LEEWAY_S)) {
            return Err(Refused::NotYet);
        }
        let subject = claims.get(self.user_claim.name()).and_then(Value::as_str).filter(|text| !text.is_empty());
        let user: UserId =
            format!("{}:{}", self.name, subject.ok_or(Refused::User)?).parse().map_err(|_| Refused::User)?;
        let caller = Caller { user, role: self.role(claims), credential: format!("jwt:{}", self.name) };
        Ok(Verified { caller, expires_at: Timestamp::from_ms(until_s.saturating_mul(1000)) })
    }

    fn role(&self, claims: &Map<String, Value>) -> Role {
        let admin = self.role_claim.as_ref().is_some_and(|role| {
            let said = claims.get(&role.claim);
            said.is_some_and(|said| says(said, &role.admin))
        });
        if admin { Role::Admin } else { Role::User }
    }
}

/// Whether a claim is this text, or a list that holds it.
fn says(claim: &Value, text: &str) -> bool {
    match claim {
        Value::String(said) => said == text,
        Value::Array(said) => said.iter().any(|said| said.as_str() == Some(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// Seconds since 1970, with or without a fraction.
fn seconds(claim: &Value) -> Option<i64> {
    claim.as_i64().or_else(|| claim.as_f64().filter(|s| (0.0..4e12).contains(s)).map(|s| s as i64))
}

/// The claims are judged here, by a clock that is handed in.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims = HashSet::new();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
        && name.as_bytes()[0].is_ascii_alphanumeric()
}

fn read(material: &KeyMaterial) -> Result<(Algorithm, DecodingKey), &'static str> {
    match material {
        KeyMaterial::Hs256(secret) if secret.len() < SECRET_MIN_BYTES => Err("an HS256 secret has at least 32 bytes"),
        // Whoever knows a public key could sign with it.
        KeyMaterial::Hs256(secret) if secret.trim_ascii_start().starts_with(b"-----BEGIN") => {
            Err("this is a PEM file, no HS256 secret")
        }
        KeyMaterial::Hs256(secret) => Ok((Algorithm::HS256, DecodingKey::from_secret(secret))),
        KeyMaterial::Rs256(pem) if !is_public(pem) => Err("RS256 takes the issuer's public key in PEM"),
        KeyMaterial::Rs256(pem) => match DecodingKey::from_rsa_pem(pem.as_bytes()) {
            Ok(key) if key.as_bytes().len() > RSA_DER_MIN_BYTES => Ok((Algorithm::RS256, key)),
            Ok(_) => Err("an RSA key has at least 2048 bits"),
            Err(_) => Err("this is no RSA public key in PEM"),
        },
        KeyMaterial::EdDsa(pem) if !is_public(pem) => Err("EdDSA takes the issuer's public key in PEM"),
        KeyMaterial::EdDsa(pem) => match DecodingKey::from_ed_pem(pem.as_bytes()) {
            Ok(key) => Ok((Algorithm::EdDSA, key)),
            Err(_) => Err("this is no Ed25519 public key in PEM"),
        },
    }
}

fn is_public(pem: &str) -> bool {
    ["-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----"].iter().any(|tag| pem.trim_start().starts_with(tag))
}
