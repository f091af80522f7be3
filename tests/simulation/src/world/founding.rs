//! The morning of every world: a region whose server has written stores, staff, products and devices, and the papers of its tills. Made once a
//! process; every key is fixed, so that certificates have the same length in every run.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use domain::ids::DeviceId;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use journal::SigningKey;
use node::identity::{Granted, Identity};
use rcgen::{CertificateParams, KeyPair};
use sync_proto::enrolment::SERVER_NAME;
use sync_server::authority::Authority;
use sync_server::region::{ProductPatch, Region, TaxPatch, Writer};
use tempfile::TempDir;

use crate::crash_vfs::Disk;
use crate::rig::{Device, Folder};
use crate::shop::{MORNING_MS, Shop, SimEnv};

/// The most tills of a world.
pub const TILLS_MAX: u32 = 4;
/// The name of the region's log on its disk.
pub const REGION_LOG: &str = "region.db";

/// What every world begins with.
#[derive(Debug)]
pub struct Founding {
    /// The shop.
    pub shop: Shop,
    /// The region's authority.
    pub authority: Arc<Authority>,
    /// The region's disk.
    region: Disk,
    /// The `device` folder of every till, by its number.
    tills: BTreeMap<u32, Device>,
    _folder: TempDir,
}

impl Founding {
    /// The one of this process.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn of_process() -> &'static Self {
        static FOUNDING: OnceLock<Founding> = OnceLock::new();
        FOUNDING.get_or_init(|| Self::make().expect("a morning without accidents"))
    }

    /// The region's disk, this world's own copy.
    pub fn region_disk(&self) -> Disk {
        self.region.copy()
    }

    /// The `device` folder of a till.
    pub fn device(&self, number: u32) -> &Device {
        &self.tills[&number]
    }

    /// A writer for the region's log, as a process that starts has one.
    pub fn writer(&self, actor_seed: [u8; 16], incarnation: [u8; 16]) -> Writer {
        Writer { device: DeviceId::new(MORNING_MS, [3; 10]), incarnation, actor_seed, key: self.authority.seal_key().clone() }
    }

    fn make() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for (name, byte) in [("authority.key", 0xA0), ("server.key", 0xA5)] {
            let pem = SigningKey::from_bytes(&[byte; 32]).to_pkcs8_pem(LineEnding::LF)?;
            std::fs::write(folder.path().join(name), pem.as_bytes())?;
        }
        let authority = Arc::new(Authority::open(folder.path())?);
        let mut founding =
            Self { shop: Shop::new(TILLS_MAX), authority, region: Disk::new(), tills: BTreeMap::new(), _folder: folder };
        founding.found_region()?;
        Ok(founding)
    }

    fn found_region(&mut self) -> Result<()> {
        let env = SimEnv::new(MORNING_MS - 3_600_000, 1);
        let writer = self.writer([9; 16], [0x51; 16]);
        let mut region = Region::open_on(self.region.vfs(), REGION_LOG.as_ref(), writer)?;
        region.start(MORNING_MS - 3_600_000, "simulation")?;
        let shop = self.shop.clone();
        region.add_store(shop.store.clone(), MORNING_MS)?;
        region.add_staff(&shop.store.code, shop.manager.clone(), MORNING_MS)?;
        for product in &shop.products {
            let patch = ProductPatch {
                code: Some(product.code.clone()),
                name: Some(product.name.clone()),
                barcodes: Some(product.barcodes.clone()),
                price: Some(product.price),
                tax: Some(TaxPatch::Rate(product.tax_rate_bp)),
                active: Some(true),
                ..ProductPatch::default()
            };
            region.create_product(patch, None, &env)?;
        }
        for number in 1..=TILLS_MAX {
            let granted = self.admit(&mut region, number).with_context(|| format!("till {number}"))?;
            let folder = Folder::new()?;
            Identity::create(folder.path(), granted, &SimEnv::new(MORNING_MS, u64::from(number)))?;
            self.tills.insert(number, folder.device(&Device::default()));
        }
        Ok(())
    }

    fn admit(&self, region: &mut Region, number: u32) -> Result<Granted> {
        let key_pem = self.shop.till_key(number).to_pkcs8_pem(LineEnding::LF)?.to_string();
        let request = CertificateParams::default().serialize_request(&KeyPair::from_pem(&key_pem)?)?;
        let code = format!("ABCDE{number:05}");
        region.issue_code(&self.shop.store.code, &format!("Till {number}"), &code, MORNING_MS)?;
        let (device, key) = (self.shop.till_device(number), Authority::requested_key(request.der())?);
        let enrolment = region.redeem(&code, device, key, MORNING_MS)?;
        let store = &self.shop.store;
        Ok(Granted {
            device,
            store: store.id,
            store_code: store.code.clone(),
            number: enrolment.number,
            name: enrolment.name,
            region_address: super::SERVER.to_string(),
            server_name: SERVER_NAME.to_owned(),
            device_cert_pem: self.authority.sign_device(request.der(), device, store.id)?,
            authority_cert_pem: self.authority.certificate_pem().to_owned(),
            key_pem,
            server_device: region.own().device,
            server_public_key: self.authority.seal_key().verifying_key().to_bytes(),
        })
    }
}
