//! The sales of the bench as documents of samod, one document a sale.
//!
//! `server FOLDER COUNT` listens on loopback and says `ready PORT`, and `stored` as soon as so many documents are in its storage.
//! `client FOLDER PORT SALES` makes a document of each sale of a JSON file and keeps them in its own storage; then it says `begin` and
//! dials. `count FOLDER` opens a storage anew, reads every document through a repository, and says `count` and how many whole sales
//! there are. Both ends keep documents with samod's own storage for files and speak over its own framing on TCP.

use std::collections::BTreeSet;
#[expect(clippy::disallowed_types, reason = "samod's storage answers with one")]
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail, ensure};
use automerge::transaction::Transactable;
use automerge::{Automerge, AutomergeError, ObjType, ROOT, ReadDoc, ScalarValue};
use samod::storage::{Storage, StorageKey, TokioFilesystemStorage};
use samod::{BackoffConfig, DocumentId, Repo, ShareConfig};
use serde::Deserialize;
use url::Url;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", folder, count] => serve(folder, count.parse()?).await,
        ["client", folder, port, sales] => send(folder, port.parse()?, sales).await,
        ["count", folder] => count(folder).await,
        _ => bail!("server FOLDER COUNT | client FOLDER PORT SALES | count FOLDER"),
    }
}

async fn serve(folder: &str, count: usize) -> Result<()> {
    let storage = Counted { files: TokioFilesystemStorage::new(folder), count, seen: Arc::default() };
    // A server for many shops keeps what it is told and offers it to nobody by itself.
    let policy = ShareConfig::read_write().with_announce(false);
    let repo = Repo::build_tokio().with_storage(storage).with_share_policy(policy).load().await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let acceptor = repo.make_acceptor(address(port)?)?;
    println!("ready {port}");
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        acceptor.accept_tokio_io(socket)?;
    }
}

async fn send(folder: &str, port: u16, sales: &str) -> Result<()> {
    let sales: Vec<Sale> = serde_json::from_str(&std::fs::read_to_string(sales)?)?;
    let repo = Repo::build_tokio().with_storage(TokioFilesystemStorage::new(folder)).load().await;
    let mut handles = Vec::with_capacity(sales.len());
    for sale in &sales {
        handles.push(repo.create(document(sale)?).await?);
    }
    println!("begin");
    let link = repo.dial_tcp(address(port)?, BackoffConfig::default())?;
    link.established().await.map_err(|_| anyhow::anyhow!("no server answers"))?;
    std::future::pending().await
}

async fn count(folder: &str) -> Result<()> {
    let repo = Repo::build_tokio().with_storage(TokioFilesystemStorage::new(folder)).load().await;
    let mut receipts = BTreeSet::new();
    for id in documents(Path::new(folder))? {
        let document = repo.find(id.clone()).await?.with_context(|| format!("{id} does not open"))?;
        receipts.insert(document.with_document(|kept| receipt(kept))?);
    }
    println!("count {}", receipts.len());
    Ok(())
}

fn address(port: u16) -> Result<Url> {
    Ok(Url::parse(&format!("tcp://127.0.0.1:{port}"))?)
}

/// The storage for files, which says when it has the content of so many documents.
#[derive(Clone)]
struct Counted {
    files: TokioFilesystemStorage,
    count: usize,
    seen: Arc<Mutex<BTreeSet<String>>>,
}

impl Storage for Counted {
    async fn load(&self, key: StorageKey) -> Option<Vec<u8>> {
        Storage::load(&self.files, key).await
    }

    #[expect(clippy::disallowed_types, reason = "samod's storage answers with one")]
    async fn load_range(&self, prefix: StorageKey) -> HashMap<StorageKey, Vec<u8>> {
        Storage::load_range(&self.files, prefix).await
    }

    async fn put(&self, key: StorageKey, data: Vec<u8>) {
        let parts: Vec<String> = (&key).into_iter().cloned().collect();
        let content = !data.is_empty();
        Storage::put(&self.files, key, data).await;
        let [document, kind, _] = &parts[..] else { return };
        if content && (kind == "snapshot" || kind == "incremental") {
            let mut seen = self.seen.lock().expect("nobody breaks while holding it");
            if seen.insert(document.clone()) && seen.len() == self.count {
                println!("stored");
            }
        }
    }

