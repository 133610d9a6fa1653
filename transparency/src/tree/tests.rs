#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// The inputs of the reference tests of Certificate Transparency.
const INPUTS: [&[u8]; 8] = [
    b"",
    b"\0",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];

/// Their roots for 1 to 8 entries, as those tests state them.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn known() -> Vec<Hash> {
    INPUTS.iter().map(|input| leaf(input)).collect()
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|n| leaf(&n.to_be_bytes())).collect()
}

/// The definition, word for word.
fn naive(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty(),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(split(many.len() as u64) as usize);
            node(&naive(left), &naive(right))
        }
    }
}

fn root_of(leaves: &[Hash], size: u64) -> Hash {
    let mut tree = leaves;
    root(&mut tree, size).unwrap()
}

fn inclusion_of(leaves: &[Hash], index: u64, size: u64) -> Vec<Hash> {
    let mut tree = leaves;
    inclusion(&mut tree, index, size).unwrap().unwrap()
}

fn consistency_of(leaves: &[Hash], from: u64, to: u64) -> Vec<Hash> {
    let mut tree = leaves;
    consistency(&mut tree, from, to).unwrap().unwrap()
}

#[test]
fn the_known_roots() {
    let all = known();
    assert_eq!(
        hex(&empty()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    for (size, expected) in (1..).zip(ROOTS) {
        assert_eq!(hex(&root_of(&all, size)), expected, "{size} entries");
    }
}

#[test]
fn the_known_proofs() {
    let all = known();
    // Entry 0 of 8, entry 5 of 8, entry 2 of 3: nearest sibling first.
    let hexes = |path: Vec<Hash>| path.iter().map(hex).collect::<Vec<_>>();
    assert_eq!(
        hexes(inclusion_of(&all, 0, 8)),
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ]
    );
    assert_eq!(
        hexes(inclusion_of(&all, 2, 3)),
        ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]
    );
    assert_eq!(
        hexes(consistency_of(&all, 6, 8)),
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
}

#[test]
fn every_entry_of_small_trees_is_proven_and_nothing_else_is() {
    for size in 1..=33 {
        let all = leaves(size);
        let top = root_of(&all, size);
        for index in 0..size {
            let path = inclusion_of(&all, index, size);
            let of = all[index as usize];
            assert!(verify_inclusion(&top, &of, index, size, &path));
            assert!(!verify_inclusion(&top, &leaf(b"x"), index, size, &path));
            let elsewhere = (index + 1) % size;
            assert!(size == 1 || !verify_inclusion(&top, &of, elsewhere, size, &path));
            if let Some((_, shorter)) = path.split_last() {
                assert!(!verify_inclusion(&top, &of, index, size, shorter));
            }
            let longer = [&path[..], &[top]].concat();
            assert!(!verify_inclusion(&top, &of, index, size, &longer));
        }
        let mut tree = all.as_slice();
        assert!(inclusion(&mut tree, size, size).unwrap().is_err());
        assert!(!verify_inclusion(&top, &all[0], size, size, &[]));
    }
}

#[test]
fn every_beginning_of_small_trees_is_proven_and_nothing_else_is() {
    let all = leaves(33);
    for to in 0..=33_u64 {
        let new = root_of(&all, to);
        for from in 0..=to {
            let old = root_of(&all, from);
            let path = consistency_of(&all, from, to);
            assert!(
                verify_consistency(from, &old, to, &new, &path),
                "{from} {to}"
            );
            let other = leaf(b"another history");
            assert!(!verify_consistency(from, &other, to, &new, &path));
            assert!(
                from == 0
                    || from == to && old == new && path.is_empty()
                    || !verify_consistency(from, &old, to, &other, &path)
            );
            for at in 0..path.len() {
                let mut bent = path.clone();
                bent[at][7] ^= 1;
                assert!(!verify_consistency(from, &old, to, &new, &bent));
                let mut shorter = path.clone();
                shorter.remove(at);
                assert!(!verify_consistency(from, &old, to, &new, &shorter));
            }
            let longer = [&path[..], &[new]].concat();
            assert!(!verify_consistency(from, &old, to, &new, &longer));
        }
        let mut tree = all.as_slice();
        assert!(consistency(&mut tree, to + 1, to).unwrap().is_err());
    }
}

proptest! {
    #[test]
    fn large_trees_agree_with_the_definition(size in 1_u64..3_000, a in 0_u64..3_000, b in 0_u64..3_000) {
        let all = leaves(size);
        let (index, from) = (a % size, b % (size + 1));
        let top = naive(&all);
        prop_assert_eq!(root_of(&all, size), top);
        let path = inclusion_of(&all, index, size);
        prop_assert!(path.len() as u32 <= size.ilog2() + 1);
        prop_assert!(verify_inclusion(&top, &all[index as usize], index, size, &path));
        let old = naive(&all[..from as usize]);
        let path = consistency_of(&all, from, size);
        prop_assert!(verify_consistency(from, &old, size, &top, &path));
    }

    #[test]
    fn noise_proves_nothing(
        size in 1_u64..200,
        index in 0_u64..250,
        noise in prop::collection::vec(any::<[u8; 32]>(), 0..9),
    ) {
        let all = leaves(size);
        let top = root_of(&all, size);
        let claim = leaf(b"never logged");
        prop_assert!(!verify_inclusion(&top, &claim, index, size, &noise));
        prop_assert!(index == 0 || !verify_consistency(index, &claim, size, &top, &noise));
    }
}
