//! Holds the map: who may import whom, which modules only compute, which folders there are. `ARCHITECTURE.md` explains it;
//! extend it there and here, on purpose.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the sources has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// A module and the modules that it may use.
const IMPORTS: &[(&str, &[&str])] = &[
    ("media", &[]),
    ("runtime", &[]),
    ("bitstream", &["media"]),
    ("container", &["media", "bitstream"]),
    ("protocol", &["media", "bitstream"]),
    ("libav", &["media"]),
    ("ingest", &["media", "bitstream", "container", "protocol", "libav", "runtime"]),
    ("transcode", &["media", "bitstream", "libav", "runtime"]),
    ("package", &["media", "bitstream", "container"]),
    ("window", &["media", "runtime"]),
    ("manifest", &["media", "window"]),
    ("origin", &["media", "container", "libav", "window", "manifest", "runtime"]),
    ("stream", &["media", "ingest", "transcode", "package", "window", "runtime"]),
    ("control", &["media", "ingest", "transcode", "package", "window", "origin", "stream", "libav", "runtime"]),
    ("server", &["media", "ingest", "origin", "stream", "window", "control", "libav", "runtime"]),
    // Bodies of the fuzz targets.
    ("fuzzing", &["bitstream", "container", "protocol", "media", "runtime"]),
];

/// Modules that only compute.
const PURE: &[&str] = &["media", "bitstream", "container", "protocol", "package", "manifest"];

/// Single files of other modules that only compute.
const PURE_FILES: &[&str] = &["stream/timeline.rs", "transcode/ladder.rs", "window/snapshot.rs"];

/// What a module that only computes must not name.
const IMPURE: &[&str] =
    &["tokio::", "std::net", "std::fs", "std::thread", "std::env", "Instant::now", "SystemTime::now", "lock.now"];

/// Where `unsafe` may stand.
const UNSAFE: &str = "libav";

/// A Rust file of `src`, without its tests.
struct Source {
    path: PathBuf,
    module: String,
    code: String,
}

fn sources(root: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(root).unwrap().to_owned();
                let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
                let module = first.strip_suffix(".rs").unwrap_or(first).to_owned();
                let code = without_tests(&fs::read_to_string(&path).unwrap());
                if !relative.ends_with("tests.rs") && !relative.ends_with("testing.rs") {
                    found.push(Source { path: relative, module, code });
                }
            }
        }
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    found
}

/// Tests stand at the end of a file and may use anything. Comments are no code.
fn without_tests(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Modules of the crate that the code names, in `use` and in paths.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate::`, or another crate's name that ends in it.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut name = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        found.insert(first_segment(&name));
                        name.clear();
                        continue;
                    }
                    _ => {}
                }
                name.push(c);
            }
            found.insert(first_segment(&name));
        } else {
            found.insert(first_segment(rest));
        }
    }
    found.remove("");
    found
}

fn first_segment(path: &str) -> String {
    path.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Everything that is not as the map says.
fn violations(sources: &[Source]) -> String {
    let table: BTreeMap<&str, &[&str]> = IMPORTS.iter().copied().collect();
    let mut found = String::new();
    for source in sources {
        let path = source.path.display();
        if matches!(source.module.as_str(), "lib" | "main") {
            continue;
        }
        let Some(allowed) = table.get(source.module.as_str()) else {
            writeln!(found, "{path}: the module {} is not on the map", source.module).unwrap();
            continue;
        };
        for used in imports(&source.code) {
            if used != source.module && table.contains_key(used.as_str()) && !allowed.contains(&used.as_str()) {
                writeln!(found, "{path}: {} must not import {used}", source.module).unwrap();
            }
        }
        let relative = source.path.to_str().unwrap();
        if PURE.contains(&source.module.as_str()) || PURE_FILES.contains(&relative) {
            for word in IMPURE.iter().filter(|word| source.code.contains(**word)) {
                writeln!(found, "{path}: only computes, and names {word}").unwrap();
            }
        }
        if source.module != UNSAFE && source.code.contains("unsafe ") {
            writeln!(found, "{path}: unsafe outside of {UNSAFE}").unwrap();
        }
    }
    found
}

#[test]
fn the_sources_keep_to_the_map() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(sources.len() > 50, "the sources were not found");
    let found = violations(&sources);
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn every_pure_file_is_still_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in PURE_FILES {
        assert!(root.join(file).is_file(), "{file}");
    }
}

#[test]
fn planted_violations_are_caught() {
    let planted = |path: &str, code: &str| {
        let module = path.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        violations(&[Source { path: path.into(), module, code: without_tests(code) }])
    };
    for (path, code, complaint) in [
        ("package/cmaf.rs", "use crate::window::Window;", "package must not import window"),
        ("package/cmaf.rs", "use crate::{media::Track, origin};", "package must not import origin"),
        ("origin/mod.rs", "fn f() { crate::stream::start() }", "origin must not import stream"),
        ("manifest/dash.rs", "let t = SystemTime::now();", "only computes, and names SystemTime::now"),
        ("protocol/x/mod.rs", "use tokio::net::TcpStream;", "only computes, and names tokio::"),
        ("stream/timeline.rs", "use std::fs;", "only computes, and names std::fs"),
        ("helpers/mod.rs", "", "the module helpers is not on the map"),
        ("window/mod.rs", "unsafe { f() }", "unsafe outside of libav"),
    ] {
        let found = planted(path, code);
        assert!(found.contains(complaint), "{path}: {code}: {found:?}");
    }
    for (path, code) in [
        ("package/cmaf.rs", "use crate::media::Track;\n#[cfg(test)]\nmod tests { use crate::window::Window; }"),
        ("package/cmaf.rs", "// use crate::window::Window;"),
        ("stream/live.rs", "use tokio::sync::mpsc;"),
    ] {
        assert_eq!(planted(path, code), "", "{code}");
    }
}
