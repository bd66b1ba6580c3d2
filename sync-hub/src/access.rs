//! Who may come: tokens (JWT, RFC 7519), signed with HS256 or EdDSA (RFC 7515, RFC 8037).

use std::fmt;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
};
use serde::{Deserialize, Serialize};
use sync_core::session::{Documents, Grant, Rule};
use sync_core::wire::Fault;
use thiserror::Error;

/// The fewest bytes of a secret: as many as HS256 gives (RFC 7518, section 3.2).
pub const SECRET_BYTES_MIN: usize = 32;

/// The most keys that tokens may be signed with at a time. Arbitrary.
pub const KEYS_MAX: usize = 16;

/// For how long before it begins a token is taken, in seconds: clocks differ. Arbitrary.
const EARLY_SECONDS_MAX: u64 = 60;

/// What stands behind the beginning of names in a token that stands for all of them.
const ANY: char = '*';

/// What a token says: who it is for, what of, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The subject: who it is for.
    #[serde(rename = "sub")]
    pub subject: String,
    /// Which documents may be read: names, or the beginnings of names with `*` behind them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<String>,
    /// Which documents may be read and written, likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub write: Vec<String>,
    /// When it ends, in seconds since 1970.
    #[serde(rename = "exp")]
    pub ends: u64,
    /// From when on it counts, in seconds since 1970.
    #[serde(rename = "nbf", default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<u64>,
}

impl Claims {
    /// What a hub grants to whoever has such a token.
    #[must_use]
    pub fn grant(self) -> Grant {
        let rules = |names: Vec<String>, writes| {
            names.into_iter().map(move |name| Rule { documents: documents(name), writes })
        };
        Grant {
            subject: self.subject,
            rules: rules(self.write, true).chain(rules(self.read, false)).collect(),
            ends_ms: Some(self.ends.saturating_mul(1_000)),
        }
    }
}

fn documents(name: String) -> Documents {
    match name.strip_suffix(ANY) {
        Some(start) => Documents::StartingWith(start.to_owned()),
        None => Documents::Named(name),
    }
}

/// Why a key or a token is of no use.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// A key could not be read.
    #[error("the key {} cannot be read: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A secret is too short to be one.
    #[error(
        "the key {} has {found} bytes, and a secret needs {SECRET_BYTES_MIN}; \
         make one with `sync-hub token key`", path.display()
    )]
    Short {
        /// Which.
        path: PathBuf,
        /// How many bytes it has.
        found: usize,
    },
    /// A key is of another kind than is needed.
    #[error("the key {}: {what}", path.display())]
    Kind {
        /// Which.
        path: PathBuf,
        /// What it is, and what is needed.
        what: &'static str,
    },
    /// There are too many keys.
    #[error("there are {found} keys, and the limit is {KEYS_MAX}; leave out those of ended tokens")]
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// A token says nothing that could be read, or could not be signed.
    #[error("the token cannot be read or signed: {0}")]
    Token(String),
}

/// What a file with a key holds.
enum KeyFile {
    Secret(Vec<u8>),
    Public(Vec<u8>),
    Private(Vec<u8>),
}

fn read_key(path: &Path) -> Result<KeyFile, TokenError> {
    let unreadable = |error| TokenError::Unreadable { path: path.into(), error };
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let bytes = bytes.trim_ascii();
    let begins = |what: &str| bytes.starts_with(what.as_bytes());
    if begins("-----BEGIN PUBLIC KEY") {
        return Ok(KeyFile::Public(bytes.into()));
    }
    if begins("-----BEGIN PRIVATE KEY") {
        return Ok(KeyFile::Private(bytes.into()));
    }
    if begins("-----BEGIN") {
        let what = "it is neither a public nor a private key of Ed25519 in PEM";
        return Err(TokenError::Kind { path: path.into(), what });
    }
    if bytes.len() < SECRET_BYTES_MIN {
        return Err(TokenError::Short { path: path.into(), found: bytes.len() });
    }
    Ok(KeyFile::Secret(bytes.into()))
}

