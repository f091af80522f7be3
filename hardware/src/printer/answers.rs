//! What printers send back: single status bytes and blocks, mixed as they like.

use crate::error::IoFault;
use crate::transport::{Deadline, Transport};

/// Longest block kept; Epson's are shorter.
const BLOCK_BYTES_MAX: usize = 80;

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// A byte with the fixed bits of a `DLE EOT` answer.
    Status(u8),
    /// The process id of a printed job.
    ProcessId([u8; 4]),
    /// Anything else.
    Other,
}

/// Reads one answer. Bytes are taken one by one, so nothing is left behind in a buffer.
pub(super) async fn read_answer<T: Transport>(transport: &mut T, deadline: Deadline) -> Result<Answer, IoFault> {
    let first = read_byte(transport, deadline).await?;
    if first == BLOCK_HEADER {
        return read_block(transport, deadline).await;
    }
    // Bits 1 and 4 are set, 0 and 7 clear in every DLE EOT answer.
    Ok(if first & 0b1001_0011 == 0b0001_0010 { Answer::Status(first) } else { Answer::Other })
}

const BLOCK_HEADER: u8 = 0x37;
const PROCESS_ID_BLOCK: u8 = 0x22;

/// A block runs to a NUL. Its text may look like status bytes, so it is read as a whole.
async fn read_block<T: Transport>(transport: &mut T, deadline: Deadline) -> Result<Answer, IoFault> {
    let mut block = Vec::new();
    while block.len() < BLOCK_BYTES_MAX {
        match read_byte(transport, deadline).await? {
            0 => break,
            byte => block.push(byte),
        }
    }
    Ok(match block.as_slice() {
        [PROCESS_ID_BLOCK, a, b, c, d] => Answer::ProcessId([*a, *b, *c, *d]),
        _ => Answer::Other,
    })
}

async fn read_byte<T: Transport>(transport: &mut T, deadline: Deadline) -> Result<u8, IoFault> {
    let mut byte = [0];
    match transport.read(&mut byte, deadline).await? {
        0 => Err(IoFault::new("read from", "the printer", &std::io::ErrorKind::UnexpectedEof.into())),
        _ => Ok(byte[0]),
    }
}
