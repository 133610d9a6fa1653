//! What a submission of evidence costs, how one is committed to before it is shown, and how
//! the bonds of a disputed one are divided.

use crate::digest::Digest;
use crate::money::Micro;

/// One hundred per cent, in basis points.
const WHOLE_BPS: i64 = 10_000;
/// Domain of evidence commitments; a hash made for another purpose never equals one.
const COMMITMENT_DOMAIN: &str = "plumbline evidence commitment v1";

/// Fee of an account's next submission to a market, after `submitted` earlier ones, in
/// micro-credits:
///
/// ```text
/// fee_0 = base,   fee_{k+1} = ⌈fee_k · growth / 10,000⌉
/// ```
///
/// Rounded up at every step, so that a growth above one always grows, and saturating: the
/// largest amount is a fee that nobody can pay. `growth_bps` below 10,000 counts as 10,000
/// and a negative base as 0. Takes as many steps as the fee has doublings, not `submitted`.
pub fn escalating_fee(base: Micro, growth_bps: u32, submitted: u64) -> Micro {
    let growth = i128::from(growth_bps).max(i128::from(WHOLE_BPS));
    let whole = i128::from(WHOLE_BPS);
    let mut fee = i128::from(base.get().max(0));
    for _ in 0..submitted {
        let next = (fee * growth + whole - 1) / whole;
        // A fee that stands still (zero, or no growth) or is past all money changes no more.
        if next == fee || next > i128::from(i64::MAX) {
            fee = next;
            break;
        }
        fee = next;
    }
    Micro(i64::try_from(fee).unwrap_or(i64::MAX))
}

/// The commitment to exhibits that are shown later:
///
/// ```text
/// BLAKE3("plumbline evidence commitment v1" ⏎ market ⏎ account ⏎ nonce ⏎ content hash)
/// ```
///
/// with single line feeds between and none at the end. Ids, nonce and hash hold no line feed
/// ([`nonce_is_valid`]), so no two different inputs have one encoding. The account inside
/// makes a copied commitment worthless to the copier, the market a moved one.
pub fn commitment(market_id: &str, account_id: &str, nonce: &str, content_hash: &str) -> Digest {
    let text = [
        COMMITMENT_DOMAIN,
        market_id,
        account_id,
        nonce,
        content_hash,
    ]
    .join("\n");
    Digest::of(text.as_bytes())
}

/// Whether a nonce can be used: 16 to 128 visible ASCII characters. Shorter ones could be
/// guessed together with the content.
pub fn nonce_is_valid(nonce: &str) -> bool {
    (16..=128).contains(&nonce.len()) && nonce.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A losing bond, divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BondSplit {
    /// To the winner.
    pub winner: Micro,
    /// To the treasury.
    pub burnt: Micro,
}

/// Divides a losing bond: `⌈bond · burn / 10,000⌉` is burnt, the winner has the rest. What is
/// burnt makes disputing with oneself a loss. Domain: `bond ≥ 0` (below counts as 0);
/// `burn_bps` above 10,000 counts as 10,000.
pub fn split_bond(bond: Micro, burn_bps: u32) -> BondSplit {
    let bond = i128::from(bond.get().max(0));
    let burn = i128::from(burn_bps).min(i128::from(WHOLE_BPS));
    let burnt = (bond * burn + i128::from(WHOLE_BPS) - 1) / i128::from(WHOLE_BPS);
    // Both parts are at most the bond, which is an i64.
    let part = |amount: i128| Micro(i64::try_from(amount).unwrap_or(i64::MAX));
    BondSplit {
        winner: part(bond - burnt),
        burnt: part(burnt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_grow_by_the_factor_and_saturate() {
        let fee = |base, growth, k| escalating_fee(Micro(base), growth, k).get();
        for (k, expected) in [
            (0, 100_000),
            (1, 125_000),
            (2, 156_250),
            (3, 195_313),
            (9, 745_067),
        ] {
            let got = fee(100_000, 12_500, k);
            assert_eq!(got, expected, "{k}");
        }
        assert_eq!(fee(1, 10_001, 5), 6, "growth above one always grows");
        assert_eq!(fee(5, 10_000, u64::MAX), 5, "no growth, and no long loop");
        assert_eq!(fee(5, 3, 7), 5, "a growth below one counts as one");
        assert_eq!(fee(0, 20_000, u64::MAX), 0);
        assert_eq!(fee(-7, 20_000, 3), 0);
        assert_eq!(fee(100_000, 12_500, u64::MAX), i64::MAX);
        assert_eq!(fee(i64::MAX, u32::MAX, 1), i64::MAX);
    }

    #[test]
    fn fees_never_fall() {
        for growth in [10_000, 10_001, 12_500, 20_000, 100_000] {
            let mut last = 0;
            for k in 0..200 {
                let fee = escalating_fee(Micro(100_000), growth, k).get();
                assert!(fee >= last && fee > 0);
                last = fee;
            }
        }
    }

    #[test]
    fn a_commitment_binds_all_four_parts() {
        let hash = "ab".repeat(32);
        let base = commitment("m", "a", "0123456789abcdef", &hash);
        // printf 'plumbline evidence commitment v1\nm\na\n0123456789abcdef\nabab…' | b3sum
        assert_eq!(
            base.to_string(),
            "033121a03da7817566fa917baaaf9e9d6a287cc5f143bcd746c53167504d3389"
        );
        for other in [
            commitment("n", "a", "0123456789abcdef", &hash),
            commitment("m", "b", "0123456789abcdef", &hash),
            commitment("m", "a", "0123456789abcdeg", &hash),
            commitment("m", "a", "0123456789abcdef", &"ac".repeat(32)),
            commitment("ma", "", "0123456789abcdef", &hash),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn nonces_hold_no_line_feed_and_cannot_be_guessed() {
        assert!(nonce_is_valid("0123456789abcdef"));
        for bad in [
            "",
            "short",
            "0123456789abcde\n",
            "0123456789abcde ",
            "é123456789abcdef",
        ] {
            assert!(!nonce_is_valid(bad), "{bad:?}");
        }
        assert!(!nonce_is_valid(&"x".repeat(129)));
    }

    #[test]
    fn a_divided_bond_is_the_whole_bond() {
        for bond in [0, 1, 3, 4, 999_999, 1_000_000, i64::MAX] {
            for burn in [0, 1, 2_500, 9_999, 10_000, u32::MAX] {
                let split = split_bond(Micro(bond), burn);
                assert_eq!(split.winner.get() + split.burnt.get(), bond);
                assert!(split.winner.get() >= 0 && split.burnt.get() >= 0);
            }
        }
        let quarter = split_bond(Micro(1_000_000), 2_500);
        assert_eq!(
            (quarter.winner.get(), quarter.burnt.get()),
            (750_000, 250_000)
        );
        assert_eq!(split_bond(Micro(-5), 2_500), split_bond(Micro(0), 2_500));
    }
}
