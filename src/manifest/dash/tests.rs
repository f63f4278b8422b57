//! MPDs, read back by another crate and by an order check of our own.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use dash_mpd_core::{AdaptationSet, MPD, SegmentTemplate};
use proptest::prelude::*;

use super::*;
use crate::media::testing::{audio_track, video_track};
use crate::media::{
    Bitrate, Epoch, Init, MediaDuration, MediaSequence, Part, Rendition, RenditionId, StreamName, Targets, Track,
};
use crate::window::{Config, Offered, Presentation, State, Texts, Window};

/// Wall-clock time of media time zero.
const ZERO: Duration = Duration::from_millis(1_700_000_000_250);

/// A stream of two sizes and a sound, of which the test adds spans.
struct Rig {
    windows: Vec<(Track, Window)>,
    presentation: Presentation,
    /// Where the next span begins, on the pictures' clock.
    at: i64,
    next: u64,
}

/// What one rendition has of a span.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Has {
    Media { init: u32 },
    Gap,
}

impl Rig {
    fn new(length: Duration) -> Self {
        let delayed = Track { delay: 6_000, ..video_track() };
        let sound = Track { delay: 1_024, ..audio_track() };
        let tracks = [("source", delayed.clone()), ("low", delayed), ("audio", sound)];
        let config = Config { length, ..Config::default() };
        let mut windows = Vec::new();
        let mut renditions = Vec::new();
        for (id, track) in tracks {
            let window = Window::new(&config, Epoch(7), Targets { segment_secs: 2, part_millis: None }, 0);
            let rendition = Rendition {
                id: id.parse::<RenditionId>().unwrap(),
                track: track.clone(),
                peak: Bitrate::new(1_000_000),
                mean: Bitrate::new(900_000),
                size: None,
                frame_rate: track.codec.video().map(|_| FrameRate { numerator: 30_000, denominator: 1_001 }),
            };
            renditions.push(Offered { rendition, reader: window.reader(), shed: false });
            windows.push((track, window));
        }
        let presentation = Presentation {
            name: "cam".parse::<StreamName>().unwrap(),
            epoch: Epoch(7),
            since: UNIX_EPOCH,
            state: State::Live,
            publisher: None,
            renditions,
            texts: Texts::default(),
            mpd: Arc::default(),
        };
        Self { windows, presentation, at: 900_003, next: 5 }
    }

    /// A span of so many ticks of 90 kHz for all renditions.
    fn span(&mut self, ticks: i64, discontinuity: bool, has: [Has; 3]) {
        for (index, has) in has.into_iter().enumerate() {
            self.span_of(index, ticks, discontinuity, has);
        }
        self.at += ticks;
        self.next += 1;
    }

    fn span_of(&mut self, index: usize, ticks: i64, discontinuity: bool, has: Has) {
        let at = MediaTime::new(self.at, Timescale::MPEG);
        let end = MediaTime::new(self.at + ticks, Timescale::MPEG);
        let (track, window) = &mut self.windows[index];
        let scale = track.timescale;
        let is_video = track.codec.video().is_some();
        // Pictures are decoded before they are shown; sound comes in whole frames.
        let moved = |time: MediaTime| {
            let time = time.to_scale(scale).ticks();
            MediaTime::new(if is_video { time - 6_000 } else { (time + 512) / 1_024 * 1_024 }, scale)
        };
        let (start, duration) = (moved(at), moved(end).since(moved(at)).unwrap());
        let shown = start.plus(MediaDuration::new(track.delay, scale));
        let (init, is_gap) = match has {
            Has::Media { init } => (init, false),
            Has::Gap => (99, true),
        };
        let part = Part { duration, independent: true, bytes: 0..4, data: Bytes::from_static(b"data") };
        window.append(Segment {
            sequence: MediaSequence(self.next),
            init: Arc::new(Init { number: init, data: Bytes::new(), track: track.clone() }),
            at,
            start,
            duration,
            wall: UNIX_EPOCH + ZERO + Duration::from_micros(shown.micros().unsigned_abs()),
            discontinuity,
            independent: true,
            key_frame: None,
            parts: if is_gap { Vec::new() } else { vec![part] },
            expects_more: false,
        });
    }

    fn written(&self) -> String {
        write(&Moment::of(&self.presentation).unwrap(), "/time", &uri)
    }

