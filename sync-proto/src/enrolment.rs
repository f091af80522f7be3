//! How a new device is admitted.
//!
//! A manager asks the server for a one-time code and hands the device a **link**: the server's address, the code, and the fingerprint of
//! the server's authority, so that the device trusts nobody else from the first byte on. The device makes its key, connects with the
//! protocol [`ALPN`], checks the server's certificate against the fingerprint, and sends the code with a signing request; the server
//! answers with a certificate and what the device needs to know, or with a sentence that says why not.

use std::fmt;
use std::str::FromStr;

use domain::ids::{DeviceId, StoreId};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

/// The TLS protocol name of enrolment.
pub const ALPN: &[u8] = b"evertill-enrol/1";
/// The TLS protocol name of replication.
pub const REPLICATION_ALPN: &[u8] = b"evertill/1";
/// The TLS protocol name of replication between the tills of a store.
pub const PEER_ALPN: &[u8] = b"evertill-peer/1";
/// The name in a server's certificate.
pub const SERVER_NAME: &str = "evertill-sync-server";
/// How many letters and digits a code has.
pub const CODE_LETTERS: usize = 10;
/// How long a code is good for, in milliseconds.
pub const CODE_LIFE_MS: u64 = 15 * 60 * 1000;
/// How many wrong tries a pending code survives.
pub const CODE_TRIES_MAX: u32 = 5;
/// Largest request or answer in bytes.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Crockford's alphabet: no I, L, O, U, which people misread.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What an authority says of a device in its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certified {
    /// Its id.
    pub device: DeviceId,
    /// The store that it works for.
    pub store: StoreId,
    /// Its Ed25519 public key.
    pub public_key: [u8; 32],
}

impl Certified {
    /// The URI that says it.
    pub fn uri(device: DeviceId, store: StoreId) -> String {
        format!("spiffe://evertill/store/{store}/device/{device}")
    }

    /// What a certificate says, in DER, whose signature TLS has verified; none when it is no device's.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let names = parsed.subject_alternative_name().ok()??;
        let (store, device) = names.value.general_names.iter().find_map(|name| match name {
            GeneralName::URI(uri) => uri.strip_prefix("spiffe://evertill/store/")?.split_once("/device/"),
            _ => None,
        })?;
        let public_key = parsed.public_key().subject_public_key.data.as_ref().try_into().ok()?;
        Some(Self { device: device.parse().ok()?, store: store.parse().ok()?, public_key })
    }
}

/// What an authority says of a server in its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertifiedServer {
    /// Its id, which follows from its key.
    pub device: DeviceId,
    /// Its Ed25519 public key: what TLS and its seals are checked with.
    pub public_key: [u8; 32],
}

impl CertifiedServer {
    /// The server of a public key.
    pub fn of_key(public_key: [u8; 32]) -> Self {
        let hash: [u8; 32] = Sha256::new().chain_update(b"evertill/server/1").chain_update(public_key).finalize().into();
        let id = *hash.first_chunk().expect("a hash has 32 bytes");
        Self { device: DeviceId(uuid::Builder::from_custom_bytes(id).into_uuid()), public_key }
    }

    /// What a certificate says, in DER, whose signature was verified; none when it is no server's.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let names = parsed.subject_alternative_name().ok()??;
        let is_server = names.value.general_names.contains(&GeneralName::DNSName(SERVER_NAME));
        let public_key = parsed.public_key().subject_public_key.data.as_ref().try_into().ok()?;
        is_server.then(|| Self::of_key(public_key))
    }
}

/// A one-time code from random bytes: 50 bits.
pub fn code(random: [u8; CODE_LETTERS]) -> String {
    random.iter().map(|b| char::from(ALPHABET[usize::from(b & 31)])).collect()
}

/// Reads a code as a person may have typed it: lower case, spaces and dashes, O for 0, I or L for 1.
pub fn normalise_code(typed: &str) -> String {
    typed
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            c => c,
        })
        .collect()
}

/// Everything a new device needs, in one line: `evertill://HOST:PORT/CODE#FINGERPRINT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The server's host and UDP port.
    pub address: String,
    /// The one-time code.
    pub code: String,
    /// SHA-256 of the authority's public key (SubjectPublicKeyInfo).
    pub authority: [u8; 32],
}

/// A text that is no enrolment link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an enrolment link; it looks like evertill://HOST:PORT/CODE#FINGERPRINT and is copied whole from the manager page")]
pub struct LinkError;

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "evertill://{}/{}#", self.address, self.code)?;
        self.authority.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl FromStr for Link {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let rest = text.trim().strip_prefix("evertill://").ok_or(LinkError)?;
        let (address, rest) = rest.split_once('/').ok_or(LinkError)?;
        let (code, fingerprint) = rest.split_once('#').ok_or(LinkError)?;
        let code = normalise_code(code);
        let port_fits = address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        let code_fits = code.len() == CODE_LETTERS && code.bytes().all(|b| ALPHABET.contains(&b));
        if !port_fits || !code_fits || fingerprint.len() != 64 || !fingerprint.is_ascii() {
            return Err(LinkError);
        }
        let mut authority = [0; 32];
        for (byte, digits) in authority.iter_mut().zip(fingerprint.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| LinkError)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| LinkError)?;
        }
        Ok(Self { address: address.to_owned(), code, authority })
    }
}

/// What the device asks. One CBOR item on a stream of its own.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Request {
    /// The one-time code.
    #[n(0)]
    pub code: String,
    /// A PKCS#10 signing request of the device's Ed25519 key, DER.
    #[n(1)]
    pub signing_request: ByteVec,
}

/// What the server answers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// Admitted.
    #[n(0)]
    Granted(#[n(0)] Box<Grant>),
    /// Not admitted; the sentence says why and what to do.
    #[n(1)]
    Denied(#[n(0)] String),
}

/// What an admitted device needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Grant {
    /// Its id.
    #[n(0)]
    pub device: DeviceId,
    /// Its store.
    #[n(1)]
    pub store: StoreId,
    /// The store's code.
    #[n(2)]
    pub store_code: String,
    /// Its number in the store.
    #[n(3)]
    pub number: u32,
    /// The name people call it by.
    #[n(4)]
    pub name: String,
    /// Its certificate, PEM.
    #[n(5)]
    pub certificate: String,
    /// The authority's certificate, PEM.
    #[n(6)]
    pub authority: String,
    /// The server's device id.
    #[n(7)]
    pub server: DeviceId,
    /// The server's Ed25519 public key, which its seals are checked with.
    #[n(8)]
    #[cbor(with = "minicbor::bytes")]
    pub server_public_key: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_survives_being_copied() {
        let link =
            Link { address: "127.0.0.1:4710".into(), code: code([0, 31, 32, 7, 8, 9, 10, 11, 12, 255]), authority: [0xab; 32] };
        assert_eq!(link.code, "0Z0789ABCZ");
        assert_eq!(format!("  {link}\n").parse(), Ok(link.clone()));
        assert_eq!(link.to_string().replace("0Z0789ABCZ", "oz0-789 abcz").parse(), Ok(link));
    }

    #[test]
    fn what_is_no_link_is_refused() {
        for text in ["", "evertill://", "http://h:1/0Z0789ABCZ#00", "evertill://h/0Z0789ABCZ#00", "evertill://h:1/0Z0789ABC#00"] {
            assert_eq!(text.parse::<Link>(), Err(LinkError), "{text:?}");
        }
    }
}
