//! The configuration file, watched. A valid change takes effect for streams that start after it; an invalid one changes
//! nothing and says why.
//!
//! The folder is watched rather than the file: a watch of the file goes deaf when an editor or Kubernetes puts another file
//! in its place. Any event makes the file be read again; what it says is compared.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::Config;
use crate::stream::Setup;

/// Editors write in several steps; after the first event, so long nothing must happen before the file is read.
const QUIET: Duration = Duration::from_millis(150);

/// A watch of the configuration file that has begun: no change after it is missed.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    changed: mpsc::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Begins to watch.
    pub fn begin(path: PathBuf) -> notify::Result<Self> {
        // One event is as good as many: a full queue loses nothing.
        let (events, changed) = mpsc::channel(1);
        let watcher = watcher(&path, events)?;
        Ok(Self { path, changed, _watcher: watcher })
    }

    /// Follows the changes for as long as it is polled, beginning with those since the process was started with `running`.
    pub async fn follow(mut self, running: Config, setup: watch::Sender<Setup>) {
        let mut current = running.clone();
        let mut complaint = None;
        loop {
            let read = tokio::task::spawn_blocking({
                let path = self.path.clone();
                move || Config::load(&path)
            });
            // A panic in there is reported by the panic hook; the next event reads again.
            let Ok(read) = read.await else { return };
            match read {
                Ok(config) => {
                    complaint = None;
                    if config != current {
                        if config.differs_beyond_setup(&running) {
                            warn!("[http], [rtmp], [server], [log] and [[file]] take effect at the next start");
                        }
                        info!("the configuration has changed: streams that start from now on follow it");
                        setup.send_replace(config.setup());
                        current = config;
                    }
                }
                Err(error) => {
                    // Once for each mistake, however often the folder changes.
                    let error = error.to_string();
                    if complaint.as_ref() != Some(&error) {
                        warn!("the configuration has changed and is not taken: {error}");
                        complaint = Some(error);
                    }
                }
            }
            if self.changed.recv().await.is_none() {
                return;
            }
            while tokio::time::timeout(QUIET, self.changed.recv()).await.is_ok_and(|event| event.is_some()) {}
        }
    }
}

fn watcher(path: &Path, events: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading is an event, too.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = events.try_send(());
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::runtime::Tasks;

    const PATIENCE: Duration = Duration::from_secs(20);

    struct Rig {
        folder: tempfile::TempDir,
        setup: watch::Receiver<Setup>,
        _tasks: Tasks,
    }

    impl Rig {
        fn new(prepare: impl FnOnce(&Path)) -> Self {
            let folder = tempfile::tempdir().unwrap();
            prepare(folder.path());
            let path = folder.path().join("headwater.toml");
            let running = Config::load(&path).unwrap();
            let (sender, setup) = watch::channel(running.setup());
            let tasks = Tasks::new();
            tasks.spawn("reload", Watch::begin(path).unwrap().follow(running, sender));
            Self { folder, setup, _tasks: tasks }
        }

        async fn linger_becomes(&mut self, secs: u64, change: impl FnOnce(&Path)) {
            change(self.folder.path());
            let reached = self.setup.wait_for(|setup| setup.stream.linger == Duration::from_secs(secs));
            tokio::time::timeout(PATIENCE, reached).await.unwrap().unwrap();
        }
    }

    fn text(secs: u64) -> String {
        format!("[stream]\nlinger = \"{secs}s\"\n")
    }

    #[tokio::test]
    async fn a_file_written_in_place_and_one_put_in_its_place_are_both_noticed() {
        let mut rig = Rig::new(|folder| std::fs::write(folder.join("headwater.toml"), text(1)).unwrap());
        rig.linger_becomes(2, |folder| std::fs::write(folder.join("headwater.toml"), text(2)).unwrap()).await;
        for secs in [3, 4] {
            rig.linger_becomes(secs, |folder| {
                std::fs::write(folder.join("new"), text(secs)).unwrap();
                std::fs::rename(folder.join("new"), folder.join("headwater.toml")).unwrap();
            })
            .await;
        }
    }

    #[tokio::test]
    async fn the_swap_of_a_link_as_kubernetes_does_it_is_noticed() {
        let mut rig = Rig::new(|folder| {
            std::fs::create_dir(folder.join("v1")).unwrap();
            std::fs::write(folder.join("v1/headwater.toml"), text(1)).unwrap();
            symlink("v1", folder.join("..data")).unwrap();
            symlink("..data/headwater.toml", folder.join("headwater.toml")).unwrap();
        });
        rig.linger_becomes(2, |folder| {
            std::fs::create_dir(folder.join("v2")).unwrap();
            std::fs::write(folder.join("v2/headwater.toml"), text(2)).unwrap();
            symlink("v2", folder.join("..tmp")).unwrap();
            std::fs::rename(folder.join("..tmp"), folder.join("..data")).unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn a_mistake_changes_nothing_and_is_got_over() {
        let mut rig = Rig::new(|folder| std::fs::write(folder.join("headwater.toml"), text(1)).unwrap());
        rig.linger_becomes(2, |folder| std::fs::write(folder.join("headwater.toml"), text(2)).unwrap()).await;
        std::fs::write(rig.folder.path().join("headwater.toml"), "[stream]\nlinger = 7\n").unwrap();
        rig.linger_becomes(3, |folder| std::fs::write(folder.join("headwater.toml"), text(3)).unwrap()).await;
    }
}
