//! Building, settling and refunding orders.

use domain::cart::{Cart, CartError, CartKind, RefundError, Terms, refund_of};
use domain::document::{CODE_BYTES_MAX, NAME_BYTES_MAX, Product, StaffMember, Store};
use domain::ids::OrderId;
use domain::money::{self, Currency, MoneyError, Quantity, UnitPrice};
use domain::receipt::{self, Circumstances};
use domain::record::{Order, Record, TEXT_BYTES_MAX};
use domain::staff::Permission;

use super::asking::Looked;
use super::{Beside, NewJob, Till};
use crate::api::{ApiError, ApiErrorCode as Code, Item, RefundLine};
use crate::store::{catalogue, orders};
use crate::ticket;

/// What a receipt says beside the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) order: &'a Order,
    pub(super) is_refund: bool,
    pub(super) series: &'a str,
    pub(super) at_ms: u64,
    pub(super) cashier: &'a str,
}

impl Till {
    pub(super) fn add_line(
        &mut self,
        item: &Item,
        quantity_milli: Option<i64>,
        unit_price: Option<i64>,
        name: Option<&str>,
        separate: bool,
    ) -> Result<(), ApiError> {
        self.permitted(Permission::Sell)?;
        let store = self.store()?;
        let product = self.find_product(item)?;
        if !product.active {
            return Err(ApiError::new(
                Code::InactiveProduct,
                format!("{} is not on sale any more: put it aside and ask a manager", product.name),
            ));
        }
        let price = match unit_price {
            Some(price) if price != product.price.0 => {
                self.permitted(Permission::OverridePrice)?;
                if price < 0 {
                    return Err(bad_amount("a price is not below zero: to give money back, refund the sale"));
                }
                UnitPrice(price)
            }
            _ => product.price,
        };
        let name = match name {
            Some(name) if name != product.name => {
                self.permitted(Permission::OverridePrice)?;
                bounded(name, NAME_BYTES_MAX, "a name")?
            }
            _ => &product.name,
        };
        let quantity = Quantity(quantity_milli.unwrap_or(Quantity::ONE.0));
        self.change_cart(&store, |cart| cart.add(&product, name, quantity, price, separate).map(Some))?;
        self.last_order = None;
        Ok(())
    }

    pub(super) fn set_quantity(&mut self, line: usize, quantity_milli: i64) -> Result<(), ApiError> {
        self.permitted(Permission::Sell)?;
        let store = self.store()?;
        self.change_cart(&store, |cart| cart.set_quantity(line, Quantity(quantity_milli)).map(|()| Some(line)))
    }

    pub(super) fn remove_line(&mut self, line: usize) -> Result<(), ApiError> {
        self.permitted(Permission::Sell)?;
        let store = self.store()?;
        self.change_cart(&store, |cart| cart.remove(line).map(|_| None))
    }

    pub(super) fn clear_cart(&mut self) -> Result<(), ApiError> {
        self.permitted(Permission::Sell)?;
        // An order that was taken up stays open, as it was.
        self.new_cart();
        Ok(())
    }

    pub(super) fn start_refund(&mut self, reason: String) -> Result<(), ApiError> {
        self.permitted(Permission::RefundWithoutSale)?;
        let store = self.store()?;
        if !self.cart.lines.is_empty() || self.cart.recalled.is_some() {
            return Err(cart_not_empty());
        }
        bounded(&reason, TEXT_BYTES_MAX, "a reason")?;
        self.change_cart(&store, |cart| {
            cart.kind = CartKind::Refund { reason };
            Ok(None)
        })
    }

    pub(super) fn set_reference(&mut self, reference: String) -> Result<(), ApiError> {
        self.permitted(Permission::Sell)?;
        let store = self.store()?;
        bounded(&reference, TEXT_BYTES_MAX, "a reference")?;
        let touched = self.touched;
        self.change_cart(&store, |cart| {
            cart.reference = (!reference.is_empty()).then_some(reference);
            Ok(touched)
        })
    }

    pub(super) fn settle_cash(&mut self, order: OrderId, tendered_minor: i64) -> Result<(), ApiError> {
        if order != self.cart.order {
            return self.settled_before(order);
        }
        let permission = match self.cart.kind {
            CartKind::Sale => Permission::Sell,
            CartKind::Refund { .. } => Permission::RefundWithoutSale,
        };
        let cashier = self.permitted(permission)?;
        let store = self.store()?;
        if orders::order(self.db()?, order)?.is_some() {
            // It is on the disk, but what followed went wrong and nobody was told. (Another history's order cannot have this id: a new
            // incarnation renames the cart.)
            self.last_order = Some(order);
            self.new_cart();
            return Ok(());
        }
        self.look_again()?;
        let short = |error| match error {
            CartError::TenderShort { short_minor } => tender_short(short_minor, store.currency),
            error => cart_error(error),
        };
        let order = self.cart.settle_in_cash(&self.cart_terms(&store)?, tendered_minor).map_err(short)?;
        let is_refund = matches!(self.cart.kind, CartKind::Refund { .. });
        self.settle(&store, &cashier, order, is_refund)?;
        self.new_cart();
        Ok(())
    }

