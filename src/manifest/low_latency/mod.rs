//! Low-latency media playlists: RFC 8216bis § 4.4.3.7 to § 4.4.5, § 6.2.5 and appendix B. Written here, since m3u8-rs has none
//! of their tags.

use std::fmt::Write;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

use super::{Target, text};
use crate::media::{Part, Position, RenditionId, Segment};
use crate::window::{Snapshot, Text};

/// `EXT-X-SKIP` asks for it; so that playlists with and without differ in nothing else, all have it.
const VERSION: u32 = 9;

/// Another rendition's newest place, for players that switch to it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which.
    pub rendition: RenditionId,
    /// Its last segment and the last part of it.
    pub last: Position,
}

/// The media playlist of a rendition that has parts. With `skip`, segments that a player which reloads has seen are left out
/// (`EXT-X-SKIP`), where there are enough of them.
pub fn low_latency(
    snapshot: &Snapshot,
    part_millis: u32,
    skip: bool,
    reports: &[Report],
    uri: impl Fn(Target<'_>) -> String,
) -> Text {
    let mut out = String::with_capacity(4_096);
    write(&mut out, snapshot, part_millis, skip, reports, &uri).expect("writing into memory does not fail");
    text(out.into_bytes())
}

fn write(
    out: &mut String,
    snapshot: &Snapshot,
    part_millis: u32,
    skip: bool,
    reports: &[Report],
    uri: &impl Fn(Target<'_>) -> String,
) -> std::fmt::Result {
    let listed = snapshot.listed();
    let target = snapshot.targets.segment_secs;
    writeln!(out, "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{target}")?;
    // The least that is allowed of each: three parts, three segments, six segments.
    writeln!(
        out,
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={},HOLD-BACK={},CAN-SKIP-UNTIL={}",
        seconds(u64::from(part_millis) * 3),
        target * 3,
        target * 6
    )?;
    writeln!(out, "#EXT-X-PART-INF:PART-TARGET={}", seconds(u64::from(part_millis)))?;
    if listed.iter().chain(&snapshot.open).all(|segment| segment.independent || segment.is_gap()) {
        writeln!(out, "#EXT-X-INDEPENDENT-SEGMENTS")?;
    }
    writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{}", listed.first().map_or(0, |segment| segment.sequence.0))?;
    if snapshot.discontinuity_sequence > 0 {
        writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", snapshot.discontinuity_sequence)?;
    }
    let skipped = if skip { farther_than(listed, snapshot, target * 6) } else { 0 };
    if skipped > 0 {
        writeln!(out, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")?;
    }
    // Parts are of use to those who are near the end.
    let with_parts = farther_than(listed, snapshot, target * 3);
    let mut map = skipped.checked_sub(1).and_then(|last| listed.get(last)).map(|segment| segment.init.number);
    for (index, segment) in listed.iter().enumerate().skip(skipped) {
        head(out, segment, &mut map, uri)?;
        if index >= with_parts {
            parts(out, segment, uri)?;
        }
        if segment.is_gap() {
            writeln!(out, "#EXT-X-GAP")?;
        }
        writeln!(out, "#EXTINF:{:.5},\n{}", segment.duration.seconds(), uri(Target::Segment(segment.sequence)))?;
    }
    if let Some(open) = &snapshot.open {
        head(out, open, &mut map, uri)?;
        parts(out, open, uri)?;
    }
    if snapshot.ended {
        return writeln!(out, "#EXT-X-ENDLIST");
    }
    if let Some(Position { sequence, part: Some(part) }) = snapshot.next() {
        writeln!(out, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}\"", uri(Target::Part(sequence, part)))?;
    }
    for Report { rendition, last } in reports {
        write!(out, "#EXT-X-RENDITION-REPORT:URI=\"{}\",LAST-MSN={}", uri(Target::Media(rendition)), last.sequence.0)?;
        match last.part {
            Some(part) => writeln!(out, ",LAST-PART={part}")?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

/// How many of the oldest segments begin more than so many seconds before the end.
fn farther_than(listed: &[std::sync::Arc<Segment>], snapshot: &Snapshot, secs: u32) -> usize {
    let mut from_end = snapshot.open.as_ref().map_or(Duration::ZERO, |open| open.duration.to_std());
    let limit = Duration::from_secs(u64::from(secs));
    let near = listed.iter().rev().take_while(|segment| {
        from_end += segment.duration.to_std();
        from_end <= limit
    });
    listed.len() - near.count()
}

/// What stands before a segment, or before the first part of the one in progress.
fn head(
    out: &mut String,
    segment: &Segment,
    map: &mut Option<u32>,
    uri: &impl Fn(Target<'_>) -> String,
) -> std::fmt::Result {
    if segment.discontinuity {
        writeln!(out, "#EXT-X-DISCONTINUITY")?;
    }
    if map.replace(segment.init.number) != Some(segment.init.number) {
        writeln!(out, "#EXT-X-MAP:URI=\"{}\"", uri(Target::Init(segment.init.number)))?;
    }
    if !segment.is_gap() {
        let wall = DateTime::<Utc>::from(segment.wall).to_rfc3339_opts(SecondsFormat::Millis, true);
        writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{wall}")?;
    }
    Ok(())
}

fn parts(out: &mut String, segment: &Segment, uri: &impl Fn(Target<'_>) -> String) -> std::fmt::Result {
    for (index, Part { duration, independent, .. }) in (0u32..).zip(&segment.parts) {
        let uri = uri(Target::Part(segment.sequence, index));
        write!(out, "#EXT-X-PART:DURATION={:.5},URI=\"{uri}\"", duration.seconds())?;
        writeln!(out, "{}", if *independent { ",INDEPENDENT=YES" } else { "" })?;
    }
    Ok(())
}

/// Milliseconds as seconds, without zeros at the end.
fn seconds(millis: u64) -> String {
    let text = format!("{}.{:03}", millis / 1_000, millis % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
