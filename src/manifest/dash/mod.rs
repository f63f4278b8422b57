//! The MPD: ISO/IEC 23009-1 and the DASH-IF guidelines for live services, over the segments that HLS lists. Which segments is
//! `periods.rs`'s business.
//!
//! The media clock is the MPD's clock: `availabilityStartTime` is the wall-clock time of media time zero, and each period's
//! `presentationTimeOffset` is its `start`, so that every time in it is a media time.

mod periods;
mod xml;

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};

use super::text;
use crate::media::{AudioFormat, Codec, FrameRate, MediaTime, Segment, Size, Timescale, VideoFormat};
use crate::window::Text;
use periods::{Lane, Period};
use xml::Xml;

pub use periods::Moment;

const PROFILES: &str = "urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019";

/// Target durations behind the clock: the segment in progress, a load of the MPD that is one old, and two to have in hand.
const DELAY_TARGETS: u64 = 4;

/// What an MPD refers to by a pattern. Who serves it turns these into URIs, relative to the MPD.
#[derive(Clone, Copy, Debug)]
pub enum Pattern {
    /// Of this number, of `$RepresentationID$`.
    Init(u32),
    /// `$Number$` of `$RepresentationID$`.
    Segment,
}

/// The MPD of a stream at one moment; `time` is the URL of the wall clock.
pub fn mpd(moment: &Moment<'_>, time: &str, uri: impl Fn(Pattern) -> String) -> Text {
    text(write(moment, time, &uri).into_bytes())
}

fn write(moment: &Moment<'_>, time: &str, uri: &impl Fn(Pattern) -> String) -> String {
    let periods = moment.periods();
    let first = periods.first().and_then(|period| period.lanes.first());
    let last = periods.last().and_then(|period| period.lanes.first());
    let zero = first.map_or(SystemTime::UNIX_EPOCH, |lane| lane.first().zero());
    let begin = first.map_or(Duration::ZERO, |lane| since_zero(lane.first().shown()));
    let end = last.map_or(Duration::ZERO, |lane| since_zero(lane.end()));
    let target = Duration::from_secs(moment.target_secs());
    let mut xml = Xml::new();
    xml.open("MPD", |a| {
        a.set("xmlns", "urn:mpeg:dash:schema:mpd:2011").set("profiles", PROFILES);
        a.set("type", if moment.ended { "static" } else { "dynamic" });
        // Kept when the stream ends: times go on meaning what they meant to those who are watching.
        a.set("availabilityStartTime", date(zero));
        if moment.ended {
            a.set("mediaPresentationDuration", duration(end));
        } else {
            // When the newest segment was over, and not when this was written: a new date is a new MPD.
            a.set("publishTime", date(zero + end)).set("minimumUpdatePeriod", duration(target));
        }
        a.set("minBufferTime", duration(target));
        if !moment.ended {
            let delay = Duration::from_secs(DELAY_TARGETS * moment.target_secs());
            let listed = end.saturating_sub(begin);
            // What is listed; all of it, while nothing has left the list, although a player counts from now.
            a.set("timeShiftBufferDepth", duration(if moment.has_retired { listed } else { listed.max(delay) }));
            a.set("suggestedPresentationDelay", duration(delay));
        }
    });
    for period in &periods {
        write_period(&mut xml, period, uri);
    }
    if !moment.ended {
        for scheme in ["urn:mpeg:dash:utc:http-xsdate:2014", "urn:mpeg:dash:utc:http-head:2014"] {
            xml.empty("UTCTiming", |a| {
                a.set("schemeIdUri", scheme).set("value", time);
            });
        }
    }
    xml.close();
    xml.finish()
}

fn write_period(xml: &mut Xml, period: &Period<'_>, uri: &impl Fn(Pattern) -> String) {
    let start = Start::of(period);
    xml.open("Period", |a| {
        a.set("id", period.begin.first.0).set("start", duration(start.to_std()));
    });
    let (pictures, sound): (Vec<_>, Vec<_>) =
        period.lanes.iter().partition(|lane| lane.first().init.track.codec.video().is_some());
    // Players change between the representations of a set, and not between codecs.
    let mut families: Vec<Vec<&Lane<'_>>> = Vec::new();
    for lane in pictures {
        match families.iter_mut().find(|family| family_of(family[0]) == family_of(lane)) {
            Some(family) => family.push(lane),
            None => families.push(vec![lane]),
        }
    }
    let mut id = 0;
    for family in families {
        write_pictures(xml, id, start, &family, uri);
        id += 1;
    }
    for (index, lane) in sound.into_iter().enumerate() {
        write_sound(xml, id, start, lane, index == 0, uri);
        id += 1;
    }
    xml.close();
}

