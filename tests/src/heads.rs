//! Heads as an observer collects them: every one that any server ever showed, to be compared in the end.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use attestlog_core::{Checkpoint, ConsistencyProof, Hash, SignedCheckpoint, VerifierKey};
use attestlog_server::store::Log;
use futures_util::future::join_all;
use reqwest::Client;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::program::client;

/// The longest pause of an observer, in milliseconds.
const PAUSE: u64 = 50;

/// The proofs that are asked for at the same time.
const AT_ONCE: usize = 16;

/// The pairs that are compared beside the neighbours.
const FAR_PAIRS: u64 = 100;

/// After so long each server shows what another has shown, or a larger head: the second for which an answer may be kept.
const KNOWN_TO_ALL: Duration = Duration::from_secs(1);

/// The heads of one log, by size.
#[derive(Debug)]
pub struct Heads {
    log: Log,
    key: VerifierKey,
    seen: BTreeMap<u64, Checkpoint>,
    /// The size of the last one, by server: servers may show those of each other a little later.
    last: HashMap<String, u64>,
    /// When each was seen, of the last second.
    recent: VecDeque<(Instant, u64)>,
    /// The largest of those before.
    known_to_all: u64,
}

impl Heads {
    /// None yet.
    ///
    /// # Panics
    /// If the log has no key.
    #[must_use]
    pub fn of(log: Log) -> Self {
        let key = VerifierKey::parse(&log.vkey).unwrap();
        Self {
            log,
            key,
            seen: BTreeMap::new(),
            last: HashMap::new(),
            recent: VecDeque::new(),
            known_to_all: 0,
        }
    }

    /// The number of different heads.
    #[must_use]
    pub fn count(&self) -> usize {
        self.seen.len()
    }

    /// Takes down the head that a server shows now, if it answers; its size.
    ///
    /// # Panics
    /// If the server answers anything but a head or that it cannot, or a head that the key has not signed, or another
    /// head of a size that was seen, or one that is smaller than its last, or than any of a second ago.
    pub async fn observe(&mut self, client: &Client, server: &str) -> Option<u64> {
        let asked = Instant::now();
        let answer = client.get(format!("{server}/logs/{}/checkpoint", self.log.name)).send().await.ok()?;
        let status = answer.status();
        let body = answer.bytes().await.ok()?;
        assert!(matches!(status.as_u16(), 200 | 503), "{status}: {}", String::from_utf8_lossy(&body));
        if status != 200 {
            return None;
        }
        let head = SignedCheckpoint::parse(&body).unwrap().open(&self.key).unwrap();
        let size = head.size().0;
        let last = self.last.insert(server.to_owned(), size).unwrap_or_default();
        assert!(size >= last, "{server} showed a head of size {size} after one of size {last}");
        while let Some((_, older)) = self.recent.pop_front_if(|(seen, _)| *seen + KNOWN_TO_ALL <= asked) {
            self.known_to_all = self.known_to_all.max(older);
        }
        let known = self.known_to_all;
        assert!(size >= known, "{server} showed a head of size {size} a second after one of size {known}");
        self.recent.push_back((Instant::now(), size));
        if let Some(other) = self.seen.insert(size, head.clone()) {
            assert_eq!(other.root(), head.root(), "two histories of size {size}");
        }
        Some(size)
    }

    /// Checks that each head extends the one before it, and the heads of random pairs each other.
    ///
    /// # Panics
    /// If there are too few heads to compare, or one does not extend another.
    pub async fn verify(&self, client: &Client, server: &str, chance: &mut Chance) {
        let heads: Vec<&Checkpoint> = self.seen.values().collect();
        assert!(heads.len() >= 3, "{} heads of {} were seen", heads.len(), self.log.name);
        let mut pick = || usize::try_from(chance.below(heads.len() as u64)).unwrap();
        let mut pairs: Vec<_> = (1..heads.len()).map(|new| (new - 1, new)).collect();
        pairs.extend((0..FAR_PAIRS).map(|_| (pick(), pick())));
        for pairs in pairs.chunks(AT_ONCE) {
            let verify = |&(one, other): &(usize, usize)| {
                self.verify_pair(client, server, heads[one.min(other)], heads[one.max(other)])
            };
            join_all(pairs.iter().map(verify)).await;
        }
    }

    async fn verify_pair(&self, client: &Client, server: &str, old: &Checkpoint, new: &Checkpoint) {
        let (log, from, to) = (&self.log.name, old.size(), new.size());
        let url = format!("{server}/logs/{log}/proof/consistency?old={from}&new={to}");
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{url}");
        let body: Value = answer.json().await.unwrap();
        let hash = |hash: &Value| Hash::parse_base64(hash.as_str().unwrap().as_bytes()).unwrap();
        let hashes = body["proof"].as_array().unwrap().iter().map(hash).collect();
        let verdict = new.verify_extends(old, &ConsistencyProof::new(hashes));
        assert_eq!(verdict, Ok(()), "{log}: the head of {to} entries does not extend that of {from}");
    }
}

/// Collects the heads that any of the servers shows, now this and now that one, until `stop`.
///
/// # Panics
/// As [`Heads::observe`].
pub async fn observe(
    mut logs: Vec<Heads>,
    servers: Vec<String>,
    mut chance: Chance,
    stop: CancellationToken,
) -> Vec<Heads> {
    let client = client();
    while !stop.is_cancelled() {
        for heads in &mut logs {
            let server = usize::try_from(chance.below(servers.len() as u64)).unwrap();
            heads.observe(&client, &servers[server]).await;
        }
        tokio::time::sleep(chance.time(PAUSE)).await;
    }
    logs
}
