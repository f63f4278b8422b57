//! Streams and their publishers: coming, leaving, coming back, staying away.

use std::process::Command;

use crate::playlist;
use crate::rig::{Server, picture, run};

const SMALL: &str =
    "[transcode]\nladder = [\"source\", { height = 120, preset = \"ultrafast\" }]\n[segment]\ntarget = \"1s\"\n";

#[test]
fn a_publisher_that_returns_goes_on_where_it_was() {
    let server = Server::start(SMALL);
    let publisher = server.push("cam", &picture("320x180", 25, 120));
    let before = playlist::of(&server, "cam", "source", 3);
    publisher.kill();
    server.wait_for_log("publisher left");
    assert_eq!(server.get("/cam/index.m3u8").0, 200);
    assert!(!playlist::of(&server, "cam", "source", 1).end_list);

    let _publisher = server.push("cam", &picture("320x180", 25, 120));
    for rendition in ["source", "120p", "audio"] {
        let path = format!("/cam/_/{rendition}.m3u8");
        let text = server.wait_for(&path, |text| {
            let list = playlist::media(text);
            let after = list.segments.iter().position(|segment| segment.discontinuity);
            after.is_some_and(|after| list.segments.len() >= after + 2)
        });
        let list = playlist::media(&text);
        assert_eq!(list.segments.iter().filter(|segment| segment.discontinuity).count(), 1, "{rendition}: {text}");
        // Numbers go on: what was listed before is still under the same name.
        if rendition == "source" {
            assert_eq!(list.segments[0].uri, before.segments[0].uri);
        }
        let names: Vec<u64> = list
            .segments
            .iter()
            .map(|segment| segment.uri.rsplit_once('/').unwrap().1.trim_end_matches(".m4s").parse().unwrap())
            .collect();
        assert!(names.windows(2).all(|pair| pair[1] == pair[0] + 1), "{names:?}");
        // Wall-clock times rise, also over the break.
        let dates: Vec<_> = list.segments.iter().filter_map(|segment| segment.program_date_time).collect();
        assert!(dates.windows(2).all(|pair| pair[1] > pair[0]), "{dates:?}");
    }
}

#[test]
fn a_publisher_that_stays_away_ends_the_playlists_and_a_later_one_begins_anew() {
    let server = Server::start(&format!("{SMALL}[stream]\nlinger = \"1s\"\n"));
    let publisher = server.push("cam", &picture("320x180", 25, 3));
    assert_eq!(publisher.finish(), (true, String::new()));
    for path in ["/cam/_/source.m3u8", "/cam/_/120p.m3u8", "/cam/_/audio.m3u8", "/cam/_/source.ts.m3u8"] {
        let text = server.wait_for(path, |text| text.ends_with("#EXT-X-ENDLIST\n"));
        assert!(!playlist::media(&text).segments.is_empty(), "{path}");
    }
    let headers = server.curl(&["-I"], "/cam/_/source.m3u8").to_lowercase();
    // The URL goes live again with the next publisher.
    assert!(headers.contains("cache-control: public, max-age=1\r"), "{headers}");
    let old = playlist::of(&server, "cam", "source", 1).segments[0].uri.clone();

    let _publisher = server.push("cam", &picture("320x180", 25, 120));
    server.wait_for("/cam/_/source.m3u8", |text| !text.contains("ENDLIST"));
    let new = playlist::of(&server, "cam", "source", 1).segments[0].uri.clone();
    assert_ne!(old.split('/').next(), new.split('/').next(), "the same epoch twice");
    assert_eq!(server.get(&format!("/cam/_/{old}")).0, 410);
}

#[test]
fn what_is_inside_the_codecs_is_not_lost_when_nobody_is_waited_for() {
    let server = Server::start(&format!("{SMALL}[stream]\nlinger = \"0s\"\n"));
    let publisher = server.push("cam", &picture("320x180", 25, 4));
    assert_eq!(publisher.finish(), (true, String::new()));
    let seconds = |rendition: &str| {
        let text = server.wait_for(&format!("/cam/_/{rendition}.m3u8"), |text| text.ends_with("#EXT-X-ENDLIST\n"));
        playlist::media(&text).segments.iter().map(|segment| segment.duration).sum::<f32>()
    };
    let source = seconds("source");
    assert!(source > 3.9, "{source}");
    assert!((seconds("120p") - source).abs() < 0.05, "the rung has {} of {source} s", seconds("120p"));
}

