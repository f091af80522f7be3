//! Products to sell: made from a seed, or with the names and codes of a file.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use domain::document::{CODE_BYTES_MAX, NAME_BYTES_MAX};
use domain::money::UnitPrice;
use flate2::read::GzDecoder;
use sync_proto::env::Env;
use sync_server::env::Machine;
use sync_server::import::run::Door;
use sync_server::web_api::ImportState;
use sync_server::{daemon, import};

use crate::dice::Dice;

/// Most names that are read from a file.
const NAMES_MAX: usize = 1_000_000;

const MAKERS: [&str; 32] = [
    "Alder & Sons",
    "Bramble",
    "Cartwright",
    "Dunmore",
    "Eastgate",
    "Fennel Farm",
    "Galloway",
    "Harbour",
    "Ivy Lane",
    "Juniper",
    "Kestrel",
    "Larkfield",
    "Moorland",
    "Northwind",
    "Old Mill",
    "Penrose",
    "Quayside",
    "Ridgeway",
    "Saltmarsh",
    "Thistle",
    "Underhill",
    "Vale",
    "Westbrook",
    "Yarrow",
    "Château Rousse",
    "Dolce Vita",
    "Grüne Wiese",
    "La Huerta",
    "Søgaard",
    "Żubr",
    "Émile",
    "O'Leary's",
];
const KINDS: [&str; 48] = [
    "Apple Juice",
    "Baked Beans",
    "Basmati Rice",
    "Black Tea",
    "Blue Cheese",
    "Brown Bread",
    "Butter",
    "Candle",
    "Cat Food",
    "Cheddar",
    "Chocolate Bar",
    "Coffee Beans",
    "Cotton Socks",
    "Cream Crackers",
    "Crisps",
    "Dish Soap",
    "Dog Biscuits",
    "Dried Apricots",
    "Earl Grey",
    "Egg Noodles",
    "Flour",
    "Garden Twine",
    "Ginger Biscuits",
    "Green Olives",
    "Hand Cream",
    "Honey",
    "Ice Cream",
    "Ketchup",
    "Lemonade",
    "Light Bulb",
    "Lip Balm",
    "Marmalade",
    "Milk",
    "Mustard",
    "Oat Flakes",
    "Olive Oil",
    "Paper Napkins",
    "Peanut Butter",
    "Pencil Set",
    "Red Lentils",
    "Sea Salt",
    "Shampoo",
    "Sparkling Water",
    "Strawberry Jam",
    "Tomato Soup",
    "Toothpaste",
    "Vanilla Yoghurt",
    "Wrapping Paper",
];
const QUALITIES: [&str; 20] = [
    "Organic",
    "Classic",
    "Extra Fine",
    "Family",
    "Fair Trade",
    "Gluten Free",
    "Golden",
    "Hand Made",
    "Large",
    "Light",
    "Mild",
    "Mini",
    "No Added Sugar",
    "Original",
    "Premium",
    "Smoked",
    "Spicy",
    "Traditional",
    "Vegan",
    "Whole",
];
const SIZES: [&str; 16] = [
    "100 g",
    "125 g",
    "200 g",
    "250 g",
    "330 ml",
    "400 g",
    "454 g",
    "500 g",
    "500 ml",
    "750 ml",
    "1 kg",
    "1 L",
    "1.5 L",
    "pack of 4",
    "pack of 6",
    "12 pieces",
];

/// Where names and codes come from.
#[derive(Debug, Clone, Default)]
pub enum Names {
    /// A seed.
    #[default]
    Made,
    /// A file: code and name of each.
    Read(Vec<(String, String)>),
}

impl Names {
    /// Reads names from a file with the columns `code` and `name`, separated by commas or tabs, perhaps compressed with gzip.
    ///
    /// # Errors
    /// A file that cannot be read, or without those columns.
    pub fn read(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut text = String::new();
        let zipped = path.extension().is_some_and(|e| e == "gz");
        let mut from: Box<dyn Read> = if zipped { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
        from.read_to_string(&mut text).with_context(|| format!("cannot read {}", path.display()))?;
        let tabs = text.lines().next().is_some_and(|head| head.contains('\t'));
        let mut options = csv::ReaderBuilder::new();
        options.delimiter(if tabs { b'\t' } else { b',' }).quoting(!tabs);
        let mut reader = options.from_reader(text.as_bytes());
        let column = |name: &str, head: &csv::StringRecord| {
            head.iter().position(|h| h == name).with_context(|| format!("{} has no column {name}", path.display()))
        };
        let head = reader.headers()?.clone();
        let (code, name) = (column("code", &head)?, column("name", &head)?);
        let (mut names, mut known) = (Vec::new(), BTreeSet::new());
        for row in reader.records().take(NAMES_MAX) {
            let row = row?;
            let (code, name) = (row.get(code).unwrap_or_default(), row.get(name).unwrap_or_default());
            let fits = (1..=CODE_BYTES_MAX).contains(&code.len()) && (1..=NAME_BYTES_MAX).contains(&name.len());
            // Codes from 2 on are for use within a shop, and every product gets one of its own.
            let is_shops = code.len() == 13 && code.starts_with('2');
            if fits && !is_shops && !name.chars().any(char::is_control) && known.insert(code.to_owned()) {
                names.push((code.to_owned(), name.to_owned()));
            }
        }
        ensure!(!names.is_empty(), "{} has no products", path.display());
        Ok(Self::Read(names))
    }
}

/// Products from the `from`-th on, always the same ones: each with a code of the shop and a barcode.
pub fn products(names: &Names, from: usize, count: usize) -> Vec<Made> {
    (from..from + count).map(|n| product(names, n)).collect()
}

/// A product of the bench.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The shop's code.
    pub code: String,
    /// The name.
    pub name: String,
    /// What one costs.
    pub price: UnitPrice,
    /// The tax rate in basis points.
    pub tax_rate_bp: u32,
    /// Codes that a scanner may read.
    pub barcodes: Vec<String>,
}

