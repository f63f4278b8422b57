//! Tasks with owners, shutdown, and the only clock.

mod clock;
mod tasks;

pub use clock::Clock;
pub use tasks::{Shutdown, Task, Tasks};
