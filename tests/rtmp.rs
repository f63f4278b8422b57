//! RTMP publishers of other people's making, and some that misbehave, against the real listener.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use headwater::bitstream::amf0::Value;
use headwater::ingest::rtmp::{Config, Stats, bind};
use headwater::ingest::{Publish, Refusal, Source};
use headwater::media::{AccessUnit, Codec, Event, Size, Track};
use headwater::runtime::{Clock, Tasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

struct Origin {
    address: SocketAddr,
    door: mpsc::Receiver<Publish>,
    stats: Arc<Stats>,
    _tasks: Tasks,
}

async fn origin() -> Origin {
    let config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() };
    let listener = bind(config).unwrap();
    let address = listener.local_addr().unwrap();
    let (open, door) = mpsc::channel(4);
    let (tasks, stats) = (Tasks::new(), Arc::new(Stats::default()));
    tasks.spawn("listener", listener.run(open, tasks.clone(), Clock, Arc::clone(&stats)));
    Origin { address, door, stats, _tasks: tasks }
}

impl Origin {
    fn url(&self, name: &str) -> String {
        format!("rtmp://{}/{name}", self.address)
    }

    async fn publisher(&mut self) -> Publish {
        self.door.recv().await.unwrap()
    }
}

fn ffmpeg(arguments: &str, url: &str) -> Child {
    Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin"])
        .args(arguments.split_whitespace())
        .args(["-f", "flv", url])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for it without keeping the listener from running.
async fn finished(child: Child) -> (bool, String) {
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

async fn collect(mut source: Source) -> (Vec<Vec<Track>>, Vec<AccessUnit>) {
    let (mut tracks, mut units) = (Vec::new(), Vec::new());
    while let Some(event) = source.next().await {
        match event {
            Event::Tracks(all) => tracks.push(all.to_vec()),
            Event::Unit(unit) => units.push(unit),
            Event::Gap => panic!("nothing was lost"),
        }
    }
    (tracks, units)
}

const PICTURES: &str = "-f lavfi -i testsrc=s=320x180:r=25:d=4 -c:v libx264 -preset ultrafast -bf 0 -g 50";
const BOTH: &str = "-f lavfi -i testsrc=s=320x180:r=25:d=4 -f lavfi -i sine=r=48000:d=4 \
                    -c:v libx264 -preset veryfast -bf 2 -g 50 -c:a aac -ac 2";

#[tokio::test]
async fn ffmpeg_publishes_h264_and_aac() {
    let mut origin = origin().await;
    let encoder = ffmpeg(BOTH, &origin.url("live/cam1?token=secret"));
    let publish = origin.publisher().await;
    assert_eq!((publish.name.as_str(), publish.protocol), ("live/cam1", "rtmp"));
    let (tracks, units) = collect(publish.accept().unwrap()).await;
    let (well, complaints) = finished(encoder).await;
    assert!(well, "{complaints}");

    assert_eq!(tracks.len(), 1, "the first event names all tracks, and nothing changes");
    let [video, audio] = tracks[0].as_slice() else { panic!("{tracks:?}") };
    assert_eq!(video.codec.video().unwrap().size, Size { width: 320, height: 180 });
    assert!(matches!(&audio.codec, Codec::Aac(aac) if aac.audio.sample_rate == 48_000 && aac.audio.channels == 2));
    let pictures: Vec<_> = units.iter().filter(|unit| unit.track == video.id).collect();
    assert_eq!(pictures.len(), 100);
    assert_eq!(pictures.iter().filter(|unit| unit.random_access).count(), 2);
    assert!(pictures[0].random_access && pictures[50].random_access);
    assert!(pictures.windows(2).all(|pair| pair[0].dts < pair[1].dts), "decoding times rise");
    assert!(units.iter().all(|unit| unit.pts >= unit.dts));
    let sounds = units.iter().filter(|unit| unit.track == audio.id).count();
    assert!((187..=190).contains(&sounds), "{sounds} frames of 1024 samples in 4 s");
    // Parameter sets are in the record; the first NAL unit of a key frame is SEI or IDR.
    assert!(pictures.iter().all(|unit| !matches!(unit.data[4] & 0x1F, 7..=9)));
}

#[tokio::test]
async fn gstreamer_publishes_h264_and_aac() {
    let mut origin = origin().await;
    let pipeline = format!(
        "videotestsrc num-buffers=75 ! video/x-raw,width=320,height=180,framerate=25/1 ! \
         x264enc tune=zerolatency key-int-max=25 speed-preset=ultrafast ! h264parse ! queue ! flvmux name=mux streamable=true ! \
         rtmp2sink location={} audiotestsrc num-buffers=130 ! audioconvert ! audio/x-raw,rate=44100,channels=2 ! \
         avenc_aac ! aacparse ! queue ! mux.",
        origin.url("gst/one")
    );
    let encoder = Command::new("gst-launch-1.0")
        .arg("-q")
        .args(pipeline.split_whitespace())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let publish = origin.publisher().await;
    assert_eq!(publish.name.as_str(), "gst/one");
    let (tracks, units) = collect(publish.accept().unwrap()).await;
    let (well, complaints) = finished(encoder).await;
    assert!(well, "{complaints}");
    let labels: Vec<_> = tracks[0].iter().map(|track| track.codec.label()).collect();
    assert_eq!((tracks.len(), labels), (1, vec!["H.264", "AAC"]));
    assert_eq!(units.iter().filter(|unit| unit.track == tracks[0][0].id).count(), 75);
}

#[tokio::test]
async fn pictures_without_sound_and_mp3_are_taken() {
    let mut origin = origin().await;
    let encoder = ffmpeg(PICTURES, &origin.url("mute"));
    let (tracks, units) = collect(origin.publisher().await.accept().unwrap()).await;
    assert!(finished(encoder).await.0);
    assert_eq!((tracks[0].len(), units.len()), (1, 100));

    let encoder = ffmpeg("-f lavfi -i sine=r=44100:d=3 -c:a libmp3lame -ac 2", &origin.url("radio"));
    let (tracks, units) = collect(origin.publisher().await.accept().unwrap()).await;
    assert!(finished(encoder).await.0);
    assert_eq!(tracks[0][0].codec.label(), "MP3");
    assert!(units.len() > 100);
}

#[tokio::test]
async fn a_second_publisher_of_a_name_is_turned_away_and_told_so() {
    let mut origin = origin().await;
    let encoder = ffmpeg(PICTURES, &origin.url("live/cam1"));
    origin.publisher().await.refuse(Refusal::Busy);
    let (well, complaints) = finished(encoder).await;
    assert!(!well && complaints.contains("the stream has a publisher already"), "{complaints}");
    assert_eq!(origin.stats.refused.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_name_that_cannot_be_a_stream_is_refused_with_the_reason() {
    let origin = origin().await;
    let (well, complaints) = finished(ffmpeg(PICTURES, &origin.url("live/.hidden"))).await;
    assert!(!well && complaints.contains("does not start with '.'"), "{complaints}");
}

#[tokio::test]
async fn playing_over_rtmp_is_refused_with_the_remedy() {
    let origin = origin().await;
    let player = Command::new("ffprobe")
        .args(["-v", "error", &origin.url("live/cam1")])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (well, complaints) = finished(player).await;
    assert!(!well && complaints.contains("play the stream over HLS"), "{complaints}");
}

#[tokio::test]
async fn codecs_that_cannot_be_packaged_are_left_out_and_the_rest_goes_on() {
    let mut origin = origin().await;
    let pictures_in_sorenson = "-f lavfi -i testsrc=s=320x180:r=25:d=3 -f lavfi -i sine=r=44100:d=3 -c:v flv -c:a aac";
    let encoder = ffmpeg(pictures_in_sorenson, &origin.url("old"));
    let (tracks, units) = collect(origin.publisher().await.accept().unwrap()).await;
    assert!(finished(encoder).await.0);
    assert_eq!((tracks[0].len(), tracks[0][0].codec.label()), (1, "AAC"));
    assert!(units.len() > 100);
    assert_eq!(origin.stats.skipped_tags.load(Ordering::Relaxed), 75);
}

#[tokio::test]
async fn a_stream_that_lets_go_ends_the_connection() {
    let mut origin = origin().await;
    let endless = format!("-re {PICTURES}").replace(":d=4", "");
    let encoder = ffmpeg(&endless, &origin.url("live/cam1"));
    let mut source = origin.publisher().await.accept().unwrap();
    assert!(matches!(source.next().await, Some(Event::Tracks(_))));
    drop(source);
    assert!(!finished(encoder).await.0, "ffmpeg sees that the connection is gone");
}

/// A client whose every byte is ours.
struct Client(TcpStream);

impl Client {
    async fn connect(origin: &Origin) -> Self {
        Self(TcpStream::connect(origin.address).await.unwrap())
    }

    async fn open(origin: &Origin) -> Self {
        let mut client = Self::connect(origin).await;
        client.0.write_all(&[3]).await.unwrap();
        client.0.write_all(&[0; 1536]).await.unwrap();
        let mut answer = vec![0; 1 + 2 * 1536];
        client.0.read_exact(&mut answer).await.unwrap();
        client.0.write_all(&answer[1..1537]).await.unwrap();
        client
    }

    async fn message(&mut self, kind: u8, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![2, 0, 0, 0, length[1], length[2], length[3], kind, 0, 0, 0, 0];
        bytes.extend_from_slice(payload);
        self.0.write_all(&bytes).await.unwrap();
    }

    async fn command(&mut self, values: &[Value]) {
        let mut payload = BytesMut::new();
        values.iter().for_each(|value| value.write(&mut payload));
        assert!(payload.len() <= 128, "one chunk");
        self.message(20, &payload).await;
    }

    async fn publish(&mut self, app: &str, key: &str) {
        self.command(&["connect".into(), 1.0.into(), Value::object([("app", app.into())])]).await;
        self.command(&["publish".into(), 0.0.into(), Value::Null, key.into()]).await;
    }

    /// Everything until the server closes.
    async fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest).await;
        rest
    }
}

/// Waits for a count; the server has closed by then, or is about to have.
async fn until(count: &std::sync::atomic::AtomicU64, value: u64) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while count.load(Ordering::Relaxed) < value {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_is_not_rtmp_ends_its_own_connection_only() {
    let mut origin = origin().await;
    let encoder = ffmpeg(BOTH, &origin.url("good"));
    let source = origin.publisher().await.accept().unwrap();

    let mut http = Client::connect(&origin).await;
    http.0.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    http.rest().await;
    let mut rubbish = Client::open(&origin).await;
    rubbish.0.write_all(&[0xFF; 4096]).await.unwrap();
    rubbish.rest().await;
    // Set Chunk Size 2 GiB, then a message of 16 MiB less one.
    let mut huge = Client::open(&origin).await;
    huge.message(1, &0x7FFF_FFFF_u32.to_be_bytes()).await;
    huge.0.write_all(&[4, 0, 0, 0, 0xFF, 0xFF, 0xFF, 9, 1, 0, 0, 0]).await.unwrap();
    huge.rest().await;
    let mut zero = Client::open(&origin).await;
    zero.message(1, &[0; 4]).await;
    zero.rest().await;
    until(&origin.stats.protocol_errors, 4).await;

    let (_, units) = collect(source).await;
    assert!(finished(encoder).await.0);
    assert!(units.len() > 280);
}

#[tokio::test]
async fn a_window_of_zero_means_no_acknowledgements_and_pings_are_answered() {
    let origin = origin().await;
    let mut client = Client::open(&origin).await;
    client.message(5, &[0; 4]).await;
    client.message(4, &[0, 6, 1, 2, 3, 4]).await;
    let mut answer = [0; 18];
    client.0.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[7], 4, "the first message that comes back is user control");
    assert_eq!(answer[12..], [0, 7, 1, 2, 3, 4]);
    // A chunk size of one, and a window of one byte: slow, and well.
    client.message(1, &1_u32.to_be_bytes()).await;
    let mut bytes = vec![2, 0, 0, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0];
    bytes.extend([0xC2, 0, 0xC2, 0, 0xC2, 1]);
    client.0.write_all(&bytes).await.unwrap();
    client.0.read_exact(&mut answer[..16]).await.unwrap();
    assert_eq!(answer[7], 3, "an acknowledgement");
}

#[tokio::test]
async fn a_handshake_that_stalls_is_given_up() {
    let origin = origin().await;
    let mut client = Client::connect(&origin).await;
    client.0.write_all(&[3, 0, 0]).await.unwrap();
    until(&origin.stats.connections, 1).await;
    tokio::time::pause();
    assert!(client.rest().await.is_empty());
    until(&origin.stats.dropped, 1).await;
}

// Time is paused once nothing more is sent: it then jumps to the deadline, and not past bytes that are under way.
#[tokio::test]
async fn a_connection_that_publishes_nothing_is_given_up() {
    let origin = origin().await;
    let client = Client::open(&origin).await;
    tokio::time::pause();
    client.rest().await;
    until(&origin.stats.dropped, 1).await;
}

#[tokio::test]
async fn a_publisher_that_falls_silent_is_let_go() {
    let mut origin = origin().await;
    let mut client = Client::open(&origin).await;
    client.publish("live", "cam1").await;
    let mut source = origin.publisher().await.accept().unwrap();
    tokio::time::pause();
    assert!(source.next().await.is_none(), "the stream sees that it has gone");
    client.rest().await;
    until(&origin.stats.dropped, 1).await;
}

#[tokio::test]
async fn a_publisher_that_leaves_as_obs_does_ends_its_stream_before_its_connection() {
    let mut origin = origin().await;
    let mut client = Client::open(&origin).await;
    client.publish("live", "cam1").await;
    let mut source = origin.publisher().await.accept().unwrap();
    client.message(8, &[0xAF, 0, 0x12, 0x10]).await;
    client.message(8, &[0xAF, 1, 1, 2, 3]).await;
    client.command(&["FCUnpublish".into(), 6.0.into(), Value::Null, "cam1".into()]).await;
    client.command(&["deleteStream".into(), 7.0.into(), Value::Null, 1.0.into()]).await;
    assert!(matches!(source.next().await, Some(Event::Tracks(_))), "what was held back comes out");
    assert!(matches!(source.next().await, Some(Event::Unit(_))));
    assert!(source.next().await.is_none());
    // The connection is still there, and may publish again.
    client.command(&["publish".into(), 0.0.into(), Value::Null, "cam2".into()]).await;
    assert_eq!(origin.publisher().await.name.as_str(), "live/cam2");
    client.0.shutdown().await.unwrap();
    client.rest().await;
    assert_eq!(origin.stats.dropped.load(Ordering::Relaxed), 0);
}

#[test]
fn the_configuration_is_its_default_where_nothing_is_said_and_refuses_what_it_does_not_know() {
    assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
    let written = toml::to_string(&Config::default()).unwrap();
    assert!(written.contains("idle_timeout = \"10s\""), "{written}");
    assert_eq!(toml::from_str::<Config>(&written).unwrap(), Config::default());
    assert!(toml::from_str::<Config>("idle = 3").is_err());
}
