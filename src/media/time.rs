//! Media clocks: ticks of a stated scale. Wall clocks are `runtime::Clock`'s business.

use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// Ticks per second of a media clock (`timescale` of ISO/IEC 14496-12 § 8.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timescale(NonZeroU32);

impl Timescale {
    /// 90 kHz: MPEG-TS and every video track here.
    pub const MPEG: Self = Self::literal(90_000);
    /// Milliseconds: RTMP and FLV.
    pub const MILLIS: Self = Self::literal(1_000);
    /// Microseconds: libav's `AV_TIME_BASE`, and differences of clocks.
    pub const MICROS: Self = Self::literal(1_000_000);

    /// `None` for zero.
    pub const fn new(ticks_per_second: u32) -> Option<Self> {
        match NonZeroU32::new(ticks_per_second) {
            Some(ticks) => Some(Self(ticks)),
            None => None,
        }
    }

    const fn literal(ticks_per_second: u32) -> Self {
        Self::new(ticks_per_second).expect("a literal above zero")
    }

    /// Ticks per second.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// An instant on a media clock. Instants of different scales compare by the time they name.
#[derive(Clone, Copy)]
pub struct MediaTime {
    ticks: i64,
    scale: Timescale,
}

impl MediaTime {
    /// The instant `ticks` after the clock's zero.
    pub const fn new(ticks: i64, scale: Timescale) -> Self {
        Self { ticks, scale }
    }

    /// The clock's zero.
    pub const fn zero(scale: Timescale) -> Self {
        Self::new(0, scale)
    }

    /// Ticks since the clock's zero; negative before it.
    pub const fn ticks(self) -> i64 {
        self.ticks
    }

    /// The clock's scale.
    pub const fn scale(self) -> Timescale {
        self.scale
    }

    /// The same instant on another scale, rounded to the nearest tick.
    #[must_use]
    pub fn to_scale(self, scale: Timescale) -> Self {
        if scale == self.scale {
            return self;
        }
        Self::new(rescale(self.ticks, self.scale, scale), scale)
    }

    /// This much later, on this instant's scale.
    #[must_use]
    pub fn plus(self, by: MediaDuration) -> Self {
        let by = i64::try_from(by.to_scale(self.scale).ticks).unwrap_or(i64::MAX);
        Self::new(self.ticks.saturating_add(by), self.scale)
    }

    /// This much earlier, on this instant's scale.
    #[must_use]
    pub fn minus(self, by: MediaDuration) -> Self {
        let by = i64::try_from(by.to_scale(self.scale).ticks).unwrap_or(i64::MAX);
        Self::new(self.ticks.saturating_sub(by), self.scale)
    }

    /// From `earlier` to here, on this instant's scale; `None` when `earlier` is later.
    pub fn since(self, earlier: Self) -> Option<MediaDuration> {
        let ticks = self.ticks.checked_sub(earlier.to_scale(self.scale).ticks)?;
        u64::try_from(ticks).ok().map(|ticks| MediaDuration::new(ticks, self.scale))
    }

    /// Microseconds since the clock's zero, for logs and comparisons with wall clocks.
    pub fn micros(self) -> i64 {
        self.to_scale(Timescale::MICROS).ticks
    }
}

impl PartialEq for MediaTime {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for MediaTime {}
impl PartialOrd for MediaTime {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for MediaTime {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = i128::from(self.ticks) * i128::from(other.scale.get());
        let right = i128::from(other.ticks) * i128::from(self.scale.get());
        left.cmp(&right)
    }
}
impl fmt::Debug for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ticks, self.scale.get())
    }
}

/// A length of time on a media clock.
#[derive(Clone, Copy)]
pub struct MediaDuration {
    ticks: u64,
    scale: Timescale,
}

impl MediaDuration {
    /// `ticks` of `scale`.
    pub const fn new(ticks: u64, scale: Timescale) -> Self {
        Self { ticks, scale }
    }

