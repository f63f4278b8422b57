//! Which rungs make sense for a source. Pure: making them is `worker.rs`'s business.
//!
//! A rung's *height* is the shorter side of the picture, as people mean it who say "720p": a portrait picture of
//! 1080x1920 has a 720p rung of 720x1280.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::media::{Bitrate, FrameRate, RenditionId, Size, VideoFormat};

/// Which renditions of a stream are made, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `"auto"` (the source as it is, and 720p, 480p, 360p and 240p as far as they are smaller) or a list of
    /// `"source"` and tables such as `{ height = 720, bitrate = "2500k" }`. A source that is copied stays what it is,
    /// also where browsers do not take it (H.264 in 4:2:2 or 10 bits): leave `"source"` out then.
    pub ladder: Ladder,
    /// x264's preset for rungs that do not say: from `ultrafast` to `placebo`.
    pub preset: String,
    /// What rungs are encoded for.
    pub latency: Latency,
    /// Bits per second of sound that has to become AAC.
    pub audio_bitrate: Bitrate,
    /// Threads of each rung's encoder; 0 lets the rung's size decide.
    pub threads: usize,
    /// How much of a rung's pictures, as a length of time, may be lost before the machine is held to be too slow and the
    /// most expensive rung is given up.
    #[serde(with = "crate::media::duration_text")]
    pub shed_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ladder: Ladder::Auto,
            preset: "veryfast".to_owned(),
            latency: Latency::Balanced,
            audio_bitrate: Bitrate::new(128_000),
            threads: 0,
            shed_after: Duration::from_secs(3),
        }
    }
}

/// x264's presets.
const PRESETS: [&str; 10] =
    ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"];

impl Config {
    /// What reads well and makes no sense.
    pub fn judge(&self) -> Result<(), String> {
        let rungs = match &self.ladder {
            Ladder::Auto => &[][..],
            Ladder::List(steps) => steps,
        };
        let rungs = rungs.iter().filter_map(|step| if let Step::Rung(rung) = step { Some(rung) } else { None });
        let presets = std::iter::once(&self.preset).chain(rungs.clone().filter_map(|rung| rung.preset.as_ref()));
        for preset in presets {
            if !PRESETS.contains(&preset.as_str()) {
                return Err(format!("\"{preset}\" is no preset of x264 (try one of {})", PRESETS.join(", ")));
            }
        }
        for name in rungs.filter_map(|rung| rung.name.as_deref()) {
            if name == "audio" || name.starts_with("audio-") || name == SOURCE {
                return Err(format!("a rung cannot be named \"{name}\": sound and the source have such names"));
            }
        }
        Ok(())
    }
}

/// What rungs are encoded for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Latency {
    /// Two B-frames and the preset's lookahead: some 0.4 s behind the source.
    #[default]
    Balanced,
    /// Each picture comes out as it goes in (x264's `zerolatency`), for some tenths more bits.
    Low,
}

/// The renditions that are wished for.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Ladder {
    /// `"auto"`
    #[default]
    Auto,
    /// Exactly these.
    List(Vec<Step>),
}

/// One item of a ladder.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// `"source"`: the publisher's own pictures, copied.
    Source,
    /// A rung to be encoded.
    Rung(RungConfig),
}

/// A rung as configuration has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RungConfig {
    /// In URLs, 1 to 32 of `[a-z0-9-]`; the height and a `p` when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Samples of the picture's shorter side, 16 to 4320.
    pub height: u32,
    /// Bits per second on average; what is usual for the height when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<Bitrate>,
    /// Pictures per second at most; the source's when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<u32>,
    /// What it is encoded in.
    #[serde(default)]
    pub codec: RungCodec,
    /// x264's preset; the ladder's when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
}

/// What a rung is encoded in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RungCodec {
    /// H.264 by x264.
    #[default]
    H264,
}

pub(super) const SOURCE: &str = "source";

/// The rungs of `auto`.
const AUTO: [u32; 4] = [720, 480, 360, 240];

