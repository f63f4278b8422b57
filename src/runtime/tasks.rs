//! Tasks that have owners, and how they are told to end.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tracing::Instrument;

/// Owns the tasks of one part of the server: dropped, it aborts them. Clones share the same set.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    set: Arc<Mutex<JoinSet<()>>>,
}

impl Tasks {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task in the current tracing span; `name` is its span's name in logs.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        // Ended tasks are let go here, so that the set holds the living ones only.
        while let Some(ended) = set.try_join_next() {
            report(ended);
        }
        set.spawn(task.instrument(tracing::debug_span!("task", name)));
    }

    /// Starts a task that ends when the returned handle is dropped.
    pub fn spawn_owned(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Task {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = set.try_join_next() {
            report(ended);
        }
        Task(set.spawn(task.instrument(tracing::debug_span!("task", name))))
    }

    /// Waits until every task has ended.
    pub async fn join(&self) {
        loop {
            let mut set = std::mem::take(&mut *self.set.lock().unwrap_or_else(PoisonError::into_inner));
            if set.is_empty() {
                return;
            }
            while let Some(ended) = set.join_next().await {
                report(ended);
            }
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a task panicked");
    }
}

/// A task that ends when this is dropped.
#[derive(Debug)]
pub struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Says once, to everybody who holds a clone, that it is time to end.
#[derive(Clone, Debug)]
pub struct Shutdown {
    flag: watch::Sender<bool>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { flag: watch::Sender::new(false) }
    }
}

impl Shutdown {
    /// Tells everybody.
    pub fn begin(&self) {
        self.flag.send_replace(true);
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        *self.flag.borrow()
    }

    /// Waits until it has begun.
    pub async fn begun(&self) {
        let mut flag = self.flag.subscribe();
        // The sender lives as long as `self`.
        let _ = flag.wait_for(|begun| *begun).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_handle_ends_its_task_and_join_sees_it_go() {
        let tasks = Tasks::new();
        let task = tasks.spawn_owned("forever", std::future::pending());
        drop(task);
        tasks.join().await;
    }

    #[tokio::test]
    async fn shutdown_reaches_those_who_ask_late() {
        let shutdown = Shutdown::default();
        shutdown.begin();
        shutdown.clone().begun().await;
        assert!(shutdown.has_begun());
    }
}
