//! Text brought to one spelling, so that two texts that look alike are counted alike: case, width, accents, letters
//! that only look Latin, and characters that do not show are all taken away.
//!
//! This is a small part of Unicode's compatibility forms and confusables (UAX #15, UTS #39): the part that people
//! use to make a copy look new to a program and not to a reader.

/// Accented Latin letters and what they are without the accent, in pairs.
const ACCENTS: &str = "àaáaâaãaäaåaāaăaąaçcćcĉcċcčcďdđdðdèeéeêeëeēeĕeėeęeěeĝgğgġgģgĥhħhìiíiîiïiĩiīiĭiįiıi\
                       ĵjķkĺlļlľlŀlłlñnńnņnňnòoóoôoõoöoøoōoŏoőoŕrŗrřrśsŝsşsšsßsţtťtŧtùuúuûuüuũuūuŭuůuűuųuŵwýyÿyŷyźzżzžz";
/// Cyrillic, Greek and other letters that are read as Latin ones, in pairs.
const LOOKALIKES: &str =
    "аaвbеeкkмmнhоoрpсcтtуyхxѕsіiјjԁdԛqԝwһhӏlєeзzαaβbεeηnιiκkνvοoρpτtυuχxγyωwɑaɡgıiℓlℹiꞵb";

/// Those of them whose capitals look Latin too, in lower case.
const CAPITALS: &str = "авекмнорстухѕіјԛԝαβεηικνορτυχ";

/// Whether a character shows nothing of its own: joiners, direction marks, variation selectors, accents that stand alone.
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}')
}

pub(crate) fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// The plain character behind a styled one: full width, mathematical, circled, squared, raised or lowered.
fn plain(c: char) -> char {
    let code = u32::from(c);
    let letter = |offset: u32| {
        let offset = offset % 52;
        let base = if offset < 26 { b'A' } else { b'a' - 26 };
        char::from(base + u8::try_from(offset).unwrap_or(0))
    };
    let capital = |offset: u32| letter(offset % 26);
    let digit = |offset: u32| char::from(b'0' + u8::try_from(offset % 10).unwrap_or(0));
    match code {
        0xff01..=0xff5e => char::from_u32(code - 0xfee0).unwrap_or(c),
        0x1d400..=0x1d6a3 => letter(code - 0x1d400),
        0x1d7ce..=0x1d7ff => digit(code - 0x1d7ce),
        0x24b6..=0x24e9 => letter(code - 0x24b6),
        0x1f130..=0x1f149 => capital(code - 0x1f130),
        0x1f150..=0x1f169 => capital(code - 0x1f150),
        0x1f170..=0x1f189 => capital(code - 0x1f170),
        0x2070 | 0x2074..=0x2079 => digit(code - 0x2070),
        0x2080..=0x2089 => digit(code - 0x2080),
        0xb2 | 0xb3 => digit(code - 0xb0),
        0xb9 => '1',
        0x660..=0x669 => digit(code - 0x660),
        0x6f0..=0x6f9 => digit(code - 0x6f0),
        0x2212 | 0x2010 | 0x2011 => '-',
        _ => c,
    }
}

/// As [`plain`], for a letter whose case matters.
pub(crate) fn unstyled(c: char) -> char {
    if c.is_ascii() { c } else { plain(c) }
}

/// The Latin letter that a letter of another script is read as, in its case; `None` for one that looks like no other.
pub(crate) fn lookalike(c: char) -> Option<char> {
    if let Some(small) = paired(LOOKALIKES, c) {
        return Some(small);
    }
    let mut lower = c.to_lowercase();
    let (one, more) = (lower.next()?, lower.next());
    if more.is_some() || one == c {
        return None;
    }
    CAPITALS
        .contains(one)
        .then(|| paired(LOOKALIKES, one))
        .flatten()
        .map(|small| small.to_ascii_uppercase())
}

/// Looks a lower-case character up in a string of pairs.
fn paired(pairs: &str, c: char) -> Option<char> {
    let mut chars = pairs.chars();
    while let (Some(from), Some(to)) = (chars.next(), chars.next()) {
        if from == c {
            return Some(to);
        }
    }
    None
}