fn family_of(lane: &Lane<'_>) -> &'static str {
    lane.first().init.track.codec.label()
}

fn write_pictures(xml: &mut Xml, id: u32, start: Start, lanes: &[&Lane<'_>], uri: &impl Fn(Pattern) -> String) {
    let formats = lanes.iter().filter_map(|lane| lane.first().init.track.codec.video());
    let sizes: Vec<Size> = formats.map(VideoFormat::display_size).collect();
    let largest = sizes.iter().copied().max_by_key(|size| u64::from(size.width) * u64::from(size.height));
    let rates = lanes.iter().filter_map(|lane| lane.rendition.frame_rate);
    xml.open("AdaptationSet", |a| {
        a.set("id", id).set("contentType", "video");
        // The smaller ones are rounded to whole rows.
        a.set_some("par", largest.map(|size| ratio(size.width, size.height, ':')));
        a.set_some("maxWidth", sizes.iter().map(|size| size.width).max());
        a.set_some("maxHeight", sizes.iter().map(|size| size.height).max());
        a.set_some("maxFrameRate", rates.max_by(|one, other| one.fps().total_cmp(&other.fps())).map(frame_rate));
        a.set("segmentAlignment", true).set("mimeType", "video/mp4");
        let segments = || lanes.iter().flat_map(|lane| &lane.segments);
        a.set_some("startWithSAP", segments().all(|segment| segment.independent).then_some(1));
    });
    role(xml, "main");
    let shared = of_all(lanes, start, uri);
    if let Some(lane) = shared {
        write_template(xml, lane, start, uri);
    }
    for lane in lanes {
        let size = lane.first().init.track.codec.video().map(VideoFormat::display_size);
        xml.open("Representation", |a| {
            a.set("id", &lane.rendition.id).set("codecs", lane.first().init.track.codec.rfc6381());
            a.set("bandwidth", lane.rendition.peak.get());
            a.set_some("width", size.map(|size| size.width)).set_some("height", size.map(|size| size.height));
            a.set("sar", "1:1").set_some("frameRate", lane.rendition.frame_rate.map(frame_rate));
        });
        if shared.is_none() {
            write_template(xml, lane, start, uri);
        }
        xml.close();
    }
    xml.close();
}

fn write_sound(xml: &mut Xml, id: u32, start: Start, lane: &Lane<'_>, main: bool, uri: &impl Fn(Pattern) -> String) {
    let track = &lane.first().init.track;
    xml.open("AdaptationSet", |a| {
        a.set("id", id).set("contentType", "audio");
        a.set("lang", track.language.as_ref().map_or("und", |language| language.as_str()));
        a.set("segmentAlignment", true).set("mimeType", "audio/mp4").set("startWithSAP", 1);
    });
    role(xml, if main { "main" } else { "alternate" });
    write_template(xml, lane, start, uri);
    let format = track.codec.audio();
    xml.open("Representation", |a| {
        a.set("id", &lane.rendition.id).set("codecs", codecs(&track.codec));
        a.set("bandwidth", lane.rendition.peak.get());
        a.set_some("audioSamplingRate", format.map(|format| format.sample_rate));
    });
    if let Some(configuration) = format.and_then(channels) {
        xml.empty("AudioChannelConfiguration", |a| {
            a.set("schemeIdUri", "urn:mpeg:mpegB:cicp:ChannelConfiguration").set("value", configuration);
        });
    }
    xml.close();
    xml.close();
}

/// As browsers know them.
fn codecs(codec: &Codec) -> String {
    match codec {
        Codec::Opus { .. } => "opus".to_owned(),
        other => other.rfc6381(),
    }
}

fn role(xml: &mut Xml, value: &str) {
    xml.empty("Role", |a| {
        a.set("schemeIdUri", "urn:mpeg:dash:role:2011").set("value", value);
    });
}

/// The lane whose template holds for all, if one does.
fn of_all<'a, 'b>(lanes: &[&'a Lane<'b>], start: Start, uri: &impl Fn(Pattern) -> String) -> Option<&'a Lane<'b>> {
    let alone = |lane: &Lane<'_>| {
        let mut xml = Xml::new();
        write_template(&mut xml, lane, start, uri);
        xml.finish()
    };
    let first = *lanes.first()?;
    let written = alone(first);
    lanes.iter().skip(1).all(|lane| alone(lane) == written).then_some(first)
}

fn write_template(xml: &mut Xml, lane: &Lane<'_>, start: Start, uri: &impl Fn(Pattern) -> String) {
    let first = lane.first();
    let scale = first.init.track.timescale;
    xml.open("SegmentTemplate", |a| {
        a.set("timescale", scale.get()).set("presentationTimeOffset", start.ticks(scale));
        a.set("initialization", uri(Pattern::Init(first.init.number))).set("media", uri(Pattern::Segment));
        a.set("startNumber", first.sequence.0);
    });
    xml.open("SegmentTimeline", |_| {});
    for Entry { time, ticks, repeated } in entries(&lane.segments) {
        xml.empty("S", |a| {
            a.set_some("t", time).set("d", ticks).set_some("r", (repeated > 0).then_some(repeated));
        });
    }
    xml.close();
    xml.close();
}

/// One `S`: segments of the same length that join.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// Where it does not begin at the end of the one before it.
    time: Option<i64>,
    ticks: i64,
    repeated: u32,
}

