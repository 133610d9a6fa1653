//! Cutting a long text into overlapping sections.

/// One section of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    /// Its tokens between the two marks.
    pub(crate) tokens: Vec<u32>,
    /// How many tokens of the text no earlier section had.
    pub(crate) fresh: usize,
}

/// Sections of `window` tokens, marks included, that share `overlap` tokens with the one before and together have
/// every token. The last one is moved back so that it is as full as the others. There is always at least one.
pub(crate) fn sections(
    tokens: &[u32],
    marks: (u32, u32),
    window: usize,
    overlap: usize,
) -> Vec<Section> {
    let room = window - 2;
    let step = room - overlap;
    let mut cut = Vec::new();
    let mut covered = 0;
    loop {
        let start = if covered == 0 {
            0
        } else {
            (covered - overlap).min(tokens.len().saturating_sub(room))
        };
        let end = (start + room).min(tokens.len());
        let mut section = Vec::with_capacity(end - start + 2);
        section.push(marks.0);
        section.extend_from_slice(&tokens[start..end]);
        section.push(marks.1);
        cut.push(Section {
            tokens: section,
            fresh: end - covered,
        });
        covered = end;
        if covered >= tokens.len() || step == 0 {
            return cut;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_have_every_token_and_full_windows() {
        for count in [0usize, 1, 13, 14, 15, 27, 28, 100, 1000] {
            let tokens: Vec<u32> = (100..100 + count as u32).collect();
            let cut = sections(&tokens, (1, 2), 16, 4);
            assert_eq!(cut.iter().map(|one| one.fresh).sum::<usize>(), count);
            let mut next = 100;
            for section in &cut {
                let (first, last) = (section.tokens[0], section.tokens[section.tokens.len() - 1]);
                assert_eq!((first, last), (1, 2));
                let inner = &section.tokens[1..section.tokens.len() - 1];
                if cut.len() > 1 {
                    assert_eq!(inner.len(), 14);
                }
                assert!(inner.windows(2).all(|pair| pair[0] + 1 == pair[1]));
                if let (Some(first), Some(last)) = (inner.first(), inner.last()) {
                    assert!(*first <= next);
                    next = last + 1;
                }
            }
            assert_eq!(next, 100 + count as u32);
        }
    }
}
