//! A look at a server that disturbs nothing: who is there, and what time it is.
//!
//! A device connects with its certificate and ALPN [`PROBE_ALPN`]; the server opens one unidirectional stream with one CBOR map,
//! [`Probed`]. It is not the device's replicating connection, so it takes none over.

use minicbor::{Decode, Encode};

/// The ALPN of a probe.
pub const PROBE_ALPN: &[u8] = b"evertill-probe/1";
/// Largest answer in bytes.
pub const PROBED_BYTES_MAX: usize = 1_024;

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Probed {
    /// The server's clock, Unix milliseconds.
    #[n(0)]
    pub unix_ms: u64,
    /// Whether the device that asks is enrolled here.
    #[n(1)]
    pub enrolled: bool,
    /// The server's program version.
    #[n(2)]
    pub software: String,
}
