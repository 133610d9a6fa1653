//! One-time codes by time (RFC 6238): six digits, a period of 30 seconds, HMAC-SHA-1, which is what
//! every authenticator knows.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use crate::time::Millis;

/// Bytes of a key, as RFC 4226 recommends.
pub(super) const KEY_BYTES: usize = 20;
const PERIOD_MS: Millis = 30_000;
/// Periods before and after the present one whose codes are taken: clocks differ, and people type slowly.
const DRIFT: i64 = 1;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The six digits of a period.
pub(super) fn code_at(key: &[u8], step: i64) -> Option<String> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).ok()?;
    mac.update(&step.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let start = usize::from(*digest.last()? & 0x0f);
    let word: [u8; 4] = digest.get(start..start + 4)?.try_into().ok()?;
    let number = u32::from_be_bytes(word) & 0x7fff_ffff;
    Some(format!("{:06}", number % 1_000_000))
}

/// The period whose code `given` is: near `now`, and after `last`, the newest whose code was taken.
pub(super) fn step_of(key: &[u8], given: &str, now: Millis, last: i64) -> Option<i64> {
    let present = now.div_euclid(PERIOD_MS);
    let mut found = None;
    for step in present - DRIFT..=present + DRIFT {
        let code = code_at(key, step)?;
        // Every period is looked at whatever the answer, so that time tells nothing.
        if bool::from(code.as_bytes().ct_eq(given.as_bytes())) && step > last {
            found = Some(step);
        }
    }
    found
}

/// Base 32 (RFC 4648) without padding.
pub(super) fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(held >> bits) as usize & 31]));
        }
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(held << (5 - bits)) as usize & 31]));
    }
    text
}

/// What an authenticator with the key `secret` (base 32) shows at `now`, unix ms: for programs that sign in, and
/// tests. `None` for what is no key.
pub fn code_of(secret: &str, now: Millis) -> Option<String> {
    let mut key = Vec::new();
    let (mut held, mut bits) = (0_u32, 0);
    for letter in secret.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        held = (held << 5) | value as u32;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            key.push((held >> bits) as u8);
        }
    }
    code_at(&key, now.div_euclid(PERIOD_MS))
}

/// The address that authenticators read from a picture; `issuer` and `handle` need no escaping.
pub(super) fn address(issuer: &str, handle: &str, key: &[u8]) -> String {
    format!(
        "otpauth://totp/{issuer}:{handle}?secret={}&issuer={issuer}&algorithm=SHA1&digits=6&period=30",
        base32(key)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of RFC 6238, appendix B, with the last six of their eight digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let key = b"12345678901234567890";
        for (second, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code_at(key, second / 30).as_deref(), Some(code), "{second}");
            assert_eq!(step_of(key, code, second * 1000, 0), Some(second / 30));
        }
    }

    #[test]
    fn a_code_counts_near_its_time_and_once() {
        let key = b"12345678901234567890";
        let (now, step) = (1_111_111_109_000, 1_111_111_109 / 30);
        for (shift, taken) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let at = now + shift * PERIOD_MS;
            assert_eq!(step_of(key, "081804", at, 0).is_some(), taken, "{shift}");
        }
        assert_eq!(step_of(key, "081804", now, step), None, "taken before");
        for bad in ["", "81804", "0818040", "08180x", "000000"] {
            assert_eq!(step_of(key, bad, now, 0), None, "{bad}");
        }
    }

    #[test]
    fn keys_are_written_as_authenticators_read_them() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "MY"),
            (b"fo", "MZXQ"),
            (b"foo", "MZXW6"),
            (b"foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes), text);
        }
        let key = b"12345678901234567890";
        assert_eq!(code_of(&base32(key), 59_000).as_deref(), Some("287082"));
        assert_eq!(code_of("no key", 59_000), None);
        let address = address("Plumbline", "ada", b"foobar");
        assert!(address.starts_with("otpauth://totp/Plumbline:ada?secret=MZXW6YTBOI&"));
    }
}
