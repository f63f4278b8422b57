//! Answers for what a catalog holds, without a socket.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use tower::ServiceExt;

use super::*;
use crate::container::fmp4::{self, Sample};
use crate::media::testing::{audio_track, video_track};
use crate::media::{
    Bitrate, Init, MediaDuration, MediaSequence, MediaTime, Part, Rendition, Segment, StreamName, Targets, Track,
};
use crate::window::{self, State as StreamState, Texts, Window};

/// A stream `cam` of one rendition each, of which the test adds segments.
struct Rig {
    router: Router,
    video: Window,
    audio: Window,
    presentation: watch::Sender<Arc<Presentation>>,
    stats: Arc<Stats>,
}

fn window(length: Duration) -> Window {
    let config = window::Config { length, ..window::Config::default() };
    Window::new(&config, Epoch(7), Targets { segment_secs: 2, part_millis: None }, 0)
}

fn offered(id: &str, track: Track, window: &Window) -> Offered {
    let rendition = Rendition {
        id: id.parse().unwrap(),
        track,
        peak: Bitrate::new(1_000_000),
        mean: Bitrate::new(900_000),
        size: None,
        frame_rate: None,
    };
    Offered { rendition, reader: window.reader(), shed: false }
}

impl Rig {
    fn new(state: StreamState) -> Self {
        let (video, audio) = (window(Duration::from_secs(6)), window(Duration::from_secs(6)));
        let name: StreamName = "cam".parse().unwrap();
        let presentation = watch::Sender::new(Arc::new(Presentation {
            name: name.clone(),
            epoch: Epoch(7),
            since: UNIX_EPOCH,
            state,
            publisher: None,
            renditions: vec![offered("source", video_track(), &video), offered("audio", audio_track(), &audio)],
            texts: Texts::default(),
            mpd: Arc::default(),
        }));
        let catalog = Catalog::default();
        catalog.insert(&name, &presentation.subscribe());
        let stats = Arc::<Stats>::default();
        let origin = Origin::new(&Config::default(), catalog, Bytes::from_static(b"page"), Arc::clone(&stats));
        let router = Router::new().fallback(handle).with_state(origin);
        Self { router, video, audio, presentation, stats }
    }

