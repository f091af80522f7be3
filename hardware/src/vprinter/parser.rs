//! Bytes to commands, in whatever pieces they come.
//!
//! No input makes it fail, wait for ever or hold more than [`PARAMS_MAX`] bytes: what a real printer
//! would print as garbage is passed over and reported as a violation.

use super::command::{Command, DLE, ESC, FS, GS, Need, TABLE, need};

/// Longest command held in memory; a longer one is read past.
pub const PARAMS_MAX: usize = 1 << 20;
/// Longest list that ends with a NUL.
const LIST_MAX: usize = 256;

/// What the parser makes of its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A command, or printable bytes.
    Command {
        /// Which.
        command: Command,
        /// Where it begins, in bytes from the start of the stream.
        offset: u64,
        /// How many bytes it is.
        bytes: usize,
    },
    /// Something a strict printer would mind.
    Violation {
        /// Where it begins, in bytes from the start of the stream.
        offset: u64,
        /// What is wrong.
        what: String,
    },
}

/// The parser between two pieces of input.
#[derive(Debug, Default)]
pub struct Parser {
    held: Vec<u8>,
    /// Bytes of an over-long command still to be passed over.
    skip: usize,
    offset: u64,
}

impl Parser {
    /// Takes the next bytes and returns what is complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Token> {
        self.held.extend_from_slice(bytes);
        let mut tokens = Vec::new();
        let mut at = 0;
        while at < self.held.len() {
            if self.skip > 0 {
                let skipped = self.skip.min(self.held.len() - at);
                self.skip -= skipped;
                at += skipped;
                continue;
            }
            let offset = self.offset + at as u64;
            let Some((token, taken)) = next(&self.held[at..], offset, &mut self.skip) else { break };
            tokens.push(token);
            at += taken;
        }
        self.held.drain(..at);
        self.offset += at as u64;
        tokens
    }

    /// The stream has ended: half a command is lost.
    pub fn finish(&mut self) -> Option<Token> {
        let lost = self.held.len() + self.skip;
        let offset = self.offset;
        self.offset += self.held.len() as u64;
        self.held.clear();
        self.skip = 0;
        (lost > 0).then(|| Token::Violation { offset, what: String::from("the stream ends inside a command") })
    }
}

/// The first token and its length, or `None` when more bytes are needed.
fn next(bytes: &[u8], offset: u64, skip: &mut usize) -> Option<(Token, usize)> {
    let command = |command, bytes| Some((Token::Command { command, offset, bytes }, bytes));
    match bytes[0] {
        0x0A => command(Command::LineFeed, 1),
        0x0D => command(Command::CarriageReturn, 1),
        0x09 => command(Command::Tab, 1),
        0x0C => command(Command::Ignored("FF"), 1),
        0x18 => command(Command::Ignored("CAN"), 1),
        DLE | ESC | FS | GS => next_command(bytes, offset, skip),
        control @ (0..0x20 | 0x7F) => Some((Token::Violation { offset, what: format!("stray control byte {control:02X}") }, 1)),
        _ => {
            let length = bytes.iter().position(|byte| matches!(byte, 0..0x20 | 0x7F)).unwrap_or(bytes.len());
            command(Command::Text(bytes[..length].to_vec()), length)
        }
    }
}

fn next_command(bytes: &[u8], offset: u64, skip: &mut usize) -> Option<(Token, usize)> {
    let violation = |what: String| Token::Violation { offset, what };
    let (lead, code) = (bytes[0], *bytes.get(1)?);
    let Some((_, _, rule, name)) = TABLE.iter().find(|row| (row.0, row.1) == (lead, code)) else {
        return Some((violation(format!("unknown command {lead:02X} {code:02X}")), 2));
    };
    let params = &bytes[2..];
    match need(*rule, params) {
        Need::AtLeast(count) if count > PARAMS_MAX || (count > LIST_MAX && has_list(*rule)) => {
            Some((violation(format!("{name}: its parameters do not end")), 2 + params.len()))
        }
        Need::AtLeast(_) => None,
        Need::Total(count) if count > PARAMS_MAX => {
            let here = params.len().min(count);
            *skip = count - here;
            Some((violation(format!("{name}: {count} bytes of parameters are too many")), 2 + here))
        }
        Need::Total(count) if params.len() < count => None,
        Need::Total(count) => {
            let token = match Command::read(lead, code, &params[..count], name) {
                Some(command) => Token::Command { command, offset, bytes: 2 + count },
                None => violation(format!("{name}: meaningless parameters {}", hex(&params[..count]))),
            };
            Some((token, 2 + count))
        }
    }
}

