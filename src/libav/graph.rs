//! Filter graphs with one input and one output.

use std::ffi::{CStr, c_int};
use std::ops::Deref;

use ffmpeg_next as ffmpeg;
use ffmpeg_next::ffi;
use ffmpeg_next::format::Sample;

use super::{Error, Layout, Picture, Sound, answer};
use crate::media::{Rotation, Size, Timescale};

struct Chain {
    // Owns the two contexts, which have no `Drop`.
    _graph: ffmpeg::filter::Graph,
    input: ffmpeg::filter::Context,
    output: ffmpeg::filter::Context,
}

// SAFETY: the two contexts live in the graph and go nowhere without it; libav binds a graph to no thread.
unsafe impl Send for Chain {}

impl Chain {
    fn new(source: (&str, &str), chain: &str, sink: &str) -> Result<Self, Error> {
        let refused = || Error::refused("building a filter graph");
        let find = |name| ffmpeg::filter::find(name).ok_or(ffmpeg::Error::FilterNotFound).map_err(refused());
        let mut graph = ffmpeg::filter::Graph::new();
        // SAFETY: the pointer is used while `graph` lives.
        let raw = unsafe { graph.as_mut_ptr() };
        // SAFETY: the graph belongs to us alone. Rungs are as many threads as are of use.
        unsafe { (*raw).nb_threads = 1 };
        let input = graph.add(&find(source.0)?, "in", source.1).map_err(refused())?;
        let output = graph.add(&find(sink)?, "out", "").map_err(refused())?;
        let parser = graph.output("in", 0).map_err(refused())?.input("out", 0).map_err(refused())?;
        parser.parse(chain).map_err(refused())?;
        graph.validate().map_err(refused())?;
        Ok(Self { _graph: graph, input, output })
    }

    // By value: libav empties what it is given.
    fn push<F: Deref<Target = ffmpeg::Frame>>(&mut self, frame: F) -> Result<(), Error> {
        let result = self.input.source().add(&frame).map_err(Error::refused("filtering"));
        drop(frame);
        result
    }

    fn finish(&mut self) {
        // The only answer besides "done" is that it was told before.
        let _ = self.input.source().flush();
    }

    /// Takes the next frame, its time in ticks of `scale`.
    fn pull(&mut self, frame: &mut ffmpeg::Frame, scale: Timescale) -> Result<bool, Error> {
        if !answer("filtering", self.output.sink().frame(frame))? {
            return Ok(false);
        }
        let base = self.output.sink().time_base();
        if let Some(pts) = frame.pts() {
            let (n, d) = (i128::from(base.numerator()), i128::from(base.denominator().max(1)));
            let scaled = i128::from(pts) * n * i128::from(scale.get());
            let pts = (scaled + d / 2).div_euclid(d);
            frame.set_pts(i64::try_from(pts).ok());
        }
        Ok(true)
    }
}

/// Pictures of one layout to pictures of another.
pub struct PictureGraph {
    chain: Chain,
    scale: Timescale,
}

impl PictureGraph {
    /// Upright, square samples, 8-bit 4:2:0 of limited range, scaled (bicubic) into the middle of `size`.
    pub fn scaler(from: Layout, size: Size, scale: Timescale) -> Result<Self, Error> {
        let turn = match from.rotation {
            Rotation::None => "",
            Rotation::Quarter => "transpose=clock,",
            Rotation::Half => "hflip,vflip,",
            Rotation::ThreeQuarters => "transpose=cclock,",
        };
        let inner = fit(from, size);
        let Size { width, height } = inner;
        let mut chain = format!("{turn}scale={width}:{height}:flags=bicubic:out_range=tv,format=yuv420p,setsar=1");
        if inner != size {
            chain.push_str(&format!(",pad={}:{}:-1:-1", size.width, size.height));
        }
        Self::build(from, &chain, scale)
    }

