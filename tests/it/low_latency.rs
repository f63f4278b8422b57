//! Low-latency HLS: parts, blocking reload, hints, deltas.

use std::process::Command;

use headwater::runtime::Clock;

use crate::playlist;
use crate::rig::{Server, film_720p, picture, run};

/// A server that cuts the film into 2 s and parts of this length, when it lists two segments.
fn rig(part: &str) -> (Server, crate::rig::Publisher) {
    let server = Server::start(&format!(
        "[transcode]\nladder = [\"source\", {{ height = 120, preset = \"ultrafast\" }}]\nlatency = \"low\"\n[segment]\npart = \"{part}\"\n"
    ));
    let input = format!("-re -stream_loop -1 -i {} -c copy", film_720p().display());
    let publisher = server.push("film", &input);
    for rendition in ["source", "120p", "audio"] {
        playlist::of(&server, "film", rendition, 2);
    }
    (server, publisher)
}

fn attribute<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, value) = line.split_once(&format!("{name}=")).unwrap();
    value.trim_start_matches('"').split(['"', ',']).next().unwrap()
}

/// The hinted part: its path, number and part.
fn hint(server: &Server, rendition: &str) -> (String, u64, u64) {
    let text = server.get(&format!("/film/_/{rendition}.m3u8")).1;
    let line = text.lines().find(|line| line.starts_with("#EXT-X-PRELOAD-HINT:TYPE=PART")).unwrap();
    let uri = attribute(line, "URI").to_owned();
    let mut numbers = uri.rsplit_once('/').unwrap().1.split('.').map(|number| number.parse().unwrap_or_default());
    let (sequence, part) = (numbers.next().unwrap(), numbers.next().unwrap());
    (format!("/film/_/{uri}"), sequence, part)
}

#[test]
fn parts_keep_their_promise_and_are_the_segment() {
    for (part, longest) in [("500ms", 0.6), ("200ms", 0.23)] {
        let (server, _publisher) = rig(part);
        for rendition in ["source", "120p", "audio"] {
            let text = server.get(&format!("/film/_/{rendition}.m3u8")).1;
            let info = text.lines().find(|line| line.starts_with("#EXT-X-PART-INF")).unwrap();
            let target: f64 = attribute(info, "PART-TARGET").parse().unwrap();
            assert!(target <= longest, "{rendition}: {target}");
            let mut parts: Vec<(f64, String)> = Vec::new();
            let mut segments = 0;
            for line in text.lines() {
                if let Some(part) = line.strip_prefix("#EXT-X-PART:") {
                    parts.push((attribute(part, "DURATION").parse().unwrap(), attribute(part, "URI").to_owned()));
                } else if !line.starts_with('#') && !parts.is_empty() {
                    let whole = server.get_bytes(&format!("/film/_/{line}")).1;
                    let joined: Vec<u8> =
                        parts.iter().flat_map(|(_, uri)| server.get_bytes(&format!("/film/_/{uri}")).1).collect();
                    assert!(whole == joined, "{rendition} {line}: the parts are not the segment");
                    let (last, others) = parts.split_last().unwrap();
                    assert!(last.0 <= target, "{rendition} {line}: {parts:?}");
                    for (duration, uri) in others {
                        assert!(
                            (0.85 * target..=target).contains(duration),
                            "{rendition} {uri}: {duration} of {target}"
                        );
                    }
                    segments += 1;
                    parts.clear();
                }
            }
            assert!(segments >= 2, "{text}");
        }
    }
}

