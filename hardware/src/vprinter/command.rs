//! The commands the virtual printer understands, with their parameters read.

use serde::Serialize;

/// One command, or a run of printable bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are named as the printers' manuals name the commands")]
pub enum Command {
    Text(Vec<u8>),
    LineFeed,
    CarriageReturn,
    Tab,
    Initialise,
    CodePage(u8),
    Justify(u8),
    Bold(bool),
    Underline(u8),
    Size(u8),
    PrintMode(u8),
    Reverse(bool),
    Smoothing(bool),
    /// Dots, or the default.
    LineSpacing(Option<u8>),
    FeedLines(u8),
    FeedDots(u8),
    AbsolutePosition(u16),
    BarcodeHeight(u8),
    BarcodeWidth(u8),
    BarcodeText(u8),
    Barcode {
        system: u8,
        data: Vec<u8>,
    },
    QrSize(u8),
    QrLevel(u8),
    QrStore(Vec<u8>),
    QrPrint,
    Raster {
        mode: u8,
        stride: u16,
        data: Vec<u8>,
    },
    Cut {
        full: bool,
        feed_dots: u8,
    },
    Pulse(Pulse),
    ProcessId([u8; 4]),
    SendStatus(u8),
    SendId(u8),
    AutoStatus(u8),
    /// Acted on as it arrives, before anything that waits in the buffer.
    RealTimeStatus(u8),
    RealTimePulse(Pulse),
    /// Known, taken with its parameters, and without effect here.
    Ignored(&'static str),
}

/// A pulse on the drawer connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pulse {
    /// Pin of the connector, 2 or 5.
    pub pin: u8,
    /// Milliseconds on.
    pub on_ms: u16,
    /// Milliseconds off.
    pub off_ms: u16,
}

impl Pulse {
    fn new(connector: u8, on_ms: u16, off_ms: u16) -> Self {
        Self { pin: if connector & 1 == 0 { 2 } else { 5 }, on_ms, off_ms }
    }
}

pub(super) const DLE: u8 = 0x10;
pub(super) const ESC: u8 = 0x1B;
pub(super) const FS: u8 = 0x1C;
pub(super) const GS: u8 = 0x1D;

/// How the length of a command's parameters is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Always this many.
    Fixed(usize),
    /// Up to and with a NUL.
    UntilNul,
    /// A function byte, a 16-bit count, and that many.
    Extended,
    /// As `Extended`, with a 32-bit count.
    ExtendedLong,
    /// `GS v 0`.
    Raster,
    /// `ESC *`.
    ColumnImage,
    /// `ESC &`.
    UserCharacters,
    /// `GS *`.
    DownloadImage,
    /// `GS k`.
    Barcode,
    /// `GS V`.
    Cut,
    /// `DLE EOT`.
    StatusQuestion,
    /// `DLE DC4`.
    RealTimeAct,
}

