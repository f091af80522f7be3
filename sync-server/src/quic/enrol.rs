//! One enrolling connection: a code and a signing request in, a certificate or a sentence out.

use std::net::SocketAddr;

use domain::ids::DeviceId;
use quinn::{Connection, VarInt};
use sync_proto::enrolment::{Answer, Grant, MESSAGE_BYTES_MAX, Request};
use sync_proto::env::random;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::server::TlsStream;

use super::Quic;
use super::tcp::ByteStream;
use crate::authority::Authority;
use crate::region::{DeskError, Region};

/// How long an enrolling device may take.
const ENROL_MAX: std::time::Duration = std::time::Duration::from_secs(10);

pub(super) async fn serve(quic: &Quic, connection: &Connection) {
    let from = connection.remote_address();
    let exchange = async {
        let (mut out, mut inward) = connection.accept_bi().await.ok()?;
        let bytes = inward.read_to_end(MESSAGE_BYTES_MAX).await.ok()?;
        out.write_all(&answer(quic, &bytes, from).await?).await.ok()?;
        out.finish().ok()?;
        // The device closes when it has read the answer.
        connection.closed().await;
        Some(())
    };
    in_time(quic, exchange, from).await;
    connection.close(VarInt::from_u32(0), b"");
}

/// The same on one TLS stream: the device ends its direction after the request.
pub(super) async fn serve_tcp(quic: &Quic, stream: &mut TlsStream<Box<dyn ByteStream>>, from: SocketAddr) {
    let exchange = async {
        let mut bytes = Vec::new();
        (&mut *stream).take(MESSAGE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).await.ok()?;
        let answer = answer(quic, &bytes, from).await?;
        stream.write_all(&answer).await.ok()?;
        stream.flush().await.ok()
    };
    in_time(quic, exchange, from).await;
}

async fn in_time(quic: &Quic, exchange: impl Future<Output = Option<()>>, from: SocketAddr) {
    let Ok(_turn) = quic.enrolling.try_acquire() else {
        return tracing::warn!(%from, "too many enrol at once: one was turned away");
    };
    if !matches!(tokio::time::timeout(ENROL_MAX, exchange).await, Ok(Some(()))) {
        tracing::info!(%from, "an enrolment broke off");
    }
}

/// What a request is answered with; nothing when it is too long to be one.
async fn answer(quic: &Quic, bytes: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return None;
    }
    let answer = match minicbor::decode::<Request>(bytes) {
        Ok(request) => admit(quic, request).await,
        Err(_) => Answer::Denied("the request does not decode: is the till's program as new as the server's?".to_owned()),
    };
    match &answer {
        Answer::Granted(grant) => {
            tracing::info!(event = "enrolled", device = %grant.device, name = grant.name, store = grant.store_code, "device enrolled");
        }
        Answer::Denied(why) => tracing::warn!(event = "enrolment_denied", %from, why, "an enrolment was denied"),
    }
    quic.hub.metrics().enrolment(matches!(answer, Answer::Granted(_)));
    minicbor::to_vec(&answer).ok()
}

async fn admit(quic: &Quic, request: Request) -> Answer {
    let key = match Authority::requested_key(&request.signing_request) {
        Ok(key) => key,
        Err(error) => return Answer::Denied(error.to_string()),
    };
    let (authority, now_ms) = (quic.authority.clone(), quic.env.unix_ms());
    let device = DeviceId::new(now_ms, random(&*quic.env));
    let granted = quic.hub.with(move |region| grant(region, &authority, &request, key, device, now_ms)).await;
    match granted {
        Ok(Ok(grant)) => Answer::Granted(Box::new(grant)),
        Ok(Err(error)) => Answer::Denied(error.to_string()),
        Err(error) => Answer::Denied(error.to_string()),
    }
}

fn grant(
    region: &mut Region,
    authority: &Authority,
    request: &Request,
    key: [u8; 32],
    device: DeviceId,
    now_ms: u64,
) -> Result<Grant, DeskError> {
    let enrolment = region.redeem(&request.code, device, key, now_ms)?;
    let store = enrolment.store.ok_or(DeskError::WrongCode)?;
    let store_code = region.store_code(store)?;
    let certificate = authority.sign_device(&request.signing_request, device, store).map_err(|_| DeskError::WrongCode)?;
    Ok(Grant {
        device,
        store,
        store_code,
        number: enrolment.number,
        name: enrolment.name,
        certificate,
        authority: authority.certificate_pem().to_owned(),
        server: DeviceId(uuid::Uuid::from_bytes(region.own().device)),
        server_public_key: authority.seal_key().verifying_key().to_bytes(),
    })
}
