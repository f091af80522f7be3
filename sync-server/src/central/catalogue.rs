//! What products there are, from the read model: lists, searches, counts. Single documents are answered from the region's own, which
//! knows an edit at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::money::Currency;
use tokio::sync::mpsc;
use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use uuid::Uuid;

use super::dump::snapshot;
use super::pool::in_time;
use super::{CentralError, Postgres};
use crate::web_api::{ProductRow, ProductsPage};

/// Products of one piece of an export; the last piece has fewer.
pub const PIECE_ROWS: i64 = 2_000;
/// Pieces that may wait for a reader.
const PIECES_WAITING_MAX: usize = 2;
/// How long a reader may take for one piece.
const READER_WAIT: Duration = Duration::from_secs(30);
/// How long an answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(27);
/// Longest word of a search, in characters.
const WORD_CHARS_MAX: usize = 200;
/// Most words of a search that count.
const WORDS_MAX: usize = 8;

/// Which products are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProductsQuestion {
    /// Beginnings of words.
    pub search: Option<String>,
    /// Only this category.
    pub category: Option<String>,
    /// Only those on sale, or only those not.
    pub active: Option<bool>,
    /// After this product, by name and id.
    pub after: Option<(String, Uuid)>,
    /// How many.
    pub limit: i64,
}

/// A product as an export writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRow {
    /// The row of a list.
    pub row: ProductRow,
    /// The rate of its own.
    pub own_rate_bp: i64,
    /// The name of its tax class.
    pub tax_class: Option<String>,
}

/// The words that a product is found by: those of its texts, and its codes whole.
pub(super) fn search_words(texts: &[&str], codes: &[String]) -> Vec<String> {
    let mut found: BTreeSet<String> = texts.iter().flat_map(|text| words(text)).collect();
    found.extend(codes.iter().flat_map(|code| words(code)));
    found.into_iter().collect()
}

/// The words of a text, in lower case and without accents.
fn words(text: &str) -> Vec<String> {
    let plain: String = text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect();
    let words = plain.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word.chars().take(WORD_CHARS_MAX).collect()).collect()
}

/// A search as Postgres reads it: every word by its beginning. Words hold letters and digits only, so nothing in them is an operator.
fn tsquery(search: &str) -> Option<String> {
    let words: Vec<String> = words(search).into_iter().take(WORDS_MAX).map(|word| format!("'{word}':*")).collect();
    (!words.is_empty()).then(|| words.join(" & "))
}

/// A page of products, by name.
///
/// # Errors
/// When the database does not answer.
pub async fn products(central: &Postgres, question: &ProductsQuestion) -> Result<ProductsPage, CentralError> {
    let mut loan = central.get().await?;
    let page = in_time("list products", ANSWER_WAIT, async {
        let tx = snapshot(&mut loan).await?;
        let page = page(&tx, question).await?;
        tx.rollback().await?;
        Ok(page)
    })
    .await?;
    central.give_back(loan);
    Ok(page)
}

/// All products by name, as an export writes them: from one snapshot, in pieces of [`PIECE_ROWS`] that are read as they are taken. The one
/// with fewer rows is the last: without it something broke.
pub fn export(central: Postgres) -> mpsc::Receiver<Result<Vec<ExportRow>, CentralError>> {
    let (pieces, taken) = mpsc::channel(PIECES_WAITING_MAX);
    tokio::spawn(async move {
        if let Err(error) = read_all(&central, &pieces).await {
            // Whoever is gone needs no answer.
            let _ = pieces.try_send(Err(error));
        }
    });
    taken
}

