//! What is looked at before Automerge sees a byte: the outer form of a change, and how much each column claims to hold.
//!
//! The layout is the one that automerge 0.12.0 reads: the chunk in `storage/chunk.rs` (`Header::parse`), the change in
//! `storage/change.rs` (`parse_following_header`), its columns in `storage/columns/raw_column.rs` (`RawColumns::parse`) and
//! `storage/change/change_op_columns.rs`, the runs of a column in `columnar/encoding/rle.rs`, `delta.rs` and `boolean.rs`.
//!
//! A run of ten million rows takes five bytes, and Automerge expands it before anybody can ask how long it is. Here a run is only
//! counted. Nothing is allocated, and what is read is bounded by the bytes that are there.

use sha2::{Digest, Sha256};

use super::super::CHANGE_BYTES_MAX;
use super::{Refusal, at_most};

/// Most rows of a column: most operations of a change, and most predecessors of all of them together.
pub const ROWS_MAX: u64 = 512;
/// Most changes that a change builds on.
pub const DEPENDENCIES_MAX: u64 = 64;
/// Most other actors that a change names.
pub const OTHER_ACTORS_MAX: u64 = 32;
/// Longest key, in bytes.
pub const KEY_BYTES_MAX: u64 = 100;

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const ACTOR_BYTES: u64 = 16;
const HASH_BYTES: u64 = 32;
const DEFLATED: u32 = 0b1000;

/// What a column holds, row by row.
#[derive(Clone, Copy)]
enum Rows {
    Text,
    Numbers,
    /// Each says how many rows of the columns after it are its own.
    Counts,
    /// Places in the list of the change's actor and the others that it names.
    Actors,
    /// Differences, each to the counter before it.
    Counters,
    Flags,
    /// Bytes whose lengths another column holds.
    Raw,
}

/// The columns of a change that puts byte strings under keys of the root, by their numbers: a column's place, times 16, and its type.
/// Objects, places in a list, marks and their like have columns of their own, which our changes never have.
const COLUMNS: [(u32, Rows); 8] = [
    (0x15, Rows::Text),     // key
    (0x34, Rows::Flags),    // insert
    (0x42, Rows::Numbers),  // action
    (0x56, Rows::Numbers),  // type and length of the value
    (0x57, Rows::Raw),      // value
    (0x70, Rows::Counts),   // how many predecessors
    (0x71, Rows::Actors),   // actor of a predecessor
    (0x73, Rows::Counters), // counter of a predecessor
];

/// Checks the outer form of a change: one chunk of the plain kind, whole, with a checksum that holds, nothing in it that our changes
/// do not have, and no column that claims more than it may.
///
/// It reads each byte at most twice, allocates nothing and does not fail on any input.
///
/// # Errors
/// The first thing that is not so.
pub fn preflight(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.len() > CHANGE_BYTES_MAX {
        return Err(Refusal::TooLarge { what: "the change", bytes: bytes.len() });
    }
    let mut chunk = Reader(bytes);
    if chunk.take(4)? != MAGIC {
        return Err(Refusal::Malformed("it does not begin like a chunk"));
    }
    let checksum = chunk.take(4)?;
    // The checksum is of the type, the length and what follows (`hash` in chunk.rs).
    let summed = chunk.0;
    match chunk.byte()? {
        1 => {}
        other => return Err(Refusal::ChunkType(other)),
    }
    let length = chunk.unsigned()?;
    let data = chunk.take(length)?;
    if !chunk.is_empty() {
        return Err(Refusal::TrailingBytes(chunk.0.len()));
    }
    change(Reader(data))?;
    match Sha256::digest(summed)[..4] == *checksum {
        true => Ok(()),
        false => Err(Refusal::Checksum),
    }
}

fn change(mut data: Reader<'_>) -> Result<(), Refusal> {
    let dependencies = at_most("dependencies", data.unsigned()?, DEPENDENCIES_MAX)?;
    data.take(dependencies * HASH_BYTES)?;
    data.actor()?;
    let (_seq, start_op) = (data.unsigned()?, data.unsigned()?);
    if start_op == 0 || start_op > u64::from(u32::MAX) {
        return Err(Refusal::StartOp { start_op, expected: None });
    }
    if data.signed()? != 0 {
        return Err(Refusal::Time);
    }
    if data.unsigned()? != 0 {
        return Err(Refusal::Message);
    }
    let others = at_most("other actors", data.unsigned()?, OTHER_ACTORS_MAX)?;
    for _ in 0..others {
        data.actor()?;
    }
    let mut columns = [(Rows::Raw, 0); COLUMNS.len()];
    let (count, mut last) = (data.unsigned()?, None);
    // Each is one of `COLUMNS` and they ascend, so that there is room for all of them, whatever `count` says.
    let mut known = 0;
    for _ in 0..count {
        let number = u32::try_from(data.unsigned()?).map_err(|_| Refusal::Malformed("a column's number is too large"))?;
        if number & DEFLATED != 0 {
            return Err(Refusal::Deflated);
        }
        let column = COLUMNS.iter().find(|(known, _)| *known == number);
        let Some((_, rows)) = column else { return Err(Refusal::Column(number)) };
        if last >= Some(number) {
            return Err(Refusal::Malformed("its columns are out of order"));
        }
        last = Some(number);
        columns[known] = (*rows, data.unsigned()?);
        known += 1;
    }
    for (rows, length) in &columns[..known] {
        walk(*rows, Reader(data.take(*length)?), others)?;
    }
    match data.is_empty() {
        true => Ok(()),
        false => Err(Refusal::ExtraBytes(data.0.len())),
    }
}

