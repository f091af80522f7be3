//! One probing connection: the answer, and nothing else.

use std::time::Duration;

use quinn::{Connection, VarInt};
use sync_proto::probe::Probed;
use tokio::io::AsyncWriteExt;
use tokio_rustls::server::TlsStream;

use super::Quic;
use super::tcp::ByteStream;

/// How long a probe may take.
const PROBE_MAX: Duration = Duration::from_secs(5);

pub(super) async fn serve(quic: &Quic, connection: &Connection, enrolled: bool) {
    let answer = async {
        let mut out = connection.open_uni().await.ok()?;
        out.write_all(&probed(quic, enrolled)?).await.ok()?;
        out.finish().ok()?;
        // The device closes when it has read the answer.
        connection.closed().await;
        Some(())
    };
    let _ = tokio::time::timeout(PROBE_MAX, answer).await;
    connection.close(VarInt::from_u32(0), b"");
}

/// The same on one TLS stream.
pub(super) async fn serve_tcp(quic: &Quic, stream: &mut TlsStream<Box<dyn ByteStream>>, enrolled: bool) {
    let answer = async {
        stream.write_all(&probed(quic, enrolled)?).await.ok()?;
        stream.flush().await.ok()
    };
    let _ = tokio::time::timeout(PROBE_MAX, answer).await;
}

fn probed(quic: &Quic, enrolled: bool) -> Option<Vec<u8>> {
    let probed = Probed { unix_ms: quic.env.unix_ms(), enrolled, software: env!("CARGO_PKG_VERSION").to_owned() };
    minicbor::to_vec(&probed).ok()
}
