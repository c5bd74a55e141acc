//! One HTTP/1.1 connection that is kept, driven by the task that calls: a load generator shares the machine.

use std::pin::{Pin, pin};
use std::sync::Arc;

use futures_util::FutureExt;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use tokio::net::TcpStream;

use super::BenchError;

/// The most bytes of an answer that are kept to be read.
const KEPT: usize = 1 << 20;

/// A log's address, and who calls.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Host and port to connect to.
    authority: String,
    host: HeaderValue,
    /// What all paths begin with; it ends without a slash.
    prefix: String,
    authorization: Option<HeaderValue>,
}

/// The connection; it is made with the first call, and again after it was closed.
#[derive(Debug)]
pub(super) struct HttpConnection {
    endpoint: Arc<Endpoint>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: Pin<Box<Connection<TokioIo<TcpStream>, Full<Bytes>>>>,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The length of the body.
    pub(super) length: usize,
    /// The body, but only so much as is kept.
    pub(super) body: Vec<u8>,
}

impl Endpoint {
    /// Reads an address of `http://`.
    pub(super) fn new(url: &str, token: Option<&str>) -> Result<Self, BenchError> {
        let wrong = |reason: &str| BenchError::Address { url: url.to_owned(), reason: reason.to_owned() };
        let parsed = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        if parsed.scheme() != "http" {
            return Err(wrong(
                "it begins with http://; TLS would be measured with it, so give the address behind it",
            ));
        }
        let host = parsed.host_str().ok_or_else(|| wrong("it has no host"))?;
        let authority = format!("{host}:{}", parsed.port_or_known_default().unwrap_or(80));
        let header = |text: &str| HeaderValue::from_str(text).map_err(|error| wrong(&error.to_string()));
        let authorization = token.map(|token| header(&format!("Bearer {token}"))).transpose()?;
        let prefix = parsed.path().trim_end_matches('/').to_owned();
        Ok(Self { host: header(&authority)?, authority, prefix, authorization })
    }

    /// The address of a path, to speak of it.
    fn url(&self, path: &str) -> String {
        format!("http://{}{}{path}", self.authority, self.prefix)
    }
}

impl HttpConnection {
    pub(super) fn new(endpoint: &Arc<Endpoint>) -> Self {
        Self { endpoint: Arc::clone(endpoint), open: None }
    }

    /// The answer to a GET, whatever its status. Bodies are counted, and kept if `keep`.
    pub(super) async fn get(&mut self, path: &str, keep: bool) -> Result<Answer, BenchError> {
        self.call(Method::GET, path, None, Bytes::new(), keep).await
    }

    /// The answer to a POST, whatever its status.
    pub(super) async fn post(
        &mut self,
        path: &str,
        content_type: &'static str,
        body: Bytes,
        keep: bool,
    ) -> Result<Answer, BenchError> {
        self.call(Method::POST, path, Some(content_type), body, keep).await
    }

    async fn call(
        &mut self,
        method: Method,
        path: &str,
        content_type: Option<&'static str>,
        body: Bytes,
        keep: bool,
    ) -> Result<Answer, BenchError> {
        let endpoint = Arc::clone(&self.endpoint);
        let broken = |error: &dyn std::error::Error| BenchError::Unreachable {
            url: endpoint.url(path),
            reason: chain(error),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", endpoint.prefix))
            .header(HOST, &endpoint.host);
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static(content_type));
            if let Some(authorization) = &endpoint.authorization {
                request = request.header(AUTHORIZATION, authorization);
            }
        }
        let request = request.body(Full::new(body)).map_err(|error| broken(&error))?;
        // Taken out: whoever gives up in the middle of a call leaves no half answer for the next.
        let mut open = match self.open.take().and_then(Open::if_still_open) {
            Some(open) => open,
            None => Open::connect(&endpoint.authority).await.map_err(|error| broken(&*error))?,
        };
        let (answer, ended) = open.exchange(request, keep).await;
        self.open = (!ended).then_some(open);
        answer.map_err(|error| broken(&error))
    }
}

impl Open {
    async fn connect(authority: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, driver: Box::pin(driver) })
    }

    /// Itself, unless the other side has closed it meanwhile.
    fn if_still_open(mut self) -> Option<Self> {
        (&mut self.driver).now_or_never().is_none().then_some(self)
    }

    /// Sends a request and reads the answer; whether the connection has ended with it.
    async fn exchange(&mut self, request: Request<Full<Bytes>>, keep: bool) -> (hyper::Result<Answer>, bool) {
        let sender = &mut self.sender;
        let mut exchange = pin!(async {
            sender.ready().await?;
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let (length, body) = read(answer.into_body(), keep || !status.is_success()).await?;
            Ok(Answer { status, length, body })
        });
        tokio::select! {
            biased;
            answer = &mut exchange => {
                let failed = answer.is_err();
                (answer, failed)
            }
            // What it has read is still to be taken.
            _ = &mut self.driver => (exchange.await, true),
        }
    }
}

async fn read(mut body: Incoming, keep: bool) -> hyper::Result<(usize, Vec<u8>)> {
    let (mut length, mut kept) = (0, Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            length += data.len();
            if keep && kept.len() < KEPT {
                kept.extend_from_slice(data);
            }
        }
    }
    Ok((length, kept))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
