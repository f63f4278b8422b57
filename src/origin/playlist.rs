//! Playlists out: rendered once per snapshot, answered with validators and compressed for those who can take it.

use std::sync::atomic::Ordering;

use axum::body::Body;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::directives::{self, Directives};
use super::path::{self, What};
use super::{Origin, Outcome, patience};
use crate::manifest::{self, Form, Moment, Report};
use crate::window::{Offered, Presentation, Text, TextKind};

impl Origin {
    /// A playlist of a stream that can be watched.
    pub(super) async fn playlist(
        &self,
        presentation: &Presentation,
        what: &What,
        query: &str,
        request: &HeaderMap,
    ) -> Response<Body> {
        self.stats.playlists.fetch_add(1, Ordering::Relaxed);
        let (rendition, form) = match what {
            What::Multivariant(form) => return self.multivariant(presentation, *form, request),
            What::Mpd => return self.mpd(presentation, request),
            What::Media(rendition, form) => (rendition, *form),
            What::IFrames(rendition) => (rendition, Form::Cmaf),
            What::Page | What::Init(..) | What::Segment(..) | What::Part(..) => return super::no_stream(),
        };
        let Some(offered) = presentation.rendition(rendition) else {
            return Outcome::NotFound.say("The stream has no such rendition.\n");
        };
        let snapshot = offered.reader.now();
        let is_low_latency = matches!(what, What::Media(_, Form::Cmaf));
        if let Some(part_millis) = snapshot.targets.part_millis.filter(|_| is_low_latency) {
            return match directives::parse(query) {
                Ok(directives) => self.low_latency(presentation, offered, part_millis, directives, request).await,
                Err(why) => Outcome::BadRequest.say(why),
            };
        }
        let kind = match (what, form) {
            (What::IFrames(_), _) => TextKind::IFrames,
            (_, Form::Ts) => TextKind::MediaTs,
            (_, Form::Cmaf) => TextKind::Media,
        };
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

    /// A playlist with parts: at once, or when the place that is asked for was reached.
    async fn low_latency(
        &self,
        presentation: &Presentation,
        offered: &Offered,
        part_millis: u32,
        directives: Directives,
        request: &HeaderMap,
    ) -> Response<Body> {
        let mut snapshot = offered.reader.now();
        let target = snapshot.targets.segment_secs;
        let mut outcome = Outcome::Playlist(target);
        if let Some(position) = directives.position {
            if !snapshot.has(position) && !snapshot.ended {
                if !directives::is_near(position, &snapshot, part_millis) {
                    return Outcome::BadRequest.say("This place is too far ahead to be waited for.\n");
                }
                self.stats.held.fetch_add(1, Ordering::Relaxed);
                match tokio::time::timeout(patience(snapshot.targets), offered.reader.reach(position)).await {
                    Ok(reached) => snapshot = reached,
                    Err(_) => return Outcome::Unavailable.say("The playlist is late; try again.\n"),
                }
            }
            if !snapshot.ended {
                outcome = Outcome::BlockedPlaylist(target);
            }
        }
        let kind = if directives.skip { TextKind::MediaSkipped } else { TextKind::Media };
        let text = snapshot.texts.get(kind, || {
            self.stats.renderings.fetch_add(1, Ordering::Relaxed);
            let id = &offered.rendition.id;
            let others = presentation.renditions.iter().filter(|other| other.rendition.id != *id && !other.shed);
            let reports: Vec<Report> = others
                .filter_map(|other| {
                    let last = other.reader.now().last()?;
                    Some(Report { rendition: other.rendition.id.clone(), last })
                })
                .collect();
            let uri = path::from_media(snapshot.epoch, id, Form::Cmaf);
            manifest::low_latency(&snapshot, part_millis, directives.skip, &reports, uri)
        });
        respond(outcome, &text, request)
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

/// Where an MPD sends players for our clock.
const TIME: &str = "/time";

impl Origin {
    fn mpd(&self, presentation: &Presentation, request: &HeaderMap) -> Response<Body> {
        let Some(moment) = Moment::of(presentation) else {
            return Outcome::Unavailable.say("The stream has no segment yet; try again.\n");
        };
        let text = presentation.mpd.get(moment.shown(), || {
            self.stats.renderings.fetch_add(1, Ordering::Relaxed);
            manifest::mpd(&moment, TIME, path::from_mpd(presentation.epoch))
        });
        respond(Outcome::Mpd, &text, request)
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
