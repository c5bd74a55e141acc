//! Tiles: the hashes of a tree in rows of 256, and the paths under which tiles and entry bundles are served.
//!
//! Implements C2SP tlog-tiles, "Merkle Tree" and the path encoding. It serves nothing and stores nothing.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::decimal;
use crate::error::ParseError;
use crate::hash::Hash;
use crate::tree::{NodeId, TreeSize, root_of_peaks};

/// The number of hashes in a full tile, and of entries in a full entry bundle.
pub const TILE_WIDTH: usize = 256;

/// The number of levels of the tree in one tile.
pub(crate) const TILE_HEIGHT: u8 = 8;

/// The highest level of tiles: 63 by the specification, though no tree of 64 bits reaches beyond 7.
const MAX_LEVEL: u64 = 63;

/// The position of a tile: hash `i` of it is the node at tree level `8 * level` and index `256 * index + i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    /// The level of tiles; the leaf hashes are in level 0.
    pub level: u8,
    /// The position among the tiles of this level.
    pub index: u64,
}

impl TileId {
    /// The tile that holds what [`node_hash`] needs for `node`.
    #[must_use]
    pub const fn holding(node: NodeId) -> Self {
        let first = node.index << (node.level % TILE_HEIGHT);
        Self { level: node.level / TILE_HEIGHT, index: first / TILE_WIDTH as u64 }
    }

    /// The node of its first hash; `None` for a tile above every tree of 64 bits.
    #[must_use]
    pub fn first_node(self) -> Option<NodeId> {
        let level = self.level.checked_mul(TILE_HEIGHT)?;
        Some(NodeId { level, index: self.index.checked_mul(TILE_WIDTH as u64)? })
    }

    /// The number of hashes that this tile has in a tree of `size`: 0 (there is no such tile) to 256.
    #[must_use]
    pub fn width(self, size: TreeSize) -> usize {
        let hashes = size.0.checked_shr(u32::from(self.level) * u32::from(TILE_HEIGHT)).unwrap_or(0);
        let before = self.index.saturating_mul(TILE_WIDTH as u64);
        usize::try_from(hashes.saturating_sub(before)).map_or(TILE_WIDTH, |width| width.min(TILE_WIDTH))
    }
}

/// The hash of `node`, from the hashes of the tile that [holds](TileId::holding) it.
///
/// # Errors
/// [`ParseError::Tile`] if the tile is too short: it belongs to a tree in which `node` is not perfect.
pub fn node_hash(node: NodeId, tile: &[Hash]) -> Result<Hash, ParseError> {
    let height = node.level % TILE_HEIGHT;
    let first = (node.index << height) % TILE_WIDTH as u64;
    let first = usize::try_from(first).map_err(|_| ParseError::Tile)?;
    let hashes = tile.get(first..).and_then(|rest| rest.get(..1 << height)).ok_or(ParseError::Tile)?;
    Ok(perfect_root(hashes))
}

/// The root of a perfect subtree from the hashes of its lowest row: a power of two of them, 256 for a full tile.
#[must_use]
pub fn perfect_root(row: &[Hash]) -> Hash {
    let mut row = row.to_vec();
    while row.len() > 1 {
        row = Hash::parents(&row);
    }
    root_of_peaks(&row)
}

/// The hashes of a tile from its bytes, which must be exactly `width` of them.
///
/// # Errors
/// [`ParseError::Tile`] for any other number of bytes.
pub fn parse_tile(bytes: &[u8], width: usize) -> Result<Vec<Hash>, ParseError> {
    let (hashes, rest) = bytes.as_chunks::<{ Hash::LEN }>();
    if hashes.len() != width || !rest.is_empty() {
        return Err(ParseError::Tile);
    }
    Ok(hashes.iter().copied().map(Hash).collect())
}

/// The bytes of a tile: its hashes, one after the other.
#[must_use]
pub fn format_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// What a path of tlog-tiles names, below a log's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "tlog-tiles has these two kinds of paths")]
pub enum TilePath {
    /// `tile/<L>/<N>[.p/<W>]`: the first `width` hashes of a tile.
    Hashes {
        /// Which tile.
        tile: TileId,
        /// 1 to 256; 256 is the full tile.
        width: usize,
    },
    /// `tile/entries/<N>[.p/<W>]`: the first `width` entries of a bundle.
    Entries {
        /// The position of the bundle: it holds the entries from `256 * index` on.
        index: u64,
        /// 1 to 256; 256 is the full bundle.
        width: usize,
    },
}

impl TilePath {
    /// Reads a path such as `tile/1/x001/234` or `tile/entries/000.p/7`.
    ///
    /// # Errors
    /// [`ParseError::TilePath`] for any other spelling, a level above 63, a width of 0 or above 255 after `.p/`,
    /// and an index whose entries would lie beyond 64 bits.
    pub fn parse(path: &str) -> Result<Self, ParseError> {
        let rest = path.strip_prefix("tile/").ok_or(ParseError::TilePath)?;
        let (kind, rest) = rest.split_once('/').ok_or(ParseError::TilePath)?;
        let (number, width) = parse_width(rest)?;
        let index = parse_index(number)?;
        if kind == "entries" {
            return Ok(Self::Entries { index, width });
        }
        let level = decimal::parse(kind.as_bytes()).ok().filter(|&level| level <= MAX_LEVEL);
        let level = level.and_then(|level| u8::try_from(level).ok()).ok_or(ParseError::TilePath)?;
        Ok(Self::Hashes { tile: TileId { level, index }, width })
    }

