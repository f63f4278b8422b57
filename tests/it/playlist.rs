//! Playlists as a player reads them.

use m3u8_rs::{MasterPlaylist, MediaPlaylist};

use crate::rig::Server;

pub(crate) fn multivariant(text: &str) -> MasterPlaylist {
    m3u8_rs::parse_master_playlist_res(text.as_bytes()).unwrap()
}

pub(crate) fn media(text: &str) -> MediaPlaylist {
    m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap()
}

/// The media playlist of a rendition, when it lists so many segments.
pub(crate) fn of(server: &Server, stream: &str, rendition: &str, segments: usize) -> MediaPlaylist {
    let text = server.wait_for(&format!("/{stream}/_/{rendition}.m3u8"), |text| media(text).segments.len() >= segments);
    media(&text)
}
