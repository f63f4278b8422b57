//! The multivariant playlist: RFC 8216bis § 4.4.6, written by m3u8-rs.

use m3u8_rs::{AlternativeMedia, AlternativeMediaType, MasterPlaylist, Resolution, VariantStream};

use super::{Form, Target, text};
use crate::media::{Codec, Rendition};
use crate::window::{Offered, Presentation, Text};

/// The group that all sound is in.
const AUDIO_GROUP: &str = "audio";

/// The playlist of a stream's renditions in this form.
pub fn multivariant(presentation: &Presentation, form: Form, uri: impl Fn(Target<'_>) -> String) -> Text {
    let audio: Vec<&Offered> =
        presentation.audio().filter(|offered| carries(form, &offered.rendition.track.codec)).collect();
    let video: Vec<&Offered> =
        presentation.video().filter(|offered| carries(form, &offered.rendition.track.codec)).collect();
    let mut variants = Vec::new();
    for offered in &video {
        variants.push(variant(&offered.rendition, &audio, form, &uri));
    }
    if video.is_empty() {
        variants.extend(audio.iter().map(|offered| variant(&offered.rendition, &[], form, &uri)));
    }
    if form == Form::Cmaf {
        variants.extend(video.iter().filter_map(|offered| iframe_variant(offered, &uri)));
    }
    let playlist = MasterPlaylist {
        version: Some(6),
        variants,
        alternatives: if form == Form::Cmaf && !video.is_empty() { group(&audio, &uri) } else { Vec::new() },
        ..MasterPlaylist::default()
    };
    let mut bytes = Vec::with_capacity(1024);
    playlist.write_to(&mut bytes).expect("writing into memory does not fail");
    text(bytes)
}

/// Whether segments of this form can hold the codec.
fn carries(form: Form, codec: &Codec) -> bool {
    match form {
        Form::Cmaf => true,
        Form::Ts => matches!(codec, Codec::H264 { .. } | Codec::H265 { .. } | Codec::Aac(_)),
    }
}

fn variant(
    rendition: &Rendition,
    audio: &[&Offered],
    form: Form,
    uri: &impl Fn(Target<'_>) -> String,
) -> VariantStream {
    // The variant must hold for whichever sound is chosen, and every sound's codec must be announced.
    let peak = rendition.peak.get() + audio.iter().map(|offered| offered.rendition.peak.get()).max().unwrap_or(0);
    let mean = rendition.mean.get() + audio.iter().map(|offered| offered.rendition.mean.get()).max().unwrap_or(0);
    let mut codecs = vec![rendition.track.codec.rfc6381()];
    for offered in audio {
        let codec = offered.rendition.track.codec.rfc6381();
        if !codecs.contains(&codec) {
            codecs.push(codec);
        }
    }
    let extra = if form == Form::Ts { ts_overhead(peak, rendition) } else { 0 };
    VariantStream {
        uri: uri(Target::Media(&rendition.id)),
        bandwidth: peak + extra,
        average_bandwidth: Some(mean + extra),
        codecs: Some(codecs.join(",")),
        resolution: rendition.size.map(resolution),
        frame_rate: rendition.frame_rate.map(|rate| (rate.fps() * 1_000.0).round() / 1_000.0),
        audio: (form == Form::Cmaf && !audio.is_empty()).then(|| AUDIO_GROUP.to_owned()),
        ..VariantStream::default()
    }
}

/// An upper bound of what MPEG-TS adds, since a playlist must not wait for segments that nobody asked for: 4 of 188 bytes,
/// the rest of a packet and a header for each picture, tables and the filling up to 16 packets of each segment.
fn ts_overhead(peak: u64, rendition: &Rendition) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a frame rate is small and positive")]
    let pictures = rendition.frame_rate.map_or(45, |rate| rate.fps().ceil() as u64);
    peak * 3 / 100 + pictures * 220 * 8 + 100_000
}

fn resolution(size: crate::media::Size) -> Resolution {
    Resolution { width: u64::from(size.width), height: u64::from(size.height) }
}

fn iframe_variant(offered: &Offered, uri: &impl Fn(Target<'_>) -> String) -> Option<VariantStream> {
    let snapshot = offered.reader.now();
    let bandwidth = snapshot
        .listed()
        .iter()
        .filter_map(|segment| {
            let bytes = segment.key_frame.as_ref()?.end;
            (bytes * 8 * u64::from(segment.duration.scale().get())).checked_div(segment.duration.ticks())
        })
        .max()?;
    Some(VariantStream {
        is_i_frame: true,
        uri: uri(Target::IFrames(&offered.rendition.id)),
        bandwidth,
        codecs: Some(offered.rendition.track.codec.rfc6381()),
        resolution: offered.rendition.size.map(resolution),
        ..VariantStream::default()
    })
}

fn group(audio: &[&Offered], uri: &impl Fn(Target<'_>) -> String) -> Vec<AlternativeMedia> {
    let media = |(index, offered): (usize, &&Offered)| {
        let track = &offered.rendition.track;
        let language = track.language.as_ref().map_or("und", |language| language.as_str());
        AlternativeMedia {
            media_type: AlternativeMediaType::Audio,
            uri: Some(uri(Target::Media(&offered.rendition.id))),
            group_id: AUDIO_GROUP.to_owned(),
            language: Some(language.to_owned()),
            name: offered.rendition.id.to_string(),
            default: index == 0,
            autoselect: true,
            channels: track.codec.audio().map(|format| format.channels.to_string()),
            ..AlternativeMedia::default()
        }
    };
    audio.iter().enumerate().map(media).collect()
}
