//! An open order as a document: registers under flat keys, so that merging is the union of what people did.
//!
//! | key | written | value | when written at once |
//! |---|---|---|---|
//! | `opened` | once, by the first change | `[store, tax mode, reference]` | the first stands |
//! | `label`, `note` | whenever they change | text | the later stands |
//! | `line/<line>` | once | `[place, product, code, name, quantity, unit price, tax rate]` | the first stands |
//! | `add/<line>/<addition>` | once | a quantity, not zero | all add up |
//! | `void/<line>` | once | null | the first stands, over every quantity |
//! | `paid/<sale>` | once | `{line: quantity}`, what the sale sold of the order | all stand |
//! | `cancelled` | once | null | the first stands; a payment stands over it |
//!
//! Ids are 32 lowercase hexadecimal digits. A key that is not in the table is left alone: a newer program wrote it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use automerge::{ROOT, ReadDoc};
use domain::cart::CartLine;
use domain::document::{CODE_BYTES_MAX, DocumentKind, NAME_BYTES_MAX};
use domain::ids::{AdditionId, LineId, OpenOrderId, OrderId, ProductId, StaffId, StoreId};
use domain::money::{MoneyError, Quantity, UnitPrice};
use domain::open_order::{
    LABEL_BYTES_MAX, LINES_MAX, NOTE_BYTES_MAX, OpenOrder, OpenOrderLine, OpenOrderPayment, OpenOrderStatus, Stamp,
};
use domain::record::TEXT_BYTES_MAX;
use domain::tax::{TAX_RATE_BP_MAX, TaxMode};
use journal::Hlc;
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::register::Register;
use super::{CHANGE_BYTES_MAX, Document, DocumentError};

/// Bytes of lines that a change may hold beside what else is in it.
const LINES_BYTES_MAX: usize = CHANGE_BYTES_MAX - 8 * 1024;
/// Lines that a change may hold beside what else is in it.
const LINES_PER_CHANGE_MAX: usize = 400;
/// What a line takes in a change besides its value: its key, who and when, and what Automerge notes of it.
const LINE_OVERHEAD_BYTES: usize = 80;

/// The id of the open order of what was added to one while it was paid elsewhere, the same for everybody who makes it.
pub fn rest_id(paid: OpenOrderId) -> OpenOrderId {
    let hash: [u8; 32] = Sha256::new().chain_update(b"evertill/rest/1").chain_update(paid.as_bytes()).finalize().into();
    OpenOrderId(Uuid::from_bytes(*hash.first_chunk().expect("a hash has 32 bytes")))
}

