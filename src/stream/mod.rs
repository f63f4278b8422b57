//! One live stream: stages 1 to 4, wired. It outlives its publisher.

mod timeline;
