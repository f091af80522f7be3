//! The morning of every world: a region whose server has written stores, staff, products and devices, the papers of its tills, and the keys of a second
//! server under the same authority. Made once a process; every key is fixed, so that certificates have the same length in every run.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
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

/// The most tills of a store.
pub const TILLS_MAX: u32 = 4;
/// The most regions, and the most stores.
pub const REGIONS_MAX: usize = 2;
/// The name of the region's log on its disk.
pub const REGION_LOG: &str = "region.db";

/// What every world begins with.
#[derive(Debug)]
pub struct Founding {
    /// The stores. All sell the same.
    pub shops: [Shop; REGIONS_MAX],
    /// The authority, as each region's server has it beside its own key.
    pub authorities: [Arc<Authority>; REGIONS_MAX],
    /// The first region's disk. The server of another one has just been set up, and begins with an empty disk.
    region: Disk,
    /// The `device` folder of every till, by the number of its key.
    tills: BTreeMap<u32, Device>,
    _folders: [TempDir; REGIONS_MAX],
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

    /// A region's disk, this world's own copy.
    pub fn region_disk(&self, region: usize) -> Disk {
        if region == 0 { self.region.copy() } else { Disk::new() }
    }

    /// The `device` folder of a till.
    pub fn device(&self, number: u32) -> &Device {
        &self.tills[&number]
    }

    /// A writer for the region's log, as a process that starts has one.
    pub fn writer(&self, region: usize, actor_seed: [u8; 16], incarnation: [u8; 16]) -> Writer {
        let authority = &self.authorities[region];
        Writer { device: authority.server_device(), incarnation, actor_seed, key: authority.seal_key().clone() }
    }

    /// The store that a device works in; none for a server.
    pub fn store_of(&self, device: [u8; 16]) -> Option<&Shop> {
        let has = |shop: &&Shop| shop.tills.iter().any(|&number| *shop.till_device(number).as_bytes() == device);
        self.shops.iter().find(has)
    }

    /// Whether a device is a server.
    pub fn is_server(&self, device: [u8; 16]) -> bool {
        self.authorities.iter().any(|authority| *authority.server_device().as_bytes() == device)
    }

    fn make() -> Result<Self> {
        let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
        for (name, byte, folder) in [("authority.key", 0xA0, 0), ("server.key", 0xA5, 0), ("server.key", 0xA6, 1)] {
            let pem = SigningKey::from_bytes(&[byte; 32]).to_pkcs8_pem(LineEnding::LF)?;
            std::fs::write(folders[folder].path().join(name), pem.as_bytes())?;
        }
        let first = Arc::new(Authority::open(folders[0].path())?);
        Authority::adopt(folders[0].path(), folders[1].path())?;
        let authorities = [first, Arc::new(Authority::open(folders[1].path())?)];
        let shop = Shop::new(TILLS_MAX);
        let branch = shop.branch(TILLS_MAX + 1..=2 * TILLS_MAX);
        let mut founding =
            Self { shops: [shop, branch], authorities, region: Disk::new(), tills: BTreeMap::new(), _folders: folders };
        founding.found_region()?;
        Ok(founding)
    }

    fn found_region(&mut self) -> Result<()> {
        let env = SimEnv::new(MORNING_MS - 3_600_000, 1);
        let writer = self.writer(0, [9; 16], [0x51; 16]);
        let mut region = Region::open_on(self.region.vfs(), REGION_LOG.as_ref(), writer)?;
        region.start(MORNING_MS - 3_600_000, "simulation")?;
        let shops = self.shops.clone();
        for shop in &shops {
            region.add_store(shop.store.clone(), MORNING_MS)?;
            region.add_staff(&shop.store.code, shop.manager.clone(), MORNING_MS)?;
        }
        for product in &shops[0].products {
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
        for shop in &shops {
            for &number in &shop.tills {
                let granted = self.admit(&mut region, shop, number).with_context(|| format!("till {number}"))?;
                let folder = Folder::new()?;
                Identity::create(folder.path(), granted, &SimEnv::new(MORNING_MS, u64::from(number)))?;
                self.tills.insert(number, folder.device(&Device::default()));
            }
        }
        Ok(())
    }

    fn admit(&self, region: &mut Region, shop: &Shop, number: u32) -> Result<Granted> {
        let authority = &self.authorities[0];
        let key_pem = shop.till_key(number).to_pkcs8_pem(LineEnding::LF)?.to_string();
        let request = CertificateParams::default().serialize_request(&KeyPair::from_pem(&key_pem)?)?;
        let code = format!("ABCDE{number:05}");
        region.issue_code(&shop.store.code, &format!("Till {number}"), &code, MORNING_MS)?;
        let (device, key) = (shop.till_device(number), Authority::requested_key(request.der())?);
        let enrolment = region.redeem(&code, device, key, MORNING_MS)?;
        let store = &shop.store;
        Ok(Granted {
            device,
            store: store.id,
            store_code: store.code.clone(),
            number: enrolment.number,
            name: enrolment.name,
            region_address: super::server_address(0).to_string(),
            server_name: SERVER_NAME.to_owned(),
            device_cert_pem: authority.sign_device(request.der(), device, store.id)?,
            authority_cert_pem: authority.certificate_pem().to_owned(),
            key_pem,
            server_device: region.own().device,
            server_public_key: authority.seal_key().verifying_key().to_bytes(),
        })
    }
}
