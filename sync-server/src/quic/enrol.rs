//! One enrolling connection: a code and a signing request in, a certificate or a sentence out.

use domain::ids::DeviceId;
use quinn::{Connection, VarInt};
use sync_proto::enrolment::{Answer, Grant, MESSAGE_BYTES_MAX, Request};
use sync_proto::env::random;

use super::Quic;
use crate::authority::Authority;
use crate::region::{DeskError, Region};

/// How long an enrolling device may take.
const ENROL_MAX: std::time::Duration = std::time::Duration::from_secs(10);

pub(super) async fn serve(quic: &Quic, connection: &Connection) {
    let exchanged = tokio::time::timeout(ENROL_MAX, exchange(quic, connection)).await;
    if !matches!(exchanged, Ok(Some(()))) {
        tracing::info!(from = %connection.remote_address(), "an enrolment broke off");
    }
    connection.close(VarInt::from_u32(0), b"");
}

async fn exchange(quic: &Quic, connection: &Connection) -> Option<()> {
    let (mut out, mut inward) = connection.accept_bi().await.ok()?;
    let bytes = inward.read_to_end(MESSAGE_BYTES_MAX).await.ok()?;
    let answer = match minicbor::decode::<Request>(&bytes) {
        Ok(request) => admit(quic, request).await,
        Err(_) => Answer::Denied("the request does not decode: is the till's program as new as the server's?".to_owned()),
    };
    match &answer {
        Answer::Granted(grant) => {
            tracing::info!(event = "enrolled", device = %grant.device, name = grant.name, store = grant.store_code, "device enrolled");
        }
        Answer::Denied(why) => {
            tracing::warn!(event = "enrolment_denied", from = %connection.remote_address(), why, "an enrolment was denied");
        }
    }
    quic.hub.metrics().enrolment(matches!(answer, Answer::Granted(_)));
    let bytes = minicbor::to_vec(&answer).ok()?;
    out.write_all(&bytes).await.ok()?;
    out.finish().ok()?;
    // The device closes when it has read the answer.
    connection.closed().await;
    Some(())
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
