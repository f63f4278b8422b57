//! Low-latency playlists, as text and as a player merges them.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::media::testing::video_track;
use crate::media::{Epoch, Init, MediaDuration, MediaSequence, MediaTime, Targets, Timescale};
use crate::window::{Config, Window};

/// A segment of parts of half a second.
fn segment(number: u64, part_count: usize, init: u32, discontinuity: bool) -> Segment {
    let half = MediaDuration::new(45_000, Timescale::MPEG);
    let part =
        |index: usize| Part { duration: half, independent: index == 0, bytes: 0..1, data: Bytes::from_static(b"x") };
    Segment {
        sequence: MediaSequence(number),
        init: Arc::new(Init { number: init, data: Bytes::new(), track: video_track() }),
        at: MediaTime::new(0, Timescale::MPEG),
        start: MediaTime::new(0, Timescale::MPEG),
        duration: half.times(u32::try_from(part_count).unwrap()),
        wall: UNIX_EPOCH + Duration::from_secs(number * 2),
        discontinuity,
        independent: true,
        key_frame: None,
        parts: (0..part_count).map(part).collect(),
        expects_more: part_count < 4,
    }
}

fn window() -> Window {
    let targets = Targets { segment_secs: 2, part_millis: Some(500) };
    Window::new(&Config { length: Duration::from_secs(40), ..Config::default() }, Epoch(1), targets, 0)
}

fn uri(target: Target<'_>) -> String {
    match target {
        Target::Init(number) => format!("init-{number}"),
        Target::Segment(sequence) => format!("s{}", sequence.0),
        Target::Part(sequence, part) => format!("s{}.{part}", sequence.0),
        Target::Media(id) | Target::IFrames(id) => id.to_string(),
    }
}

fn rendered(window: &Window, skip: bool) -> String {
    let report =
        Report { rendition: "audio".parse().unwrap(), last: Position { sequence: MediaSequence(9), part: Some(1) } };
    let text = low_latency(&window.reader().now(), 500, skip, &[report], uri);
    String::from_utf8(text.plain.to_vec()).unwrap()
}

#[test]
fn a_playlist_says_its_parts_its_promises_and_what_comes_next() {
    let mut window = window();
    window.append(segment(7, 4, 0, false));
    window.progress(segment(8, 2, 0, false));
    assert_eq!(
        rendered(&window, false),
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
         #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5,HOLD-BACK=6,CAN-SKIP-UNTIL=12\n\
         #EXT-X-PART-INF:PART-TARGET=0.5\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MEDIA-SEQUENCE:7\n\
         #EXT-X-MAP:URI=\"init-0\"\n#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:14.000Z\n\
         #EXT-X-PART:DURATION=0.50000,URI=\"s7.0\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.50000,URI=\"s7.1\"\n\
         #EXT-X-PART:DURATION=0.50000,URI=\"s7.2\"\n#EXT-X-PART:DURATION=0.50000,URI=\"s7.3\"\n\
         #EXTINF:2.00000,\ns7\n#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:16.000Z\n\
         #EXT-X-PART:DURATION=0.50000,URI=\"s8.0\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.50000,URI=\"s8.1\"\n\
         #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"s8.2\"\n\
         #EXT-X-RENDITION-REPORT:URI=\"audio\",LAST-MSN=9,LAST-PART=1\n"
    );
}

#[test]
fn the_hint_goes_to_the_next_segment_when_this_one_is_full() {
    let mut window = window();
    window.append(segment(7, 4, 0, false));
    assert!(rendered(&window, false).contains("URI=\"s8.0\"\n#EXT-X-RENDITION"));
    window.progress(segment(8, 4, 0, false));
    assert!(rendered(&window, false).contains("HINT:TYPE=PART,URI=\"s9.0\"\n"));
    window.append(segment(8, 4, 0, false));
    window.set_ended(true);
    let text = rendered(&window, false);
    assert!(text.ends_with("#EXT-X-ENDLIST\n") && !text.contains("HINT"), "{text}");
}

#[test]
fn parts_are_listed_for_three_target_durations() {
    let mut window = window();
    (0..10).for_each(|number| {
        window.append(segment(number, 4, 0, false));
    });
    let text = rendered(&window, false);
    assert!(!text.contains("URI=\"s6.3\"") && text.contains("URI=\"s7.0\""), "{text}");
}

/// A playlist as a player holds it: the lines of each segment, by number.
fn lines_by_segment(text: &str, before: &[(u64, String)]) -> Vec<(u64, String)> {
    let value =
        |tag: &str| text.lines().find_map(|line| line.strip_prefix(tag)).map(|value| value.parse::<u64>().unwrap());
    let first = value("#EXT-X-MEDIA-SEQUENCE:").unwrap();
    let skipped = value("#EXT-X-SKIP:SKIPPED-SEGMENTS=").unwrap_or(0);
    let mut segments: Vec<(u64, String)> =
        before.iter().filter(|(number, _)| (first..first + skipped).contains(number)).cloned().collect();
    assert_eq!(segments.len() as u64, skipped, "the player lacks what was skipped");
    let mut number = first + skipped;
    let mut lines = String::new();
    for line in text.lines().skip_while(|line| !line.starts_with("#EXT-X-MEDIA-SEQUENCE")).skip(1) {
        if line.starts_with("#EXT-X-SKIP") || line.starts_with("#EXT-X-DISCONTINUITY-SEQUENCE") {
            continue;
        }
        // What a segment says for good; parts come and go.
        if !line.starts_with("#EXT-X-PART:") {
            lines.push_str(line);
            lines.push('\n');
        }
        if !line.starts_with('#') {
            segments.push((number, std::mem::take(&mut lines)));
            number += 1;
        }
    }
    segments
}

proptest! {
    #[test]
    fn what_a_player_had_and_a_delta_make_the_whole(
        steps in prop::collection::vec((1usize..5, 0u32..8, any::<bool>()), 4..60),
        reload_every in 1usize..6,
    ) {
        let mut window = window();
        let (mut init, mut held) = (0, Vec::new());
        let mut never_changes: std::collections::BTreeMap<u64, String> = std::collections::BTreeMap::new();
        for (index, (parts, change, discontinuity)) in steps.into_iter().enumerate() {
            init += u32::from(change == 0);
            let number = index as u64;
            window.append(segment(number, parts, init, discontinuity && change < 2));
            let whole = lines_by_segment(&rendered(&window, false), &[]);
            for (number, lines) in &whole {
                // A player may join at any segment: what the first one says of its header is its own.
                let lines = lines.replace("#EXT-X-MAP", "").lines().filter(|line| !line.starts_with(":URI")).collect::<String>();
                let before = never_changes.entry(*number).or_insert_with(|| lines.clone());
                prop_assert_eq!(&*before, &lines, "segment {} changed after it was listed", number);
            }
            if index % reload_every == 0 {
                let merged = lines_by_segment(&rendered(&window, !held.is_empty()), &held);
                let strip = |segments: &[(u64, String)]| {
                    segments.iter().map(|(number, lines)| {
                        (*number, lines.lines().filter(|line| !line.starts_with("#EXT-X-MAP")).collect::<String>())
                    }).collect::<Vec<_>>()
                };
                prop_assert_eq!(strip(&merged), strip(&whole));
                held = whole;
            }
        }
    }
}
