//! Digests of documents: commitments, exhibits and their tree.

/// BLAKE3, as 64 lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// 32 bytes as 64 lower-case hexadecimal digits.
pub(crate) fn text(bytes: &[u8; 32]) -> String {
    blake3::Hash::from(*bytes).to_hex().to_string()
}

/// 32 bytes from 64 hexadecimal digits in lower case.
pub fn parse(text: &str) -> Option<[u8; 32]> {
    let lower = text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let digest = blake3::Hash::from_hex(text).ok()?;
    lower.then_some(*digest.as_bytes())
}

/// Content hash of a submission: BLAKE3 over the hashes of its exhibits, sorted, one a line. An
/// exhibit's hash is that of its JSON text as it is stored. `None` for a text that is no list.
pub(crate) fn content(exhibits: &str) -> Option<String> {
    let mut hashes: Vec<String> = elements(exhibits)?
        .into_iter()
        .map(|part| hex(part.as_bytes()))
        .collect();
    hashes.sort();
    Some(hex(hashes.join("\n").as_bytes()))
}

/// The texts of the elements of a JSON list, as they stand. `None` for anything else.
fn elements(list: &str) -> Option<Vec<&str>> {
    serde_json::from_str::<Vec<serde_json::Value>>(list).ok()?;
    let inner = list.trim().strip_prefix('[')?.strip_suffix(']')?;
    if inner.trim().is_empty() {
        return Some(Vec::new());
    }
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                parts.push(inner[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(inner[start..].trim());
    Some(parts)
}

fn tagged(tag: u8, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[tag]);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// Leaf of one submission in a market's exhibit tree: `BLAKE3(0x00 ‖ id ‖ content hash)`.
pub(crate) fn exhibit_leaf(id: &str, content: &[u8; 32]) -> [u8; 32] {
    tagged(0, &[id.as_bytes(), content])
}

/// Root of a Merkle tree as in RFC 6962 with BLAKE3: leaves are combined from the left into
/// complete trees of falling size, as the bits of their number say.
pub(crate) fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    // Complete trees that wait for their right neighbour, with the number of their leaves.
    let mut waiting: Vec<([u8; 32], usize)> = Vec::new();
    for leaf in leaves {
        let (mut hash, mut size) = (*leaf, 1);
        while let Some((left, _)) = waiting.pop_if(|(_, other)| *other == size) {
            hash = tagged(1, &[&left, &hash]);
            size *= 2;
        }
        waiting.push((hash, size));
    }
    let mut trees = waiting.into_iter().rev().map(|(hash, _)| hash);
    match trees.next() {
        None => *blake3::hash(b"").as_bytes(),
        Some(last) => trees.fold(last, |right, left| tagged(1, &[&left, &right])),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_tree_of_seven_by_hand() {
        let leaves: Vec<[u8; 32]> = (0..7u8).map(|n| tagged(0, &[&[n]])).collect();
        let node = |a: [u8; 32], b: [u8; 32]| tagged(1, &[&a, &b]);
        let four = node(node(leaves[0], leaves[1]), node(leaves[2], leaves[3]));
        let three = node(node(leaves[4], leaves[5]), leaves[6]);
        assert_eq!(root(&leaves), node(four, three));
        assert_eq!(root(&leaves[..1]), leaves[0]);
        assert_eq!(root(&[]), *blake3::hash(b"").as_bytes());
    }

    #[test]
    fn the_order_of_exhibits_says_nothing() {
        let a = content("[{\"a\":1},{\"b\":2}]").unwrap();
        assert_eq!(content("[{\"b\":2},{\"a\":1}]").unwrap(), a);
        assert_ne!(content("[{\"a\":1}]").unwrap(), a);
        for odd in ["{}", "[1", "1,2"] {
            assert_eq!(content(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_list_is_taken_apart_outside_of_quotes_and_brackets() {
        let text = r#"[{"a":[1,2],"b":"],{\""}, 5 ,"x,y"]"#;
        let parts = [r#"{"a":[1,2],"b":"],{\""}"#, "5", "\"x,y\""];
        assert_eq!(elements(text).unwrap(), parts);
        assert_eq!(elements(" [ ] ").unwrap(), Vec::<&str>::new());
    }

    #[test]
    fn digests_have_one_spelling() {
        let text = hex(b"x");
        assert_eq!(parse(&text), Some(*blake3::hash(b"x").as_bytes()));
        assert_eq!(parse(&text.to_uppercase()), None);
        assert_eq!(parse(&text[1..]), None);
    }
}
