//! Named vectors: each defect that a reader of a format could overlook, and the code it is refused with.
//!
//! The files in `tests/vectors/` are shared: whoever reads a format, in any language, runs them.

#![expect(clippy::unwrap_used, reason = "a file that cannot be read fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use attestlog_core::{
    ConsistencyProof, Error, Hash, Inclusion, InclusionProof, LeafIndex, LogRead, ParseError, Policy,
    Receipt, SignedCheckpoint, SignedNote, TileId, TreeHead, TreeSize, VerifierKey, VerifyError, base64,
    decimal, format_tile, verify_inclusions,
};
use serde::Deserialize;
use serde_json::Value;

/// A file of vectors of one format.
#[derive(Deserialize)]
struct Vectors {
    count: usize,
    vectors: Vec<Vector>,
}

/// `why` is for people.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    why: String,
    input: Value,
    expect: String,
}

impl Vector {
    /// An input as bytes: a string, or an object with the key `hex`.
    fn bytes(&self, field: &str) -> Vec<u8> {
        self.bytes_of(&self.input[field])
    }

    /// An input that is a list of what [`bytes`](Self::bytes) reads.
    fn list(&self, field: &str) -> Vec<Vec<u8>> {
        self.input[field].as_array().unwrap().iter().map(|value| self.bytes_of(value)).collect()
    }

