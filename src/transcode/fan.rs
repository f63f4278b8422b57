//! From the decoder to the rungs: every picture to each that has room for it, and which rung is given up when it goes on.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::cuts::Reader;
use super::lateness::{Lateness, Pacer};
use super::rung::{Job, Skip, Tie};
use super::{Output, Pressure, Rung, Shared};
use crate::libav::{Error, Picture};
use crate::media::{FrameRate, MediaDuration, MediaTime, RenditionId};

/// About half a second of decoded pictures. A rung that falls behind by more skips to the next cut.
const RUNG_QUEUE: usize = 16;

/// Gives pictures to the rungs and gives rungs up.
pub(super) struct Fan {
    cuts: Reader,
    outlets: Vec<Outlet>,
    output: mpsc::Sender<Output>,
    pressure: Pressure,
    shared: Arc<Shared>,
    /// News that the output had no room for. Never more than rungs.
    owed: VecDeque<Output>,
}

/// The way to one rung.
pub(super) struct Outlet {
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

enum Offer {
    Taken,
    Full,
    Ended,
}

impl Fan {
    pub(super) fn new(
        cuts: Reader,
        outlets: Vec<Outlet>,
        output: mpsc::Sender<Output>,
        pressure: Pressure,
        shared: Arc<Shared>,
    ) -> Self {
        Self { cuts, outlets, output, pressure, shared, owed: VecDeque::new() }
    }

    /// Gives a picture, which lasts for `length`, to every rung that takes it.
    pub(super) fn spread(
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

    pub(super) fn gap(&mut self) {
        for outlet in &mut self.outlets {
            outlet.fresh = !matches!(outlet.offer(Job::Gap, self.pressure), Offer::Taken);
        }
    }

    pub(super) fn shed_all(&mut self, reason: &str) {
        while !self.outlets.is_empty() {
            self.shed(0, reason);
        }
        self.deliver();
    }

    /// The last rung stays, with holes: it is more than nothing.
    pub(super) fn shed_most_expensive(&mut self, reason: &str) {
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

    pub(super) fn is_over(&self) -> bool {
        self.outlets.is_empty() && self.owed.is_empty()
    }

    /// Closes the rungs' queues and says what there was no room for.
    pub(super) fn last_words(mut self) {
        self.outlets.clear();
        for news in self.owed {
            // Nobody may want to hear it any more.
            let _ = self.output.blocking_send(news);
        }
    }
}

impl Outlet {
    /// It and the rung's ends.
    pub(super) fn new(rung: &Rung, frame_rate: FrameRate, shed_after: Duration) -> (Self, Receiver<Job>, Arc<Tie>) {
        let (queue, jobs) = sync_channel(RUNG_QUEUE);
        let tie = Arc::new(Tie::default());
        let outlet = Self {
            id: rung.id.clone(),
            samples_per_second: f64::from(rung.size.width) * f64::from(rung.size.height) * frame_rate.fps(),
            pacer: Pacer::new(rung.frame_rate),
            lateness: Lateness::new(shed_after),
            skip: None,
            fresh: false,
            queue,
            tie: Arc::clone(&tie),
        };
        (outlet, jobs, tie)
    }

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
