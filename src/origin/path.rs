//! URL to resource and back: the only code that spells the origin's URLs.
//!
//! | URL | what |
//! |---|---|
//! | `/{stream}/index.m3u8`, `/{stream}/ts.m3u8` | multivariant playlist: CMAF, MPEG-TS |
//! | `/{stream}/index.mpd` | DASH MPD of the CMAF segments |
//! | `/{stream}/_/{rendition}.m3u8`, `….ts.m3u8`, `….iframes.m3u8` | media playlist; I-frames of the CMAF segments |
//! | `/{stream}/_/e{epoch}/{rendition}/init-{n}.mp4` | CMAF header |
//! | `/{stream}/_/e{epoch}/{rendition}/{msn}.m4s`, `….ts` | segment |
//! | `/{stream}/_/e{epoch}/{rendition}/{msn}.{part}.m4s` | part of a segment |
//! | `/{stream}/`, `/{stream}` | page |

use crate::manifest::{Form, Pattern, Target};
use crate::media::{Epoch, MediaSequence, RenditionId, StreamName};

/// What a path of the origin names. Whether it exists is another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource<'a> {
    pub(super) stream: &'a str,
    pub(super) what: What,
}

/// A stream's resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Page,
    Multivariant(Form),
    Mpd,
    Media(RenditionId, Form),
    IFrames(RenditionId),
    Init(Epoch, RenditionId, u32),
    Segment(Epoch, RenditionId, MediaSequence, Form),
    Part(Epoch, RenditionId, MediaSequence, u32),
}

impl<'a> Resource<'a> {
    /// `None` for a path that cannot name anything here.
    pub(super) fn parse(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        // Looked for byte by byte: building a searcher of substrings costs more than so short a path.
        let marker = path.as_bytes().windows(3).position(|bytes| bytes == b"/_/");
        let (stream, what) = if let Some(at) = marker {
            (&path[..at], below(&path[at + 3..])?)
        } else if let Some(stream) = path.strip_suffix("/index.m3u8") {
            (stream, What::Multivariant(Form::Cmaf))
        } else if let Some(stream) = path.strip_suffix("/ts.m3u8") {
            (stream, What::Multivariant(Form::Ts))
        } else if let Some(stream) = path.strip_suffix("/index.mpd") {
            (stream, What::Mpd)
        } else {
            (path.strip_suffix('/').unwrap_or(path), What::Page)
        };
        stream.parse::<StreamName>().ok()?;
        Some(Self { stream, what })
    }
}

/// What follows `/{stream}/_/`.
fn below(path: &str) -> Option<What> {
    let Some((epoch, path)) = path.split_once('/') else {
        let name = path.strip_suffix(".m3u8")?;
        return Some(if let Some(rendition) = name.strip_suffix(".ts") {
            What::Media(rendition.parse().ok()?, Form::Ts)
        } else if let Some(rendition) = name.strip_suffix(".iframes") {
            What::IFrames(rendition.parse().ok()?)
        } else {
            What::Media(name.parse().ok()?, Form::Cmaf)
        });
    };
    let epoch = Epoch(number(epoch.strip_prefix('e')?)?);
    let (rendition, file) = path.split_once('/')?;
    let rendition = rendition.parse().ok()?;
    if let Some(init) = file.strip_prefix("init-") {
        return Some(What::Init(epoch, rendition, number(init.strip_suffix(".mp4")?)?.try_into().ok()?));
    }
    let (sequence, form) = match file.split_once('.')? {
        (sequence, "m4s") => (sequence, Form::Cmaf),
        (sequence, "ts") => (sequence, Form::Ts),
        (sequence, part) => {
            let part = number(part.strip_suffix(".m4s")?)?.try_into().ok()?;
            return Some(What::Part(epoch, rendition, MediaSequence(number(sequence)?), part));
        }
    };
    Some(What::Segment(epoch, rendition, MediaSequence(number(sequence)?), form))
}

