//! The task of one live stream. It alone changes the stream's windows; everything comes to it as messages: the publisher's
//! events, what the ladder made of them, the next publisher.
//!
//! The time between two discontinuities is a *run*: one publisher with one set of tracks. Every run has a transcoder of its
//! own; the one before may still be draining while the next has begun.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::rendition::{Frame, Live};
use super::timeline::{Counts, ORIGIN_SECS, Placed, Timeline};
use super::{Setup, Stats};
use crate::ingest::{Publish, Refusal, Source};
use crate::media::{
    AccessUnit, Codec, Epoch, Event, MediaDuration, MediaTime, RenditionId, Segment, StreamName, Timescale, Track,
    TrackId,
};
use crate::package::{Pace, Segmenter};
use crate::runtime::{Clock, Shutdown};
use crate::transcode::{self, Cuts, Health, Output, Pressure, Rotation, Transcoder};
use crate::window::{Presentation, Publisher, State, Texts};

/// Units between the codecs and this task, which never waits long; an encoder that finds it full waits.
const OUTPUT_QUEUE: usize = 256;

/// How long what is inside the codecs may take to come out after their publisher left.
const DRAIN: Duration = Duration::from_secs(5);

/// A rendition that has nothing after this many segments of another is not waited for.
const STRAGGLER_SEGMENTS: u64 = 3;

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
    renditions: Vec<Live>,
    run: Option<Run>,
    /// Transcoders that are draining, oldest first; the newest is the current run's.
    outputs: VecDeque<Outputs>,
    state: State,
    /// What `presentation` was made from last; `None` when it must be made anew.
    shown: Option<Vec<(RenditionId, u64, u64, bool)>>,
    /// Something may differ from what `presentation` says.
    is_dirty: bool,
}

/// What belongs to the current publisher and its current tracks.
struct Run {
    tracks: Arc<[Track]>,
    /// The track that cuts follow: pictures where there are any.
    leading: TrackId,
    /// Renditions that are the publisher's own units.
    copied: Vec<(TrackId, RenditionId)>,
    transcoder: Option<Transcoder>,
    health: Health,
    cuts: Cuts,
    /// The first cut has come.
    has_begun: bool,
}

