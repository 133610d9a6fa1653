#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::codec::{Memory, Scheme, SparseOptions};
use crate::draw::Draw;

fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut draw = Draw::new("test", &[&seed.to_le_bytes()]);
    (0..count).map(|_| (draw.unit() - 0.5) as f32).collect()
}

fn sparse() -> Scheme {
    Scheme::SparseLoCo(SparseOptions::default())
}

#[test]
fn golden_bytes() {
    // One block of 2 × 64 (2 kept) and one gain of 3 (1 kept).
    let geometry = Geometry::new(&[[2, 64], [1, 3]]).unwrap();
    let mut delta = vec![0.0; 131];
    delta[5] = -2.0;
    delta[127] = 4.0;
    delta[129] = 0.5;
    let bytes = sparse()
        .encode(&geometry, &mut Memory::default(), &delta)
        .unwrap();
    let body = &bytes[HEADER..];
    assert_eq!(&bytes[..8], b"PLMB\x01\x04\0\0");
    assert_eq!(bytes[8..16], 131_u64.to_le_bytes());
    assert_eq!(
        geometry.digest().to_string(),
        GEOMETRY,
        "the shapes' hash is part of the format"
    );
    // Mean 1, σ 3: bins of width 4.5 from −8; −2 is in the second, 4 in the third.
    let mut want: Vec<u8> = Vec::new();
    for level in [-5.75_f32, -2.0, 4.0, 7.75, 0.5, 0.5, 0.5, 0.5] {
        want.extend_from_slice(&level.to_le_bytes());
    }
    // Indices 5 and 127, then bins 1 and 2: 0x005, 0x07f, 0b1001.
    want.extend_from_slice(&[0x05, 0xf0, 0x07, 0b1001]);
    // Index 1, bin 0.
    want.extend_from_slice(&[0x01, 0x00]);
    assert_eq!(body, want);
    assert_eq!(bytes.len(), wire_bytes(&geometry));
}

const GEOMETRY: &str = "5d336a13054b7a5d9efd1d464d575d2d63dc512ec3bcdb9a358327f36dcbdf25";

#[test]
fn a_full_chunk_takes_896_bits_and_the_whole_is_over_140_times_smaller() {
    // The shapes of the default model of 0.87M parameters.
    let mut shapes = vec![[1024, 128]];
    for _ in 0..3 {
        shapes.extend([
            [1, 128],
            [384, 128],
            [128, 128],
            [1, 128],
            [704, 128],
            [128, 352],
        ]);
    }
    shapes.extend([[1, 128], [1024, 128]]);
    let geometry = Geometry::new(&shapes).unwrap();
    let ratio = 4.0 * geometry.values() as f64 / wire_bytes(&geometry) as f64;
    assert!(ratio > 140.0 && ratio < 146.3, "{ratio}");
}

#[test]
fn the_largest_are_kept_with_their_sign_and_the_rest_is_remembered() {
    let geometry = Geometry::new(&[[64, 64]]).unwrap();
    let mut memory = Memory::default();
    let delta = noise(1, 4096);
    let bytes = sparse().encode(&geometry, &mut memory, &delta).unwrap();
    let sent = decode(&geometry, &bytes).unwrap();
    assert_eq!(sent.len(), 64);
    let least = sent
        .entries()
        .map(|(position, value)| {
            assert_eq!(value.signum(), delta[position].signum());
            delta[position].abs()
        })
        .fold(f32::INFINITY, f32::min);
    let dense = sent.to_dense();
    for (position, value) in delta.iter().enumerate() {
        if dense[position] == 0.0 {
            assert!(value.abs() <= least);
        }
        assert!((memory.error()[position] + dense[position] - value).abs() < 1e-6);
    }
    // Zero afterwards: what was left out comes next, decayed.
    let again = sparse()
        .encode(&geometry, &mut memory, &vec![0.0; 4096])
        .unwrap();
    let second = decode(&geometry, &again).unwrap();
    let overlap = second.entries().filter(|(p, _)| dense[*p] != 0.0).count();
    assert!(overlap < 8, "{overlap} of 64 were sent before");
}

#[test]
fn over_many_rounds_everything_arrives() {
    let geometry = Geometry::new(&[[64, 64]]).unwrap();
    let mut memory = Memory::default();
    let delta = noise(2, 4096);
    let scheme = Scheme::SparseLoCo(SparseOptions {
        feedback: 0.999,
        ..SparseOptions::default()
    });
    let mut arrived = vec![0.0_f64; 4096];
    for _ in 0..400 {
        let bytes = scheme.encode(&geometry, &mut memory, &delta).unwrap();
        for (position, value) in decode(&geometry, &bytes).unwrap().entries() {
            arrived[position] += f64::from(value);
        }
    }
    let dot: f64 = arrived
        .iter()
        .zip(&delta)
        .map(|(a, d)| a * f64::from(*d))
        .sum();
    let norms = arrived.iter().map(|a| a * a).sum::<f64>().sqrt() * crate::outer::norm(&delta);
    assert!(dot / norms > 0.95, "cosine {}", dot / norms);
}