fn entries(segments: &[std::sync::Arc<Segment>]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut end = None;
    for (index, segment) in segments.iter().enumerate() {
        let begin = segment.shown().ticks();
        let next = segments.get(index + 1).map(|next| next.shown().ticks());
        let said = i64::try_from(segment.duration.ticks()).unwrap_or(i64::MAX);
        // What overlaps cannot be said; the next one's time is the truth.
        let ticks = next.map_or(said, |next| said.min(next.saturating_sub(begin))).max(1);
        let joins = end == Some(begin);
        end = Some(begin.saturating_add(ticks));
        match entries.last_mut().filter(|last| joins && last.ticks == ticks) {
            Some(last) => last.repeated += 1,
            None => entries.push(Entry { time: (!joins).then_some(begin), ticks, repeated: 0 }),
        }
    }
    entries
}

/// Where a period starts: in units that decimal fractions and every track's clock can say exactly.
#[derive(Clone, Copy, Debug)]
struct Start {
    units: u64,
    per_second: u32,
}

impl Start {
    /// Just before its cut: a player drops pictures from before a period's start, and all that depend on them.
    fn of(period: &Period<'_>) -> Self {
        let scales = period.lanes.iter().map(|lane| lane.first().init.track.timescale.get());
        let per_second = scales.fold(1_000, gcd);
        let at = period.begin.at;
        let units = i128::from(at.ticks().max(0)) * i128::from(per_second) / i128::from(at.scale().get());
        Self { units: u64::try_from(units).unwrap_or_default(), per_second }
    }

    fn to_std(self) -> Duration {
        Duration::from_millis(self.units * u64::from(1_000 / self.per_second))
    }

    fn ticks(self, scale: Timescale) -> u64 {
        self.units * u64::from(scale.get() / self.per_second)
    }
}

fn since_zero(time: MediaTime) -> Duration {
    Duration::from_micros(u64::try_from(time.micros()).unwrap_or_default())
}

/// ISO 8601, to the microsecond.
fn date(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// `xs:duration`, to the microsecond, without zeros at the end.
fn duration(length: Duration) -> String {
    let text = format!("PT{}.{:06}", length.as_secs(), length.subsec_micros());
    format!("{}S", text.trim_end_matches('0').trim_end_matches('.'))
}

fn frame_rate(rate: FrameRate) -> String {
    ratio(rate.numerator, rate.denominator, '/')
}

/// In its lowest terms; `30/1` is `30`.
fn ratio(left: u32, right: u32, sign: char) -> String {
    let common = gcd(left, right).max(1);
    match (left / common, right / common) {
        (left, 1) if sign == '/' => left.to_string(),
        (left, right) => format!("{left}{sign}{right}"),
    }
}

fn gcd(left: u32, right: u32) -> u32 {
    if right == 0 { left } else { gcd(right, left % right) }
}

/// `ChannelConfiguration` of ISO/IEC 23091-3 for so many channels in their usual places.
fn channels(format: &AudioFormat) -> Option<u32> {
    match format.channels {
        count @ 1..=6 => Some(u32::from(count)),
        7 => Some(11),
        8 => Some(12),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