struct Outputs {
    receiver: mpsc::Receiver<Output>,
    renditions: Vec<RenditionId>,
    /// When a transcoder that was told to finish is no longer waited for.
    until: Option<Instant>,
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
            renditions: Vec::new(),
            run: None,
            outputs: VecDeque::new(),
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
        let mut alone_until = None;
        loop {
            let drain_until = self.outputs.front().and_then(|outputs| outputs.until);
            tokio::select! {
                output = next_output(&mut self.outputs) => self.output(output),
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
                () = sleep_until(drain_until) => self.abandon_oldest_outputs(),
                () = sleep_until(alone_until) => {
                    self.end();
                    return self.expire(publishers, shutdown).await;
                }
                () = shutdown.begun() => {
                    self.publisher_left();
                    self.drain().await;
                    self.end();
                    return End::ShutDown;
                }
            }
            alone_until = match (&self.source, alone_until) {
                (Some(_), _) => None,
                (None, None) => Some(self.clock.now() + self.setup.stream.linger),
                (None, until) => until,
            };
            self.settle();
        }
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
                        if after_hole {
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
        let video = tracks.iter().find(|track| track.codec.video().is_some());
        let Some(leading) = video.or_else(|| tracks.first()) else { return Err("it has no tracks".to_owned()) };
        let config = &self.setup.transcode;
        let plan = transcode::plan(config, video.and_then(|track| track.codec.video()), Rotation::default());

        let mut copied = Vec::new();
        let mut wanted = Vec::new();
        if let Some(video) = video.filter(|_| plan.copy_source) {
            copied.push((video.id, source_id()));
            wanted.push(source_id());
        }
        let mut encoded: Vec<RenditionId> = plan.rungs.iter().map(|rung| rung.id.clone()).collect();
        wanted.extend(encoded.iter().cloned());
        let mut to_aac = Vec::new();
        for (index, track) in tracks.iter().filter(|track| track.codec.audio().is_some()).enumerate() {
            let id = audio_id(index);
            wanted.push(id.clone());
            if matches!(track.codec, Codec::Aac(_)) {
                copied.push((track.id, id));
            } else {
                encoded.push(id.clone());
                to_aac.push((id, track.clone()));
            }
        }
        self.set_active(&wanted);

        let pace = if video.is_some() && plan.copy_source { Pace::KeyFrames } else { Pace::Grid };
        self.segmenter.set_pace(pace);
        for (track, id) in &copied {
            // How far pictures are reordered shows with the first of them.
            let track = tracks.iter().find(|candidate| candidate.id == *track && candidate.codec.audio().is_some());
            if let (Some(track), Some(live)) = (track, find(&mut self.renditions, id)) {
                live.set_track(self.setup.stream.with_language(track));
            }
        }

        let cuts = Cuts::default();
        let transcoder = if encoded.is_empty() {
            None
        } else {
            let (sender, receiver) = mpsc::channel(OUTPUT_QUEUE);
            let rungs = video.map(|video| (video, plan.rungs.clone()));
            let started = Transcoder::start(rungs, to_aac, &self.setup.transcode, &cuts, &sender, Pressure::Live);
            match started {
                Ok(transcoder) => {
                    self.outputs.push_back(Outputs { receiver, renditions: encoded, until: None });
                    Some(transcoder)
                }
                Err(error) => {
                    warn!(%error, "the ladder cannot start: only what is copied can be watched");
                    encoded.iter().for_each(|id| self.shed(id));
                    None
                }
            }
        };
        info!(
            tracks = %tracks.iter().map(describe).collect::<Vec<_>>().join(" + "),
            rungs = %plan.rungs.iter().map(|rung| rung.id.as_str()).collect::<Vec<_>>().join(" "),
            "run begins"
        );
        let health = Health::default();
        self.run = Some(Run {
            leading: leading.id,
            tracks: Arc::clone(tracks),
            copied,
            transcoder,
            health,
            cuts,
            has_begun: false,
        });
        Ok(())
    }

    /// Renditions that this run makes; new ones are added behind the others of their kind's order.
    fn set_active(&mut self, wanted: &[RenditionId]) {
        for live in &mut self.renditions {
            live.active = wanted.contains(&live.id) && !live.shed;
        }
        for id in wanted {
            if !self.renditions.iter().any(|live| live.id == *id) {
                self.renditions.push(Live::new(id.clone()));
            }
        }
        self.renditions.sort_by_key(|live| wanted.iter().position(|id| *id == live.id).unwrap_or(usize::MAX));
    }

