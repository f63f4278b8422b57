//! Where decoded sound goes on a line of samples without holes. Pure.

/// How far sound may be off before it is moved, in milliseconds: below what is seen at a speaker's lips, above what
/// publishers that count in milliseconds jitter.
const TOLERANCE_MS: i64 = 20;

/// Longer holes are not filled with silence: the line begins anew behind them.
const LONGEST_SILENCE_MS: i64 = 1_000;

/// What to do with a run of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Append it.
    Join,
    /// Append so many samples of silence first.
    Silence(usize),
    /// Leave its first samples out.
    Cut(usize),
    /// End the line and begin a new one here.
    Anew,
}

/// A line of samples.
#[derive(Debug)]
pub(super) struct Line {
    rate: i64,
    /// Where the next sample goes.
    next: Option<i64>,
}

impl Line {
    pub(super) fn new(rate: u32) -> Self {
        Self { rate: i64::from(rate), next: None }
    }

    /// Places a run of `samples` that should be heard at `pts` (in samples).
    pub(super) fn place(&mut self, pts: i64, samples: usize) -> Place {
        let samples = i64::try_from(samples).unwrap_or(i64::MAX);
        let Some(next) = self.next else {
            self.next = Some(pts + samples);
            return Place::Anew;
        };
        let off = pts - next;
        let count = |samples: i64| usize::try_from(samples).unwrap_or_default();
        let (place, next) = if off > self.millis(LONGEST_SILENCE_MS) {
            (Place::Anew, pts + samples)
        } else if off > self.millis(TOLERANCE_MS) {
            (Place::Silence(count(off)), pts + samples)
        } else if off < -self.millis(TOLERANCE_MS) {
            let cut = (-off).min(samples);
            (Place::Cut(count(cut)), next + samples - cut)
        } else {
            (Place::Join, next + samples)
        };
        self.next = Some(next);
        place
    }

    fn millis(&self, millis: i64) -> i64 {
        self.rate * millis / 1_000
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn jitter_is_left_alone_holes_are_filled_overlaps_cut_and_long_holes_begin_anew() {
        let mut line = Line::new(48_000);
        assert_eq!(line.place(5_000, 1024), Place::Anew);
        assert_eq!(line.place(6_024 + 48, 1024), Place::Join);
        assert_eq!(line.place(7_048 - 48, 1024), Place::Join);
        assert_eq!(line.place(8_072 + 4_800, 1024), Place::Silence(4_800));
        assert_eq!(line.place(13_896 - 2_000, 1024), Place::Cut(1024));
        assert_eq!(line.place(13_896 - 1_000, 1024), Place::Cut(1_000));
        assert_eq!(line.place(13_920 + 480_000, 1024), Place::Anew);
    }

    proptest! {
        #[test]
        fn sound_never_strays_from_its_time(jumps in proptest::collection::vec(-3_000_i64..60_000, 1..50)) {
            let mut line = Line::new(48_000);
            let (mut pts, mut head) = (0, 0);
            for jump in jumps {
                pts += 1024 + jump;
                let before = match line.place(pts, 1024) {
                    Place::Join => head,
                    Place::Silence(samples) => head + i64::try_from(samples).unwrap(),
                    Place::Cut(1024) => continue,
                    // Sample `cut` of the run goes to the head.
                    Place::Cut(cut) => head - i64::try_from(cut).unwrap(),
                    Place::Anew => pts,
                };
                prop_assert!((before - pts).abs() <= 960);
                head = before + 1024;
                prop_assert_eq!(line.next, Some(head));
            }
        }
    }
}
