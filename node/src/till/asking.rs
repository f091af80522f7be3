//! Sales that are not here: the server is asked for them, and what it tells is verified and shown, but counted nowhere.
//!
//! A sale whose content has gone ([`crate::store::retention`]) still has its row here; one that has not arrived yet has none. Either way the number on the
//! receipt finds it at the server, which tells the commit of the sale and those of its refunds as their devices signed them. They are kept in memory
//! for as long as somebody may look at them: stock, money and the log know nothing of them.

use std::collections::{BTreeMap, VecDeque};

use domain::ids::{DeviceId, OrderId};
use domain::money::Quantity;
use domain::record::{DeviceKind, Order, Record};
use journal::{ChainedEntry, Entry, Origin, OriginChain, View};
use sync_proto::batch::Run;
use sync_proto::frame::{RECEIPT_BYTES_MAX, Told};
use uuid::Uuid;

use super::Till;
use crate::api::{ApiError, ApiErrorCode as Code, LinkState, Query};
use crate::errors::chain_of;
use crate::store::orders::{self, OrderRow};
use crate::store::{StoreError, log, people};

/// Questions that may wait for an answer at once.
const ASKED_MAX: usize = 16;
/// Orders that were told and are kept in memory.
const TOLD_MAX: usize = 32;

/// A question to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Which.
    pub number: u32,
    /// The receipt that is asked for.
    pub receipt: String,
}

/// What the server is asked for, and what it has told.
#[derive(Debug, Default)]
pub(super) struct Asking {
    last: u32,
    /// Not sent yet.
    to_send: VecDeque<Question>,
    /// The receipts that were asked for, each with the answer once it is there.
    asked: BTreeMap<u32, (String, Option<Result<(), ApiError>>)>,
    /// The newest last.
    told: VecDeque<ToldSale>,
    /// Rises with every question, and with every answer.
    questions: u64,
    answers: u64,
}

/// An order and where it was written.
#[derive(Debug, Clone)]
pub(super) struct Looked {
    pub(super) row: OrderRow,
    pub(super) entry: Entry,
    pub(super) order: Order,
}

/// An order that the server told of, with its refunds.
#[derive(Debug)]
struct ToldSale {
    sale: Looked,
    refunds: Vec<Looked>,
}

impl Till {
    /// Asks the server for the order of a receipt. Answers the number of the question, for [`Self::take_answer`].
    ///
    /// # Errors
    /// Why nobody can be asked now.
    pub fn ask_server(&mut self, receipt: &str) -> Result<u32, ApiError> {
        if self.link.state != LinkState::Online {
            return Err(self.nobody_to_ask());
        }
        if self.asking.asked.len() >= ASKED_MAX {
            // Whoever asked may have gone away without its answer.
            let answered = self.asking.asked.iter().find(|(_, (_, answer))| answer.is_some()).map(|(number, _)| *number);
            answered.and_then(|number| self.asking.asked.remove(&number));
        }
        if self.asking.asked.len() >= ASKED_MAX {
            return Err(ApiError::new(Code::NotKept, "the server is asked for many sales already: wait a moment and try again"));
        }
        let asking = &mut self.asking;
        asking.last = asking.last.wrapping_add(1);
        asking.asked.insert(asking.last, (receipt.to_owned(), None));
        asking.to_send.push_back(Question { number: asking.last, receipt: receipt.to_owned() });
        asking.questions += 1;
        Ok(asking.last)
    }

    /// The answer to a question, once it is there: nothing beside it, because what was told is found like any other order then.
    pub fn take_answer(&mut self, number: u32) -> Option<Result<(), ApiError>> {
        let answer = self.asking.asked.get_mut(&number)?.1.take()?;
        self.asking.asked.remove(&number);
        Some(answer)
    }

    /// Forgets a question that took too long. Answers what is said of it.
    pub fn give_up_asking(&mut self, number: u32) -> ApiError {
        self.asking.asked.remove(&number);
        self.asking.to_send.retain(|question| question.number != number);
        ApiError::new(
            Code::NotKept,
            "the server was asked for this sale and has not answered: try again, or refund without the sale",
        )
    }

    /// The questions that are to be sent.
    pub fn questions(&mut self) -> Vec<Question> {
        self.asking.to_send.drain(..).collect()
    }

    /// Rises whenever there is another question.
    pub fn asked(&self) -> u64 {
        self.asking.questions
    }

    /// Rises whenever there is another answer.
    pub fn answered(&self) -> u64 {
        self.asking.answers
    }

    /// Notes that a question cannot be asked: the server's program does not know such questions yet.
    pub fn cannot_ask(&mut self, question: &Question) {
        let why =
            "this sale is not kept on this till, and the server's program is too old to be asked for it: refund without the sale";
        self.answer(question.number, Err(ApiError::new(Code::NotKept, why)));
    }

