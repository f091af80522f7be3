//! How far an incarnation has come, kept outside the replica so that an older replica is noticed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use sha2::{Digest, Sha256};

use super::files::Hex;

/// The last own commit and receipt number of an incarnation, and the last attempt to print, as far as was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HighWater {
    /// The commit.
    pub commit: u64,
    /// The number in the receipt series.
    pub receipt: u64,
    /// The attempt: a replica can be older in nothing but what has come out of the printer.
    pub attempt: u64,
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
        let mark = Self { commit, receipt, attempt: 0 };
        if incarnation != of.to_string() || check != mark.check(of) {
            return Self::default();
        }
        // Programs before this one wrote no attempts, and leave behind what stood here.
        let (attempt, check) = (field().parse().unwrap_or(0), field());
        let whole = Self { attempt, ..mark };
        if check == whole.check_of_attempt(of) { whole } else { mark }
    }

    /// The further of two marks, each number for itself.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            commit: self.commit.max(other.commit),
            receipt: self.receipt.max(other.receipt),
            attempt: self.attempt.max(other.attempt),
        }
    }

    /// One line of a set width, so that writing it anew overwrites it.
    pub(super) fn write(self, file: &mut File, of: Hex<16>) -> std::io::Result<()> {
        let Self { commit, receipt, attempt } = self;
        let (check, check_of_attempt) = (self.check(of), self.check_of_attempt(of));
        let line = format!("{of} {commit:020} {receipt:020} {check} {attempt:020} {check_of_attempt}\n");
        file.seek(SeekFrom::Start(0))?;
        file.write_all(line.as_bytes())
    }

    fn check(self, of: Hex<16>) -> String {
        check(of, &[self.commit, self.receipt])
    }

    fn check_of_attempt(self, of: Hex<16>) -> String {
        check(of, &[self.attempt])
    }
}

fn check(of: Hex<16>, numbers: &[u64]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(of.0);
    numbers.iter().for_each(|number| hasher.update(number.to_be_bytes()));
    let hash: [u8; 32] = hasher.finalize().into();
    hash[..8].iter().map(|b| format!("{b:02x}")).collect()
}
