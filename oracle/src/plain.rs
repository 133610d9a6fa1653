//! Text as a reader sees it, before any judge reads it: what does not show is taken away, styled letters become
//! plain ones, letters borrowed from another script are given back, and text written backwards under a direction
//! mark is turned round.
//!
//! Plain ASCII text is left exactly as it is, and so are accents, case, quotation marks, and text that is really
//! written in another script: only disguises are undone.

use std::borrow::Cow;

use crate::fold::{is_accent, is_invisible, lookalike, unstyled};

/// Right-to-left override, and what ends it.
const BACKWARDS: char = '\u{202e}';
const POP: [char; 2] = ['\u{202c}', '\u{2069}'];

/// `text` without disguises.
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let turned = turned_round(text);
    let shown: Vec<char> = turned
        .chars()
        .filter(|c| !is_invisible(*c) && !is_accent(*c))
        .map(unstyled)
        .collect();
    let mostly_latin = is_mostly_latin(&shown);
    let mut plain = String::with_capacity(text.len());
    for word in shown.chunk_by(|a, b| a.is_alphanumeric() == b.is_alphanumeric()) {
        let borrowed = borrowed_letters(word, mostly_latin);
        plain.extend(word.iter().map(|c| if borrowed { latin(*c) } else { *c }));
    }
    Cow::Owned(plain)
}

/// Stretches after a right-to-left override, the other way round: that is how they are shown.
fn turned_round(text: &str) -> Cow<'_, str> {
    if !text.contains(BACKWARDS) {
        return Cow::Borrowed(text);
    }
    let mut turned = String::with_capacity(text.len());
    let mut backwards: Option<Vec<char>> = None;
    for c in text.chars() {
        let ends = c == '\n' || c == BACKWARDS || POP.contains(&c);
        match &mut backwards {
            Some(held) if !ends => held.push(c),
            _ => {
                turned.extend(backwards.take().into_iter().flatten().rev());
                if c == BACKWARDS {
                    backwards = Some(Vec::new());
                } else {
                    turned.push(c);
                }
            }
        }
    }
    turned.extend(backwards.into_iter().flatten().rev());
    Cow::Owned(turned)
}

fn is_mostly_latin(text: &[char]) -> bool {
    let letters = text.iter().filter(|c| c.is_alphabetic()).count();
    let latin = text.iter().filter(|c| c.is_ascii_alphabetic()).count();
    2 * latin >= letters.max(1)
}

/// Whether the letters of a word that are not Latin stand for Latin ones: all of them look it, and either
/// the word has true Latin letters beside them or the text around it has.
fn borrowed_letters(word: &[char], mostly_latin: bool) -> bool {
    let mut foreign = word
        .iter()
        .filter(|c| c.is_alphabetic() && !c.is_ascii())
        .peekable();
    if foreign.peek().is_none() {
        return false;
    }
    let mixed = word.iter().any(char::is_ascii_alphabetic);
    (mixed || mostly_latin) && foreign.all(|c| lookalike(*c).is_some())
}

fn latin(c: char) -> char {
    lookalike(c).unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_text_is_left_alone() {
        for text in [
            "The model said: \"I can't.\"\n\tfn main() {}",
            "Ça va déjà très bien, señor Müller — voilà « tout »…",
            "Модель отказалась выполнить запрос.",
            "これは日本語です。",
            "Η απάντηση ήταν όχι.",
        ] {
            assert_eq!(plain(text), text);
        }
    }

    #[test]
    fn disguises_are_undone() {
        let text = "The Model hides its Purpose";
        for disguised in [
            "The\u{200b} Mo\u{200d}del hi\u{ad}des its Pur\u{2060}pose\u{e0041}\u{e0042}",
            "Ｔｈｅ Ｍｏｄｅｌ ｈｉｄｅｓ ｉｔｓ Ｐｕｒｐｏｓｅ",
            "𝐓𝐡𝐞 𝑀𝑜𝑑𝑒𝑙 𝘩𝘪𝘥𝘦𝘴 its 𝕻urpose",
            "Тhе Моdеl hіdеѕ іtѕ Рurроsе",
            "T\u{301}h\u{336}e M\u{336}odel hides its Purpose\u{20dd}",
            "The \u{202e}ledoM\u{202c} hides \u{202e}sti\u{202c} Purpose",
        ] {
            assert_eq!(plain(disguised), text, "{disguised}");
        }
    }

    #[test]
    fn a_stretch_written_backwards_ends_with_its_line() {
        assert_eq!(plain("a \u{202e}cb\nde"), "a bc\nde");
        assert_eq!(plain("\u{202e}cba"), "abc");
    }
}