    /// No time at all.
    pub const fn zero(scale: Timescale) -> Self {
        Self::new(0, scale)
    }

    /// The nearest length on `scale`.
    pub fn from_std(duration: Duration, scale: Timescale) -> Self {
        let nanos = duration.as_nanos().saturating_mul(u128::from(scale.get()));
        Self::new(u64::try_from((nanos + 500_000_000) / 1_000_000_000).unwrap_or(u64::MAX), scale)
    }

    /// Ticks of its scale.
    pub const fn ticks(self) -> u64 {
        self.ticks
    }

    /// Its scale.
    pub const fn scale(self) -> Timescale {
        self.scale
    }

    /// The same length on another scale, rounded to the nearest tick.
    #[must_use]
    pub fn to_scale(self, scale: Timescale) -> Self {
        if scale == self.scale {
            return self;
        }
        let ticks = rescale(i64::try_from(self.ticks).unwrap_or(i64::MAX), self.scale, scale);
        Self::new(ticks.unsigned_abs(), scale)
    }

    /// Both, on this length's scale.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self::new(self.ticks.saturating_add(other.to_scale(self.scale).ticks), self.scale)
    }

    /// So many times as long.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self::new(self.ticks.saturating_mul(u64::from(count)), self.scale)
    }

    /// `numerator/denominator` of it, rounded down. Zero when `denominator` is.
    #[must_use]
    pub fn fraction(self, numerator: u32, denominator: u32) -> Self {
        let ticks =
            (u128::from(self.ticks) * u128::from(numerator)).checked_div(u128::from(denominator)).unwrap_or_default();
        Self::new(u64::try_from(ticks).unwrap_or(u64::MAX), self.scale)
    }

    /// Seconds, for playlists and people; the ticks stay the truth.
    #[expect(clippy::cast_precision_loss, reason = "a segment's length is far below 2^53 ticks")]
    pub fn seconds(self) -> f64 {
        self.ticks as f64 / f64::from(self.scale.get())
    }

    /// The same length as a `std` duration.
    pub fn to_std(self) -> Duration {
        let nanos = u128::from(self.ticks) * 1_000_000_000 / u128::from(self.scale.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl PartialEq for MediaDuration {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for MediaDuration {}
impl PartialOrd for MediaDuration {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for MediaDuration {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = u128::from(self.ticks) * u128::from(other.scale.get());
        let right = u128::from(other.ticks) * u128::from(self.scale.get());
        left.cmp(&right)
    }
}
impl fmt::Debug for MediaDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ticks, self.scale.get())
    }
}

/// Nearest tick, halves away from zero; saturates.
fn rescale(ticks: i64, from: Timescale, to: Timescale) -> i64 {
    let (from, to) = (i128::from(from.get()), i128::from(to.get()));
    let scaled = i128::from(ticks) * to;
    let half = if scaled < 0 { -from / 2 } else { from / 2 };
    let nearest = (scaled + half) / from;
    i64::try_from(nearest).unwrap_or(if nearest < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_of_different_scales_compare_by_the_time_they_name() {
        let video = MediaTime::new(90_000, Timescale::MPEG);
        let audio = MediaTime::new(48_000, Timescale::new(48_000).unwrap());
        assert_eq!(video, audio);
        assert!(audio < MediaTime::new(90_001, Timescale::MPEG));
    }

    #[test]
    fn rescaling_rounds_to_the_nearest_tick_on_both_sides_of_zero() {
        let third = Timescale::new(3).unwrap();
        assert_eq!(MediaTime::new(2, third).to_scale(Timescale::MILLIS).ticks(), 667);
        assert_eq!(MediaTime::new(-2, third).to_scale(Timescale::MILLIS).ticks(), -667);
    }

    #[test]
    fn a_length_survives_the_way_over_std() {
        let length = MediaDuration::from_std(Duration::from_millis(2_000), Timescale::MPEG);
        assert_eq!(length.ticks(), 180_000);
        assert_eq!(length.to_std(), Duration::from_secs(2));
    }
}
