//! Which streams there are. Written by the registry, read by everybody, without a lock on the way of a request.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Presentation;
use crate::media::StreamName;

type Map = HashMap<StreamName, watch::Receiver<Arc<Presentation>>>;

/// Stream names and what they offer. Clones share the same map.
#[derive(Clone, Debug, Default)]
pub struct Catalog(Arc<ArcSwap<Map>>);

impl Catalog {
    /// A stream is there from now on.
    pub fn insert(&self, name: &StreamName, presentation: &watch::Receiver<Arc<Presentation>>) {
        self.0.rcu(|map| {
            let mut map = Map::clone(map);
            map.insert(name.clone(), presentation.clone());
            map
        });
    }

    /// A stream is no more.
    pub fn remove(&self, name: &StreamName) {
        self.0.rcu(|map| {
            let mut map = Map::clone(map);
            map.remove(name);
            map
        });
    }

    /// What this name offers now.
    pub fn get(&self, name: &str) -> Option<Arc<Presentation>> {
        self.0.load().get(name).map(|presentation| Arc::clone(&presentation.borrow()))
    }

    /// The same, and what it will offer.
    pub fn watch(&self, name: &str) -> Option<watch::Receiver<Arc<Presentation>>> {
        self.0.load().get(name).cloned()
    }

    /// What every stream offers now, by name.
    pub fn all(&self) -> Vec<Arc<Presentation>> {
        let mut all: Vec<_> = self.0.load().values().map(|presentation| Arc::clone(&presentation.borrow())).collect();
        all.sort_by(|left, right| left.name.cmp(&right.name));
        all
    }
}