    async fn get(&self, path: &str) -> Response<Body> {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn status(&self, path: &str) -> (u16, String) {
        let response = self.get(path).await;
        (response.status().as_u16(), response.headers()[CACHE_CONTROL].to_str().unwrap().to_owned())
    }
}

fn segment(number: u64, track: Track, is_gap: bool) -> Segment {
    let ticks = u64::from(track.timescale.get()) * 2;
    let duration = MediaDuration::new(ticks, track.timescale);
    // One coded slice, or one frame.
    let data = Bytes::from_static(&[0, 0, 0, 2, 0x65, 0x88]);
    let sample = Sample { duration: u32::try_from(ticks).unwrap(), composition_offset: 0, sync: true, data };
    let (data, _) = fmp4::chunk(1, number * ticks, &[sample], true);
    let part = Part { duration, independent: true, bytes: 0..data.len() as u64, data };
    Segment {
        sequence: MediaSequence(number),
        at: MediaTime::zero(track.timescale),
        start: MediaTime::zero(track.timescale),
        init: Arc::new(Init { number: 0, data: fmp4::header(&track), track }),
        duration,
        wall: UNIX_EPOCH,
        discontinuity: false,
        independent: true,
        key_frame: None,
        parts: if is_gap { Vec::new() } else { vec![part] },
        expects_more: false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_playlist_of_a_starting_stream_is_held_and_then_refused_for_a_while() {
    let rig = Rig::new(StreamState::Starting);
    assert_eq!(rig.status("/cam/index.mpd").await, (503, "no-store".to_owned()));
    let response = rig.get("/cam/index.m3u8").await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    assert_eq!(response.headers()[RETRY_AFTER], "1");

    let becomes_live = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let now = Arc::clone(&rig.presentation.borrow());
        rig.presentation.send_replace(Arc::new(Presentation {
            name: now.name.clone(),
            epoch: now.epoch,
            since: now.since,
            state: StreamState::Live,
            publisher: None,
            renditions: now.renditions.clone(),
            texts: Texts::default(),
            mpd: Arc::default(),
        }));
    };
    let (response, ()) = tokio::join!(rig.get("/cam/index.m3u8"), becomes_live);
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn segments_come_and_go_as_the_contract_says() {
    let mut rig = Rig::new(StreamState::Live);
    for number in 0..10 {
        rig.video.append(segment(number, video_track(), number == 8));
    }
    let immutable = "public, max-age=31536000, immutable";
    for (path, status, control) in [
        ("/cam/_/e7/source/9.m4s", 200, immutable),
        ("/cam/_/e7/source/init-0.mp4", 200, immutable),
        // Not listed any more, and kept for one more window.
        ("/cam/_/e7/source/5.m4s", 200, immutable),
        ("/cam/_/e7/source/0.m4s", 410, "public, max-age=3600"),
        ("/cam/_/e7/source/8.m4s", 404, "public, max-age=1"),
        ("/cam/_/e7/source/10.m4s", 404, "public, max-age=1"),
        ("/cam/_/e7/source/init-1.mp4", 404, "public, max-age=1"),
        ("/cam/_/e8/source/9.m4s", 404, "public, max-age=1"),
        ("/cam/_/e6/source/9.m4s", 410, "public, max-age=3600"),
        ("/cam/_/source.m3u8", 200, "public, max-age=1"),
        ("/cam/_/nothing.m3u8", 404, "public, max-age=1"),
    ] {
        assert_eq!(rig.status(path).await, (status, control.to_owned()), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ts_segment_waits_for_its_sound_and_is_refused_for_a_while_without_it() {
    let mut rig = Rig::new(StreamState::Live);
    rig.video.append(segment(0, video_track(), false));
    assert_eq!(rig.status("/cam/_/e7/source/0.ts").await, (503, "no-store".to_owned()));
    let (answer, ()) = {
        let router = rig.router.clone();
        let request = Request::builder().uri("/cam/_/e7/source/0.ts").body(Body::empty()).unwrap();
        tokio::join!(router.oneshot(request), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            rig.audio.append(segment(0, audio_track(), false));
        })
    };
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 200);
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    let has = |pid: u8| body.chunks(188).any(|packet| packet[1] & 0x1F == 1 && packet[2] == pid);
    assert!(has(0) && has(1), "pictures and sound");
}

#[tokio::test]
async fn a_segment_in_parts_is_sent_as_one_and_cut_as_one() {
    let mut rig = Rig::new(StreamState::Live);
    let mut parted = segment(0, video_track(), false);
    let duration = parted.duration;
    let part = |bytes: std::ops::Range<u64>, data: &'static [u8]| Part {
        duration,
        independent: true,
        bytes,
        data: Bytes::from_static(data),
    };
    parted.parts = vec![part(0..4, b"0123"), part(4..7, b"456"), part(7..10, b"789")];
    rig.video.append(parted);
    for (range, expected) in [(None, "0123456789"), (Some("bytes=2-7"), "234567"), (Some("bytes=4-6"), "456")] {
        let mut request = Request::builder().uri("/cam/_/e7/source/0.m4s");
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let answer = rig.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let body = axum::body::to_bytes(answer.into_body(), 100).await.unwrap();
        assert_eq!(body, expected);
    }
}

#[tokio::test]
async fn an_mpd_is_rendered_once_for_all_who_ask_and_again_when_every_rendition_has_more() {
    let mut rig = Rig::new(StreamState::Live);
    assert_eq!(rig.status("/cam/index.mpd").await.0, 503);
    let mut etags = Vec::new();
    for number in 0..2 {
        rig.video.append(segment(number, video_track(), false));
        rig.audio.append(segment(number, audio_track(), false));
        let answer = rig.get("/cam/index.mpd").await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &"application/dash+xml".parse().unwrap())
        );
        assert_eq!(rig.get("/cam/index.mpd").await.headers()["etag"], answer.headers()["etag"]);
        assert_eq!(rig.stats.renderings.load(Ordering::Relaxed), number + 1);
        etags.push(answer.headers()["etag"].clone());
    }
    assert_ne!(etags[0], etags[1]);
    // The sound of it is not there yet.
    rig.video.append(segment(2, video_track(), false));
    let request = Request::builder().uri("/cam/index.mpd").header("if-none-match", &etags[1]);
    let answer = rig.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 304);
    assert_eq!(rig.stats.renderings.load(Ordering::Relaxed), 2);
    rig.video.set_ended(true);
    rig.audio.set_ended(true);
    let body = rig.get("/cam/index.mpd").await.into_body();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    assert!(std::str::from_utf8(&body).unwrap().contains("type=\"static\""));
}