/// Every command of two bytes or more: lead byte, second byte, parameters, name.
pub(super) const TABLE: &[(u8, u8, Rule, &str)] = &[
    (DLE, 0x04, Rule::StatusQuestion, "DLE EOT"),
    (DLE, 0x05, Rule::Fixed(1), "DLE ENQ"),
    (DLE, 0x14, Rule::RealTimeAct, "DLE DC4"),
    (ESC, 0x0C, Rule::Fixed(0), "ESC FF"),
    (ESC, b' ', Rule::Fixed(1), "ESC SP"),
    (ESC, b'!', Rule::Fixed(1), "ESC !"),
    (ESC, b'$', Rule::Fixed(2), "ESC $"),
    (ESC, b'%', Rule::Fixed(1), "ESC %"),
    (ESC, b'&', Rule::UserCharacters, "ESC &"),
    (ESC, b'(', Rule::Extended, "ESC ("),
    (ESC, b'*', Rule::ColumnImage, "ESC *"),
    (ESC, b'-', Rule::Fixed(1), "ESC -"),
    (ESC, b'2', Rule::Fixed(0), "ESC 2"),
    (ESC, b'3', Rule::Fixed(1), "ESC 3"),
    (ESC, b'<', Rule::Fixed(0), "ESC <"),
    (ESC, b'=', Rule::Fixed(1), "ESC ="),
    (ESC, b'?', Rule::Fixed(1), "ESC ?"),
    (ESC, b'@', Rule::Fixed(0), "ESC @"),
    (ESC, b'D', Rule::UntilNul, "ESC D"),
    (ESC, b'E', Rule::Fixed(1), "ESC E"),
    (ESC, b'G', Rule::Fixed(1), "ESC G"),
    (ESC, b'J', Rule::Fixed(1), "ESC J"),
    (ESC, b'K', Rule::Fixed(1), "ESC K"),
    (ESC, b'L', Rule::Fixed(0), "ESC L"),
    (ESC, b'M', Rule::Fixed(1), "ESC M"),
    (ESC, b'R', Rule::Fixed(1), "ESC R"),
    (ESC, b'S', Rule::Fixed(0), "ESC S"),
    (ESC, b'T', Rule::Fixed(1), "ESC T"),
    (ESC, b'U', Rule::Fixed(1), "ESC U"),
    (ESC, b'V', Rule::Fixed(1), "ESC V"),
    (ESC, b'W', Rule::Fixed(8), "ESC W"),
    (ESC, b'\\', Rule::Fixed(2), "ESC \\"),
    (ESC, b'a', Rule::Fixed(1), "ESC a"),
    (ESC, b'c', Rule::Fixed(2), "ESC c"),
    (ESC, b'd', Rule::Fixed(1), "ESC d"),
    (ESC, b'e', Rule::Fixed(1), "ESC e"),
    (ESC, b'i', Rule::Fixed(0), "ESC i"),
    (ESC, b'm', Rule::Fixed(0), "ESC m"),
    (ESC, b'p', Rule::Fixed(3), "ESC p"),
    (ESC, b'r', Rule::Fixed(1), "ESC r"),
    (ESC, b't', Rule::Fixed(1), "ESC t"),
    (ESC, b'u', Rule::Fixed(1), "ESC u"),
    (ESC, b'v', Rule::Fixed(0), "ESC v"),
    (ESC, b'{', Rule::Fixed(1), "ESC {"),
    (FS, b'!', Rule::Fixed(1), "FS !"),
    (FS, b'&', Rule::Fixed(0), "FS &"),
    (FS, b'(', Rule::Extended, "FS ("),
    (FS, b'-', Rule::Fixed(1), "FS -"),
    (FS, b'.', Rule::Fixed(0), "FS ."),
    (FS, b'C', Rule::Fixed(1), "FS C"),
    (FS, b'S', Rule::Fixed(2), "FS S"),
    (FS, b'W', Rule::Fixed(1), "FS W"),
    (FS, b'p', Rule::Fixed(2), "FS p"),
    (GS, b'!', Rule::Fixed(1), "GS !"),
    (GS, b'$', Rule::Fixed(2), "GS $"),
    (GS, b'(', Rule::Extended, "GS ("),
    (GS, b'*', Rule::DownloadImage, "GS *"),
    (GS, b'/', Rule::Fixed(1), "GS /"),
    (GS, b'8', Rule::ExtendedLong, "GS 8"),
    (GS, b':', Rule::Fixed(0), "GS :"),
    (GS, b'B', Rule::Fixed(1), "GS B"),
    (GS, b'E', Rule::Fixed(1), "GS E"),
    (GS, b'H', Rule::Fixed(1), "GS H"),
    (GS, b'I', Rule::Fixed(1), "GS I"),
    (GS, b'L', Rule::Fixed(2), "GS L"),
    (GS, b'P', Rule::Fixed(2), "GS P"),
    (GS, b'T', Rule::Fixed(1), "GS T"),
    (GS, b'V', Rule::Cut, "GS V"),
    (GS, b'W', Rule::Fixed(2), "GS W"),
    (GS, b'\\', Rule::Fixed(2), "GS \\"),
    (GS, b'^', Rule::Fixed(3), "GS ^"),
    (GS, b'a', Rule::Fixed(1), "GS a"),
    (GS, b'b', Rule::Fixed(1), "GS b"),
    (GS, b'c', Rule::Fixed(0), "GS c"),
    (GS, b'f', Rule::Fixed(1), "GS f"),
    (GS, b'g', Rule::Fixed(4), "GS g"),
    (GS, b'h', Rule::Fixed(1), "GS h"),
    (GS, b'k', Rule::Barcode, "GS k"),
    (GS, b'r', Rule::Fixed(1), "GS r"),
    (GS, b'v', Rule::Raster, "GS v"),
    (GS, b'w', Rule::Fixed(1), "GS w"),
];

