//! The MPD, as ffmpeg and another's parser read it.

use std::process::Command;

use dash_mpd_core::{MPD, Period};

use crate::playlist;
use crate::rig::{Server, film_720p, picture, run};

const PATH: &str = "/live/film/index.mpd";

fn parsed(text: &str) -> MPD {
    dash_mpd_core::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Numbers and times of what the first representation of a period lists, in its clock's ticks.
fn listed(period: &Period, content: &str) -> Vec<(u64, u64, u64)> {
    let set = period.adaptations.iter().find(|set| set.contentType.as_deref() == Some(content)).unwrap();
    let own = set.representations[0].SegmentTemplate.as_ref();
    let template = own.or(set.SegmentTemplate.as_ref()).unwrap();
    let mut number = template.startNumber.unwrap();
    let (mut time, mut all) = (0, Vec::new());
    for entry in &template.SegmentTimeline.as_ref().unwrap().segments {
        time = entry.t.unwrap_or(time);
        for _ in 0..=entry.r.unwrap_or(0) {
            all.push((number, time, entry.d));
            (number, time) = (number + 1, time + entry.d);
        }
    }
    all
}

#[expect(clippy::cast_precision_loss, reason = "ticks of a short test are far below 2^53")]
fn seconds(ticks: u64, per_second: f64) -> f64 {
    ticks as f64 / per_second
}

/// `ffmpeg` decodes this much of it, pictures and sound, and has nothing to complain about. How many pictures.
fn decoded(url: &str, seconds: &str) -> u64 {
    let output = run(Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i", url, "-t", seconds, "-map", "0:v:0", "-map", "0:a:0"])
        .args(["-f", "null", "-progress", "-", "-"]));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{url}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines().rev().find_map(|line| line.strip_prefix("frame=")).unwrap().trim().parse().unwrap()
}

#[test]
fn the_film_is_read_as_dash_with_pictures_and_sound() {
    let server = Server::start("[transcode]\nladder = [\"source\", { height = 120, preset = \"ultrafast\" }]\n");
    let _publisher = server.push("live/film", &format!("-re -stream_loop -1 -i {} -c copy", film_720p().display()));
    let text = server.wait_for(PATH, |text| listed(&parsed(text).periods[0], "video").len() >= 4);
    let mpd = parsed(&text);
    assert!(dash_mpd_core::check_conformity(&mpd).is_empty(), "{text}");
    assert_eq!(mpd.mpdtype.as_deref(), Some("dynamic"));
    let period = &mpd.periods[0];
    assert_eq!((mpd.periods.len(), period.adaptations.len()), (1, 2));
    let ids: Vec<_> = period.adaptations[0].representations.iter().map(|one| one.id.clone().unwrap()).collect();
    assert_eq!(ids, ["source", "120p"]);

    // The same numbers, times and bytes as HLS.
    let source = playlist::of(&server, "live/film", "source", 4);
    let here = listed(period, "video");
    for (number, _, ticks) in &here {
        let Some(index) = number.checked_sub(source.media_sequence) else { continue };
        let segment = &source.segments[usize::try_from(index).unwrap()];
        assert!(segment.uri.ends_with(&format!("/source/{number}.m4s")), "{}", segment.uri);
        assert!((seconds(*ticks, 90_000.0) - f64::from(segment.duration)).abs() < 1e-5, "{number}");
        assert_eq!(server.get_bytes(&format!("/live/film/_/{}", segment.uri)).0, 200);
    }
    // Sound is with the pictures, to half a frame of it.
    for ((number, time, _), (other, sound, _)) in here.iter().zip(listed(period, "audio")) {
        assert_eq!(*number, other);
        let apart = seconds(*time, 90_000.0) - seconds(sound, 48_000.0);
        assert!(apart.abs() < 0.023, "{number}: {apart} s");
    }

    let url = server.url(PATH);
    let shown = "stream=codec_name,width,height,channels";
    let output = run(Command::new("ffprobe").args(["-v", "error", "-show_entries", shown, "-of", "csv=p=0", &url]));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let mut streams: Vec<_> =
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).filter(|line| !line.is_empty()).collect();
    streams.sort();
    streams.dedup();
    assert_eq!(streams, ["aac,2", "h264,1280,720", "h264,214,120"]);
    assert!(decoded(&url, "4") >= 110);

    let answer = server.curl(&["-i", "--compressed", "-H", "Accept-Encoding: gzip"], PATH);
    let lower = answer.to_lowercase();
    for header in ["content-type: application/dash+xml", "cache-control: public, max-age=1\r", "content-encoding: gzip"]
    {
        assert!(lower.contains(header), "{header}: {answer}");
    }
    assert!(server.curl(&["-I"], "/time").to_lowercase().contains("\ndate: "));
}

