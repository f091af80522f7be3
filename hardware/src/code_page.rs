//! The printers' character tables: which byte prints which character.
//!
//! The tables are generated from Python's codecs by `assets/make_code_pages.py` and belong to
//! neither the encoder nor the virtual printer, so a mistake in one shows in the other.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A code page: ASCII below 0x80 and its own characters above.
#[derive(Debug)]
pub struct CodePage {
    /// Its name, such as `PC858`.
    pub name: &'static str,
    /// Its number n in `ESC t n`, as Epson counts.
    pub epson_number: u8,
    upper: Vec<Option<char>>,
    bytes: BTreeMap<char, u8>,
}

static PAGES: LazyLock<Vec<CodePage>> = LazyLock::new(|| {
    include_str!("../assets/code_pages.tsv")
        .lines()
        .map(|line| parse(line).expect("the checked-in table is well formed"))
        .collect()
});

/// All tables, by Epson's numbers.
pub fn all() -> &'static [CodePage] {
    &PAGES
}

/// The table of this name.
pub fn by_name(name: &str) -> Option<&'static CodePage> {
    PAGES.iter().find(|page| page.name == name)
}

/// The table with this number in `ESC t n`, as Epson counts.
pub fn by_epson_number(number: u8) -> Option<&'static CodePage> {
    PAGES.iter().find(|page| page.epson_number == number)
}

impl CodePage {
    /// The byte that prints this character; ASCII is the same on every page.
    pub fn byte(&self, character: char) -> Option<u8> {
        match character {
            ' '..='~' => Some(character as u8),
            _ => self.bytes.get(&character).copied(),
        }
    }

    /// The character that this byte prints; `None` for control codes and unassigned bytes.
    pub fn character(&self, byte: u8) -> Option<char> {
        match byte {
            0x20..=0x7E => Some(char::from(byte)),
            0x80.. => self.upper[usize::from(byte - 0x80)],
            _ => None,
        }
    }
}

fn parse(line: &'static str) -> Option<CodePage> {
    let mut fields = line.split('\t');
    let (name, number, _codec, points) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let upper = points
        .split(' ')
        .map(|point| match point {
            "-" => Some(None),
            hex => char::from_u32(u32::from_str_radix(hex, 16).ok()?).map(Some),
        })
        .collect::<Option<Vec<_>>>()
        .filter(|upper| upper.len() == 128)?;
    let bytes = (0x80..=0xFF).zip(&upper).filter_map(|(byte, character)| Some(((*character)?, byte))).collect();
    Some(CodePage { name, epson_number: number.parse().ok()?, upper, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        for page in all() {
            for byte in 0x20..=0xFF {
                if let Some(character) = page.character(byte) {
                    assert_eq!(page.byte(character), Some(byte), "{} {character}", page.name);
                }
            }
            assert_eq!(page.character(0x1B), None);
            assert_eq!(page.byte('\u{1b}'), None);
        }
    }

    #[test]
    fn the_page_with_the_euro_sign_is_right_where_others_err() {
        let page = by_name("PC858").unwrap();
        for (character, byte) in [('\u{20ac}', 0xD5), ('¿', 0xA8), ('Ò', 0xE3), ('Ô', 0xE2), ('®', 0xA9)] {
            assert_eq!(page.byte(character), Some(byte), "{character}");
        }
        assert_eq!(page.byte('⌐'), None);
        assert_eq!(by_epson_number(16).unwrap().byte('€'), Some(0x80));
    }
}
