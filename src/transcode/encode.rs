//! The seam between a rung and its encoder.

use std::sync::Arc;

use super::ladder::Latency;
use super::{Rung, TranscodeError};
use crate::bitstream;
use crate::libav::{Coded, Colors, Error, Picture, VideoEncoder, VideoSettings};
use crate::media::{Codec, FrameRate, Timescale};

/// Encodes the pictures of one rung. Times are ticks of 90 kHz.
pub(super) trait Encode: Send {
    /// Takes one picture, a random access point when `key`, and adds what comes out.
    fn encode(&mut self, picture: Picture, key: bool, coded: &mut Vec<Coded>) -> Result<(), Error>;
    /// Adds what is left inside.
    fn finish(&mut self, coded: &mut Vec<Coded>) -> Result<(), Error>;
    /// What comes out.
    fn codec(&self) -> Result<Codec, TranscodeError>;
}

/// Opens an encoder for pictures like this one.
pub(super) type Open = Arc<dyn Fn(&Rung, FrameRate, &Picture) -> Result<Box<dyn Encode>, TranscodeError> + Send + Sync>;

/// H.264 by x264. 0 `threads` are as many as a rung of its size needs to keep up.
pub(super) fn x264(threads: usize, latency: Latency) -> Open {
    Arc::new(move |rung, frame_rate, picture| {
        let settings = VideoSettings {
            size: rung.size,
            scale: Timescale::MPEG,
            frame_rate,
            bitrate: rung.bitrate,
            preset: rung.preset.clone(),
            tune: (latency == Latency::Low).then_some("zerolatency"),
            threads: if threads == 0 { enough_threads(rung, frame_rate) } else { threads },
            b_frames: if latency == Latency::Low { 0 } else { 2 },
            more: "",
        };
        let encoder = VideoEncoder::open(&settings, Colors::of(picture))?;
        Ok(Box::new(X264 { encoder, frame_rate }))
    })
}

/// One thread costs the least CPU, and rungs run side by side anyway: more only for what one core might not keep up with
/// (`veryfast` makes some 100 million samples a second on a core of ten years ago).
fn enough_threads(rung: &Rung, frame_rate: FrameRate) -> usize {
    let samples = f64::from(rung.size.width) * f64::from(rung.size.height) * frame_rate.fps();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let wanted = [70e6, 140e6, 280e6, 560e6].into_iter().take_while(|&step| samples > step).count();
    [1, 2, 4, 8, 16][wanted].min(cores)
}

struct X264 {
    encoder: VideoEncoder,
    frame_rate: FrameRate,
}

impl X264 {
    fn drain(&mut self, coded: &mut Vec<Coded>) -> Result<(), Error> {
        while let Some(one) = self.encoder.receive()? {
            coded.push(one);
        }
        Ok(())
    }
}

impl Encode for X264 {
    fn encode(&mut self, mut picture: Picture, key: bool, coded: &mut Vec<Coded>) -> Result<(), Error> {
        self.encoder.send(&mut picture, key)?;
        self.drain(coded)
    }

    fn finish(&mut self, coded: &mut Vec<Coded>) -> Result<(), Error> {
        self.encoder.finish();
        self.drain(coded)
    }

    fn codec(&self) -> Result<Codec, TranscodeError> {
        let config = bitstream::h264::config_from_annexb(&self.encoder.parameter_sets()?)?;
        let mut codec = bitstream::h264::codec(config)?;
        if let Codec::H264 { video, .. } = &mut codec {
            video.frame_rate = Some(self.frame_rate);
        }
        Ok(codec)
    }
}