#[test]
fn a_playlist_that_is_asked_for_ahead_is_held_until_it_is_there() {
    let (server, _publisher) = rig("500ms");
    for rendition in ["source", "120p", "audio"] {
        let (_, sequence, part) = hint(&server, rendition);
        let path = format!("/film/_/{rendition}.m3u8?_HLS_msn={sequence}&_HLS_part={part}");
        let answer = server.curl(&["-i"], &path);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.to_lowercase().contains("cache-control: public, max-age=12\r"), "{answer}");
        assert!(answer.contains(&format!("/{sequence}.{part}.m4s\"")), "{answer}");
        // The same question has the same answer, although time went on.
        let whole = server.get(&format!("/film/_/{rendition}.m3u8?_HLS_msn={sequence}")).1;
        assert!(whole.contains(&format!("/{sequence}.m4s\n")), "{whole}");
    }
    let (_, sequence, part) = hint(&server, "source");
    // Twelve parts ahead, in a segment of four.
    assert_eq!(server.get(&format!("/film/_/source.m3u8?_HLS_msn={sequence}&_HLS_part={}", part + 12)).0, 400);
    for (query, status) in [
        (format!("_HLS_msn={}", sequence + 4), 400),
        ("_HLS_part=1".to_owned(), 400),
        ("_HLS_msn=x".to_owned(), 400),
        ("_HLS_msn=0".to_owned(), 200),
        ("CMCD=sid%3D1".to_owned(), 200),
    ] {
        assert_eq!(server.get(&format!("/film/_/source.m3u8?{query}")).0, status, "{query}");
    }
}

#[test]
fn the_hinted_part_is_held_and_then_sent() {
    let (server, _publisher) = rig("500ms");
    let mut waited = std::time::Duration::ZERO;
    for _ in 0..6 {
        let (path, sequence, part) = hint(&server, "source");
        let asked = Clock.now();
        let (status, body) = server.get_bytes(&path);
        waited += asked.elapsed();
        assert_eq!(status, 200, "{path}");
        assert!(body.len() > 100, "{sequence}.{part}");
    }
    // Six parts in a row take about three seconds; nobody answered before there was something.
    assert!(waited > std::time::Duration::from_millis(1_500), "{waited:?}");
    let (path, ..) = hint(&server, "source");
    let beyond = path.replace(".m4s", "9.m4s");
    assert_eq!(server.get(&beyond).0, 404);
}

#[test]
fn a_delta_is_short_and_a_player_that_reloads_misses_nothing() {
    let (server, _publisher) = rig("500ms");
    let path = "/film/_/source.m3u8";
    server.wait_for(path, |text| text.matches("#EXTINF").count() >= 9);
    let whole = server.get(path).1;
    let delta = server.get(&format!("{path}?_HLS_skip=YES")).1;
    let line = delta.lines().find(|line| line.starts_with("#EXT-X-SKIP:")).unwrap();
    let skipped: usize = attribute(line, "SKIPPED-SEGMENTS").parse().unwrap();
    assert!(skipped >= 2, "{delta}");
    let uris = |text: &str| text.lines().filter(|line| line.ends_with(".m4s")).map(str::to_owned).collect::<Vec<_>>();
    let merged: Vec<_> = uris(&whole).into_iter().take(skipped).chain(uris(&delta)).collect();
    let now = uris(&server.get(path).1);
    assert!(merged.iter().all(|uri| now.contains(uri) || now[0] > *uri), "{merged:?} {now:?}");
    assert!(uris(&delta).len() + skipped >= uris(&whole).len());
}

#[test]
fn without_parts_there_is_nothing_of_low_latency() {
    let server = Server::start("[transcode]\nladder = [\"source\"]\n[segment]\npart = \"0s\"\ntarget = \"1s\"\n");
    let _publisher = server.push("plain", &picture("320x180", 25, 60));
    let list = server.wait_for("/plain/_/source.m3u8", |text| text.matches("#EXTINF").count() >= 2);
    for tag in ["PART", "SERVER-CONTROL", "PRELOAD", "RENDITION-REPORT"] {
        assert!(!list.contains(tag), "{tag}: {list}");
    }
}

#[test]
fn others_read_what_has_parts() {
    let (server, _publisher) = rig("200ms");
    for path in ["/film/index.m3u8", "/film/_/120p.m3u8", "/film/ts.m3u8"] {
        let output = run(Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-t", "3", "-i", &server.url(path)])
            .args(["-f", "null", "-"]));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{path}");
    }
    let list = playlist::of(&server, "film", "120p", 2);
    let init = server.get_bytes(&format!("/film/_/{}", list.segments[0].map.as_ref().unwrap().uri)).1;
    let segment = server.get_bytes(&format!("/film/_/{}", list.segments[1].uri)).1;
    let issues = crate::film::cmaf_issues(&init, &[&segment]);
    assert!(issues.is_empty(), "{issues:?}");
}