    /// One picture for each, without combs; those that are not interlaced stay as they are. One picture late.
    pub fn deinterlacer(from: Layout, scale: Timescale) -> Result<Self, Error> {
        Self::build(from, "yadif=mode=send_frame:parity=auto:deint=interlaced", scale)
    }

    fn build(from: Layout, chain: &str, scale: Timescale) -> Result<Self, Error> {
        let Layout { size: Size { width, height }, sample_aspect: (num, den), .. } = from;
        let format = ffi::AVPixelFormat::from(from.format) as c_int;
        let args = format!(
            "video_size={width}x{height}:pix_fmt={format}:time_base=1/{}:pixel_aspect={num}/{den}",
            scale.get()
        );
        Ok(Self { chain: Chain::new(("buffer", &args), chain, "buffersink")?, scale })
    }

    /// Puts a picture in.
    pub fn push(&mut self, picture: Picture) -> Result<(), Error> {
        self.chain.push(picture.0)
    }

    /// Nothing more will be put in: lets out what waits.
    pub fn finish(&mut self) {
        self.chain.finish();
    }

    /// The next picture; `None` when more must be put in first.
    pub fn pull(&mut self) -> Result<Option<Picture>, Error> {
        let mut picture = Picture::empty();
        let came = self.chain.pull(&mut picture.0, self.scale)?;
        Ok(came.then_some(picture))
    }
}

/// The largest even size inside `size` with the aspect of the picture as shown; `size` itself when a pixel or two away.
fn fit(from: Layout, size: Size) -> Size {
    let (num, den) = from.sample_aspect;
    let (mut wide, mut high) =
        (u64::from(from.size.width) * u64::from(num), u64::from(from.size.height) * u64::from(den));
    if from.rotation.swaps() {
        std::mem::swap(&mut wide, &mut high);
    }
    let (width, height) = (u64::from(size.width), u64::from(size.height));
    let even = |a: u64, b: u64, c: u64| (a * b).div_ceil(c.max(1)).next_multiple_of(2).max(2);
    let inner = if wide * height > high * width {
        (width, even(width, high, wide).min(height))
    } else {
        (even(height, wide, high).min(width), height)
    };
    // Rounding to even sizes is no reason for black edges.
    if width - inner.0 <= 4 && height - inner.1 <= 4 {
        return size;
    }
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Size { width: narrow(inner.0), height: narrow(inner.1) }
}

/// Sound of any shape to 32-bit floats in planes.
pub struct SoundGraph {
    chain: Chain,
    shape: (Sample, u32, u16),
    rate: Timescale,
}

impl SoundGraph {
    /// From sound like `like`, whose times are in ticks of `scale`, to `rate` samples per second in `channels` (one or
    /// two), times in samples.
    pub fn new(like: &Sound, scale: Timescale, rate: Timescale, channels: u16) -> Result<Self, Error> {
        let shape = like.shape();
        let layout = describe(like);
        let args = format!(
            "sample_rate={}:sample_fmt={}:channel_layout={layout}:time_base=1/{}",
            shape.1,
            shape.0.name(),
            scale.get()
        );
        let to = if channels == 1 { "mono" } else { "stereo" };
        let chain = format!("aformat=sample_fmts=fltp:sample_rates={}:channel_layouts={to}", rate.get());
        Ok(Self { chain: Chain::new(("abuffer", &args), &chain, "abuffersink")?, shape, rate })
    }

    /// Whether sound of this shape can be put in.
    pub fn takes(&self, sound: &Sound) -> bool {
        self.shape == sound.shape()
    }

    /// Puts sound in.
    pub fn push(&mut self, sound: Sound) -> Result<(), Error> {
        self.chain.push(sound.0)
    }

    /// Nothing more will be put in: lets out what waits.
    pub fn finish(&mut self) {
        self.chain.finish();
    }

    /// The next run of sound; `None` when more must be put in first.
    pub fn pull(&mut self) -> Result<Option<Sound>, Error> {
        let mut sound = Sound::empty();
        let came = self.chain.pull(&mut sound.0, self.rate)?;
        Ok(came.then_some(sound))
    }
}