/// The keys that tokens are held against: any of them is enough, so that one can be renewed.
#[derive(Clone)]
pub struct TokenKeys {
    keys: Vec<(Algorithm, DecodingKey)>,
}

/// Without the keys.
impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms = self.keys.iter().map(|(algorithm, _)| algorithm);
        f.debug_list().entries(algorithms).finish()
    }
}

impl TokenKeys {
    /// Reads files, each with one key: a secret of at least [`SECRET_BYTES_MIN`] bytes, which stands for
    /// HS256, or a public key of Ed25519 in PEM. Space around them does not count.
    pub fn read<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self, TokenError> {
        let mut keys = Vec::new();
        for path in paths {
            let path = path.as_ref();
            keys.push(match read_key(path)? {
                KeyFile::Secret(secret) => (Algorithm::HS256, DecodingKey::from_secret(&secret)),
                KeyFile::Public(pem) => {
                    let what = "it is no public key of Ed25519";
                    let kind = |_| TokenError::Kind { path: path.into(), what };
                    (Algorithm::EdDSA, DecodingKey::from_ed_pem(&pem).map_err(kind)?)
                }
                KeyFile::Private(_) => {
                    let what = "it is a private key, and a hub needs only the public one: \
                        `openssl pkey -in FILE -pubout`";
                    return Err(TokenError::Kind { path: path.into(), what });
                }
            });
        }
        if keys.len() > KEYS_MAX {
            return Err(TokenError::TooMany { found: keys.len() });
        }
        Ok(Self { keys })
    }

    /// What a token grants at this time, in milliseconds since 1970, or why it is not accepted.
    pub fn check(&self, token: Option<&str>, now_ms: u64) -> Result<Grant, Fault> {
        let refused = |why: &'static str| Fault::Unauthorized(why.into());
        let token = token.ok_or_else(|| refused("there is none"))?;
        decode_header(token).map_err(|_| refused("it is no JWT"))?;
        let mut reason = refused("this hub has no keys");
        for (algorithm, key) in &self.keys {
            // Times are looked at by the hub's clock.
            let mut validation = Validation::new(*algorithm);
            validation.validate_exp = false;
            match decode::<Claims>(token, key, &validation) {
                Ok(data) => return current(data.claims, now_ms).map(Claims::grant),
                Err(error) => reason = refused(why(&error)),
            }
        }
        Err(reason)
    }
}

/// The claims, if they hold now.
fn current(claims: Claims, now_ms: u64) -> Result<Claims, Fault> {
    let now = now_ms / 1_000;
    if claims.ends <= now {
        return Err(Fault::Unauthorized("it has ended".into()));
    }
    if claims.starts.is_some_and(|starts| starts > now.saturating_add(EARLY_SECONDS_MAX)) {
        return Err(Fault::Unauthorized("it does not count yet".into()));
    }
    Ok(claims)
}

#[allow(clippy::wildcard_enum_match_arm, reason = "all others are about its form")]
fn why(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::InvalidSignature => "its signature is not of a key of this hub",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
            "it is signed with another algorithm than the keys of this hub"
        }
        ErrorKind::InvalidAudience => "it is for another audience",
        ErrorKind::MissingRequiredClaim(_)
        | ErrorKind::InvalidClaimFormat(_)
        | ErrorKind::Json(_) => {
            "its claims are not those of this hub: sub and exp, and read or write as lists of names"
        }
        _ => "it is no JWT",
    }
}

/// Signs a token with the key of a file: a secret, or a private key of Ed25519 in PEM.
pub fn sign_token(claims: &Claims, key: &Path) -> Result<String, TokenError> {
    let (algorithm, encoding) = match read_key(key)? {
        KeyFile::Secret(secret) => (Algorithm::HS256, EncodingKey::from_secret(&secret)),
        KeyFile::Private(pem) => {
            let what = "it is no private key of Ed25519";
            let kind = |_| TokenError::Kind { path: key.into(), what };
            (Algorithm::EdDSA, EncodingKey::from_ed_pem(&pem).map_err(kind)?)
        }
        KeyFile::Public(_) => {
            let what = "it is a public key, and signing needs the private one";
            return Err(TokenError::Kind { path: key.into(), what });
        }
    };
    let signed = encode(&Header::new(algorithm), claims, &encoding);
    signed.map_err(|error| TokenError::Token(error.to_string()))
}