#[test]
fn payloads_of_others_are_refused_by_name() {
    let geometry = Geometry::new(&[[8, 8], [1, 8]]).unwrap();
    let delta = noise(3, 72);
    let good = sparse()
        .encode(&geometry, &mut Memory::default(), &delta)
        .unwrap();
    let format = PayloadError::Format(VectorKind::SparseDelta);
    let spoil = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        decode(&geometry, &bytes).unwrap_err()
    };
    assert_eq!(spoil(4, 2), format, "another version");
    assert_eq!(spoil(5, 2), format, "another kind");
    assert_eq!(spoil(8, 73), format, "another model");
    assert_eq!(spoil(20, good[20] ^ 1), format, "other shapes");
    assert_eq!(
        decode(&geometry, &good[..good.len() - 1]).unwrap_err(),
        format
    );
    assert_eq!(decode(&geometry, &[]).unwrap_err(), format);
    assert_eq!(
        decode(&geometry, &[good.clone(), vec![0]].concat()).unwrap_err(),
        format
    );
    let mut nan = good.clone();
    nan[HEADER..HEADER + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_eq!(
        decode(&geometry, &nan).unwrap_err(),
        PayloadError::NotFinite(0)
    );
    // The last byte of a chunk of one value has two bits of padding.
    let last = good.len() - 1;
    assert_eq!(spoil(last, 0x80), PayloadError::NotCanonical);
    // Index 4095 in a chunk of 8.
    assert_eq!(spoil(last - 1, 0xff), PayloadError::NotCanonical);
    let other = Geometry::new(&[[1, 8], [8, 8]]).unwrap();
    assert_eq!(decode(&other, &good).unwrap_err(), format);
}

#[test]
fn memory_survives_a_checkpoint_and_rubbish_is_refused() {
    let geometry = Geometry::new(&[[8, 8]]).unwrap();
    let mut memory = Memory::default();
    assert_eq!(Memory::from_bytes(&memory.to_bytes(), 64).unwrap(), memory);
    sparse()
        .encode(&geometry, &mut memory, &noise(4, 64))
        .unwrap();
    assert_eq!(Memory::from_bytes(&memory.to_bytes(), 64).unwrap(), memory);
    assert!(Memory::from_bytes(&memory.to_bytes(), 65).is_err());
    assert!(Memory::from_bytes(&f32::NAN.to_le_bytes(), 1).is_err());
}

#[test]
fn values_that_are_no_numbers_are_not_sent() {
    let geometry = Geometry::new(&[[1, 2]]).unwrap();
    for scheme in [Scheme::EveryStep, Scheme::DiLoCo, sparse()] {
        let mut memory = Memory::default();
        let encoded = scheme.encode(&geometry, &mut memory, &[0.0, f32::INFINITY]);
        assert_eq!(encoded.unwrap_err(), crate::codec::CodecError::NotFinite(1));
        assert!(scheme.encode(&geometry, &mut memory, &[0.0]).is_err());
        // The largest finite values do not overflow on the way.
        let extreme = [f32::MAX, f32::MIN];
        let bytes = scheme.encode(&geometry, &mut memory, &extreme).unwrap();
        let back = scheme.decode(&geometry, &bytes).unwrap();
        assert!(back.iter().all(|value| value.is_finite()));
        assert_eq!(bytes.len(), scheme.wire_bytes(&geometry));
    }
}

proptest! {
    /// Whatever decodes encodes to the same bytes, and nothing panics.
    #[test]
    fn any_bytes_are_read_safely(
        spots in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let geometry = Geometry::new(&[[9, 13], [1, 7], [70, 3]]).unwrap();
        let delta = noise(seed, geometry.values());
        let mut bytes = sparse().encode(&geometry, &mut Memory::default(), &delta).unwrap();
        prop_assert_eq!(encode(&geometry, &decode(&geometry, &bytes).unwrap()), bytes.clone());
        for (spot, value) in spots {
            let at = HEADER + spot.index(bytes.len() - HEADER);
            bytes[at] = value;
        }
        if let Ok(sent) = decode(&geometry, &bytes) {
            prop_assert_eq!(sent.len(), geometry.kept());
            prop_assert_eq!(encode(&geometry, &sent), bytes.clone());
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        for scheme in [Scheme::EveryStep, Scheme::DiLoCo, sparse()] {
            if let Ok(values) = scheme.decode(&geometry, &bytes) {
                prop_assert_eq!(values.len(), geometry.values());
            }
        }
    }

    #[test]
    fn rubbish_is_no_payload(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let geometry = Geometry::new(&[[4, 4]]).unwrap();
        for scheme in [Scheme::EveryStep, Scheme::DiLoCo, sparse()] {
            prop_assert!(scheme.decode(&geometry, &bytes).is_err());
        }
    }
}
