//! All kinds of sources: without sound, without pictures, odd in size, rate and channels.

use std::process::Command;

use crate::playlist;
use crate::rig::{Server, ffprobe, film_720p, run};

const FAST: &str = "[transcode]\npreset = \"ultrafast\"\n[segment]\ntarget = \"1s\"\n";

/// Variants of a stream: their uri, and `WxH` where there are pictures.
fn variants(server: &Server, stream: &str) -> Vec<(String, String)> {
    let text = server.wait_for(&format!("/{stream}/index.m3u8"), |_| true);
    let playlist = playlist::multivariant(&text);
    let shown = |variant: &m3u8_rs::VariantStream| {
        variant.resolution.map_or(String::new(), |size| format!("{}x{}", size.width, size.height))
    };
    playlist
        .variants
        .iter()
        .filter(|variant| !variant.is_i_frame)
        .map(|variant| (variant.uri.clone(), shown(variant)))
        .collect()
}

fn pictures(size: &str, more: &str) -> String {
    format!(
        "-re -f lavfi -i testsrc2=s={size}:r=25 {more} -t 120 -c:v libx264 -preset ultrafast -tune zerolatency -g 25 -pix_fmt yuv420p"
    )
}

#[test]
fn pictures_without_sound_and_sound_without_pictures_play() {
    let server = Server::start(FAST);
    let _silent = server.push("silent", &pictures("640x360", ""));
    let _radio = server.push("radio", "-re -f lavfi -i sine=f=440:r=44100 -t 120 -ac 1 -c:a aac -b:a 64k");
    assert_eq!(
        variants(&server, "silent"),
        [("_/source.m3u8".to_owned(), "640x360".to_owned()), ("_/240p.m3u8".to_owned(), "426x240".to_owned())]
    );
    assert_eq!(variants(&server, "radio"), [("_/audio.m3u8".to_owned(), String::new())]);
    playlist::of(&server, "radio", "audio", 3);
    for form in ["index", "ts"] {
        assert_eq!(
            ffprobe(&server.url(&format!("/radio/{form}.m3u8")), "stream=codec_name,sample_rate,channels"),
            ["aac,44100,1"]
        );
        let found = ffprobe(&server.url(&format!("/silent/{form}.m3u8")), "stream=codec_name,width,height");
        assert_eq!(found[0], "h264,640,360", "{form}");
    }
}

#[test]
fn sound_that_begins_late_is_heard() {
    let server = Server::start(FAST);
    let late = pictures("320x180", "-itsoffset 3 -f lavfi -i sine=f=440:r=48000") + " -c:a aac -b:a 64k";
    let _publisher = server.push("late", &late);
    let text = server.wait_for("/late/_/audio.m3u8", |text| playlist::media(text).segments.len() >= 2);
    // Nothing is listed for the time before.
    assert!(!text.contains("EXT-X-GAP"), "{text}");
    server.wait_for("/late/index.m3u8", |text| text.contains("TYPE=AUDIO"));
    assert_eq!(ffprobe(&server.url("/late/_/audio.m3u8"), "stream=codec_name"), ["aac"]);
}

#[test]
fn anamorphic_odd_and_tall_pictures_keep_their_aspect() {
    let server = Server::start(FAST);
    let _pal = server.push("pal", &pictures("720x576", "-vf setsar=64/45"));
    let _tall = server.push("tall", &pictures("360x640", ""));
    let pal = variants(&server, "pal");
    assert_eq!(pal[0], ("_/source.m3u8".to_owned(), "1024x576".to_owned()));
    assert!(pal.contains(&("_/360p.m3u8".to_owned(), "640x360".to_owned())), "{pal:?}");
    let tall = variants(&server, "tall");
    assert!(tall.contains(&("_/240p.m3u8".to_owned(), "240x426".to_owned())), "{tall:?}");
}

#[test]
fn five_point_one_is_copied_and_announced() {
    let server = Server::start(FAST);
    let input = pictures("320x180", "-f lavfi -i anoisesrc=r=48000:a=0.1")
        + " -af pan=5.1|FL=c0|FR=c0|FC=c0|LFE=c0|BL=c0|BR=c0 -c:a aac -b:a 256k";
    let _publisher = server.push("six", &input);
    let text = server.wait_for("/six/index.m3u8", |_| true);
    assert!(text.contains("CHANNELS=\"6\""), "{text}");
    playlist::of(&server, "six", "audio", 2);
    assert_eq!(ffprobe(&server.url("/six/_/audio.m3u8"), "stream=codec_name,channels"), ["aac,6"]);
}