    /// Notes that the link is gone: whoever waits for an answer is told.
    pub(super) fn stop_asking(&mut self) {
        self.asking.to_send.clear();
        let waiting: Vec<u32> = self.asking.asked.iter().filter(|(_, (_, answer))| answer.is_none()).map(|(n, _)| *n).collect();
        for number in waiting {
            let error = self.nobody_to_ask();
            self.answer(number, Err(error));
        }
    }

    fn answer(&mut self, number: u32, answer: Result<(), ApiError>) {
        if let Some((_, open)) = self.asking.asked.get_mut(&number) {
            *open = Some(answer);
        }
        self.asking.answers += 1;
    }

    fn nobody_to_ask(&self) -> ApiError {
        let sentence = match self.keep_days() {
            Some(days @ 2..) => format!(
                "this till keeps sales whole for {days} days, and this one is older or has not arrived yet; the server has it, and cannot be reached now: try again once this till is connected, or refund without the sale"
            ),
            _ => "this sale is not kept on this till any more, or has not arrived yet; the server has it, and cannot be reached now: try again once this till is connected, or refund without the sale".to_owned(),
        };
        ApiError::new(Code::NotKept, sentence)
    }

    /// Takes in what the server tells of an order.
    pub fn told(&mut self, told: Told) {
        let Told { number, runs } = told;
        let receipt = self.asking.asked.get(&number).map(|(receipt, _)| receipt.clone()).unwrap_or_default();
        let answer = match self.verified(runs) {
            Ok(mut orders) => {
                // Whose series it is may not have arrived here.
                if let (Some(first), Some((series, _))) = (orders.first_mut(), receipt.trim().rsplit_once('-'))
                    && first.row.series.is_empty()
                {
                    series.clone_into(&mut first.row.series);
                }
                let found = !orders.is_empty();
                self.keep_told(orders);
                let unknown = || {
                    ApiError::new(Code::NoSuchOrder, "no till of this store has written this receipt: look at its number again")
                };
                if found { Ok(()) } else { Err(unknown()) }
            }
            Err(why) => {
                tracing::warn!(why, "what the server told of a sale does not hold");
                let message = "what the server told of this sale is not what was signed: refund without the sale, and tell whoever looks after the server";
                Err(ApiError::new(Code::NotKept, message))
            }
        };
        self.answer(number, answer);
    }

    /// The orders in runs whose chains and seals hold.
    fn verified(&self, runs: Vec<Run>) -> Result<Vec<Looked>, String> {
        let mut orders = Vec::new();
        for run in runs {
            let origin = run.origin;
            if run.before.keys().any(|scope| *scope != self.scope) {
                return Err("it is of another scope".to_owned());
            }
            if !self.is_till_of_this_store(origin).map_err(|error| chain_of(&error))? {
                return Err(format!("device {} is no till of this store", Uuid::from_bytes(origin.device)));
            }
            let db = self.db().map_err(|error| chain_of(&error))?;
            let key = self.key_of(db, origin.device).map_err(|error| chain_of(&error))?.ok_or("its device has no key")?;
            // Where it stands in the chain the run says itself: the seal at its end is over hashes that carry that, too.
            let mut chain = OriginChain { origin, commit: 0, heads: run.before };
            let commits = chain.verify(&key, View::Partial(&self.followed), run.commits).map_err(|error| chain_of(&error))?;
            for entry in commits.first().into_iter().flatten() {
                orders.extend(self.looked(origin, entry).map_err(|error| chain_of(&error))?);
            }
        }
        Ok(orders)
    }

    fn is_till_of_this_store(&self, origin: Origin) -> Result<bool, StoreError> {
        if origin.device == *self.identity.device().as_bytes() {
            return Ok(true);
        }
        let device = people::device(self.db()?, DeviceId(Uuid::from_bytes(origin.device)))?;
        Ok(device.is_some_and(|device| device.kind == DeviceKind::Till && device.store == Some(self.identity.store())))
    }

    /// The order of an entry that was told. One that has a row here has to be the same.
    fn looked(&self, origin: Origin, told: &ChainedEntry) -> Result<Option<Looked>, StoreError> {
        let Some(order) = orders::order_of(&told.entry) else { return Ok(None) };
        let db = self.db()?;
        let is_refund = matches!(&told.entry.body, journal::Body::Record { kind: Record::REFUND_GIVEN, .. });
        let known = orders::order(db, order.id)?;
        if let Some(row) = &known
            && log::hash_of(db, row.entry)? != told.hash
        {
            return Ok(None);
        }
        let series = match log::find_origin(db, origin)? {
            Some(row) => orders::series(db, row)?,
            None => String::new(),
        };
        let row = known.unwrap_or_else(|| OrderRow {
            id: order.id,
            origin: 0,
            device: origin.device,
            series,
            number: order.receipt_number,
            is_refund,
            at_ms: told.entry.at.unix_ms(),
            total_minor: order.total_minor,
            lines: order.lines.len() as u64,
            entry: 0,
        });
        Ok(Some(Looked { row, entry: told.entry.clone(), order }))
    }

