//! Signing in, shifts, corrections, the drawer.

use std::collections::BTreeSet;

use argon2::password_hash::PasswordHash;
use argon2::{Argon2, PasswordVerifier};
use domain::document::CODE_BYTES_MAX;
use domain::ids::{ProductId, ShiftId, StaffId};
use domain::money::{self, AMOUNT_MINOR_MAX, Quantity, UnitPrice};
use domain::record::{
    AccountAdjustment, AccountLine, BusinessDay, CUT_ORIGINS_MAX, CountLine, DrawerOpening, LINES_MAX, Record, ShiftClosing,
    ShiftOpening, SignIn, StockAdjustment, StockCount, StockLine, TEXT_BYTES_MAX,
};
use domain::staff::{PIN_DIGITS_MAX, PIN_DIGITS_MIN, Permission, pin_wait_ms};
use jiff::Timestamp;
use jiff::civil::Date;

use super::cart::{bad_amount, bounded, cart_not_empty, money_error};
use super::{Beside, Till, done_but_unread};
use crate::api::{AdjustLine, ApiError, ApiErrorCode as Code, CountedLine};
use crate::store::{catalogue, counts, people, shifts};

/// The most memory and passes that a PIN's hash may ask for; beyond it the hash is taken for broken.
const HASH_KIB_MAX: u32 = 256 * 1024;
const HASH_PASSES_MAX: u32 = 16;
/// Checked when the person is unknown, so that the answer takes as long.
const NOBODYS_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$ZXZlcnRpbGwtbm9ib2R5$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

impl Till {
    pub(super) fn sign_in(&mut self, staff: StaffId, pin: &str) -> Result<(), ApiError> {
        let fits = (PIN_DIGITS_MIN..=PIN_DIGITS_MAX).contains(&pin.len()) && pin.bytes().all(|b| b.is_ascii_digit());
        if !fits {
            return Err(ApiError::new(Code::BadRequest, "a PIN is 4 to 12 digits: type it again"));
        }
        let Some(member) = people::staff_member(self.db()?, staff)?.filter(|m| m.active) else {
            is_pin(NOBODYS_HASH, pin);
            return Err(wrong_pin());
        };
        let now = self.env.unix_ms();
        let (wrong, last_ms) = people::pin_attempts(self.db()?, staff)?;
        // A clock that was set back starts the wait anew, but never lengthens it.
        let waited = now.saturating_sub(last_ms.min(now));
        let wait = pin_wait_ms(wrong).saturating_sub(waited);
        if wait > 0 {
            if last_ms > now {
                people::set_pin_attempts(self.db()?, staff, wrong, now)?;
            }
            let message = "too many wrong PINs: wait before the next try";
            return Err(ApiError { code: Code::PinLocked, message: message.to_owned(), retry_after_ms: Some(wait) });
        }
        // Counted before it is checked, so that pulling the plug does not make a try free.
        people::set_pin_attempts(self.db()?, staff, wrong + 1, now)?;
        if !is_pin(&member.pin_hash, pin) {
            return Err(wrong_pin());
        }
        let beside = Beside { right_pin: Some(staff), ..Beside::default() };
        self.record(Some(staff), &Record::SignedIn(SignIn {}), beside)?;
        self.signed_in = Some(staff);
        Ok(())
    }

    pub(super) fn open_shift(&mut self, float_minor: i64, business_day: Option<&str>) -> Result<(), ApiError> {
        let member = self.permitted(Permission::Sell)?;
        let store = self.store()?;
        if self.from_disk.shift.is_some() {
            return Err(ApiError::new(Code::ShiftOpen, "a shift is open already: close it first"));
        }
        let business_day = match business_day {
            None => self.today(),
            Some(text) => business_day_of(text).ok_or_else(|| {
                ApiError::new(Code::BadRequest, "a business day is written YYYY-MM-DD and is between 2000 and 2199")
            })?,
        };
        let (now, random) = self.new_id();
        let opening = ShiftOpening {
            shift: ShiftId::new(now, random),
            business_day: BusinessDay::from_date(business_day),
            float_minor: cash(float_minor)?,
            currency: store.currency,
        };
        self.record(Some(member.id), &Record::ShiftOpened(opening), Beside::default())?;
        self.read_shifts().map_err(|_| done_but_unread())
    }

