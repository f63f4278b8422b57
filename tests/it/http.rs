//! The HTTP contract, by curl.

use crate::playlist;
use crate::rig::{Server, picture};

/// A server with a stream `cam` of small pictures, and a segment's path.
fn rig() -> (Server, crate::rig::Publisher, String) {
    let server = Server::start("[transcode]\nladder = [\"source\"]\n[segment]\ntarget = \"1s\"\n");
    let publisher = server.push("cam", &picture("320x180", 25, 120));
    let list = playlist::of(&server, "cam", "source", 2);
    let segment = format!("/cam/_/{}", list.segments[0].uri);
    (server, publisher, segment)
}

/// Status line and headers, in lower case.
fn head(server: &Server, arguments: &[&str], path: &str) -> String {
    server.curl(&[&["-D", "-", "-o", "/dev/null"], arguments].concat(), path).to_lowercase()
}

#[test]
fn segments_are_immutable_and_have_validators_and_ranges() {
    let (server, _publisher, segment) = rig();
    let whole = server.get_bytes(&segment).1;
    let headers = head(&server, &[], &segment);
    assert!(headers.contains("200 ok"), "{headers}");
    assert!(headers.contains("cache-control: public, max-age=31536000, immutable"), "{headers}");
    assert!(headers.contains("content-type: video/iso.segment"), "{headers}");
    assert!(headers.contains("accept-ranges: bytes"), "{headers}");
    assert!(headers.contains(&format!("content-length: {}", whole.len())), "{headers}");
    assert!(headers.contains("access-control-allow-origin: *"), "{headers}");
    let etag = headers.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    let unchanged = head(&server, &["-H", &format!("If-None-Match: {etag}")], &segment);
    assert!(unchanged.contains("304 not modified"), "{unchanged}");

    for (range, answer, length) in [
        ("bytes=0-99", "content-range: bytes 0-99/", 100),
        ("bytes=100-", "content-range: bytes 100-", whole.len() - 100),
        ("bytes=-7", "content-range: bytes ", 7),
    ] {
        let headers = head(&server, &["-H", &format!("Range: {range}")], &segment);
        assert!(headers.contains("206 partial content") && headers.contains(answer), "{range}: {headers}");
        assert!(headers.contains(&format!("content-length: {length}\r")), "{range}: {headers}");
    }
    let beyond = head(&server, &["-H", "Range: bytes=999999999-"], &segment);
    assert!(
        beyond.contains("416 range") && beyond.contains(&format!("content-range: bytes */{}", whole.len())),
        "{beyond}"
    );
    let stale = head(&server, &["-H", "Range: bytes=0-9", "-H", "If-Range: \"other\""], &segment);
    assert!(stale.contains("200 ok"), "{stale}");
}

#[test]
fn playlists_are_compressed_validated_and_short_lived() {
    let (server, _publisher, _) = rig();
    for path in
        ["/cam/index.m3u8", "/cam/_/source.m3u8", "/cam/ts.m3u8", "/cam/_/source.ts.m3u8", "/cam/_/source.iframes.m3u8"]
    {
        let headers = head(&server, &["-H", "Accept-Encoding: gzip"], path);
        assert!(headers.contains("200 ok"), "{path}: {headers}");
        assert!(headers.contains("cache-control: public, max-age=1\r"), "{path}: {headers}");
        assert!(headers.contains("content-type: application/vnd.apple.mpegurl"), "{path}: {headers}");
        assert!(headers.contains("content-encoding: gzip"), "{path}: {headers}");
        assert!(headers.contains("vary: accept-encoding"), "{path}: {headers}");
        let plain = head(&server, &[], path);
        assert!(!plain.contains("content-encoding"), "{path}: {plain}");
        assert!(!plain.contains("last-modified"), "{path}: {plain}");
        let text = server.curl(&["--compressed"], path);
        assert!(text.starts_with("#EXTM3U\n"), "{path}: {text}");
    }
    let headers = head(&server, &[], "/cam/index.m3u8");
    let etag = headers.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    let answer = head(&server, &["-H", &format!("If-None-Match: W/\"x\", {etag}")], "/cam/index.m3u8");
    assert!(answer.contains("304 not modified") || !answer.contains(&etag), "{answer}");
}

#[test]
fn head_options_and_other_methods_are_answered_as_promised() {
    let (server, _publisher, segment) = rig();
    for path in ["/cam/index.m3u8", &segment, "/cam/", "/", "/nothing/index.m3u8"] {
        let get = head(&server, &[], path);
        let answer = server.curl(&["-I"], path).to_lowercase();
        let fields = |text: &str| {
            let mut fields: Vec<_> = text
                .lines()
                .filter(|line| {
                    !line.starts_with("date:") && !line.starts_with("etag:") && !line.starts_with("content-length")
                })
                .map(str::to_owned)
                .collect();
            fields.sort();
            fields
        };
        assert_eq!(fields(&answer), fields(&get), "{path}");
    }
    let preflight = head(
        &server,
        &["-X", "OPTIONS", "-H", "Origin: https://elsewhere.example", "-H", "Access-Control-Request-Method: GET"],
        &segment,
    );
    assert!(preflight.contains("204 no content") && preflight.contains("access-control-max-age: 86400"), "{preflight}");
    let refused = head(&server, &["-X", "DELETE"], &segment);
    assert!(refused.contains("405 method not allowed") && refused.contains("allow: get, head, options"), "{refused}");
}

