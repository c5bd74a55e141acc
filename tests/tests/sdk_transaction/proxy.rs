//! A server in between that changes one thing.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a request.
pub(crate) enum Change {
    /// It goes on as it is.
    Nothing,
    /// Another path is asked for.
    Path(String),
    /// The answer's body becomes another.
    Body(fn(Vec<u8>) -> Vec<u8>),
    /// It is answered with this status and this body.
    Answer(u16, String),
    /// The answer never ends.
    Endless,
    /// The connection is closed without an answer.
    Closed,
    /// There is no answer, and the connection stays.
    Silence,
}

/// Passes the requests to a server on, but for what `change` makes of their paths. Its address.
pub(crate) async fn start(server: &str, change: impl Fn(&str) -> Change + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (server, change) = (server.to_owned(), Arc::new(change));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (server, change) = (server.clone(), Arc::clone(&change));
            tokio::spawn(async move { answer(client, &server, &*change).await });
        }
    });
    address
}

async fn answer(mut client: TcpStream, server: &str, change: &(dyn Fn(&str) -> Change + Send + Sync)) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        request.push(byte);
    }
    let request = String::from_utf8(request).unwrap();
    let mut path = request.split(' ').nth(1).unwrap().to_owned();
    let mut change_body: fn(Vec<u8>) -> Vec<u8> = |body| body;
    match change(&path) {
        Change::Nothing => {}
        Change::Path(other) => path = other,
        Change::Body(change) => change_body = change,
        Change::Answer(status, body) => return send(client, status, body.as_bytes()).await,
        Change::Closed => return,
        Change::Silence => return std::future::pending().await,
        Change::Endless => {
            client.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await.unwrap();
            while client.write_all(&[b'x'; 65_536]).await.is_ok() {}
            return;
        }
    }
    let asked = reqwest::Client::builder().no_proxy().build().unwrap().get(format!("{server}{path}"));
    let answered = asked.send().await.unwrap();
    let status = answered.status().as_u16();
    let body = answered.bytes().await.unwrap();
    send(client, status, &change_body(body.to_vec())).await;
}

async fn send(mut client: TcpStream, status: u16, body: &[u8]) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    // Whoever has hung up needs no answer.
    if client.write_all(head.as_bytes()).await.is_ok() {
        let _ = client.write_all(body).await;
    }
}
