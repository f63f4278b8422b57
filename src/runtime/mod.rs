//! Tasks with owners, shutdown, and the only clock.

mod clock;
mod net;
mod tasks;

pub use clock::Clock;
pub use net::listen;
pub use tasks::{Shutdown, Task, Tasks};
