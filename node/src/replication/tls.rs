//! Whom a device trusts: the authority of its region and nobody else.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};

/// Why TLS was not set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key of the data folder does not read.
    #[error("a certificate or key of this device does not read: the device folder is damaged, enrol the device again")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// rustls does not take it.
    #[error("TLS does not take this device's certificate")]
    Rustls(#[from] rustls::Error),
    /// rustls does not take the authority.
    #[error("TLS does not take the authority's certificate")]
    Authority(#[from] VerifierBuilderError),
    /// The configuration does not suit QUIC.
    #[error("TLS does not suit QUIC")]
    Quic(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Trusts the server whose authority has this fingerprint, without a certificate of one's own: for enrolment.
///
/// # Errors
/// When rustls refuses.
pub fn pinned(authority: [u8; 32]) -> Result<ClientConfig, TlsError> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Verifier::new(Trust::Fingerprint(authority)))
        .with_no_client_auth())
}

/// Trusts the server of the region's authority, and shows the device's own certificate: for replication.
///
/// # Errors
/// Certificates or a key that do not read or fit.
pub fn mutual(authority_pem: &str, certificate_pem: &str, key_pem: &str) -> Result<ClientConfig, TlsError> {
    let (roots, certificate, key) = of_device(authority_pem, certificate_pem, key_pem)?;
    Ok(ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)?)
}

/// Trusts every device of the region's authority, whatever its address, and shows the device's own certificate: to connect to a peer, of whom the
/// caller then asks which device it is.
///
/// # Errors
/// Certificates or a key that do not read or fit.
pub fn to_peer(authority_pem: &str, certificate_pem: &str, key_pem: &str) -> Result<ClientConfig, TlsError> {
    let (roots, certificate, key) = of_device(authority_pem, certificate_pem, key_pem)?;
    Ok(ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Verifier::new(Trust::AnyName(roots)))
        .with_client_auth_cert(vec![certificate], key)?)
}

/// What [`to_peer`] does, for the peer that is connected to.
///
/// # Errors
/// Certificates or a key that do not read or fit.
pub fn from_peer(authority_pem: &str, certificate_pem: &str, key_pem: &str) -> Result<ServerConfig, TlsError> {
    let (roots, certificate, key) = of_device(authority_pem, certificate_pem, key_pem)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
    Ok(ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)?)
}

type OfDevice = (RootCertStore, CertificateDer<'static>, PrivateKeyDer<'static>);

fn of_device(authority_pem: &str, certificate_pem: &str, key_pem: &str) -> Result<OfDevice, TlsError> {
    let authority = CertificateDer::from_pem_slice(authority_pem.as_bytes()).map_err(TlsError::Pem)?;
    let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(TlsError::Pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(TlsError::Pem)?;
    let mut roots = RootCertStore::empty();
    roots.add(authority)?;
    Ok((roots, certificate, key))
}

/// Whose certificates are accepted, by what a device knows of its authority.
#[derive(Debug)]
enum Trust {
    /// A server whose chain ends in the authority of this fingerprint.
    Fingerprint([u8; 32]),
    /// Whatever the authority has signed for a server, under any name.
    AnyName(RootCertStore),
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(trust: Trust) -> Arc<Self> {
        Arc::new(Self { trust, provider: provider() })
    }
}

fn has_fingerprint(certificate: &CertificateDer<'_>, authority: &[u8; 32]) -> bool {
    use x509_parser::prelude::{FromDer, X509Certificate};
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, parsed)| <[u8; 32]>::from(Sha256::digest(parsed.public_key().raw)) == *authority)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            Trust::Fingerprint(fingerprint) => {
                let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
                let authority = intermediates.iter().find(|c| has_fingerprint(c, fingerprint)).ok_or_else(unknown)?;
                let mut roots = RootCertStore::empty();
                roots.add(authority.clone().into_owned())?;
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
                    .build()
                    .map_err(|_| unknown())?
                    .verify_server_cert(end_entity, &[], server_name, ocsp, now)
            }
            Trust::AnyName(roots) => {
                let certificate = ParsedCertificate::try_from(end_entity)?;
                let algorithms = self.provider.signature_verification_algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
                Ok(ServerCertVerified::assertion())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
