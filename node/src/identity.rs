//! Who this device is. It lives outside the replica, so that a backup or a clone of the replica never copies it.
//!
//! ```text
//! device/identity.json    what the server granted, and the incarnation
//! device/device.key       the device's Ed25519 key, PKCS#8 PEM         (secret)
//! device/device.crt       its certificate      device/authority.crt   who signs certificates
//! device/replica.key      the key of the database files, in hex        (secret)
//! device/high-water       the last own commit, receipt number and attempt to print
//! replica/                the database files
//! lock                    held while a program uses the folder
//! ```
//!
//! An **incarnation** is one writer lifetime of one replica file on one machine. When file, machine or high-water mark disagree with what is
//! written here, a fresh one is minted ([`Identity::settle`]), with the next letter in its receipt series: a restored till neither
//! continues a chain that others know further, nor prints a number twice.

mod files;
mod high_water;
mod look;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use domain::ids::{DeviceId, StoreId};
use ed25519_dalek::pkcs8::DecodePrivateKey;
use journal::{Origin, SigningKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sync_proto::env::{self, Env};

use crate::store::StoreKey;
use files::{Hex, io, lock, read_text, write_json};

pub use files::{read_secret, write_file};
pub use high_water::HighWater;
pub use look::Look;

/// What a server granted at enrolment.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The device's id.
    pub device: DeviceId,
    /// The store it works for.
    pub store: StoreId,
    /// That store's short code, such as `S01`.
    pub store_code: String,
    /// The till's number in the store, from 1.
    pub number: u32,
    /// The name people call it by.
    pub name: String,
    /// Where the regional server listens, `host:port`.
    pub region_address: String,
    /// The name in that server's certificate.
    pub server_name: String,
    /// The device's certificate.
    pub device_cert_pem: String,
    /// The certificate of who signs certificates.
    pub authority_cert_pem: String,
    /// The device's Ed25519 key, PKCS#8.
    pub key_pem: String,
    /// The regional server's device id.
    pub server_device: [u8; 16],
    /// What that server's seals are checked with.
    pub server_public_key: [u8; 32],
}

/// Why an identity could not be made, read or kept.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The folder belongs to a device already.
    #[error("{0} belongs to an enrolled device already; use another folder, or remove this one if nothing in it is needed")]
    AlreadyEnrolled(PathBuf),
    /// Nothing was enrolled here.
    #[error("{0} is not enrolled yet: run `evertill-node --data {0} enrol LINK` with a link from the manager")]
    NotEnrolled(PathBuf),
    /// Another program uses the folder.
    #[error("{0} is in use by another evertill-node or window: stop that one first")]
    InUse(PathBuf),
    /// Started by another user than the one whose till it is: files would be left that the other cannot write.
    #[error("{folder} belongs to user {owner} of this machine, and this is user {own}: run it as that user, with `sudo -u`")]
    NotOurs {
        /// The data folder.
        folder: PathBuf,
        /// The number of the user that it belongs to.
        owner: u32,
        /// The number of this user.
        own: u32,
    },
    /// A secret that others may read.
    #[error("{0} can be read by other users of this machine: run `chmod 600` on it, and consider the key known to them")]
    Readable(PathBuf),
    /// A file that makes no sense.
    #[error("{path} makes no sense: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file could not be read or written.
    #[error("{path} could not be {done}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, such as "read".
        done: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Who this device is.
#[derive(Debug)]
pub struct Identity {
    folder: PathBuf,
    file: IdentityFile,
    key: SigningKey,
    replica_key: StoreKey,
    high_water: HighWater,
    high_water_file: File,
    _lock: File,
}

/// Checks, without writing anything, that a folder can become a device.
///
/// # Errors
/// A folder of another user, or one that cannot be written.
pub fn check_folder(folder: &Path) -> Result<(), IdentityError> {
    check_owner(folder)?;
    for part in [folder.to_owned(), folder.join("device"), folder.join("replica")] {
        let there = part.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
        if !operations::machine::may_write(there) {
            let source = std::io::ErrorKind::PermissionDenied.into();
            return Err(IdentityError::Io { path: there.to_owned(), done: "written", source });
        }
    }
    Ok(())
}

/// Whether a data folder, if it is there, belongs to the user who runs this.
fn check_owner(folder: &Path) -> Result<(), IdentityError> {
    let Ok(facts) = fs::metadata(folder) else { return Ok(()) };
    let (owner, own) = operations::machine::owner_and_self(&facts);
    if owner == own { Ok(()) } else { Err(IdentityError::NotOurs { folder: folder.to_owned(), owner, own }) }
}

/// What `identity.json` holds. What a newer program added survives being written by this one.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct IdentityFile {
    device: DeviceId,
    store: StoreId,
    store_code: String,
    number: u32,
    name: String,
    region_address: String,
    server_name: String,
    server_device: Hex<16>,
    server_public_key: Hex<32>,
    incarnation: Hex<16>,
    incarnation_tag: String,
    db_uuid: Option<Hex<16>>,
    machine: Option<String>,
    #[serde(flatten)]
    added_later: serde_json::Map<String, serde_json::Value>,
}

