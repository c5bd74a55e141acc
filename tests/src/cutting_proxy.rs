//! A TCP proxy that cuts connections off after a random number of bytes, in either direction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::chance::Chance;

/// A proxy; dropped, it takes no more connections.
#[derive(Debug)]
pub struct CuttingProxy {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    cut: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// How many bytes may still pass, in each direction.
#[derive(Clone, Copy, Debug)]
struct Allowed {
    up: u64,
    down: u64,
}

impl CuttingProxy {
    /// A proxy to `target` (`http://…`) that cuts off each of the first `cuts` connections.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(target: &str, mut chance: Chance, cuts: u64) -> Self {
        let target = target.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let cut = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&cut);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let allowed = (count.load(Ordering::SeqCst) < cuts).then(|| allowed(&mut chance));
                tokio::spawn(pass(client, target.clone(), allowed, Arc::clone(&count)));
            }
        });
        Self { address, cut, task }
    }

    /// How many connections were cut off in the middle.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::SeqCst)
    }
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Somewhere in the request, or after it in the answer: that is when the server has stored what the client does not
/// know of.
fn allowed(chance: &mut Chance) -> Allowed {
    let whole = u64::MAX;
    match chance.below(4) {
        0 => Allowed { up: chance.below(400), down: whole },
        1 => Allowed { up: chance.below(40_000), down: whole },
        // No byte of the answer, its head, or a part of its body.
        2 => Allowed { up: whole, down: chance.below(3) },
        _ => Allowed { up: whole, down: chance.below(1500) },
    }
}

async fn pass(client: TcpStream, target: String, allowed: Option<Allowed>, cut: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(&target).await else { return };
    let limits = allowed.unwrap_or(Allowed { up: u64::MAX, down: u64::MAX });
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let up = copy(client_in, server_out, limits.up);
    let down = copy(server_in, client_out, limits.down);
    // Whichever ends first ends both.
    let was_cut = tokio::select! { was_cut = up => was_cut, was_cut = down => was_cut };
    if was_cut {
        cut.fetch_add(1, Ordering::SeqCst);
    }
}

/// Whether it was cut off, and did not end by itself.
async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut left: u64,
) -> bool {
    let mut buffer = vec![0; 8192];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return false };
        let passed = read.min(usize::try_from(left).unwrap_or(usize::MAX));
        if to.write_all(&buffer[..passed]).await.is_err() {
            return false;
        }
        left -= passed as u64;
        if passed < read || left == 0 {
            return true;
        }
    }
}