#[test]
fn a_ladder_without_the_source_is_cut_on_the_clock_whatever_the_source_does() {
    let server = Server::start(
        "[transcode]\nladder = [{ height = 180, preset = \"ultrafast\" }, { name = \"slow\", height = 90, frame_rate = 10, preset = \"ultrafast\" }]\n[segment]\ntarget = \"1s\"\n",
    );
    let input = pictures("320x180", "").replace("-g 25", "-g 67");
    let _publisher = server.push("grid", &input);
    for rendition in ["180p", "slow"] {
        let list = playlist::of(&server, "grid", rendition, 4);
        for segment in &list.segments {
            assert!((segment.duration - 1.0).abs() < 0.12, "{rendition}: {}", segment.duration);
        }
        assert_eq!(list.target_duration, 1);
    }
    let frames = ffprobe(&server.url("/grid/_/slow.m3u8"), "stream=r_frame_rate,avg_frame_rate");
    assert!(!frames.is_empty());
}

#[test]
fn pictures_that_are_missing_do_not_break_the_promises() {
    let server = Server::start("[transcode]\nladder = [\"source\", { height = 90, preset = \"ultrafast\" }]\n");
    // Nearly two seconds are dropped twice, as an encoder does whose network is full.
    let drops = "-vf select='not(between(t,5.1,6.9)+between(t,9.3,10.0))' -fps_mode passthrough";
    let input = pictures("320x180", "").replace("-t 120", &format!("-t 16 {drops}"));
    let publisher = server.push("drops", &input);
    assert!(publisher.finish().0);
    server.wait_for_log("publisher left");
    for rendition in ["source", "90p"] {
        let text = server.wait_for(&format!("/drops/_/{rendition}.m3u8"), |text| text.matches("#EXTINF").count() >= 6);
        let list = playlist::media(&text);
        for segment in &list.segments {
            assert!(segment.duration.round() <= 2.0, "{rendition}: {}\n{text}", segment.duration);
        }
        let value = |line: &str, name: &str| -> f64 {
            line.split(&format!("{name}=")).nth(1).unwrap().split(',').next().unwrap().parse().unwrap()
        };
        let target = value(text.lines().find(|line| line.starts_with("#EXT-X-PART-INF")).unwrap(), "PART-TARGET");
        for part in text.lines().filter(|line| line.starts_with("#EXT-X-PART:")) {
            assert!(value(part, "DURATION") <= target, "{rendition}: {part} of {target}");
        }
    }
}

#[test]
fn sound_that_is_muted_for_a_while_does_not_stop_the_pictures() {
    let server = Server::start(FAST);
    let mute = pictures("320x180", "-f lavfi -i sine=f=440:r=48000").replace("-t 120", "-t 14")
        + " -af aselect='not(between(t,4,8))' -c:a aac -b:a 64k";
    let publisher = server.push("mute", &mute);
    assert!(publisher.finish().0);
    server.wait_for_log("publisher left");
    let text = server.wait_for("/mute/_/source.m3u8", |text| text.matches("#EXTINF").count() >= 13);
    assert!(!text.contains("DISCONTINUITY"), "{text}");
    let sound = playlist::media(&server.get("/mute/_/audio.m3u8").1);
    assert!(sound.segments.iter().all(|segment| segment.duration.round() <= 1.0), "{sound:?}");
}

#[test]
fn an_mp4_file_is_published_again_and_again() {
    let path = film_720p();
    let server = Server::start(&format!(
        "[transcode]\nladder = [\"source\"]\n[[file]]\nstream = \"channel1\"\npath = \"{}\"\n[[file]]\nstream = \"missing\"\npath = \"/nowhere.mp4\"\n",
        path.display()
    ));
    let list = playlist::of(&server, "channel1", "source", 3);
    assert!(list.segments.iter().all(|segment| (segment.duration - 2.0).abs() < 0.01));
    assert_eq!(ffprobe(&server.url("/channel1/_/source.ts.m3u8"), "stream=codec_name")[..2], ["h264", "aac"]);
    server.wait_for_log("/nowhere.mp4");
}

