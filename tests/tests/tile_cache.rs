//! The memory of full tiles and bundles: how much it keeps, and that it keeps it as it was.

use attestlog_core::{TileId, TilePath};
use attestlog_server::prover;
use attestlog_server::tile_cache::{Coding, TileCache};
use attestlog_tests::sample_log::SampleLog;

const CODINGS: [Coding; 3] = [Coding::Identity, Coding::Gzip, Coding::Zstd];

fn bundle(index: u64) -> TilePath {
    TilePath::Entries { index, width: 256 }
}

fn tile(index: u64) -> TilePath {
    TilePath::Hashes { tile: TileId { level: 0, index }, width: 256 }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_no_more_bytes_than_it_may_and_gives_the_right_ones() {
    const TILES: u64 = 78;
    let sample = SampleLog::with_checkpoints(&[256 * TILES]).await;
    for budget in [0, 5_000, 100_000, 300_000, 100_000_000] {
        let cache = TileCache::new(budget);
        for round in 0..2 {
            for index in 0..TILES {
                let id = TileId { level: 0, index };
                let expected = prover::tile(&*sample.store, sample.log.id, id, 256).await.unwrap().unwrap();
                let got =
                    cache.get(&*sample.store, sample.log.id, tile(index), Coding::Identity).await.unwrap();
                assert_eq!(got.unwrap(), expected, "{index} of {budget} in round {round}");
                assert!(cache.bytes() <= budget as u64, "{} of {budget}", cache.bytes());
            }
        }
        // Of each tile 8,192 bytes.
        let at_hand = |index: &u64| cache.at_hand(sample.log.id, tile(*index), Coding::Identity).is_some();
        let kept = (0..TILES).filter(at_hand).count();
        assert!(kept * 8_192 <= budget);
        assert!(kept >= (budget / 2 / 8_192).min(usize::try_from(TILES).unwrap()), "{kept} of {budget}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_has_it_does_not_read_again_and_what_is_missing_it_asks_for_again() {
    let mut sample = SampleLog::with_checkpoints(&[700]).await;
    let cache = TileCache::new(1_000_000);
    let store = sample.store.clone();
    let mut first = Vec::new();
    for coding in CODINGS {
        assert_eq!(cache.at_hand(sample.log.id, bundle(1), coding), None);
        first.push(cache.get(&*store, sample.log.id, bundle(1), coding).await.unwrap().unwrap());
        assert_eq!(cache.at_hand(sample.log.id, bundle(1), coding), first.last().cloned());
    }
    for coding in CODINGS {
        assert_eq!(cache.get(&*store, sample.log.id, bundle(2), coding).await.unwrap(), None);
    }
    sample.grow_to(768).await;
    sample.damage("update processed_log set data = x'00' where id < 512", &[]).await;
    for (coding, first) in CODINGS.into_iter().zip(first) {
        assert_eq!(cache.get(&*store, sample.log.id, bundle(1), coding).await.unwrap(), Some(first));
        assert!(cache.get(&*store, sample.log.id, bundle(2), coding).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_at_once_get_the_same_bytes() {
    let sample = SampleLog::with_checkpoints(&[256]).await;
    let cache = TileCache::new(1_000_000);
    let (store, log) = (&*sample.store, sample.log.id);
    for coding in CODINGS {
        let all =
            futures_util::future::join_all((0..50).map(|_| cache.get(store, log, bundle(0), coding))).await;
        let pointers: Vec<_> = all.into_iter().map(|bytes| bytes.unwrap().unwrap().as_ptr()).collect();
        // One buffer: it was made once.
        assert!(pointers.iter().all(|pointer| *pointer == pointers[0]), "{coding:?}");
    }
}