#[test]
fn what_is_not_there_says_whether_it_may_come() {
    let (server, _publisher, segment) = rig();
    let (folder, _) = segment.rsplit_once('/').unwrap();
    let (epoch_folder, _) = folder.rsplit_once('/').unwrap();
    let (stream_folder, epoch) = epoch_folder.rsplit_once('/').unwrap();
    let before: u64 = epoch[1..].parse::<u64>().unwrap() - 1;
    for (path, status, control) in [
        (format!("{folder}/99999.m4s"), "404", "public, max-age=1"),
        (format!("{stream_folder}/e{before}/source/0.m4s"), "410", "public, max-age=3600"),
        (format!("{epoch_folder}/nothing/0.m4s"), "404", "public, max-age=1"),
        ("/nobody/index.m3u8".to_owned(), "404", "public, max-age=1"),
        ("/cam/_/../../etc/passwd".to_owned(), "404", "public, max-age=1"),
        ("/.hidden/index.m3u8".to_owned(), "404", "public, max-age=1"),
    ] {
        let headers = head(&server, &["--path-as-is"], &path);
        assert!(headers.starts_with(&format!("http/1.1 {status}")), "{path}: {headers}");
        assert!(headers.contains(&format!("cache-control: {control}\r")), "{path}: {headers}");
    }
}

#[test]
fn a_viewer_who_takes_nothing_is_let_go() {
    use std::io::Write;
    let server = Server::start(
        "[transcode]\nladder = [\"source\"]\n[segment]\ntarget = \"1s\"\n[http]\nwrite_timeout = \"1s\"\n",
    );
    let _publisher = server.push("cam", &picture("640x360", 25, 120));
    let list = playlist::of(&server, "cam", "source", 2);
    let open = || {
        let metrics = server.get("/metrics").1;
        let line = metrics.lines().find_map(|line| line.strip_prefix("headwater_http_connections_open "));
        line.unwrap().parse::<u64>().unwrap()
    };
    let before = open();
    let mut greedy = std::net::TcpStream::connect(server.http.trim_start_matches("http://")).unwrap();
    let request = format!("GET /cam/_/{} HTTP/1.1\r\nHost: x\r\n\r\n", list.segments[0].uri);
    // Far more than sockets hold; the server stops reading at some point, too.
    greedy.set_nonblocking(true).unwrap();
    let _ = greedy.write_all(request.repeat(2_000).as_bytes());
    server.wait("the greedy one to be served", || (open() > before).then_some(()));
    server.wait("the greedy one to be let go", || (open() <= before).then_some(()));
    drop(greedy);
}

#[test]
fn http2_without_tls_is_spoken_on_the_same_port() {
    let (server, _publisher, segment) = rig();
    let whole = server.get_bytes(&segment).1.len();
    for path in ["/cam/index.m3u8", &segment] {
        let headers = head(&server, &["--http2-prior-knowledge"], path);
        assert!(headers.starts_with("http/2 200"), "{path}: {headers}");
    }
    let size = server.curl(&["--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{size_download}"], &segment);
    assert_eq!(size, whole.to_string());
}

#[test]
fn a_playlist_is_rendered_once_however_many_ask() {
    let server = Server::start("[transcode]\nladder = [\"source\"]\n");
    let publisher = server.push("cam", &picture("320x180", 25, 5));
    assert_eq!(publisher.finish(), (true, String::new()));
    server.wait_for_log("publisher left");
    let renderings = || {
        let metrics = server.get("/metrics").1;
        let line =
            metrics.lines().find_map(|line| line.strip_prefix("headwater_http_playlist_renderings_total ")).unwrap();
        line.parse::<u64>().unwrap()
    };
    let before = renderings();
    for _ in 0..50 {
        server.get("/cam/_/source.m3u8");
    }
    assert_eq!(renderings() - before, 1);
}

#[test]
fn ts_segments_made_for_one_are_the_same_bytes_for_all_and_their_counters_run_on() {
    let (server, _publisher, _) = rig();
    let list = server.wait_for("/cam/_/source.ts.m3u8", |text| playlist::media(text).segments.len() >= 4);
    let mut joined = Vec::new();
    for segment in playlist::media(&list).segments.iter().take(4) {
        let path = format!("/cam/_/{}", segment.uri);
        let data = server.get_bytes(&path).1;
        assert_eq!(server.get_bytes(&path).1, data);
        joined.extend(data);
    }
    let mut counters = std::collections::BTreeMap::new();
    for packet in joined.chunks(188) {
        let pid = u16::from_be_bytes([packet[1] & 0x1F, packet[2]]);
        let counter = packet[3] & 0x0F;
        if let Some(before) = counters.insert(pid, counter) {
            assert_eq!(counter, (before + 1) % 16, "PID {pid}");
        }
    }
    // Pictures and sound are where they belong in time, for a demultiplexer that is not ours.
    let path = server.folder.path().join("joined.ts");
    std::fs::write(&path, &joined).unwrap();
    let times = crate::rig::ffprobe(path.to_str().unwrap(), "packet=codec_type,dts_time");
    let mut last: std::collections::BTreeMap<String, f64> = std::collections::BTreeMap::new();
    for line in &times {
        let mut fields = line.split(',');
        let (kind, at) = (fields.next().unwrap().to_owned(), fields.next().unwrap().parse::<f64>().unwrap());
        if let Some(before) = last.insert(kind.clone(), at) {
            assert!(at > before && at - before < 0.1, "{kind}: {at} after {before}");
        }
    }
    assert!(times.len() > 200);
}
