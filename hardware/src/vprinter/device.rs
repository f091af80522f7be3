//! The printer without wires: its buffer, its sensors, and what it answers.
//!
//! Bytes go in with [`Device::receive`], answers and [`Event`]s come out. There is no clock in
//! it: with paper out it simply keeps what it has, and goes on when the fault is lifted.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::command::{Command, Pulse};
use super::paper::{Paper, PaperWidth, Sheet};
use super::parser::{Parser, Token};

/// Bytes that may wait while the printer cannot print; more than a real one has.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// Troubles that can be switched on. What is not named is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// The paper sensors.
    pub paper: PaperSensor,
    /// Paper runs out by itself after this many more line feeds.
    pub paper_out_after_lines: Option<u32>,
    /// The cover is open.
    pub cover_open: bool,
    /// The cutter is stuck.
    pub cutter_error: bool,
    /// It takes and prints everything and never answers.
    pub mute: bool,
    /// The connection breaks after this many more bytes, status questions included.
    pub drop_after_bytes: Option<usize>,
    /// What becomes of the answer to a printed job's process id.
    pub ack: AckFault,
}

/// The paper sensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaperSensor {
    /// Enough paper.
    #[default]
    Ok,
    /// The roll is nearly used up.
    NearEnd,
    /// None.
    Out,
}

/// What becomes of the answer to a printed job's process id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckFault {
    /// It is sent.
    #[default]
    Answer,
    /// It is not sent; the job is on paper all the same.
    Silent,
    /// The connection breaks instead; the job is on paper all the same.
    HangUp,
}

/// Something that physically happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A piece of paper fell.
    Sheet(Box<Sheet>),
    /// The drawer was pulsed.
    Pulse(Pulse),
}

/// A printer.
#[derive(Debug)]
pub struct Device {
    parser: Parser,
    paper: Paper,
    faults: Faults,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    answers: Vec<u8>,
    hang_up: bool,
    events: Vec<Event>,
}

/// A command in the buffer, and how many bytes it is.
#[derive(Debug)]
struct Waiting {
    command: Command,
    bytes: usize,
    offset: u64,
}

impl Device {
    /// A healthy printer with a fresh roll.
    pub fn new(width: PaperWidth) -> Self {
        Self {
            parser: Parser::default(),
            paper: Paper::new(width),
            faults: Faults::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            answers: Vec::new(),
            hang_up: false,
            events: Vec::new(),
        }
    }

    /// Takes bytes from the line. Ask for [`Self::take_answers`] and [`Self::hangs_up`] afterwards.
    pub fn receive(&mut self, bytes: &[u8]) {
        let taken = match &mut self.faults.drop_after_bytes {
            Some(left) => {
                let taken = bytes.len().min(*left);
                *left -= taken;
                self.hang_up |= *left == 0;
                taken
            }
            None => bytes.len(),
        };
        for token in self.parser.feed(&bytes[..taken]) {
            self.accept(token);
            self.run();
        }
    }

    /// The connection ended. Half a command is forgotten, as an interface board does; what is
    /// complete stays in the buffer and is printed when it can be.
    pub fn disconnected(&mut self) {
        if let Some(token) = self.parser.finish() {
            self.accept(token);
        }
        self.answers.clear();
        self.hang_up = false;
        if self.faults.drop_after_bytes == Some(0) {
            self.faults.drop_after_bytes = None;
        }
    }

    /// The end of everything: what is on the paper is torn off.
    pub fn finish(&mut self) {
        self.disconnected();
        if !self.paper.is_blank() {
            let sheet = self.paper.tear(None);
            self.events.push(Event::Sheet(sheet));
        }
    }

