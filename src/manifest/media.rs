//! Media playlists and I-frame playlists: RFC 8216bis § 4.4.3 and § 4.4.4, written by m3u8-rs.

use std::time::SystemTime;

use chrono::{DateTime, FixedOffset, Utc};
use m3u8_rs::{ByteRange, ExtTag, Map, MediaPlaylist, MediaSegment};

use super::{Form, Target, text};
use crate::media::Segment;
use crate::window::{Snapshot, Text};

/// `EXT-X-MAP` in playlists that are not of I-frames, and `EXT-X-GAP`, ask for 6 and 8.
const VERSION: usize = 8;
/// Without them a playlist of MPEG-TS needs no more than fractional durations and I-frames do.
const VERSION_TS: usize = 4;

/// The media playlist of one rendition.
pub fn media(snapshot: &Snapshot, form: Form, uri: impl Fn(Target<'_>) -> String) -> Text {
    let listed = snapshot.listed();
    let has_gap = listed.iter().any(|segment| segment.is_gap());
    let mut mapped = None;
    let segments = listed.iter().map(|segment| MediaSegment {
        uri: uri(Target::Segment(segment.sequence)),
        discontinuity: segment.discontinuity,
        // A gap has nothing to be dated.
        program_date_time: (!segment.is_gap()).then(|| wall(segment.wall)),
        map: (form == Form::Cmaf && mapped.replace(segment.init.number) != Some(segment.init.number))
            .then(|| map(segment, &uri)),
        unknown_tags: if segment.is_gap() { vec![tag("X-GAP")] } else { Vec::new() },
        ..base(segment)
    });
    let playlist = MediaPlaylist {
        version: Some(if form == Form::Cmaf || has_gap { VERSION } else { VERSION_TS }),
        independent_segments: listed.iter().all(|segment| segment.independent || segment.is_gap()),
        segments: segments.collect(),
        ..head(snapshot, listed.first().map_or(0, |segment| segment.sequence.0))
    };
    rendered(&playlist)
}

/// The same segments, of each only the first picture.
pub fn iframes(snapshot: &Snapshot, uri: impl Fn(Target<'_>) -> String) -> Text {
    let listed = snapshot.listed();
    let mut mapped = None;
    let segments = listed.iter().map(|segment| {
        let range = segment.key_frame.as_ref().filter(|_| !segment.is_gap());
        MediaSegment {
            uri: uri(Target::Segment(segment.sequence)),
            discontinuity: segment.discontinuity,
            program_date_time: range.map(|_| wall(segment.wall)),
            byte_range: range.map(|range| ByteRange { length: range.end - range.start, offset: Some(range.start) }),
            map: (mapped.replace(segment.init.number) != Some(segment.init.number)).then(|| map(segment, &uri)),
            // A segment that begins between key frames has none to show; its number is kept.
            unknown_tags: if range.is_none() { vec![tag("X-GAP")] } else { Vec::new() },
            ..base(segment)
        }
    });
    let playlist = MediaPlaylist {
        version: Some(VERSION),
        i_frames_only: true,
        independent_segments: true,
        segments: segments.collect(),
        ..head(snapshot, listed.first().map_or(0, |segment| segment.sequence.0))
    };
    rendered(&playlist)
}

fn head(snapshot: &Snapshot, media_sequence: u64) -> MediaPlaylist {
    MediaPlaylist {
        target_duration: u64::from(snapshot.targets.segment_secs),
        media_sequence,
        discontinuity_sequence: snapshot.discontinuity_sequence,
        end_list: snapshot.ended,
        ..MediaPlaylist::default()
    }
}

fn base(segment: &Segment) -> MediaSegment {
    #[expect(clippy::cast_possible_truncation, reason = "24 bits hold a segment's length to the microsecond")]
    let duration = segment.duration.seconds() as f32;
    MediaSegment { duration, ..MediaSegment::empty() }
}

fn map(segment: &Segment, uri: &impl Fn(Target<'_>) -> String) -> Map {
    Map { uri: uri(Target::Init(segment.init.number)), ..Map::default() }
}

fn tag(tag: &str) -> ExtTag {
    ExtTag { tag: tag.to_owned(), rest: None }
}

fn wall(time: SystemTime) -> DateTime<FixedOffset> {
    DateTime::<Utc>::from(time).fixed_offset()
}

fn rendered(playlist: &MediaPlaylist) -> Text {
    let mut bytes = Vec::with_capacity(256 + playlist.segments.len() * 96);
    playlist.write_to(&mut bytes).expect("writing into memory does not fail");
    if playlist.media_sequence == 0 {
        // m3u8-rs leaves it out, as the RFC allows; Chromium's own player takes such a playlist for one that is complete
        // and never loads it again.
        let target = format!("#EXT-X-TARGETDURATION:{}\n", playlist.target_duration);
        let at = bytes.windows(target.len()).position(|window| window == target.as_bytes());
        let at = at.map_or(bytes.len(), |at| at + target.len());
        bytes.splice(at..at, *b"#EXT-X-MEDIA-SEQUENCE:0\n");
    }
    text(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::media::testing::video_track;
    use crate::media::{Epoch, Init, MediaDuration, MediaSequence, MediaTime, Part, Targets, Timescale};
    use crate::window::{Config, Window};

    fn segment(number: u64, init: u32, ticks: u64) -> Segment {
        let duration = MediaDuration::new(ticks, Timescale::MPEG);
        Segment {
            sequence: MediaSequence(number),
            init: Arc::new(Init { number: init, data: bytes::Bytes::new(), track: video_track() }),
            at: MediaTime::new(0, Timescale::MPEG),
            start: MediaTime::new(0, Timescale::MPEG),
            duration,
            wall: UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + number * 2_000),
            discontinuity: false,
            independent: true,
            key_frame: Some(0..500),
            parts: vec![Part {
                duration,
                independent: true,
                bytes: 0..9,
                data: bytes::Bytes::from_static(b"123456789"),
            }],
            expects_more: false,
        }
    }

    fn snapshot(segments: Vec<Segment>) -> Arc<Snapshot> {
        let mut window = Window::new(&Config::default(), Epoch(3), Targets { segment_secs: 2, part_millis: None }, 0);
        for segment in segments {
            window.append(segment);
        }
        window.reader().now()
    }

    fn uri(target: Target<'_>) -> String {
        match target {
            Target::Init(number) => format!("init-{number}"),
            Target::Segment(sequence) => format!("s{}", sequence.0),
            Target::Part(sequence, part) => format!("s{}.{part}", sequence.0),
            Target::Media(id) | Target::IFrames(id) => id.to_string(),
        }
    }

    fn lines(text: &Text) -> String {
        String::from_utf8(text.plain.to_vec()).unwrap()
    }

    #[test]
    fn a_playlist_says_what_its_segments_are() {
        let mut broken = segment(8, 1, 180_180);
        broken.discontinuity = true;
        let text = media(&snapshot(vec![segment(7, 0, 180_000), broken, segment(9, 1, 90_000)]), Form::Cmaf, uri);
        assert_eq!(
            lines(&text),
            "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:2\n\
             #EXT-X-MEDIA-SEQUENCE:7\n\
             #EXT-X-MAP:URI=\"init-0\"\n#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:34.000Z\n#EXTINF:2,\ns7\n\
             #EXT-X-MAP:URI=\"init-1\"\n#EXT-X-DISCONTINUITY\n\
             #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:36.000Z\n#EXTINF:2.002,\ns8\n\
             #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:38.000Z\n#EXTINF:1,\ns9\n"
        );
    }

    #[test]
    fn a_span_without_media_is_a_gap_and_a_dependent_segment_takes_back_the_independence() {
        let mut gap = segment(1, 0, 180_000);
        gap.parts.clear();
        let mut dependent = segment(2, 0, 180_000);
        dependent.independent = false;
        let text = lines(&media(&snapshot(vec![segment(0, 0, 180_000), gap, dependent]), Form::Ts, uri));
        assert!(text.contains("#EXT-X-GAP\n#EXTINF:2,\ns1\n"), "{text}");
        assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:0\n"), "{text}");
        assert!(text.contains("#EXT-X-VERSION:8\n"), "{text}");
        assert!(!text.contains("INDEPENDENT"), "{text}");
        assert!(!text.contains("MAP"), "{text}");
    }

    #[test]
    fn an_i_frame_playlist_lists_ranges_of_the_same_segments() {
        let text = lines(&iframes(&snapshot(vec![segment(0, 0, 180_000), segment(1, 0, 180_000)]), uri));
        assert!(text.contains("#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-I-FRAMES-ONLY\n"), "{text}");
        assert!(text.contains("#EXT-X-BYTERANGE:500@0\n"), "{text}");
        let parsed = m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap();
        assert_eq!(parsed.segments.len(), 2);
    }

    #[test]
    fn equal_state_gives_equal_bytes_and_tags() {
        let make = || media(&snapshot(vec![segment(0, 0, 180_000)]), Form::Cmaf, uri);
        assert_eq!(make().etag, make().etag);
        assert_ne!(make().etag, make().gzip_etag);
    }
}
