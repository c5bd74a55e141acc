//! A reader of tlog-tiles that knows nothing of us: it fetches files, and rebuilds the root from them.

use std::collections::HashMap;
use std::fmt::Write;

use attestlog_core::base64;
use attestlog_tests::server::TestServer;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

type Hash = [u8; 32];

fn leaf(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// RFC 6962 §2.1 over the hashes of subtrees; all but the last are perfect and of one size.
fn root(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => Sha256::digest([]).into(),
        [only] => *only,
        _ => {
            let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
            Sha256::new()
                .chain_update([1])
                .chain_update(root(left))
                .chain_update(root(right))
                .finalize()
                .into()
        }
    }
}

/// Reads a log, given its prefix and its vkey.
struct Reader<'a> {
    server: &'a TestServer,
    vkey: String,
    /// What is full never changes.
    full: HashMap<String, Vec<u8>>,
}

impl Reader<'_> {
    async fn checkpoint(&self) -> (usize, Hash) {
        let answer = self.server.get("/logs/default/checkpoint").await;
        assert_eq!(super::header(&answer, "content-type"), "text/plain; charset=utf-8");
        assert_eq!(super::header(&answer, "cache-control"), "public, max-age=1");
        let note = answer.text().await.unwrap();
        let (text, signature) = note.rsplit_once("\n\n").unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let [origin, size, root] = lines[..] else { panic!("{note}") };
        self.verify(origin, &format!("{text}\n"), signature.strip_suffix('\n').unwrap());
        (size.parse().unwrap(), base64::parse(root.as_bytes()).unwrap().try_into().unwrap())
    }

    fn verify(&self, origin: &str, text: &str, signature: &str) {
        let mut key = self.vkey.splitn(3, '+');
        assert_eq!(key.next(), Some(origin));
        let id = key.next().unwrap();
        let key = base64::parse(key.next().unwrap().as_bytes()).unwrap();
        let computed = Sha256::new().chain_update(origin).chain_update("\n").chain_update(&key).finalize();
        let mut hex = String::new();
        computed[..4].iter().for_each(|byte| write!(hex, "{byte:02x}").unwrap());
        assert_eq!((hex.as_str(), key[0]), (id, 1));

        let encoded = signature.strip_prefix(&format!("\u{2014} {origin} ")).unwrap();
        let bytes = base64::parse(encoded.as_bytes()).unwrap();
        assert_eq!(bytes[..4], computed[..4]);
        let public = VerifyingKey::from_bytes(key[1..].try_into().unwrap()).unwrap();
        public.verify_strict(text.as_bytes(), &Signature::from_slice(&bytes[4..]).unwrap()).unwrap();
    }

    /// All files of one level (or all bundles) in order, each with its width.
    async fn files(&mut self, level: &str, count: usize) -> Vec<(Vec<u8>, usize)> {
        let mut files = Vec::new();
        for index in 0..count.div_ceil(256) {
            let width = (count - 256 * index).min(256);
            let mut path = format!("/logs/default/tile/{level}/{}", number(index));
            if width < 256 {
                write!(path, ".p/{width}").unwrap();
            }
            files.push((self.file(path, width == 256).await, width));
        }
        files
    }

    async fn file(&mut self, path: String, is_full: bool) -> Vec<u8> {
        if let Some(file) = self.full.get(&path) {
            return file.clone();
        }
        let answer = self.server.get(&path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(super::header(&answer, "content-type"), "application/octet-stream");
        assert_eq!(super::header(&answer, "cache-control"), "public, max-age=31536000, immutable");
        let file = answer.bytes().await.unwrap().to_vec();
        if is_full {
            self.full.insert(path, file.clone());
        }
        file
    }

    async fn entries(&mut self, size: usize) -> Vec<Vec<u8>> {
        let mut entries = Vec::new();
        for (bundle, width) in self.files("entries", size).await {
            let (mut rest, before) = (bundle.as_slice(), entries.len());
            while let Some((length, after)) = rest.split_first_chunk() {
                let (entry, after) = after.split_at(u16::from_be_bytes(*length).into());
                entries.push(entry.to_vec());
                rest = after;
            }
            assert_eq!((entries.len() - before, rest.len()), (width, 0));
        }
        entries
    }

    async fn level(&mut self, level: usize, count: usize) -> Vec<Hash> {
        let mut hashes = Vec::new();
        for (tile, width) in self.files(&level.to_string(), count).await {
            assert_eq!(tile.len(), 32 * width);
            hashes.extend(tile.as_chunks::<32>().0);
        }
        hashes
    }
}