    /// Nothing of this run will follow; what is inside packagers and codecs comes out.
    fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        if let Some(withdrawn) = self.segmenter.discontinuity() {
            self.renditions.iter_mut().for_each(|live| live.withdraw(withdrawn));
        }
        self.stats.discontinuities.fetch_add(1, Ordering::Relaxed);
        for (_, id) in &run.copied {
            if let Some(live) = find(&mut self.renditions, id) {
                live.end_run();
            }
        }
        if let Some(transcoder) = run.transcoder {
            transcoder.finish();
            if let Some(outputs) = self.outputs.back_mut() {
                outputs.until = Some(self.clock.now() + DRAIN);
            }
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
                self.renditions.iter_mut().filter(|live| live.active).for_each(|live| live.cut(cut));
                if !std::mem::replace(&mut run.has_begun, true) {
                    begin_pictures(run, &unit, &mut self.renditions);
                }
            }
        }
        // Before the first cut there is no random access point to decode from.
        if let Some(transcoder) = &mut run.transcoder
            && (!leads || self.segmenter.horizon().is_some())
        {
            transcoder.feed(&unit);
            let health = transcoder.health();
            count(&self.stats.decode_errors, health.decode_errors - run.health.decode_errors);
            count(&self.stats.pictures_skipped, health.pictures_skipped - run.health.pictures_skipped);
            run.health = health;
        }
        if let Some((_, id)) = run.copied.iter().find(|(track, _)| *track == unit.track)
            && let Some(live) = find(&mut self.renditions, id)
        {
            if leads {
                live.push(unit);
            } else if !live.hold(unit) {
                self.stats.sound_lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.release();
        let overruns = self.segmenter.overruns();
        if overruns > self.overruns {
            count(&self.stats.overruns, overruns - self.overruns);
            if self.overruns == 0 {
                warn!(
                    "the source's key frames are farther apart than the target duration: segments are cut between them, \
                     and players that join there see damage; set the encoder's key frame interval to a fixed 2 s"
                );
            }
            self.overruns = overruns;
        }
        self.collect();
    }

    fn release(&mut self) {
        let Some(horizon) = self.segmenter.horizon() else { return };
        self.renditions.iter_mut().for_each(|live| live.release(horizon));
    }

    fn output(&mut self, output: Option<Output>) {
        match output {
            Some(Output::Track { rendition, track }) => {
                if let Some(live) = find(&mut self.renditions, &rendition) {
                    live.set_track(self.setup.stream.with_language(&track));
                }
            }
            Some(Output::Unit { rendition, unit }) => {
                // Sound may be ahead of the pictures' cuts; rungs cannot be, since they are told before they encode.
                if let Some(live) = find(&mut self.renditions, &rendition) {
                    if live.track().is_some_and(|track| track.codec.audio().is_some()) {
                        live.hold(unit);
                    } else {
                        live.push(unit);
                    }
                }
                self.release();
            }
            Some(Output::Skipped { rendition, pictures, .. }) => {
                warn!(%rendition, pictures, "the rung is late and left pictures out: the machine is at its limit");
            }
            Some(Output::Shed { rendition, reason }) => {
                warn!(%rendition, reason, "rung given up");
                self.stats.rungs_shed.fetch_add(1, Ordering::Relaxed);
                self.shed(&rendition);
            }
            None => {
                if let Some(outputs) = self.outputs.pop_front() {
                    self.end_outputs(&outputs);
                }
            }
        }
        self.collect();
    }

    fn end_outputs(&mut self, outputs: &Outputs) {
        for id in &outputs.renditions {
            if let Some(live) = find(&mut self.renditions, id) {
                live.end_run();
            }
        }
        self.collect();
    }

    fn abandon_oldest_outputs(&mut self) {
        if let Some(outputs) = self.outputs.pop_front() {
            warn!("the codecs did not finish in time: the end of what was published is lost in some rungs");
            self.end_outputs(&outputs);
        }
    }

    fn shed(&mut self, id: &RenditionId) {
        if let Some(live) = find(&mut self.renditions, id) {
            live.shed = true;
            live.active = false;
        }
        self.show_anew();
    }

    /// Moves finished segments into the windows, and fills those of renditions that nobody makes now.
    fn collect(&mut self) {
        let targets = self.segmenter.targets_if_fixed();
        let Some(targets) = targets.or_else(|| self.run.is_none().then(|| self.segmenter.targets())) else { return };
        let begun = self.anchor.map_or(self.since, |(_, wall)| wall);
        let zero = begun.checked_sub(Duration::from_secs(ORIGIN_SECS.unsigned_abs())).unwrap_or(begun);
        let frame = Frame { window: &self.setup.window, epoch: self.epoch, targets, zero };
        let mut newest: Option<Arc<Segment>> = None;
        for live in &mut self.renditions {
            if let Some(segment) = live.collect(frame) {
                self.stats.segments.fetch_add(1, Ordering::Relaxed);
                if newest.as_ref().is_none_or(|newest| newest.sequence < segment.sequence) {
                    newest = Some(segment);
                }
            }
        }
        let Some(newest) = newest else { return };
        self.is_dirty = true;
        let draining: Vec<RenditionId> =
            self.outputs.iter().flat_map(|outputs| outputs.renditions.iter().cloned()).collect();
        for live in self.renditions.iter_mut().filter(|live| !live.active) {
            // One that is still draining brings its own.
            if live.shed || !draining.contains(&live.id) {
                live.fill(newest.sequence.next(), &newest, frame);
            }
        }
    }

    /// Keeps the stream's bytes within its budget.
    fn within_budget(&mut self) -> Result<(), String> {
        let budget = self.setup.window.max_bytes.get();
        let open: usize = self.renditions.iter().map(Live::open_bytes).sum();
        if open as u64 > budget / 2 {
            return Err(format!(
                "a segment in progress holds {open} bytes, more than half of window.max_bytes ({budget}); \
                 lower the publisher's bit rate or raise the limit"
            ));
        }
        while self.renditions.iter().map(Live::bytes).sum::<u64>() + open as u64 > budget {
            let oldest = self.renditions.iter_mut().filter_map(Live::window).min_by_key(|window| window.oldest());
            if !oldest.is_some_and(window_gives_up) {
                break;
            }
        }
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
        let offered: Vec<_> = self.renditions.iter().filter_map(Live::offered).collect();
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
        self.presentation.send_replace(Arc::new(Presentation {
            name: self.name.clone(),
            epoch: self.epoch,
            since: self.since,
            state: self.state,
            publisher: self.source.as_ref().map(|(_, publisher)| publisher.clone()),
            renditions: offered,
            texts: Texts::default(),
        }));
    }

    /// Whether every rendition has begun, or those that have not are not worth waiting for.
    fn is_watchable(&self) -> bool {
        let mut active = self.renditions.iter().filter(|live| live.active).peekable();
        if active.peek().is_none() {
            return self.renditions.iter().any(Live::has_segments);
        }
        let all = active.all(Live::has_segments);
        let ahead = self.segmenter.in_progress().is_some_and(|sequence| sequence.0 > STRAGGLER_SEGMENTS);
        all || ahead && self.renditions.iter().any(Live::has_segments)
    }

    /// Waits for what is inside the codecs.
    async fn drain(&mut self) {
        while let Some(until) = self.outputs.front().map(|outputs| outputs.until) {
            tokio::select! {
                output = next_output(&mut self.outputs) => self.output(output),
                () = sleep_until(until) => self.abandon_oldest_outputs(),
            }
        }
    }

    /// The playlists end here.
    fn end(&mut self) {
        info!("ended");
        for live in &mut self.renditions {
            live.active = false;
            if let Some(window) = live.window() {
                window.set_ended(true);
            }
        }
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
fn begin_pictures(run: &Run, first: &AccessUnit, renditions: &mut [Live]) {
    let Some(track) = run.tracks.iter().find(|track| track.id == first.track && track.codec.video().is_some()) else {
        return;
    };
    if let Some((_, id)) = run.copied.iter().find(|(copied, _)| *copied == track.id)
        && let Some(live) = find(renditions, id)
    {
        let delay = first.pts.since(first.dts).map_or(0, |delay| delay.to_scale(track.timescale).ticks());
        live.set_track(Track { delay, ..track.clone() });
    }
}

fn window_gives_up(window: &mut crate::window::Window) -> bool {
    window.give_up_oldest()
}

fn count(counter: &AtomicU64, more: u64) {
    if more > 0 {
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

fn find<'a>(renditions: &'a mut [Live], id: &RenditionId) -> Option<&'a mut Live> {
    renditions.iter_mut().find(|live| live.id == *id)
}

fn source_id() -> RenditionId {
    "source".parse().expect("letters are an id")
}

/// `audio`, `audio-2`, …
fn audio_id(index: usize) -> RenditionId {
    let id = if index == 0 { "audio".to_owned() } else { format!("audio-{}", index + 1) };
    id.parse().expect("letters, a dash and digits are an id")
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

async fn next_output(outputs: &mut VecDeque<Outputs>) -> Option<Output> {
    match outputs.front_mut() {
        Some(outputs) => outputs.receiver.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