/// Counts what a column claims. What it refers to has to be there: Automerge takes that for granted.
fn walk(rows: Rows, mut column: Reader<'_>, others: u64) -> Result<(), Refusal> {
    let (mut claimed, mut predecessors, mut counter) = (0, 0, 0i128);
    while !column.is_empty() {
        let mut claim = |rows: u64| {
            claimed = at_most("rows", rows.saturating_add(claimed), ROWS_MAX)?;
            Ok(rows)
        };
        // A run of one value, values of which each is written out, or rows that say nothing.
        let (each, written) = match rows {
            Rows::Raw => return Ok(()),
            Rows::Flags => (claim(column.unsigned()?)?, 0),
            _ => match column.signed()? {
                0 => (claim(column.unsigned()?)?, 0),
                run @ 1.. => (claim(run.unsigned_abs())?, 1),
                literal => (1, claim(literal.unsigned_abs())?),
            },
        };
        for _ in 0..written {
            match rows {
                Rows::Text => {
                    let length = at_most("bytes of a key", column.unsigned()?, KEY_BYTES_MAX)?;
                    column.take(length)?;
                }
                Rows::Counts => {
                    let more = each.saturating_mul(column.unsigned()?);
                    predecessors = at_most("predecessors", more.saturating_add(predecessors), ROWS_MAX)?;
                }
                Rows::Actors if column.unsigned()? > others => {
                    return Err(Refusal::Malformed("it refers to an actor that it does not name"));
                }
                Rows::Counters => {
                    counter += i128::from(column.signed()?) * i128::from(each);
                    if !(0..=i128::from(u32::MAX)).contains(&counter) {
                        return Err(Refusal::Malformed("it refers to an operation that cannot be"));
                    }
                }
                Rows::Numbers => {
                    column.unsigned()?;
                }
                Rows::Actors | Rows::Flags | Rows::Raw => {}
            }
        }
    }
    Ok(())
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, bytes: u64) -> Result<&'a [u8], Refusal> {
        let cut = usize::try_from(bytes).ok().and_then(|at| self.0.split_at_checked(at));
        let (taken, rest) = cut.ok_or(Refusal::Malformed("it is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Refusal> {
        Ok(self.take(1)?[0])
    }

    fn actor(&mut self) -> Result<(), Refusal> {
        match self.unsigned()? {
            ACTOR_BYTES => self.take(ACTOR_BYTES).map(drop),
            other => Err(Refusal::ActorLength(other)),
        }
    }

    /// An unsigned LEB128 in its shortest form, as in `storage/parse/leb128.rs`.
    fn unsigned(&mut self) -> Result<u64, Refusal> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let fits = (bits << shift) >> shift == bits;
                return if fits && (byte != 0 || shift == 0) { Ok(value) } else { Err(NUMBER) };
            }
        }
        Err(NUMBER)
    }

    /// A signed LEB128 in its shortest form.
    fn signed(&mut self) -> Result<i64, Refusal> {
        let (mut value, mut before) = (0i64, 0);
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let negative = byte & 0x40 != 0;
                let needless = shift > 0 && ((byte == 0 && before & 0x40 == 0) || (byte == 0x7f && before & 0x40 != 0));
                let fits = shift < 63 || byte == 0 || byte == 0x7f;
                if needless || !fits {
                    return Err(NUMBER);
                }
                return Ok(if negative && shift < 57 { value | (-1 << (shift + 7)) } else { value });
            }
            before = byte;
        }
        Err(NUMBER)
    }
}

const NUMBER: Refusal = Refusal::Malformed("a number is too large, or longer than it needs to be");

#[cfg(test)]
mod tests {
    use super::*;

    fn unsigned(bytes: &[u8]) -> Option<u64> {
        Reader(bytes).unsigned().ok()
    }

    fn signed(bytes: &[u8]) -> Option<i64> {
        Reader(bytes).signed().ok()
    }

    #[test]
    fn numbers_are_read_in_their_shortest_form_only() {
        assert_eq!(unsigned(&[0]), Some(0));
        assert_eq!(unsigned(&[0xe5, 0x8e, 0x26]), Some(624_485));
        assert_eq!(unsigned(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Some(u64::MAX));
        for broken in [&[0x80, 0][..], &[0xff; 9], &[0xff; 11], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], &[]] {
            assert_eq!(unsigned(broken), None, "{broken:02x?}");
        }
        assert_eq!([&[0][..], &[0x7f], &[0x40], &[0xc0, 0], &[0xbf, 0x7f]].map(signed), [0, -1, -64, 64, -65].map(Some));
        let (least, most) = (
            [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f],
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0],
        );
        assert_eq!([signed(&least), signed(&most)], [Some(i64::MIN), Some(i64::MAX)]);
        for broken in [&[0x80, 0][..], &[0xff, 0x7f], &[0x80; 10], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]] {
            assert_eq!(signed(broken), None, "{broken:02x?}");
        }
    }
}
