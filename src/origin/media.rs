//! Headers and segments out: shared bytes, ranges (RFC 9110 § 14), validators that never change.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Frame, SizeHint};

use super::playlist::matches;
use super::{Origin, Outcome, gone, offered, patience};
use crate::manifest::Form;
use crate::media::{Epoch, MediaSequence, Position, RenditionId};
use crate::window::{Lookup, Presentation};

impl Origin {
    pub(super) fn init(
        &self,
        presentation: &Presentation,
        epoch: Epoch,
        rendition: &RenditionId,
        number: u32,
        request: &HeaderMap,
    ) -> Response<Body> {
        let offered = match offered(presentation, epoch, rendition) {
            Ok(offered) => offered,
            Err(response) => return *response,
        };
        match offered.reader.now().init(number) {
            Some(data) => self.send(Outcome::Init, format_args!("init-{number}"), [data.clone()].into(), request),
            None => Outcome::NotFound.say("There is no header of this number, or nothing needs it any more.\n"),
        }
    }

    pub(super) async fn segment(
        &self,
        presentation: &Presentation,
        epoch: Epoch,
        rendition: &RenditionId,
        sequence: MediaSequence,
        form: Form,
        request: &HeaderMap,
    ) -> Response<Body> {
        self.stats.segments.fetch_add(1, Ordering::Relaxed);
        let offered = match offered(presentation, epoch, rendition) {
            Ok(offered) => offered,
            Err(response) => return *response,
        };
        let segment = match offered.reader.now().find(sequence) {
            Lookup::Here(segment) if segment.is_gap() => {
                return Outcome::NotFound.say("This segment is a gap: nothing could be had for its span.\n");
            }
            Lookup::Here(segment) => segment,
            Lookup::NotYet => return Outcome::NotFound.say("This segment is not there yet.\n"),
            Lookup::Gone => return gone(),
        };
        let (outcome, parts) = match form {
            Form::Cmaf => (Outcome::Segment, segment.parts.iter().map(|part| part.data.clone()).collect()),
            Form::Ts => match self.derived.ts(presentation, offered, &segment).await {
                Ok(data) => (Outcome::TsSegment, [data].into()),
                Err(response) => return *response,
            },
        };
        self.send(outcome, format_args!("{}-{}", epoch.0, sequence.0), parts, request)
    }

    /// A part, held until it is there when it is the next one.
    pub(super) async fn part(
        &self,
        presentation: &Presentation,
        epoch: Epoch,
        rendition: &RenditionId,
        sequence: MediaSequence,
        part: u32,
        request: &HeaderMap,
    ) -> Response<Body> {
        self.stats.parts.fetch_add(1, Ordering::Relaxed);
        let reader = match offered(presentation, epoch, rendition) {
            Ok(offered) => &offered.reader,
            Err(response) => return *response,
        };
        let mut snapshot = reader.now();
        let position = Position { sequence, part: Some(part) };
        if !snapshot.has(position) && snapshot.next() == Some(position) {
            self.stats.held.fetch_add(1, Ordering::Relaxed);
            match tokio::time::timeout(patience(snapshot.targets), reader.reach(position)).await {
                Ok(reached) => snapshot = reached,
                Err(_) => return Outcome::Unavailable.say("This part is late; try again.\n"),
            }
        }
        match (snapshot.part(sequence, part), snapshot.find(sequence)) {
            (Some(found), _) => self.send(
                Outcome::Segment,
                format_args!("{}-{}-{part}", epoch.0, sequence.0),
                [found.data].into(),
                request,
            ),
            (None, Lookup::Gone) => gone(),
            (None, _) => Outcome::NotFound.say("This part is not there.\n"),
        }
    }

    /// Bytes that never change, whole or in part.
    fn send(
        &self,
        outcome: Outcome,
        tag: std::fmt::Arguments<'_>,
        parts: VecDeque<Bytes>,
        request: &HeaderMap,
    ) -> Response<Body> {
        let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let etag = HeaderValue::from_str(&format!("\"{tag}\"")).expect("digits and dashes are a header value");
        if request.get(IF_NONE_MATCH).is_some_and(|tags| matches(tags, &etag)) {
            let mut response = outcome.respond(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().insert(ETAG, etag);
            return response;
        }
        let wanted = match request.get(RANGE) {
            // A part of something else is of no use: then all of it.
            Some(range) if request.get(IF_RANGE).is_none_or(|tag| *tag == etag) => within(range, length),
            _ => Wanted::All,
        };
        let range = match wanted {
            Wanted::All => 0..length,
            Wanted::Some(ref range) => range.clone(),
            Wanted::Nothing => {
                let mut response = Outcome::RangeNotSatisfiable.say("The range begins behind the end.\n");
                set(response.headers_mut(), CONTENT_RANGE, format_args!("bytes */{length}"));
                return response;
            }
        };
        let sent = range.end - range.start;
        self.stats.media_bytes.fetch_add(sent, Ordering::Relaxed);
        let mut response = outcome.respond(Body::new(Parts::new(parts, range.clone())));
        let headers = response.headers_mut();
        headers.insert(ETAG, etag);
        headers.insert(CONTENT_LENGTH, sent.into());
        if wanted != Wanted::All {
            set(headers, CONTENT_RANGE, format_args!("bytes {}-{}/{length}", range.start, range.end - 1));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        response
    }
}

fn set(headers: &mut HeaderMap, name: http::HeaderName, value: std::fmt::Arguments<'_>) {
    headers.insert(name, HeaderValue::from_str(&value.to_string()).expect("digits are a header value"));
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Some(Range<u64>),
    Nothing,
}

/// What a `Range` asks for of `length` bytes. Several ranges, or what cannot be understood, ask for all.
fn within(range: &HeaderValue, length: u64) -> Wanted {
    let Some(parsed) = range.to_str().ok().and_then(|text| http_range_header::parse_range_header(text).ok()) else {
        return Wanted::All;
    };
    match parsed.validate(length) {
        Ok(ranges) => match ranges.as_slice() {
            [only] => Wanted::Some(*only.start()..*only.end() + 1),
            _ => Wanted::All,
        },
        Err(_) if parsed.ranges.len() == 1 => Wanted::Nothing,
        Err(_) => Wanted::All,
    }
}

/// Views of shared bytes, one after the other.
struct Parts {
    rest: VecDeque<Bytes>,
    length: u64,
}

impl Parts {
    fn new(parts: VecDeque<Bytes>, range: Range<u64>) -> Self {
        let mut at = 0;
        let mut rest = VecDeque::with_capacity(parts.len());
        for part in parts {
            let (begin, end) = (at, at + part.len() as u64);
            let inside = |position: u64| usize::try_from(position.clamp(begin, end) - begin).unwrap_or(part.len());
            let (from, to) = (inside(range.start), inside(range.end));
            if from < to {
                rest.push_back(part.slice(from..to));
            }
            at = end;
        }
        Self { rest, length: range.end - range.start }
    }
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.rest.pop_front().map(|part| {
            self.length -= part.len() as u64;
            Ok(Frame::data(part))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
