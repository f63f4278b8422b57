//! Delivery directives of a playlist's URL: `_HLS_msn`, `_HLS_part`, `_HLS_skip` (RFC 8216bis § 6.2.5).

use crate::media::{MediaSequence, Position};
use crate::window::Snapshot;

/// What a player asks of a media playlist. Other query arguments are left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// Answer when this place was reached.
    pub(super) position: Option<Position>,
    /// Leave out what a player that reloads has.
    pub(super) skip: bool,
}

/// Segments ahead of the newest that may be asked for.
const SEGMENTS_AHEAD: u64 = 2;

/// What the query asks; the sentence says why it cannot be.
pub(super) fn parse(query: &str) -> Result<Directives, &'static str> {
    let (mut sequence, mut part, mut skip) = (None, None, false);
    for argument in query.split('&') {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        match name {
            "_HLS_msn" => {
                let number = value.parse().map_err(|_| "_HLS_msn is a media sequence number.\n")?;
                sequence = Some(MediaSequence(number));
            }
            "_HLS_part" => part = Some(value.parse().map_err(|_| "_HLS_part is a part's number.\n")?),
            "_HLS_skip" => skip = matches!(value, "YES" | "v2"),
            _ => {}
        }
    }
    match (sequence, part) {
        (None, Some(_)) => Err("_HLS_part goes with _HLS_msn.\n"),
        (sequence, part) => Ok(Directives { position: sequence.map(|sequence| Position { sequence, part }), skip }),
    }
}

/// Whether a place is not farther ahead than may be waited for: two segments, and in one the parts of three seconds.
pub(super) fn is_near(position: Position, snapshot: &Snapshot, part_millis: u32) -> bool {
    let Some(last) = snapshot.last() else { return true };
    if position.sequence.0 > last.sequence.0 + SEGMENTS_AHEAD {
        return false;
    }
    let limit = 3_000u32.div_ceil(part_millis.max(1)).max(3);
    let begun = if position.sequence == last.sequence { last.part.map_or(0, |part| part + 1) } else { 0 };
    position.part.is_none_or(|part| part <= begun + limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_found_among_other_arguments() {
        let position = |number, part| Some(Position { sequence: MediaSequence(number), part });
        assert_eq!(parse(""), Ok(Directives::default()));
        assert_eq!(parse("token=1&CMCD=x"), Ok(Directives::default()));
        assert_eq!(parse("_HLS_msn=7"), Ok(Directives { position: position(7, None), skip: false }));
        assert_eq!(
            parse("a=b&_HLS_msn=7&_HLS_part=2&_HLS_skip=v2"),
            Ok(Directives { position: position(7, Some(2)), skip: true })
        );
        assert!(parse("_HLS_part=2").is_err());
        assert!(parse("_HLS_msn=-1").is_err());
        assert!(parse("_HLS_msn=7&_HLS_part=x").is_err());
    }
}
