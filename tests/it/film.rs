//! The main job: a film pushed over RTMP, cut into a ladder, read in both forms.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::process::Command;

use crate::playlist;
use crate::rig::{Server, ffprobe, film_720p, run};

/// ffmpeg's arguments: the film again and again, copied, at its own pace.
fn film() -> String {
    format!("-re -stream_loop -1 -i {} -c copy", film_720p().display())
}

#[test]
fn the_film_plays_in_every_rendition_of_both_forms() {
    let server = Server::start("");
    let _publisher = server.push("live/film", &film());
    let text = server.wait_for("/live/film/index.m3u8", |_| true);
    let master = playlist::multivariant(&text);
    let variants: Vec<_> = master.variants.iter().filter(|variant| !variant.is_i_frame).collect();
    let uris: Vec<&str> = variants.iter().map(|variant| variant.uri.as_str()).collect();
    assert_eq!(uris, ["_/source.m3u8", "_/480p.m3u8", "_/360p.m3u8", "_/240p.m3u8"]);
    assert_eq!(master.alternatives.len(), 1);
    assert_eq!(master.alternatives[0].language.as_deref(), Some("und"));

    playlist::of(&server, "live/film", "240p", 3);
    for variant in variants {
        let name = variant.uri.trim_start_matches("_/").trim_end_matches(".m3u8");
        let size = variant.resolution.unwrap();
        let picture = format!("h264,{},{}", size.width, size.height);
        let shown = "stream=codec_name,width,height,channels";
        assert_eq!(ffprobe(&server.url(&format!("/live/film/_/{name}.m3u8")), shown), [picture.as_str()]);
        let ts = ffprobe(&server.url(&format!("/live/film/_/{name}.ts.m3u8")), shown);
        assert_eq!(ts[..2], [picture.as_str(), "aac,2"]);
        assert_eq!(variant.frame_rate, Some(30.0));
        assert!(variant.codecs.as_ref().unwrap().ends_with(",mp4a.40.2"));
    }
    assert_eq!(ffprobe(&server.url("/live/film/_/audio.m3u8"), "stream=codec_name,channels"), ["aac,2"]);
    // And every picture decodes. (ffmpeg 5.1 warns of the header that it reads again after each reload of a live playlist.)
    for form in ["index", "ts"] {
        let output = run(Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-t", "4", "-i", &server.url(&format!("/live/film/{form}.m3u8"))])
            .args(["-map", "0:v", "-map", "0:a", "-f", "null", "-"]));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{form}");
    }
}

#[test]
fn the_same_sequence_number_is_the_same_span_in_every_rendition() {
    let server = Server::start("");
    let _publisher = server.push("film", &film());
    let mut spans: BTreeMap<u64, Vec<(String, f64, f64)>> = BTreeMap::new();
    for rendition in ["source", "480p", "360p", "240p", "audio"] {
        let list = playlist::of(&server, "film", rendition, 4);
        let map = list.segments[0].map.as_ref().unwrap();
        let init = server.get_bytes(&format!("/film/_/{}", map.uri)).1;
        let mut end: Option<f64> = None;
        for (sequence, segment) in (list.media_sequence..).zip(&list.segments) {
            let data = server.get_bytes(&format!("/film/_/{}", segment.uri)).1;
            let (start, duration, key) = look(&init, &data);
            assert!(key, "{rendition} {sequence} does not begin with a key frame");
            assert!(
                (duration - f64::from(segment.duration)).abs() < 1e-5,
                "{rendition} {sequence}: EXTINF is not true"
            );
            if let Some(end) = end {
                assert!((start - end).abs() < 1e-6, "{rendition} {sequence} begins at {start}, not at {end}");
            }
            end = Some(start + duration);
            spans.entry(sequence).or_default().push((rendition.to_owned(), start, duration));
        }
    }
    let mut compared = 0;
    for (sequence, renditions) in spans {
        let (_, start, duration) = renditions[0].clone();
        for (rendition, other_start, other_duration) in &renditions[1..] {
            // Sound ends within a frame of the picture; pictures are exactly together.
            let tolerance = if rendition == "audio" { 0.022 } else { 1e-6 };
            assert!((start - other_start).abs() <= tolerance, "{sequence} {rendition}: {other_start}, not {start}");
            assert!((duration - other_duration).abs() <= 2.0 * tolerance, "{sequence} {rendition}: {other_duration}");
            compared += 1;
        }
    }
    assert!(compared >= 12, "only {compared} spans were compared");
}

/// Presentation start and duration in seconds of a segment, read by crates that are not ours; and whether it begins with a
/// sync sample.
fn look(init: &[u8], data: &[u8]) -> (f64, f64, bool) {
    use mp4_atom::{Any, ReadFrom};
    let header = mp4::Mp4Reader::read_header(Cursor::new(init), init.len() as u64).unwrap();
    let timescale = f64::from(header.tracks().values().next().unwrap().timescale());
    let delay = {
        let mut cursor = Cursor::new(init);
        let mut delay = 0;
        while let Some(atom) = Option::<Any>::read_from(&mut cursor).unwrap() {
            if let Any::Moov(moov) = atom {
                delay = moov.trak[0]
                    .edts
                    .as_ref()
                    .and_then(|edts| edts.elst.as_ref())
                    .and_then(|elst| elst.entries[0].media_time)
                    .unwrap_or(0);
            }
        }
        delay
    };
    #[expect(clippy::cast_precision_loss, reason = "ticks of a short test are far below 2^53")]
    let seconds = |ticks: u64| ticks as f64 / timescale;
    let (mut begin, mut total) = (None, 0);
    let mut cursor = Cursor::new(data);
    while let Some(atom) = Option::<Any>::read_from(&mut cursor).unwrap() {
        let Any::Moof(moof) = atom else { continue };
        let traf = &moof.traf[0];
        let entries = &traf.trun[0].samples;
        let first = entries.get(0).unwrap();
        let start = traf.tfdt.as_ref().unwrap().base_media_decode_time - delay;
        let shown = start.strict_add_signed(first.cts.unwrap_or_default());
        let (start_of_all, ..) = *begin.get_or_insert_with(|| (start, shown, first.flags.unwrap() & 0x0001_0000 == 0));
        assert_eq!(start, start_of_all + total, "a chunk does not begin where the one before it ended");
        total += entries.iter().map(|entry| u64::from(entry.duration.unwrap())).sum::<u64>();
    }
    let (_, shown, is_sync) = begin.unwrap();
    (seconds(shown), seconds(total), is_sync)
}

/// What another implementation finds wrong; that parts begin anywhere is meant.
pub(crate) fn cmaf_issues(init: &[u8], segments: &[&[u8]]) -> Vec<String> {
    let issues = transmux::validate::validate_cmaf_track(init, segments);
    issues
        .iter()
        .filter(|issue| issue.code != "media.sample.non-sync-first")
        .map(|issue| format!("{issue:?}"))
        .collect()
}

#[test]
fn a_segment_is_valid_cmaf_for_others() {
    let server = Server::start("");
    let _publisher = server.push("film", &film());
    for rendition in ["source", "360p", "audio"] {
        let list = playlist::of(&server, "film", rendition, 2);
        let init = server.get_bytes(&format!("/film/_/{}", list.segments[0].map.as_ref().unwrap().uri)).1;
        let segments: Vec<_> =
            list.segments.iter().map(|segment| server.get_bytes(&format!("/film/_/{}", segment.uri)).1).collect();
        let views: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
        let issues = cmaf_issues(&init, &views);
        assert!(issues.is_empty(), "{rendition}: {issues:?}");
    }
}
