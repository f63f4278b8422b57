//! Resource and outcome to headers: the only code that spells the origin's headers, after RFC 8216bis appendix B.

use axum::body::Body;
use http::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CACHE_CONTROL, CONTENT_TYPE,
    RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");
const EXPOSED: HeaderValue =
    HeaderValue::from_static("Age, Date, Content-Length, Content-Range, Server, CMSD-Static, CMSD-Dynamic");

/// What is answered, as far as headers depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A playlist; target duration in seconds. One with `EXT-X-ENDLIST`, too: its URL goes live again with the next
    /// publisher.
    Playlist(u32),
    /// A playlist that was asked for by `_HLS_msn`: each has its own URL. Target duration in seconds.
    BlockedPlaylist(u32),
    /// An MPD.
    Mpd,
    /// A CMAF header.
    Init,
    /// A CMAF segment.
    Segment,
    /// An MPEG-TS segment.
    TsSegment,
    /// An HTML page.
    Page,
    /// Something that is made anew for everybody: `/time`, the API, metrics.
    Fresh,
    /// It may come: unknown stream, segment not there yet.
    NotFound,
    /// A segment that left the window.
    Gone,
    /// Not now: held for too long, or too much to do.
    Unavailable,
    /// A question that makes no sense, such as for a playlist of the far future.
    BadRequest,
    /// A method that does not fit.
    MethodNotAllowed,
    /// A range beyond the end.
    RangeNotSatisfiable,
    /// CORS preflight.
    Preflight,
}

impl Outcome {
    /// Status, where it does not depend on the request.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Playlist(_) | Self::BlockedPlaylist(_) | Self::Mpd => StatusCode::OK,
            Self::Init | Self::Segment | Self::TsSegment => StatusCode::OK,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Page | Self::Fresh => StatusCode::OK,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Gone => StatusCode::GONE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Preflight => StatusCode::NO_CONTENT,
        }
    }

    fn cache_control(self) -> HeaderValue {
        match self {
            // Half a target duration, in whole seconds.
            Self::Playlist(target) => match target / 2 {
                0 | 1 => HeaderValue::from_static("public, max-age=1"),
                half => HeaderValue::from_str(&format!("public, max-age={half}")).expect("digits are a header value"),
            },
            // Each place in the stream is a URL of its own, whose answer does not change.
            Self::BlockedPlaylist(target) => {
                let text = format!("public, max-age={}", u64::from(target) * 6);
                HeaderValue::from_str(&text).expect("digits are a header value")
            }
            Self::Mpd => HeaderValue::from_static("public, max-age=1"),
            Self::Gone => HeaderValue::from_static("public, max-age=3600"),
            Self::Init | Self::Segment | Self::TsSegment => {
                HeaderValue::from_static("public, max-age=31536000, immutable")
            }
            Self::Page => HeaderValue::from_static("public, max-age=60"),
            Self::NotFound | Self::BadRequest | Self::MethodNotAllowed | Self::RangeNotSatisfiable => {
                HeaderValue::from_static("public, max-age=1")
            }
            Self::Fresh | Self::Unavailable => HeaderValue::from_static("no-store"),
            Self::Preflight => HeaderValue::from_static("public, max-age=86400"),
        }
    }

    fn content_type(self) -> Option<HeaderValue> {
        Some(HeaderValue::from_static(match self {
            Self::Playlist(_) | Self::BlockedPlaylist(_) => "application/vnd.apple.mpegurl",
            Self::Mpd => "application/dash+xml",
            Self::Init => "video/mp4",
            Self::Segment => "video/iso.segment",
            Self::TsSegment => "video/mp2t",
            Self::Page => "text/html; charset=utf-8",
            Self::NotFound
            | Self::BadRequest
            | Self::Gone
            | Self::Unavailable
            | Self::MethodNotAllowed
            | Self::RangeNotSatisfiable => "text/plain; charset=utf-8",
            Self::Fresh | Self::Preflight => return None,
        }))
    }

    /// An answer with this outcome's status and headers.
    pub fn respond(self, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.reserve(16);
        everywhere(headers);
        headers.insert(CACHE_CONTROL, self.cache_control());
        if let Some(content_type) = self.content_type() {
            headers.insert(CONTENT_TYPE, content_type);
        }
        match self {
            Self::Playlist(_) | Self::BlockedPlaylist(_) | Self::Mpd => {
                headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
            }
            Self::Init | Self::Segment | Self::TsSegment => {
                headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            }
            Self::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::MethodNotAllowed => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
            }
            Self::Preflight => preflight(headers),
            Self::Page | Self::Fresh | Self::NotFound | Self::BadRequest | Self::Gone | Self::RangeNotSatisfiable => {}
        }
        response
    }

    /// The same, with a sentence for people.
    pub fn say(self, sentence: &'static str) -> Response<Body> {
        self.respond(Body::from(sentence))
    }
}

/// What stands on every answer.
pub fn everywhere(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.insert(TIMING_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
}

fn preflight(headers: &mut HeaderMap) {
    use http::header::{ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE};
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "Range, If-None-Match, If-Range, CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status",
        ),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache_control(outcome: Outcome) -> String {
        let response = outcome.respond(Body::empty());
        response.headers()[CACHE_CONTROL].to_str().unwrap().to_owned()
    }

    #[test]
    fn every_row_of_the_contract_has_its_cache_control() {
        assert_eq!(cache_control(Outcome::Playlist(2)), "public, max-age=1");
        assert_eq!(cache_control(Outcome::Playlist(1)), "public, max-age=1");
        assert_eq!(cache_control(Outcome::Playlist(9)), "public, max-age=4");
        assert_eq!(cache_control(Outcome::BlockedPlaylist(2)), "public, max-age=12");
        assert_eq!(cache_control(Outcome::Mpd), "public, max-age=1");
        assert_eq!(cache_control(Outcome::BadRequest), "public, max-age=1");
        for media in [Outcome::Init, Outcome::Segment, Outcome::TsSegment] {
            assert_eq!(cache_control(media), "public, max-age=31536000, immutable");
        }
        assert_eq!(cache_control(Outcome::NotFound), "public, max-age=1");
        assert_eq!(cache_control(Outcome::Gone), "public, max-age=3600");
        assert_eq!(cache_control(Outcome::Unavailable), "no-store");
        assert_eq!(cache_control(Outcome::Fresh), "no-store");
        assert_eq!(cache_control(Outcome::Page), "public, max-age=60");
    }

    #[test]
    fn every_answer_may_be_read_from_everywhere() {
        for outcome in [Outcome::Playlist(2), Outcome::Segment, Outcome::NotFound, Outcome::Unavailable] {
            let response = outcome.respond(Body::empty());
            assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
            assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
    }

    #[test]
    fn a_refused_method_says_which_ones_fit() {
        assert_eq!(Outcome::MethodNotAllowed.respond(Body::empty()).headers()[ALLOW], "GET, HEAD, OPTIONS");
    }
}
