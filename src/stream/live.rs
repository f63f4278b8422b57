//! The task of one live stream. It alone changes the stream's windows; everything comes to it as messages: the publisher's
//! events, what the ladder made of them, the next publisher.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::rendition::{Breaks, Frame};
use super::renditions::Renditions;
use super::run::{Drains, Plan, Run};
use super::timeline::{Counts, ORIGIN_SECS, Placed, Timeline};
use super::{Setup, Stats};
use crate::ingest::{Publish, Refusal, Source};
use crate::media::{AccessUnit, Epoch, Event, MediaDuration, MediaTime, RenditionId, StreamName, Timescale, Track};
use crate::package::{Pace, Segmenter};
use crate::runtime::{Clock, Shutdown};
use crate::transcode::Output;
use crate::window::{Presentation, Publisher, State, Texts};

/// A rendition that has nothing after this many segments of another is not waited for.
const STRAGGLER_SEGMENTS: u64 = 3;

/// Runs that a stream may begin within a time: a clock that is set, tracks that change, a publisher that returns.
const RUNS: usize = 20;
const RUNS_PER: Duration = Duration::from_secs(10);

/// Runs whose codecs are still draining when another begins.
const DRAINING: usize = 2;

/// How a stream's task ended.
pub(super) enum End {
    /// Its last segments have been there for as long as its window is.
    Expired,
    /// Somebody publishes its name again: a new stream is due.
    Replaced(Publish),
    /// The server goes down.
    ShutDown,
}

/// One live stream.
pub(super) struct Stream {
    pub(super) name: StreamName,
    epoch: Epoch,
    setup: Setup,
    clock: Clock,
    stats: Arc<Stats>,
    presentation: watch::Sender<Arc<Presentation>>,
    since: SystemTime,
    /// When the stream's very first unit arrived: media time [`ORIGIN_SECS`].
    anchor: Option<(Instant, SystemTime)>,
    /// The publisher of now has not sent a unit yet.
    is_fresh: bool,
    source: Option<(Source, Publisher)>,
    timeline: Timeline,
    counted: Counts,
    segmenter: Segmenter,
    overruns: u64,
    renditions: Renditions,
    breaks: Breaks,
    run: Option<Run>,
    runs_begun: Vec<Instant>,
    drains: Drains,
    state: State,
    /// What `presentation` was made from last; `None` when it must be made anew.
    shown: Option<Vec<(RenditionId, u64, u64, bool)>>,
    /// Something may differ from what `presentation` says.
    is_dirty: bool,
}

impl Stream {
    pub(super) fn new(
        name: StreamName,
        epoch: Epoch,
        setup: Setup,
        clock: Clock,
        stats: Arc<Stats>,
    ) -> (Self, watch::Receiver<Arc<Presentation>>) {
        let since = clock.wall();
        let presentation = Presentation {
            name: name.clone(),
            epoch,
            since,
            state: State::Starting,
            publisher: None,
            renditions: Vec::new(),
            texts: Texts::default(),
            mpd: Arc::default(),
        };
        let (presentation, watch) = watch::channel(Arc::new(presentation));
        let segmenter = Segmenter::new(&setup.segment, Pace::Grid);
        let stream = Self {
            name,
            epoch,
            setup,
            clock,
            stats,
            presentation,
            since,
            anchor: None,
            is_fresh: true,
            source: None,
            timeline: Timeline::new(),
            counted: Counts::default(),
            segmenter,
            overruns: 0,
            renditions: Renditions::default(),
            breaks: Breaks::default(),
            run: None,
            runs_begun: Vec::new(),
            drains: Drains::default(),
            state: State::Starting,
            shown: None,
            is_dirty: true,
        };
        (stream, watch)
    }

