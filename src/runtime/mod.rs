//! Tasks with owners, shutdown, and the only clock.

mod clock;
pub mod duration_text;
mod tasks;

pub use clock::Clock;
pub use tasks::{Shutdown, Task, Tasks};
