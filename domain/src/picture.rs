//! What of an image file can be said from its first bytes: its kind and its size. Nothing is decoded here; that is the screen's business.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Largest picture in bytes. A change of a document has at most 64 KiB.
pub const BYTES_MAX: usize = 48 * 1024;
/// Largest width and height in pixels.
pub const PIXELS_MAX: u32 = 1_024;

/// The kinds of image that a screen of ours shows. SVG is not one: it is a document with scripts, not a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MediaType {
    /// PNG.
    #[serde(rename = "image/png")]
    Png,
    /// JPEG.
    #[serde(rename = "image/jpeg")]
    Jpeg,
    /// WebP.
    #[serde(rename = "image/webp")]
    WebP,
}

impl MediaType {
    /// The words that HTTP and documents use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::WebP => "image/webp",
        }
    }

    /// The kind of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Png, Self::Jpeg, Self::WebP].into_iter().find(|m| m.as_str() == word)
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why bytes are no picture that we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// More than [`BYTES_MAX`].
    #[error("a picture has at most {BYTES_MAX} bytes, this one has {0}: make it smaller")]
    TooLarge(usize),
    /// Neither PNG, JPEG nor WebP.
    #[error("a picture is a PNG, JPEG or WebP file, and this is none of them")]
    Kind,
    /// The beginning of one of them, and then something else.
    #[error("the picture is damaged: its size cannot be read")]
    Damaged,
    /// Larger than [`PIXELS_MAX`] one way, or nothing at all.
    #[error("a picture has at most {PIXELS_MAX} × {PIXELS_MAX} pixels, this one has {width} × {height}: make it smaller")]
    Pixels {
        /// How wide.
        width: u32,
        /// How high.
        height: u32,
    },
}

/// Checks that bytes are a picture that we take, and says which kind.
///
/// # Errors
/// Why not.
pub fn check(bytes: &[u8]) -> Result<MediaType, PictureError> {
    if bytes.len() > BYTES_MAX {
        return Err(PictureError::TooLarge(bytes.len()));
    }
    let (media_type, size) = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        (MediaType::Png, png(bytes))
    } else if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        (MediaType::Jpeg, jpeg(bytes))
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        (MediaType::WebP, webp(bytes))
    } else {
        return Err(PictureError::Kind);
    };
    let (width, height) = size.ok_or(PictureError::Damaged)?;
    if !(1..=PIXELS_MAX).contains(&width) || !(1..=PIXELS_MAX).contains(&height) {
        return Err(PictureError::Pixels { width, height });
    }
    Ok(media_type)
}

type Size = Option<(u32, u32)>;

/// The header chunk comes first and begins with width and height.
fn png(bytes: &[u8]) -> Size {
    if bytes.get(12..16)? != b"IHDR" {
        return None;
    }
    Some((big_endian(bytes, 16, 4)?, big_endian(bytes, 20, 4)?))
}

/// Segments follow one another, each with its length, until the one that begins a frame.
fn jpeg(bytes: &[u8]) -> Size {
    let mut at = 2;
    loop {
        if *bytes.get(at)? != 0xff {
            return None;
        }
        match *bytes.get(at + 1)? {
            // A filling byte.
            0xff => at += 1,
            // Markers without a length.
            0x01 | 0xd0..=0xd8 => at += 2,
            // A frame; C4, C8 and CC are other things.
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return Some((big_endian(bytes, at + 7, 2)?, big_endian(bytes, at + 5, 2)?));
            }
            // The image itself or its end, and no frame before it.
            0xd9 | 0xda => return None,
            _ => at += 2 + big_endian(bytes, at + 2, 2)?.max(2) as usize,
        }
    }
}

/// Three forms, told apart by the first chunk: lossy, lossless and extended.
fn webp(bytes: &[u8]) -> Size {
    match bytes.get(12..16)? {
        b"VP8 " if bytes.get(23..26)? == [0x9d, 0x01, 0x2a] => {
            Some((little_endian(bytes, 26, 2)? & 0x3fff, little_endian(bytes, 28, 2)? & 0x3fff))
        }
        b"VP8L" if *bytes.get(20)? == 0x2f => {
            let bits = little_endian(bytes, 21, 4)?;
            Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        b"VP8X" => Some((little_endian(bytes, 24, 3)? + 1, little_endian(bytes, 27, 3)? + 1)),
        _ => None,
    }
}

fn big_endian(bytes: &[u8], at: usize, n: usize) -> Option<u32> {
    Some(bytes.get(at..at.checked_add(n)?)?.iter().fold(0, |sum, b| (sum << 8) | u32::from(*b)))
}

fn little_endian(bytes: &[u8], at: usize, n: usize) -> Option<u32> {
    Some(bytes.get(at..at.checked_add(n)?)?.iter().rev().fold(0, |sum, b| (sum << 8) | u32::from(*b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png_of(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes
    }

    #[test]
    fn the_first_bytes_say_kind_and_size() {
        let mut jpeg = vec![0xff, 0xd8, 0xff, 0xe0, 0, 4, b'J', b'F', 0xff, 0xff, 0xc4, 0, 2, 0xff, 0xc0, 0, 17, 8];
        jpeg.extend([0x02, 0x58, 0x03, 0x20]);
        let webp = |chunk: &[u8]| [b"RIFF\0\0\0\0WEBP".as_slice(), chunk].concat();
        let lossy = webp(b"VP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x20\x03\x58\x02");
        let lossless = webp(&[b"VP8L\0\0\0\0\x2f".as_slice(), &(799u32 | (599 << 14)).to_le_bytes()].concat());
        let extended = webp(b"VP8X\0\0\0\0\0\0\0\0\x1f\x03\0\x57\x02\0");
        for (bytes, expected, size) in [
            (png_of(800, 600), MediaType::Png, png as fn(&[u8]) -> Size),
            (jpeg, MediaType::Jpeg, super::jpeg),
            (lossy, MediaType::WebP, super::webp),
            (lossless, MediaType::WebP, super::webp),
            (extended, MediaType::WebP, super::webp),
        ] {
            assert_eq!(check(&bytes), Ok(expected), "{bytes:?}");
            assert_eq!(size(&bytes), Some((800, 600)), "{bytes:?}");
            for end in 0..bytes.len() {
                assert!(check(&bytes[..end]).is_err(), "{expected} cut at {end}");
            }
        }
    }

    #[test]
    fn what_is_no_picture_is_refused_in_words() {
        for (bytes, expected) in [
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), PictureError::Kind),
            (b"GIF89a".to_vec(), PictureError::Kind),
            (Vec::new(), PictureError::Kind),
            (png_of(1_025, 1), PictureError::Pixels { width: 1_025, height: 1 }),
            (png_of(0, 1), PictureError::Pixels { width: 0, height: 1 }),
            (vec![0xff, 0xd8, 0xff, 0xd9], PictureError::Damaged),
            (vec![0; BYTES_MAX + 1], PictureError::TooLarge(BYTES_MAX + 1)),
        ] {
            assert_eq!(check(&bytes), Err(expected));
        }
        assert!(PictureError::Kind.to_string().contains("PNG, JPEG or WebP"));
    }
}
