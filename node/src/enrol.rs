//! How a device is admitted: it makes its key, shows the one-time code of an enrolment link, and keeps what the server grants.

use std::path::Path;
use std::time::Duration;

use minicbor::bytes::ByteVec;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use sync_proto::enrolment::{ALPN, Answer, Grant, Link, MESSAGE_BYTES_MAX, Request, SERVER_NAME};
use sync_proto::env::Env;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::identity::{Granted, Identity, IdentityError};
use crate::replication::net::{Net, NetError};
use crate::replication::reach::{Configs, Connected, Target};
use crate::replication::tls::{self, TlsError};

/// How long the server may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Why the device was not admitted. The data folder is as it was.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The server cannot be reached, or is not the one that the link names.
    #[error(
        "cannot reach the sync server at {address}: check that it runs, that the link is not from another server, and that UDP or TCP passes"
    )]
    Unreachable {
        /// The address in the link.
        address: String,
        /// Why.
        #[source]
        source: NetError,
    },
    /// The server says no, in its own words.
    #[error("the sync server did not admit this device: {0}")]
    Denied(String),
    /// The connection broke off, or the answer makes no sense.
    #[error("the sync server at {0} broke off: try again with the same link, or ask for a new one")]
    BrokeOff(String),
    /// The key or the request could not be made.
    #[error("cannot make a key for this device")]
    Key(#[source] rcgen::Error),
    /// TLS does not take the link's fingerprint.
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
    /// The data folder cannot take the identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Enrols the device of a data folder with a link from the manager.
///
/// # Errors
/// A folder that is enrolled already, a server that cannot be reached or says no, or a disk that refuses.
pub async fn enrol(folder: &Path, link: &Link, env: &dyn Env) -> Result<Identity, EnrolError> {
    if crate::identity::is_enrolled(folder) {
        return Err(IdentityError::AlreadyEnrolled(folder.to_owned()).into());
    }
    // Before the link is used up.
    crate::identity::check_folder(folder)?;
    let key = KeyPair::generate_for(&PKCS_ED25519).map_err(EnrolError::Key)?;
    let request = CertificateParams::default().serialize_request(&key).map_err(EnrolError::Key)?;
    let request = Request { code: link.code.clone(), signing_request: ByteVec::from(request.der().to_vec()) };
    let grant = match ask(link, &request).await? {
        Answer::Granted(grant) => *grant,
        Answer::Denied(why) => return Err(EnrolError::Denied(why)),
    };
    Ok(Identity::create(folder, granted(grant, link, &key), env)?)
}

async fn ask(link: &Link, request: &Request) -> Result<Answer, EnrolError> {
    let unreachable = |source| EnrolError::Unreachable { address: link.address.clone(), source };
    let net = Net::machine().map_err(unreachable)?;
    let configs = Configs::of(tls::pinned(link.authority)?, ALPN)?;
    let target = Target { address: &link.address, tcp_address: &link.address, server_name: SERVER_NAME };
    let connected = net.reach(target, &configs, false).await.map_err(unreachable)?;
    let answer = tokio::time::timeout(ANSWER_MAX, exchange(connected, request)).await.ok().flatten();
    net.endpoint.wait_idle().await;
    answer.and_then(|bytes| minicbor::decode(&bytes).ok()).ok_or_else(|| EnrolError::BrokeOff(link.address.clone()))
}

/// Sends the request and reads what it is answered with.
async fn exchange(connected: Connected, request: &Request) -> Option<Vec<u8>> {
    let request = minicbor::to_vec(request).ok()?;
    match connected {
        Connected::Quic(connection) => {
            let exchanged = async {
                let (mut out, mut inward) = connection.open_bi().await.ok()?;
                out.write_all(&request).await.ok()?;
                out.finish().ok()?;
                inward.read_to_end(MESSAGE_BYTES_MAX).await.ok()
            };
            let answer = exchanged.await;
            connection.close(quinn::VarInt::from_u32(0), b"");
            answer
        }
        Connected::Tcp { mut stream, .. } => {
            stream.write_all(&request).await.ok()?;
            // The end of what is asked; the answer comes the other way.
            stream.shutdown().await.ok()?;
            let mut answer = Vec::new();
            stream.take(MESSAGE_BYTES_MAX as u64).read_to_end(&mut answer).await.ok()?;
            Some(answer)
        }
    }
}

fn granted(grant: Grant, link: &Link, key: &KeyPair) -> Granted {
    Granted {
        device: grant.device,
        store: grant.store,
        store_code: grant.store_code,
        number: grant.number,
        name: grant.name,
        region_address: link.address.clone(),
        server_name: SERVER_NAME.to_owned(),
        device_cert_pem: grant.certificate,
        authority_cert_pem: grant.authority,
        key_pem: key.serialize_pem(),
        server_device: *grant.server.as_bytes(),
        server_public_key: grant.server_public_key,
    }
}
