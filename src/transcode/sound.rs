//! One track of sound to AAC, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use tokio::sync::mpsc;

use super::align::{Line, Place};
use super::feed::Work;
use super::{Output, Shared, TranscodeError, spawn};
use crate::bitstream;
use crate::libav::{AudioEncoder, Decoder, Error, Sound, SoundGraph};
use crate::media::{AccessUnit, Bitrate, MediaDuration, MediaTime, RenditionId, Timescale, Track};

/// Starts the thread of one track.
pub(super) fn start(
    rendition: RenditionId,
    track: Track,
    bitrate: Bitrate,
    output: mpsc::Sender<Output>,
    shared: Arc<Shared>,
    work: Receiver<Work>,
) -> Result<(), TranscodeError> {
    let decoder = Decoder::open(&track, track.timescale, 1)?;
    let name = format!("aac-{rendition}");
    let worker = Worker {
        rendition,
        track,
        bitrate,
        output,
        shared,
        decoder,
        graph: None,
        voice: None,
        received: None,
        failing: false,
    };
    spawn(&name, move || worker.run(&work))?;
    Ok(())
}

struct Worker {
    rendition: RenditionId,
    /// The source's.
    track: Track,
    bitrate: Bitrate,
    output: mpsc::Sender<Output>,
    shared: Arc<Shared>,
    decoder: Decoder,
    graph: Option<SoundGraph>,
    /// From the first sound on; its rate and channels stay.
    voice: Option<Voice>,
    /// When the latest access unit arrived.
    received: Option<Instant>,
    failing: bool,
}

/// The encoder and the samples on their way into it.
struct Voice {
    rate: Timescale,
    channels: u16,
    line: Line,
    encoder: AudioEncoder,
    /// Samples that do not fill a frame yet, per channel.
    waiting: Vec<Vec<f32>>,
    /// Where the first of them goes on the media clock.
    head: i64,
}

impl Worker {
    fn run(mut self, work: &Receiver<Work>) {
        let result = self.work(work);
        if let Err(error) = result
            && !self.shared.is_abandoned()
        {
            tracing::warn!(rendition = %self.rendition, %error, "sound cannot be encoded");
            let news = Output::Shed { rendition: self.rendition, reason: error.to_string() };
            // Nobody may want to hear it any more.
            let _ = self.output.blocking_send(news);
        }
    }

    fn work(&mut self, work: &Receiver<Work>) -> Result<(), TranscodeError> {
        while let Ok(work) = work.recv() {
            if self.shared.is_abandoned() || self.output.is_closed() {
                return Ok(());
            }
            match work {
                Work::Unit { unit, .. } => self.unit(&unit)?,
                Work::Gap => self.restart()?,
                Work::Track(track) => {
                    self.restart()?;
                    self.decoder = Decoder::open(&track, track.timescale, 1)?;
                    self.track = *track;
                }
            }
        }
        if self.shared.is_abandoned() {
            return Ok(());
        }
        self.restart()?;
        self.end_line()
    }

