//! What a rendition's segments really weigh and how many pictures they hold: `BANDWIDTH`, `AVERAGE-BANDWIDTH` and
//! `FRAME-RATE` of its variant.

use crate::media::{Bitrate, FrameRate, MediaDuration};

/// Rates that measured ones are taken for when they are within half a percent.
const USUAL: [(u32, u32); 13] = [
    (10, 1),
    (12, 1),
    (15, 1),
    (20, 1),
    (24_000, 1_001),
    (24, 1),
    (25, 1),
    (30_000, 1_001),
    (30, 1),
    (48, 1),
    (50, 1),
    (60_000, 1_001),
    (60, 1),
];

/// Sums over a rendition's segments.
#[derive(Debug, Default)]
pub(super) struct Measure {
    peak: u64,
    bits: u64,
    micros: u64,
    frame_rate: Option<FrameRate>,
}

impl Measure {
    /// A segment of so many bytes and samples. `target_secs` tells which segments are long enough to set the peak.
    pub(super) fn add(&mut self, bytes: u64, samples: usize, duration: MediaDuration, target_secs: u32) {
        let micros = u64::try_from(duration.to_std().as_micros()).unwrap_or(u64::MAX);
        if bytes == 0 || micros == 0 {
            return;
        }
        self.bits += bytes * 8;
        self.micros += micros;
        // RFC 8216bis § 4.4.6.2: spans of half a target duration and more set the peak. The first one sets it anyway.
        if self.peak == 0 || micros * 2 >= u64::from(target_secs) * 1_000_000 {
            self.peak = self.peak.max((bytes * 8).saturating_mul(1_000_000).div_ceil(micros));
        }
        if self.frame_rate.is_none() && samples > 1 {
            self.frame_rate = Some(frame_rate(samples as u64, micros));
        }
    }

    pub(super) fn peak(&self) -> Bitrate {
        Bitrate::new(self.peak)
    }

    pub(super) fn mean(&self) -> Bitrate {
        Bitrate::new(self.bits.saturating_mul(1_000_000).checked_div(self.micros).unwrap_or(0))
    }

    pub(super) fn frame_rate(&self) -> Option<FrameRate> {
        self.frame_rate
    }
}

fn frame_rate(pictures: u64, micros: u64) -> FrameRate {
    let millis = u32::try_from(pictures.saturating_mul(1_000_000_000) / micros).unwrap_or(u32::MAX);
    let measured = FrameRate { numerator: millis, denominator: 1_000 };
    let near = |&&(numerator, denominator): &&(u32, u32)| {
        let usual = f64::from(numerator) / f64::from(denominator);
        (measured.fps() - usual).abs() / usual
    };
    let nearest = USUAL.iter().min_by(|left, right| near(left).total_cmp(&near(right)));
    match nearest.filter(|usual| near(usual) < 0.005) {
        Some(&(numerator, denominator)) => FrameRate { numerator, denominator },
        None => measured,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Timescale;

    fn millis(count: u64) -> MediaDuration {
        MediaDuration::new(count, Timescale::MILLIS)
    }

    #[test]
    fn the_peak_is_the_heaviest_segment_of_some_length() {
        let mut measure = Measure::default();
        measure.add(250_000, 60, millis(2_000), 2);
        measure.add(500_000, 60, millis(2_000), 2);
        // A stub at the end of a publisher: one picture.
        measure.add(100_000, 1, millis(33), 2);
        assert_eq!(measure.peak(), Bitrate::new(2_000_000));
        assert_eq!(measure.mean(), Bitrate::new(850_000 * 8 * 1_000 / 4_033));
    }

    #[test]
    fn measured_frame_rates_are_taken_for_the_usual_ones() {
        let mut measure = Measure::default();
        measure.add(1, 60, millis(2_002), 2);
        assert_eq!(measure.frame_rate(), Some(FrameRate { numerator: 30_000, denominator: 1_001 }));
        let mut odd = Measure::default();
        odd.add(1, 17, millis(2_000), 2);
        assert_eq!(odd.frame_rate().map(FrameRate::fps), Some(8.5));
    }
}