    fn end(&mut self) {
        self.windows.iter_mut().for_each(|(_, window)| window.set_ended(true));
    }
}

fn uri(pattern: Pattern) -> String {
    match pattern {
        Pattern::Init(number) => format!("$RepresentationID$/init-{number}.mp4"),
        Pattern::Segment => "$RepresentationID$/$Number$.m4s".to_owned(),
    }
}

const ALL: [Has; 3] = [Has::Media { init: 0 }; 3];

fn parsed(text: &str) -> MPD {
    let mpd = dash_mpd_core::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(dash_mpd_core::check_conformity(&mpd).is_empty(), "{text}");
    check_order(text);
    mpd
}

/// The schema wants elements in these orders; all of those that are written here.
fn check_order(text: &str) {
    let orders: [(&str, &[&str]); 7] = [
        ("MPD", &["Period", "UTCTiming"]),
        ("Period", &["AdaptationSet"]),
        ("AdaptationSet", &["Role", "SegmentTemplate", "Representation"]),
        ("Representation", &["AudioChannelConfiguration", "SegmentTemplate"]),
        ("SegmentTemplate", &["SegmentTimeline"]),
        ("SegmentTimeline", &["S"]),
        ("", &["MPD"]),
    ];
    // What is open, and how far its order has gone.
    let mut open = vec![("", 0)];
    for tag in text.lines().map(str::trim).filter(|line| line.starts_with('<') && !line.starts_with("<?")) {
        if let Some(name) = tag.strip_prefix("</") {
            let (opened, _) = open.pop().unwrap();
            assert_eq!(name, format!("{opened}>"));
            continue;
        }
        let name = tag[1..].split([' ', '>', '/']).next().unwrap();
        let (parent, reached) = open.last_mut().unwrap();
        let (_, order) = orders.iter().find(|(element, _)| element == parent).unwrap();
        let place = order.iter().position(|element| *element == name);
        let place = place.unwrap_or_else(|| panic!("{name} within {parent}"));
        assert!(place >= *reached, "{name} comes too late in {parent}: {text}");
        *reached = place;
        if !tag.ends_with("/>") {
            open.push((name, 0));
        }
    }
    assert_eq!(open.len(), 1, "{text}");
}

/// Each representation's name, template and segments: number, time, ticks.
type Listed = (String, SegmentTemplate, Vec<(u64, u64, u64)>);

fn listed(set: &AdaptationSet) -> Vec<Listed> {
    let mut all = Vec::new();
    for representation in &set.representations {
        let template = representation.SegmentTemplate.as_ref().or(set.SegmentTemplate.as_ref()).unwrap().clone();
        let (mut number, mut time, mut segments) = (template.startNumber.unwrap(), 0, Vec::new());
        for entry in &template.SegmentTimeline.as_ref().unwrap().segments {
            assert!(entry.t.is_none_or(|given| given >= time), "entries overlap");
            time = entry.t.unwrap_or(time);
            for _ in 0..=entry.r.unwrap_or(0) {
                segments.push((number, time, entry.d));
                (number, time) = (number + 1, time + entry.d);
            }
        }
        all.push((representation.id.clone().unwrap(), template, segments));
    }
    all
}