    fn keep_told(&mut self, all: Vec<Looked>) {
        let (refunds, mut sales): (Vec<_>, Vec<_>) = all.into_iter().partition(|looked| looked.order.original.is_some());
        if sales.is_empty() {
            // The receipt was a refund's.
            sales.clone_from(&refunds);
        }
        for sale in sales {
            let of_it = refunds.iter().filter(|refund| refund.order.original == Some(sale.row.id)).cloned().collect();
            self.asking.told.retain(|told| told.sale.row.id != sale.row.id);
            self.asking.told.push_back(ToldSale { sale, refunds: of_it });
        }
        while self.asking.told.len() > TOLD_MAX {
            self.asking.told.pop_front();
        }
    }

    fn told_sale(&self, id: OrderId) -> Option<&ToldSale> {
        self.asking.told.iter().find(|told| told.sale.row.id == id)
    }

    /// An order with what it holds: from the log, or as the server told it.
    ///
    /// # Errors
    /// An order that nobody knows, or that the server has to be asked for first.
    pub(super) fn look_up(&self, id: OrderId) -> Result<Looked, ApiError> {
        let row = orders::order(self.db()?, id)?;
        if let Some(row) = &row
            && let Some((entry, order)) = orders::read_order(self.db()?, row.entry)?
        {
            return Ok(Looked { row: row.clone(), entry, order });
        }
        match (self.told_sale(id), row) {
            (Some(told), _) => Ok(told.sale.clone()),
            (None, Some(_)) => Err(not_kept()),
            (None, None) => Err(ApiError::new(Code::NoSuchOrder, "this till does not know that order: look it up again")),
        }
    }

    /// The order with a number, if it is here or was told of.
    ///
    /// # Errors
    /// A failing disk, or an order that the server has to be asked for first.
    pub(super) fn order_by_receipt(&self, receipt: &str) -> Result<OrderId, ApiError> {
        let receipt = receipt.trim();
        if receipt.len() > RECEIPT_BYTES_MAX {
            return Err(ApiError::new(Code::BadRequest, "this is no receipt number: look at the receipt again"));
        }
        let here = orders::newest(self.db()?, receipt, 2)?.into_iter().find(|row| row.receipt().eq_ignore_ascii_case(receipt));
        let told = || {
            let is_it = |told: &&ToldSale| told.sale.row.receipt().eq_ignore_ascii_case(receipt);
            self.asking.told.iter().rev().find(is_it).map(|told| told.sale.row.id)
        };
        here.map(|row| row.id).or_else(told).ok_or_else(not_kept)
    }

    /// The receipt number of an order, as far as it is known.
    pub(super) fn receipt_of(&self, id: OrderId) -> Result<Option<String>, StoreError> {
        let here = orders::order(self.db()?, id)?.map(|row| row.receipt());
        Ok(here.or_else(|| self.told_sale(id).map(|told| told.sale.row.receipt())))
    }

    /// Refunds of a sale that the server told of and that have not arrived here.
    pub(super) fn told_refunds(&self, sale: OrderId) -> Result<Vec<&Looked>, StoreError> {
        let mut new = Vec::new();
        for refund in self.told_sale(sale).into_iter().flat_map(|told| &told.refunds) {
            if orders::order(self.db()?, refund.row.id)?.is_none() {
                new.push(refund);
            }
        }
        Ok(new)
    }

    /// How much of each line of a sale came back, as far as this till or the server knows.
    pub(super) fn came_back(&self, sale: OrderId, lines: usize) -> Result<Vec<Quantity>, StoreError> {
        let mut back = orders::refunded(self.db()?, sale, lines)?;
        for refund in self.told_refunds(sale)? {
            for (_, line, quantity) in domain::fold::refunded_lines(&Record::RefundGiven(refund.order.clone())) {
                if let Some(sum) = back.get_mut(line as usize) {
                    sum.0 = sum.0.saturating_add(quantity.0);
                }
            }
        }
        Ok(back)
    }

    /// The receipt that has to be asked for before a query can be answered.
    pub fn receipt_to_ask_for(&self, query: &Query) -> Option<String> {
        match query {
            Query::Order { order } => orders::order(self.db().ok()?, *order).ok()?.map(|row| row.receipt()),
            Query::FindOrder { receipt } => Some(receipt.trim().to_owned()),
            _ => None,
        }
    }
}

fn not_kept() -> ApiError {
    ApiError::new(Code::NotKept, "this sale is not kept on this till: it is asked for at the server")
}
