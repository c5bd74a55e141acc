//! The Ed25519 keys of logs and witnesses, and their text form, the *vkey*.
//!
//! Implements `signed-note` (verifier keys, key ids, signature types 0x01 and 0x04). It does not read the other
//! types, makes no randomness, and has no text form for a secret.

use alloc::string::{String, ToString};
use core::fmt;

use ed25519_dalek::{Signature, Signer, VerifyingKey};

use crate::base64;
use crate::error::{ParseError, VerifyError};
use crate::hash::{Hash, sha256};
use crate::line::split_once;

/// The longest name of a key in bytes: a log's key has its origin for a name.
const MAX_NAME_BYTES: usize = 255;

/// The first line of every cosigned message. A log of this name would sign texts that read as cosignatures.
const COSIGNATURE_HEADER: &str = "cosignature/v1";

/// What a key signs, and so the signature type in its key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyType {
    /// A log's key, which signs checkpoints: type 0x01.
    Log,
    /// A witness's key, which signs that it saw a checkpoint and when: type 0x04.
    Witness,
}

impl KeyType {
    const fn byte(self) -> u8 {
        match self {
            Self::Log => 0x01,
            Self::Witness => 0x04,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Log),
            0x04 => Some(Self::Witness),
            _ => None,
        }
    }
}

/// A public key with the name it signs under.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key_type: KeyType,
    key_id: [u8; 4],
    public_key: VerifyingKey,
}

impl VerifierKey {
    /// The key of that name and type with the 32 bytes of RFC 8032.
    ///
    /// # Errors
    /// [`ParseError::VerifierKey`] for a name that is empty, longer than 255 bytes, or holds white space, `+` or a
    /// control character; for a log named `cosignature/v1`; and for bytes that are no point on the curve, not the
    /// point's canonical encoding, or a point of small order, for which anyone can make signatures.
    pub fn new(name: &str, key_type: KeyType, public_key: &[u8; 32]) -> Result<Self, ParseError> {
        let fits = is_key_name(name) && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control);
        if !fits || key_type == KeyType::Log && name == COSIGNATURE_HEADER {
            return Err(ParseError::VerifierKey);
        }
        let key = VerifyingKey::from_bytes(public_key).map_err(|_| ParseError::VerifierKey)?;
        // Two encodings of one point would pass for two keys.
        if key.is_weak() || key.to_edwards().compress().as_bytes() != public_key {
            return Err(ParseError::VerifierKey);
        }
        let key_id = key_id(name, key_type, public_key);
        Ok(Self { name: name.to_string(), key_type, key_id, public_key: key })
    }

    /// Reads a vkey: `NAME+KEYID+BASE64`, split at the first two `+`, since base64 has that character too.
    ///
    /// # Errors
    /// [`ParseError::VerifierKey`] for what [`VerifierKey::new`] refuses, for a type that is neither 0x01 nor 0x04,
    /// and for a key id that is not eight lowercase hexadecimal digits or not the key's;
    /// [`ParseError::Base64`] for key material that is not canonical base64.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, ParseError> {
        let (name, rest) = split_once(text.as_ref(), b'+').ok_or(ParseError::VerifierKey)?;
        let name = core::str::from_utf8(name).map_err(|_| ParseError::VerifierKey)?;
        let (id, material) = split_once(rest, b'+').ok_or(ParseError::VerifierKey)?;
        let material = base64::parse(material)?;
        let (&byte, public_key) = material.split_first().ok_or(ParseError::VerifierKey)?;
        let key_type = KeyType::from_byte(byte).ok_or(ParseError::VerifierKey)?;
        let public_key = public_key.try_into().map_err(|_| ParseError::VerifierKey)?;
        let key = Self::new(name, key_type, public_key)?;
        if key.key_id_text() == id { Ok(key) } else { Err(ParseError::VerifierKey) }
    }

    /// The name that the key signs under; a log's origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the key signs.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The four bytes that tell keys of one name apart.
    #[must_use]
    pub const fn key_id(&self) -> [u8; 4] {
        self.key_id
    }

    /// The 32 bytes of the Ed25519 public key (RFC 8032 §5.1.5).
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.public_key.to_bytes()
    }

    /// Whether this key made `signature`, 64 bytes, over `message` (RFC 8032 §5.1.7, and no malleable signatures).
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
        let signature = Signature::from_slice(signature).map_err(|_| VerifyError::BadSignature)?;
        self.public_key.verify_strict(message, &signature).map_err(|_| VerifyError::BadSignature)
    }

    fn key_id_text(&self) -> [u8; 8] {
        let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' - 10 + value };
        let [a, b, c, d] = self.key_id.map(|byte| [digit(byte >> 4), digit(byte & 0xf)]);
        [a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]]
    }
}

/// The vkey.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let material = [&[self.key_type.byte()], &self.public_key.as_bytes()[..]].concat();
        let id = self.key_id_text();
        let id = core::str::from_utf8(&id).unwrap_or_default();
        write!(f, "{}+{id}+{}", self.name, base64::format(&material))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

/// A secret key with the name it signs under; the secret is wiped from memory when this is dropped.
pub struct SigningKey {
    secret: ed25519_dalek::SigningKey,
    verifier_key: VerifierKey,
}