/// Why an open order was not written. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenOrderError {
    /// It is paid or cancelled.
    #[error("the order is closed: open a new one")]
    Closed,
    /// There is an order under that id already.
    #[error("the order is there already")]
    Exists,
    /// It has no such line, or the line is voided.
    #[error("that line is not there any more: look at the order again")]
    NoSuchLine,
    /// There is something of that id already.
    #[error("that was written already")]
    Again,
    /// Nothing to write.
    #[error("there is nothing to write")]
    Empty,
    /// [`LINES_MAX`] lines would be exceeded.
    #[error("the order has {LINES_MAX} lines, the most that an open order can hold: settle it and go on with another one")]
    Full,
    /// More than a change holds: [`changes_of`] says what goes into one.
    #[error("that is more than one change holds, with {bytes} bytes")]
    TooLarge {
        /// How large the change would be.
        bytes: usize,
    },
    /// A text, a price or a tax rate beyond its bound.
    #[error("the {0} is beyond its bound")]
    Bound(&'static str),
    /// A quantity beyond its bound.
    #[error(transparent)]
    Quantity(#[from] MoneyError),
    /// The document does not read.
    #[error("the order does not read")]
    Document(#[from] DocumentError),
}

/// The lines in as many parts as it takes to write each as one change: the first with [`Document::park`], the others with
/// [`Document::add_lines`], all of them in one commit.
pub fn changes_of(lines: &[OpenOrderLine]) -> Vec<&[OpenOrderLine]> {
    let (mut parts, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, line) in lines.iter().enumerate() {
        let more = LINE_OVERHEAD_BYTES + Value::of_line(0, line).encode().len();
        if at > from && (bytes + more > LINES_BYTES_MAX || at - from == LINES_PER_CHANGE_MAX) {
            parts.push(&lines[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += more;
    }
    parts.push(&lines[from..]);
    parts
}

/// Each of these writes exactly one change, and answers it. `actor` is this process's own, random per start; `author` is who does it, `at`
/// when: the entry must say the same.
///
/// # Panics
/// All of them, when the document is of another kind: a caller's mistake.
impl Document {
    /// Parks an order: the first change of its document. Lines that do not fit are added by further changes ([`changes_of`]).
    ///
    /// # Errors
    /// A document that is written already, or a bound.
    ///
    /// # Panics
    /// When `order` has another id than the document, or is closed already: a caller's mistake.
    pub fn park(&mut self, order: &OpenOrder, at: Hlc, author: [u8; 16], actor: [u8; 16]) -> Result<Vec<u8>, OpenOrderError> {
        assert!(*order.id.as_bytes() == self.id, "a document holds one id");
        assert!(order.status() == OpenOrderStatus::Open, "what is parked is open");
        if !self.heads().is_empty() {
            return Err(OpenOrderError::Exists);
        }
        let opened = Opened { store: order.store, tax_mode: order.tax_mode, reference: order.reference.clone() };
        let mut puts = vec![(Key::Opened, Value::Opened(opened))];
        puts.extend((!order.label.is_empty()).then(|| (Key::Label, Value::Text(order.label.clone()))));
        puts.extend((!order.note.is_empty()).then(|| (Key::Note, Value::Text(order.note.clone()))));
        puts.extend(line_puts(0, &order.lines)?);
        self.put_order(puts, at, author, actor)
    }

    /// Adds lines.
    ///
    /// # Errors
    /// An order that is closed, a line that is there already, or a bound.
    pub fn add_lines(
        &mut self,
        lines: &[OpenOrderLine],
        at: Hlc,
        author: [u8; 16],
        actor: [u8; 16],
    ) -> Result<Vec<u8>, OpenOrderError> {
        let order = self.still_open()?;
        if lines.iter().any(|line| order.lines.iter().any(|other| other.id == line.id)) {
            return Err(OpenOrderError::Again);
        }
        let puts = line_puts(order.lines.len(), lines)?;
        self.put_order(puts, at, author, actor)
    }

    /// Adds to what a line holds, or takes from it when the quantity is below zero. To take all of it out, void it.
    ///
    /// # Errors
    /// An order that is closed, a line that is not there, nothing left of the line, or a bound.
    pub fn add_quantity(
        &mut self,
        line: LineId,
        addition: AdditionId,
        quantity: Quantity,
        at: Hlc,
        author: [u8; 16],
        actor: [u8; 16],
    ) -> Result<Vec<u8>, OpenOrderError> {
        let order = self.still_open()?;
        let goods = &standing(&order, line)?.goods;
        let sum = Quantity(goods.quantity.0.saturating_add(quantity.checked()?.0)).checked()?;
        if sum.0 < 0 {
            return Err(MoneyError::Quantity.into());
        }
        let key = Key::Addition(line, addition);
        if self.first(&key.to_string()).is_some() {
            return Err(OpenOrderError::Again);
        }
        self.put_order(vec![(key, Value::Quantity(quantity))], at, author, actor)
    }

    /// Voids a line: it is no longer in the order, whatever is added to it at the same time.
    ///
    /// # Errors
    /// An order that is closed, or a line that is not there.
    pub fn void_line(&mut self, line: LineId, at: Hlc, author: [u8; 16], actor: [u8; 16]) -> Result<Vec<u8>, OpenOrderError> {
        standing(&self.still_open()?, line)?;
        self.put_order(vec![(Key::Void(line), Value::Nothing)], at, author, actor)
    }

    /// Notes that a sale paid the order, and how much of which line it sold. It is a fact that a sale was made, so it is noted of an order
    /// that is closed, too; [`OpenOrder::exceptions`] then says what does not fit together.
    ///
    /// # Errors
    /// A sale that is noted already, a sale of nothing, or a line that was never there.
    pub fn mark_paid(
        &mut self,
        sale: OrderId,
        covered: &BTreeMap<LineId, Quantity>,
        at: Hlc,
        author: [u8; 16],
        actor: [u8; 16],
    ) -> Result<Vec<u8>, OpenOrderError> {
        let order = self.open_order()?;
        if order.payments.iter().any(|payment| payment.sale == sale) {
            return Err(OpenOrderError::Again);
        }
        if covered.is_empty() {
            return Err(OpenOrderError::Empty);
        }
        if !covered.keys().all(|line| order.lines.iter().any(|other| other.id == *line)) {
            return Err(OpenOrderError::NoSuchLine);
        }
        self.put_order(vec![(Key::Paid(sale), Value::Covered(covered.clone()))], at, author, actor)
    }

    /// Gives the order up.
    ///
    /// # Errors
    /// An order that is closed.
    pub fn cancel(&mut self, at: Hlc, author: [u8; 16], actor: [u8; 16]) -> Result<Vec<u8>, OpenOrderError> {
        self.still_open()?;
        self.put_order(vec![(Key::Cancelled, Value::Nothing)], at, author, actor)
    }

    /// Changes what the order is called and what is noted of it. Answers nothing when it says that already.
    ///
    /// # Errors
    /// An order that is closed, or a text that is too long.
    pub fn relabel(
        &mut self,
        label: &str,
        note: &str,
        at: Hlc,
        author: [u8; 16],
        actor: [u8; 16],
    ) -> Result<Option<Vec<u8>>, OpenOrderError> {
        let order = self.still_open()?;
        let texts = [(Key::Label, &order.label, label), (Key::Note, &order.note, note)];
        let differing = texts.into_iter().filter(|(_, old, new)| old != new);
        let puts: Vec<_> = differing.map(|(key, _, new)| (key, Value::Text(new.to_owned()))).collect();
        if puts.is_empty() {
            return Ok(None);
        }
        self.put_order(puts, at, author, actor).map(Some)
    }

    /// The order that every replica with the same changes reads.
    ///
    /// # Errors
    /// A document that nobody has parked an order in, or that holds what no order holds.
    ///
    /// # Panics
    /// When the document is of another kind: a caller's mistake.
    pub fn open_order(&self) -> Result<OpenOrder, DocumentError> {
        assert!(self.kind == DocumentKind::OpenOrder, "only an open order reads as one");
        let opened = self.opened()?;
        let mut order = OpenOrder {
            id: OpenOrderId(Uuid::from_bytes(self.id)),
            store: opened.store,
            label: String::new(),
            note: String::new(),
            tax_mode: opened.tax_mode,
            reference: opened.reference,
            lines: Vec::new(),
            payments: Vec::new(),
            cancelled: None,
        };
        let mut lines = BTreeMap::new();
        let mut added = BTreeMap::<LineId, i64>::new();
        let mut voided = BTreeMap::new();
        for name in self.doc.keys(ROOT) {
            let Some(key) = Key::of(&name) else { continue };
            let register = if key.is_written_once() { self.first(&name) } else { self.last(&name) };
            let register = register.ok_or(key.broken())?;
            let stamp = register.stamp();
            match (key, Value::of(key, &register.value).ok_or(key.broken())?) {
                (Key::Line(id), Value::Line(line)) => drop(lines.insert((register.at, line.place, id), line)),
                (Key::Addition(line, _), Value::Quantity(quantity)) => {
                    let sum = added.entry(line).or_default();
                    *sum = sum.saturating_add(quantity.0);
                }
                (Key::Void(line), _) => drop(voided.insert(line, stamp)),
                (Key::Paid(sale), Value::Covered(covered)) => order.payments.push(OpenOrderPayment { sale, covered, stamp }),
                (Key::Label, Value::Text(label)) => order.label = label,
                (Key::Note, Value::Text(note)) => order.note = note,
                (Key::Cancelled, _) => order.cancelled = Some(stamp),
                _ => {}
            }
        }
        order.lines = lines.into_iter().map(|((.., id), line)| line.read(id, &added, &voided)).collect();
        Ok(order)
    }

    /// Whether a line of that id was ever put into the order.
    pub fn has_line(&self, line: LineId) -> bool {
        self.first(&Key::Line(line).to_string()).is_some()
    }

    /// Whether an addition of that id was ever made to a line.
    pub fn has_addition(&self, line: LineId, addition: AdditionId) -> bool {
        self.first(&Key::Addition(line, addition).to_string()).is_some()
    }

    /// Who parked the order and when, and who did something to it last; none of a document that nobody has parked an order in.
    ///
    /// # Panics
    /// When the document is of another kind: a caller's mistake.
    pub fn open_order_stamps(&self) -> Option<(Stamp, Stamp)> {
        assert!(self.kind == DocumentKind::OpenOrder, "only an open order reads as one");
        let last =
            self.doc.keys(ROOT).flat_map(|key| self.registers(&key)).max_by_key(|(register, change)| (register.at, *change));
        Some((self.first(&Key::Opened.to_string())?.stamp(), last?.0.stamp()))
    }

    /// How the order was parked.
    pub(super) fn opened(&self) -> Result<Opened, DocumentError> {
        let missing = DocumentError::Field { field: "opened", why: "is missing" };
        let register = self.first(&Key::Opened.to_string()).ok_or(missing)?;
        match Value::of(Key::Opened, &register.value) {
            Some(Value::Opened(opened)) => Ok(opened),
            _ => Err(Key::Opened.broken()),
        }
    }

    /// The order, to add to it.
    fn still_open(&self) -> Result<OpenOrder, OpenOrderError> {
        let order = self.open_order()?;
        match order.status() {
            OpenOrderStatus::Open => Ok(order),
            _ => Err(OpenOrderError::Closed),
        }
    }

    fn put_order(
        &mut self,
        puts: Vec<(Key, Value)>,
        at: Hlc,
        author: [u8; 16],
        actor: [u8; 16],
    ) -> Result<Vec<u8>, OpenOrderError> {
        assert!(self.kind == DocumentKind::OpenOrder, "only an open order is written as one");
        for (key, value) in &puts {
            value.check(*key)?;
            debug_assert!(Value::of(*key, &value.encode()).as_ref() == Some(value), "what is written reads as itself");
        }
        let mut written = self.clone();
        let fields = puts.into_iter().map(|(key, value)| (key.to_string(), value.encode())).collect();
        let change = written.put(fields, at, author, actor).ok_or(OpenOrderError::Empty)?;
        if change.len() > CHANGE_BYTES_MAX {
            return Err(OpenOrderError::TooLarge { bytes: change.len() });
        }
        *self = written;
        Ok(change)
    }
}

/// What writes some lines, after so many that are there.
fn line_puts(there: usize, lines: &[OpenOrderLine]) -> Result<Vec<(Key, Value)>, OpenOrderError> {
    if there + lines.len() > LINES_MAX {
        return Err(OpenOrderError::Full);
    }
    if lines.is_empty() {
        return Err(OpenOrderError::Empty);
    }
    let mut puts = Vec::with_capacity(lines.len());
    let mut ids = BTreeSet::new();
    for (place, line) in (0..).zip(lines) {
        if !ids.insert(line.id) {
            return Err(OpenOrderError::Again);
        }
        if line.voided.is_some() {
            return Err(OpenOrderError::NoSuchLine);
        }
        puts.push((Key::Line(line.id), Value::of_line(place, line)));
    }
    Ok(puts)
}

fn standing(order: &OpenOrder, line: LineId) -> Result<&OpenOrderLine, OpenOrderError> {
    order.lines.iter().find(|other| other.id == line && other.voided.is_none()).ok_or(OpenOrderError::NoSuchLine)
}

/// A key of an open order's document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Opened,
    Label,
    Note,
    Line(LineId),
    Addition(LineId, AdditionId),
    Void(LineId),
    Paid(OrderId),
    Cancelled,
}

impl Key {
    /// The key of its one spelling.
    pub(super) fn of(name: &str) -> Option<Self> {
        let mut parts = name.split('/');
        let (word, first, second) = (parts.next()?, parts.next(), parts.next());
        if parts.next().is_some() {
            return None;
        }
        Some(match (word, first, second) {
            ("opened", None, None) => Self::Opened,
            ("label", None, None) => Self::Label,
            ("note", None, None) => Self::Note,
            ("cancelled", None, None) => Self::Cancelled,
            ("line", Some(line), None) => Self::Line(LineId(id_of(line)?)),
            ("void", Some(line), None) => Self::Void(LineId(id_of(line)?)),
            ("paid", Some(sale), None) => Self::Paid(OrderId(id_of(sale)?)),
            ("add", Some(line), Some(addition)) => Self::Addition(LineId(id_of(line)?), AdditionId(id_of(addition)?)),
            _ => return None,
        })
    }

    /// Whether nobody writes it again who has seen it.
    pub(super) fn is_written_once(self) -> bool {
        !matches!(self, Self::Label | Self::Note)
    }

    fn broken(self) -> DocumentError {
        let field = match self {
            Self::Opened => "opened",
            Self::Label => "label",
            Self::Note => "note",
            Self::Line(_) => "line",
            Self::Addition(..) => "add",
            Self::Void(_) => "void",
            Self::Paid(_) => "paid",
            Self::Cancelled => "cancelled",
        };
        DocumentError::Field { field, why: "makes no sense" }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened => f.write_str("opened"),
            Self::Label => f.write_str("label"),
            Self::Note => f.write_str("note"),
            Self::Line(line) => write!(f, "line/{}", line.0.simple()),
            Self::Addition(line, addition) => write!(f, "add/{}/{}", line.0.simple(), addition.0.simple()),
            Self::Void(line) => write!(f, "void/{}", line.0.simple()),
            Self::Paid(sale) => write!(f, "paid/{}", sale.0.simple()),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

/// An id of 32 lowercase hexadecimal digits.
fn id_of(digits: &str) -> Option<Uuid> {
    let plain = digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if plain { Uuid::try_parse(digits).ok() } else { None }
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Opened(Opened),
    Text(String),
    Line(Line),
    Quantity(Quantity),
    Covered(BTreeMap<LineId, Quantity>),
    Nothing,
}

/// How an order was parked. An array, so new fields go to its end.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Opened {
    #[n(0)]
    pub(super) store: StoreId,
    #[n(1)]
    tax_mode: Option<TaxMode>,
    #[n(2)]
    reference: Option<String>,
}

/// A line as it was added. An array, so new fields go to its end.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Line {
    /// Its place among the lines of its change, from 0.
    #[n(0)]
    place: u16,
    #[n(1)]
    product: ProductId,
    #[n(2)]
    code: String,
    #[n(3)]
    name: String,
    #[n(4)]
    quantity: Quantity,
    #[n(5)]
    unit_price: UnitPrice,
    #[n(6)]
    tax_rate_bp: u32,
}

impl Line {
    fn read(self, id: LineId, added: &BTreeMap<LineId, i64>, voided: &BTreeMap<LineId, Stamp>) -> OpenOrderLine {
        let quantity = self.quantity.0.saturating_add(added.get(&id).copied().unwrap_or(0));
        let goods = CartLine {
            product: self.product,
            code: self.code,
            name: self.name,
            quantity: Quantity(quantity),
            unit_price: self.unit_price,
            tax_rate_bp: self.tax_rate_bp,
            open_line: None,
        };
        OpenOrderLine { id, goods, voided: voided.get(&id).copied() }
    }
}

impl Value {
    fn of_line(place: u16, line: &OpenOrderLine) -> Self {
        let goods = &line.goods;
        Self::Line(Line {
            place,
            product: goods.product,
            code: goods.code.clone(),
            name: goods.name.clone(),
            quantity: goods.quantity,
            unit_price: goods.unit_price,
            tax_rate_bp: goods.tax_rate_bp,
        })
    }

    /// The value of a key, when it is one that the key may have, within its bounds and in its one form.
    pub(super) fn of(key: Key, cbor: &[u8]) -> Option<Self> {
        fn read<'b, T: Decode<'b, ()>>(cbor: &'b [u8]) -> Option<T> {
            minicbor::decode(cbor).ok()
        }
        let value = match key {
            Key::Opened => Self::Opened(read(cbor)?),
            Key::Label | Key::Note => Self::Text(read(cbor)?),
            Key::Line(_) => Self::Line(read(cbor)?),
            Key::Addition(..) => Self::Quantity(read(cbor)?),
            Key::Paid(_) => Self::Covered(read(cbor)?),
            Key::Void(_) | Key::Cancelled => Self::Nothing,
        };
        (value.check(key).is_ok() && value.encode() == cbor).then_some(value)
    }

    /// Whether it is within its bounds.
    fn check(&self, key: Key) -> Result<(), OpenOrderError> {
        let within = |is: bool, what| if is { Ok(()) } else { Err(OpenOrderError::Bound(what)) };
        match self {
            Self::Opened(opened) => {
                within(opened.reference.as_ref().is_none_or(|reference| reference.len() <= TEXT_BYTES_MAX), "reference")
            }
            Self::Text(text) if key == Key::Label => within(text.len() <= LABEL_BYTES_MAX, "label"),
            Self::Text(text) => within(text.len() <= NOTE_BYTES_MAX, "note"),
            Self::Line(line) => {
                within(line.code.len() <= CODE_BYTES_MAX, "code")?;
                within(line.name.len() <= NAME_BYTES_MAX, "name")?;
                within(line.tax_rate_bp <= TAX_RATE_BP_MAX, "tax rate")?;
                line.unit_price.checked()?;
                within(line.quantity.checked()?.0 > 0, "quantity")
            }
            Self::Quantity(quantity) => quantity.checked().map(drop).map_err(OpenOrderError::from),
            Self::Covered(covered) => {
                within(!covered.is_empty(), "payment")?;
                covered.values().try_for_each(|quantity| within(quantity.checked()?.0 > 0, "quantity"))
            }
            Self::Nothing => Ok(()),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let written = match self {
            Self::Opened(opened) => minicbor::to_vec(opened),
            Self::Text(text) => minicbor::to_vec(text),
            Self::Line(line) => minicbor::to_vec(line),
            Self::Quantity(quantity) => minicbor::to_vec(quantity),
            Self::Covered(covered) => minicbor::to_vec(covered),
            Self::Nothing => Ok(vec![0xf6]),
        };
        written.expect("writing to a Vec cannot fail")
    }
}

impl Register {
    fn stamp(&self) -> Stamp {
        Stamp { by: StaffId(Uuid::from_bytes(self.author)), at_unix_ms: self.at.unix_ms() }
    }
}

impl Document {
    /// The register under a key that is written once: where several wrote it at once, the first, so that nobody writes over what is there.
    fn first(&self, key: &str) -> Option<Register> {
        self.registers(key).into_iter().min_by_key(|(register, change)| (register.at, *change)).map(|(register, _)| register)
    }

    /// The register under a key that may be written again: where several wrote it at once, the last.
    fn last(&self, key: &str) -> Option<Register> {
        self.registers(key).into_iter().max_by_key(|(register, change)| (register.at, *change)).map(|(register, _)| register)
    }
}
