//! An authenticator in software: makes passkeys and signs with them as a person's device would (WebAuthn, level 3),
//! and errs where a test says so.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer as _;
use p256::ecdsa::signature::Signer as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Flags of authenticator data.
const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const HAS_KEY: u8 = 0x40;

enum Key {
    P256(p256::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

/// A device with one passkey.
pub struct Device {
    key: Key,
    /// What it calls the passkey.
    pub id: Vec<u8>,
    /// Whose the passkey is, as the site said.
    pub user: Vec<u8>,
    /// Sign-ins so far; 0 for a device that does not count.
    pub count: u32,
    /// Where the page is that asks.
    pub origin: String,
    /// The host that the passkey is for.
    pub host: String,
    /// Whether it looks who holds it.
    pub verifies: bool,
}

impl Device {
    /// A device with a key of the NIST curve, as most have.
    pub fn p256(seed: u8) -> Self {
        let key = p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap();
        Self::with(Key::P256(key), seed)
    }

    /// A device with an Edwards key.
    pub fn ed25519(seed: u8) -> Self {
        Self::with(
            Key::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[seed; 32])),
            seed,
        )
    }

    fn with(key: Key, seed: u8) -> Self {
        Self {
            key,
            id: vec![seed; 16],
            user: Vec::new(),
            count: 0,
            origin: "http://localhost:8600".to_owned(),
            host: "localhost".to_owned(),
            verifies: true,
        }
    }

    /// What the browser answers when it is asked to make a passkey.
    pub fn make(&mut self, options: &Value) -> Value {
        let user = options["user"]["id"].as_str().unwrap();
        self.user = URL_SAFE_NO_PAD.decode(user).unwrap();
        let client = self.client("webauthn.create", options);
        let mut data = self.data(HAS_KEY);
        data.extend([0; 16]);
        data.extend((self.id.len() as u16).to_be_bytes());
        data.extend(&self.id);
        data.extend(self.public_key());
        // A map of CBOR: {"fmt": "none", "attStmt": {}, "authData": data}.
        let mut object = vec![0xa3, 0x63];
        object.extend(b"fmt\x64none\x67attStmt\xa0\x68authData");
        object.extend([0x58, u8::try_from(data.len()).unwrap()]);
        object.extend(&data);
        let id = URL_SAFE_NO_PAD.encode(&self.id);
        json!({"id": id, "rawId": id, "type": "public-key", "authenticatorAttachment": "platform",
            "clientExtensionResults": {}, "response": {
                "clientDataJSON": URL_SAFE_NO_PAD.encode(client),
                "attestationObject": URL_SAFE_NO_PAD.encode(object),
                "transports": ["internal"]}})
    }

    /// What the browser answers when it is asked to sign.
    pub fn sign(&self, options: &Value) -> Value {
        let client = self.client("webauthn.get", options);
        self.sign_text(&client)
    }

    /// Signs what some page's browser says of itself.
    pub fn sign_text(&self, client: &[u8]) -> Value {
        let data = self.data(0);
        let signed = [data.as_slice(), &Sha256::digest(client)].concat();
        let signature = match &self.key {
            Key::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(&signed);
                signature.to_der().as_bytes().to_vec()
            }
            Key::Ed25519(key) => key.sign(&signed).to_bytes().to_vec(),
        };
        let id = URL_SAFE_NO_PAD.encode(&self.id);
        json!({"id": id, "rawId": id, "type": "public-key", "authenticatorAttachment": "platform",
            "clientExtensionResults": {}, "response": {
                "clientDataJSON": URL_SAFE_NO_PAD.encode(client),
                "authenticatorData": URL_SAFE_NO_PAD.encode(data),
                "signature": URL_SAFE_NO_PAD.encode(signature),
                "userHandle": URL_SAFE_NO_PAD.encode(&self.user)}})
    }

    /// What the browser says of the page that asks.
    pub fn client(&self, kind: &str, options: &Value) -> Vec<u8> {
        let challenge = options["challenge"].as_str().unwrap();
        let text = format!(
            "{{\"type\":\"{kind}\",\"challenge\":\"{challenge}\",\"origin\":\"{}\",\"crossOrigin\":false}}",
            self.origin
        );
        text.into_bytes()
    }

    /// Authenticator data, up to the key.
    fn data(&self, more: u8) -> Vec<u8> {
        let verified = if self.verifies { VERIFIED } else { 0 };
        let mut data = Sha256::digest(self.host.as_bytes()).to_vec();
        data.push(PRESENT | verified | more);
        data.extend(self.count.to_be_bytes());
        data
    }

    /// The public key as COSE writes it.
    fn public_key(&self) -> Vec<u8> {
        match &self.key {
            Key::P256(key) => {
                let point = key.verifying_key().to_encoded_point(false);
                let head = [0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20];
                let (x, y) = (point.x().unwrap(), point.y().unwrap());
                [head.as_slice(), x, &[0x22, 0x58, 0x20], y].concat()
            }
            Key::Ed25519(key) => {
                let head = [0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 0x20];
                [head.as_slice(), key.verifying_key().as_bytes()].concat()
            }
        }
    }
}