    pub(super) fn refund_sale(
        &mut self,
        refund: OrderId,
        original: OrderId,
        lines: &[RefundLine],
        reason: &str,
    ) -> Result<(), ApiError> {
        if let Some(row) = orders::order(self.db()?, refund)? {
            // The same refund again; any other order under this id is a mistake, and saying that it is done would be a lie.
            return if row.is_refund { self.settled_before(refund) } else { Err(stale_order()) };
        }
        let cashier = self.permitted(Permission::RefundSale)?;
        let store = self.store()?;
        if refund == self.cart.order {
            return Err(stale_order());
        }
        bounded(reason, TEXT_BYTES_MAX, "a reason")?;
        let unknown = || {
            ApiError::new(Code::NoSuchOrder, "this till does not know that sale: look it up again, or refund without the sale")
        };
        let looked = self.look_up(original);
        let looked = looked.map_err(|error| if error.code == Code::NoSuchOrder { unknown() } else { error });
        let Looked { row, order: sale, .. } = looked?;
        if row.is_refund {
            return Err(unknown());
        }
        let before = self.came_back(original, sale.lines.len())?;
        let taken: Vec<_> = lines.iter().map(|l| (l.line, Quantity(l.quantity_milli))).collect();
        let refunded = |at: usize| before.get(at).copied().unwrap_or(Quantity(0));
        let order = refund_of(&self.terms(&store)?, refund, &sale, &taken, refunded, reason);
        let order = order.map_err(|error| match error {
            RefundError::MoreThanLeft { .. } => self.came_back_already(original, refund_error(error)),
            error => refund_error(error),
        })?;
        self.settle(&store, &cashier, order, true)
    }

    /// Says beside why a refund cannot be given where and when the sale was refunded before.
    fn came_back_already(&self, sale: OrderId, error: ApiError) -> ApiError {
        let Ok(Some(last)) = self.refunds_of(sale).map(|mut refunds| refunds.pop()) else { return error };
        let at = self.local_time(last.at_ms);
        let when = format!("{}, {at}, with receipt {}", last.till, last.receipt);
        let message = format!("{}; it was already refunded at {when}", error.message);
        ApiError { message, ..error }
    }

    /// Records an order with its receipt and drawer kick. When this returns, it is on disk.
    fn settle(&mut self, store: &Store, cashier: &StaffMember, order: Order, is_refund: bool) -> Result<(), ApiError> {
        let mut beside = Beside::default();
        if self.options.printing {
            // The record's own time, so that a copy says what the original said.
            let at_ms = self.from_disk.hlc.tick(self.env.unix_ms()).unix_ms();
            let said = Said { order: &order, is_refund, series: &self.identity.series(), at_ms, cashier: &cashier.name };
            beside.job = Some(self.receipt_job(store, said, None)?);
            beside.kick = (!order.payments.is_empty()).then(|| *order.id.as_bytes());
        }
        let (id, recalled) = (order.id, self.cart.recalled.as_ref().filter(|_| order.id == self.cart.order).map(|r| r.order));
        let record = if is_refund { Record::RefundGiven(order) } else { Record::SaleCompleted(order) };
        match recalled {
            Some(open_order) => self.settle_recalled(cashier, open_order, &record, beside)?,
            None => self.record(Some(cashier.id), &record, beside)?,
        }
        self.last_order = Some(id);
        Ok(())
    }

    /// The print job of an order's receipt: the original, or the copy of a number.
    pub(super) fn receipt_job(&self, store: &Store, said: Said<'_>, copy: Option<u32>) -> Result<NewJob, ApiError> {
        let Said { order, is_refund, series, at_ms, cashier } = said;
        let original_number = order.original.and_then(|original| self.receipt_of(original).transpose()).transpose()?;
        let number = receipt::receipt_number(series, order.receipt_number);
        let at = self.local_time(at_ms);
        let about = Circumstances { store, number: &number, at: &at, cashier, original_number: original_number.as_deref(), copy };
        let ticket = ticket::ticket(&receipt::receipt(order, is_refund, about));
        let document = serde_json::to_string(&ticket).expect("a ticket is JSON");
        Ok(NewJob { id: self.new_record_id(), order: order.id, copy_no: copy.unwrap_or(0), title: number, document })
    }