/// What is made of one source.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The publisher's own pictures are a rendition, unchanged.
    pub copy_source: bool,
    /// What is encoded, in the order of the configuration.
    pub rungs: Vec<Rung>,
}

/// One rendition to be encoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Rung {
    /// Its name.
    pub id: RenditionId,
    /// Columns and rows, even, of square samples, upright.
    pub size: Size,
    /// Bits per second on average.
    pub bitrate: Bitrate,
    /// Pictures per second at most; `None` for all of the source's.
    pub frame_rate: Option<u32>,
    /// x264's preset.
    pub preset: String,
}

/// The rungs for a source: none for one without pictures.
///
/// A rung taller than the source gets the source's size, or is left out where the source itself is there and nothing else
/// tells the two apart; of two with the same size and frame rate the first stays.
pub fn plan(config: &Config, video: Option<&VideoFormat>) -> Plan {
    let Some(video) = video else { return Plan { copy_source: true, rungs: Vec::new() } };
    let shown = shown(video);
    let (copy_source, wished): (bool, Vec<RungConfig>) = match &config.ladder {
        Ladder::Auto => {
            let smaller = AUTO.into_iter().filter(|&height| height < shown.width.min(shown.height));
            (true, smaller.map(RungConfig::of_height).collect())
        }
        Ladder::List(steps) => {
            let rungs = steps.iter().filter_map(|step| match step {
                Step::Source => None,
                Step::Rung(rung) => Some(rung.clone()),
            });
            (steps.contains(&Step::Source), rungs.collect())
        }
    };
    let mut rungs: Vec<Rung> = Vec::new();
    for wish in wished {
        let is_source =
            wish.height > shown.width.min(shown.height) && wish.bitrate.is_none() && wish.frame_rate.is_none();
        if copy_source && is_source {
            continue;
        }
        let size = scaled(shown, wish.height);
        let name = wish.name.unwrap_or_else(|| format!("{}p", wish.height));
        let Ok(id) = name.parse() else { continue };
        let short = size.width.min(size.height);
        let same = |rung: &Rung| rung.id == id || (rung.size == size && rung.frame_rate == wish.frame_rate);
        if rungs.iter().any(same) {
            continue;
        }
        rungs.push(Rung {
            id,
            size,
            bitrate: wish.bitrate.unwrap_or_else(|| usual_bitrate(short, video.frame_rate, wish.frame_rate)),
            frame_rate: wish.frame_rate,
            preset: wish.preset.unwrap_or_else(|| config.preset.clone()),
        });
    }
    Plan { copy_source, rungs }
}

impl RungConfig {
    fn of_height(height: u32) -> Self {
        Self { name: None, height, bitrate: None, frame_rate: None, codec: RungCodec::H264, preset: None }
    }
}

/// The picture as a viewer sees it: square samples, upright. Samples that are not square are made so by shrinking the
/// longer way, never by stretching.
fn shown(video: &VideoFormat) -> Size {
    let Size { width, height } = video.size;
    let (num, den) = (video.sample_aspect.0.max(1), video.sample_aspect.1.max(1));
    let times = |side: u32, by: u32, over: u32| {
        let scaled = (u64::from(side) * u64::from(by) + u64::from(over / 2)) / u64::from(over);
        u32::try_from(scaled).unwrap_or(u32::MAX).max(1)
    };
    let (width, height) = if num < den { (times(width, num, den), height) } else { (width, times(height, den, num)) };
    video.rotation.turned(Size { width, height })
}

/// The picture with its shorter side made `height`, or left as it is when that is no less; even both ways.
fn scaled(shown: Size, height: u32) -> Size {
    let even_down = |side: u32| (side & !1).max(2);
    let short = shown.width.min(shown.height);
    let long = shown.width.max(shown.height);
    if height >= short {
        return Size { width: even_down(shown.width), height: even_down(shown.height) };
    }
    let short_side = even_down(height);
    // To the nearest even number.
    let (long, short, target) = (u64::from(long), u64::from(short), u64::from(short_side));
    let nearest = (long * target + short) / (2 * short) * 2;
    let long_side = u32::try_from(nearest.clamp(2, long & !1)).unwrap_or(!1);
    if shown.width >= shown.height {
        Size { width: long_side, height: short_side }
    } else {
        Size { width: short_side, height: long_side }
    }
}

