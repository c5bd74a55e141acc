//! Bundles prove what they hold, and nothing that was changed in them afterwards.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use attestlog_core::{
    Checkpoint, Hash, KeyType, Policy, Receipt, SignedCheckpoint, UncheckedError, VerifierKey, VerifyError,
};
use attestlog_server::bundle::{
    BundleError, BundleReport, Entries, ExportError, Manifest, Proof, Selection, export, verify_bundle,
};
use attestlog_server::progress::Progress;
use attestlog_server::store::Store;
use attestlog_tests::sample_log::{ORIGIN, SampleLog, entry, key, secret};
use tar::EntryType;

/// A member of an archive.
type Member = (Vec<u8>, EntryType, Vec<u8>);

fn policy() -> Policy {
    Policy::for_log(key().verifier_key().clone()).unwrap()
}

async fn newest(sample: &SampleLog) -> Checkpoint {
    let stored = sample.store.checkpoint(sample.log.id).await.unwrap().unwrap();
    SignedCheckpoint::parse(&stored.note).unwrap().open(key().verifier_key()).unwrap()
}

async fn try_export(
    sample: &SampleLog,
    name: &str,
    indexes: Option<Range<u64>>,
    receipts: bool,
) -> Result<(Manifest, PathBuf), ExportError> {
    try_export_of(sample, name, indexes.map_or(Entries::All, Entries::Range), receipts).await
}

async fn try_export_of(
    sample: &SampleLog,
    name: &str,
    entries: Entries,
    receipts: bool,
) -> Result<(Manifest, PathBuf), ExportError> {
    let path = sample.folder().join("bundles").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let selection = Selection { entries, receipts };
    let (checkpoint, progress) = (newest(sample).await, Progress::default());
    let manifest = export(&*sample.store, &sample.log, &checkpoint, selection, &path, &progress).await?;
    assert_eq!(progress.done(), progress.total());
    Ok((manifest, path))
}

async fn exported(sample: &SampleLog, indexes: Option<Range<u64>>, receipts: bool) -> PathBuf {
    try_export(sample, "bundle.tar", indexes, receipts).await.unwrap().1
}

fn files_beside(path: &Path) -> Vec<String> {
    let folder = std::fs::read_dir(path.parent().unwrap()).unwrap();
    folder.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

fn members(path: &Path) -> Vec<Member> {
    let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
    let read = |member: std::io::Result<tar::Entry<'_, std::fs::File>>| {
        let mut member = member.unwrap();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        (member.path_bytes().into_owned(), member.header().entry_type(), bytes)
    };
    archive.entries().unwrap().map(read).collect()
}

fn member(path: &Path, name: &str) -> Vec<u8> {
    members(path).into_iter().find(|(found, ..)| found == name.as_bytes()).unwrap().2
}

/// The archive of these members, whatever their names.
fn archive(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, content) in members {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

fn verify_bytes(bytes: &[u8]) -> Result<BundleReport, BundleError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    verify_bundle(file.path(), &policy())
}

/// Verifies the bundle with one member replaced.
fn verify_with(
    path: &Path,
    name: &str,
    change: impl Fn(Vec<u8>) -> Vec<u8>,
) -> Result<BundleReport, BundleError> {
    let mut all = members(path);
    let (_, _, bytes) = all.iter_mut().find(|(found, ..)| found == name.as_bytes()).unwrap();
    *bytes = change(std::mem::take(bytes));
    verify_bytes(&archive(&all))
}

fn replace(bytes: Vec<u8>, old: &str, new: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains(old), "{text}");
    text.replacen(old, new, 1).into_bytes()
}

#[track_caller]
fn assert_malformed(result: Result<BundleReport, BundleError>, name: &str) {
    assert!(matches!(&result, Err(BundleError::Malformed { member, .. }) if member == name), "{result:?}");
    assert_eq!(result.unwrap_err().code(), "malformed_bundle");
}

