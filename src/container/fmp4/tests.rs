//! What is written here, read by crates of others.

use std::io::Cursor;

use bytes::Bytes;
use mp4_atom::{Any, Codec as Entry, Moof, Moov, ReadFrom};
use proptest::prelude::*;

use super::*;
use crate::media::testing::{audio_track, video_track};
use crate::media::{AudioFormat, Codec, Color, Rotation, Size, Timescale, Track, VideoFormat};

fn atoms(bytes: &[u8]) -> Vec<Any> {
    let mut cursor = Cursor::new(bytes);
    let mut found = Vec::new();
    while let Some(atom) = Option::<Any>::read_from(&mut cursor).unwrap() {
        found.push(atom);
    }
    assert_eq!(cursor.position(), bytes.len() as u64, "boxes do not fill the bytes");
    found
}

fn moov(track: &Track) -> Moov {
    let found =
        atoms(&header(track)).into_iter().find_map(|atom| if let Any::Moov(moov) = atom { Some(moov) } else { None });
    found.unwrap()
}

fn entry(track: &Track) -> Entry {
    moov(track).trak[0].mdia.minf.stbl.stsd.codecs[0].clone()
}

fn with(codec: Codec) -> Track {
    Track { codec, ..video_track() }
}

fn picture() -> VideoFormat {
    VideoFormat {
        size: Size { width: 720, height: 576 },
        sample_aspect: (64, 45),
        frame_rate: None,
        color: Some(Color { primaries: 5, transfer: 6, matrix: 5, full_range: false }),
        rotation: Rotation::None,
    }
}

#[test]
fn pictures_say_codec_aspect_and_colour() {
    let mut track = video_track();
    if let Codec::H264 { video, .. } = &mut track.codec {
        *video = picture();
    }
    let Entry::Avc1(avc1) = entry(&track) else { panic!("no avc1") };
    assert_eq!((avc1.visual.width, avc1.visual.height), (720, 576));
    let pasp = avc1.pasp.unwrap();
    assert_eq!((pasp.h_spacing, pasp.v_spacing), (64, 45));
    assert!(matches!(
        avc1.colr,
        Some(mp4_atom::Colr::Nclx { colour_primaries: 5, transfer_characteristics: 6, matrix_coefficients: 5, .. })
    ));
    let trak = &moov(&track).trak[0];
    assert_eq!(trak.tkhd.width.integer(), 1024);
    assert_eq!(trak.mdia.mdhd.timescale, 90_000);
    // For the crate that reads files from outside, too.
    let bytes = header(&track);
    let parsed = mp4::Mp4Reader::read_header(Cursor::new(&bytes), bytes.len() as u64).unwrap();
    let read = &parsed.tracks()[&1];
    assert_eq!((read.width(), read.height()), (720, 576));
    assert_eq!(read.media_type().unwrap(), mp4::MediaType::H264);
}

#[test]
fn every_codec_has_its_sample_entry() {
    let audio = AudioFormat { sample_rate: 48_000, channels: 2 };
    // Records of 8-bit 4:2:0 main profiles, as short as they may be.
    let hvcc = [1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93, 0xF0, 0, 0xFC, 0xFD, 0xF8, 0xF8, 0, 0, 0x0F, 0];
    let hevc = with(Codec::H265 { config: Bytes::copy_from_slice(&hvcc), video: picture() });
    assert!(matches!(entry(&hevc), Entry::Hvc1(_)), "{:?}", entry(&hevc));
    let av1 = with(Codec::Av1 { config: Bytes::from_static(&[0x81, 0x08, 0x0C, 0x00]), video: picture() });
    assert!(matches!(entry(&av1), Entry::Av01(_)));
    let vp9 = with(Codec::Vp9 { config: Bytes::from_static(&[0, 31, 0x82, 2, 2, 2, 0, 0]), video: picture() });
    assert!(matches!(entry(&vp9), Entry::Vp09(_)));
    let head = Bytes::from_static(&[1, 2, 0x38, 1, 0x80, 0xBB, 0, 0, 0, 0, 0]);
    let Entry::Opus(opus) = entry(&with(Codec::Opus { config: head, audio })) else { panic!("no Opus") };
    assert_eq!((opus.dops.pre_skip, opus.dops.input_sample_rate), (312, 48_000));
    let Entry::Mp4a(mp4a) = entry(&audio_track()) else { panic!("no mp4a") };
    assert_eq!(mp4a.audio.sample_rate.integer(), 48_000);
    assert_eq!(mp4a.esds.es_desc.dec_config.dec_specific.unwrap().chan_conf, 2);
    assert_eq!(moov(&audio_track()).trak[0].mdia.mdhd.language, "eng");
}