/// `x001/x234/067`.
fn number(index: usize) -> String {
    assert!(index < 1_000_000);
    if index < 1000 { format!("{index:03}") } else { format!("x{:03}/{:03}", index / 1000, index % 1000) }
}

async fn append_until(server: &TestServer, from: usize, size: usize) {
    // All but the last without waiting; the last one's checkpoint covers them all.
    let lines: Vec<String> = (from..size - 1).map(|index| format!("{{\"n\":{index}}}")).collect();
    for lines in lines.chunks(20_000) {
        let request = server.post("/logs/default/entries", "application/x-ndjson", lines.join("\n"));
        assert_eq!(request.send().await.unwrap().status(), 202);
    }
    let index = server.add(format!("{{\"n\":{}}}", size - 1)).await;
    assert_eq!(index, size as u64 - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_tlog_tiles_rebuilds_the_root_at_every_size() {
    let server = TestServer::start().await;
    let vkey = server.get_json("/logs").await[0]["vkey"].as_str().unwrap().to_owned();
    let mut reader = Reader { server: &server, vkey, full: HashMap::new() };
    let mut before = 0;
    for size in [1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000] {
        append_until(&server, before, size).await;
        before = size;
        let (signed_size, signed_root) = reader.checkpoint().await;
        assert_eq!(signed_size, size);

        let entries = reader.entries(size).await;
        assert!(
            entries
                .iter()
                .enumerate()
                .all(|(index, entry)| *entry == format!("{{\"n\":{index}}}").into_bytes())
        );
        let mut expected: Vec<Hash> = entries.iter().map(|entry| leaf(entry)).collect();
        assert_eq!(root(&expected), signed_root, "from the entries of {size}");

        // From the partial tiles alone: each level's last ones, and what remains below them.
        let mut remainder = None;
        for level in 0.. {
            let hashes = reader.level(level, expected.len()).await;
            assert_eq!(hashes, expected, "level {level} of {size}");
            let mut last = hashes[hashes.len() / 256 * 256..].to_vec();
            last.extend(remainder);
            remainder = (!last.is_empty()).then(|| root(&last));
            expected = hashes.chunks_exact(256).map(root).collect();
            if expected.is_empty() {
                break;
            }
        }
        assert_eq!(remainder, Some(signed_root), "from the tiles of {size}");
    }
    tiles_beyond_the_tree_are_not_there(&server).await;
    server.stop().await;
}

/// With 70,000 entries.
async fn tiles_beyond_the_tree_are_not_there(server: &TestServer) {
    // A partial tile stays when its tile has grown, and when it is full.
    for path in
        ["0/000.p/7", "0/273.p/100", "1/001.p/17", "2/000.p/1", "entries/000.p/255", "entries/273.p/1"]
    {
        assert_eq!(server.get(&format!("/logs/default/tile/{path}")).await.status(), 200, "{path}");
    }
    for path in [
        "0/273",
        "0/273.p/113",
        "0/274.p/1",
        "1/001.p/18",
        "2/000.p/2",
        "3/000.p/1",
        "63/000.p/1",
        "entries/273",
    ] {
        let answer = server.get(&format!("/logs/default/tile/{path}")).await;
        super::problem(answer, 404, "no_such_tile").await;
    }
    for path in
        ["0/0", "0/000.p/0", "0/000.p/256", "64/000", "00/000", "0/x001", "8/0/000", "data/000", "0/000/"]
    {
        let answer = server.get(&format!("/logs/default/tile/{path}")).await;
        super::problem(answer, 404, "malformed_tile_path").await;
    }
}
