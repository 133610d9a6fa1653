//! Random secrets and how they are kept: only hashes reach the store.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::entropy::Entropy;
use crate::{Result, ServiceError};

/// Prefix of API tokens, so that scanners recognise a leaked one.
pub(crate) const TOKEN_PREFIX: &str = "plb_";

/// 32 random bytes, URL-safe base64 (43 characters).
pub(crate) fn random_secret(entropy: &dyn Entropy) -> Result<String> {
    let mut bytes = [0u8; 32];
    entropy.fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// What the store keeps of a session secret or API token: BLAKE3, hex. The
/// secrets have 256 random bits, so a fast hash is enough.
pub(crate) fn fingerprint(secret: &str) -> String {
    blake3::hash(secret.as_bytes()).to_hex().to_string()
}

/// Memory and passes of Argon2id for new passwords. The default takes tens of milliseconds; only a
/// simulation with thousands of accounts that nobody attacks has a reason for less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory, KiB; at least 8.
    pub memory_kib: u32,
    /// Passes over it; at least 1.
    pub passes: u32,
}

impl Default for PasswordCost {
    fn default() -> Self {
        Self {
            memory_kib: Params::DEFAULT_M_COST,
            passes: Params::DEFAULT_T_COST,
        }
    }
}

/// Argon2id in PHC format with a fresh salt of 16 bytes.
pub(crate) fn hash_password(
    password: &str,
    cost: PasswordCost,
    entropy: &dyn Entropy,
) -> Result<String> {
    let mut salt = [0u8; 16];
    entropy.fill(&mut salt)?;
    let params =
        Params::new(cost.memory_kib, cost.passes, 1, None).map_err(ServiceError::internal)?;
    let hash: PasswordHash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(ServiceError::internal)?;
    Ok(hash.to_string())
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
    use crate::entropy::OsEntropy;

    #[test]
    fn passwords_verify_only_against_their_own_hash() {
        let hash =
            hash_password("correct horse battery", PasswordCost::default(), &OsEntropy).unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
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
        let (a, b) = (
            random_secret(&OsEntropy).unwrap(),
            random_secret(&OsEntropy).unwrap(),
        );
        assert_ne!(a, b);
        assert_eq!(a.len(), 43);
        assert_eq!(fingerprint(&a).len(), 64);
    }
}