/// Digits only, and no zero in front: one number has one URL, so that caches keep it once.
fn number(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    (canonical && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// References of a multivariant playlist, relative to it.
pub(super) fn from_multivariant(form: Form) -> impl Fn(Target<'_>) -> String {
    move |target| match target {
        Target::Media(id) if form == Form::Ts => format!("_/{id}.ts.m3u8"),
        Target::Media(id) => format!("_/{id}.m3u8"),
        Target::IFrames(id) => format!("_/{id}.iframes.m3u8"),
        Target::Init(_) | Target::Segment(_) | Target::Part(..) => unreachable_reference(),
    }
}

/// References of a media playlist, relative to it.
pub(super) fn from_media(epoch: Epoch, rendition: &RenditionId, form: Form) -> impl Fn(Target<'_>) -> String {
    let extension = if form == Form::Ts { "ts" } else { "m4s" };
    move |target| match target {
        Target::Init(init) => format!("e{}/{rendition}/init-{init}.mp4", epoch.0),
        Target::Segment(sequence) => format!("e{}/{rendition}/{}.{extension}", epoch.0, sequence.0),
        Target::Part(sequence, part) => format!("e{}/{rendition}/{}.{part}.m4s", epoch.0, sequence.0),
        // From beside it: rendition reports.
        Target::Media(other) => format!("{other}.m3u8"),
        Target::IFrames(_) => unreachable_reference(),
    }
}

/// Patterns of an MPD, relative to it.
pub(super) fn from_mpd(epoch: Epoch) -> impl Fn(Pattern) -> String {
    move |pattern| match pattern {
        Pattern::Init(init) => format!("_/e{}/$RepresentationID$/init-{init}.mp4", epoch.0),
        Pattern::Segment => format!("_/e{}/$RepresentationID$/$Number$.m4s", epoch.0),
    }
}

fn unreachable_reference() -> ! {
    unreachable!("a multivariant playlist refers to playlists, a media playlist to media")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(path: &str) -> Option<What> {
        Resource::parse(path).map(|resource| resource.what)
    }

    fn id(text: &str) -> RenditionId {
        text.parse().unwrap()
    }

    #[test]
    fn every_row_of_the_contract_is_understood() {
        assert_eq!(what("/live/cam1/index.m3u8"), Some(What::Multivariant(Form::Cmaf)));
        assert_eq!(what("/cam/ts.m3u8"), Some(What::Multivariant(Form::Ts)));
        assert_eq!(what("/live/cam1/index.mpd"), Some(What::Mpd));
        assert_eq!(what("/cam/_/720p.m3u8"), Some(What::Media(id("720p"), Form::Cmaf)));
        assert_eq!(what("/cam/_/720p.ts.m3u8"), Some(What::Media(id("720p"), Form::Ts)));
        assert_eq!(what("/cam/_/720p.iframes.m3u8"), Some(What::IFrames(id("720p"))));
        assert_eq!(what("/cam/_/e7/720p/init-2.mp4"), Some(What::Init(Epoch(7), id("720p"), 2)));
        let segment = |form| Some(What::Segment(Epoch(7), id("720p"), MediaSequence(12), form));
        assert_eq!(what("/cam/_/e7/720p/12.m4s"), segment(Form::Cmaf));
        assert_eq!(what("/cam/_/e7/720p/12.ts"), segment(Form::Ts));
        let part = What::Part(Epoch(7), id("720p"), MediaSequence(12), 3);
        assert_eq!(what("/cam/_/e7/720p/12.3.m4s"), Some(part));
        assert_eq!(what("/live/cam1/"), Some(What::Page));
        assert_eq!(what("/live/cam1"), Some(What::Page));
    }

    #[test]
    fn what_names_nothing_is_no_resource() {
        for path in [
            "/",
            "//index.m3u8",
            "/a/../b/index.m3u8",
            "/cam/_/",
            "/cam/_/e7/720p/012.m4s",
            "/cam/_/e7/720p/+1.m4s",
            "/cam/_/e99999999999999999999/720p/1.m4s",
            "/cam/_/e7/720p/1.exe",
            "/cam/_/7/720p/1.m4s",
            "/cam/_/720P.m3u8",
            "/cam/_/e7/720p/99999999999999999999999.m4s",
        ] {
            assert_eq!(Resource::parse(path), None, "{path}");
        }
    }

    #[test]
    fn what_playlists_refer_to_is_understood_again() {
        let source = id("source");
        let media = from_media(Epoch(7), &source, Form::Cmaf);
        let init = format!("/a/_/{}", media(Target::Init(3)));
        assert_eq!(what(&init), Some(What::Init(Epoch(7), id("source"), 3)));
        let segment = format!("/a/_/{}", media(Target::Segment(MediaSequence(5))));
        assert_eq!(what(&segment), Some(What::Segment(Epoch(7), id("source"), MediaSequence(5), Form::Cmaf)));
        let playlist = format!("/a/{}", from_multivariant(Form::Ts)(Target::Media(&id("source"))));
        assert_eq!(what(&playlist), Some(What::Media(id("source"), Form::Ts)));
        let mpd = |pattern| {
            let filled = from_mpd(Epoch(7))(pattern).replace("$RepresentationID$", "source").replace("$Number$", "5");
            what(&format!("/a/{filled}"))
        };
        assert_eq!(mpd(Pattern::Init(3)), Some(What::Init(Epoch(7), id("source"), 3)));
        let segment = What::Segment(Epoch(7), id("source"), MediaSequence(5), Form::Cmaf);
        assert_eq!(mpd(Pattern::Segment), Some(segment));
    }
}