#[test]
fn an_mpd_says_what_its_segments_are() {
    let mut rig = Rig::new(Duration::from_secs(60));
    rig.span(180_000, false, ALL);
    rig.span(180_000, false, ALL);
    rig.span(90_000, false, ALL);
    let text = rig.written();
    parsed(&text);
    assert_eq!(
        text,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" \
         profiles=\"urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019\" type=\"dynamic\" \
         availabilityStartTime=\"2023-11-14T22:13:20.250000Z\" publishTime=\"2023-11-14T22:13:35.250033Z\" \
         minimumUpdatePeriod=\"PT2S\" minBufferTime=\"PT2S\" timeShiftBufferDepth=\"PT8S\" \
         suggestedPresentationDelay=\"PT8S\">\n \
         <Period id=\"5\" start=\"PT10S\">\n  \
         <AdaptationSet id=\"0\" contentType=\"video\" par=\"4:3\" maxWidth=\"320\" maxHeight=\"240\" \
         maxFrameRate=\"30000/1001\" segmentAlignment=\"true\" mimeType=\"video/mp4\" startWithSAP=\"1\">\n   \
         <Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>\n   \
         <SegmentTemplate timescale=\"90000\" presentationTimeOffset=\"900000\" \
         initialization=\"$RepresentationID$/init-0.mp4\" media=\"$RepresentationID$/$Number$.m4s\" \
         startNumber=\"5\">\n    \
         <SegmentTimeline>\n     <S t=\"900003\" d=\"180000\" r=\"1\"/>\n     <S d=\"90000\"/>\n    \
         </SegmentTimeline>\n   </SegmentTemplate>\n   \
         <Representation id=\"source\" codecs=\"avc1.42c00d\" bandwidth=\"1000000\" width=\"320\" height=\"240\" \
         sar=\"1:1\" frameRate=\"30000/1001\">\n   </Representation>\n   \
         <Representation id=\"low\" codecs=\"avc1.42c00d\" bandwidth=\"1000000\" width=\"320\" height=\"240\" \
         sar=\"1:1\" frameRate=\"30000/1001\">\n   </Representation>\n  </AdaptationSet>\n  \
         <AdaptationSet id=\"1\" contentType=\"audio\" lang=\"eng\" segmentAlignment=\"true\" mimeType=\"audio/mp4\" \
         startWithSAP=\"1\">\n   \
         <Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>\n   \
         <SegmentTemplate timescale=\"48000\" presentationTimeOffset=\"480000\" \
         initialization=\"$RepresentationID$/init-0.mp4\" media=\"$RepresentationID$/$Number$.m4s\" \
         startNumber=\"5\">\n    \
         <SegmentTimeline>\n     <S t=\"480256\" d=\"96256\"/>\n     <S d=\"95232\"/>\n     <S d=\"48128\"/>\n    \
         </SegmentTimeline>\n   </SegmentTemplate>\n   \
         <Representation id=\"audio\" codecs=\"mp4a.40.2\" bandwidth=\"1000000\" audioSamplingRate=\"48000\">\n    \
         <AudioChannelConfiguration schemeIdUri=\"urn:mpeg:mpegB:cicp:ChannelConfiguration\" value=\"2\"/>\n   \
         </Representation>\n  </AdaptationSet>\n </Period>\n \
         <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" value=\"/time\"/>\n \
         <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-head:2014\" value=\"/time\"/>\n</MPD>\n"
    );
}

#[test]
fn only_what_every_rendition_has_is_listed() {
    let mut rig = Rig::new(Duration::from_secs(60));
    rig.span(180_000, false, ALL);
    let before = rig.written();
    for (index, has) in ALL.into_iter().enumerate().take(2) {
        rig.span_of(index, 180_000, false, has);
        assert_eq!(rig.written(), before);
    }
    rig.span_of(2, 180_000, false, ALL[2]);
    assert_ne!(rig.written(), before);
}

#[test]
fn an_end_is_static_and_moves_nothing() {
    let mut rig = Rig::new(Duration::from_secs(60));
    rig.span(180_000, false, ALL);
    let live = rig.written();
    rig.end();
    let text = rig.written();
    let mpd = parsed(&text);
    assert_eq!(mpd.mpdtype.as_deref(), Some("static"));
    assert_eq!(mpd.mediaPresentationDuration, Some(Duration::from_micros(12_000_033)));
    assert_eq!((mpd.minimumUpdatePeriod, mpd.UTCTiming.len()), (None, 0));
    let periods = |text: &str| text[text.find("<Period").unwrap()..text.find("</Period>").unwrap()].to_owned();
    assert_eq!(periods(&text), periods(&live));
}

#[test]
fn a_hole_in_one_rendition_makes_a_period_without_it() {
    let mut rig = Rig::new(Duration::from_secs(60));
    let [media, ..] = ALL;
    rig.span(180_000, false, ALL);
    rig.span(180_000, false, [media, Has::Gap, media]);
    rig.span(180_000, false, ALL);
    let mpd = parsed(&rig.written());
    let ids: Vec<_> = mpd
        .periods
        .iter()
        .map(|period| {
            let names = listed(&period.adaptations[0]).into_iter().map(|(name, ..)| name).collect::<Vec<_>>();
            (period.id.clone().unwrap(), period.start.unwrap().as_millis(), names.join(" "))
        })
        .collect();
    let expected = [("5", 10_000, "source low"), ("6", 12_000, "source"), ("7", 14_000, "source low")];
    assert_eq!(ids, expected.map(|(id, start, names)| (id.to_owned(), start, names.to_owned())));
}