    /// Asking again for an order that this till has settled changes nothing and shows it.
    fn settled_before(&mut self, order: OrderId) -> Result<(), ApiError> {
        self.permitted(Permission::Sell)?;
        let row = orders::order(self.db()?, order)?;
        let own = row.is_some_and(|o| o.device == *self.identity.device().as_bytes());
        if !own {
            return Err(stale_order());
        }
        if self.last_order.is_none() && self.cart.lines.is_empty() {
            self.last_order = Some(order);
        }
        Ok(())
    }

    /// The terms of the cart, which keeps the tax mode that it began with.
    fn cart_terms(&self, store: &Store) -> Result<Terms, ApiError> {
        let terms = self.terms(store)?;
        Ok(Terms { tax_mode: self.cart.tax_mode.unwrap_or(terms.tax_mode), ..terms })
    }

    fn terms(&self, store: &Store) -> Result<Terms, ApiError> {
        Ok(Terms {
            receipt_number: self.from_disk.receipt + 1,
            shift: self.open_shift_row()?.id,
            currency: store.currency,
            tax_mode: store.tax_mode,
        })
    }

    fn find_product(&self, item: &Item) -> Result<Product, ApiError> {
        let found = match item {
            Item::Product { product } => catalogue::product(self.db()?, *product)?,
            Item::Code { code } => {
                let code = code.trim();
                let fits = !code.is_empty() && code.len() <= CODE_BYTES_MAX;
                if fits { catalogue::product_by_code(self.db()?, code)? } else { None }
            }
        };
        found.ok_or_else(|| ApiError::new(Code::UnknownCode, "no product has this code: scan it again, or search by name"))
    }

    /// Changes a copy of the cart and takes it once it adds up and is saved.
    fn change_cart(
        &mut self,
        store: &Store,
        change: impl FnOnce(&mut Cart) -> Result<Option<usize>, CartError>,
    ) -> Result<(), ApiError> {
        let mut cart = self.cart.clone();
        let touched = change(&mut cart).map_err(cart_error)?;
        cart.tax_mode =
            if cart.lines.is_empty() && cart.recalled.is_none() { None } else { cart.tax_mode.or(Some(store.tax_mode)) };
        cart.totals(cart.tax_mode.unwrap_or(store.tax_mode)).map_err(|e| cart_error(e.into()))?;
        self.draft.save(&cart, touched)?;
        self.cart = cart;
        self.touched = touched;
        Ok(())
    }
}

/// A text within its bound and without control characters, which a printer or a terminal would obey.
pub(super) fn bounded<'a>(text: &'a str, bytes_max: usize, what: &str) -> Result<&'a str, ApiError> {
    if text.len() > bytes_max {
        return Err(ApiError::new(Code::BadRequest, format!("{what} is too long: shorten it to at most {bytes_max} bytes")));
    }
    if text.chars().any(|c| c.is_control()) {
        return Err(ApiError::new(Code::BadRequest, format!("{what} holds a control character: type it anew")));
    }
    Ok(text)
}

fn tender_short(short_minor: i64, currency: Currency) -> ApiError {
    let missing = money::format_scaled(short_minor.into(), currency.exponent());
    ApiError::new(Code::TenderShort, format!("{missing} {currency} is missing: take more, or take something out of the cart"))
}

pub(super) fn bad_amount(why: &str) -> ApiError {
    ApiError::new(Code::BadAmount, why)
}

pub(super) fn cart_not_empty() -> ApiError {
    ApiError::new(Code::CartNotEmpty, "something is in the cart: settle it or empty it first")
}

pub(super) fn stale_order() -> ApiError {
    ApiError::new(Code::StaleOrder, "another order is in the cart by now: look at the screen again")
}

pub(super) fn money_error(error: MoneyError) -> ApiError {
    let code = match error {
        MoneyError::Quantity => Code::BadQuantity,
        MoneyError::Amount | MoneyError::UnitPrice | MoneyError::Text { .. } => Code::BadAmount,
    };
    ApiError::new(code, error.to_string())
}

fn cart_error(error: CartError) -> ApiError {
    let code = match error {
        CartError::Empty => Code::CartEmpty,
        CartError::Full => Code::CartFull,
        CartError::NoSuchLine => Code::NoSuchLine,
        CartError::Quantity => Code::BadQuantity,
        CartError::TenderShort { .. } => Code::TenderShort,
        CartError::Money(error) => return money_error(error),
    };
    ApiError::new(code, error.to_string())
}

pub(super) fn refund_error(error: RefundError) -> ApiError {
    match error {
        RefundError::MoreThanLeft { .. } => ApiError::new(Code::NothingToRefund, error.to_string()),
        RefundError::Cart(CartError::Empty) => ApiError::new(Code::NothingToRefund, "nothing was chosen: choose what comes back"),
        RefundError::Cart(error) => cart_error(error),
    }
}