#[test]
fn a_publisher_who_comes_back_begins_a_period_and_the_end_is_static() {
    let server = Server::start(
        "[transcode]\nladder = [\"source\"]\n[segment]\ntarget = \"1s\"\n[window]\nlength = \"10s\"\n[stream]\nlinger = \"5s\"\n",
    );
    let first = server.push("live/film", &picture("320x180", 25, 60));
    let before = parsed(&server.wait_for(PATH, |text| listed(&parsed(text).periods[0], "video").len() >= 3));
    first.kill();
    let second = server.push("live/film", &picture("640x360", 30, 60));
    let both = |text: &str| {
        let mpd = parsed(text);
        mpd.periods.len() == 2 && listed(&mpd.periods[1], "video").len() >= 3
    };
    let after = parsed(&server.wait_for(PATH, both));
    assert!(after.publishTime > before.publishTime);
    assert_eq!(after.availabilityStartTime, before.availabilityStartTime);
    let (one, two) = (&after.periods[0], &after.periods[1]);
    assert_eq!((&one.id, one.start), (&before.periods[0].id, before.periods[0].start));
    assert!(two.start > one.start);
    // A period's offset is its start, in every track's clock.
    for period in [one, two] {
        for set in &period.adaptations {
            let template = set.SegmentTemplate.as_ref().unwrap();
            let (offset, scale) = (template.presentationTimeOffset.unwrap(), template.timescale.unwrap());
            assert_eq!(u128::from(offset) * 1_000, period.start.unwrap().as_millis() * u128::from(scale));
        }
    }
    let sizes = |period: &Period| period.adaptations[0].maxHeight;
    assert_eq!((sizes(one), sizes(two)), (Some(180), Some(360)));
    let header = |period: &Period| period.adaptations[0].SegmentTemplate.as_ref().unwrap().initialization.clone();
    assert_ne!(header(one), header(two));
    // The first period is left behind; the second stays what it is.
    let later = parsed(&server.wait_for(PATH, |text| parsed(text).periods.len() == 1));
    assert_eq!((&later.periods[0].id, later.periods[0].start), (&two.id, two.start));
    assert!(later.publishTime > after.publishTime);

    second.kill();
    let text = server.wait_for(PATH, |text| text.contains("type=\"static\""));
    let ended = parsed(&text);
    assert_eq!(ended.availabilityStartTime, before.availabilityStartTime);
    assert_eq!((&ended.periods[0].id, ended.periods[0].start), (&two.id, two.start));
    let list = listed(&ended.periods[0], "video");
    let (_, time, ticks) = list.last().unwrap();
    let end = ended.mediaPresentationDuration.unwrap().as_secs_f64();
    assert!((end - seconds(time + ticks, 90_000.0)).abs() < 0.001, "{text}");
    // All of it is there, and is read to its end.
    let length = list.iter().map(|(_, _, ticks)| ticks).sum::<u64>() / 90_000;
    let pictures = decoded(&server.url(PATH), "60");
    assert!(pictures >= length * 30 - 30, "{pictures} pictures of {length} s");
}

#[test]
fn sound_alone_is_read_as_dash() {
    let server = Server::start("");
    let _publisher = server.push("live/film", "-re -f lavfi -i sine=f=440:r=44100 -c:a aac -b:a 96k");
    let text = server.wait_for(PATH, |text| listed(&parsed(text).periods[0], "audio").len() >= 2);
    let period = &parsed(&text).periods[0];
    assert_eq!(period.adaptations.len(), 1, "{text}");
    let template = period.adaptations[0].SegmentTemplate.as_ref().unwrap();
    // Hundredths of a second are what 44.1 kHz can say exactly.
    assert_eq!(template.presentationTimeOffset.unwrap() % 441, 0);
    assert_eq!(period.start.unwrap().subsec_millis() % 10, 0);
    let output = run(Command::new("ffmpeg").args([
        "-v",
        "error",
        "-nostdin",
        "-i",
        &server.url(PATH),
        "-t",
        "3",
        "-f",
        "null",
        "-",
    ]));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