    /// The path, relative to the log's prefix.
    #[must_use]
    pub fn format(&self) -> String {
        let (kind, index, width) = match *self {
            Self::Hashes { tile, width } => (decimal::format(tile.level.into()), tile.index, width),
            Self::Entries { index, width } => ("entries".into(), index, width),
        };
        let mut path = ["tile/", &kind, "/", &format_index(index)].concat();
        if width < TILE_WIDTH {
            path.push_str(".p/");
            path.push_str(&decimal::format(width as u64));
        }
        path
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format())
    }
}

/// Splits `<N>[.p/<W>]`; without `.p/` the width is 256.
fn parse_width(text: &str) -> Result<(&str, usize), ParseError> {
    let Some((number, width)) = text.split_once(".p/") else {
        return Ok((text, TILE_WIDTH));
    };
    let width = decimal::parse(width.as_bytes()).ok().and_then(|width| usize::try_from(width).ok());
    match width {
        Some(width @ 1..TILE_WIDTH) => Ok((number, width)),
        _ => Err(ParseError::TilePath),
    }
}

/// Reads groups of three digits, all but the last after an `x`: `x001/x234/067`.
fn parse_index(text: &str) -> Result<u64, ParseError> {
    let mut index = 0_u64;
    let mut groups = text.split('/').peekable();
    while let Some(group) = groups.next() {
        let digits = if groups.peek().is_some() { group.strip_prefix('x') } else { Some(group) };
        let digits =
            digits.filter(|digits| digits.len() == 3 && digits.bytes().all(|digit| digit.is_ascii_digit()));
        let value = digits.and_then(|digits| digits.parse::<u64>().ok()).ok_or(ParseError::TilePath)?;
        index = index
            .checked_mul(1000)
            .and_then(|index| index.checked_add(value))
            .filter(|&index| index <= u64::MAX / TILE_WIDTH as u64)
            .ok_or(ParseError::TilePath)?;
    }
    // One spelling for each index: no leading group of zeros.
    if format_index(index) == text { Ok(index) } else { Err(ParseError::TilePath) }
}

fn format_index(index: u64) -> String {
    let mut text = three_digits(index);
    let mut rest = index / 1000;
    while rest > 0 {
        text = ["x", &three_digits(rest), "/", &text].concat();
        rest /= 1000;
    }
    text
}

/// The last three digits of `number`.
fn three_digits(number: u64) -> String {
    decimal::format(1000 + number % 1000).split_off(1)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn formats_the_indexes_of_the_specification() {
        for (index, text) in [
            (0, "000"),
            (255, "255"),
            (999, "999"),
            (1000, "x001/000"),
            (1_234_067, "x001/x234/067"),
            (123_456_789, "x123/x456/789"),
        ] {
            assert_eq!(format_index(index), text);
            assert_eq!(parse_index(text), Ok(index));
        }
    }

    #[test]
    fn round_trips_paths_of_both_kinds() {
        for path in ["tile/0/000", "tile/63/x001/234.p/255", "tile/entries/000.p/1", "tile/entries/x999/999"]
        {
            assert_eq!(TilePath::parse(path).unwrap().to_string(), path);
        }
        assert_eq!(
            TilePath::parse("tile/2/x070/000.p/17"),
            Ok(TilePath::Hashes { tile: TileId { level: 2, index: 70_000 }, width: 17 })
        );
    }

    #[test]
    fn rejects_every_other_spelling() {
        for path in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/0/x001",
            "tile/0/001/002",
            "tile/0/x001/0002",
            "tile/0/x001/-02",
            "tile/0/x001/+02",
            "tile/0/x000/001",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000.p/1/",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
            "tile/data/000",
            "/tile/0/000",
            "tile/8/0/000",
        ] {
            assert_eq!(TilePath::parse(path), Err(ParseError::TilePath), "{path}");
        }
    }

    #[test]
    fn widths_follow_from_the_tree_size() {
        let width = |level, index, size| TileId { level, index }.width(TreeSize(size));
        assert_eq!((width(0, 0, 0), width(0, 0, 1), width(0, 0, 256), width(0, 1, 256)), (0, 1, 256, 0));
        assert_eq!((width(0, 273, 70_000), width(1, 1, 70_000), width(2, 0, 70_000)), (112, 17, 1));
        assert_eq!(
            (width(63, 0, u64::MAX), width(7, 0, u64::MAX), width(0, u64::MAX, u64::MAX)),
            (0, 255, 0)
        );
    }

    #[test]
    fn a_node_is_found_in_the_tile_that_holds_it() {
        let row: Vec<Hash> = (0..=255_u8).map(|byte| Hash::leaf(&[byte])).collect();
        assert_eq!(TileId::holding(NodeId { level: 7, index: 3 }), TileId { level: 0, index: 1 });
        assert_eq!(TileId::holding(NodeId { level: 8, index: 3 }), TileId { level: 1, index: 0 });
        assert_eq!(node_hash(NodeId { level: 1, index: 1 }, &row), Ok(Hash::node(&row[2], &row[3])));
        assert_eq!(node_hash(NodeId { level: 0, index: 256 + 5 }, &row), Ok(row[5]));
        assert_eq!(node_hash(NodeId { level: 1, index: 1 }, &row[..3]), Err(ParseError::Tile));
    }
}
