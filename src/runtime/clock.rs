//! The only `now()`. Everything else takes time as an argument.

use std::time::{Instant, SystemTime};

/// Tells the time. A value rather than functions, so that who reads clocks shows in signatures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// Monotonic time.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
    pub fn now(self) -> Instant {
        Instant::now()
    }

    /// Wall-clock time.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
    pub fn wall(self) -> SystemTime {
        SystemTime::now()
    }
}
