//! One rung: scales and encodes what the decoder gives, on a thread of its own.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc;

use super::encode::{Encode, Open};
use super::{Output, Rung, Shared, TranscodeError};
use crate::libav::{self, Coded, Layout, Picture, PictureGraph};
use crate::media::{AccessUnit, FrameRate, Language, MediaTime, Rotation, Timescale, Track, TrackId};

/// What a rung gets.
pub(super) enum Job {
    Picture {
        picture: Picture,
        /// When its access unit arrived.
        received: Instant,
        /// At a cut: must be a random access point.
        cut: bool,
        /// What was left out before it.
        skipped: Option<Skip>,
        /// It does not join the picture before it.
        fresh: bool,
    },
    /// What follows does not join: let out what is inside.
    Gap,
}

/// Pictures that a late rung left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Skip {
    pub(super) from: MediaTime,
    pub(super) pictures: u64,
}

/// What the decoder and a rung tell each other beside the queue.
#[derive(Debug, Default)]
pub(super) struct Tie {
    /// The rung is given up: end now.
    pub(super) stop: AtomicBool,
    /// Why the rung has ended by itself.
    pub(super) failure: Mutex<Option<String>>,
}

/// Nobody takes the output any more, or the rung was given up.
struct Unwanted;

enum End {
    Unwanted,
    Failed(TranscodeError),
}

impl From<Unwanted> for End {
    fn from(_: Unwanted) -> Self {
        Self::Unwanted
    }
}

impl From<TranscodeError> for End {
    fn from(error: TranscodeError) -> Self {
        Self::Failed(error)
    }
}

impl From<libav::Error> for End {
    fn from(error: libav::Error) -> Self {
        Self::Failed(error.into())
    }
}

pub(super) struct Worker {
    pub(super) rung: Rung,
    /// The source's track and language.
    pub(super) of: (TrackId, Option<Language>),
    pub(super) frame_rate: FrameRate,
    pub(super) open: Open,
    pub(super) output: mpsc::Sender<Output>,
    pub(super) tie: Arc<Tie>,
    pub(super) shared: Arc<Shared>,
    state: State,
}

#[derive(Default)]
struct State {
    graph: Option<(Layout, PictureGraph)>,
    encoder: Option<Box<dyn Encode>>,
    coded: Vec<Coded>,
    /// When the pictures inside the encoder arrived.
    arrivals: VecDeque<(i64, Instant)>,
    track: Option<Track>,
    clock: DecodeClock,
}

impl Worker {
    pub(super) fn new(
        rung: Rung,
        of: (TrackId, Option<Language>),
        frame_rate: FrameRate,
        open: Open,
        output: mpsc::Sender<Output>,
        tie: Arc<Tie>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { rung, of, frame_rate, open, output, tie, shared, state: State::default() }
    }

