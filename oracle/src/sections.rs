//! Long texts are read in sections, never cut: what a run did may stand anywhere in a transcript.

use crate::weights::Opinion;

/// Characters of a section. A text that is no longer is read whole, exactly as before there were sections.
pub const SECTION_CHARS: usize = 6_000;
/// Most sections of one text. A longer text gets longer sections, of which a judge may read the beginning only.
pub const MAX_SECTIONS: usize = 400;

/// `text` in sections of about [`SECTION_CHARS`] characters that end at a line or a word where there is one.
pub fn sections(text: &str) -> Vec<&str> {
    let total = text.chars().count();
    if total <= SECTION_CHARS {
        return vec![text];
    }
    let length = SECTION_CHARS.max(total.div_ceil(MAX_SECTIONS));
    let mut parts = Vec::with_capacity(total / length + 1);
    let mut rest = text;
    while let Some((end, _)) = rest.char_indices().nth(length) {
        let head = &rest[..end];
        let least = end / 2;
        let breaks = |found: Option<usize>| found.map(|at| at + 1).filter(|at| *at > least);
        let cut = breaks(head.rfind('\n'))
            .or_else(|| breaks(head.rfind(' ')))
            .unwrap_or(end);
        parts.push(&rest[..cut]);
        rest = &rest[cut..];
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    parts
}

/// The opinion on a text of any length: that on each section by `read`, then
///
/// ```text
/// ℓ − ℓ⁰ = ln( 1/n Σ e^(ℓ_i − ℓ_i⁰) )
/// ```
///
/// the mean of the odds. What one section shows is not drowned by what others do not: n sections of padding take away
/// at most ln n. And n sections that show nothing do not add up to anything, as a product would.
pub fn read_in_sections(response: &str, read: impl Fn(&str) -> Opinion) -> Opinion {
    let parts = sections(response);
    let opinions: Vec<Opinion> = parts.iter().map(|part| read(part)).collect();
    let n = opinions.len() as f64;
    let evidence = |opinion: &Opinion| opinion.log_odds - opinion.prior_log_odds;
    // The section that says most speaks for the others' error and likeness too.
    let Some(loudest) = opinions
        .iter()
        .max_by(|a, b| evidence(a).abs().total_cmp(&evidence(b).abs()))
    else {
        return read(response);
    };
    let odds: f64 = opinions.iter().map(|opinion| evidence(opinion).exp()).sum();
    Opinion {
        log_odds: loudest.prior_log_odds + (odds / n).ln(),
        ..*loudest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Familiarity;

    fn opinion(evidence: f64) -> Opinion {
        Opinion {
            log_odds: 0.5 + evidence,
            prior_log_odds: 0.5,
            standard_error: 1.0,
            familiarity: Familiarity::KnownKind,
            trust: 1.0,
        }
    }

    fn read(part: &str) -> Opinion {
        opinion(if part.contains("danger") { 3.0 } else { -1.0 })
    }

    #[test]
    fn short_texts_are_read_whole_and_long_ones_lose_nothing() {
        assert_eq!(sections("short"), ["short"]);
        assert_eq!(sections(""), [""]);
        for unit in ["word ", "line\n", "wörd", "x"] {
            let long = unit.repeat(30_000);
            let parts = sections(&long);
            assert!(parts.len() > 4 && parts.len() <= MAX_SECTIONS + 1);
            assert_eq!(parts.concat(), long);
        }
        let huge = "word ".repeat(600_000);
        assert!(sections(&huge).len() <= 2 * MAX_SECTIONS);
    }

    #[test]
    fn what_one_section_shows_is_not_drowned_and_nothing_does_not_add_up() {
        let alone = read_in_sections("danger", read);
        assert!((alone.log_odds - 3.5).abs() < 1e-12);
        let padding = "harmless words ".repeat(13_000);
        let padded = read_in_sections(&format!("{padding}danger {padding}"), read);
        let n = sections(&format!("{padding}danger {padding}")).len() as f64;
        assert!(padded.log_odds > alone.log_odds - n.ln());
        assert!(
            n > 60.0 && padded.log_odds > opinion(-1.0).log_odds + 0.5,
            "{padded:?}"
        );
        let nothing = read_in_sections(&padding, read);
        assert!((nothing.log_odds - opinion(-1.0).log_odds).abs() < 1e-9);
    }
}
