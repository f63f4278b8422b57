//! `/metrics`: what the stages count, in the OpenMetrics text format. The stages keep plain atomics; this reads them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::{ingest, origin, stream};

/// What all stages count.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Publishers over RTMP.
    pub rtmp: Arc<ingest::rtmp::Stats>,
    /// Streams.
    pub stream: Arc<stream::Stats>,
    /// Players.
    pub origin: Arc<origin::Stats>,
}

impl Stats {
    /// The counts now, as `/metrics` says them.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("headwater");
        registry.register_collector(Box::new(self.clone()));
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Collector for Stats {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (rtmp, stream, origin) = (&self.rtmp, &self.stream, &self.origin);
        let gauges: [(&str, &str, &AtomicU64); 2] = [
            ("streams", "Streams that have a publisher or wait for one", &stream.streams),
            ("http_connections_open", "Viewers' connections that are open", &origin.connections_open),
        ];
        for (name, help, value) in gauges {
            let value = i64::try_from(value.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let counters: [(&str, &str, &AtomicU64); 30] = [
            ("rtmp_connections", "Connections of RTMP publishers", &rtmp.connections),
            ("rtmp_refused", "RTMP publishers that were not let in", &rtmp.refused),
            ("rtmp_dropped", "RTMP publishers that were let go because they fell silent", &rtmp.dropped),
            ("rtmp_protocol_errors", "RTMP connections that ended because of what they sent", &rtmp.protocol_errors),
            ("rtmp_skipped_tags", "FLV tags left out because of their codec", &rtmp.skipped_tags),
            ("rtmp_bytes", "Bytes received over RTMP", &rtmp.bytes),
            ("publishers", "Publishers that were let in", &stream.publishers),
            ("publishers_refused", "Publishers refused by a busy stream or a limit", &stream.publishers_refused),
            ("access_units", "Access units received", &stream.units),
            ("access_unit_bytes", "Bytes of access units received", &stream.unit_bytes),
            ("segments", "Segments packaged, all renditions", &stream.segments),
            ("discontinuities", "Runs that ended", &stream.discontinuities),
            ("segment_overruns", "Segments cut where no key frame was", &stream.overruns),
            ("timestamps_mended", "Timestamps that jumped, fell or overlapped", &stream.timestamps_mended),
            ("decode_errors", "Access units that could not be decoded", &stream.decode_errors),
            ("pictures_skipped", "Pictures that late rungs left out", &stream.pictures_skipped),
            ("decoder_overflows", "Access units that found the decoder's queue full", &stream.decoder_overflows),
            ("rungs_shed", "Rungs given up because the machine could not keep up", &stream.rungs_shed),
            ("sound_lost", "Frames of sound given up while they waited for pictures", &stream.sound_lost),
            ("http_connections", "Viewers' connections", &origin.connections),
            (
                "http_connections_refused",
                "Viewers' connections beyond http.max_connections",
                &origin.connections_refused,
            ),
            ("http_playlists", "Requests for playlists", &origin.playlists),
            ("http_segments", "Requests for segments", &origin.segments),
            ("http_parts", "Requests for parts", &origin.parts),
            ("http_held", "Requests that were held until their answer was there", &origin.held),
            ("http_ts_made", "MPEG-TS segments made", &origin.ts_made),
            ("http_not_found", "Answers of 4xx", &origin.not_found),
            ("http_unavailable", "Answers of 5xx", &origin.unavailable),
            ("http_media_bytes", "Bytes of headers and segments promised", &origin.media_bytes),
            ("http_playlist_renderings", "Playlists rendered, each once per snapshot", &origin.renderings),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value.load(Ordering::Relaxed));
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_appear_with_name_help_and_value() {
        let stats = Stats::default();
        stats.stream.rungs_shed.store(3, Ordering::Relaxed);
        let text = stats.text().unwrap();
        assert!(text.contains("headwater_rungs_shed_total 3\n"), "{text}");
        assert!(text.contains("# HELP headwater_streams "), "{text}");
    }
}