#[track_caller]
fn assert_not_proven(result: Result<BundleReport, BundleError>, index: Option<u64>, error: VerifyError) {
    let proven = matches!(
        &result,
        Err(BundleError::NotProven { index: i, error: e }) if *i == index && *e == error
    );
    assert!(proven, "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_log_is_proven_by_its_entries_alone() {
    for size in [0, 1, 2, 255, 256, 257, 5_000] {
        let sample = SampleLog::with_checkpoints(&[size]).await;
        for name in ["bundle.tar", "bundle.tar.gz", "BUNDLE.TGZ"] {
            let (manifest, path) = try_export(&sample, name, None, false).await.unwrap();
            assert_eq!((manifest.proof, manifest.count), (Proof::Complete, size));
            let report = verify_bundle(&path, &policy()).unwrap();
            let bytes = (0..size).map(|index| entry(index).len() as u64).sum();
            let expected = BundleReport {
                origin: ORIGIN.to_owned(),
                tree_size: size,
                first_index: 0,
                count: size,
                bytes,
                filter: None,
                proof: Proof::Complete,
            };
            assert_eq!(report, expected);
            let is_gzip = std::fs::read(&path).unwrap().starts_with(&[0x1f, 0x8b]);
            assert_eq!(is_gzip, name != "bundle.tar");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_log_is_proven_by_receipts() {
    let sample = SampleLog::with_checkpoints(&[300, 1_100]).await;
    for indexes in [0..1, 0..1_099, 1..1_100, 255..257, 200..600, 1_024..1_100, 1_099..1_100] {
        for name in ["bundle.tar", "bundle.tgz"] {
            let (manifest, path) = try_export(&sample, name, Some(indexes.clone()), false).await.unwrap();
            assert_eq!((manifest.proof, manifest.first_index), (Proof::Receipts, indexes.start));
            let report = verify_bundle(&path, &policy()).unwrap();
            let count = indexes.end - indexes.start;
            assert_eq!((report.first_index, report.count, report.tree_size), (indexes.start, count, 1_100));
        }
    }
}

#[tokio::test]
async fn what_a_search_has_found_is_proven_entry_by_entry() {
    let sample = SampleLog::with_checkpoints(&[300, 1_100]).await;
    let found = |indexes: &[u64]| Entries::Found {
        indexes: indexes.to_vec(),
        filter: [("actor".to_owned(), "usr_7".to_owned())].into(),
    };
    let wanted = [1_099, 3, 4, 5, 255, 256, 700, 4];
    let (manifest, path) = try_export_of(&sample, "found.tar", found(&wanted), false).await.unwrap();
    assert_eq!((manifest.proof, manifest.first_index, manifest.count), (Proof::Receipts, 3, 7));
    let report = verify_bundle(&path, &policy()).unwrap();
    assert_eq!((report.first_index, report.count), (3, 7));
    assert_eq!(report.filter.unwrap()["actor"], "usr_7");
    let lines = String::from_utf8(member(&path, "entries.ndjson")).unwrap();
    let indexes: Vec<u64> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["index"].as_u64().unwrap())
        .collect();
    assert_eq!(indexes, [3, 4, 5, 255, 256, 700, 1_099]);

    // One line for another, twice the same, out of order, and gaps that no filter explains.
    let lines: Vec<&str> = lines.split_inclusive('\n').collect();
    for order in
        [&[0, 1, 1, 3, 4, 5, 6][..], &[1, 0, 2, 3, 4, 5, 6], &[0, 1, 2, 4, 3, 5, 6], &[0, 1, 2, 3, 4, 5]]
    {
        let text: String = order.iter().map(|&line| lines[line]).collect();
        let result = verify_with(&path, "entries.ndjson", |_| text.clone().into_bytes());
        assert!(matches!(result, Err(BundleError::Malformed { .. })), "{order:?}: {result:?}");
    }
    let without = |bytes: Vec<u8>| {
        let mut manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        manifest.as_object_mut().unwrap().remove("filter").unwrap();
        serde_json::to_vec(&manifest).unwrap()
    };
    assert_malformed(verify_with(&path, "manifest.json", without), "entries.ndjson");
    // The entry of another index is not proven by this one's receipt.
    let swapped = |bytes: Vec<u8>| replace(bytes, "\"index\":700", "\"index\":701");
    assert_malformed(verify_with(&path, "entries.ndjson", swapped), "receipts/701.tlog-proof");

    let (manifest, path) =
        try_export_of(&sample, "all.tar", found(&Vec::from_iter(0..1_100)), false).await.unwrap();
    assert_eq!((manifest.proof, manifest.filter), (Proof::Complete, None));
    verify_bundle(&path, &policy()).unwrap();
    for nothing in [&[][..], &[1_100, u64::MAX]] {
        let refused = try_export_of(&sample, "none.tar", found(nothing), false).await;
        assert!(matches!(refused, Err(ExportError::NothingFound)), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_can_be_taken_out_of_a_bundle() {
    let sample = SampleLog::with_checkpoints(&[300]).await;
    let (manifest, path) = try_export(&sample, "bundle.tar", None, true).await.unwrap();
    assert_eq!((manifest.proof, manifest.count), (Proof::Receipts, 300));
    assert_eq!(verify_bundle(&path, &policy()).unwrap().count, 300);
    let receipt = Receipt::parse(&member(&path, "receipts/257.tlog-proof")).unwrap();
    assert_eq!(receipt.verify(&entry(257), &policy()).unwrap().size().0, 300);
    assert!(receipt.verify(&entry(256), &policy()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_come_back_byte_for_byte() {
    let mut sample = SampleLog::empty().await;
    let entries =
        [&b"\0"[..], b"\xff\xfe\n", b"a\nb\r\n", "\u{2028}\"\\".as_bytes(), &[0; 65_535], &[0xff; 65_535]];
    sample.append(entries.iter().map(|entry| entry.to_vec())).await;
    let path = exported(&sample, None, true).await;
    assert_eq!(
        verify_bundle(&path, &policy()).unwrap().bytes,
        entries.iter().map(|e| e.len() as u64).sum::<u64>()
    );
    let lines = String::from_utf8(member(&path, "entries.ndjson")).unwrap();
    for (line, entry) in lines.lines().zip(entries) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let bytes = match (&line["text"], &line["base64"]) {
            (serde_json::Value::String(text), serde_json::Value::Null) => text.clone().into_bytes(),
            (_, base64) => attestlog_core::base64::parse(base64.as_str().unwrap().as_bytes()).unwrap(),
        };
        assert_eq!(bytes, entry);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_beside_the_bundle_whether_it_succeeds_or_fails() {
    let sample = SampleLog::with_checkpoints(&[300]).await;
    let path = exported(&sample, Some(3..9), false).await;
    assert_eq!(files_beside(&path), ["bundle.tar"]);
    let before = std::fs::read(&path).unwrap();
    for indexes in [3..3, 3..301, 300..301, 0..0, Range { start: 9, end: 3 }] {
        let refused = try_export(&sample, "bundle.tar", Some(indexes), false).await;
        assert!(matches!(refused, Err(ExportError::NoSuchEntries { size: 300, .. })), "{refused:?}");
    }
    let progress = Progress::default();
    progress.stop.cancel();
    let (selection, checkpoint) =
        (Selection { entries: Entries::All, receipts: true }, newest(&sample).await);
    let ended = export(&*sample.store, &sample.log, &checkpoint, selection, &path, &progress).await;
    assert!(matches!(ended, Err(ExportError::Cancelled)), "{ended:?}");
    assert_eq!((files_beside(&path), std::fs::read(&path).unwrap()), (vec!["bundle.tar".to_owned()], before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_not_exported() {
    let sample = SampleLog::with_checkpoints(&[300]).await;
    sample.damage("update processed_log set data = ? where id = 7", &[b"x"]).await;
    for (indexes, expected) in [(None, None), (Some(5..9), Some(7))] {
        let refused = try_export(&sample, "bundle.tar", indexes, false).await;
        assert!(matches!(refused, Err(ExportError::NotProven { index }) if index == expected), "{refused:?}");
    }
    sample.damage("delete from processed_log where id = 7", &[]).await;
    let refused = try_export(&sample, "bundle.tar", Some(5..9), false).await;
    assert!(matches!(refused, Err(ExportError::NotProven { index: Some(7) })), "{refused:?}");
    assert_eq!(files_beside(&sample.folder().join("bundles").join("bundle.tar")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_entry_is_not_proven() {
    let sample = SampleLog::with_checkpoints(&[300]).await;
    let change = |bytes| replace(bytes, "\\\"number\\\":8}", "\\\"number\\\":0}");
    let complete = exported(&sample, None, false).await;
    assert_not_proven(verify_with(&complete, "entries.ndjson", change), None, VerifyError::RootMismatch);
    let part = exported(&sample, Some(5..20), false).await;
    assert_not_proven(verify_with(&part, "entries.ndjson", change), Some(8), VerifyError::RootMismatch);
    let swap = |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        text.replace("number\\\":8}", "#")
            .replace("number\\\":9}", "number\\\":8}")
            .replace('#', "number\\\":9}")
            .into_bytes()
    };
    assert_not_proven(verify_with(&part, "entries.ndjson", swap), Some(8), VerifyError::RootMismatch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_receipt_proves_nothing() {
    let sample = SampleLog::with_checkpoints(&[100, 300]).await;
    let path = exported(&sample, Some(5..20), false).await;
    let name = "receipts/9.tlog-proof";
    let hash = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        let line = text.lines().nth(2).unwrap().to_owned();
        text.replacen(&line, &Hash([9; 32]).to_string(), 1).into_bytes()
    };
    assert_not_proven(verify_with(&path, name, hash), Some(9), VerifyError::RootMismatch);
    let no_hash = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        let line = format!("{}\n", text.lines().nth(2).unwrap());
        text.replacen(&line, "", 1).into_bytes()
    };
    assert_not_proven(verify_with(&path, name, no_hash), Some(9), VerifyError::ProofLength);
    assert_not_proven(verify_with(&path, name, flip_signature), Some(9), VerifyError::BadSignature);
    assert_malformed(verify_with(&path, name, |bytes| replace(bytes, "index 9\n", "index 8\n")), name);
    assert_malformed(verify_with(&path, name, |bytes| replace(bytes, "proof@v1", "proof@v2")), name);
    let other = member(&path, "receipts/8.tlog-proof");
    assert_malformed(verify_with(&path, name, |_| other.clone()), name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_by_another_checkpoint_than_the_bundles_does_not_belong_there() {
    let mut sample = SampleLog::with_checkpoints(&[100]).await;
    let older = member(&exported(&sample, Some(9..10), false).await, "receipts/9.tlog-proof");
    sample.grow_to(300).await;
    let path = exported(&sample, Some(5..20), false).await;
    let name = "receipts/9.tlog-proof";
    assert_malformed(verify_with(&path, name, |_| older.clone()), name);
}

/// Changes a signature into another one of the same length.
fn flip_signature(bytes: Vec<u8>) -> Vec<u8> {
    let mut bytes = bytes;
    let place = bytes.len() - 40;
    bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_must_be_the_logs_own() {
    let sample = SampleLog::with_checkpoints(&[100, 300]).await;
    let path = exported(&sample, None, false).await;
    let flipped = verify_with(&path, "checkpoint", flip_signature);
    assert_not_proven(flipped, None, VerifyError::BadSignature);
    let root = newest(&sample).await.root().to_string();
    let rooted = verify_with(&path, "checkpoint", |bytes| replace(bytes, &root, &Hash([9; 32]).to_string()));
    assert_not_proven(rooted, None, VerifyError::BadSignature);
    let resized = verify_with(&path, "checkpoint", |bytes| replace(bytes, "\n300\n", "\n299\n"));
    assert_not_proven(resized, None, VerifyError::BadSignature);
    assert_malformed(
        verify_with(&path, "checkpoint", |bytes| replace(bytes, "\n300\n", "\n0300\n")),
        "checkpoint",
    );
    // Signed by the log, and for another tree than the entries are.
    let other = Checkpoint::sign(&key(), attestlog_core::TreeSize(300), Hash([9; 32])).unwrap().format();
    let other = verify_with(&path, "checkpoint", |_| other.clone().into_bytes());
    assert_not_proven(other, None, VerifyError::RootMismatch);
    let older = sample.store.checkpoints(sample.log.id, attestlog_core::TreeSize(100), 1).await.unwrap();
    let older = verify_with(&path, "checkpoint", |_| older[0].note.clone());
    assert_malformed(older, "manifest.json");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_keys_that_the_policy_asks_for_nothing_is_checked() {
    let sample = SampleLog::with_checkpoints(&[300]).await;
    let path = exported(&sample, None, false).await;
    let other = secret().signing_key("example.com/other").unwrap();
    let stranger = Policy::for_log(other.verifier_key().clone()).unwrap();
    let unchecked = verify_bundle(&path, &stranger).unwrap_err();
    assert!(matches!(unchecked, BundleError::Unchecked(UncheckedError::NoTrustedSignature)), "{unchecked:?}");
    let witness = VerifierKey::new("witness", KeyType::Witness, &other.verifier_key().public_key()).unwrap();
    let witnessed = format!("log {}\nwitness w {witness}\nquorum w\n", key().verifier_key());
    let unchecked = verify_bundle(&path, &Policy::parse(witnessed).unwrap()).unwrap_err();
    assert!(matches!(unchecked, BundleError::Unchecked(UncheckedError::QuorumNotMet)), "{unchecked:?}");
    assert_eq!(unchecked.code(), UncheckedError::QuorumNotMet.code());
    let missing = verify_bundle(Path::new("/nonexistent/bundle.tar"), &policy()).unwrap_err();
    assert!(matches!(missing, BundleError::Io(_)), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_contradicts_the_rest_is_malformed() {
    let sample = SampleLog::with_checkpoints(&[300]).await;
    let path = exported(&sample, Some(5..20), false).await;
    for (old, new, member) in [
        ("bundle/1", "bundle/2", "manifest.json"),
        ("\"count\": 15", "\"count\": 0", "manifest.json"),
        ("\"count\": 15", "\"count\": 18446744073709551615", "manifest.json"),
        ("\"count\": 15", "\"count\": -1", "manifest.json"),
        ("\"count\": 15", "\"count\": 15, \"count\": 15", "manifest.json"),
        ("\"count\": 15", "\"count\": 15, \"more\": 1", "manifest.json"),
        ("\"count\": 15", "\"count\": 14", "entries.ndjson"),
        ("\"count\": 15", "\"count\": 16", "entries.ndjson"),
        ("\"first_index\": 5", "\"first_index\": 6", "entries.ndjson"),
        ("\"first_index\": 5", "\"first_index\": 286", "manifest.json"),
        ("\"tree_size\": 300", "\"tree_size\": 301", "manifest.json"),
        ("\"receipts\"", "\"complete\"", "manifest.json"),
        ("\"receipts\"", "\"none\"", "manifest.json"),
        ("\"receipts/\"", "\"../receipts/\"", "manifest.json"),
        ("\"origin\": \"example.com/sample\"", "\"origin\": \"example.com/other\"", "manifest.json"),
        ("\"vkey\": \"example.com/sample", "\"vkey\": \"example.com/other", "manifest.json"),
    ] {
        let result = verify_with(&path, "manifest.json", |bytes| replace(bytes, old, new));
        // One entry less: the lines go on, or the receipts do.
        assert_malformed(result, member);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_not_the_manifests_entries_are_malformed() {
    let sample = SampleLog::with_checkpoints(&[300]).await;
    let path = exported(&sample, None, false).await;
    for (old, new) in [
        ("{\"index\":8,", "{\"index\":9,"),
        ("{\"index\":8,", "{\"index\":08,"),
        ("{\"index\":8,", "\n{\"index\":8,"),
        ("{\"index\":8,", "{\"index\":8,\"base64\":\"YQ==\","),
        ("{\"index\":0,", "{\"index\":1,"),
        ("\"}\n", "\"}"),
        ("\"}\n", "\"}\nx"),
    ] {
        assert_malformed(
            verify_with(&path, "entries.ndjson", |bytes| replace(bytes, old, new)),
            "entries.ndjson",
        );
    }
    let with = |change: fn(&mut Vec<u8>)| {
        verify_with(&path, "entries.ndjson", move |mut bytes| {
            change(&mut bytes);
            bytes
        })
    };
    assert_malformed(with(Vec::clear), "entries.ndjson");
    assert_malformed(with(|bytes| bytes.push(b'\n')), "entries.ndjson");
    assert_malformed(with(|bytes| bytes.truncate(bytes.len() - 1)), "entries.ndjson");
    assert_malformed(with(|bytes| bytes.splice(0..0, vec![b' '; 1 << 20]).for_each(drop)), "entries.ndjson");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_has_the_members_of_a_bundle_in_their_order_and_nothing_else() {
    let sample = SampleLog::with_checkpoints(&[300]).await;
    let good = members(&exported(&sample, Some(5..8), false).await);
    assert!(verify_bytes(&archive(&good)).is_ok());
    for place in 0..=good.len() {
        let name = good
            .get(place)
            .map_or("the archive".to_owned(), |(name, ..)| String::from_utf8(name.clone()).unwrap());
        let link = (b"link".to_vec(), EntryType::Symlink, vec![]);
        let outside = (b"../../etc/cron.d/x".to_vec(), EntryType::Regular, b"x".to_vec());
        let folder = (b"receipts/".to_vec(), EntryType::Directory, vec![]);
        let long_name = (b"././@LongLink".to_vec(), EntryType::GNULongName, vec![b'a'; 4096]);
        let extension = (b"pax".to_vec(), EntryType::XHeader, b"20 path=elsewhere\n".to_vec());
        let again = good[place.min(good.len() - 1)].clone();
        for extra in [link, outside, folder, long_name, extension] {
            let mut all = good.clone();
            all.insert(place, extra);
            assert_malformed(verify_bytes(&archive(&all)), &name);
        }
        let mut all = good.clone();
        all.insert(place, again);
        assert!(matches!(verify_bytes(&archive(&all)), Err(BundleError::Malformed { .. })), "{place}");
        if place < good.len() {
            let mut all = good.clone();
            all.remove(place);
            assert_malformed(verify_bytes(&archive(&all)), &name);
            let mut all = good.clone();
            all[place].1 = EntryType::Link;
            assert!(matches!(verify_bytes(&archive(&all)), Err(BundleError::Malformed { .. })), "{place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_archives_cost_no_memory() {
    let sample = SampleLog::with_checkpoints(&[300]).await;
    let good = members(&exported(&sample, Some(5..8), false).await);
    for (place, (name, ..)) in good.iter().enumerate().filter(|(_, (name, ..))| name != b"entries.ndjson") {
        let mut all = good.clone();
        all[place].2.resize((1 << 16) + 1, b' ');
        assert_malformed(verify_bytes(&archive(&all)), std::str::from_utf8(name).unwrap());
    }
    // A size of 8 GB that is not there.
    let mut bytes = archive(&good);
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes().copy_from_slice(&bytes[..512]);
    header.set_size(0o77_777_777_777);
    header.set_cksum();
    bytes[..512].copy_from_slice(header.as_bytes());
    assert_malformed(verify_bytes(&bytes), "manifest.json");
    let compressed = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let bytes = archive(&good);
    assert!(verify_bytes(&compressed(&bytes)).is_ok());
    // 64 MB of zeros after the end, in 64 kB.
    let bomb = compressed(&[bytes.clone(), vec![0; 1 << 26]].concat());
    assert_malformed(verify_bytes(&bomb), "the archive");
    assert_malformed(verify_bytes(&[compressed(&bytes), b"more".to_vec()].concat()), "the archive");
    assert_malformed(verify_bytes(&[bytes.clone(), b"more".to_vec()].concat()), "the archive");
    // What tar itself adds.
    assert!(verify_bytes(&[bytes, vec![0; 10_240]].concat()).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_byte_is_changed_or_cut_off_the_report_stays_or_there_is_none() {
    let sample = SampleLog::with_checkpoints(&[7]).await;
    for (indexes, name) in [(None, "bundle.tar"), (Some(3..5), "bundle.tar"), (None, "bundle.tar.gz")] {
        let (_, path) = try_export(&sample, name, indexes, false).await.unwrap();
        let good = std::fs::read(&path).unwrap();
        let report = verify_bytes(&good).unwrap();
        for place in 0..good.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut bytes = good.clone();
                bytes[place] ^= flip;
                // Padding means nothing, nor does gzip's note of the system that it was made on.
                if let Ok(same) = verify_bytes(&bytes) {
                    assert_eq!(same, report, "byte {place} ^ {flip}");
                }
            }
        }
        for length in 0..good.len() {
            if let Ok(same) = verify_bytes(&good[..length]) {
                assert!(good[length..].iter().all(|&byte| byte == 0), "{length} of {}", good.len());
                assert_eq!(same, report);
            }
        }
    }
}
