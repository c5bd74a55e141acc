//! Properties of every parser: it never panics, and what it accepts it writes back byte for byte.

#![expect(clippy::unwrap_used, reason = "what a test makes is right, or the test fails")]

use attestlog_core::{
    Checkpoint, Error, Hash, InclusionProof, KeyType, LeafIndex, NoteSignature, Policy, Receipt,
    SignedCheckpoint, SignedNote, SigningKey, TreeSize, VerifierKey, base64, decimal,
};
use proptest::prelude::*;

fn log() -> SigningKey {
    SigningKey::new("example.com/log", KeyType::Log, &[1; 32]).unwrap()
}

fn witness() -> SigningKey {
    SigningKey::new("witness.example", KeyType::Witness, &[2; 32]).unwrap()
}

fn policy_text() -> String {
    let (log, witness) = (log(), witness());
    let (log, witness) = (log.verifier_key(), witness.verifier_key());
    format!("# who is trusted\nlog {log} https://example.com\nwitness W {witness}\ngroup g all W\nquorum g\n")
}

/// A log of two entries, cosigned.
fn checkpoint(entry: &[u8]) -> Checkpoint {
    let root = Hash::node(&Hash::leaf(b"first"), &Hash::leaf(entry));
    let mut checkpoint = Checkpoint::sign(&log(), TreeSize(2), root).unwrap();
    let line = checkpoint.cosign(&witness(), 1_700_000_000).unwrap();
    checkpoint.add_cosignature(witness().verifier_key(), line).unwrap();
    checkpoint
}

fn receipt(entry: &[u8], extra: Option<Vec<u8>>) -> Receipt {
    let proof = InclusionProof::new(vec![Hash::leaf(b"first")]);
    Receipt::new(LeafIndex(1), proof, checkpoint(entry).into(), extra).unwrap()
}

/// Hands `bytes` to every parser and verifier; what is accepted must be written back as it was.
fn read_as_everything(bytes: &[u8]) -> Result<(), TestCaseError> {
    let policy = Policy::parse(policy_text()).unwrap();
    if let Ok(value) = base64::parse(bytes) {
        prop_assert!(base64::format(&value).as_bytes() == bytes);
    }
    if let Ok(number) = decimal::parse(bytes) {
        prop_assert!(number.to_string().as_bytes() == bytes);
    }
    if let Ok(key) = VerifierKey::parse(bytes) {
        prop_assert!(key.to_string().as_bytes() == bytes);
    }
    if let Ok(signature) = NoteSignature::parse(bytes) {
        prop_assert!(signature.to_string().as_bytes() == bytes);
    }
    if let Ok(note) = SignedNote::parse(bytes) {
        prop_assert!(note.format().as_bytes() == bytes);
    }
    if let Ok(signed) = SignedCheckpoint::parse(bytes) {
        prop_assert!(signed.format().as_bytes() == bytes);
        let _ = signed.open_with(&policy);
    }
    if let Ok(receipt) = Receipt::parse(bytes) {
        prop_assert!(receipt.format().as_bytes() == bytes);
        let _ = receipt.verify(b"entry", &policy);
    }
    if let Ok(policy) = Policy::parse(bytes) {
        // Comments and blanks are not kept, so it is the policy that comes back.
        prop_assert_eq!(Policy::parse(policy.format()), Ok(policy));
    }
    Ok(())
}

/// One byte changed, removed or added, or a line removed, repeated or moved.
#[derive(Clone, Copy, Debug)]
enum Mutation {
    Change(u8),
    Remove,
    Add(u8),
    RemoveLine,
    RepeatLine,
    LastLine,
}

fn mutations() -> impl Strategy<Value = Vec<(prop::sample::Index, Mutation)>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\n\r\t +=0A#".to_vec())];
    let mutation = prop_oneof![
        byte.clone().prop_map(Mutation::Change),
        Just(Mutation::Remove),
        byte.prop_map(Mutation::Add),
        Just(Mutation::RemoveLine),
        Just(Mutation::RepeatLine),
        Just(Mutation::LastLine),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), mutation), 1..4)
}