    /// Runs the stream, beginning with its first publisher, until it has ended and expired.
    pub(super) async fn run(
        mut self,
        source: Source,
        mut publishers: mpsc::Receiver<Publish>,
        shutdown: Shutdown,
    ) -> End {
        self.begin_publisher(source);
        let mut left: Option<Instant> = None;
        loop {
            let drain_until = self.drains.until();
            let alone_until = left.map(|left| left + self.patience());
            tokio::select! {
                output = self.drains.next() => self.output(output),
                event = next_event(&mut self.source) => match event {
                    Some(event) => {
                        if let Err(reason) = self.event(event) {
                            warn!(%reason, "publisher dropped");
                            self.publisher_left();
                        }
                    }
                    None => self.publisher_left(),
                },
                publish = publishers.recv() => if let Some(publish) = publish {
                    if self.source.is_some() {
                        self.refuse(publish);
                    } else if let Some(source) = publish.accept() {
                        self.begin_publisher(source);
                    }
                },
                () = sleep_until(drain_until) => self.abandon_oldest_run(),
                () = sleep_until(alone_until) => {
                    self.drain().await;
                    self.end();
                    if !self.renditions.has_segments() {
                        return End::Expired;
                    }
                    return self.expire(publishers, shutdown).await;
                }
                () = shutdown.begun() => {
                    self.publisher_left();
                    self.drain().await;
                    self.end();
                    return End::ShutDown;
                }
            }
            left = match self.source {
                Some(_) => None,
                None => left.or_else(|| Some(self.clock.now())),
            };
            self.settle();
        }
    }

    /// How long the stream waits for a publisher. Nobody wants one back that brought nothing to watch.
    fn patience(&self) -> Duration {
        let is_void = self.drains.is_empty() && !self.renditions.has_segments();
        if is_void { Duration::ZERO } else { self.setup.stream.linger }
    }

    fn refuse(&self, publish: Publish) {
        self.stats.publishers_refused.fetch_add(1, Ordering::Relaxed);
        warn!(peer = %publish.peer, protocol = publish.protocol, "refused: the stream has a publisher already");
        publish.refuse(Refusal::Busy);
    }

    fn begin_publisher(&mut self, source: Source) {
        info!(peer = %source.peer, protocol = source.protocol, "publishing");
        self.stats.publishers.fetch_add(1, Ordering::Relaxed);
        let publisher = Publisher { peer: source.peer, protocol: source.protocol, since: self.clock.wall() };
        self.source = Some((source, publisher));
        self.timeline.restart();
        self.is_fresh = true;
        self.renditions.forgive();
        if self.state == State::Waiting {
            self.state = State::Live;
        }
        self.show_anew();
    }

    /// The publisher has gone, or is let go.
    fn publisher_left(&mut self) {
        let Some((source, _)) = self.source.take() else { return };
        info!(peer = %source.peer, protocol = source.protocol, "publisher left");
        self.end_run();
        if self.state == State::Live {
            self.state = State::Waiting;
        }
        self.show_anew();
    }