async fn read_all(central: &Postgres, pieces: &mpsc::Sender<Result<Vec<ExportRow>, CentralError>>) -> Result<(), CentralError> {
    let mut loan = central.get().await?;
    let tx = snapshot(&mut loan).await?;
    let mut question = ProductsQuestion { limit: PIECE_ROWS, ..ProductsQuestion::default() };
    loop {
        let rows = in_time("export products", ANSWER_WAIT, Found::of(&question).rows(&tx, &question)).await?;
        let last = rows.last().filter(|_| rows.len() as i64 == PIECE_ROWS);
        question.after = last.and_then(|last| Some((last.row.name.clone(), last.row.product.parse().ok()?)));
        let sent = tokio::time::timeout(READER_WAIT, pieces.send(Ok(rows))).await;
        if !matches!(sent, Ok(Ok(()))) {
            // Whoever reads went away, or takes too long and finds no last piece.
            return Ok(());
        }
        if question.after.is_none() {
            break;
        }
    }
    tx.rollback().await?;
    central.give_back(loan);
    Ok(())
}

/// How many products are in each tax class.
///
/// # Errors
/// When the database does not answer.
pub async fn products_by_tax_class(central: &Postgres) -> Result<BTreeMap<Uuid, i64>, CentralError> {
    let loan = central.get().await?;
    let rows = in_time("count products", ANSWER_WAIT, async {
        let sql = "SELECT tax_class, count(*) FROM products WHERE tax_class IS NOT NULL GROUP BY tax_class";
        Ok(loan.query(sql, &[]).await?)
    })
    .await?;
    central.give_back(loan);
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn page(tx: &Transaction<'_>, question: &ProductsQuestion) -> Result<ProductsPage, CentralError> {
    let found = Found::of(question);
    let total = found.total(tx).await?;
    let wanted = ProductsQuestion { limit: question.limit + 1, ..question.clone() };
    let mut rows: Vec<ProductRow> = found.rows(tx, &wanted).await?.into_iter().map(|export| export.row).collect();
    let more = rows.len() as i64 > question.limit;
    rows.truncate(usize::try_from(question.limit).unwrap_or(0));
    let next = rows.last().filter(|_| more).map(|row| cursor(&row.name, &row.product));
    // One look at the index for each category rather than a look at every product.
    let categories = tx
        .query(
            "WITH RECURSIVE c AS (
                 (SELECT category FROM products WHERE category > '' ORDER BY category LIMIT 1)
                 UNION ALL
                 SELECT (SELECT category FROM products WHERE category > c.category ORDER BY category LIMIT 1)
                 FROM c WHERE c.category IS NOT NULL
             ) SELECT category FROM c WHERE category IS NOT NULL",
            &[],
        )
        .await?;
    let currency = tx.query_opt("SELECT currency::text FROM stores ORDER BY code LIMIT 1", &[]).await?;
    let currency = currency.map_or_else(|| "XXX".to_owned(), |row| row.get(0));
    let exponent = Currency::new(&currency).map_or(2, |currency| currency.exponent());
    Ok(ProductsPage { rows, next, total, categories: categories.iter().map(|row| row.get(0)).collect(), currency, exponent })
}

/// What `after` of the next page is.
fn cursor(name: &str, product: &str) -> String {
    format!("{product}{name}")
}

/// The place that a cursor says.
pub fn read_cursor(cursor: &str) -> Option<(String, Uuid)> {
    let (id, name) = (cursor.get(..36)?, cursor.get(36..)?);
    Some((name.to_owned(), id.parse().ok()?))
}