/// What H.264 by `veryfast` needs to look well, by the shorter side; half as much again above 40 pictures a second.
fn usual_bitrate(height: u32, source: Option<FrameRate>, limit: Option<u32>) -> Bitrate {
    const TABLE: [(u32, u64); 8] = [
        (240, 400_000),
        (360, 800_000),
        (480, 1_400_000),
        (540, 1_800_000),
        (720, 2_800_000),
        (1080, 5_000_000),
        (1440, 9_000_000),
        (2160, 16_000_000),
    ];
    let step = TABLE.into_iter().find(|&(rows, _)| height <= rows).unwrap_or((2160, 16_000_000));
    // Between the steps by area.
    let area = |rows: u32| u64::from(rows) * u64::from(rows);
    let bits = (step.1 * area(height.min(step.0)) / area(step.0)).max(step.1 * 2 / 5);
    let fps = source.map_or(30.0, FrameRate::fps);
    let fast = limit.map_or(fps, |limit| fps.min(f64::from(limit))) > 40.0;
    Bitrate::new(if fast { bits + bits / 2 } else { bits } / 1000 * 1000)
}

#[cfg(test)]
mod tests {
    use crate::media::Rotation;
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn video(width: u32, height: u32, sample_aspect: (u32, u32)) -> VideoFormat {
        VideoFormat {
            size: Size { width, height },
            sample_aspect,
            frame_rate: None,
            color: None,
            rotation: Rotation::None,
        }
    }

    fn turned(video: VideoFormat, rotation: Rotation) -> VideoFormat {
        VideoFormat { rotation, ..video }
    }

    fn sizes(config: &Config, video: &VideoFormat) -> Vec<String> {
        let plan = plan(config, Some(video));
        plan.rungs.iter().map(|rung| format!("{} {}", rung.id, rung.size)).collect()
    }

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn auto_is_the_source_and_what_is_smaller() {
        let auto = Config::default();
        assert_eq!(
            sizes(&auto, &video(1920, 1080, (1, 1))),
            ["720p 1280x720", "480p 854x480", "360p 640x360", "240p 426x240"]
        );
        assert_eq!(sizes(&auto, &video(854, 480, (1, 1))), ["360p 640x360", "240p 428x240"]);
        assert!(plan(&auto, Some(&video(320, 180, (1, 1)))).copy_source);
        assert!(plan(&auto, None).rungs.is_empty());
    }

    #[test]
    fn a_portrait_picture_is_measured_by_its_width() {
        let auto = Config::default();
        assert_eq!(sizes(&auto, &video(1080, 1920, (1, 1)))[0], "720p 720x1280");
        assert_eq!(sizes(&auto, &turned(video(1920, 1080, (1, 1)), Rotation::Quarter))[0], "720p 720x1280");
    }

    #[test]
    fn samples_become_square() {
        let pal = config("ladder = [{ height = 576 }, { height = 288 }]");
        assert_eq!(sizes(&pal, &video(720, 576, (64, 45))), ["576p 720x404", "288p 512x288"]);
        assert_eq!(sizes(&pal, &video(720, 576, (16, 15)))[0], "576p 720x540");
    }

    #[test]
    fn presets_and_names_that_cannot_be_are_named() {
        for (text, said) in [
            ("preset = \"veryfsat\"", "veryfsat"),
            ("ladder = [{ height = 120, name = \"audio\" }]", "audio"),
            ("ladder = [{ height = 120, preset = \"quick\" }]", "quick"),
        ] {
            let message = config(text).judge().unwrap_err();
            assert!(message.contains(said), "{message}");
        }
        assert_eq!(Config::default().judge(), Ok(()));
    }