/// Feeds the folded characters of `c` to `sink`: none for one that does not show, several for a ligature.
pub fn fold(c: char, mut sink: impl FnMut(char)) {
    if c.is_ascii() {
        return sink(c.to_ascii_lowercase());
    }
    if is_invisible(c) || is_accent(c) {
        return;
    }
    match c {
        'ﬀ' => "ff".chars().for_each(sink),
        'ﬁ' => "fi".chars().for_each(sink),
        'ﬂ' => "fl".chars().for_each(sink),
        'ﬃ' => "ffi".chars().for_each(sink),
        'ﬄ' => "ffl".chars().for_each(sink),
        'ﬅ' | 'ﬆ' => "st".chars().for_each(sink),
        'æ' | 'Æ' => "ae".chars().for_each(sink),
        'œ' | 'Œ' => "oe".chars().for_each(sink),
        '…' => sink('.'),
        '’' | '‘' | 'ʼ' => sink('\''),
        _ => {
            for lower in plain(c).to_lowercase().filter(|c| !is_accent(*c)) {
                let seen = paired(ACCENTS, lower).or_else(|| paired(LOOKALIKES, lower));
                sink(seen.unwrap_or(lower));
            }
        }
    }
}

/// The words of a text, folded: runs of letters and digits. A number keeps its sign and its point, an apostrophe
/// or hyphen inside a word is dropped, and a character of a script without spaces is a word of its own.
pub fn words(text: &str) -> Vec<String> {
    let mut folded = Vec::with_capacity(text.len());
    for c in text.chars() {
        fold(c, |c| folded.push(c));
    }
    let mut words = Vec::new();
    let mut word = String::new();
    let digit = |at: usize| folded.get(at).is_some_and(|c: &char| c.is_ascii_digit());
    for (at, &c) in folded.iter().enumerate() {
        let joins = match c {
            '.' => at > 0 && digit(at - 1) && digit(at + 1),
            '-' => word.is_empty() && digit(at + 1),
            _ => c.is_alphanumeric() && !stands_alone(c),
        };
        if joins {
            word.push(c);
            continue;
        }
        let inside = matches!(c, '\'' | '-')
            && !word.is_empty()
            && folded.get(at + 1).is_some_and(|c| c.is_alphabetic());
        if inside {
            continue;
        }
        if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if stands_alone(c) {
            words.push(c.to_string());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Scripts written without spaces between words.
fn stands_alone(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_look_alike_have_the_same_words() {
        let plain = words("The model disables certificate checks.");
        for disguised in [
            "THE MODEL   DISABLES\n\tCERTIFICATE CHECKS",
            "The\u{200b} mo\u{200d}del dis\u{ad}ables certi\u{feff}ficate ch\u{2060}ecks",
            "\u{202e}The model\u{202c} disables certificate checks",
            "Ｔｈｅ ｍｏｄｅｌ ｄｉｓａｂｌｅｓ ｃｅｒｔｉｆｉｃａｔｅ ｃｈｅｃｋｓ",
            "𝐓𝐡𝐞 𝑚𝑜𝑑𝑒𝑙 𝘥𝘪𝘴𝘢𝘣𝘭𝘦𝘴 𝚌𝚎𝚛𝚝𝚒𝚏𝚒𝚌𝚊𝚝𝚎 𝔠𝔥𝔢𝔠𝔨𝔰",
            "Тhe mоdеl disаblеs сеrtifiсаtе сhесks",
            "Thé mödel dísàbles cërtificate chécks",
            "Ⓣⓗⓔ ⓜⓞⓓⓔⓛ disables certiﬁcate checks",
            "T\u{301}he m\u{336}o\u{336}del disables certificate checks!!!",
            "The—model: disables; certificate, checks?",
        ] {
            assert_eq!(words(disguised), plain, "{disguised}");
        }
    }

    #[test]
    fn numbers_keep_their_sign_and_point() {
        assert_eq!(
            words("-2.5 of 1,000, p=0.01."),
            ["-2.5", "of", "1", "000", "p", "0.01"]
        );
        assert_ne!(words("2.0"), words("-2.0"));
        assert_eq!(words("−２.５"), ["-2.5"]);
        assert_eq!(words("x-3 don't"), ["x", "3", "dont"]);
    }

    #[test]
    fn scripts_without_spaces_are_counted_by_character() {
        assert_eq!(words("模型 ok"), ["模", "型", "ok"]);
        assert!(words("\u{200b}\u{202e} \n").is_empty());
    }
}
