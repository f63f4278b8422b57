//! A run: the time between two discontinuities, one publisher with one set of tracks. What it makes of them is decided at
//! its beginning; it has a transcoder of its own, which may still be draining when the next run has begun.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{Setup, Stats};
use crate::media::{AccessUnit, Codec, RenditionId, Track, TrackId};
use crate::package::Pace;
use crate::transcode::{self, Cuts, Health, Output, Pressure, Rung, TranscodeError, Transcoder};

/// Units between the codecs and the stream's task, which never waits long; an encoder that finds it full waits.
const OUTPUT_QUEUE: usize = 256;

/// How long what is inside the codecs may take to come out after the end of its run.
const DRAIN: Duration = Duration::from_secs(5);

/// What is made of a set of tracks.
#[derive(Debug)]
pub(super) struct Plan {
    /// The track that cuts follow: pictures where there are any.
    pub(super) leading: TrackId,
    pub(super) pace: Pace,
    /// Renditions that are the publisher's own units.
    pub(super) copied: Vec<(TrackId, RenditionId)>,
    pub(super) rungs: Vec<Rung>,
    /// Sound that has to become AAC.
    to_aac: Vec<(RenditionId, Track)>,
    /// All renditions, pictures first, best first.
    pub(super) renditions: Vec<RenditionId>,
}

impl Plan {
    /// `None` without tracks. Rungs that were given up are not made again.
    pub(super) fn of(
        tracks: &[Track],
        config: &transcode::Config,
        is_shed: impl Fn(&RenditionId) -> bool,
    ) -> Option<Self> {
        let video = tracks.iter().find(|track| track.codec.video().is_some());
        let ladder = transcode::plan(config, video.and_then(|track| track.codec.video()));
        let source = video.filter(|_| ladder.copy_source);
        let mut plan = Self {
            leading: video.or_else(|| tracks.first())?.id,
            pace: if source.is_some() { Pace::KeyFrames } else { Pace::Grid },
            copied: source.map(|track| (track.id, source_id())).into_iter().collect(),
            rungs: ladder.rungs.into_iter().filter(|rung| !is_shed(&rung.id)).collect(),
            to_aac: Vec::new(),
            renditions: source.map(|_| source_id()).into_iter().collect(),
        };
        plan.renditions.extend(plan.rungs.iter().map(|rung| rung.id.clone()));
        for (index, track) in tracks.iter().filter(|track| track.codec.audio().is_some()).enumerate() {
            let id = audio_id(index);
            plan.renditions.push(id.clone());
            match track.codec {
                Codec::Aac(_) => plan.copied.push((track.id, id)),
                _ => plan.to_aac.push((id, track.clone())),
            }
        }
        Some(plan)
    }

    /// Renditions that codecs make.
    pub(super) fn encoded(&self) -> Vec<RenditionId> {
        let rungs = self.rungs.iter().map(|rung| &rung.id);
        rungs.chain(self.to_aac.iter().map(|(id, _)| id)).cloned().collect()
    }
}

fn source_id() -> RenditionId {
    "source".parse().expect("letters are an id")
}

/// `audio`, `audio-2`, …
fn audio_id(index: usize) -> RenditionId {
    let id = if index == 0 { "audio".to_owned() } else { format!("audio-{}", index + 1) };
    id.parse().expect("letters, a dash and digits are an id")
}

/// What belongs to the current publisher and its current tracks.
pub(super) struct Run {
    pub(super) tracks: Arc<[Track]>,
    pub(super) leading: TrackId,
    pub(super) copied: Vec<(TrackId, RenditionId)>,
    pub(super) cuts: Cuts,
    /// The first cut has come.
    pub(super) has_begun: bool,
    transcoder: Option<Transcoder>,
    health: Health,
}