    pub(super) fn close_shift(&mut self, counted_minor: i64) -> Result<(), ApiError> {
        let member = self.permitted(Permission::Sell)?;
        let shift = self.open_shift_row()?.id;
        if !self.cart.lines.is_empty() {
            return Err(cart_not_empty());
        }
        let parts = self.from_disk.sums.shift_parts(self.db()?, shift)?;
        let closing = ShiftClosing {
            shift,
            counted_minor: cash(counted_minor)?,
            expected_minor: parts.iter().map(|part| part.sum.cash_minor).sum(),
            cut_commit: self.from_disk.chain.commit,
            cut: Some(shifts::cut_of(self.db()?, &parts)?),
        };
        self.record(Some(member.id), &Record::ShiftClosed(closing), Beside::default())?;
        self.read_shifts().map_err(|_| done_but_unread())
    }

    pub(super) fn adjust_stock(
        &mut self,
        lines: &[AdjustLine],
        reason: String,
        reference: Option<String>,
    ) -> Result<(), ApiError> {
        let member = self.permitted(Permission::AdjustStock)?;
        let shift = self.open_shift_row()?.id;
        bounded(&reason, TEXT_BYTES_MAX, "a reason")?;
        bounded(reference.as_deref().unwrap_or(""), TEXT_BYTES_MAX, "a reference")?;
        if lines.is_empty() || lines.len() > LINES_MAX {
            return Err(ApiError::new(
                Code::BadRequest,
                format!("a correction has 1 to {LINES_MAX} lines: split it into several"),
            ));
        }
        let lines = lines.iter().map(|l| self.stock_line(l)).collect::<Result<_, _>>()?;
        let adjustment = StockAdjustment { id: self.new_record_id(), shift, lines, reason, reference };
        Ok(self.record(Some(member.id), &Record::StockAdjusted(adjustment), Beside::default())?)
    }

    fn stock_line(&self, line: &AdjustLine) -> Result<StockLine, ApiError> {
        let product = self.product_of(&line.code)?;
        let (quantity, unit_price) = (Quantity(line.quantity_milli), UnitPrice(line.unit_price));
        Ok(StockLine { product, quantity, unit_price, amount_minor: valued(quantity, unit_price)? })
    }

    /// Records how much there is of some products, and what this till had heard of by then.
    pub(super) fn count_stock(&mut self, lines: &[CountedLine], reason: String) -> Result<(), ApiError> {
        let member = self.permitted(Permission::AdjustStock)?;
        let shift = self.open_shift_row()?.id;
        bounded(&reason, TEXT_BYTES_MAX, "a reason")?;
        if lines.is_empty() || lines.len() > LINES_MAX {
            return Err(ApiError::new(Code::BadRequest, format!("a count has 1 to {LINES_MAX} lines: split it into several")));
        }
        let lines = lines.iter().map(|l| self.count_line(l)).collect::<Result<Vec<_>, _>>()?;
        let products: BTreeSet<_> = lines.iter().map(|line| line.product).collect();
        if products.len() < lines.len() {
            return Err(ApiError::new(Code::BadRequest, "a product is counted twice: add the two up"));
        }
        let cut = counts::cut_of(self.db()?, &self.scope)?;
        if cut.len() > CUT_ORIGINS_MAX {
            return Err(ApiError::new(
                Code::BadRequest,
                format!("this store has had more than {CUT_ORIGINS_MAX} tills and lives of tills: correct the stock instead"),
            ));
        }
        let count = StockCount { id: self.new_record_id(), shift, lines, cut, reason };
        Ok(self.record(Some(member.id), &Record::StockCounted(count), Beside::default())?)
    }

    fn count_line(&self, line: &CountedLine) -> Result<CountLine, ApiError> {
        let product = self.product_of(&line.code)?;
        let quantity = Quantity(line.quantity_milli);
        if quantity.0 < 0 {
            return Err(ApiError::new(Code::BadQuantity, "a count is not below zero: count again"));
        }
        if quantity.0 > 0 {
            quantity.checked().map_err(money_error)?;
        }
        Ok(CountLine { product, quantity })
    }