#[test]
fn a_delay_is_taken_back_by_the_edit_list() {
    let mut track = video_track();
    assert!(moov(&track).trak[0].edts.is_none());
    track.delay = 6_000;
    let elst = moov(&track).trak[0].edts.clone().unwrap().elst.unwrap();
    assert_eq!(elst.entries.len(), 1);
    assert_eq!(elst.entries[0].media_time, Some(6_000));
    assert!(moov(&track).mvex.is_some());
}

#[test]
fn a_language_of_more_than_three_letters_is_kept_beside() {
    let mut track = audio_track();
    track.language = Some("pt-BR".parse().unwrap());
    assert_eq!(moov(&track).trak[0].mdia.mdhd.language, "und");
    let bytes = header(&track);
    assert!(bytes.windows(14).any(|window| window == b"elng\0\0\0\0pt-BR\0"));
}

fn moof(bytes: &[u8]) -> Moof {
    let found = atoms(bytes).into_iter().find_map(|atom| if let Any::Moof(moof) = atom { Some(moof) } else { None });
    found.unwrap()
}

proptest! {
    #[test]
    fn a_chunk_reads_back_as_it_was_written(
        decode_time in 0u64..1 << 40,
        begins in any::<bool>(),
        rows in prop::collection::vec((1u32..10_000, -5_000i32..50_000, any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 1..40),
    ) {
        let samples: Vec<Sample> = rows
            .into_iter()
            .map(|(duration, composition_offset, sync, data)| Sample { duration, composition_offset, sync, data: data.into() })
            .collect();
        let (bytes, first_end) = chunk(9, decode_time, &samples, begins);
        let read = read_chunk(&bytes).unwrap();
        prop_assert_eq!(read.decode_time, decode_time);
        prop_assert_eq!(&read.samples, &samples);
        prop_assert!(bytes[..usize::try_from(first_end).unwrap()].ends_with(&samples[0].data));

        let moof = moof(&bytes);
        prop_assert_eq!(moof.mfhd.sequence_number, 9);
        let traf = &moof.traf[0];
        prop_assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, decode_time);
        let total: u64 = traf.trun[0].samples.iter().map(|entry| u64::from(entry.duration.unwrap())).sum();
        prop_assert_eq!(total, samples.iter().map(|sample| u64::from(sample.duration)).sum::<u64>());
    }

    #[test]
    fn what_is_no_chunk_is_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..200) {
        let _ = read_chunk(&Bytes::from(bytes));
        let sample = Sample { duration: 1, composition_offset: 0, sync: true, data: Bytes::from_static(&[1; 40]) };
        let (chunk, _) = chunk(1, 1, &[sample], true);
        let cut = cut.min(chunk.len() - 1);
        prop_assert!(read_chunk(&chunk.slice(..cut)).is_err());
    }

    #[test]
    fn a_header_is_made_of_whole_boxes(delay in 0u64..100_000, scale in 1u32..200_000) {
        let track = Track { delay, timescale: Timescale::new(scale).unwrap(), ..audio_track() };
        atoms(&header(&track));
    }
}