/// How many parameter bytes a command has, as far as those at hand tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Exactly so many.
    Total(usize),
    /// More than are here, and how many are needed to go on counting.
    AtLeast(usize),
}

/// Applies a length rule to the parameters received so far. Sums cannot overflow: every term is
/// made from at most 32 bits.
pub(super) fn need(rule: Rule, params: &[u8]) -> Need {
    let le16 = |at: usize| usize::from(u16::from_le_bytes([params[at], params[at + 1]]));
    let head = match rule {
        Rule::Fixed(count) => return Need::Total(count),
        Rule::UntilNul => {
            let nul = params.iter().position(|byte| *byte == 0);
            return nul.map_or(Need::AtLeast(params.len() + 1), |at| Need::Total(at + 1));
        }
        Rule::UserCharacters => return need_user_characters(params),
        Rule::Barcode | Rule::Cut | Rule::StatusQuestion | Rule::RealTimeAct => 1,
        Rule::DownloadImage => 2,
        Rule::Extended | Rule::ColumnImage => 3,
        Rule::ExtendedLong | Rule::Raster => 5 + usize::from(rule == Rule::Raster),
    };
    if params.len() < head {
        return Need::AtLeast(head);
    }
    Need::Total(match (rule, params[0]) {
        (Rule::Extended, _) => 3 + le16(1),
        (Rule::ExtendedLong, _) => 5 + u32::from_le_bytes([params[1], params[2], params[3], params[4]]) as usize,
        // 0, m, width in bytes, height.
        (Rule::Raster, _) => 6 + le16(2) * le16(4),
        (Rule::ColumnImage, m) => 3 + le16(1) * if m >= 32 { 3 } else { 1 },
        (Rule::DownloadImage, x) => 2 + 8 * usize::from(x) * usize::from(params[1]),
        (Rule::Cut, 65 | 66 | 97 | 98 | 103 | 104) => 2,
        (Rule::StatusQuestion, 7 | 8 | 18) => 2,
        (Rule::RealTimeAct, 1 | 2) => 3,
        (Rule::RealTimeAct, 7) => 2,
        (Rule::RealTimeAct, 8) => 8,
        (Rule::Barcode, 0..=6) => return after_first(need(Rule::UntilNul, &params[1..])),
        (Rule::Barcode, 65..) if params.len() < 2 => return Need::AtLeast(2),
        (Rule::Barcode, 65..) => 2 + usize::from(params[1]),
        _ => 1,
    })
}

fn after_first(need: Need) -> Need {
    match need {
        Need::Total(count) => Need::Total(count + 1),
        Need::AtLeast(count) => Need::AtLeast(count + 1),
    }
}

/// `ESC & y c1 c2` and then, for each character from c1 to c2, its width x and x times y bytes.
fn need_user_characters(params: &[u8]) -> Need {
    let [y, from, to, ..] = *params else { return Need::AtLeast(3) };
    let mut total = 3;
    for _ in from..=to {
        match params.get(total) {
            Some(x) => total += 1 + usize::from(*x) * usize::from(y),
            None => return Need::AtLeast(total + 1),
        }
    }
    Need::Total(total)
}

