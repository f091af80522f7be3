//! Who a folder belongs to, read beside the program that uses it: nothing is locked, nothing is written.

use std::fs::File;
use std::path::Path;

use domain::ids::{DeviceId, StoreId};
use journal::Origin;

use super::files::{Hex, read_text};
use super::{HighWater, IdentityError, IdentityFile, is_enrolled, machine_id, read_replica_key, read_secret, read_signing_key};
use crate::replication::Link;
use crate::store::StoreKey;
use sync_proto::session::VERSIONS;

/// Who a folder belongs to.
#[derive(Debug, Clone)]
pub struct Look {
    /// The device's id.
    pub device: DeviceId,
    /// The store it works for.
    pub store: StoreId,
    /// The name people call it by.
    pub name: String,
    /// The receipt series of its incarnation.
    pub series: String,
    /// The device and its incarnation.
    pub origin: Origin,
    /// The replica file that the incarnation writes into; none before the first start.
    pub db_uuid: Option<[u8; 16]>,
    /// Whether the incarnation was written on another machine.
    pub is_moved: bool,
    /// How far the incarnation has come, as far as was noted.
    pub high_water: HighWater,
    /// The key of the database files.
    pub replica_key: StoreKey,
    /// Where and as whom it connects.
    pub link: Link,
}

impl Look {
    /// Looks at a folder.
    ///
    /// # Errors
    /// A folder that is not enrolled, a secret that others may read, or a file that makes no sense.
    pub fn at(folder: &Path) -> Result<Self, IdentityError> {
        if !is_enrolled(folder) {
            return Err(IdentityError::NotEnrolled(folder.to_owned()));
        }
        let device = folder.join("device");
        let path = device.join("identity.json");
        let file: IdentityFile =
            serde_json::from_str(&read_text(&path)?).map_err(|e| IdentityError::Damaged { path, why: e.to_string() })?;
        read_signing_key(&device)?;
        let high_water = File::open(device.join("high-water")).map(|mut mark| HighWater::read(&mut mark, file.incarnation));
        Ok(Self {
            series: file.series(),
            origin: Origin { device: *file.device.as_bytes(), incarnation: file.incarnation.0 },
            db_uuid: file.db_uuid.map(|Hex(uuid)| uuid),
            is_moved: matches!((&file.machine, machine_id()), (Some(was), Some(is)) if *was != is),
            high_water: high_water.unwrap_or_default(),
            replica_key: read_replica_key(&device)?,
            link: Link {
                address: file.region_address,
                tcp_address: None,
                server_name: file.server_name,
                authority_pem: read_text(&device.join("authority.crt"))?,
                certificate_pem: read_text(&device.join("device.crt"))?,
                key_pem: read_secret(&device.join("device.key"))?,
                versions: VERSIONS,
            },
            device: file.device,
            store: file.store,
            name: file.name,
        })
    }
}
