//! The command line: what is said, and with which exit code.

use std::process::Output;

use crate::playlist;
use crate::rig::{Server, headwater, picture};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn help_and_version_say_what_is_needed() {
    let help = said(&headwater().arg("--help").output().unwrap());
    for word in ["serve", "check", "demo", "rtmp://", "index.m3u8"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    let version = said(&headwater().arg("--version").output().unwrap());
    assert!(version.contains(env!("CARGO_PKG_VERSION")) && version.contains("libavcodec"), "{version}");
}

#[test]
fn a_configuration_is_checked_and_mistakes_are_placed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("headwater.toml");
    let check = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let output = headwater().args(["check", "-c"]).arg(&path).output().unwrap();
        (output.status.code(), said(&output))
    };
    assert_eq!(check(include_str!("../../config/headwater.toml")).0, Some(0));
    let (code, message) = check("[http]\nlisen = \"[::]:80\"\n");
    assert_eq!(code, Some(1));
    assert!(
        message.contains("line 2, column 1") && message.contains("lisen") && message.contains("listen"),
        "{message}"
    );
    let (code, message) = check("[transcode]\nladder = [{ height = 721 }]\n[segment]\ntarget = \"1ms\"\n");
    assert_eq!(code, Some(1));
    assert!(!message.is_empty());
    let missing = headwater().args(["check", "-c", "/nowhere.toml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(said(&missing).contains("/nowhere.toml"), "{}", said(&missing));
}

#[test]
fn a_taken_port_is_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("headwater.toml");
    std::fs::write(&path, format!("[http]\nlisten = \"{address}\"\n[rtmp]\nlisten = \"127.0.0.1:0\"\n")).unwrap();
    let output = headwater().args(["serve", "-c"]).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.contains(&address.to_string()) && message.contains("http.listen"), "{message}");
}

#[test]
fn a_sigterm_ends_the_playlists_and_leaves_viewers_their_grace() {
    let mut server =
        Server::start("[transcode]\nladder = [\"source\"]\n[segment]\ntarget = \"1s\"\n[server]\ngrace = \"20s\"\n");
    let _publisher = server.push("cam", &picture("320x180", 25, 120));
    playlist::of(&server, "cam", "source", 2);
    // A viewer whose connection is open.
    let agent: ureq::Agent = ureq::Agent::config_builder().build().into();
    let watch = || agent.get(server.url("/cam/_/source.m3u8")).call().unwrap().body_mut().read_to_string().unwrap();
    watch();
    server.signal("TERM");
    let mut last = String::new();
    let ended = server.wait("ENDLIST", || {
        last = watch();
        last.contains("ENDLIST").then(|| last.clone())
    });
    let segment = playlist::media(&ended).segments.last().unwrap().uri.clone();
    let answer = agent.get(server.url(&format!("/cam/_/{segment}"))).call().unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    drop(answer);
    drop(agent);
    let status = server.child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", server.log());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Server::start("[server]\ngrace = \"60s\"\n");
    let _viewer = std::net::TcpStream::connect(server.http.trim_start_matches("http://")).unwrap();
    server.get("/healthz");
    server.signal("TERM");
    server.wait_for_log("shutting down");
    server.signal("INT");
    assert_eq!(server.child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_change_of_the_configuration_concerns_streams_that_start_after_it() {
    let server = Server::start("[transcode]\nladder = [\"source\"]\n");
    let path = server.folder.path().join("headwater.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("[\"source\"]", "[\"sauce\"]")).unwrap();
    server.wait_for_log("is not taken");
    std::fs::write(&path, text.replace("[\"source\"]", "[\"source\", { height = 90 }]")).unwrap();
    server.wait_for_log("the configuration has changed: streams that start from now on follow it");
    let _publisher = server.push("cam", &picture("320x180", 25, 60));
    server.wait_for("/cam/index.m3u8", |text| text.contains("_/90p.m3u8"));
}
