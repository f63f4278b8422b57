//! One decoder of pictures, on a thread of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::cuts::Reader;
use super::encode::Open;
use super::fan::{Fan, Outlet};
use super::feed::Work;
use super::lateness::Lateness;
use super::rung;
use super::{Output, Pressure, Rung, Shared, TranscodeError, spawn};
use crate::libav::{Decoder, Error, Layout, Picture, PictureGraph};
use crate::media::{AccessUnit, FrameRate, MediaDuration, MediaTime, Size, Timescale, Track, VideoFormat};

/// Pictures are counted as this long at most: what comes after a hole is not the rung's doing.
const LONGEST: MediaDuration = MediaDuration::new(1, Timescale::new(1).expect("a literal above zero"));

pub(super) struct Setup<'a> {
    pub(super) track: &'a Track,
    pub(super) rungs: Vec<Rung>,
    pub(super) shed_after: Duration,
    pub(super) cuts: Reader,
    pub(super) output: mpsc::Sender<Output>,
    pub(super) pressure: Pressure,
    pub(super) open: Open,
    pub(super) shared: Arc<Shared>,
}

/// Starts the decoder's thread and the rungs'.
pub(super) fn start(setup: Setup<'_>, work: Receiver<Work>) -> Result<(), TranscodeError> {
    let Setup { track, rungs, shed_after, cuts, output, pressure, open, shared } = setup;
    let announced = track.codec.video().and_then(|video| video.frame_rate);
    let decoder = Decoder::open(track, Timescale::MPEG, threads(track.codec.video()))?;
    let mut outlets = Vec::new();
    for rung in rungs {
        let frame_rate = frame_rate(announced, rung.frame_rate);
        let (outlet, jobs, tie) = Outlet::new(&rung, frame_rate, shed_after);
        outlets.push(outlet);
        let of = (track.id, track.language.clone());
        let name = format!("enc-{}", rung.id);
        let worker =
            rung::Worker::new(rung, of, frame_rate, Arc::clone(&open), output.clone(), tie, Arc::clone(&shared));
        spawn(&name, move || worker.run(&jobs))?;
    }
    let source = Source {
        decoder,
        deinterlacer: None,
        arrivals: VecDeque::new(),
        lateness: Lateness::new(shed_after),
        wants_key: true,
        last: None,
        fan: Fan::new(cuts, outlets, output, pressure, Arc::clone(&shared)),
        shared,
    };
    spawn("dec-video", move || source.run(&work))?;
    Ok(())
}

/// One core decodes several 1080p streams in real time; threads of libav's cost latency, a picture each.
fn threads(video: Option<&VideoFormat>) -> usize {
    let Some(VideoFormat { size: Size { width, height }, frame_rate, .. }) = video else { return 1 };
    let samples = f64::from(*width) * f64::from(*height) * frame_rate.map_or(30.0, FrameRate::fps);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if samples > 150e6 { cores.min(4) } else { 1 }
}

/// What the encoder announces: the source's rate where it can be believed, or the rung's limit.
fn frame_rate(source: Option<FrameRate>, limit: Option<u32>) -> FrameRate {
    let source = source.filter(|rate| (1.0..=240.0).contains(&rate.fps()));
    let source = source.unwrap_or(FrameRate { numerator: 30, denominator: 1 });
    match limit {
        Some(limit) if f64::from(limit) < source.fps() => FrameRate { numerator: limit, denominator: 1 },
        _ => source,
    }
}

struct Source {
    decoder: Decoder,
    /// Only while interlaced pictures come.
    deinterlacer: Option<(Layout, PictureGraph)>,
    /// When the access units inside the decoder arrived, by `pts`.
    arrivals: VecDeque<(i64, Instant)>,
    /// The decoder's own.
    lateness: Lateness,
    /// Units are ignored up to the next random access point.
    wants_key: bool,
    /// The latest picture.
    last: Option<MediaTime>,
    fan: Fan,
    shared: Arc<Shared>,
}

