//! How far an incarnation has come, kept outside the replica so that an older replica is noticed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use sha2::{Digest, Sha256};

use super::files::Hex;

/// The last own commit and receipt number of an incarnation, as far as was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HighWater {
    /// The commit.
    pub commit: u64,
    /// The number in the receipt series.
    pub receipt: u64,
}

impl HighWater {
    /// The mark of an incarnation. A mark of another one, or half a mark, says nothing.
    pub(super) fn read(file: &mut File, of: Hex<16>) -> Self {
        let mut text = String::new();
        if Read::take(&mut *file, 512).read_to_string(&mut text).is_err() {
            return Self::default();
        }
        let mut fields = text.split_whitespace();
        let mut field = || fields.next().unwrap_or_default();
        let (incarnation, commit, receipt, check) = (field(), field(), field(), field());
        let (Ok(commit), Ok(receipt)) = (commit.parse(), receipt.parse()) else { return Self::default() };
        let mark = Self { commit, receipt };
        if incarnation != of.to_string() || check != mark.check(of) { Self::default() } else { mark }
    }

    /// One line of a set width, so that writing it anew overwrites it.
    pub(super) fn write(self, file: &mut File, of: Hex<16>) -> std::io::Result<()> {
        let line = format!("{of} {:020} {:020} {}\n", self.commit, self.receipt, self.check(of));
        file.seek(SeekFrom::Start(0))?;
        file.write_all(line.as_bytes())
    }

    fn check(self, of: Hex<16>) -> String {
        let mut hasher = Sha256::new();
        hasher.update(of.0);
        hasher.update(self.commit.to_be_bytes());
        hasher.update(self.receipt.to_be_bytes());
        let hash: [u8; 32] = hasher.finalize().into();
        hash[..8].iter().map(|b| format!("{b:02x}")).collect()
    }
}
