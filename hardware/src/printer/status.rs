//! How a printer is: the four bytes of `DLE EOT` and what they mean for a job.

use std::time::Duration;

use super::answers::{Answer, read_answer};
use super::millis;
use crate::error::{DeviceError, Fault, IoFault};
use crate::profile::{Profile, StatusSupport};
use crate::transport::{Deadline, Transport};

/// How a printer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Ready.
    Online,
    /// Ready, and the roll is nearly used up.
    PaperNearEnd,
    /// Not printing: no paper.
    PaperOut,
    /// Not printing: a cover is open.
    CoverOpen,
    /// Not printing: a fault of the device.
    DeviceError(DeviceError),
    /// Not printing, for a reason it does not give.
    Offline,
    /// Connected, but without a valid answer.
    Mute,
    /// No connection, or it broke.
    Unreachable(IoFault),
    /// The profile says that this printer is never asked.
    NotAsked,
}

/// The answers to `DLE EOT` 1 to 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusBytes {
    /// n = 1: printer.
    pub printer: u8,
    /// n = 2: why it is offline.
    pub offline: u8,
    /// n = 3: errors.
    pub error: u8,
    /// n = 4: roll paper sensors.
    pub paper: u8,
}

impl StatusBytes {
    /// The most pressing thing these bytes say.
    pub fn status(self) -> Status {
        let set = |byte: u8, mask: u8| byte & mask != 0;
        if set(self.paper, 0b0110_0000) || set(self.offline, 0b0010_0000) {
            Status::PaperOut
        } else if set(self.offline, 0b0000_0100) {
            Status::CoverOpen
        } else if set(self.error, 0b0000_1000) {
            Status::DeviceError(DeviceError::Cutter)
        } else if set(self.error, 0b0010_0000) {
            Status::DeviceError(DeviceError::Unrecoverable)
        } else if set(self.error, 0b0100_0000) {
            Status::DeviceError(DeviceError::AutoRecoverable)
        } else if set(self.printer, 0b0000_1000) || set(self.offline, 0b0100_0000) {
            Status::Offline
        } else if set(self.paper, 0b0000_1100) {
            Status::PaperNearEnd
        } else {
            Status::Online
        }
    }

    /// The level of the drawer's sensor line. Which level means open differs between drawers.
    pub fn drawer_line_high(self) -> bool {
        self.printer & 0b0000_0100 != 0
    }

    async fn ask<T: Transport>(transport: &mut T, timeout: Duration) -> Result<Self, Fault> {
        let deadline = Deadline::after(timeout);
        let mut bytes = [0; 4];
        for (n, slot) in (1..=4).zip(&mut bytes) {
            transport.write(&[0x10, 0x04, n], deadline).await.map_err(|fault| fault.cause)?;
            *slot = loop {
                match read_answer(transport, deadline).await {
                    Ok(Answer::Status(byte)) => break byte,
                    Ok(_) => {}
                    Err(fault) if fault.kind == std::io::ErrorKind::TimedOut => {
                        return Err(Fault::NoAnswer { question: "how it is", waited_ms: millis(timeout) });
                    }
                    Err(fault) => return Err(fault.into()),
                }
            };
        }
        let [printer, offline, error, paper] = bytes;
        Ok(Self { printer, offline, error, paper })
    }
}

impl Status {
    pub(super) async fn ask<T: Transport>(transport: &mut T, profile: &Profile, timeout: Duration) -> Self {
        if profile.status == StatusSupport::None {
            return Status::NotAsked;
        }
        match StatusBytes::ask(transport, timeout).await {
            Ok(bytes) => bytes.status(),
            Err(Fault::Io(fault)) => Status::Unreachable(fault),
            Err(_) => Status::Mute,
        }
    }
}

/// Whether a job may be sent over this open connection.
pub(crate) async fn check_ready<T: Transport>(transport: &mut T, profile: &Profile, timeout: Duration) -> Result<(), Fault> {
    match Status::ask(transport, profile, timeout).await {
        Status::Online | Status::PaperNearEnd | Status::NotAsked => Ok(()),
        Status::Mute if profile.status == StatusSupport::Optional => Ok(()),
        Status::Mute => Err(Fault::NoAnswer { question: "how it is", waited_ms: millis(timeout) }),
        Status::PaperOut => Err(Fault::PaperOut),
        Status::CoverOpen => Err(Fault::CoverOpen),
        Status::DeviceError(error) => Err(Fault::DeviceError(error)),
        Status::Offline => Err(Fault::Offline),
        Status::Unreachable(fault) => Err(fault.into()),
    }
}

/// Closes after sending; a connection that the other end broke may have lost bytes.
pub(crate) async fn close_and_judge<T: Transport>(transport: &mut T, timeout: Duration) -> Result<(), Fault> {
    transport.close(Deadline::after(timeout)).await.map_err(Fault::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_pressing_condition_is_named() {
        let clean = StatusBytes { printer: 0x12, offline: 0x12, error: 0x12, paper: 0x12 };
        assert_eq!(clean.status(), Status::Online);
        assert_eq!(StatusBytes { paper: 0x1E, ..clean }.status(), Status::PaperNearEnd);
        assert_eq!(StatusBytes { paper: 0x72, offline: 0x16, ..clean }.status(), Status::PaperOut);
        assert_eq!(StatusBytes { printer: 0x1A, offline: 0x16, ..clean }.status(), Status::CoverOpen);
        assert_eq!(StatusBytes { printer: 0x1A, error: 0x1A, ..clean }.status(), Status::DeviceError(DeviceError::Cutter));
        assert_eq!(StatusBytes { printer: 0x1A, ..clean }.status(), Status::Offline);
        assert!(StatusBytes { printer: 0x16, ..clean }.drawer_line_high());
    }
}
