//! Stage 6: HTTP out. What a player, a CDN and `curl` can rely on is in `docs/ref/http.md`; `path.rs` spells the URLs,
//! `headers.rs` the headers. No policy here: who may see what is decided by what is wrapped around the router.

mod derived;
mod directives;
mod headers;
mod media;
mod path;
mod playlist;
mod serve;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use tokio::sync::watch;

pub use headers::{Outcome, everywhere};
pub use serve::{Config, serve};

use crate::media::{Epoch, RenditionId, Targets};
use crate::window::{Catalog, Offered, Presentation};
use derived::Derived;
use path::{Resource, What};

/// How long a playlist of a stream that is just starting is held back, rather than refused.
const STARTING: Duration = Duration::from_secs(10);

/// How long a request for what is not there yet is held: three target durations (RFC 8216bis § 6.2.5.2).
fn patience(targets: Targets) -> Duration {
    Duration::from_secs(u64::from(targets.segment_secs) * 3)
}

/// What was asked of the origin, since the start.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the fields say what they count")]
pub struct Stats {
    pub connections: AtomicU64,
    pub connections_open: AtomicU64,
    pub connections_refused: AtomicU64,
    pub playlists: AtomicU64,
    /// Each once per snapshot, however many ask.
    pub renderings: AtomicU64,
    pub segments: AtomicU64,
    pub parts: AtomicU64,
    /// Requests that were held until their answer was there.
    pub held: AtomicU64,
    pub ts_made: AtomicU64,
    pub not_found: AtomicU64,
    pub unavailable: AtomicU64,
    /// Bytes of segments and headers, as promised in `Content-Length`.
    pub media_bytes: AtomicU64,
}

/// Answers requests for what the catalog holds.
#[derive(Debug)]
pub struct Origin {
    catalog: Catalog,
    derived: Derived,
    page: Bytes,
    stats: Arc<Stats>,
}

impl Origin {
    /// `page` is the HTML that shows a stream.
    pub fn new(config: &Config, catalog: Catalog, page: Bytes, stats: Arc<Stats>) -> Arc<Self> {
        let derived = Derived::new(config.ts_cache.get(), Arc::clone(&stats));
        Arc::new(Self { catalog, derived, page, stats })
    }
}

/// Answers any request for a stream; the fallback of the server's router.
pub async fn handle(State(origin): State<Arc<Origin>>, request: Request) -> Response<Body> {
    // A body that is not read must not be shared across an await.
    let (request, _) = request.into_parts();
    match request.method {
        Method::GET | Method::HEAD => {}
        _ => return handle_method(request.method).await,
    }
    let response = origin.answer(request.uri.path(), request.uri.query().unwrap_or_default(), &request.headers).await;
    if response.status().is_client_error() {
        origin.stats.not_found.fetch_add(1, Ordering::Relaxed);
    } else if response.status().is_server_error() {
        origin.stats.unavailable.fetch_add(1, Ordering::Relaxed);
    }
    if request.method == Method::HEAD { without_body(response) } else { response }
}

/// Answers a method that a route of the server does not have: a preflight, or a refusal that says which ones fit.
pub async fn handle_method(method: Method) -> Response<Body> {
    match method {
        Method::OPTIONS => Outcome::Preflight.respond(Body::empty()),
        _ => Outcome::MethodNotAllowed.say("Only GET, HEAD and OPTIONS are answered here.\n"),
    }
}

impl Origin {
    async fn answer(&self, path: &str, query: &str, request: &HeaderMap) -> Response<Body> {
        let Some(Resource { stream, what }) = Resource::parse(path) else {
            return Outcome::NotFound.say("There is nothing of this name here. The streams are listed at /.\n");
        };
        // Headers and segments come first: they are asked for most.
        match what {
            What::Init(epoch, rendition, number) => match self.catalog.get(stream) {
                Some(presentation) => self.init(&presentation, epoch, &rendition, number, request),
                None => no_stream(),
            },
            What::Segment(epoch, rendition, sequence, form) => match self.catalog.get(stream) {
                Some(presentation) => self.segment(&presentation, epoch, &rendition, sequence, form, request).await,
                None => no_stream(),
            },
            What::Part(epoch, rendition, sequence, part) => match self.catalog.get(stream) {
                Some(presentation) => self.part(&presentation, epoch, &rendition, sequence, part, request).await,
                None => no_stream(),
            },
            What::Page => Outcome::Page.respond(Body::from(self.page.clone())),
            What::Multivariant(_) | What::Mpd | What::Media(..) | What::IFrames(_) => {
                match self.watchable(stream).await {
                    Ok(presentation) => self.playlist(&presentation, &what, query, request).await,
                    Err(response) => *response,
                }
            }
        }
    }

    /// The stream, as soon as it can be watched.
    async fn watchable(&self, stream: &str) -> Result<Arc<Presentation>, Box<Response<Body>>> {
        match self.catalog.get(stream) {
            Some(presentation) if presentation.is_watchable() => Ok(presentation),
            Some(_) => Box::pin(self.starting(stream)).await,
            None => Err(Box::new(no_stream())),
        }
    }

    /// The stream, once it has started. Apart and boxed: few requests wait, and all would carry the timer.
    async fn starting(&self, stream: &str) -> Result<Arc<Presentation>, Box<Response<Body>>> {
        let mut watch: watch::Receiver<Arc<Presentation>> =
            self.catalog.watch(stream).ok_or_else(|| Box::new(no_stream()))?;
        let found = tokio::time::timeout(STARTING, watch.wait_for(|presentation| presentation.is_watchable())).await;
        match found {
            Ok(Ok(presentation)) => Ok(Arc::clone(&presentation)),
            Ok(Err(_)) => Err(Box::new(no_stream())),
            Err(_) => Err(Box::new(Outcome::Unavailable.say("The stream is starting; try again.\n"))),
        }
    }
}

fn no_stream() -> Response<Body> {
    Outcome::NotFound.say("There is no stream of this name now. The streams are listed at /.\n")
}

/// The rendition, when the URL's epoch is the stream's.
fn offered<'a>(
    presentation: &'a Presentation,
    epoch: Epoch,
    rendition: &RenditionId,
) -> Result<&'a Offered, Box<Response<Body>>> {
    if epoch < presentation.epoch {
        return Err(Box::new(gone()));
    }
    presentation
        .rendition(rendition)
        .filter(|_| epoch == presentation.epoch)
        .ok_or_else(|| Box::new(Outcome::NotFound.say("The stream has no such rendition.\n")))
}

fn gone() -> Response<Body> {
    Outcome::Gone.say("This was here and has left the window.\n")
}

/// `HEAD` answers as `GET`, without the body.
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = http_body::Body::size_hint(&body).exact() {
        parts.headers.insert(http::header::CONTENT_LENGTH, length.into());
    }
    Response::from_parts(parts, Body::empty())
}

#[cfg(test)]
mod tests;