    fn unit(&mut self, unit: &AccessUnit) -> Result<(), TranscodeError> {
        self.received = Some(unit.received);
        let mut sounds = Vec::new();
        match self.decoder.send(unit).and_then(|()| self.decoded(&mut sounds)) {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.shared.decode_errors.fetch_add(1, Ordering::Relaxed);
                if !self.failing {
                    tracing::warn!(%error, "sound cannot be decoded; there will be silence");
                }
                self.failing = true;
            }
        }
        sounds.into_iter().try_for_each(|sound| self.convert(sound))
    }

    fn decoded(&mut self, sounds: &mut Vec<Sound>) -> Result<(), Error> {
        while let Some(sound) = self.decoder.sound()? {
            sounds.push(sound);
        }
        Ok(())
    }

    /// Lets out what is inside the decoder and the converter.
    fn restart(&mut self) -> Result<(), TranscodeError> {
        self.decoder.finish();
        let mut sounds = Vec::new();
        if let Err(error) = self.decoded(&mut sounds) {
            tracing::debug!(%error, "the last sound cannot be decoded");
        }
        sounds.into_iter().try_for_each(|sound| self.convert(sound))?;
        self.decoder.reset();
        self.end_graph()
    }

    fn convert(&mut self, sound: Sound) -> Result<(), TranscodeError> {
        if self.graph.as_ref().is_some_and(|graph| !graph.takes(&sound)) {
            self.end_graph()?;
        }
        let (rate, channels) = match &self.voice {
            Some(voice) => (voice.rate, voice.channels),
            // Two rates are what browsers and televisions play without a second thought.
            None if sound.sample_rate() == 44_100 => (AT_44_100, sound.channels().clamp(1, 2)),
            None => (AT_48_000, sound.channels().clamp(1, 2)),
        };
        let mut graph = match self.graph.take() {
            Some(graph) => graph,
            None => SoundGraph::new(&sound, self.track.timescale, rate, channels)?,
        };
        graph.push(sound)?;
        while let Some(sound) = graph.pull()? {
            self.append(&sound, rate, channels)?;
        }
        self.graph = Some(graph);
        Ok(())
    }

    fn end_graph(&mut self) -> Result<(), TranscodeError> {
        let Some(mut graph) = self.graph.take() else { return Ok(()) };
        graph.finish();
        while let Some(sound) = graph.pull()? {
            if let Some((rate, channels)) = self.voice.as_ref().map(|voice| (voice.rate, voice.channels)) {
                self.append(&sound, rate, channels)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, sound: &Sound, rate: Timescale, channels: u16) -> Result<(), TranscodeError> {
        let Some(pts) = sound.pts() else { return Ok(()) };
        if self.voice.is_none() {
            let voice = Voice::new(rate, channels, self.bitrate)?;
            let codec = bitstream::aac::codec(voice.encoder.config().into())?;
            let (id, language) = (self.track.id, self.track.language.clone());
            let delay = u64::try_from(AudioEncoder::FRAME).unwrap_or_default();
            let track = Track { id, timescale: rate, codec, language, delay };
            self.tell(Output::Track { rendition: self.rendition.clone(), track });
            self.voice = Some(voice);
        }
        let Some(voice) = &mut self.voice else { return Ok(()) };
        let from = match voice.line.place(pts, sound.samples()) {
            Place::Join => 0,
            Place::Cut(samples) => samples,
            Place::Silence(samples) => {
                voice.silence(samples);
                0
            }
            Place::Anew => {
                self.end_line()?;
                if let Some(voice) = &mut self.voice {
                    voice.head = pts;
                }
                0
            }
        };
        if let Some(voice) = &mut self.voice {
            voice.append(sound, from);
        }
        self.encode(AudioEncoder::FRAME)
    }

    /// Encodes what waits, frame by frame, as long as at least so many samples wait.
    fn encode(&mut self, at_least: usize) -> Result<(), TranscodeError> {
        while let Some(voice) = &mut self.voice {
            if voice.waiting.first().is_none_or(|first| first.len() < at_least) {
                break;
            }
            voice.send_frame()?;
            self.flush()?;
        }
        Ok(())
    }

    /// Lets out everything; the next sound begins with a new encoder.
    fn end_line(&mut self) -> Result<(), TranscodeError> {
        self.encode(1)?;
        let Some(voice) = &mut self.voice else { return Ok(()) };
        voice.encoder.finish();
        self.flush()?;
        if let Some(voice) = &mut self.voice {
            voice.encoder = AudioEncoder::open(voice.rate.get(), voice.channels, self.bitrate)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), TranscodeError> {
        while let (Some(voice), Some(received)) = (&mut self.voice, self.received) {
            let Some(coded) = voice.encoder.receive()? else { break };
            let at = MediaTime::new(coded.pts, voice.rate);
            let frame = u64::try_from(AudioEncoder::FRAME).unwrap_or_default();
            let unit = AccessUnit {
                track: self.track.id,
                dts: at,
                pts: at,
                duration: Some(MediaDuration::new(frame, voice.rate)),
                random_access: true,
                data: coded.data,
                received,
            };
            self.tell(Output::Unit { rendition: self.rendition.clone(), unit });
        }
        Ok(())
    }

    fn tell(&self, output: Output) {
        // That nobody listens any more is seen before the next access unit.
        let _ = self.output.blocking_send(output);
    }
}

const AT_44_100: Timescale = Timescale::new(44_100).expect("a literal above zero");
const AT_48_000: Timescale = Timescale::new(48_000).expect("a literal above zero");

impl Voice {
    fn new(rate: Timescale, channels: u16, bitrate: Bitrate) -> Result<Self, Error> {
        let encoder = AudioEncoder::open(rate.get(), channels, bitrate)?;
        let waiting = (0..channels).map(|_| Vec::with_capacity(4 * AudioEncoder::FRAME)).collect();
        Ok(Self { rate, channels, line: Line::new(rate.get()), encoder, waiting, head: 0 })
    }

    fn silence(&mut self, samples: usize) {
        for channel in &mut self.waiting {
            channel.resize(channel.len() + samples, 0.0);
        }
    }

    fn append(&mut self, sound: &Sound, from: usize) {
        for (index, channel) in self.waiting.iter_mut().enumerate() {
            channel.extend_from_slice(sound.channel(index).get(from..).unwrap_or_default());
        }
    }

    fn send_frame(&mut self) -> Result<(), Error> {
        let count = self.waiting.first().map_or(0, |first| first.len().min(AudioEncoder::FRAME));
        let frame: Vec<&[f32]> = self.waiting.iter().map(|channel| &channel[..count]).collect();
        self.encoder.send(self.head, &frame)?;
        self.head += i64::try_from(count).unwrap_or_default();
        for channel in &mut self.waiting {
            channel.drain(..count);
        }
        Ok(())
    }
}