#[test]
fn a_rung_that_is_given_up_goes_on_as_gaps_and_no_number_comes_twice() {
    // Two rungs that no machine encodes in time, and one that is easy; the easy one is there until the others are gone.
    let hard = "preset = \"placebo\" }";
    let server = Server::start(&format!(
        "[transcode]\nladder = [\"source\", {{ height = 700, {hard}, {{ height = 690, {hard}, {{ height = 90 }}]\nshed_after = \"1s\"\n\
         [segment]\ntarget = \"1s\"\n[stream]\nlinger = \"0s\"\n"
    ));
    let publisher = server.push("big", &picture("1280x720", 60, 20));
    server.wait_for_log("rung given up");
    assert!(publisher.finish().0);
    let ended = server.wait_for("/big/_/source.m3u8", |text| text.ends_with("#EXT-X-ENDLIST\n"));
    assert!(!ended.contains("GAP"), "the source is on time");
    let source = playlist::media(&ended);
    assert!(source.segments.len() >= 18, "{ended}");
    let mut compared = 0;
    for rendition in ["700p", "690p", "90p", "audio"] {
        let (status, text) = server.get(&format!("/big/_/{rendition}.m3u8"));
        if status == 404 {
            // It never had a segment.
            continue;
        }
        let list = playlist::media(&text);
        let numbers: Vec<u64> = list
            .segments
            .iter()
            .map(|segment| segment.uri.rsplit_once('/').unwrap().1.trim_end_matches(".m4s").parse().unwrap())
            .collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{rendition}: {numbers:?}");
        assert_eq!(
            numbers.last().map(|last| last + 1),
            Some(source.media_sequence + source.segments.len() as u64),
            "{rendition}"
        );
        compared += 1;
    }
    assert!(compared >= 2, "only {compared} renditions have segments");
}

#[test]
fn a_track_that_the_next_publisher_lacks_is_a_gap_with_its_own_header() {
    let server = Server::start(SMALL);
    let sound = picture("320x180", 25, 120);
    let silent = sound.replace("-f lavfi -i sine=f=440:r=48000 ", "").replace(" -c:a aac -b:a 96k", "");
    let first = server.push("cam", &sound);
    playlist::of(&server, "cam", "audio", 2);
    let init = |rendition: &str| {
        let map = playlist::of(&server, "cam", rendition, 1).segments[0].map.clone().unwrap();
        server.get_bytes(&format!("/cam/_/{}", map.uri)).1
    };
    let before = init("audio");
    first.kill();
    server.wait_for_log("publisher left");
    let second = server.push("cam", &silent);
    let text = server.wait_for("/cam/_/audio.m3u8", |text| text.matches("#EXT-X-GAP").count() >= 2);
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{text}");
    assert!(init("audio") == before, "the header's bytes changed under an immutable URL");
    second.kill();
    server.wait("two departures", || (server.log().matches("publisher left").count() == 2).then_some(()));
    let _third = server.push("cam", &sound);
    // Every rendition has the same breaks at the same numbers.
    let numbers = |text: &str| {
        let list = playlist::media(text);
        let numbered = (list.media_sequence..).zip(&list.segments).filter(|(_, segment)| segment.discontinuity);
        numbered.map(|(number, _)| number).collect::<Vec<_>>()
    };
    let breaks = |rendition: &str| {
        numbers(&server.wait_for(&format!("/cam/_/{rendition}.m3u8"), |text| numbers(text).len() >= 2))
    };
    let source = breaks("source");
    assert_eq!(breaks("120p"), source);
    assert_eq!(breaks("audio"), source);
    assert_eq!(breaks("source.iframes"), source);
}

