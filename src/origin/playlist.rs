//! Playlists out: rendered once per snapshot, answered with validators and compressed for those who can take it.

use std::sync::atomic::Ordering;

use axum::body::Body;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::path::{self, What};
use super::{Origin, Outcome};
use crate::manifest::{self, Form};
use crate::window::{Presentation, Text, TextKind};

impl Origin {
    /// A playlist of a stream that can be watched.
    pub(super) fn playlist(&self, presentation: &Presentation, what: &What, request: &HeaderMap) -> Response<Body> {
        self.stats.playlists.fetch_add(1, Ordering::Relaxed);
        let (rendition, kind, form) = match what {
            What::Multivariant(form) => return self.multivariant(presentation, *form, request),
            What::Media(rendition, Form::Cmaf) => (rendition, TextKind::Media, Form::Cmaf),
            What::Media(rendition, Form::Ts) => (rendition, TextKind::MediaTs, Form::Ts),
            What::IFrames(rendition) => (rendition, TextKind::IFrames, Form::Cmaf),
            What::Page | What::Init(..) | What::Segment(..) => return super::no_stream(),
        };
        let Some(offered) = presentation.rendition(rendition) else {
            return Outcome::NotFound.say("The stream has no such rendition.\n");
        };
        let snapshot = offered.reader.now();
        let text = snapshot.texts.get(kind, || {
            self.stats.renderings.fetch_add(1, Ordering::Relaxed);
            let uri = path::from_media(snapshot.epoch, rendition, form);
            match kind {
                TextKind::IFrames => manifest::iframes(&snapshot, uri),
                _ => manifest::media(&snapshot, form, uri),
            }
        });
        respond(Outcome::Playlist(snapshot.targets.segment_secs), &text, request)
    }

    fn multivariant(&self, presentation: &Presentation, form: Form, request: &HeaderMap) -> Response<Body> {
        let kind = if form == Form::Ts { TextKind::MultivariantTs } else { TextKind::Multivariant };
        let text = presentation.texts.get(kind, || {
            self.stats.renderings.fetch_add(1, Ordering::Relaxed);
            let uri = path::from_multivariant(form);
            manifest::multivariant(presentation, form, uri)
        });
        let target = presentation.renditions.first().map_or(1, |offered| offered.reader.now().targets.segment_secs);
        respond(Outcome::Playlist(target), &text, request)
    }
}

fn respond(outcome: Outcome, text: &Text, request: &HeaderMap) -> Response<Body> {
    let gzip = takes_gzip(request);
    let (bytes, etag) = if gzip { (&text.gzip, &text.gzip_etag) } else { (&text.plain, &text.etag) };
    let unchanged = request.get(IF_NONE_MATCH).is_some_and(|tags| matches(tags, etag));
    let mut response = outcome.respond(if unchanged { Body::empty() } else { Body::from(bytes.clone()) });
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else if gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response.headers_mut().insert(ETAG, etag.clone());
    response
}

/// Whether `gzip`, or anything, is accepted with a weight above zero (RFC 9110 § 12.5.3).
fn takes_gzip(request: &HeaderMap) -> bool {
    let accepted = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut takes = None;
    for coding in accepted.flat_map(|value| value.split(',')) {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let refused =
            parameters.trim().strip_prefix("q=").is_some_and(|weight| weight.trim_matches(['0', '.']).is_empty());
        match name.trim() {
            name if name.eq_ignore_ascii_case("gzip") => return !refused,
            "*" => takes = Some(!refused),
            _ => {}
        }
    }
    takes.unwrap_or(false)
}

/// Whether one of the tags is this one, compared weakly (RFC 9110 § 13.1.2).
pub(super) fn matches(tags: &HeaderValue, etag: &HeaderValue) -> bool {
    let etag = etag.as_bytes();
    tags.as_bytes()
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag)
}