fn has_list(rule: super::command::Rule) -> bool {
    use super::command::Rule;
    matches!(rule, Rule::UntilNul | Rule::Barcode)
}

/// The first few bytes, for a message.
fn hex(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02X}")).collect();
    shown.join(" ") + if bytes.len() > 8 { " …" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vprinter::command::Pulse;
    use proptest::prelude::*;

    fn commands(bytes: &[u8]) -> Vec<Command> {
        let tokens = Parser::default().feed(bytes);
        let only = |token| match token {
            Token::Command { command, .. } => command,
            Token::Violation { what, .. } => panic!("{what}"),
        };
        tokens.into_iter().map(only).collect()
    }

    fn violation(bytes: &[u8]) -> String {
        let mut parser = Parser::default();
        let found = parser.feed(bytes).into_iter().chain(parser.finish()).find_map(|token| match token {
            Token::Violation { what, .. } => Some(what),
            Token::Command { .. } => None,
        });
        found.expect("must be minded")
    }

    #[test]
    fn lengths_are_found() {
        assert_eq!(
            commands(b"A\x1bp\x00\x32\xc8B\x1dV\x42\x03\x1dk\x02400638133393\x00\x1dk\x49\x04{BAB\x1dV1"),
            [
                Command::Text(b"A".to_vec()),
                Command::Pulse(Pulse { pin: 2, on_ms: 100, off_ms: 400 }),
                Command::Text(b"B".to_vec()),
                Command::Cut { full: false, feed_dots: 3 },
                Command::Barcode { system: 67, data: b"400638133393".to_vec() },
                Command::Barcode { system: 73, data: b"{BAB".to_vec() },
                Command::Cut { full: false, feed_dots: 0 },
            ]
        );
        let raster = Command::Raster { mode: 0, stride: 2, data: vec![1, 2, 3, 4] };
        assert_eq!(commands(b"\x1dv0\x00\x02\x00\x02\x00\x01\x02\x03\x04"), [raster]);
        assert_eq!(commands(b"\x1b&\x03\x41\x42\x01abc\x02abcdefZ").last(), Some(&Command::Text(b"Z".to_vec())));
    }

    #[test]
    fn what_a_careful_printer_minds_is_named() {
        assert_eq!(violation(b"\x07"), "stray control byte 07");
        assert_eq!(violation(b"\x1bz"), "unknown command 1B 7A");
        assert_eq!(violation(b"\x1dV\x07"), "GS V: meaningless parameters 07");
        assert_eq!(violation(b"\x1bp\x00"), "the stream ends inside a command");
        assert_eq!(violation(b"\x1dv0\x00\xff\xff\xff\xff"), "GS v: 4294836231 bytes of parameters are too many");
        assert_eq!(violation(&[b"\x1bD".as_slice(), &[1; 300]].concat()), "ESC D: its parameters do not end");
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes in stream(), cut in 0_usize..200) {
            let whole = flatten(Parser::default().feed(&bytes));
            let mut parser = Parser::default();
            let cut = cut.min(bytes.len());
            let mut pieces = parser.feed(&bytes[..cut]);
            pieces.extend(parser.feed(&bytes[cut..]));
            prop_assert_eq!(whole, flatten(pieces));
        }
    }

    /// Random bytes with many command prefixes among them, so that parameters are reached.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let prefix = (0..TABLE.len()).prop_map(|at| vec![TABLE[at].0, TABLE[at].1]);
        let piece = prop_oneof![prefix, proptest::collection::vec(any::<u8>(), 0..12)];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    /// Text may come in pieces; everything else may not.
    fn flatten(tokens: Vec<Token>) -> Vec<Token> {
        let mut flat: Vec<Token> = Vec::new();
        for token in tokens {
            match (flat.last_mut(), token) {
                (
                    Some(Token::Command { command: Command::Text(text), bytes, .. }),
                    Token::Command { command: Command::Text(more), bytes: more_bytes, .. },
                ) => {
                    text.extend(more);
                    *bytes += more_bytes;
                }
                (_, token) => flat.push(token),
            }
        }
        flat
    }
}
