//! Stage 3: access units into segments. [`Segmenter`] decides where to cut, once per stream; a [`Packager`] per rendition
//! follows its cuts and writes CMAF, the one form that is kept.

mod cmaf;
mod segmenter;

pub use cmaf::{Packaged, Packager};
pub use segmenter::{Config, Cut, Pace, Segmenter, part_target};