#[test]
fn clocks_that_share_no_millisecond_start_where_both_can_say_it() {
    let mut rig = Rig::new(Duration::from_secs(60));
    let scale = Timescale::new(44_100).unwrap();
    rig.windows[2].0.timescale = scale;
    rig.at = 900_000 + 1_350;
    rig.span(180_000, false, ALL);
    let mpd = parsed(&rig.written());
    let period = &mpd.periods[0];
    assert_eq!(period.start, Some(Duration::from_millis(10_010)));
    let offset = |set: &AdaptationSet| set.SegmentTemplate.as_ref().unwrap().presentationTimeOffset;
    assert_eq!((offset(&period.adaptations[0]), offset(&period.adaptations[1])), (Some(900_900), Some(441_441)));
}

fn has() -> impl Strategy<Value = Has> {
    prop_oneof![6 => Just(Has::Media { init: 0 }), 1 => Just(Has::Media { init: 1 }), 1 => Just(Has::Gap)]
}

proptest! {
    // Each case writes and reads dozens of MPDs.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_comes_times_and_numbers_are_the_segments_and_never_move(
        spans in prop::collection::vec(
            (100_000i64..200_000, prop::bool::weighted(0.1), 0i64..100_000, [has(), has(), has()]), 4..40),
        secs in 4u64..30,
    ) {
        let mut rig = Rig::new(Duration::from_secs(secs));
        let mut published = None;
        // Of every period that was seen: its start. Of every segment: time and ticks.
        let mut starts = std::collections::HashMap::new();
        let mut times = std::collections::HashMap::new();
        for (ticks, discontinuity, missing, has) in spans {
            if discontinuity {
                rig.at += missing;
            }
            rig.span(ticks, discontinuity, has);
            let text = rig.written();
            prop_assert_eq!(&rig.written(), &text);
            let mpd = parsed(&text);
            prop_assert_eq!(mpd.availabilityStartTime, Some((UNIX_EPOCH + ZERO).into()));
            prop_assert!(mpd.publishTime >= published, "{text}");
            published = mpd.publishTime;
            let mut before = None;
            for period in &mpd.periods {
                let start = period.start.unwrap();
                prop_assert!(before < Some(start), "periods are in order: {text}");
                before = Some(start);
                prop_assert_eq!(*starts.entry(period.id.clone()).or_insert(start), start);
                let mut numbers: Option<Vec<u64>> = None;
                for set in &period.adaptations {
                    for (name, template, segments) in listed(set) {
                        let scale = template.timescale.unwrap();
                        let offset = template.presentationTimeOffset.unwrap();
                        prop_assert_eq!(u128::from(offset) * 1_000, start.as_millis() * u128::from(scale));
                        let own: Vec<u64> = segments.iter().map(|(number, ..)| *number).collect();
                        prop_assert_eq!(numbers.get_or_insert_with(|| own.clone()), &own, "the same in all");
                        for (number, time, ticks) in segments {
                            let seen = times.entry((name.clone(), number)).or_insert((time, ticks));
                            prop_assert_eq!(*seen, (time, ticks), "{} {}", name, number);
                            check_segment(&rig, &name, number, time, ticks, &template);
                        }
                    }
                }
            }
        }
    }
}

/// What is listed is what the window has: no gap, its time, its length, its header.
fn check_segment(rig: &Rig, name: &str, number: u64, time: u64, ticks: u64, template: &SegmentTemplate) {
    let offered = rig.presentation.rendition(&name.parse().unwrap()).unwrap();
    let crate::window::Lookup::Here(segment) = offered.reader.now().find(MediaSequence(number)) else {
        panic!("{name} {number} is not there");
    };
    assert!(!segment.is_gap());
    let delay = if name == "audio" { 0 } else { 6_000 };
    assert_eq!(i64::try_from(time).unwrap(), segment.start.ticks() + delay);
    assert_eq!(ticks, segment.duration.ticks());
    let init = format!("$RepresentationID$/init-{}.mp4", segment.init.number);
    assert_eq!(template.initialization.as_deref(), Some(init.as_str()));
}
