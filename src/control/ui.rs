//! The pages, built by Vite in `web/` and embedded into the binary.

use axum::body::Body;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use rust_embed::RustEmbed;

use crate::origin::Outcome;

#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Assets;

const NOT_BUILT: &str = "<!doctype html><title>headwater</title><p>The pages were not built into this binary. \
                         Run <code>make setup</code> and build it again; streams play without them.";

/// The page that lists the streams.
pub fn index() -> Bytes {
    page("index.html")
}

/// The page that shows one stream.
pub fn stream() -> Bytes {
    page("stream.html")
}

fn page(name: &str) -> Bytes {
    match Assets::get(name) {
        Some(file) => Bytes::from(file.data.into_owned()),
        None => Bytes::from_static(NOT_BUILT.as_bytes()),
    }
}

/// What the pages load: its name holds its hash, so it never changes.
pub fn asset(name: &str) -> Response<Body> {
    let Some(file) = Assets::get(&format!("_/{name}")) else {
        return Outcome::NotFound.say("The pages have no such part.\n");
    };
    let mut response = Outcome::Page.respond(Body::from(file.data.into_owned()));
    let content_type = match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}
