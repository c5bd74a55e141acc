//! An HTTP/1.1 server whose answers a test writes, also those that no honest server gives.

use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET` or another.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The lines of the head, in lowercase.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A complete answer, with more lines for its head.
    Answer(u16, Vec<String>, Vec<u8>),
    /// Less than the head announces, and then the end.
    Truncated(Vec<u8>),
    /// This again and again, without end.
    Endless(Vec<u8>),
    /// The beginning of an answer, and then nothing.
    Stalled(Vec<u8>),
    /// Nothing: the connection ends.
    Gone,
}

impl Reply {
    /// An answer 200.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::Answer(200, Vec::new(), body.into())
    }

    /// An answer without a body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), Vec::new())
    }
}

type Answering = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// The server; dropped, it takes no more connections.
#[derive(Debug)]
pub struct RawServer {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    task: JoinHandle<()>,
}

impl RawServer {
    /// Answers with what `answer` gives.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start<F: Future<Output = Reply> + Send + 'static>(
        answer: impl Fn(Request) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let answer: Arc<dyn Fn(Request) -> Answering + Send + Sync> =
            Arc::new(move |request| Box::pin(answer(request)));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = Arc::clone(&answer);
                // A client that goes away is none of our business.
                tokio::spawn(async move { serve(stream, &*answer).await });
            }
        });
        Self { address, task }
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, answer: &(dyn Fn(Request) -> Answering + Send + Sync)) -> Option<()> {
    let request = read(&mut stream).await?;
    match answer(request).await {
        Reply::Answer(status, lines, body) => {
            let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\n{lines}content-length: {length}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&body).await.ok()?;
        }
        Reply::Truncated(body) => {
            let head = format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n", body.len() + 1);
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&body).await.ok()?;
        }
        Reply::Endless(part) => {
            stream.write_all(b"HTTP/1.1 200 X\r\nconnection: close\r\n\r\n").await.ok()?;
            loop {
                stream.write_all(&part).await.ok()?;
            }
        }
        Reply::Stalled(part) => {
            stream.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 10000\r\n\r\n").await.ok()?;
            stream.write_all(&part).await.ok()?;
            // Until the client hangs up.
            while stream.read(&mut [0]).await.ok()? > 0 {}
        }
        Reply::Gone => {}
    }
    stream.shutdown().await.ok()
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    // Paths are not lowercase by themselves.
    let line = String::from_utf8_lossy(&bytes[..end]).lines().next()?.to_owned();
    let mut words = line.split(' ').map(str::to_owned);
    Some(Request { method: words.next()?, path: words.next()?, head, body })
}
