//! The region's certificate authority and the server's own key and certificate.
//!
//! ```text
//! DATA/authority.key  authority.crt   the authority that devices pin by the hash of its public key
//! DATA/server.key     server.crt      what this server shows, and the key that seals its entries
//! ```
//!
//! All keys are Ed25519. Certificates carry no name of a person; a device's carries its id as a URI. They are valid for years, because
//! selling never depends on them and a device's clock may lie: what ends a device's access is the device table, at the next connection.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::ids::{DeviceId, StoreId};
use ed25519_dalek::pkcs8::DecodePrivateKey;
use journal::SigningKey;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, SanType,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};
use sync_proto::enrolment::{Certified, CertifiedServer, SERVER_NAME};

/// A moment within the life of every certificate that an authority of ours signs: 2024-01-01.
const SIGNED_IN: Duration = Duration::from_secs(1_704_067_200);

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read or written.
    #[error("cannot use {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key or certificate that cannot be made or read.
    #[error("cannot make or read a certificate")]
    Certificate(#[source] rcgen::Error),
    /// There is another authority in the data folder already.
    #[error("{} holds another authority already: the server that is to share one with others begins with an empty data folder", .0.display())]
    Other(PathBuf),
    /// A key of a region that has a log is gone.
    #[error("{} is missing: put it back from a backup, because with a new one every till would be locked out", .0.display())]
    Missing(PathBuf),
    /// A file that holds no key or certificate.
    #[error("{} does not hold what it should", .0.display())]
    Content(PathBuf),
}

/// Why a signing request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not a signing request, or its signature does not prove the key.
    #[error("the signing request does not verify: try again with the same link")]
    Malformed,
    /// Another kind of key.
    #[error("the key in the signing request is no Ed25519 key: is the till's program as new as the server's?")]
    KeyKind,
}

/// The region's authority, and the server's own identity under it.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    server_key_pem: String,
    server_certificate: CertificateDer<'static>,
    seal_key: SigningKey,
}

impl Authority {
    /// Checks that a folder whose region has a log has its keys too, before [`Authority::open`] would make new ones.
    ///
    /// # Errors
    /// The first key that is missing.
    pub fn check_keys(data: &Path) -> Result<(), AuthorityError> {
        let missing = ["authority.key", "server.key"].map(|name| data.join(name)).into_iter().find(|path| !path.exists());
        missing.map_or(Ok(()), |path| Err(AuthorityError::Missing(path)))
    }

    /// Copies the authority of another server's data folder, or of a backup of it, into one that has none: then the two are servers of one shop, and
    /// devices that one of them enrolled are devices of the other. Where it is there already, nothing is done.
    ///
    /// # Errors
    /// A folder without an authority, a data folder with another one, or files that cannot be read or written.
    pub fn adopt(from: &Path, data: &Path) -> Result<(), AuthorityError> {
        for name in ["authority.key", "authority.crt"] {
            let (source, target) = (from.join(name), data.join(name));
            let text = std::fs::read_to_string(&source).map_err(|e| AuthorityError::File { path: source, source: e })?;
            if pem(&target, || Ok(text.clone()))? != text {
                return Err(AuthorityError::Other(target));
            }
        }
        Ok(())
    }

