//! `/api/v1`: what the pages show, as JSON. Read only.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::window::{Catalog, Offered, Presentation, State};

/// A stream, as the API shows it. Times are milliseconds since 1970, rates bits per second.
#[derive(Debug, Serialize)]
pub struct StreamInfo {
    name: String,
    /// `starting`, `live`, `waiting` (its publisher is gone and may return) or `ended`.
    state: &'static str,
    epoch: u64,
    since_ms: u128,
    /// `rtmp`, …; `null` while nobody publishes.
    publisher: Option<PublisherInfo>,
    target_duration_s: Option<u32>,
    /// Pictures first.
    renditions: Vec<RenditionInfo>,
    hls: String,
    hls_ts: String,
    dash: String,
}

#[derive(Debug, Serialize)]
struct PublisherInfo {
    protocol: &'static str,
    since_ms: u128,
}

#[derive(Debug, Serialize)]
struct RenditionInfo {
    id: String,
    /// `video` or `audio`.
    kind: &'static str,
    /// `H.264`, `AAC`, …
    codec: &'static str,
    /// RFC 6381.
    codecs: String,
    width: Option<u32>,
    height: Option<u32>,
    frame_rate: Option<f64>,
    sample_rate: Option<u32>,
    channels: Option<u16>,
    language: Option<String>,
    peak_bps: u64,
    mean_bps: u64,
    segments: usize,
    shed: bool,
}

/// All streams, by name.
pub fn streams(catalog: &Catalog) -> Vec<StreamInfo> {
    catalog.all().iter().map(|presentation| info(presentation)).collect()
}

fn info(presentation: &Presentation) -> StreamInfo {
    StreamInfo {
        name: presentation.name.to_string(),
        state: match presentation.state {
            State::Starting => "starting",
            State::Live => "live",
            State::Waiting => "waiting",
            State::Ended => "ended",
        },
        epoch: presentation.epoch.0,
        since_ms: millis(presentation.since),
        publisher: presentation
            .publisher
            .as_ref()
            .map(|publisher| PublisherInfo { protocol: publisher.protocol, since_ms: millis(publisher.since) }),
        target_duration_s: presentation.renditions.first().map(|offered| offered.reader.now().targets.segment_secs),
        renditions: presentation.renditions.iter().map(rendition).collect(),
        hls: format!("/{}/index.m3u8", presentation.name),
        hls_ts: format!("/{}/ts.m3u8", presentation.name),
        dash: format!("/{}/index.mpd", presentation.name),
    }
}

fn rendition(offered: &Offered) -> RenditionInfo {
    let rendition = &offered.rendition;
    let codec = &rendition.track.codec;
    RenditionInfo {
        id: rendition.id.to_string(),
        kind: if codec.video().is_some() { "video" } else { "audio" },
        codec: codec.label(),
        codecs: codec.rfc6381(),
        width: rendition.size.map(|size| size.width),
        height: rendition.size.map(|size| size.height),
        frame_rate: rendition.frame_rate.map(|rate| (rate.fps() * 1_000.0).round() / 1_000.0),
        sample_rate: codec.audio().map(|format| format.sample_rate),
        channels: codec.audio().map(|format| format.channels),
        language: rendition.track.language.as_ref().map(ToString::to_string),
        peak_bps: rendition.peak.get(),
        mean_bps: rendition.mean.get(),
        segments: offered.reader.now().listed().len(),
        shed: offered.shed,
    }
}

fn millis(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}