/// The channel layout as filters want it: a standard one of as many channels where the codec does not say.
fn describe(sound: &Sound) -> String {
    let mut text = [0_u8; 128];
    // SAFETY: the pointer is used while `sound` lives.
    let frame = unsafe { sound.0.as_ptr() };
    // SAFETY: nobody writes to the frame meanwhile.
    let mut layout = unsafe { (*frame).ch_layout };
    let mut default = layout;
    if layout.order == ffi::AVChannelOrder::AV_CHANNEL_ORDER_UNSPEC {
        // SAFETY: overwrites a layout that owns no memory.
        unsafe { ffi::av_channel_layout_default(&raw mut default, layout.nb_channels) };
        layout = default;
    }
    // SAFETY: writes at most as many bytes as `text` has.
    let result = unsafe { ffi::av_channel_layout_describe(&raw const layout, text.as_mut_ptr().cast(), text.len()) };
    // What it returns counts the NUL in some versions and not in others.
    let text = if result < 0 { None } else { CStr::from_bytes_until_nul(&text).ok() };
    text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(width: u32, height: u32, sample_aspect: (u32, u32), rotation: Rotation) -> Layout {
        let mut layout = Picture::blank(Size { width, height }).layout();
        layout.sample_aspect = sample_aspect;
        layout.rotation = rotation;
        layout
    }

    #[test]
    fn a_picture_of_another_shape_is_put_into_the_middle_and_rounding_makes_no_edges() {
        let hd = Size { width: 1280, height: 720 };
        assert_eq!(fit(layout(1920, 1080, (1, 1), Rotation::None), hd), hd);
        assert_eq!(fit(layout(640, 480, (1, 1), Rotation::None), hd), Size { width: 960, height: 720 });
        assert_eq!(fit(layout(720, 576, (64, 45), Rotation::None), hd), hd);
        assert_eq!(fit(layout(1920, 1080, (1, 1), Rotation::Quarter), hd).height, 720);
        assert_eq!(fit(layout(1920, 816, (1, 1), Rotation::None), Size { width: 1694, height: 720 }).width, 1694);
    }

    #[test]
    fn odd_sizes_become_the_rungs_even_one() {
        let mut picture = Picture::blank(Size { width: 641, height: 465 });
        for plane in 0..3 {
            picture.plane_mut(plane).0.fill(128);
        }
        picture.set_pts(1);
        let size = Size { width: 330, height: 240 };
        let mut graph = PictureGraph::scaler(picture.layout(), size, Timescale::MPEG).unwrap();
        graph.push(picture).unwrap();
        let scaled = graph.pull().unwrap().unwrap();
        let layout = scaled.layout();
        assert!(layout.size == size && layout.is_plain() && layout.sample_aspect == (1, 1));
    }

    #[test]
    fn a_picture_that_lies_on_its_side_is_set_upright() {
        // White above, black below: turned by a quarter clockwise, the white is on the right.
        let mut picture = Picture::blank(Size { width: 64, height: 32 });
        let (luma, stride) = picture.plane_mut(0);
        for (row, line) in luma.chunks_exact_mut(stride).enumerate() {
            line.fill(if row < 16 { 235 } else { 16 });
        }
        for plane in 1..3 {
            picture.plane_mut(plane).0.fill(128);
        }
        picture.set_pts(7);
        picture.turn(Rotation::Quarter);
        assert_eq!(picture.layout().rotation, Rotation::Quarter);
        let size = Size { width: 32, height: 64 };
        let mut graph = PictureGraph::scaler(picture.layout(), size, Timescale::MPEG).unwrap();
        graph.push(picture).unwrap();
        let upright = graph.pull().unwrap().unwrap();
        assert_eq!((upright.size(), upright.pts()), (size, Some(7)));
        let (luma, stride) = upright.plane(0);
        assert!(luma[stride * 30 + 2] < 30 && luma[stride * 30 + 30] > 220);
    }
}
