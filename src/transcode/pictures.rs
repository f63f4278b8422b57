//! One decoder of pictures and its fan-out to the rungs, on a thread of its own.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::cuts::Reader;
use super::encode::Open;
use super::feed::Work;
use super::lateness::{Lateness, Pacer};
use super::rung::{self, Job, Skip, Tie};
use super::{Output, Pressure, Rung, Shared, TranscodeError, spawn};
use crate::libav::{Decoder, Error, Layout, Picture, PictureGraph};
use crate::media::{AccessUnit, FrameRate, MediaDuration, MediaTime, RenditionId, Size, Timescale, Track, VideoFormat};

/// About half a second of decoded pictures. A rung that falls behind by more skips to the next cut.
const RUNG_QUEUE: usize = 16;

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
        let (queue, jobs) = sync_channel(RUNG_QUEUE);
        let tie = Arc::new(Tie::default());
        let frame_rate = frame_rate(announced, rung.frame_rate);
        outlets.push(Outlet {
            id: rung.id.clone(),
            samples_per_second: f64::from(rung.size.width) * f64::from(rung.size.height) * frame_rate.fps(),
            pacer: Pacer::new(rung.frame_rate),
            lateness: Lateness::new(shed_after),
            skip: None,
            fresh: false,
            queue,
            tie: Arc::clone(&tie),
        });
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
        fan: Fan { cuts, outlets, output, pressure, shared: Arc::clone(&shared), owed: VecDeque::new() },
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

/// The way to one rung.
struct Outlet {
    id: RenditionId,
    samples_per_second: f64,
    pacer: Pacer,
    lateness: Lateness,
    /// Pictures are being left out up to the next cut.
    skip: Option<Skip>,
    /// A gap found the queue full: the next picture says so.
    fresh: bool,
    queue: SyncSender<Job>,
    tie: Arc<Tie>,
}

/// Gives pictures to the rungs and gives rungs up.
struct Fan {
    cuts: Reader,
    outlets: Vec<Outlet>,
    output: mpsc::Sender<Output>,
    pressure: Pressure,
    shared: Arc<Shared>,
    /// News that the output had no room for. Never more than rungs.
    owed: VecDeque<Output>,
}

enum Offer {
    Taken,
    Full,
    Ended,
}

impl Fan {
    fn spread(
        &mut self,
        picture: &Picture,
        received: Instant,
        at: MediaTime,
        length: MediaDuration,
    ) -> Result<(), Error> {
        let cut = self.cuts.reaches(at);
        let mut ended = Vec::new();
        let mut late = None;
        for (index, outlet) in self.outlets.iter_mut().enumerate() {
            if !outlet.pacer.takes(at, cut) {
                continue;
            }
            if outlet.skip.is_none() || cut {
                let (skipped, fresh) = (outlet.skip, outlet.fresh);
                let job = Job::Picture { picture: picture.share()?, received, cut, skipped, fresh };
                match outlet.offer(job, self.pressure) {
                    Offer::Taken => {
                        (outlet.skip, outlet.fresh) = (None, false);
                        outlet.lateness.did(length);
                        continue;
                    }
                    Offer::Full => {}
                    Offer::Ended => {
                        ended.push(index);
                        continue;
                    }
                }
            }
            outlet.skip.get_or_insert(Skip { from: at, pictures: 0 }).pictures += 1;
            self.shared.pictures_skipped.fetch_add(1, Ordering::Relaxed);
            outlet.lateness.missed(length);
            if outlet.lateness.is_too_much() {
                late = Some(index);
            }
        }
        for index in ended.into_iter().rev() {
            self.bury(index);
            late = None;
        }
        if let Some(index) = late {
            // One that does nothing at all is not helped by another's going.
            if self.outlets[index].lateness.is_stuck() {
                self.shed(index, "its encoder stands still");
            } else {
                self.shed_most_expensive("the machine cannot keep up with encoding");
            }
        }
        self.deliver();
        Ok(())
    }

    fn gap(&mut self) {
        for outlet in &mut self.outlets {
            outlet.fresh = !matches!(outlet.offer(Job::Gap, self.pressure), Offer::Taken);
        }
    }

    fn shed_all(&mut self, reason: &str) {
        while !self.outlets.is_empty() {
            self.shed(0, reason);
        }
        self.deliver();
    }

    /// The last rung stays, with holes: it is more than nothing.
    fn shed_most_expensive(&mut self, reason: &str) {
        let cost = |&(_, outlet): &(usize, &Outlet)| outlet.samples_per_second;
        let most = self.outlets.iter().enumerate().max_by(|a, b| cost(a).total_cmp(&cost(b))).map(|(index, _)| index);
        match most {
            Some(index) if self.outlets.len() > 1 => self.shed(index, reason),
            _ => {
                for outlet in &mut self.outlets {
                    outlet.lateness.forgive();
                }
            }
        }
    }

    fn shed(&mut self, index: usize, reason: &str) {
        let outlet = self.outlets.remove(index);
        outlet.tie.stop.store(true, Ordering::Relaxed);
        tracing::warn!(rendition = %outlet.id, reason, "gave up a rung");
        self.owed.push_back(Output::Shed { rendition: outlet.id, reason: reason.to_owned() });
        for outlet in &mut self.outlets {
            outlet.lateness.forgive();
        }
    }

    /// The rung's thread has ended by itself.
    fn bury(&mut self, index: usize) {
        let outlet = self.outlets.remove(index);
        self.owed.extend(outlet.obituary());
    }

    fn deliver(&mut self) {
        while let Some(news) = self.owed.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(news)) = self.output.try_send(news) {
                self.owed.push_front(news);
                return;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.outlets.is_empty() && self.owed.is_empty()
    }

    /// Closes the rungs' queues and says what there was no room for.
    fn last_words(mut self) {
        self.outlets.clear();
        for news in self.owed {
            // Nobody may want to hear it any more.
            let _ = self.output.blocking_send(news);
        }
    }
}

impl Outlet {
    fn offer(&self, job: Job, pressure: Pressure) -> Offer {
        match pressure {
            Pressure::Live => match self.queue.try_send(job) {
                Ok(()) => Offer::Taken,
                Err(TrySendError::Full(_)) => Offer::Full,
                Err(TrySendError::Disconnected(_)) => Offer::Ended,
            },
            Pressure::Wait => self.queue.send(job).map_or(Offer::Ended, |()| Offer::Taken),
        }
    }

    /// Why it ended; `None` when nobody wanted its output.
    fn obituary(self) -> Option<Output> {
        let failure = self.tie.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        let reason = failure?;
        tracing::warn!(rendition = %self.id, reason, "a rung failed");
        Some(Output::Shed { rendition: self.id, reason })
    }
}