    /// Changes what is wrong, and goes on printing if nothing hinders it any more.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
        self.run();
    }

    /// What is wrong.
    pub fn faults(&self) -> Faults {
        self.faults
    }

    /// Bytes to send back.
    pub fn take_answers(&mut self) -> Vec<u8> {
        let answers = std::mem::take(&mut self.answers);
        if self.faults.mute { Vec::new() } else { answers }
    }

    /// Whether the connection breaks now.
    pub fn hangs_up(&self) -> bool {
        self.hang_up
    }

    /// Whether no more bytes are taken until the printer can print again.
    pub fn is_full(&self) -> bool {
        self.waiting_bytes >= BUFFER_BYTES
    }

    /// What happened since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Real-time commands act at once; everything else queues behind what came before.
    fn accept(&mut self, token: Token) {
        match token {
            Token::Command { command: Command::RealTimeStatus(n), .. } => {
                let answer = self.status_byte(n);
                self.answers.push(answer);
            }
            Token::Command { command: Command::RealTimePulse(pulse), .. } => self.events.push(Event::Pulse(pulse)),
            Token::Command { command, offset, bytes } => {
                self.waiting.push_back(Waiting { command, bytes, offset });
                self.waiting_bytes += bytes;
            }
            Token::Violation { offset, what } => self.paper.violation(offset, what),
        }
    }

    fn can_print(&self) -> bool {
        self.faults.paper != PaperSensor::Out && !self.faults.cover_open && !self.faults.cutter_error
    }

    fn run(&mut self) {
        while self.can_print() {
            let Some(Waiting { command, bytes, offset }) = self.waiting.pop_front() else { return };
            self.waiting_bytes -= bytes;
            self.act(command, offset);
        }
    }

    fn act(&mut self, command: Command, offset: u64) {
        match command {
            Command::Pulse(pulse) => self.events.push(Event::Pulse(pulse)),
            Command::SendStatus(n) => self.answers.push(self.sensor_byte(n)),
            Command::SendId(n) => self.answers.extend(identity(n)),
            Command::AutoStatus(0) => {}
            Command::AutoStatus(_) => self.answers.extend(self.auto_status()),
            Command::ProcessId(id) => {
                self.paper.execute(command, offset);
                match self.faults.ack {
                    AckFault::Answer => self.answers.extend([&[0x37, 0x22], id.as_slice(), &[0]].concat()),
                    AckFault::Silent => {}
                    AckFault::HangUp => self.hang_up = true,
                }
            }
            other => {
                let feeds = other == Command::LineFeed;
                let sheet = self.paper.execute(other, offset);
                self.events.extend(sheet.map(Event::Sheet));
                if feeds {
                    self.use_paper();
                }
            }
        }
    }

    fn use_paper(&mut self) {
        if let Some(left) = &mut self.faults.paper_out_after_lines {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.faults.paper_out_after_lines = None;
                self.faults.paper = PaperSensor::Out;
            }
        }
    }

    /// The answers to `DLE EOT` 1 to 4. Bits 1 and 4 are always set.
    fn status_byte(&self, n: u8) -> u8 {
        let bit = |on: bool, bits: u8| if on { bits } else { 0 };
        let faults = &self.faults;
        let out = faults.paper == PaperSensor::Out;
        0b0001_0010
            | match n {
                1 => bit(!self.can_print(), 0b0000_1000),
                2 => bit(faults.cover_open, 0b0000_0100) | bit(out, 0b0010_0000) | bit(faults.cutter_error, 0b0100_0000),
                3 => bit(faults.cutter_error, 0b0000_1000),
                _ => bit(faults.paper != PaperSensor::Ok, 0b0000_1100) | bit(out, 0b0110_0000),
            }
    }

    /// The answers to `GS r`: paper for 1, drawer (closed) for the others.
    fn sensor_byte(&self, n: u8) -> u8 {
        match (n, self.faults.paper) {
            (1, PaperSensor::NearEnd) => 0b0000_0011,
            (1, PaperSensor::Out) => 0b0000_1111,
            _ => 0,
        }
    }

    /// The four bytes that `GS a` asks for.
    fn auto_status(&self) -> [u8; 4] {
        let bit = |on: bool, bits: u8| if on { bits } else { 0 };
        let first = 0b0001_0000 | bit(!self.can_print(), 0b0000_1000) | bit(self.faults.cover_open, 0b0010_0000);
        [first, bit(self.faults.cutter_error, 0b0000_1000), self.sensor_byte(1), 0]
    }
}

/// The answers to `GS I`: a block of text from 65 on, single bytes below.
fn identity(n: u8) -> Vec<u8> {
    let text = match n {
        65 => env!("CARGO_PKG_VERSION"),
        66 => "Evertill",
        67 => "Virtual Printer",
        68 => "1",
        69 => "",
        _ => return vec![0x02],
    };
    [&[0x5F], text.as_bytes(), &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answers(device: &mut Device, bytes: &[u8]) -> Vec<u8> {
        device.receive(bytes);
        device.take_answers()
    }

    #[test]
    fn status_follows_the_faults_while_print_data_waits() {
        let mut device = Device::new(PaperWidth::Mm80);
        let question = b"\x10\x04\x01\x10\x04\x02\x10\x04\x03\x10\x04\x04";
        assert_eq!(answers(&mut device, question), [0x12; 4]);
        device.set_faults(Faults { paper: PaperSensor::Out, ..Faults::default() });
        assert_eq!(answers(&mut device, b"one\n\x1dV\x01\x10\x04\x04"), [0x7E]);
        assert!(device.take_events().is_empty(), "nothing comes out without paper");
        device.set_faults(Faults::default());
        let [Event::Sheet(sheet)] = &device.take_events()[..] else { panic!("the receipt comes out with the new roll") };
        assert_eq!(sheet.transcript.lines(), ["one"]);
    }

    #[test]
    fn identity_and_sensors_answer_in_order() {
        let mut device = Device::new(PaperWidth::Mm80);
        assert_eq!(answers(&mut device, b"\x1dI\x42\x1dr\x31\x1da\xff"), b"_Evertill\0\0\x10\0\0\0");
    }

    #[test]
    fn paper_runs_out_in_the_middle() {
        let mut device = Device::new(PaperWidth::Mm80);
        device.set_faults(Faults { paper_out_after_lines: Some(2), ..Faults::default() });
        device.receive(b"a\nb\nc\n\x1dV\x01");
        assert_eq!(device.faults().paper, PaperSensor::Out);
        assert!(device.take_events().is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn no_bytes_make_it_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..12)) {
            let mut device = Device::new(PaperWidth::Mm58);
            for piece in &pieces {
                device.receive(piece);
            }
            device.finish();
            for event in device.take_events() {
                if let Event::Sheet(sheet) = event {
                    prop_assert!(!sheet.png.is_empty());
                }
            }
        }
    }
}
