//! Puts every piece together in the one right order, owns the root of all tasks, and drains at the end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tower_http::compression::CompressionLayer;
use tracing::{info, warn};

use crate::control::{Config, api, metrics, reload, ui};
use crate::ingest::{Door, rtmp};
use crate::media::StreamName;
use crate::origin::{self, Origin, Outcome};
use crate::runtime::{Clock, Shutdown, Tasks};
use crate::stream::Registry;
use crate::window::Catalog;
use crate::{ingest, libav, runtime};

/// Publishers that knock at once; more wait in their connections.
const DOOR: usize = 16;

/// Requests that are being answered when everything else has ended may take so long.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// How often it is looked whether the last viewer has left.
const LOOK: Duration = Duration::from_millis(50);

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken, or an address is not this machine's.
    #[error("{what} cannot listen on {address}: {source}; change {key} or stop what listens there")]
    Listen {
        /// For whom.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// The key of the configuration.
        key: &'static str,
        /// Why.
        source: io::Error,
    },
    /// FFmpeg's libraries lack something.
    #[error(transparent)]
    Libav(#[from] libav::Error),
}

/// Everything that is needed to serve, with its ports bound.
pub struct Server {
    config: Config,
    reload: Option<reload::Watch>,
    http: TcpListener,
    rtmp: rtmp::Listener,
    demo: Option<StreamName>,
}

impl Server {
    /// Binds the ports; nobody is answered before [`Server::run`]. A configuration from a file is watched.
    pub fn bind(config: Config, config_path: Option<PathBuf>) -> Result<Self, StartError> {
        libav::init();
        libav::check()?;
        let listen = |what, address, key| move |source| StartError::Listen { what, address, key, source };
        let http = runtime::listen(config.http.listen).map_err(listen("HTTP", config.http.listen, "http.listen"))?;
        let rtmp = rtmp::bind(config.rtmp.clone()).map_err(listen("RTMP", config.rtmp.listen, "rtmp.listen"))?;
        let reload = config_path.and_then(|path| match reload::Watch::begin(path) {
            Ok(watch) => Some(watch),
            Err(error) => {
                warn!(%error, "the configuration is not watched: changes need a restart");
                None
            }
        });
        Ok(Self { config, reload, http, rtmp, demo: None })
    }

    /// Publishes a generated picture and sound under this name, too.
    pub fn with_demo(mut self, name: StreamName) -> Self {
        self.demo = Some(name);
        self
    }

    /// Where players come; the port is known even where the configuration says 0.
    pub fn http_address(&self) -> io::Result<SocketAddr> {
        self.http.local_addr()
    }

    /// Where RTMP publishers come.
    pub fn rtmp_address(&self) -> io::Result<SocketAddr> {
        self.rtmp.local_addr()
    }

    /// Serves until `shutdown` begins; then takes no more publishers, finishes the streams, and leaves viewers their grace.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), StartError> {
        let clock = Clock;
        let stats = metrics::Stats::default();
        let catalog = Catalog::default();
        let (door, publishers) = mpsc::channel(DOOR);
        let (setup, setups) = watch::channel(self.config.setup());
        let sources = Tasks::new();
        let viewers = Tasks::new();

        // The data's way, from its end to its beginning: who is sent something is there before it is sent.
        let registry = Registry::new(setups, catalog.clone(), Arc::clone(&stats.stream), clock);
        let router = router(&self.config, &catalog, &stats);
        let no_more_viewers = Shutdown::default();
        let http = origin::serve(
            self.http,
            router,
            self.config.http.clone(),
            Arc::clone(&stats.origin),
            viewers.clone(),
            no_more_viewers.clone(),
        );
        viewers.spawn("http", http);
        let reload = self.reload.map(|watch| sources.spawn_owned("reload", watch.follow(self.config.clone(), setup)));
        let listener =
            sources.spawn_owned("rtmp", self.rtmp.run(door.clone(), sources.clone(), clock, Arc::clone(&stats.rtmp)));
        start_sources(&self.config, self.demo.as_ref(), &door, &sources, clock);
        drop(door);

