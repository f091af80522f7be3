//! A look at the server that disturbs nothing: not even this device's own connection to it.

use std::time::Duration;

use sync_proto::env::Env;
use sync_proto::probe::{PROBE_ALPN, PROBED_BYTES_MAX, Probed};

use tokio::io::AsyncReadExt;

use super::Link;
use super::net::{Net, NetError};
use super::reach::{Configs, Connected};
use super::tls::{self, TlsError};
use crate::api::LinkWay;

/// How long the server may take to answer once it is connected.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A server that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// There and back.
    pub round_trip: Duration,
    /// Which way it was reached.
    pub way: LinkWay,
    /// How far this machine's clock is ahead of the server's, in milliseconds; half a round trip is allowed for.
    pub clock_ahead_ms: i64,
    /// Whether this device is enrolled there.
    pub enrolled: bool,
    /// The server's program version.
    pub software: String,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The device's certificate or key is unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No connection.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Connected, but what came is no answer.
    #[error("the server connected but did not answer")]
    NoAnswer,
}

/// Connects, reads the server's answer, and leaves.
///
/// # Errors
/// When there is no connection or no answer.
pub async fn probe(net: &Net, link: &Link, env: &dyn Env) -> Result<Reached, ProbeError> {
    let tls = tls::mutual(&link.authority_pem, &link.certificate_pem, &link.key_pem)?;
    let (answer, round_trip, way, closed) = match net.reach(link.target(), &Configs::of(tls, PROBE_ALPN)?, false).await? {
        Connected::Quic(connection) => {
            let answer = async {
                let mut stream = connection.accept_uni().await.ok()?;
                stream.read_to_end(PROBED_BYTES_MAX).await.ok()
            };
            let answer = tokio::time::timeout(ANSWER_MAX, answer).await.ok().flatten();
            let (round_trip, closed) = (connection.rtt(), connection.close_reason());
            connection.close(quinn::VarInt::from_u32(0), b"");
            net.endpoint.wait_idle().await;
            (answer, round_trip, LinkWay::Quic, closed)
        }
        Connected::Tcp { stream, round_trip } => {
            let mut bytes = Vec::new();
            let mut stream = stream.take(PROBED_BYTES_MAX as u64);
            let is_read = matches!(tokio::time::timeout(ANSWER_MAX, stream.read_to_end(&mut bytes)).await, Ok(Ok(_)));
            (is_read.then_some(bytes), round_trip, LinkWay::Tcp, None)
        }
    };
    let now_ms = env.unix_ms();
    let Some(Probed { unix_ms, enrolled, software }) = answer.and_then(|bytes| minicbor::decode(&bytes).ok()) else {
        // With TLS 1.3 a server turns a certificate away after the device took itself for connected.
        return Err(closed.map_or(ProbeError::NoAnswer, |reason| NetError::Lost(reason).into()));
    };
    let server_ms = i128::from(unix_ms) + (round_trip / 2).as_millis().cast_signed();
    let clock_ahead_ms = i64::try_from(i128::from(now_ms) - server_ms).unwrap_or(i64::MAX);
    Ok(Reached { round_trip, way, clock_ahead_ms, enrolled, software })
}