#[test]
fn a_film_that_was_shot_upright_stays_upright() {
    let folder = tempfile::tempdir().unwrap();
    let (flat, path) = (folder.path().join("flat.mp4"), folder.path().join("phone.mp4"));
    run(Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-nostdin",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=640x360:r=25",
            "-t",
            "30",
            "-c:v",
            "libx264",
        ])
        .args(["-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p"])
        .arg(&flat));
    run(Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(&flat)
        .args(["-c", "copy", "-metadata:s:v:0", "rotate=90"])
        .arg(&path));
    let server = Server::start(&format!("{FAST}[[file]]\nstream = \"phone\"\npath = \"{}\"\n", path.display()));
    assert_eq!(
        variants(&server, "phone"),
        [("_/source.m3u8".to_owned(), "360x640".to_owned()), ("_/240p.m3u8".to_owned(), "240x426".to_owned())]
    );
    // The copied picture says how to be turned, the rung was.
    let list = playlist::of(&server, "phone", "source", 1);
    let init = server.get_bytes(&format!("/phone/_/{}", list.segments[0].map.as_ref().unwrap().uri)).1;
    let turn = |bytes: &[u8]| {
        let header = mp4::Mp4Reader::read_header(std::io::Cursor::new(bytes), bytes.len() as u64).unwrap();
        let matrix = header.tracks()[&1].trak.tkhd.matrix.clone();
        (matrix.a, matrix.b, matrix.c, matrix.d)
    };
    let turned = turn(&std::fs::read(&path).unwrap());
    assert_ne!(turned.1, 0);
    assert_eq!(turn(&init), turned);
    assert_eq!(ffprobe(&server.url("/phone/_/240p.m3u8"), "stream=width,height"), ["240,426"]);
}

#[test]
fn gstreamer_publishes() {
    let server = Server::start(FAST);
    let mut publisher = Command::new("gst-launch-1.0")
        .args([
            "-q",
            "videotestsrc",
            "is-live=true",
            "num-buffers=500",
            "!",
            "video/x-raw,width=320,height=180,framerate=25/1",
            "!",
        ])
        .args([
            "x264enc",
            "tune=zerolatency",
            "key-int-max=25",
            "!",
            "h264parse",
            "!",
            "flvmux",
            "name=mux",
            "streamable=true",
            "!",
        ])
        .args(["rtmp2sink", &format!("location={}/live/gst", server.rtmp)])
        .args(["audiotestsrc", "is-live=true", "num-buffers=1000", "!", "voaacenc", "!", "aacparse", "!", "mux."])
        .spawn()
        .unwrap();
    let text = server.wait_for("/live/gst/index.m3u8", |_| true);
    assert!(text.contains("RESOLUTION=320x180"), "{text}");
    playlist::of(&server, "live/gst", "source", 3);
    let found = ffprobe(&server.url("/live/gst/ts.m3u8"), "stream=codec_name");
    assert_eq!(found[..2], ["h264", "aac"]);
    publisher.kill().unwrap();
    publisher.wait().unwrap();
}

#[test]
fn an_hour_of_media_time_does_not_grow_the_window() {
    // A file that is read as fast as it goes: its stamps say an hour, the wall clock does not.
    let server = Server::start("[transcode]\nladder = [\"source\"]\n[window]\nlength = \"20s\"\n");
    let clip = server.folder.path().join("hour.flv");
    run(Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-nostdin",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=64x48:r=5",
            "-f",
            "lavfi",
            "-i",
            "sine=r=8000",
        ])
        .args([
            "-t",
            "3600",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-g",
            "10",
            "-sc_threshold",
            "0",
            "-pix_fmt",
            "yuv420p",
            "-c:a",
            "aac",
            "-b:a",
            "16k",
        ])
        .arg(&clip));
    let publisher = server.push("hour", &format!("-i {} -c copy", clip.display()));
    assert_eq!(publisher.finish(), (true, String::new()));
    server.wait_for_log("publisher left");
    let list = playlist::of(&server, "hour", "source", 3);
    assert!(list.segments.len() <= 11, "{}", list.segments.len());
    // Nearly all of 1,800: ffmpeg closes with our last acknowledgement unread, and the kernel then throws away what the
    // server has not read yet. A publisher that is no faster than time has nothing there.
    assert!(list.media_sequence >= 1_600, "{}", list.media_sequence);
    let sound = playlist::of(&server, "hour", "audio", 3);
    let last = |list: &m3u8_rs::MediaPlaylist| list.media_sequence + list.segments.len() as u64;
    assert_eq!(last(&list), last(&sound));
    // Sound and pictures are still together after an hour.
    let found = ffprobe(
        &server.url(&format!("/hour/_/{}", list.segments[0].uri.replace(".m4s", ".ts"))),
        "stream=codec_type,start_time",
    );
    let starts: Vec<f64> = found.iter().map(|line| line.rsplit_once(',').unwrap().1.parse().unwrap()).collect();
    assert!((starts[0] - starts[1]).abs() < 0.2, "{found:?}");
}