    /// The product of a typed code.
    fn product_of(&self, code: &str) -> Result<ProductId, ApiError> {
        let code = bounded(code.trim(), CODE_BYTES_MAX, "a code")?;
        let unknown = || ApiError::new(Code::UnknownCode, "no product has this code: scan it again, or search by name");
        Ok(catalogue::product_by_code(self.db()?, code)?.ok_or_else(unknown)?.id)
    }

    pub(super) fn adjust_account(
        &mut self,
        description: String,
        quantity_milli: i64,
        unit_price: i64,
        reference: Option<String>,
    ) -> Result<(), ApiError> {
        let member = self.permitted(Permission::AdjustAccount)?;
        let shift = self.open_shift_row()?.id;
        bounded(&description, TEXT_BYTES_MAX, "a description")?;
        bounded(reference.as_deref().unwrap_or(""), TEXT_BYTES_MAX, "a reference")?;
        let (quantity, unit_price) = (Quantity(quantity_milli), UnitPrice(unit_price));
        let amount_minor = valued(quantity, unit_price)?;
        let lines = vec![AccountLine { description, quantity, unit_price, amount_minor }];
        let adjustment = AccountAdjustment { id: self.new_record_id(), shift, lines, reference };
        Ok(self.record(Some(member.id), &Record::AccountAdjusted(adjustment), Beside::default())?)
    }

    pub(super) fn open_drawer(&mut self, reason: String) -> Result<(), ApiError> {
        let member = self.permitted(Permission::OpenDrawer)?;
        bounded(&reason, TEXT_BYTES_MAX, "a reason")?;
        let shift = self.from_disk.shift.as_ref().map(|s| s.id);
        let opening = DrawerOpening { id: self.new_record_id(), shift, reason };
        let kick = self.options.printing.then(|| *opening.id.as_bytes());
        Ok(self.record(Some(member.id), &Record::DrawerOpened(opening), Beside { kick, ..Beside::default() })?)
    }

    pub(super) fn read_shifts(&mut self) -> Result<(), ApiError> {
        let (open, closed) = shifts::newest_of(self.db()?, *self.identity.device().as_bytes())?;
        self.from_disk.shift = open;
        self.from_disk.closed_shift = closed;
        Ok(())
    }

    fn today(&self) -> Date {
        self.zoned(self.env.unix_ms()).date()
    }

    /// Local date and time as a receipt shows it.
    pub(super) fn local_time(&self, unix_ms: u64) -> String {
        self.zoned(unix_ms).strftime("%Y-%m-%d %H:%M").to_string()
    }

    fn zoned(&self, unix_ms: u64) -> jiff::Zoned {
        let ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX).to_zoned(self.options.time_zone.clone())
    }
}

/// A day as people write it. Nothing outside two centuries: no calendar of another program has to cope with it.
fn business_day_of(text: &str) -> Option<Date> {
    let day = text.parse::<Date>().ok().filter(|_| text.len() == "YYYY-MM-DD".len())?;
    (2000..=2199).contains(&day.year()).then_some(day)
}

fn cash(minor: i64) -> Result<i64, ApiError> {
    if !(0..=AMOUNT_MINOR_MAX).contains(&minor) {
        return Err(bad_amount("cash in a drawer is not below zero and not that much: count it again"));
    }
    Ok(minor)
}

fn valued(quantity: Quantity, unit_price: UnitPrice) -> Result<i64, ApiError> {
    let checked = quantity.checked().and_then(|q| unit_price.checked().map(|p| (q, p)));
    checked.and_then(|(q, p)| money::line_amount_minor(q, p)).map_err(money_error)
}

fn wrong_pin() -> ApiError {
    ApiError::new(Code::WrongPin, "that PIN is not right: try again")
}

fn is_pin(hash: &str, pin: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    let within = |name: &str, most: u32| hash.params.get_decimal(name).is_some_and(|v| v <= most);
    if !within("m", HASH_KIB_MAX) || !within("t", HASH_PASSES_MAX) {
        return false;
    }
    Argon2::default().verify_password(pin.as_bytes(), &hash).is_ok()
}