    fn bytes_of(&self, value: &Value) -> Vec<u8> {
        match (value.as_str(), value["hex"].as_str()) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (_, Some(hex)) => unhex(hex),
            _ => panic!("{}: {value} is neither a string nor an object with hex", self.name),
        }
    }

    fn number(&self, field: &str) -> u64 {
        decimal::parse(&self.bytes(field)).unwrap()
    }

    /// The tree whose size and root are in these fields.
    fn head(&self, size: &str, root: &str) -> TreeHead {
        let root = Hash::parse_base64(&self.bytes(root)).unwrap();
        TreeHead { size: TreeSize(self.number(size)), root }
    }

    fn proof(&self) -> Result<Vec<Hash>, ParseError> {
        self.list("proof").iter().map(|hash| Hash::parse_base64(hash)).collect()
    }

    fn has(&self, field: &str) -> bool {
        self.input.get(field).is_some()
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// Runs `check` over each vector of the file, whose number of vectors is `count`, and names those that go wrong.
fn run(file: &str, count: usize, check: impl Fn(&Vector) -> Result<(), Error>) {
    let text = fs::read(folder().join(file)).unwrap();
    let vectors: Vectors = serde_json::from_slice(&text).unwrap();
    assert_eq!((vectors.count, vectors.vectors.len()), (count, count), "{file} is not the file it was");

    let names: BTreeSet<&str> = vectors.vectors.iter().map(|vector| &*vector.name).collect();
    assert_eq!(names.len(), count, "two vectors of {file} have one name");
    let wrong: Vec<String> =
        vectors.vectors.iter().filter_map(|vector| wrong(vector, check(vector))).collect();
    assert!(wrong.is_empty(), "{file}:\n{}", wrong.join("\n"));
}

fn wrong(vector: &Vector, result: Result<(), Error>) -> Option<String> {
    let code = result.map_or_else(|error| error.code(), |()| "ok");
    let explained = vector.why.ends_with(['.', '?']);
    (code != vector.expect || !explained).then(|| format!("{}: {code}, not {}", vector.name, vector.expect))
}

#[test]
fn every_file_of_vectors_is_run() {
    let files: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let texts = ["base64", "checkpoint", "cosignature", "decimal", "note", "policy", "receipt", "vkey"];
    let proofs = ["consistency", "inclusion", "tile"];
    let run = texts.iter().chain(&proofs).map(|name| format!("{name}.json"));
    assert_eq!(files, run.collect());
}

#[test]
fn base64_is_canonical() {
    run("base64.json", 19, |vector| {
        let text = vector.bytes("text");
        let bytes = base64::parse(&text)?;
        assert_eq!(base64::format(&bytes).as_bytes(), text, "{}", vector.name);
        Ok(())
    });
}

#[test]
fn decimals_have_one_spelling() {
    run("decimal.json", 21, |vector| {
        let text = vector.bytes("text");
        let number = decimal::parse(&text)?;
        assert_eq!(number.to_string().as_bytes(), text, "{}", vector.name);
        Ok(())
    });
}

#[test]
fn verifier_keys_are_checked_against_their_ids() {
    run("vkey.json", 35, |vector| {
        let text = vector.bytes("vkey");
        let key = VerifierKey::parse(&text)?;
        assert_eq!(key.to_string().as_bytes(), text, "{}", vector.name);
        Ok(())
    });
}

#[test]
fn notes_are_read_to_the_byte() {
    run("note.json", 46, |vector| {
        let text = vector.bytes("note");
        let note = SignedNote::parse(&text)?;
        assert_eq!(note.format().as_bytes(), text, "{}", vector.name);
        let keys = vector.input["keys"].as_array().unwrap();
        let keys: Vec<_> =
            keys.iter().map(|key| VerifierKey::parse(key.as_str().unwrap()).unwrap()).collect();
        assert_eq!(note.verify(&keys)?.len(), keys.len(), "{}", vector.name);
        Ok(())
    });
}

#[test]
fn checkpoints_open_with_the_key_of_their_origin() {
    run("checkpoint.json", 43, |vector| {
        let text = vector.bytes("checkpoint");
        let log = VerifierKey::parse(vector.bytes("vkey")).unwrap();
        let checkpoint = SignedCheckpoint::parse(&text)?.open(&log)?;
        assert_eq!(checkpoint.format().as_bytes(), text, "{}", vector.name);
        Ok(())
    });
}

#[test]
fn cosignatures_are_by_the_witness_over_the_whole_text() {
    run("cosignature.json", 22, |vector| {
        let policy = Policy::parse(vector.bytes("policy")).unwrap();
        SignedCheckpoint::parse(&vector.bytes("checkpoint"))?.open_with(&policy)?;
        Ok(())
    });
}

#[test]
fn policies_decide_as_they_say() {
    run("policy.json", 65, |vector| {
        let policy = Policy::parse(vector.bytes("policy"))?;
        assert_eq!(Policy::parse(policy.format()), Ok(policy.clone()), "{}", vector.name);
        if vector.has("checkpoint") {
            SignedCheckpoint::parse(&vector.bytes("checkpoint")).unwrap().open_with(&policy)?;
        }
        Ok(())
    });
}

#[test]
fn receipts_prove_their_entry_and_nothing_else() {
    run("receipt.json", 59, |vector| {
        let text = vector.bytes("receipt");
        let policy = Policy::parse(vector.bytes("policy")).unwrap();
        let receipt = Receipt::parse(&text)?;
        assert_eq!(receipt.format().as_bytes(), text, "{}", vector.name);
        receipt.verify(&vector.bytes("entry"), &policy)?;
        Ok(())
    });
}

fn is_root(root: Hash, head: &TreeHead) -> Result<(), VerifyError> {
    if root == head.root { Ok(()) } else { Err(VerifyError::RootMismatch) }
}

#[test]
fn inclusion_proofs_lead_to_their_root_alone_and_together() {
    run("inclusion.json", 28, |vector| {
        let (head, index) = (vector.head("size", "root"), LeafIndex(vector.number("index")));
        let (leaf, proof) = (Hash::leaf(&vector.bytes("entry")), vector.proof()?);
        let alone = InclusionProof::new(proof.clone()).root(&leaf, index, head.size);
        let alone = alone.and_then(|root| is_root(root, &head));
        let proof: Vec<[u8; 32]> = proof.iter().map(|hash| hash.0).collect();
        let together = verify_inclusions(&[Inclusion { index, leaf, proof: &proof }; 3], &head);
        assert_eq!(together.map_err(|refused| refused.error), alone, "{}", vector.name);
        Ok(alone?)
    });
}

#[test]
fn consistency_proofs_lead_to_both_roots() {
    run("consistency.json", 30, |vector| {
        let (old, new) = (vector.head("old_size", "old_root"), vector.head("new_size", "new_root"));
        Ok(ConsistencyProof::new(vector.proof()?).verify(&old, &new)?)
    });
}

#[test]
fn tiles_are_proven_by_those_around_them() {
    run("tile.json", 30, |vector| {
        let head = vector.head("size", "root");
        let level = u8::try_from(vector.number("level")).unwrap();
        let tile = TileId { level, index: vector.number("index") };
        let width = usize::try_from(vector.number("width")).unwrap();
        let answers = vector.list("answers");
        let hashes = LogRead::tile(tile, width, head.size)?.open_tile(&answers, &head)?;
        assert_eq!(format_tile(&hashes), answers[0], "{}", vector.name);
        Ok(())
    });
}