/// What a token says, whoever signed it.
pub fn inspect_token(token: &str) -> Result<Claims, TokenError> {
    let claims = jsonwebtoken::dangerous::insecure_decode_claims::<Claims>(token.trim());
    claims.map_err(|error| TokenError::Token(why(&error).to_owned()))
}

/// A fresh secret for HS256, as text.
pub fn new_secret() -> Result<String, TokenError> {
    let mut bytes = [0; SECRET_BYTES_MIN];
    getrandom::fill(&mut bytes).map_err(|error| TokenError::Token(error.to_string()))?;
    Ok(HEXLOWER.encode(&bytes))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn claims() -> Claims {
        Claims {
            subject: "anna".into(),
            read: vec!["team/*".into()],
            write: vec!["notes".into()],
            ends: NOW_MS / 1_000 + 60,
            starts: None,
        }
    }

    fn file(folder: &TempDir, name: &str, text: &str) -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn refused(keys: &TokenKeys, token: &str) -> String {
        keys.check(Some(token), NOW_MS).unwrap_err().to_string()
    }

    #[test]
    fn a_token_grants_what_it_says_and_only_under_its_own_key() {
        let folder = TempDir::new().unwrap();
        let key = file(&folder, "key", &new_secret().unwrap());
        let other = file(&folder, "other", &new_secret().unwrap());
        let token = sign_token(&claims(), &key).unwrap();
        let keys = TokenKeys::read([&key]).unwrap();
        let grant = keys.check(Some(&token), NOW_MS).unwrap();
        assert_eq!(grant.subject, "anna");
        assert!(grant.writes("notes") && !grant.writes("team/a") && grant.reads("team/a"));
        assert!(!grant.reads("other"));
        assert_eq!(grant.ends_ms, Some(NOW_MS + 60_000));
        assert_eq!(inspect_token(&token).unwrap(), claims());
        let others = TokenKeys::read([&other]).unwrap();
        assert!(refused(&others, &token).contains("signature"));
        let both = TokenKeys::read([&other, &key]).unwrap();
        assert!(both.check(Some(&token), NOW_MS).is_ok(), "one of the keys is enough");
        assert!(both.check(None, NOW_MS).unwrap_err().to_string().contains("there is none"));
        assert!(!format!("{keys:?}").contains(&std::fs::read_to_string(&key).unwrap()));
    }

    #[test]
    fn a_token_counts_from_its_beginning_to_its_end_by_the_hubs_clock() {
        let folder = TempDir::new().unwrap();
        let key = file(&folder, "key", &new_secret().unwrap());
        let keys = TokenKeys::read([&key]).unwrap();
        let now = NOW_MS / 1_000;
        for (starts, ends, is_taken) in [
            (None, now + 1, true),
            (None, now, false),
            (None, now - 1, false),
            (Some(now + EARLY_SECONDS_MAX - 1), now + 90, true),
            (Some(now + EARLY_SECONDS_MAX), now + 90, true),
            (Some(now + EARLY_SECONDS_MAX + 1), now + 90, false),
        ] {
            let token = sign_token(&Claims { starts, ends, ..claims() }, &key).unwrap();
            let taken = keys.check(Some(&token), NOW_MS);
            assert_eq!(taken.is_ok(), is_taken, "from {starts:?} to {ends}: {taken:?}");
        }
    }

    #[test]
    fn what_is_no_token_of_this_hub_is_told_why() {
        let folder = TempDir::new().unwrap();
        let key = file(&folder, "key", &new_secret().unwrap());
        let keys = TokenKeys::read([&key]).unwrap();
        let token = sign_token(&claims(), &key).unwrap();
        let (head, rest) = token.split_once('.').unwrap();
        let (body, signature) = rest.split_once('.').unwrap();
        let base64 = |json: &str| data_encoding::BASE64URL_NOPAD.encode(json.as_bytes());
        let unsigned = base64(r#"{"alg":"none","typ":"JWT"}"#);
        let longer = base64(
            &serde_json::to_string(&Claims { write: vec!["*".into()], ..claims() }).unwrap(),
        );
        for (token, why) in [
            (String::new(), "no JWT"),
            ("a.b.c".into(), "no JWT"),
            (format!("{head}.{longer}.{signature}"), "signature"),
            (format!("{unsigned}.{body}."), "no JWT"),
            (format!("{unsigned}.{body}.{signature}"), "no JWT"),
            (format!("{}.{body}.{signature}", base64(r#"{"alg":"EdDSA"}"#)), "another algorithm"),
        ] {
            let reason = refused(&keys, &token);
            assert!(reason.contains(why), "{token}: {reason}");
        }
        let encoding = EncodingKey::from_secret(std::fs::read(&key).unwrap().trim_ascii());
        for claims in [
            serde_json::json!({ "sub": "anna", "write": ["notes"] }),
            serde_json::json!({ "exp": NOW_MS, "write": ["notes"] }),
            serde_json::json!({ "sub": "anna", "exp": "soon" }),
            serde_json::json!({ "sub": "anna", "exp": NOW_MS, "write": "notes" }),
        ] {
            let token = encode(&Header::new(Algorithm::HS256), &claims, &encoding).unwrap();
            assert!(refused(&keys, &token).contains("claims"), "{claims}");
        }
        let audience = serde_json::json!({ "sub": "anna", "exp": NOW_MS, "aud": "elsewhere" });
        let token = encode(&Header::new(Algorithm::HS256), &audience, &encoding).unwrap();
        assert!(refused(&keys, &token).contains("audience"));
    }

    #[test]
    fn keys_that_are_of_no_use_are_refused_with_what_to_do() {
        let folder = TempDir::new().unwrap();
        for (text, what) in [
            ("x".repeat(SECRET_BYTES_MIN - 1), Some("sync-hub token key")),
            (format!(" {}\n", "x".repeat(SECRET_BYTES_MIN - 1)), Some("sync-hub token key")),
            ("x".repeat(SECRET_BYTES_MIN), None),
            ("x".repeat(SECRET_BYTES_MIN + 1), None),
            (
                "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----".into(),
                Some("-pubout"),
            ),
            ("-----BEGIN PUBLIC KEY-----\nMC4=\n-----END PUBLIC KEY-----".into(), Some("Ed25519")),
            ("-----BEGIN CERTIFICATE-----\n".into(), Some("neither")),
        ] {
            let read = TokenKeys::read([file(&folder, "key", &text)]);
            match (what, read) {
                (None, read) => assert!(read.is_ok(), "{text}"),
                (Some(what), read) => {
                    let error = read.unwrap_err().to_string();
                    assert!(error.contains(what), "{error}");
                }
            }
        }
        let missing = TokenKeys::read([folder.path().join("missing")]).unwrap_err();
        assert!(missing.to_string().contains("missing"));
        let key = file(&folder, "key", &new_secret().unwrap());
        for count in [KEYS_MAX - 1, KEYS_MAX, KEYS_MAX + 1] {
            assert_eq!(TokenKeys::read(vec![&key; count]).is_ok(), count <= KEYS_MAX);
        }
    }

    #[test]
    fn ed25519_signs_with_the_private_key_and_holds_with_the_public_one() {
        // Of RFC 8410, section 10.
        const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
            MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
            -----END PUBLIC KEY-----\n";
        let folder = TempDir::new().unwrap();
        let (private, public) = (file(&folder, "a", PRIVATE), file(&folder, "b", PUBLIC));
        let token = sign_token(&claims(), &private).unwrap();
        let keys = TokenKeys::read([&public]).unwrap();
        assert_eq!(keys.check(Some(&token), NOW_MS).unwrap().subject, "anna");
        assert!(sign_token(&claims(), &public).unwrap_err().to_string().contains("private"));
        // A public key is no secret: nobody may use it as one.
        let secret = file(&folder, "secret", &PUBLIC.replace("-----", "====="));
        let forged = sign_token(&claims(), &secret).unwrap();
        assert!(refused(&keys, &forged).contains("another algorithm"));
    }
}