impl Run {
    /// Without codecs so far.
    pub(super) fn new(plan: &Plan, tracks: &Arc<[Track]>) -> Self {
        Self {
            tracks: Arc::clone(tracks),
            leading: plan.leading,
            copied: plan.copied.clone(),
            cuts: Cuts::default(),
            has_begun: false,
            transcoder: None,
            health: Health::default(),
        }
    }

    /// Starts the codecs, where the plan needs some.
    pub(super) fn start_codecs(&mut self, plan: &Plan, setup: &Setup) -> Result<Option<Outputs>, TranscodeError> {
        let renditions = plan.encoded();
        if renditions.is_empty() {
            return Ok(None);
        }
        let (sender, receiver) = mpsc::channel(OUTPUT_QUEUE);
        let video = self.tracks.iter().find(|track| track.id == plan.leading && track.codec.video().is_some());
        let rungs = video.map(|video| (video, plan.rungs.clone()));
        let to_aac = plan.to_aac.clone();
        self.transcoder =
            Some(Transcoder::start(rungs, to_aac, &setup.transcode, &self.cuts, &sender, Pressure::Live)?);
        Ok(Some(Outputs { receiver, renditions, until: None }))
    }

    /// The track that is copied into the rendition of this unit's track, if any.
    pub(super) fn copy_of(&self, track: TrackId) -> Option<&RenditionId> {
        self.copied.iter().find(|(copied, _)| *copied == track).map(|(_, id)| id)
    }

    /// Hands the unit to the codecs, and counts how they are doing.
    pub(super) fn feed(&mut self, unit: &AccessUnit, stats: &Stats) {
        // Before the first cut there is no picture to decode from.
        let Some(transcoder) = self.transcoder.as_mut().filter(|_| self.has_begun || unit.track != self.leading) else {
            return;
        };
        transcoder.feed(unit);
        let health = transcoder.health();
        stats.decode_errors.fetch_add(health.decode_errors - self.health.decode_errors, Ordering::Relaxed);
        stats.pictures_skipped.fetch_add(health.pictures_skipped - self.health.pictures_skipped, Ordering::Relaxed);
        stats.decoder_overflows.fetch_add(health.units_lost - self.health.units_lost, Ordering::Relaxed);
        self.health = health;
    }

    /// Nothing more will be fed; `true` when something will still come out.
    pub(super) fn finish(self) -> bool {
        self.transcoder.map(Transcoder::finish).is_some()
    }
}

/// What a run's codecs made.
#[derive(Debug)]
pub(super) struct Outputs {
    receiver: mpsc::Receiver<Output>,
    /// By whom.
    pub(super) renditions: Vec<RenditionId>,
    /// When codecs that were told to finish are no longer waited for.
    until: Option<Instant>,
}

/// The outputs of all runs that are not through, oldest first: one after the other, since a rendition's segments are in
/// order.
#[derive(Debug, Default)]
pub(super) struct Drains(VecDeque<Outputs>);

impl Drains {
    pub(super) fn push(&mut self, outputs: Outputs) {
        self.0.push_back(outputs);
    }

    /// The newest run's codecs were told to finish.
    pub(super) fn finish_newest(&mut self, now: Instant) {
        if let Some(outputs) = self.0.back_mut() {
            outputs.until = Some(now + DRAIN);
        }
    }

    /// What came out next of the oldest run; `None` when it is through. Waits for ever when there is no run.
    pub(super) async fn next(&mut self) -> Option<Output> {
        match self.0.front_mut() {
            Some(outputs) => outputs.receiver.recv().await,
            None => std::future::pending().await,
        }
    }

    /// When the oldest run is no longer waited for.
    pub(super) fn until(&self) -> Option<Instant> {
        self.0.front().and_then(|outputs| outputs.until)
    }

    /// Lets go of the oldest run. Codecs that are still at work notice it and end.
    pub(super) fn pop(&mut self) -> Option<Outputs> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether something of this rendition may still come.
    pub(super) fn bring(&self, id: &RenditionId) -> bool {
        self.0.iter().any(|outputs| outputs.renditions.contains(id))
    }
}
