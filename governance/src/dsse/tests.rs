#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn signer(seed: u8) -> DecisionSigner {
    DecisionSigner::from_seed(&[seed; 32])
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

#[test]
fn pae_of_the_specification() {
    // The example of the DSSE protocol document.
    assert_eq!(
        pae("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
    assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
    // Lengths are in bytes, not characters.
    assert_eq!(pae("é", b"x"), "DSSEv1 2 é 1 x".as_bytes());
}

#[test]
fn signatures_of_rfc_8032() {
    // Section 7.1, tests 1 to 3: seed, public key, message, signature.
    let vectors = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];
    for (seed, public, message, signature) in vectors {
        let signer = DecisionSigner::from_seed(&hex(seed).try_into().unwrap());
        let record = signer.public_key(at(0), None);
        assert_eq!(record.public_key.to_vec(), hex(public));
        let signed = signer.sign(&hex(message));
        assert_eq!(STANDARD.decode(&signed.sig).unwrap(), hex(signature));
        assert!(is_valid(&record.public_key, &hex(message), &signed.sig));
    }
}

#[test]
fn the_signature_another_implementation_makes() {
    // ed25519 is deterministic: made with OpenSSL (through Python's
    // cryptography) over the encoding written out by hand.
    let envelope = Envelope::sign(
        ALLOCATION_PAYLOAD_TYPE,
        br#"{"share_bps":500}"#,
        &[&signer(4)],
    );
    assert_eq!(
        envelope.signatures[0].sig,
        "zX/8oGnK2Q6xa/DTL3AhxQ3xXbNbfVPZ8lL/NxRNzR7dzciEkQ2QDgfInOdzePQ6MPP8somPpliTh1VXJ8qJBA=="
    );
}

#[test]
fn thresholds_count_distinct_valid_keys() {
    let (one, two, stranger) = (signer(1), signer(2), signer(3));
    let keys = [one.public_key(at(0), None), two.public_key(at(0), None)];
    let check = |signers: &[&DecisionSigner], threshold| {
        let envelope = Envelope::sign(ALLOCATION_PAYLOAD_TYPE, b"{}", signers);
        verify(&envelope, ALLOCATION_PAYLOAD_TYPE, &keys, threshold, at(1)).map(|v| v.key_ids.len())
    };
    assert_eq!(check(&[&one], 1), Ok(1));
    assert_eq!(check(&[&one, &two], 2), Ok(2));
    let too_few = |valid, threshold| Err(DsseError::TooFewSignatures { valid, threshold });
    assert_eq!(check(&[&one, &one], 2), too_few(1, 2));
    assert_eq!(check(&[&one, &stranger], 2), too_few(1, 2));
    assert_eq!(check(&[&stranger], 1), too_few(0, 1));
    assert_eq!(check(&[], 1), too_few(0, 1));
    assert_eq!(check(&[&one], 0), Err(DsseError::ZeroThreshold));
}

#[test]
fn a_key_listed_twice_counts_once() {
    let one = signer(1);
    let keys = [
        one.public_key(at(0), None),
        one.public_key(at(0), Some(at(9))),
    ];
    let envelope = Envelope::sign("t", b"x", &[&one, &one]);
    assert!(verify(&envelope, "t", &keys, 2, at(1)).is_err());
}

#[test]
fn keys_count_in_their_window_only() {
    let one = signer(1);
    let keys = [one.public_key(at(10), Some(at(20)))];
    let envelope = Envelope::sign("t", b"x", &[&one]);
    for (second, valid) in [(9, false), (10, true), (19, true), (20, false)] {
        assert_eq!(verify(&envelope, "t", &keys, 1, at(second)).is_ok(), valid);
    }
}

#[test]
fn the_type_is_part_of_what_is_signed() {
    let one = signer(1);
    let keys = [one.public_key(at(0), None)];
    let mut envelope = Envelope::sign("t", b"x", &[&one]);
    assert!(matches!(
        verify(&envelope, "u", &keys, 1, at(1)),
        Err(DsseError::WrongPayloadType { .. })
    ));
    envelope.payload_type = "u".into();
    assert!(matches!(
        verify(&envelope, "u", &keys, 1, at(1)),
        Err(DsseError::TooFewSignatures { .. })
    ));
}

#[test]
fn weak_keys_are_refused() {
    // The identity point as key and R, with s = 0, satisfies the plain
    // equation for every message.
    let mut identity = [0_u8; 32];
    identity[0] = 1;
    let mut forged = [0_u8; 64];
    forged[0] = 1;
    let keys = [PublicKeyRecord {
        public_key: identity,
        not_before: at(0),
        not_after: None,
    }];
    let envelope = Envelope {
        payload: STANDARD.encode(b"x"),
        payload_type: "t".into(),
        signatures: vec![EnvelopeSignature {
            keyid: String::new(),
            sig: STANDARD.encode(forged),
        }],
    };
    assert!(verify(&envelope, "t", &keys, 1, at(1)).is_err());
}

#[test]
fn either_alphabet_is_read_and_a_missing_key_id_is_only_a_missing_hint() {
    let one = signer(1);
    let keys = [one.public_key(at(0), None)];
    let payload = [0xfb_u8, 0xff, 0xfe];
    let mut envelope = Envelope::sign("t", &payload, &[&one]);
    assert_eq!(envelope.payload, "+//+");
    envelope.payload = "-__-".into();
    envelope.signatures[0].keyid.clear();
    assert_eq!(
        verify(&envelope, "t", &keys, 1, at(1)).unwrap().payload,
        payload
    );
    envelope.payload = "not base64!".into();
    assert_eq!(
        verify(&envelope, "t", &keys, 1, at(1)),
        Err(DsseError::NotBase64("payload"))
    );
}

#[test]
fn the_json_forms() {
    let one = signer(1);
    let envelope = Envelope::sign(ALLOCATION_PAYLOAD_TYPE, b"{}", &[&one]);
    let json = serde_json::to_value(&envelope).unwrap();
    assert_eq!(json["payloadType"], ALLOCATION_PAYLOAD_TYPE);
    assert_eq!(json["signatures"][0]["keyid"], one.key_id());
    assert_eq!(one.key_id().len(), 32);
    let record = one.public_key(at(0), None);
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(
        serde_json::from_str::<PublicKeyRecord>(&text).unwrap(),
        record
    );
    let swapped = text.replace(one.key_id(), signer(2).key_id());
    assert!(serde_json::from_str::<PublicKeyRecord>(&swapped).is_err());
    assert!(!format!("{one:?}").contains("key:"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_changed_bit_breaks_the_signature(payload in prop::collection::vec(any::<u8>(), 1..80), bit in any::<u16>()) {
        let one = signer(1);
        let keys = [one.public_key(at(0), None)];
        let mut envelope = Envelope::sign("t", &payload, &[&one]);
        prop_assert!(verify(&envelope, "t", &keys, 1, at(1)).is_ok());
        let mut changed = payload.clone();
        let bit = usize::from(bit) % (changed.len() * 8);
        changed[bit / 8] ^= 1 << (bit % 8);
        envelope.payload = STANDARD.encode(&changed);
        prop_assert!(verify(&envelope, "t", &keys, 1, at(1)).is_err());
    }

    #[test]
    fn pae_is_injective(a in ".{0,6}", b in prop::collection::vec(any::<u8>(), 0..6),
                        c in ".{0,6}", d in prop::collection::vec(any::<u8>(), 0..6)) {
        prop_assert_eq!(pae(&a, &b) == pae(&c, &d), a == c && b == d);
    }
}