    fn event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Tracks(tracks) => {
                self.end_run();
                let tracks = self.timeline.tracks(&tracks);
                self.begin_run(&tracks)?;
            }
            Event::Unit(unit) => {
                self.place_publisher(unit.received);
                let before = self.timeline.counts();
                let placed = self.timeline.push(unit);
                self.count_mended(before);
                match placed {
                    Some(Placed { unit, after_hole }) => {
                        // A hole in the sound does not stop the pictures.
                        if after_hole && self.run.as_ref().is_some_and(|run| run.leading == unit.track) {
                            self.break_run()?;
                        }
                        self.unit(unit);
                    }
                    None => return Ok(()),
                }
            }
            Event::Gap => self.break_run()?,
        }
        self.within_budget()
    }

    /// The first unit of a publisher is where media time has come to by the wall clock.
    fn place_publisher(&mut self, received: Instant) {
        if std::mem::take(&mut self.is_fresh) {
            let (begun, _) = *self.anchor.get_or_insert_with(|| (received, self.clock.wall()));
            let elapsed = received.saturating_duration_since(begun);
            let origin = MediaTime::new(ORIGIN_SECS * 1_000_000, Timescale::MICROS);
            self.timeline.begin_at(origin.plus(MediaDuration::from_std(elapsed, Timescale::MICROS)));
        }
    }

    fn count_mended(&mut self, before: Counts) {
        let now = self.timeline.counts();
        if now == before {
            return;
        }
        let mended = |counts: Counts| counts.jumps + counts.nudged + counts.dropped + counts.holes;
        self.stats.timestamps_mended.fetch_add(mended(now) - mended(before), Ordering::Relaxed);
        // Once per kind and stream: a publisher that does it once does it all the time.
        for (what, before, now, told) in [
            ("the publisher's clock jumped", before.jumps, now.jumps, self.counted.jumps),
            ("equal or falling timestamps", before.nudged, now.nudged, self.counted.nudged),
            ("sound that overlaps", before.dropped, now.dropped, self.counted.dropped),
            ("a span without media", before.holes, now.holes, self.counted.holes),
        ] {
            if now > before && told == 0 {
                warn!(what, "mended the publisher's timestamps; further ones are only counted");
            }
        }
        self.counted = now;
    }

    /// The same tracks go on behind something that is missing.
    fn break_run(&mut self) -> Result<(), String> {
        let Some(tracks) = self.run.as_ref().map(|run| Arc::clone(&run.tracks)) else { return Ok(()) };
        self.end_run();
        self.begin_run(&tracks)
    }

    fn begin_run(&mut self, tracks: &Arc<[Track]>) -> Result<(), String> {
        self.limit_runs()?;
        let plan = Plan::of(tracks, &self.setup.transcode, |id| self.renditions.is_shed(id));
        let plan = plan.ok_or("it has no tracks")?;
        // Parts of all renditions end together: after so many of the leading track's units.
        let leading = tracks.iter().find(|track| track.id == plan.leading);
        let grid = self.setup.segment.grid(leading.and_then(unit_length));
        self.renditions.set_active(&plan.renditions, grid);
        self.segmenter.set_pace(plan.pace);
        for (id, rendition) in &plan.copied {
            // How far pictures are reordered shows with the first of them.
            let sound = tracks.iter().find(|track| track.id == *id && track.codec.audio().is_some());
            if let (Some(track), Some(live)) = (sound, self.renditions.get(rendition)) {
                live.end_run();
                live.set_track(self.setup.stream.with_language(track));
            }
        }
        let mut run = Run::new(&plan, tracks);
        match run.start_codecs(&plan, &self.setup) {
            Ok(outputs) => outputs.into_iter().for_each(|outputs| self.drains.push(outputs)),
            Err(error) => {
                warn!(%error, "the ladder cannot start: only what is copied can be watched");
                plan.encoded().iter().for_each(|id| self.renditions.shed(id));
            }
        }
        self.run = Some(run);
        info!(
            tracks = %tracks.iter().map(describe).collect::<Vec<_>>().join(" + "),
            rungs = %plan.rungs.iter().map(|rung| rung.id.as_str()).collect::<Vec<_>>().join(" "),
            "run begins"
        );
        Ok(())
    }

    /// Every run has codecs of its own: a publisher that begins one after the other would take all threads there are.
    fn limit_runs(&mut self) -> Result<(), String> {
        let now = self.clock.now();
        self.runs_begun.retain(|begun| now.saturating_duration_since(*begun) < RUNS_PER);
        if self.runs_begun.len() == RUNS {
            return Err(format!("its tracks changed {RUNS} times in {} s", RUNS_PER.as_secs()));
        }
        self.runs_begun.push(now);
        while self.drains.len() > DRAINING {
            self.abandon_oldest_run();
        }
        Ok(())
    }

    /// Nothing of this run will follow; what is inside packagers and codecs comes out.
    fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        if let Some(withdrawn) = self.segmenter.discontinuity() {
            self.renditions.withdraw(withdrawn);
        }
        self.stats.discontinuities.fetch_add(1, Ordering::Relaxed);
        for (_, id) in &run.copied {
            if let Some(live) = self.renditions.get(id) {
                live.end_run();
            }
        }
        if run.finish() {
            self.drains.finish_newest(self.clock.now());
        }
        self.collect();
    }

    fn unit(&mut self, unit: AccessUnit) {
        let Some(run) = &mut self.run else { return };
        self.stats.units.fetch_add(1, Ordering::Relaxed);
        self.stats.unit_bytes.fetch_add(unit.data.len() as u64, Ordering::Relaxed);
        let leads = unit.track == run.leading;
        if leads {
            while let Some(cut) = self.segmenter.push(&unit) {
                run.cuts.push(cut.at);
                if cut.discontinuity {
                    self.breaks.push(cut.sequence);
                }
                self.renditions.cut(cut);
                if !std::mem::replace(&mut run.has_begun, true) {
                    begin_pictures(run, &unit, &mut self.renditions);
                }
            }
        }
        run.feed(&unit, &self.stats);
        if let Some(live) = run.copy_of(unit.track).and_then(|id| self.renditions.get(id)) {
            if leads {
                live.push(unit);
            } else if !live.hold(unit) {
                self.stats.sound_lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.release();
        self.count_overruns();
        self.collect();
    }

    fn release(&mut self) {
        if let Some(horizon) = self.segmenter.horizon() {
            self.renditions.release(horizon);
        }
    }

    fn count_overruns(&mut self) {
        let overruns = self.segmenter.overruns();
        if overruns == self.overruns {
            return;
        }
        self.stats.overruns.fetch_add(overruns - self.overruns, Ordering::Relaxed);
        if self.overruns == 0 {
            warn!(
                "the source's key frames are farther apart than the target duration: segments are cut between them, and \
                 players that join there see damage; set the encoder's key frame interval to a fixed 2 s"
            );
        }
        self.overruns = overruns;
    }

    fn output(&mut self, output: Option<Output>) {
        match output {
            Some(Output::Track { rendition, .. } | Output::Unit { rendition, .. }) if self.is_copied(&rendition) => {
                // It was encoded in a run before, and the publisher's own units have taken its place.
            }
            Some(Output::Track { rendition, track }) => {
                if let Some(live) = self.renditions.get(&rendition) {
                    live.set_track(self.setup.stream.with_language(&track));
                }
            }
            Some(Output::Unit { rendition, unit }) => {
                // Sound may be ahead of the pictures' cuts; rungs cannot be, since they are told before they encode.
                if let Some(live) = self.renditions.get(&rendition) {
                    if live.track().is_some_and(|track| track.codec.audio().is_some()) {
                        live.hold(unit);
                    } else {
                        live.push(unit);
                    }
                }
                self.release();
            }
            Some(Output::Skipped { rendition, pictures, .. }) => {
                if self.renditions.get(&rendition).is_some_and(|live| !std::mem::replace(&mut live.was_late, true)) {
                    warn!(%rendition, pictures, "the rung is late and left pictures out; further ones are only counted");
                }
            }
            Some(Output::Shed { rendition, reason }) => {
                warn!(%rendition, reason, "rung given up");
                self.stats.rungs_shed.fetch_add(1, Ordering::Relaxed);
                self.renditions.shed(&rendition);
                self.show_anew();
            }
            None => self.end_oldest_run(),
        }
        self.collect();
    }

    /// All that the oldest run's codecs made has come.
    fn end_oldest_run(&mut self) {
        let Some(outputs) = self.drains.pop() else { return };
        for id in &outputs.renditions {
            if self.is_copied(id) {
                continue;
            }
            if let Some(live) = self.renditions.get(id) {
                live.end_run();
            }
        }
        self.collect();
    }

    /// Whether the current run makes the rendition of the publisher's own units.
    fn is_copied(&self, id: &RenditionId) -> bool {
        self.run.as_ref().is_some_and(|run| run.copied.iter().any(|(_, copied)| copied == id))
    }

    fn abandon_oldest_run(&mut self) {
        warn!("the codecs did not finish in time: the end of what was published is lost in some rungs");
        self.end_oldest_run();
    }

    /// Moves finished segments into the windows.
    fn collect(&mut self) {
        // What a playlist promises is known when the first segment has ended, or nothing more will come.
        let targets = match (self.segmenter.targets_if_fixed(), &self.run) {
            (Some(targets), _) => targets,
            (None, None) => self.segmenter.targets(),
            (None, Some(_)) => return,
        };
        let begun = self.anchor.map_or(self.since, |(_, wall)| wall);
        let zero = begun.checked_sub(Duration::from_secs(ORIGIN_SECS.unsigned_abs())).unwrap_or(begun);
        let frame = Frame { window: &self.setup.window, epoch: self.epoch, targets, zero, breaks: &self.breaks };
        let segments = self.renditions.collect(frame, &self.drains);
        if segments > 0 {
            self.stats.segments.fetch_add(segments, Ordering::Relaxed);
            self.is_dirty = true;
        }
    }

    /// Keeps the stream's bytes within its budget.
    fn within_budget(&mut self) -> Result<(), String> {
        let budget = self.setup.window.max_bytes.get();
        let open = self.renditions.open_bytes();
        if open > budget / 2 {
            return Err(format!(
                "a segment in progress holds {open} bytes, more than half of window.max_bytes ({budget}); lower the \
                 publisher's bit rate or raise the limit"
            ));
        }
        while self.renditions.bytes() + open > budget && self.renditions.give_up_oldest() {}
        Ok(())
    }

    fn show_anew(&mut self) {
        self.shown = None;
        self.is_dirty = true;
    }

    /// Publishes what the stream offers, when it has changed.
    fn settle(&mut self) {
        if !std::mem::take(&mut self.is_dirty) {
            return;
        }
        if self.state == State::Starting && self.is_watchable() {
            self.state = State::Live;
            self.shown = None;
            info!("can be watched");
        }
        let offered = self.renditions.offered();
        let shown: Vec<_> = offered
            .iter()
            .map(|offered| {
                let rendition = &offered.rendition;
                // Small changes of the mean are not worth another playlist: five leading bits tell.
                let mean = rendition.mean.get();
                let coarse = mean >> mean.checked_ilog2().unwrap_or(0).saturating_sub(4);
                (rendition.id.clone(), rendition.peak.get(), coarse, offered.shed)
            })
            .collect();
        if self.shown.as_ref() == Some(&shown) {
            return;
        }
        self.shown = Some(shown);
        let mpd = Arc::clone(&self.presentation.borrow().mpd);
        self.presentation.send_replace(Arc::new(Presentation {
            name: self.name.clone(),
            epoch: self.epoch,
            since: self.since,
            state: self.state,
            publisher: self.source.as_ref().map(|(_, publisher)| publisher.clone()),
            renditions: offered,
            texts: Texts::default(),
            mpd,
        }));
    }

    /// Whether every rendition has begun, or those that have not are not worth waiting for.
    fn is_watchable(&self) -> bool {
        let ahead = self.segmenter.in_progress().is_some_and(|sequence| sequence.0 > STRAGGLER_SEGMENTS);
        self.renditions.are_complete() || ahead && self.renditions.has_segments()
    }

    /// Waits for what is inside the codecs.
    async fn drain(&mut self) {
        while !self.drains.is_empty() {
            let until = self.drains.until();
            tokio::select! {
                output = self.drains.next() => self.output(output),
                () = sleep_until(until) => self.abandon_oldest_run(),
            }
        }
    }

    /// The playlists end here.
    fn end(&mut self) {
        info!("ended");
        self.renditions.end();
        self.state = State::Ended;
        self.show_anew();
        self.settle();
    }

    /// What is left can be watched for as long as the window is.
    async fn expire(self, mut publishers: mpsc::Receiver<Publish>, shutdown: Shutdown) -> End {
        let until = Some(self.clock.now() + self.setup.window.length);
        tokio::select! {
            () = sleep_until(until) => End::Expired,
            publish = publishers.recv() => publish.map_or(End::Expired, End::Replaced),
            () = shutdown.begun() => End::ShutDown,
        }
    }
}

/// The first picture of a copied source tells how far it is reordered: what lies between its decoding and its showing.
fn begin_pictures(run: &Run, first: &AccessUnit, renditions: &mut Renditions) {
    let track = run.tracks.iter().find(|track| track.id == first.track && track.codec.video().is_some());
    if let Some(track) = track
        && let Some(live) = run.copy_of(track.id).and_then(|id| renditions.get(id))
    {
        let delay = first.pts.since(first.dts).map_or(0, |delay| delay.to_scale(track.timescale).ticks());
        live.set_track(Track { delay, ..track.clone() });
    }
}

/// How long a track's units last, where its parameters say so.
fn unit_length(track: &Track) -> Option<MediaDuration> {
    if let Some(samples) = track.codec.samples_per_unit() {
        return Some(MediaDuration::new(u64::from(samples), track.timescale));
    }
    let rate = track.codec.video()?.frame_rate?;
    let ticks = u64::from(track.timescale.get()) * u64::from(rate.denominator) / u64::from(rate.numerator.max(1));
    Some(MediaDuration::new(ticks, track.timescale))
}

fn describe(track: &Track) -> String {
    let codec = &track.codec;
    match (codec.video(), codec.audio()) {
        (Some(video), _) => format!("{} {}", codec.label(), video.size),
        (None, Some(audio)) => format!("{} {} Hz {} ch", codec.label(), audio.sample_rate, audio.channels),
        (None, None) => codec.label().to_owned(),
    }
}

async fn next_event(source: &mut Option<(Source, Publisher)>) -> Option<Event> {
    match source {
        Some((source, _)) => source.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