#[test]
fn a_rendition_that_comes_late_counts_the_breaks_before_it() {
    let server = Server::start(SMALL);
    let sound = picture("320x180", 25, 120);
    let silent = sound.replace("-f lavfi -i sine=f=440:r=48000 ", "").replace(" -c:a aac -b:a 96k", "");
    let first = server.push("cam", &silent);
    playlist::of(&server, "cam", "source", 2);
    first.kill();
    server.wait_for_log("publisher left");
    let _second = server.push("cam", &sound);
    let list = playlist::of(&server, "cam", "audio", 2);
    // The break before its first segment stands on it; none came before that.
    assert_eq!((list.discontinuity_sequence, list.segments[0].discontinuity), (0, true));
}

#[test]
fn a_second_publisher_of_a_live_name_is_refused_and_the_first_does_not_notice() {
    let server = Server::start(SMALL);
    let _publisher = server.push("cam", &picture("320x180", 25, 120));
    server.wait_for("/cam/index.m3u8", |_| true);
    let (content, said) = server.push("cam", &picture("320x180", 25, 5)).finish();
    assert!(!content, "the second one was let in");
    assert!(said.contains("error"), "{said}");
    server.wait_for_log("refused: the stream has a publisher already");
    let (_, said) = server.push("no%2Fname", &picture("320x180", 25, 5)).finish();
    assert!(!said.is_empty());
    let before = playlist::of(&server, "cam", "source", 1).segments.len();
    playlist::of(&server, "cam", "source", before + 2);
    let text = server.get("/cam/_/source.m3u8").1;
    assert!(!text.contains("DISCONTINUITY"), "{text}");
}

#[test]
fn a_picture_that_changes_size_goes_on_behind_a_discontinuity() {
    let server = Server::start(SMALL);
    // Two files as one push: the sequence header changes in the middle.
    let folder = server.folder.path();
    for (name, size) in [("a.flv", "320x180"), ("b.flv", "640x360")] {
        let input = picture(size, 25, 4).replace("-re ", "");
        run(Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin"])
            .args(input.split_whitespace())
            .args(["-f", "flv"])
            .arg(folder.join(name)));
    }
    let list = folder.join("list");
    std::fs::write(&list, "file a.flv\nfile b.flv\n").unwrap();
    let publisher = server.push("cam", &format!("-re -f concat -i {} -c copy", list.display()));
    assert_eq!(publisher.finish(), (true, String::new()));
    server.wait_for_log("publisher left");
    let text = server.wait_for("/cam/_/source.m3u8", |text| text.contains("init-1.mp4"));
    assert!(text.contains("#EXT-X-DISCONTINUITY\n"), "{text}");
    let list = playlist::media(&text);
    let probed = |index: usize| {
        let map = list.segments[..=index].iter().rev().find_map(|segment| segment.map.as_ref()).unwrap();
        let mut file = server.get_bytes(&format!("/cam/_/{}", map.uri)).1;
        file.extend(server.get_bytes(&format!("/cam/_/{}", list.segments[index].uri)).1);
        let path = folder.join("segment.mp4");
        std::fs::write(&path, file).unwrap();
        crate::rig::ffprobe(path.to_str().unwrap(), "stream=width,height")
    };
    assert_eq!(probed(0), ["320,180"]);
    assert_eq!(probed(list.segments.len() - 1), ["640,360"]);
    // The rung keeps its size through the change.
    server.wait_for("/cam/_/120p.m3u8", |text| text.matches("#EXTINF").count() >= 6);
}

#[test]
fn rubbish_and_silence_end_alone() {
    use std::io::{Read, Write};
    let server = Server::start(SMALL);
    let _publisher = server.push("cam", &picture("320x180", 25, 120));
    server.wait_for("/cam/index.m3u8", |_| true);
    let address = server.rtmp.trim_start_matches("rtmp://").to_owned();
    for rubbish in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xFF; 4096], &[3; 2000]] {
        let mut socket = std::net::TcpStream::connect(&address).unwrap();
        // The server may close before all of it is written.
        let _ = socket.write_all(rubbish);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
    }
    let before = playlist::of(&server, "cam", "source", 1).segments.len();
    playlist::of(&server, "cam", "source", before + 2);
    assert!(!server.get("/cam/_/source.m3u8").1.contains("DISCONTINUITY"));
    assert!(!server.log().contains("panick"), "{}", server.log());
}