    async fn delete(&self, key: StorageKey) {
        Storage::delete(&self.files, key).await;
    }
}

/// The documents of a storage: its folders are named by the first two letters of an id and by the others.
fn documents(folder: &Path) -> Result<Vec<DocumentId>> {
    let mut found = Vec::new();
    for first in std::fs::read_dir(folder)? {
        let first = first?;
        if !first.file_type()?.is_dir() {
            continue;
        }
        for rest in std::fs::read_dir(first.path())? {
            let id = first.file_name().into_string().ok().zip(rest?.file_name().into_string().ok());
            found.extend(id.and_then(|(first, rest)| format!("{first}{rest}").parse::<DocumentId>().ok()));
        }
    }
    Ok(found)
}

#[derive(Deserialize)]
struct Sale {
    id: String,
    receipt_number: u64,
    shift: String,
    at_ms: i64,
    lines: Vec<Line>,
    taxes: Vec<Tax>,
    payments: Vec<Payment>,
    total_minor: i64,
    currency: String,
    tax_mode: String,
}

#[derive(Deserialize)]
struct Line {
    product: String,
    name: String,
    quantity_milli: i64,
    unit_price_minor: i64,
    tax: u64,
    amount_minor: i64,
}

#[derive(Deserialize)]
struct Tax {
    rate_bp: u64,
    net_minor: i64,
    tax_minor: i64,
}

#[derive(Deserialize)]
struct Payment {
    method: String,
    amount_minor: i64,
    tendered_minor: i64,
}

/// A document of one change. Nobody edits the words of a sale together, so they are plain values and not texts.
fn document(sale: &Sale) -> Result<Automerge> {
    let mut document = Automerge::new();
    document
        .transact::<_, _, AutomergeError>(|tx| {
            tx.put(ROOT, "id", &*sale.id)?;
            tx.put(ROOT, "receipt_number", sale.receipt_number)?;
            tx.put(ROOT, "shift", &*sale.shift)?;
            tx.put(ROOT, "at_ms", ScalarValue::Timestamp(sale.at_ms))?;
            let lines = tx.put_object(ROOT, "lines", ObjType::List)?;
            for (at, line) in sale.lines.iter().enumerate() {
                let row = tx.insert_object(&lines, at, ObjType::Map)?;
                tx.put(&row, "product", &*line.product)?;
                tx.put(&row, "name", &*line.name)?;
                tx.put(&row, "quantity_milli", line.quantity_milli)?;
                tx.put(&row, "unit_price_minor", line.unit_price_minor)?;
                tx.put(&row, "tax", line.tax)?;
                tx.put(&row, "amount_minor", line.amount_minor)?;
            }
            let taxes = tx.put_object(ROOT, "taxes", ObjType::List)?;
            for (at, tax) in sale.taxes.iter().enumerate() {
                let row = tx.insert_object(&taxes, at, ObjType::Map)?;
                tx.put(&row, "rate_bp", tax.rate_bp)?;
                tx.put(&row, "net_minor", tax.net_minor)?;
                tx.put(&row, "tax_minor", tax.tax_minor)?;
            }
            let payments = tx.put_object(ROOT, "payments", ObjType::List)?;
            for (at, payment) in sale.payments.iter().enumerate() {
                let row = tx.insert_object(&payments, at, ObjType::Map)?;
                tx.put(&row, "method", &*payment.method)?;
                tx.put(&row, "amount_minor", payment.amount_minor)?;
                tx.put(&row, "tendered_minor", payment.tendered_minor)?;
            }
            tx.put(ROOT, "total_minor", sale.total_minor)?;
            tx.put(ROOT, "currency", &*sale.currency)?;
            tx.put(ROOT, "tax_mode", &*sale.tax_mode)?;
            Ok(())
        })
        .map_err(|failed| failed.error)?;
    Ok(document)
}

/// The receipt number of a sale that is there with its four lines and its payment.
fn receipt(document: &Automerge) -> Result<u64> {
    let (number, _) = document.get(ROOT, "receipt_number")?.context("a document without a receipt number")?;
    let number = number.as_u64().context("a receipt number that is none")?;
    for (list, rows) in [("lines", 4), ("payments", 1)] {
        let (_, list) = document.get(ROOT, list)?.context("a sale without a list")?;
        ensure!(document.length(&list) == rows, "receipt {number} is not whole");
    }
    Ok(number)
}