fn mutated(bytes: &[u8], mutations: &[(prop::sample::Index, Mutation)]) -> Vec<u8> {
    mutations.iter().fold(bytes.to_vec(), |mut bytes, (place, mutation)| {
        let mut lines: Vec<Vec<u8>> =
            bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        if bytes.is_empty() {
            return bytes;
        }
        let (at, line) = (place.index(bytes.len()), place.index(lines.len()));
        match mutation {
            Mutation::Change(byte) => bytes[at] = *byte,
            Mutation::Remove => drop(bytes.remove(at)),
            Mutation::Add(byte) => bytes.insert(at, *byte),
            Mutation::RemoveLine => drop(lines.remove(line)),
            Mutation::RepeatLine => lines.insert(line, lines[line].clone()),
            Mutation::LastLine => {
                let line = lines.remove(line);
                lines.push(line);
            }
        }
        match mutation {
            Mutation::Change(_) | Mutation::Remove | Mutation::Add(_) => bytes,
            Mutation::RemoveLine | Mutation::RepeatLine | Mutation::LastLine => lines.concat(),
        }
    })
}

proptest! {
    #[test]
    fn no_parser_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_as_everything(&bytes)?;
    }

    #[test]
    fn no_parser_panics_on_text_that_nearly_fits(text in "([a-z—+#=0-9A-F \t]{0,20}\n){0,8}") {
        read_as_everything(text.as_bytes())?;
    }

    #[test]
    fn what_is_accepted_after_a_mutation_is_still_canonical(changes in mutations(), extra in any::<Option<[u8; 5]>>()) {
        let receipt = receipt(b"entry", extra.map(|extra| extra.to_vec()));
        read_as_everything(&mutated(receipt.format().as_bytes(), &changes))?;
        read_as_everything(&mutated(checkpoint(b"entry").format().as_bytes(), &changes))?;
        read_as_everything(&mutated(policy_text().as_bytes(), &changes))?;
        read_as_everything(&mutated(log().verifier_key().to_string().as_bytes(), &changes))?;
    }

    #[test]
    fn a_mutated_receipt_proves_the_same_or_nothing(changes in mutations()) {
        let policy = Policy::parse(policy_text()).unwrap();
        let receipt = receipt(b"entry", None);
        let verified = |bytes: &[u8]| -> Result<(LeafIndex, TreeSize, Hash), Error> {
            let receipt = Receipt::parse(bytes)?;
            let checkpoint = receipt.verify(b"entry", &policy)?;
            Ok((receipt.index(), checkpoint.size(), checkpoint.root()))
        };
        let original = verified(receipt.format().as_bytes());
        prop_assert!(original.is_ok());
        let after = verified(&mutated(receipt.format().as_bytes(), &changes));
        prop_assert!(after.is_err() || after == original, "{after:?}");
    }

    #[test]
    fn a_receipt_proves_its_entry_and_no_other(
        entry in prop::collection::vec(any::<u8>(), 0..50),
        other in prop::collection::vec(any::<u8>(), 0..50),
        extra in prop::option::of(prop::collection::vec(any::<u8>(), 1..50)),
    ) {
        let policy = Policy::parse(policy_text()).unwrap();
        let receipt = Receipt::parse(receipt(&entry, extra.clone()).format().as_bytes()).unwrap();
        prop_assert_eq!(receipt.extra(), extra.as_deref());
        prop_assert!(receipt.verify(&entry, &policy).is_ok());
        prop_assert_eq!(receipt.verify(&other, &policy).is_ok(), entry == other);
    }

    #[test]
    fn any_log_and_any_head_round_trip(name in "[a-z/.é]{1,60}", seed in any::<[u8; 32]>(), size in 1_u64.., root in any::<[u8; 32]>()) {
        let key = SigningKey::new(&name, KeyType::Log, &seed).unwrap();
        let checkpoint = Checkpoint::sign(&key, TreeSize(size), Hash(root)).unwrap();
        let vkey = VerifierKey::parse(key.verifier_key().to_string()).unwrap();
        let opened = SignedCheckpoint::parse(checkpoint.format().as_bytes()).unwrap().open(&vkey);
        prop_assert_eq!(opened, Ok(checkpoint));
    }
}