    /// Opens the authority in a data folder, making what is not there.
    ///
    /// # Errors
    /// Files that cannot be read, written or understood.
    pub fn open(data: &Path) -> Result<Self, AuthorityError> {
        let key = key_pair(&data.join("authority.key"))?;
        let certificate_pem = pem(&data.join("authority.crt"), || {
            let mut params = params("Evertill authority");
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
            params.self_signed(&key).map(|c| c.pem())
        })?;
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key).map_err(AuthorityError::Certificate)?;
        let server_key_path = data.join("server.key");
        let server_key = key_pair(&server_key_path)?;
        let server_certificate_path = data.join("server.crt");
        let server_certificate_pem = pem(&server_certificate_path, || {
            let mut params = params(SERVER_NAME);
            params.subject_alt_names = vec![SanType::DnsName(SERVER_NAME.try_into()?)];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.signed_by(&server_key, &issuer).map(|c| c.pem())
        })?;
        let server_key_pem = server_key.serialize_pem();
        let seal_key = SigningKey::from_pkcs8_pem(&server_key_pem).map_err(|_| AuthorityError::Content(server_key_path))?;
        Ok(Self {
            certificate: certificate(&certificate_pem, &data.join("authority.crt"))?,
            server_certificate: certificate(&server_certificate_pem, &server_certificate_path)?,
            issuer,
            certificate_pem,
            server_key_pem,
            seal_key,
        })
    }

    /// SHA-256 of the authority's public key (SubjectPublicKeyInfo), which enrolment links carry.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(self.issuer.key())).into()
    }

    /// The key that seals this server's entries.
    pub fn seal_key(&self) -> &SigningKey {
        &self.seal_key
    }

    /// The server's device id, which follows from its key: a server that lost its log is still the one that its devices know.
    pub fn server_device(&self) -> DeviceId {
        CertifiedServer::of_key(self.seal_key.verifying_key().to_bytes()).device
    }

    /// The server's own certificate.
    pub fn server_certificate(&self) -> &CertificateDer<'static> {
        &self.server_certificate
    }

    /// The server that this authority has signed a certificate for; none for anything else, be it a device's certificate.
    pub fn server_of(&self, certificate: &[u8]) -> Option<CertifiedServer> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate()).ok()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
        let certificate = CertificateDer::from(certificate);
        let name = ServerName::try_from(SERVER_NAME).ok()?;
        // The name sets it apart from a device, whose certificate has none. Certificates of this authority are valid until 2099, and no clock is asked.
        verifier.verify_server_cert(&certificate, &[], &name, &[], UnixTime::since_unix_epoch(SIGNED_IN)).ok()?;
        CertifiedServer::of(&certificate)
    }

    /// A secret of this server for one purpose, the same as long as its key is.
    pub fn derive(&self, purpose: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(purpose).chain_update(self.seal_key.to_bytes()).finalize().into()
    }

    /// The authority's certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The authority's certificate, as TLS wants it.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// The server's certificate chain and key, as TLS wants them.
    ///
    /// # Panics
    /// Never: the key was made or read when the authority was opened.
    pub fn server_identity(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = PrivateKeyDer::from_pem_slice(self.server_key_pem.as_bytes()).expect("read when it was opened");
        (vec![self.server_certificate.clone(), self.certificate.clone()], key)
    }

    /// The Ed25519 public key that a signing request proves to hold.
    ///
    /// # Errors
    /// A request that does not verify, or another kind of key.
    pub fn requested_key(request: &[u8]) -> Result<[u8; 32], RequestError> {
        let request = parse(request)?;
        rcgen::PublicKeyData::der_bytes(&request.public_key).try_into().map_err(|_| RequestError::KeyKind)
    }

    /// The certificate, as PEM, of a device whose request was checked with [`Authority::requested_key`]. What the request asks for beside the key is ignored.
    ///
    /// # Errors
    /// A request that does not verify.
    pub fn sign_device(&self, request: &[u8], device: DeviceId, store: StoreId) -> Result<String, RequestError> {
        let mut request = parse(request)?;
        let mut params = params("Evertill device");
        let uri = Certified::uri(device, store).try_into().map_err(|_| RequestError::Malformed)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        request.params = params;
        request.signed_by(&self.issuer).map(|c| c.pem()).map_err(|_| RequestError::Malformed)
    }
}

fn parse(request: &[u8]) -> Result<CertificateSigningRequestParams, RequestError> {
    let der = CertificateSigningRequestDer::from(request);
    CertificateSigningRequestParams::from_der(&der).map_err(|_| RequestError::Malformed)
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2099, 12, 31);
    params
}

fn certificate(pem: &str, path: &Path) -> Result<CertificateDer<'static>, AuthorityError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| AuthorityError::Content(path.to_owned()))
}

fn key_pair(path: &Path) -> Result<KeyPair, AuthorityError> {
    let text = pem(path, || KeyPair::generate_for(&PKCS_ED25519).map(|k| k.serialize_pem()))?;
    KeyPair::from_pem(&text).map_err(|_| AuthorityError::Content(path.to_owned()))
}

/// Reads a file, or makes it with what `make` gives, readable by nobody else.
fn pem(path: &Path, make: impl FnOnce() -> Result<String, rcgen::Error>) -> Result<String, AuthorityError> {
    let file_error = |source| AuthorityError::File { path: path.to_owned(), source };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let text = make().map_err(AuthorityError::Certificate)?;
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(file_error)?;
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(file_error)?;
            Ok(text)
        }
        Err(e) => Err(file_error(e)),
    }
}