/// The conditions of a question, with what they are compared with.
struct Found {
    conditions: Vec<String>,
    values: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Found {
    fn of(question: &ProductsQuestion) -> Self {
        let mut found = Self { conditions: Vec::new(), values: Vec::new() };
        if let Some(search) = &question.search {
            match tsquery(search) {
                Some(query) => found.push("p.search @@ $::text::tsquery", query),
                // Nothing to look for but signs: nothing is found by them.
                None if !search.trim().is_empty() => found.conditions.push("false".to_owned()),
                None => {}
            }
        }
        if let Some(category) = &question.category {
            found.push("p.category = $", category.clone());
        }
        if let Some(active) = question.active {
            found.push("p.active = $", active);
        }
        found
    }

    fn push(&mut self, condition: &str, value: impl ToSql + Sync + Send + 'static) {
        self.values.push(Box::new(value));
        self.conditions.push(condition.replace('$', &format!("${}", self.values.len())));
    }

    fn sql(&self, conditions: &[String]) -> String {
        let all: Vec<&str> = self.conditions.iter().chain(conditions).map(String::as_str).collect();
        if all.is_empty() { String::new() } else { format!("WHERE {}", all.join(" AND ")) }
    }

    fn values<'a>(&'a self, more: &[&'a (dyn ToSql + Sync)]) -> Vec<&'a (dyn ToSql + Sync)> {
        let own = self.values.iter().map(|value| -> &(dyn ToSql + Sync) { &**value });
        own.chain(more.iter().copied()).collect()
    }

    async fn total(&self, tx: &Transaction<'_>) -> Result<i64, CentralError> {
        let sql = format!("SELECT count(*) FROM products AS p {}", self.sql(&[]));
        Ok(tx.query_one(&sql, &self.values(&[])).await?.get(0))
    }

    async fn rows(&self, tx: &Transaction<'_>, question: &ProductsQuestion) -> Result<Vec<ExportRow>, CentralError> {
        let n = self.values.len();
        let mut conditions = Vec::new();
        let mut more: Vec<&(dyn ToSql + Sync)> = vec![&question.limit];
        if let Some((name, id)) = &question.after {
            conditions.push(format!("(p.name, p.product_id) > (${}::text, ${}::uuid)", n + 2, n + 3));
            more.extend([name as &(dyn ToSql + Sync), id]);
        }
        let sql = format!(
            "SELECT p.product_id, p.code, p.name, p.barcodes, p.category, p.price_centi, p.tax_class, coalesce(c.rate_bp, p.tax_rate_bp),
                 p.picture, p.active, p.tax_rate_bp, c.name
             FROM products AS p LEFT JOIN tax_classes AS c ON c.tax_class_id = p.tax_class {}
             ORDER BY p.name, p.product_id LIMIT ${}",
            self.sql(&conditions),
            n + 1
        );
        let rows = tx.query(&sql, &self.values(&more)).await?;
        let text = |id: Option<Uuid>| id.map(|id| id.to_string());
        Ok(rows
            .iter()
            .map(|row| ExportRow {
                row: ProductRow {
                    product: row.get::<_, Uuid>(0).to_string(),
                    code: row.get(1),
                    name: row.get(2),
                    barcodes: row.get(3),
                    category: row.get(4),
                    price_centi: row.get(5),
                    tax_class: text(row.get(6)),
                    tax_rate_bp: row.get(7),
                    picture: text(row.get(8)),
                    active: row.get(9),
                },
                own_rate_bp: row.get(10),
                tax_class: row.get(11),
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_alike_in_products_and_searches() {
        let of = |text: &str, codes: &[&str]| search_words(&[text], &codes.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>());
        assert_eq!(of("Crème brûlée, 2 × 100 g", &["4006381333931"]), ["100", "2", "4006381333931", "brulee", "creme", "g"]);
        assert_eq!(tsquery("CRÈME  bru").as_deref(), Some("'creme':* & 'bru':*"));
        assert_eq!(tsquery("85123A-2").as_deref(), Some("'85123a':* & '2':*"));
        assert_eq!(tsquery("' | !"), None);
        assert_eq!(tsquery("너구리 うどん").as_deref().map(|q| q.matches("':*").count()), Some(2));
    }

    #[test]
    fn a_cursor_names_its_place() {
        let id = Uuid::from_u128(7);
        assert_eq!(read_cursor(&cursor("Tee 1|2", &id.to_string())), Some(("Tee 1|2".to_owned(), id)));
        assert_eq!((read_cursor("x"), read_cursor("")), (None, None));
    }
}