        let waiting = shutdown.clone();
        sources.spawn("shutdown", async move {
            waiting.begun().await;
            info!("shutting down: the streams end, viewers have their grace");
            drop((listener, reload));
        });
        registry.run(publishers, shutdown).await;

        grace(&self.config, &stats).await;
        no_more_viewers.begin();
        if tokio::time::timeout(LAST_ANSWERS, viewers.join()).await.is_err() {
            warn!("some viewers were still being answered");
        }
        Ok(())
    }
}

/// Sources of our own: files and the demo.
fn start_sources(config: &Config, demo: Option<&StreamName>, door: &Door, tasks: &Tasks, clock: Clock) {
    for file in config.file.clone() {
        let door = door.clone();
        tasks.spawn("file", async move {
            if let Err(error) = ingest::file::run(file, door, clock).await {
                tracing::error!("{error}");
            }
        });
    }
    if let Some(name) = demo {
        ingest::generated::start(name.clone(), door.clone(), tasks, clock);
    }
}

/// Waits until the last viewer has left, or the grace is over.
async fn grace(config: &Config, stats: &metrics::Stats) {
    let watched = || stats.origin.connections_open.load(Ordering::Relaxed) > 0;
    let all_gone = async {
        while watched() {
            tokio::time::sleep(LOOK).await;
        }
    };
    // Either way it is time to go.
    let _ = tokio::time::timeout(config.server.grace, all_gone).await;
}

#[derive(Clone)]
struct Control {
    catalog: Catalog,
    stats: metrics::Stats,
}

fn router(config: &Config, catalog: &Catalog, stats: &metrics::Stats) -> Router {
    let origin = Origin::new(&config.http, catalog.clone(), ui::stream(), Arc::clone(&stats.origin));
    let control = Router::new()
        .route("/", get(async || Outcome::Page.respond(Body::from(ui::index()))))
        .route("/_/{*asset}", get(async |Path(asset): Path<String>| ui::asset(&asset)))
        .route("/api/v1/streams", get(streams))
        .route("/metrics", get(metrics))
        .layer(CompressionLayer::new())
        .with_state(Control { catalog: catalog.clone(), stats: stats.clone() });
    Router::new()
        .route("/time", get(time))
        .route("/healthz", get(healthy))
        .route("/readyz", get(healthy))
        .merge(control)
        .method_not_allowed_fallback(origin::handle_method)
        .fallback(origin::handle)
        .with_state(origin)
}

async fn streams(State(control): State<Control>) -> Response<Body> {
    match serde_json::to_string(&api::streams(&control.catalog)) {
        Ok(json) => fresh("application/json", json),
        Err(error) => {
            warn!(%error, "the streams cannot be said as JSON");
            Outcome::Unavailable.say("The streams cannot be listed now.\n")
        }
    }
}

async fn metrics(State(control): State<Control>) -> Response<Body> {
    match control.stats.text() {
        Ok(text) => fresh("application/openmetrics-text; version=1.0.0; charset=utf-8", text),
        Err(error) => {
            warn!(%error, "the metrics cannot be said");
            Outcome::Unavailable.say("The metrics cannot be had now.\n")
        }
    }
}

/// The wall clock, for players that must know ours (DASH's UTCTiming): ISO 8601 with milliseconds.
async fn time() -> Response<Body> {
    let now = chrono::DateTime::<chrono::Utc>::from(Clock.wall());
    fresh("text/plain; charset=utf-8", now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

async fn healthy() -> Response<Body> {
    fresh("text/plain; charset=utf-8", "ok\n".to_owned())
}

fn fresh(content_type: &'static str, text: String) -> Response<Body> {
    let mut response = Outcome::Fresh.respond(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
