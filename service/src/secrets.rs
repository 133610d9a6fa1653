//! Random secrets and how they are kept: only hashes reach the store.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::{Result, ServiceError};

/// Prefix of API tokens, so that scanners recognise a leaked one.
pub(crate) const TOKEN_PREFIX: &str = "plb_";

/// 32 random bytes, URL-safe base64 (43 characters).
pub(crate) fn random_secret() -> Result<String> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(ServiceError::internal)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// What the store keeps of a session secret or API token: BLAKE3, hex. The
/// secrets have 256 random bits, so a fast hash is enough.
pub(crate) fn fingerprint(secret: &str) -> String {
    blake3::hash(secret.as_bytes()).to_hex().to_string()
}

/// Argon2id in PHC format with a fresh salt. Takes tens of milliseconds.
pub(crate) fn hash_password(password: &str) -> Result<String> {
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(ServiceError::internal)
}

/// Whether `password` fits `stored`. With no stored hash it still does the
/// work of one check, so that timing does not tell which handles exist.
pub(crate) fn verify_password(password: &str, stored: Option<&str>) -> bool {
    // Hash of a random string nobody has.
    const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Z2Z0dUVmc3NuZGtqc2Fka2pzYWRrbGphc2RsYXM";
    let Ok(parsed) = PasswordHash::new(stored.unwrap_or(NOBODY)) else {
        return false;
    };
    Argon2::default()
        .verify_password(password.as_bytes(), &parsed)
        .is_ok()
        && stored.is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn passwords_verify_only_against_their_own_hash() {
        let hash = hash_password("correct horse battery").unwrap();
        assert!(verify_password("correct horse battery", Some(&hash)));
        assert!(!verify_password("correct horse batterz", Some(&hash)));
        assert!(!verify_password("correct horse battery", None));
        assert!(!verify_password(
            "correct horse battery",
            Some("not a hash")
        ));
    }

    #[test]
    fn the_hash_of_nobody_is_well_formed_so_the_check_costs_the_same() {
        let started = std::time::Instant::now();
        assert!(!verify_password("whatever", None));
        assert!(
            started.elapsed().as_micros() > 500,
            "the dummy check was skipped"
        );
    }

    #[test]
    fn secrets_differ_and_are_long() {
        let (a, b) = (random_secret().unwrap(), random_secret().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), 43);
        assert_eq!(fingerprint(&a).len(), 64);
    }
}
