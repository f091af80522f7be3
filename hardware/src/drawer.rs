//! The cash drawer, which hangs on the printer. A kick is an act and not a document: it is sent
//! at most once, it expires, and it never waits in a queue.

use std::time::Duration;

use crate::error::{Fault, IoFault};
use crate::printer::{check_ready, close_and_judge};
use crate::profile::{Profile, Pulse};
use crate::transport::{Deadline, Transport};

/// Longest wait for the status and for the closing, within the kick's own deadline.
const STEP: Duration = Duration::from_secs(1);

/// What is known about a kick. None of these allows sending it again by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KickOutcome {
    /// The printer was ready and the whole command was sent. Printers do not confirm a pulse.
    Sent,
    /// Nothing was sent; the drawer is opened by key.
    NotSent {
        /// Why.
        cause: Fault,
    },
    /// Some of the command was taken before the connection broke; the drawer may have opened.
    Uncertain {
        /// Bytes taken, 1 to 5.
        accepted: usize,
        /// What broke.
        cause: Fault,
    },
}

/// The bytes of a pulse: `ESC p m t1 t2`, with times in units of 2 ms.
pub fn pulse_bytes(pulse: Pulse) -> [u8; 5] {
    let units = |ms: u16| u8::try_from(ms / 2).unwrap_or(u8::MAX).max(1);
    [0x1B, b'p', pulse.connector, units(pulse.on_ms), units(pulse.off_ms)]
}

/// Opens the drawer over a connection of its own, if the printer is ready before `deadline`.
///
/// A printer without paper would keep the command and fire it when the roll is changed, with
/// nobody expecting it; so nothing is sent to a printer that is not ready.
pub async fn kick<T: Transport>(transport: &mut T, profile: &'static Profile, deadline: Deadline) -> KickOutcome {
    let Some(pulse) = profile.pulse else {
        let cause = Fault::Unsupported { profile: profile.id, function: "drawer connector" };
        return KickOutcome::NotSent { cause };
    };
    if let Err(cause) = open(transport, profile, deadline).await {
        let _ = transport.close(Deadline::after(STEP)).await;
        return KickOutcome::NotSent { cause };
    }
    if deadline.has_passed() {
        let cause = IoFault::timed_out("open the drawer at", profile.title).into();
        return KickOutcome::NotSent { cause };
    }
    let bytes = pulse_bytes(pulse);
    match transport.write(&bytes, deadline).await {
        Err(fault) if fault.accepted == 0 => KickOutcome::NotSent { cause: fault.cause.into() },
        Err(fault) => KickOutcome::Uncertain { accepted: fault.accepted, cause: fault.cause.into() },
        Ok(()) => match close_and_judge(transport, STEP).await {
            Ok(()) => KickOutcome::Sent,
            Err(cause) => KickOutcome::Uncertain { accepted: bytes.len(), cause },
        },
    }
}

async fn open<T: Transport>(transport: &mut T, profile: &Profile, deadline: Deadline) -> Result<(), Fault> {
    transport.connect(deadline).await?;
    check_ready(transport, profile, STEP.min(deadline.remaining())).await
}