/// Brings products into a region as a manager does: by a file, read and compared and then written.
///
/// # Errors
/// A file that is refused, or a log that does not take it.
pub fn import(door: &mut impl Door, data: &Path, products: &[Made]) -> Result<()> {
    let mut file = csv::Writer::from_writer(Vec::new());
    file.write_record(["code", "name", "price", "tax_rate_bp", "barcodes"])?;
    for Made { code, name, price, tax_rate_bp, barcodes } in products {
        let price = format!("{}.{:04}", price.0 / 10_000, price.0 % 10_000);
        file.write_record([code, name, &price, &tax_rate_bp.to_string(), &barcodes.join("|")])?;
    }
    let env: Arc<dyn Env> = Arc::new(Machine);
    let folder = data.join(daemon::IMPORTS_FOLDER);
    let view = import::whole(door, &folder, "products.csv", &file.into_inner()?, &env)?;
    ensure!(view.state == ImportState::Applied, "{}: {:?}", view.message, view.problems);
    Ok(())
}

/// The shop's code of a product.
pub fn code(n: usize) -> String {
    format!("P{n:06}")
}

/// The barcode of a product: an EAN-13 of the range for use within a shop.
pub fn barcode(n: usize) -> String {
    let digits = format!("2{n:011}");
    let sum: u32 = digits.bytes().enumerate().map(|(at, d)| u32::from(d - b'0') * if at % 2 == 0 { 1 } else { 3 }).sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

fn product(names: &Names, n: usize) -> Made {
    let mut dice = Dice::new(n as u64);
    let made = || {
        let mut dice = Dice::new(n as u64 ^ 0xC0FFEE);
        let [maker, quality, kind, size] = [dice.pick(&MAKERS), dice.pick(&QUALITIES), dice.pick(&KINDS), dice.pick(&SIZES)];
        // Long names are the exception: as on real shelves, most are of 20 to 35 letters.
        match dice.below(4) {
            0 => format!("{maker} {quality} {kind} {size}"),
            _ => format!("{maker} {kind} {size}"),
        }
    };
    let (name, mut barcodes) = match names {
        Names::Made => (made(), Vec::new()),
        Names::Read(read) => {
            let (code, name) = &read[n % read.len()];
            // A file that is too short is used again, without its codes.
            (name.clone(), (n < read.len()).then(|| code.clone()).into_iter().collect())
        }
    };
    barcodes.push(barcode(n));
    let price = UnitPrice::from_minor(49 + dice.below(2_500) as i64).expect("a price below every bound");
    Made { code: code(n), name, price, tax_rate_bp: [0, 500, 2_000][dice.below(3)], barcodes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_the_same_every_time_and_no_two_share_a_code() {
        let all = products(&Names::Made, 0, 3_000);
        assert_eq!(all[1_000..], products(&Names::Made, 1_000, 2_000));
        let codes: std::collections::BTreeSet<_> = all.iter().flat_map(|p| p.barcodes.iter().chain([&p.code])).collect();
        assert_eq!(codes.len(), 6_000);
        assert!(all.iter().all(|p| p.name.len() > 8), "{:?}", all[0]);
    }

    #[test]
    fn barcodes_have_their_check_digit() {
        assert_eq!(barcode(0), "2000000000008");
        assert_eq!(barcode(123_456), "2000001234563");
    }

    #[test]
    fn names_come_from_a_file_of_either_kind() {
        let folder = tempfile::tempdir().expect("a folder");
        for (file, text) in [("a.csv", "name,code\n\"Tea, black\",42\n"), ("a.tsv", "code\tname\n42\tTea, black\n")] {
            let path = folder.path().join(file);
            std::fs::write(&path, text).expect("written");
            let names = Names::read(&path).expect("names");
            let [first, again] = &products(&names, 0, 2)[..] else { panic!("two products") };
            assert_eq!((first.name.as_str(), first.barcodes.len()), ("Tea, black", 2));
            assert_eq!((again.name.as_str(), again.barcodes.len()), ("Tea, black", 1));
        }
    }
}