impl IdentityFile {
    fn series(&self) -> String {
        format!("{}-T{:02}{}", self.store_code, self.number, self.incarnation_tag)
    }
}

impl Identity {
    /// Writes the identity of a device that was just admitted into a folder.
    ///
    /// # Errors
    /// A folder that is enrolled or in use, a key that is none, or files that cannot be written.
    pub fn create(folder: &Path, granted: Granted, env: &dyn Env) -> Result<Self, IdentityError> {
        check_folder(folder)?;
        let device = folder.join("device");
        for dir in [&device, &folder.join("replica")] {
            fs::create_dir_all(dir).map_err(io(dir, "created"))?;
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(io(dir, "protected"))?;
        }
        let lock = lock(folder)?;
        if is_enrolled(folder) {
            return Err(IdentityError::AlreadyEnrolled(folder.to_owned()));
        }
        let replica_key: StoreKey = env::random(env);
        write_file(&device.join("device.key"), granted.key_pem.as_bytes())?;
        write_file(&device.join("replica.key"), Hex(replica_key).to_string().as_bytes())?;
        write_file(&device.join("device.crt"), granted.device_cert_pem.as_bytes())?;
        write_file(&device.join("authority.crt"), granted.authority_cert_pem.as_bytes())?;
        read_signing_key(&device)?;
        let file = IdentityFile {
            device: granted.device,
            store: granted.store,
            store_code: granted.store_code,
            number: granted.number,
            name: granted.name,
            region_address: granted.region_address,
            server_name: granted.server_name,
            server_device: Hex(granted.server_device),
            server_public_key: Hex(granted.server_public_key),
            incarnation: Hex(env::random(env)),
            incarnation_tag: "a".to_owned(),
            db_uuid: None,
            machine: None,
            added_later: serde_json::Map::new(),
        };
        // Last, because its presence is what says that the folder is enrolled.
        write_json(&device.join("identity.json"), &file)?;
        Self::read(folder, lock)
    }

    /// Reads the identity of a folder and takes the folder for this program.
    ///
    /// # Errors
    /// A folder that is not enrolled or is in use, a secret that others may read, or a file that makes no sense.
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        if !is_enrolled(folder) {
            return Err(IdentityError::NotEnrolled(folder.to_owned()));
        }
        check_owner(folder)?;
        Self::read(folder, lock(folder)?)
    }

    fn read(folder: &Path, lock: File) -> Result<Self, IdentityError> {
        let device = folder.join("device");
        let path = device.join("identity.json");
        let file: IdentityFile = serde_json::from_str(&read_text(&path)?)
            .map_err(|e| IdentityError::Damaged { path: path.clone(), why: e.to_string() })?;
        let high_water_path = device.join("high-water");
        let mut high_water_file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&high_water_path)
            .map_err(io(&high_water_path, "opened"))?;
        let high_water = HighWater::read(&mut high_water_file, file.incarnation);
        Ok(Self {
            key: read_signing_key(&device)?,
            replica_key: read_replica_key(&device)?,
            folder: folder.to_owned(),
            file,
            high_water,
            high_water_file,
            _lock: lock,
        })
    }

    /// The data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The device's id.
    pub fn device(&self) -> DeviceId {
        self.file.device
    }

    /// The store it works for.
    pub fn store(&self) -> StoreId {
        self.file.store
    }

    /// The name people call it by, as granted.
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// The device and its incarnation.
    pub fn origin(&self) -> Origin {
        Origin { device: *self.file.device.as_bytes(), incarnation: self.file.incarnation.0 }
    }

    /// The receipt series of this incarnation, such as `S01-T03b`.
    pub fn series(&self) -> String {
        self.file.series()
    }

    /// Where the regional server listens, `host:port`.
    pub fn region_address(&self) -> &str {
        &self.file.region_address
    }

    /// The name in that server's certificate.
    pub fn server_name(&self) -> &str {
        &self.file.server_name
    }

    /// That server's device id.
    pub fn server_device(&self) -> [u8; 16] {
        self.file.server_device.0
    }

    /// What that server's seals are checked with.
    pub fn server_public_key(&self) -> [u8; 32] {
        self.file.server_public_key.0
    }

    /// What own commits are sealed with.
    pub fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// The key of the database files.
    pub fn replica_key(&self) -> &StoreKey {
        &self.replica_key
    }

    /// The device's key as PKCS#8 PEM, for TLS.
    ///
    /// # Errors
    /// A file that cannot be read, or that others may read.
    pub fn key_pem(&self) -> Result<String, IdentityError> {
        read_secret(&self.folder.join("device/device.key"))
    }

    /// The device's certificate as PEM.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn device_cert_pem(&self) -> Result<String, IdentityError> {
        read_text(&self.folder.join("device/device.crt"))
    }

    /// The certificate of who signs certificates, as PEM.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn authority_cert_pem(&self) -> Result<String, IdentityError> {
        read_text(&self.folder.join("device/authority.crt"))
    }

    /// Settles which incarnation writes into the replica file `db_uuid`, in which this incarnation's last own commit is `commit`.
    /// Answers why a fresh one was minted, if it was.
    ///
    /// `machine` is what identifies this machine, when that is known.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn settle(
        &mut self,
        db_uuid: [u8; 16],
        commit: u64,
        machine: Option<String>,
        env: &dyn Env,
    ) -> Result<Option<&'static str>, IdentityError> {
        let moved = matches!((&self.file.machine, &machine), (Some(was), Some(is)) if was != is);
        let why = match self.file.db_uuid {
            Some(Hex(known)) if known != db_uuid => Some("the replica file is another one"),
            _ if moved => Some("the machine is another one"),
            _ if commit < self.high_water.commit => Some("the replica file is older than what this till has written"),
            _ => None,
        };
        if why.is_some() {
            self.renew(env);
        } else if self.file.db_uuid.is_some() && self.file.machine.is_some() {
            return Ok(None);
        }
        self.file.db_uuid = Some(Hex(db_uuid));
        self.file.machine = machine.or(self.file.machine.take());
        self.save()?;
        Ok(why)
    }

    /// Mints a fresh incarnation, because others know this one's chain further than it is here.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn mint(&mut self, env: &dyn Env) -> Result<(), IdentityError> {
        let (file, high_water) = (self.file.clone(), std::mem::take(&mut self.high_water));
        self.renew(env);
        let saved = self.save();
        if saved.is_err() {
            // Receipts must not bear a series that nobody has written down.
            (self.file, self.high_water) = (file, high_water);
        }
        saved
    }

    fn renew(&mut self, env: &dyn Env) {
        self.file.incarnation = Hex(env::random(env));
        self.file.incarnation_tag = next_tag(&self.file.incarnation_tag);
        self.high_water = HighWater::default();
    }

    fn save(&self) -> Result<(), IdentityError> {
        write_json(&self.folder.join("device/identity.json"), &self.file)
    }

    /// The last own commit, receipt number and attempt to print of this incarnation, as far as was noted.
    pub fn high_water(&self) -> HighWater {
        self.high_water
    }

    /// Notes how far this incarnation has come. Called after the commit, so the mark never claims what is not on disk; it is not
    /// pushed to the disk each time, so after a power cut it may claim too little, and then so does the replica's own log not.
    pub fn note_high_water(&mut self, mark: HighWater) {
        self.high_water = self.high_water.max(mark);
        self.write_high_water();
    }

    /// Attempts to print are counted from here on: what the replica has lost of them was doubted.
    pub fn set_back_attempt(&mut self, attempt: u64) {
        self.high_water.attempt = attempt;
        self.write_high_water();
    }

    fn write_high_water(&mut self) {
        if let Err(error) = self.high_water.write(&mut self.high_water_file, self.file.incarnation) {
            tracing::warn!(%error, "the high-water mark could not be written");
        }
    }

    /// Pushes the high-water mark to the disk.
    pub fn sync_high_water(&self) {
        if let Err(error) = self.high_water_file.sync_data() {
            tracing::warn!(%error, "the high-water mark could not be written");
        }
    }
}

