//! Capability profiles: what a kind of printer can do and how it wants to be told.

use crate::code_page::{self, CodePage};

/// One kind of printer.
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    /// Stable name, used in configuration.
    pub id: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// Printable width in dots, a multiple of 8.
    pub width_dots: u16,
    /// Characters of font A per line.
    pub columns: u8,
    /// Code pages in order of preference; the first is selected at the start of a job.
    pub code_pages: &'static [PageSlot],
    /// How paper is cut.
    pub cut: Cut,
    /// The pulse that opens the drawer, where there is a connector for one.
    pub pulse: Option<Pulse>,
    /// Whether the printer answers `DLE EOT`.
    pub status: StatusSupport,
    /// How it says that a job is on paper.
    pub ack: AckSupport,
    /// Whether it smooths enlarged characters (`GS b`).
    pub smoothing: bool,
}

/// A code page at the number by which this printer selects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSlot {
    /// n of `ESC t n`.
    pub number: u8,
    /// Name of the table in [`crate::code_page`].
    pub name: &'static str,
}

/// How paper is cut. Bytes, because the forms of `GS V` differ between printers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Empty lines before the cut, where the command does not feed to the cutter by itself.
    pub feed_lines: u8,
    /// A full cut.
    pub full: &'static [u8],
    /// A partial cut.
    pub partial: &'static [u8],
}

/// The drawer pulse of `ESC p m t1 t2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// 0 for pin 2, 1 for pin 5 of the connector.
    pub connector: u8,
    /// Milliseconds on, 2 to 510, in steps of 2.
    pub on_ms: u16,
    /// Milliseconds off afterwards, 2 to 510, in steps of 2.
    pub off_ms: u16,
}

/// Whether the printer answers `DLE EOT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusSupport {
    /// It always answers; silence means that it is not there or hangs, and nothing is sent.
    Required,
    /// Some of its kind answer; silence does not hinder printing.
    Optional,
    /// It is not asked.
    None,
}

/// How the printer says that a job is on paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckSupport {
    /// `GS ( H` function 48: it sends the job's process id back.
    ProcessId,
    /// It does not.
    None,
}

static PROFILES: [Profile; 2] = [
    Profile {
        id: "epson-80",
        title: "Epson TM series, 80 mm",
        width_dots: 576,
        columns: 48,
        code_pages: &[
            PageSlot { number: 0, name: "PC437" },
            PageSlot { number: 19, name: "PC858" },
            PageSlot { number: 16, name: "WPC1252" },
            PageSlot { number: 18, name: "PC852" },
            PageSlot { number: 17, name: "PC866" },
            PageSlot { number: 14, name: "PC737" },
            PageSlot { number: 13, name: "PC857" },
            PageSlot { number: 51, name: "WPC1257" },
        ],
        // Function B of GS V feeds to the cutter and then cuts.
        cut: Cut { feed_lines: 0, full: &[0x1D, b'V', 65, 0], partial: &[0x1D, b'V', 66, 0] },
        pulse: Some(Pulse { connector: 0, on_ms: 100, off_ms: 400 }),
        status: StatusSupport::Required,
        ack: AckSupport::ProcessId,
        smoothing: true,
    },
    Profile {
        id: "generic-58",
        title: "ESC/POS printer, 58 mm",
        width_dots: 384,
        columns: 32,
        code_pages: &[
            PageSlot { number: 0, name: "PC437" },
            PageSlot { number: 19, name: "PC858" },
            PageSlot { number: 16, name: "WPC1252" },
        ],
        // Many have a tear bar only and ignore GS V, so the feed must bring the text past the bar.
        cut: Cut { feed_lines: 4, full: &[0x1D, b'V', 0], partial: &[0x1D, b'V', 1] },
        pulse: Some(Pulse { connector: 0, on_ms: 100, off_ms: 400 }),
        status: StatusSupport::Optional,
        ack: AckSupport::None,
        smoothing: false,
    },
];

/// The profile of this id.
pub fn find(id: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.id == id)
}

/// Every profile, for a list to choose from.
pub fn all() -> &'static [Profile] {
    &PROFILES
}

impl Profile {
    /// The slots whose table is known, in order of preference.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (u8, &'static CodePage)> {
        self.code_pages.iter().filter_map(|slot| Some((slot.number, code_page::by_name(slot.name)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_consistent() {
        for profile in all() {
            assert_eq!(find(profile.id), Some(profile));
            assert_eq!(profile.width_dots % 8, 0);
            assert_eq!(profile.width_dots, u16::from(profile.columns) * 12, "font A is 12 dots wide");
            assert_eq!(profile.pages().count(), profile.code_pages.len(), "every page has a table");
        }
        assert_eq!(find("no-such-printer"), None);
    }
}