    #[test]
    fn a_rung_taller_than_the_source_has_its_size_once() {
        let rungs = |ladder: &str| {
            let plan = plan(&config(ladder), Some(&video(641, 361, (1, 1))));
            plan.rungs.iter().map(|r| format!("{} {} {}", r.id, r.size, r.bitrate)).collect::<Vec<_>>()
        };
        let list = "{ height = 1080 }, { height = 720, bitrate = \"2500k\" }, { height = 240 }]";
        assert_eq!(rungs(&format!("ladder = [{list}")), ["1080p 640x360 800k", "240p 426x240 400k"]);
        // Beside the source itself only one that differs in something.
        assert_eq!(rungs(&format!("ladder = [\"source\", {list}")), ["720p 640x360 2500k", "240p 426x240 400k"]);
    }

    #[test]
    fn a_ladder_reads_as_it_is_written_and_mistakes_are_named() {
        let all = config(
            "ladder = [\"source\", { name = \"hd\", height = 720, bitrate = \"2500k\", frame_rate = 30, codec = \"h264\", \
             preset = \"faster\" }]\npreset = \"fast\"\naudio_bitrate = \"96k\"\nthreads = 2\nshed_after = \"5s\"",
        );
        assert_eq!(config(&toml::to_string(&all).unwrap()), all);
        assert_eq!(config(""), Config::default());
        for (text, said) in [
            ("ladder = \"automatic\"", "no ladder"),
            ("ladder = []", "one rendition at least"),
            ("ladder = [\"sauce\"]", "no rendition"),
            ("ladder = [{ height = 1 }]", "16 to 4320"),
            ("ladder = [{ height = 720 }, { name = \"720p\", height = 480 }]", "two renditions are called"),
            ("ladder = [{ name = \"A b\", height = 480 }]", "names no rendition"),
            ("ladder = [{ height = 480, bitrate = \"fast\" }]", "no bit rate"),
            ("ladder = [{ height = 480, width = 640 }]", "unknown field"),
            ("rungs = 3", "unknown field"),
        ] {
            let error = toml::from_str::<Config>(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn rungs_are_even_no_larger_than_the_source_and_keep_its_aspect(
            width in 2_u32..5000,
            height in 2_u32..5000,
            aspect in prop_oneof![Just((1, 1)), (1_u32..200, 1_u32..200)],
            on_its_side in any::<bool>(),
            heights in proptest::collection::vec(16_u32..=4320, 1..8),
        ) {
            // A picture a few samples wide has no aspect that could be kept.
            prop_assume!(aspect.0 < aspect.1 * 8 && aspect.1 < aspect.0 * 8);
            let rungs: Vec<_> = heights.iter().enumerate().map(|(at, &height)| {
                Step::Rung(RungConfig { name: Some(format!("r{at}")), ..RungConfig::of_height(height) })
            }).collect();
            let config = Config { ladder: Ladder::List(rungs), ..Config::default() };
            let format = video(width, height, aspect);
            let rotation = if on_its_side { Rotation::ThreeQuarters } else { Rotation::None };
            let format = turned(format, rotation);
            let Size { width: wide, height: high } = shown(&format);
            prop_assert!(wide.max(high) <= width.max(height));
            let plan = plan(&config, Some(&format));
            prop_assert!(!plan.rungs.is_empty());
            let ids: HashSet<_> = plan.rungs.iter().map(|rung| rung.id.clone()).collect();
            prop_assert_eq!(ids.len(), plan.rungs.len());
            for rung in plan.rungs {
                let Size { width: w, height: h } = rung.size;
                prop_assert!(w % 2 == 0 && h % 2 == 0 && w >= 2 && h >= 2);
                prop_assert!(w <= wide.max(2) && h <= high.max(2), "{}x{} of {}x{}", w, h, wide, high);
                // Within a pixel and the two that being even costs.
                let exact = f64::from(h) * f64::from(wide) / f64::from(high);
                let other = f64::from(w) * f64::from(high) / f64::from(wide);
                prop_assert!((exact - f64::from(w)).abs() <= 2.0 || (other - f64::from(h)).abs() <= 2.0);
            }
        }
    }
}