/// Whether a folder holds an enrolled device.
pub fn is_enrolled(folder: &Path) -> bool {
    folder.join("device/identity.json").exists()
}

/// What identifies this machine, hashed so that the id itself is not kept; nothing where the machine has none.
pub fn machine_id() -> Option<String> {
    let id = fs::read_to_string("/etc/machine-id").ok().filter(|id| !id.trim().is_empty())?;
    let hash: [u8; 32] = Sha256::digest([b"evertill/machine/1\0", id.trim().as_bytes()].concat()).into();
    Some(Hex(hash).to_string())
}

/// `a` to `z`, then `aa` and so on.
fn next_tag(tag: &str) -> String {
    let mut letters: Vec<u8> = tag.bytes().filter(u8::is_ascii_lowercase).collect();
    for letter in letters.iter_mut().rev() {
        if *letter < b'z' {
            *letter += 1;
            return String::from_utf8(letters).expect("lower-case letters");
        }
        *letter = b'a';
    }
    "a".repeat(letters.len() + 1)
}

/// Whether a program uses a folder. Nothing is created.
pub fn is_in_use(folder: &Path) -> bool {
    let Ok(file) = OpenOptions::new().write(true).open(folder.join("lock")) else { return false };
    matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock))
}

fn read_signing_key(device: &Path) -> Result<SigningKey, IdentityError> {
    let path = device.join("device.key");
    let pem = read_secret(&path)?;
    SigningKey::from_pkcs8_pem(&pem)
        .map_err(|_| IdentityError::Damaged { path, why: "it is not an Ed25519 key in PKCS#8".to_owned() })
}

fn read_replica_key(device: &Path) -> Result<StoreKey, IdentityError> {
    let path = device.join("replica.key");
    let text = read_secret(&path)?;
    let Hex(key) = Hex::try_from(text.trim().to_owned()).map_err(|why| IdentityError::Damaged { path, why })?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_go_on_after_z() {
        assert_eq!(["a", "b", "z", "az", "zz"].map(next_tag), ["b", "c", "aa", "ba", "aaa"]);
    }
}