impl SigningKey {
    /// The key of that name and type from the 32 secret bytes of RFC 8032. The caller wipes its own copy.
    ///
    /// # Errors
    /// [`ParseError::VerifierKey`] for a name that [`VerifierKey::new`] refuses.
    pub fn new(name: &str, key_type: KeyType, seed: &[u8; 32]) -> Result<Self, ParseError> {
        let secret = ed25519_dalek::SigningKey::from_bytes(seed);
        let verifier_key = VerifierKey::new(name, key_type, secret.verifying_key().as_bytes())?;
        Ok(Self { secret, verifier_key })
    }

    /// The public half.
    #[must_use]
    pub const fn verifier_key(&self) -> &VerifierKey {
        &self.verifier_key
    }

    /// The signature over `message` (RFC 8032 §5.1.6).
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.secret.sign(message).to_bytes()
    }
}

/// The public half only.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifier_key)
    }
}

/// Whether a note's signature line may carry this name: not empty, no Unicode white space, no `+`.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c == '+' || c.is_whitespace())
}

/// The first four bytes of `SHA-256(name || 0x0A || type || public key)`.
fn key_id(name: &str, key_type: KeyType, public_key: &[u8; 32]) -> [u8; 4] {
    let Hash([a, b, c, d, ..]) = sha256(&[name.as_bytes(), &[b'\n', key_type.byte()], public_key].concat());
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of `signed-note`.
    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    fn vkey(name: &str, public_key: &[u8; 32]) -> Result<VerifierKey, ParseError> {
        VerifierKey::new(name, KeyType::Log, public_key)
    }

    #[test]
    fn reads_and_writes_the_example_of_the_specification() {
        let key = VerifierKey::parse(VKEY).unwrap();
        assert_eq!(key.name(), "example.com/foo");
        assert_eq!(key.key_type(), KeyType::Log);
        assert_eq!(key.key_id(), [0x53, 0x0d, 0x90, 0x3a]);
        assert_eq!(key.public_key()[..4], [0xe9, 0x32, 0x79, 0x1a]);
        assert_eq!(key.to_string(), VKEY);
    }

    #[test]
    fn the_type_is_part_of_the_key_id() {
        let log = SigningKey::new("example.com", KeyType::Log, &[7; 32]).unwrap();
        let witness = SigningKey::new("example.com", KeyType::Witness, &[7; 32]).unwrap();
        assert_eq!(log.verifier_key().public_key(), witness.verifier_key().public_key());
        assert_ne!(log.verifier_key().key_id(), witness.verifier_key().key_id());
        for key in [log.verifier_key(), witness.verifier_key()] {
            assert_eq!(VerifierKey::parse(key.to_string()).as_ref(), Ok(key));
        }
    }

    #[test]
    fn splits_at_the_first_two_plus_signs_only() {
        // Half of all keys have a `+` in their base64.
        let key = (0..=255)
            .map(|seed| SigningKey::new("example.com", KeyType::Log, &[seed; 32]).unwrap())
            .map(|key| key.verifier_key().clone())
            .find(|key| key.to_string().matches('+').count() > 2)
            .unwrap();
        assert_eq!(VerifierKey::parse(key.to_string()), Ok(key));
    }

    #[test]
    fn rejects_an_id_that_is_not_the_keys() {
        for id in ["530d903b", "530D903A", "530d903", "0530d903a", "", "+530d903"] {
            let text = VKEY.replace("530d903a", id);
            assert!(VerifierKey::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn rejects_names_that_no_signature_line_can_carry() {
        let key = VerifierKey::parse(VKEY).unwrap().public_key();
        let long = "n".repeat(256);
        for name in ["", " ", "a b", "a\u{a0}b", "a\u{2003}b", "a\nb", "a+b", "a\u{7f}b", "a\u{9b}b", &long] {
            assert_eq!(vkey(name, &key), Err(ParseError::VerifierKey), "{name:?}");
        }
        assert!(vkey(&long[1..], &key).is_ok());
    }

    #[test]
    fn a_log_cannot_be_named_as_a_cosigned_message_begins() {
        for (key_type, allowed) in [(KeyType::Log, false), (KeyType::Witness, true)] {
            assert_eq!(SigningKey::new("cosignature/v1", key_type, &[1; 32]).is_ok(), allowed);
        }
    }

    #[test]
    fn rejects_points_of_small_order_and_other_encodings() {
        let one = {
            let mut bytes = [0; 32];
            bytes[0] = 1;
            bytes
        };
        // p + 1, another encoding of 1; p + 3, of the point with y = 3.
        let beyond = |y: u8| {
            let mut bytes = [0xff; 32];
            bytes[0] = 0xed + y;
            bytes[31] = 0x7f;
            bytes
        };
        let no_point = {
            let mut bytes = [0; 32];
            bytes[0] = 2;
            bytes
        };
        for bytes in [[0; 32], one, beyond(0), beyond(1), beyond(3), no_point] {
            assert_eq!(vkey("example.com", &bytes), Err(ParseError::VerifierKey), "{bytes:?}");
        }
        let three = {
            let mut bytes = [0; 32];
            bytes[0] = 3;
            bytes
        };
        assert!(vkey("example.com", &three).is_ok(), "y = 3 itself is a point of the large group");
    }

    #[test]
    fn shows_no_secret() {
        let key = SigningKey::new("example.com", KeyType::Log, &[7; 32]).unwrap();
        assert_eq!(alloc::format!("{key:?}"), alloc::format!("SigningKey({})", key.verifier_key()));
    }
}
