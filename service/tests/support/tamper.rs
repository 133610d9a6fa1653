//! Changing single bytes of an export, with a fresh digest under it.

use plumbline_audit::verify;

/// The lines of an export without its last one, the digest.
pub fn body(text: &[u8]) -> &[u8] {
    let whole = text.strip_suffix(b"\n").unwrap();
    let end = whole.iter().rposition(|byte| *byte == b'\n').unwrap();
    &text[..=end]
}

/// The lines under a digest that fits them.
pub fn sealed(body: &[u8]) -> Vec<u8> {
    let rows = body.iter().filter(|byte| **byte == b'\n').count() - 1;
    let digest = blake3::hash(body).to_hex();
    let trailer = format!("{{\"rows\":{rows},\"blake3\":\"{digest}\"}}\n");
    [body, trailer.as_bytes()].concat()
}

/// Whether the auditor finds something in a text.
pub fn is_found(text: &[u8]) -> bool {
    verify(text).map_or(true, |report| !report.is_green())
}

/// Flips one bit in every `step`-th byte of the rows of these tables, puts a fresh digest under each text, and
/// has the auditor find it. How many bytes were flipped.
pub fn every_flip_is_found(text: &[u8], tables: &[&str], step: usize) -> usize {
    let body = body(text);
    let (mut start, mut flips) = (0, 0);
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let of = |name: &&str| line.starts_with(format!("{{\"table\":\"{name}\"").as_bytes());
        if tables.iter().any(of) {
            for at in (start % step..line.len() - 1).step_by(step) {
                let mut other = body.to_vec();
                other[start + at] ^= 1;
                let changed = String::from_utf8_lossy(&other[start..start + line.len()]);
                assert!(is_found(&sealed(&other)), "byte {at} of {changed}");
                flips += 1;
            }
        }
        start += line.len();
    }
    flips
}