impl Source {
    fn run(mut self, work: &Receiver<Work>) {
        while let Ok(work) = work.recv() {
            if self.shared.is_abandoned() {
                return;
            }
            match work {
                Work::Unit { unit, lost } => self.unit(&unit, lost),
                Work::Gap => {
                    self.restart();
                    self.fan.gap();
                }
                Work::Track(track) => self.update(&track),
            }
            if self.fan.is_over() {
                return;
            }
        }
        if !self.shared.is_abandoned() {
            self.restart();
            self.fan.last_words();
        }
    }

    fn unit(&mut self, unit: &AccessUnit, lost: Option<MediaDuration>) {
        if let Some(lost) = lost {
            tracing::warn!(seconds = lost.seconds(), "the decoder is late and skipped to a random access point");
            self.restart();
            self.lateness.missed(lost);
            if self.lateness.is_too_much() {
                self.lateness.forgive();
                self.fan.shed_most_expensive("the machine cannot keep up with decoding");
            }
        }
        if self.wants_key {
            if !unit.random_access {
                return;
            }
            self.wants_key = false;
        }
        // A decoder that swallows pictures must not make this grow.
        if self.arrivals.len() == 256 {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back((unit.pts.to_scale(Timescale::MPEG).ticks(), unit.received));
        let result = self.decoder.send(unit).and_then(|()| self.take());
        if let Err(error) = result {
            self.shared.decode_errors.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%error, "a picture cannot be decoded; waiting for a random access point");
            self.restart();
        }
    }

    fn update(&mut self, track: &Track) {
        self.restart();
        match Decoder::open(track, Timescale::MPEG, threads(track.codec.video())) {
            Ok(decoder) => self.decoder = decoder,
            Err(error) => self.fan.shed_all(&error.to_string()),
        }
    }

    /// Lets everything out and waits for a random access point.
    fn restart(&mut self) {
        self.decoder.finish();
        while let Err(error) = self.take() {
            tracing::debug!(%error, "a picture at the end cannot be decoded");
        }
        if let Err(error) = self.end_deinterlacing() {
            tracing::debug!(%error, "the last interlaced picture is lost");
        }
        self.decoder.reset();
        self.arrivals.clear();
        self.wants_key = true;
    }

    fn take(&mut self) -> Result<(), Error> {
        while let Some(picture) = self.decoder.picture()? {
            if self.deinterlacer.is_none() && !picture.is_interlaced() {
                self.spread(&picture)?;
                continue;
            }
            let layout = picture.layout();
            if self.deinterlacer.as_ref().is_some_and(|(of, _)| *of != layout) {
                self.end_deinterlacing()?;
            }
            let mut graph = match self.deinterlacer.take() {
                Some((_, graph)) => graph,
                None => PictureGraph::deinterlacer(layout, Timescale::MPEG)?,
            };
            graph.push(picture)?;
            while let Some(picture) = graph.pull()? {
                self.spread(&picture)?;
            }
            self.deinterlacer = Some((layout, graph));
        }
        Ok(())
    }

    fn end_deinterlacing(&mut self) -> Result<(), Error> {
        let Some((_, mut graph)) = self.deinterlacer.take() else { return Ok(()) };
        graph.finish();
        while let Some(picture) = graph.pull()? {
            self.spread(&picture)?;
        }
        Ok(())
    }

    fn spread(&mut self, picture: &Picture) -> Result<(), Error> {
        let Some(pts) = picture.pts() else { return Ok(()) };
        let found = self.arrivals.iter().position(|&(at, _)| at == pts);
        // A time that no access unit has is the decoder's guess: a field or a picture that was made up.
        let Some((_, received)) = found.and_then(|at| self.arrivals.remove(at)) else { return Ok(()) };
        let at = MediaTime::new(pts, Timescale::MPEG);
        if self.last.is_some_and(|last| at <= last) {
            return Ok(());
        }
        let length = self.last.and_then(|last| at.since(last)).map_or(LONGEST, |length| length.min(LONGEST));
        self.last = Some(at);
        self.lateness.did(length);
        self.fan.spread(picture, received, at, length)
    }
}
