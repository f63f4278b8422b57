//! Enhanced RTMP, by a new ffmpeg: codecs that FLV never had, and several sounds at once.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::playlist;
use crate::rig::{Server, ffprobe};

const FAST: &str =
    "[transcode]\nladder = [\"source\", { height = 90, preset = \"ultrafast\" }]\n[segment]\ntarget = \"1s\"\n";

struct Publisher(Child);

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn push(server: &Server, name: &str, codecs: &str) -> Publisher {
    let ffmpeg = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/venv/bin/ffmpeg");
    assert!(ffmpeg.exists(), "{} is not there: run make setup-test", ffmpeg.display());
    let input = "-re -f lavfi -i testsrc2=s=320x180:r=25 -f lavfi -i sine=r=48000 -f lavfi -i sine=f=880:r=44100";
    let child = Command::new(ffmpeg)
        .args(["-v", "error", "-nostdin"])
        .args(input.split(' '))
        .args(["-t", "60", "-pix_fmt", "yuv420p"])
        .args(codecs.split(' '))
        .args(["-f", "flv", &format!("{}/{name}", server.rtmp)])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Publisher(child)
}

/// The copied picture and the rung of a stream, as they are announced and as ffprobe sees them.
fn check(codecs: &str, announced: &str, pictures: &str) -> Server {
    let server = Server::start(FAST);
    let _publisher = push(&server, "new", codecs);
    let text = server.wait_for("/new/index.m3u8", |_| true);
    let master = playlist::multivariant(&text);
    let codecs = master.variants[0].codecs.clone().unwrap();
    assert!(codecs.starts_with(announced) && codecs.ends_with(",mp4a.40.2"), "{codecs}");
    for rendition in ["source", "90p", "audio"] {
        let list = playlist::of(&server, "new", rendition, 3);
        assert!(list.segments.iter().all(|segment| (segment.duration - 1.0).abs() < 0.06), "{rendition}: {list:?}");
    }
    let shown = "stream=codec_name,width,height";
    assert_eq!(ffprobe(&server.url("/new/_/source.m3u8"), shown), [format!("{pictures},320,180")]);
    assert_eq!(ffprobe(&server.url("/new/_/90p.m3u8"), shown), ["h264,160,90"]);
    assert_eq!(ffprobe(&server.url("/new/_/audio.m3u8"), "stream=codec_name"), ["aac"]);
    let metrics = server.get("/metrics").1;
    for zero in ["timestamps_mended", "decode_errors", "rtmp_skipped_tags", "rtmp_protocol_errors"] {
        assert!(metrics.contains(&format!("headwater_{zero}_total 0\n")), "{zero}: {metrics}");
    }
    server
}

#[test]
fn hevc_and_opus() {
    let codecs = "-map 0 -map 1 -c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=25:min-keyint=25 -c:a libopus";
    let server = check(codecs, "hvc1.1.6.L", "hevc");
    // HEVC is carried in MPEG-TS, too.
    assert_eq!(ffprobe(&server.url("/new/_/source.ts.m3u8"), "stream=codec_name")[..2], ["hevc", "aac"]);
}

#[test]
fn vp9_and_flac() {
    let server =
        check("-map 0 -map 1 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25 -c:a flac", "vp09.00.", "vp9");
    // VP9 is not: the list for old players has the rung only.
    let text = server.get("/new/ts.m3u8").1;
    assert!(!text.contains("source") && text.contains("_/90p.ts.m3u8"), "{text}");
}

#[test]
fn av1_and_ac3() {
    check("-map 0 -map 1 -c:v libsvtav1 -preset 12 -g 25 -c:a ac3", "av01.0.", "av1");
}

#[test]
fn two_sounds_are_two_renditions_of_one_group() {
    let server = Server::start(FAST);
    let more = "-map 0 -map 1 -map 2 -c:v libx264 -preset ultrafast -g 25 -c:a aac";
    let _publisher = push(&server, "two", more);
    let text = server.wait_for("/two/index.m3u8", |text| text.contains("audio-2"));
    let master = playlist::multivariant(&text);
    assert_eq!(master.alternatives.len(), 2);
    assert_eq!(master.alternatives.iter().filter(|sound| sound.default).count(), 1);
    for (id, rate) in [("audio", "aac,48000"), ("audio-2", "aac,44100")] {
        playlist::of(&server, "two", id, 2);
        assert_eq!(ffprobe(&server.url(&format!("/two/_/{id}.m3u8")), "stream=codec_name,sample_rate"), [rate]);
    }
}