    /// Until the queue closes.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let mut result = Ok(());
        while result.is_ok() {
            let Ok(job) = jobs.recv() else { break };
            result = self.take(job);
        }
        match result.and_then(|()| self.drain()) {
            Ok(()) | Err(End::Unwanted) => {}
            Err(End::Failed(error)) => {
                *self.tie.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
            }
        }
    }

    fn take(&mut self, job: Job) -> Result<(), End> {
        self.wanted()?;
        let Job::Picture { picture, received, cut, skipped, fresh } = job else { return self.drain() };
        let Some(pts) = picture.pts() else { return Ok(()) };
        if skipped.is_some() || fresh {
            self.drain()?;
        }
        if let Some(Skip { from, pictures }) = skipped {
            let to = MediaTime::new(pts, Timescale::MPEG);
            self.tell(Output::Skipped { rendition: self.rung.id.clone(), from, to, pictures })?;
        }
        self.state.arrivals.push_back((pts, received));
        let Some(picture) = self.scaled(picture)? else { return Ok(()) };
        let first = self.state.encoder.is_none();
        if first {
            self.state.encoder = Some((self.open)(&self.rung, self.frame_rate, &picture)?);
        }
        if let Some(encoder) = &mut self.state.encoder {
            encoder.encode(picture, cut || first, &mut self.state.coded)?;
        }
        self.flush()
    }

    /// Lets everything out; the next picture opens a new encoder. A new one costs some ten milliseconds; on the other hand
    /// viewers get the end of what was before a hole without waiting for what is after it.
    fn drain(&mut self) -> Result<(), End> {
        self.wanted()?;
        if let Some(mut encoder) = self.state.encoder.take() {
            encoder.finish(&mut self.state.coded)?;
            // `flush` asks the encoder what it makes.
            self.state.encoder = Some(encoder);
            let flushed = self.flush();
            self.state.encoder = None;
            flushed?;
        }
        self.state.arrivals.clear();
        Ok(())
    }

    fn scaled(&mut self, picture: Picture) -> Result<Option<Picture>, TranscodeError> {
        let layout = picture.layout();
        let upright = layout.rotation == Rotation::None && layout.sample_aspect == (1, 1);
        if layout.size == self.rung.size && layout.is_plain() && upright {
            return Ok(Some(picture));
        }
        let graph = match &mut self.state.graph {
            Some((of, graph)) if *of == layout => graph,
            other => &mut other.insert((layout, PictureGraph::scaler(layout, self.rung.size, Timescale::MPEG)?)).1,
        };
        graph.push(picture)?;
        Ok(graph.pull()?)
    }

    /// Sends what the encoder gave.
    fn flush(&mut self) -> Result<(), End> {
        for coded in std::mem::take(&mut self.state.coded) {
            let dts = self.state.clock.place(&coded);
            if self.state.track.is_none() {
                self.announce(coded.pts - dts)?;
            }
            let found = self.state.arrivals.iter().position(|&(pts, _)| pts == coded.pts);
            let received = found.and_then(|at| self.state.arrivals.remove(at)).map(|(_, received)| received);
            let Some(received) = received else { continue };
            let unit = AccessUnit {
                track: self.of.0,
                dts: MediaTime::new(dts, Timescale::MPEG),
                pts: MediaTime::new(coded.pts, Timescale::MPEG),
                duration: None,
                random_access: coded.key,
                data: coded.data,
                received,
            };
            self.wanted()?;
            self.tell(Output::Unit { rendition: self.rung.id.clone(), unit })?;
        }
        Ok(())
    }

    fn announce(&mut self, delay: i64) -> Result<(), End> {
        let Some(encoder) = &self.state.encoder else { return Ok(()) };
        let codec = encoder.codec()?;
        let delay = u64::try_from(delay).unwrap_or_default();
        let track = Track { id: self.of.0, timescale: Timescale::MPEG, codec, language: self.of.1.clone(), delay };
        self.state.track = Some(track.clone());
        self.tell(Output::Track { rendition: self.rung.id.clone(), track })?;
        Ok(())
    }

    fn wanted(&self) -> Result<(), Unwanted> {
        if self.tie.stop.load(Ordering::Relaxed) || self.shared.is_abandoned() { Err(Unwanted) } else { Ok(()) }
    }

    fn tell(&self, output: Output) -> Result<(), Unwanted> {
        self.output.blocking_send(output).map_err(|_| Unwanted)
    }
}

/// Decode times. x264 gives the n-th picture the display time of the one two places before it, which after a hole lies
/// before the hole: a segment would seem to begin there. At a random access point the first two are brought up to where
/// they are in a stream without holes: `delay` before what is shown, as in the stream's beginning.
#[derive(Debug, Default)]
struct DecodeClock {
    delay: Option<i64>,
    /// Of the last random access point: its display time and how many came since.
    key: (i64, i64),
    last: Option<i64>,
}

impl DecodeClock {
    fn place(&mut self, coded: &Coded) -> i64 {
        let delay = *self.delay.get_or_insert_with(|| (coded.pts - coded.dts).max(0));
        self.key = if coded.key { (coded.pts, 0) } else { (self.key.0, self.key.1 + 1) };
        let mut dts = coded.dts;
        if self.key.1 < 2 {
            dts = dts.max(self.key.0 - delay + delay / 2 * self.key.1);
        }
        dts = self.last.map_or(dts, |last| dts.max(last + 1));
        self.last = Some(dts);
        dts
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn after_a_hole_decoding_begins_as_far_ahead_as_in_the_beginning() {
        let mut clock = DecodeClock::default();
        let mut place = |pts, dts, key| clock.place(&Coded { pts, dts, key, data: Bytes::new() });
        assert_eq!(place(1000, 800, true), 800);
        assert_eq!(place(1300, 900, false), 900);
        assert_eq!(place(1100, 1000, false), 1000);
        assert_eq!(place(1200, 1100, false), 1100);
        assert_eq!(place(9000, 1200, true), 8800);
        assert_eq!(place(9300, 1300, false), 8900);
        assert_eq!(place(9100, 9000, false), 9000);
    }
}