impl Command {
    /// Reads the parameters of a complete command. `None` when their values mean nothing.
    pub(super) fn read(lead: u8, code: u8, params: &[u8], name: &'static str) -> Option<Self> {
        let le16 = |at: usize| u16::from_le_bytes([params[at], params[at + 1]]);
        let first = params.first().copied().unwrap_or(0);
        let on = first & 1 == 1;
        Some(match (lead, code) {
            (DLE, 0x04) if (1..=4).contains(&first) => Self::RealTimeStatus(first),
            (DLE, 0x14) if first == 1 && params.len() == 3 => {
                let ms = 100 * u16::from(params[2].clamp(1, 8));
                Self::RealTimePulse(Pulse::new(params[1], ms, ms))
            }
            (ESC, b'@') => Self::Initialise,
            (ESC, b't') => Self::CodePage(first),
            (ESC, b'a') => Self::Justify(digit(first, 2)?),
            (ESC, b'E' | b'G') => Self::Bold(on),
            (ESC, b'-') => Self::Underline(digit(first, 2)?),
            (ESC, b'!') => Self::PrintMode(first),
            (ESC, b'2') => Self::LineSpacing(None),
            (ESC, b'3') => Self::LineSpacing(Some(first)),
            (ESC, b'd') => Self::FeedLines(first),
            (ESC, b'J') => Self::FeedDots(first),
            (ESC, b'$') => Self::AbsolutePosition(le16(0)),
            (ESC, b'i') => Self::Cut { full: true, feed_dots: 0 },
            (ESC, b'm') => Self::Cut { full: false, feed_dots: 0 },
            (ESC, b'p') => Self::Pulse(Pulse::new(digit(first, 1)?, 2 * u16::from(params[1]), 2 * u16::from(params[2]))),
            (GS, b'!') => Self::Size(first),
            (GS, b'B') => Self::Reverse(on),
            (GS, b'b') => Self::Smoothing(on),
            (GS, b'h') => Self::BarcodeHeight(first),
            (GS, b'w') => Self::BarcodeWidth(first),
            (GS, b'H') => Self::BarcodeText(digit(first, 3)?),
            (GS, b'I') => Self::SendId(first),
            (GS, b'r') => Self::SendStatus(digit(first, 4)?),
            (GS, b'a') => Self::AutoStatus(first),
            (GS, b'k') => read_barcode(params)?,
            (GS, b'V') => read_cut(params)?,
            (GS, b'v') if first == b'0' => {
                Self::Raster { mode: digit(params[1], 3)?, stride: le16(2), data: params[6..].to_vec() }
            }
            (GS, b'(') => read_extended(first, &params[3..], name)?,
            (GS, b'v') | (DLE, 0x04) => return None,
            _ => Self::Ignored(name),
        })
    }
}

/// A number, or the digit of it: manuals allow both 1 and "1".
fn digit(byte: u8, max: u8) -> Option<u8> {
    let value = if byte >= b'0' { byte - b'0' } else { byte };
    (value <= max).then_some(value)
}

fn read_barcode(params: &[u8]) -> Option<Command> {
    let (system, data) = match *params.first()? {
        // Function A: the systems 0 to 6, ended by NUL. Function B: 65 to 73, counted.
        system @ 0..=6 => (system + 65, params[1..].strip_suffix(&[0])?),
        system @ 65..=73 => (system, params.get(2..)?),
        _ => return None,
    };
    Some(Command::Barcode { system, data: data.to_vec() })
}

fn read_cut(params: &[u8]) -> Option<Command> {
    let feed_dots = params.get(1).copied().unwrap_or(0);
    match *params.first()? {
        0 | b'0' | 65 | 97 | 103 => Some(Command::Cut { full: true, feed_dots }),
        1 | b'1' | 66 | 98 | 104 => Some(Command::Cut { full: false, feed_dots }),
        _ => None,
    }
}

/// `GS ( fn`: QR codes and process ids; others are known but without effect.
fn read_extended(function: u8, params: &[u8], name: &'static str) -> Option<Command> {
    Some(match (function, params) {
        (b'k', [49, 65, ..]) => Command::Ignored("GS ( k QR model"),
        (b'k', [49, 67, size]) => Command::QrSize(*size),
        (b'k', [49, 69, level]) => Command::QrLevel(*level),
        (b'k', [49, 80, 48, data @ ..]) => Command::QrStore(data.to_vec()),
        (b'k', [49, 81, ..]) => Command::QrPrint,
        (b'H', [48, 48, a, b, c, d]) => Command::ProcessId([*a, *b, *c, *d]),
        (b'H', _) => return None,
        _ => Command::Ignored(name),
    })
}
