//! A virtual receipt printer: the simulated twin of a real one.
//!
//! It takes the bytes a printer would take, over TCP or in memory, answers status questions and
//! process ids, and turns every cut piece of paper into a picture and a transcript. It also keeps
//! a log of what physically came out, which is the truth that print queues are tested against.
//!
//! - [`parser`]: bytes to commands. It accepts anything and says what a careful printer would mind.
//! - [`paper`]: commands to dots and transcript, one [`paper::Sheet`] per cut.
//! - [`device`]: the printer without wires: buffer, status, faults. No clock, no sockets, no files.
//! - [`server`]: the device behind TCP, its files, and the page that shows the paper.
//!
//! It knows the encoder's code only through the bytes; it shares with it the code page tables,
//! which are generated from a third source, and the font.

pub mod command;
pub mod device;
mod http;
mod log;
pub mod paper;
pub mod parser;
pub mod server;
mod symbols;
pub mod transcript;

pub use device::{AckFault, Device, Faults, PaperSensor};
pub use log::LogEntry;
pub use paper::PaperWidth;
pub use server::{Config, Receipt, VirtualPrinter};
pub use transcript::{Element, Transcript, Violation};

/// What a byte file prints, as [`render`] returns it.
#[derive(Debug)]
pub struct Rendering {
    /// One picture and transcript for each cut, and one for what was left on the printer.
    pub sheets: Vec<paper::Sheet>,
    /// Drawer pulses.
    pub pulses: Vec<command::Pulse>,
}

/// Prints bytes on a healthy printer and tears off what is left at the end.
pub fn render(bytes: &[u8], width: PaperWidth) -> Rendering {
    let mut device = Device::new(width);
    let mut rendering = Rendering { sheets: Vec::new(), pulses: Vec::new() };
    // In pieces, so that a long file is printed as it is read.
    for piece in bytes.chunks(4096) {
        device.receive(piece);
        rendering.take(&mut device);
    }
    device.finish();
    rendering.take(&mut device);
    rendering
}

impl Rendering {
    fn take(&mut self, device: &mut Device) {
        for event in device.take_events() {
            match event {
                device::Event::Sheet(sheet) => self.sheets.push(*sheet),
                device::Event::Pulse(pulse) => self.pulses.push(pulse),
            }
        }
    }

    /// Writes `receipt-1.png`, `receipt-1.json` and so on into a folder, which is made if missing.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, folder: &std::path::Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        (1..).zip(&self.sheets).try_for_each(|(number, sheet)| sheet.save(folder, number))
    }

    /// Everything a strict printer would mind.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.sheets.iter().flat_map(|sheet| &sheet.transcript.violations)
    }
}
