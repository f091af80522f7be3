//! A selling day as a list of steps, and a witness who notes what the till showed.
//!
//! The witness stands outside: it knows what was asked for and what the screen answered, and nothing of the till's tables.

use std::sync::{Arc, Mutex, MutexGuard};

use domain::ids::{OrderId, ProductId};
use node::api::{AdjustLine, ApiError, CartView, Command, CountedLine, Item, OrderView, RefundLine, SettledView, TillView};

use crate::rig::OpenTill;
use crate::shop::{PIN, Shop};

/// One action of a cashier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Sign in.
    SignIn,
    /// Begin a shift with so much cash.
    OpenShift {
        /// In minor units.
        float_minor: i64,
    },
    /// Scan a product of the shop, by position.
    Scan {
        /// Which.
        product: usize,
        /// How much, in thousandths; one piece when absent.
        milli: Option<i64>,
    },
    /// Add a product at another price.
    Price {
        /// Which.
        product: usize,
        /// In hundredths of a minor unit.
        unit_price: i64,
    },
    /// Change how much a line holds.
    ChangeQuantity {
        /// The line, from 0.
        line: usize,
        /// In thousandths.
        milli: i64,
    },
    /// Take a line out.
    Remove {
        /// The line, from 0.
        line: usize,
    },
    /// Settle the cart.
    Settle {
        /// What is handed over beyond the total, in minor units.
        over_minor: i64,
    },
    /// Give back part of a sale.
    Refund {
        /// Which of the day's orders, from 0.
        of: usize,
        /// The line, from 0.
        line: usize,
        /// In thousandths.
        milli: i64,
    },
    /// Begin a refund without its sale; lines and [`Step::Settle`] follow.
    StartRefund,
    /// Correct the stock of a product.
    Adjust {
        /// Which.
        product: usize,
        /// By how much, in thousandths.
        milli: i64,
    },
    /// Count a product.
    Count {
        /// Which.
        product: usize,
        /// How much there is, in thousandths.
        milli: i64,
    },
    /// Open the drawer without a sale.
    OpenDrawer,
    /// Nothing happens at the counter, and the till tidies up.
    Idle,
    /// The server says that it has everything.
    Acknowledge,
    /// Count and end the shift.
    CloseShift {
        /// How much more is counted than is expected.
        difference_minor: i64,
    },
}

/// The steps of a day with so many sales.
pub fn selling_day(sales: usize) -> Vec<Step> {
    let mut steps = vec![Step::SignIn, Step::OpenShift { float_minor: 10_000 }];
    for sale in 0..sales {
        for line in 0..2 + sale % 3 {
            let milli = (line == 1).then_some(1_500);
            steps.push(Step::Scan { product: (sale * 5 + line * 3) % 12, milli });
        }
        match sale % 5 {
            1 => steps.push(Step::ChangeQuantity { line: 0, milli: 3_000 }),
            2 => steps.push(Step::Scan { product: (sale * 5) % 12, milli: None }),
            3 => steps.push(Step::Remove { line: 1 }),
            4 => steps.push(Step::Price { product: 1, unit_price: 9_999 }),
            _ => {}
        }
        steps.push(Step::Settle { over_minor: [0, 37, 500][sale % 3] });
        match sale % 10 {
            4 => steps.push(Step::Refund { of: sale / 2, line: 0, milli: 500 }),
            3 => steps.push(Step::Count { product: sale % 12, milli: 7_000 }),
            5 => steps.push(Step::Adjust { product: sale % 12, milli: -2_000 }),
            6 => steps.push(Step::OpenDrawer),
            7 => steps.push(Step::Idle),
            2 | 9 => steps.push(Step::Acknowledge),
            8 => steps.extend([Step::StartRefund, Step::Scan { product: 3, milli: None }, Step::Settle { over_minor: 0 }]),
            _ => {}
        }
    }
    steps.push(Step::CloseShift { difference_minor: -5 });
    steps
}

/// Something that a record in the log must say, in words that the screen and the log share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Someone signed in.
    SignedIn,
    /// A shift began.
    ShiftOpened {
        /// The cash put in.
        float_minor: i64,
    },
    /// An order was settled.
    Settled(Paid),
    /// Stock was corrected.
    StockAdjusted {
        /// Which product.
        product: ProductId,
        /// By how much.
        milli: i64,
    },
    /// A product was counted.
    StockCounted {
        /// Which product.
        product: ProductId,
        /// How much there was.
        milli: i64,
    },
    /// The drawer was opened without a sale.
    DrawerOpened,
    /// A shift was ended.
    ShiftClosed {
        /// The cash counted.
        counted_minor: i64,
        /// The cash expected.
        expected_minor: i64,
    },
}

/// A settled order as the customer saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// Its id.
    pub order: OrderId,
    /// Whether money went back.
    pub is_refund: bool,
    /// What was owed; negative in a refund.
    pub total_minor: i64,
    /// Name, quantity in thousandths and amount of each line; negative in a refund.
    pub lines: Vec<(String, i64, i64)>,
    /// The receipt number, once it was shown.
    pub receipt: Option<String>,
}

/// What the witness notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// This was asked for. What it should leave in the log, if anything.
    Asked(Command, Option<Fact>),
    /// It was shown as done. What it left in the log, if anything.
    Done(Option<Fact>),
    /// It was shown as not recorded.
    Refused,
    /// The cart on the screen, after anything was done.
    Cart(CartView),
}

/// Notes that others may read while the day goes on.
#[derive(Debug, Clone, Default)]
pub struct Witness {
    notes: Arc<Mutex<Vec<Note>>>,
}

impl Witness {
    /// How many notes there are.
    pub fn len(&self) -> usize {
        self.notes().len()
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known from the first so many notes.
    pub fn testimony(&self, notes: usize) -> Testimony {
        let mut known = Testimony::default();
        for note in &self.notes()[..notes] {
            match note {
                Note::Asked(command, fact) => known.under_way = Some((command.clone(), fact.clone())),
                Note::Done(fact) => {
                    known.facts.extend(fact.clone());
                    known.under_way = None;
                }
                Note::Refused => known.under_way = None,
                Note::Cart(cart) => known.carts.push(cart.clone()),
            }
        }
        known
    }

    /// What is known by now.
    pub fn now(&self) -> Testimony {
        self.testimony(self.len())
    }

    /// A witness who was told what happened so far.
    pub fn told(facts: impl IntoIterator<Item = Fact>) -> Witness {
        Witness { notes: Arc::new(Mutex::new(facts.into_iter().map(|fact| Note::Done(Some(fact))).collect())) }
    }

    /// Adds a note.
    pub fn note(&self, note: Note) {
        self.notes().push(note);
    }

    fn notes(&self) -> MutexGuard<'_, Vec<Note>> {
        self.notes.lock().expect("taking notes does not panic")
    }
}

/// What a witness can swear to.
#[derive(Debug, Clone, Default)]
pub struct Testimony {
    /// What was shown as done, in order.
    pub facts: Vec<Fact>,
    /// What was asked for and not answered, with what it should leave in the log: it may have happened or not.
    pub under_way: Option<(Command, Option<Fact>)>,
    /// The cart as it was shown, again and again.
    pub carts: Vec<CartView>,
}

impl Testimony {
    /// The settled orders.
    pub fn paid(&self) -> impl Iterator<Item = &Paid> {
        self.facts.iter().filter_map(|fact| match fact {
            Fact::Settled(paid) => Some(paid),
            _ => None,
        })
    }
}

/// An action with what it asks of the till and what it should leave in the log.
#[derive(Debug, Clone)]
pub struct Request(What);

#[derive(Debug, Clone)]
enum What {
    Command(Command, Option<Fact>),
    Tidy,
    Acknowledge,
}

impl Request {
    /// Makes it, and lets the witness note what was asked and shown.
    ///
    /// # Errors
    /// What the till answered instead of doing it.
    pub fn make(self, open: &mut OpenTill, witness: &Witness) -> Result<(), ApiError> {
        let (command, fact) = match self.0 {
            What::Command(command, fact) => (command, fact),
            What::Tidy => return Ok(open.till.tidy()?),
            What::Acknowledge => {
                let commit = open.till.own_chain().commit;
                return Ok(open.till.acked(commit, commit - 1)?);
            }
        };
        witness.note(Note::Asked(command.clone(), fact.clone()));
        let after = open.till.command(command)?;
        witness.note(Note::Done(shown(fact, &after)));
        witness.note(Note::Cart(after.cart));
        Ok(())
    }
}

impl Step {
    /// Does it, and lets the witness note what was asked and shown.
    ///
    /// # Errors
    /// What the till answered instead of doing it.
    pub fn perform(self, shop: &Shop, open: &mut OpenTill, witness: &Witness) -> Result<(), ApiError> {
        self.request(shop, open, witness)?.make(open, witness)
    }

    /// What it asks for, as the screen is now.
    ///
    /// # Errors
    /// When the screen does not show what is needed for it.
    pub fn request(self, shop: &Shop, open: &OpenTill, witness: &Witness) -> Result<Request, ApiError> {
        Ok(Request(match self {
            Self::Idle => What::Tidy,
            Self::Acknowledge => What::Acknowledge,
            _ => {
                let (command, fact) = self.command(shop, open, &open.till.view()?, witness)?;
                What::Command(command, fact)
            }
        }))
    }

    fn command(
        self,
        shop: &Shop,
        open: &OpenTill,
        view: &TillView,
        witness: &Witness,
    ) -> Result<(Command, Option<Fact>), ApiError> {
        let scan = |product: usize, quantity_milli, unit_price| Command::AddLine {
            item: Item::Code { code: shop.products[product].barcodes[0].clone() },
            quantity_milli,
            unit_price,
            name: None,
            separate: None,
        };
        let reason = || "a reason".to_owned();
        Ok(match self {
            Self::SignIn => (Command::SignIn { staff: shop.manager.id, pin: PIN.to_owned() }, Some(Fact::SignedIn)),
            Self::OpenShift { float_minor } => {
                let business_day = Some("2026-03-02".to_owned());
                (Command::OpenShift { float_minor, business_day }, Some(Fact::ShiftOpened { float_minor }))
            }
            Self::Scan { product, milli } => (scan(product, milli, None), None),
            Self::Price { product, unit_price } => (scan(product, None, Some(unit_price)), None),
            Self::ChangeQuantity { line, milli } => (Command::SetQuantity { line, quantity_milli: milli }, None),
            Self::Remove { line } => (Command::RemoveLine { line }, None),
            Self::StartRefund => (Command::StartRefund { reason: reason() }, None),
            Self::Settle { over_minor } => {
                let paid = paid_of_cart(&view.cart);
                let tendered_minor = view.cart.total_minor + over_minor;
                (Command::SettleCash { order: view.cart.order, tendered_minor }, Some(Fact::Settled(paid)))
            }
            Self::Refund { of, line, milli } => {
                let original = witness.now().paid().nth(of).expect("a day refunds what it sold").order;
                let sale = open.order(original)?;
                let refund = sale.next_refund;
                let fact = Fact::Settled(paid_of_refund(&sale, line, milli));
                let lines = vec![RefundLine { line, quantity_milli: milli }];
                (Command::RefundSale { refund, original, lines, reason: reason() }, Some(fact))
            }
            Self::Adjust { product, milli } => {
                let product = &shop.products[product];
                let lines = vec![AdjustLine { code: product.code.clone(), quantity_milli: milli, unit_price: 0 }];
                let command = Command::AdjustStock { lines, reason: reason(), reference: None };
                (command, Some(Fact::StockAdjusted { product: product.id, milli }))
            }
            Self::Count { product, milli } => {
                let product = &shop.products[product];
                let lines = vec![CountedLine { code: product.code.clone(), quantity_milli: milli }];
                let fact = Fact::StockCounted { product: product.id, milli };
                (Command::CountStock { lines, reason: reason() }, Some(fact))
            }
            Self::OpenDrawer => (Command::OpenDrawer { reason: reason() }, Some(Fact::DrawerOpened)),
            Self::Idle | Self::Acknowledge => unreachable!("nobody at the counter asks for it"),
            Self::CloseShift { difference_minor } => {
                let expected_minor = view.shift.as_ref().map_or(0, |shift| shift.expected_minor);
                let counted_minor = expected_minor + difference_minor;
                (Command::CloseShift { counted_minor }, Some(Fact::ShiftClosed { counted_minor, expected_minor }))
            }
        })
    }
}

/// What was asked for, with what only the answer says.
fn shown(asked: Option<Fact>, after: &TillView) -> Option<Fact> {
    match asked {
        Some(Fact::Settled(paid)) => {
            let shown = after.last_order.as_ref().expect("a settled order is shown");
            Some(Fact::Settled(shown_as(paid, shown)))
        }
        other => other,
    }
}

/// The screen must show the order that was asked for, with the cart's total.
fn shown_as(asked: Paid, shown: &SettledView) -> Paid {
    assert_eq!(shown.order, asked.order, "another order is shown than was settled");
    assert_eq!(shown.total_minor, asked.total_minor, "another total is shown than the cart's");
    assert_eq!(shown.is_refund, asked.is_refund);
    Paid { receipt: Some(shown.receipt.clone()), ..asked }
}

pub(crate) fn paid_of_cart(cart: &CartView) -> Paid {
    let sign = if cart.is_refund { -1 } else { 1 };
    let line = |l: &node::api::CartLineView| (l.name.clone(), sign * l.quantity_milli, sign * l.amount_minor);
    Paid {
        order: cart.order,
        is_refund: cart.is_refund,
        total_minor: sign * cart.total_minor,
        lines: cart.lines.iter().map(line).collect(),
        receipt: None,
    }
}

/// The reference for a refund: quantity times price, rounded half away from zero, the tax in it already.
pub(crate) fn paid_of_refund(sale: &OrderView, line: usize, milli: i64) -> Paid {
    let sold = &sale.lines[line];
    let exact = i128::from(milli) * i128::from(sold.unit_price);
    let amount_minor = -i64::try_from((exact + 50_000) / 100_000).expect("a small amount");
    Paid {
        order: sale.next_refund,
        is_refund: true,
        total_minor: amount_minor,
        lines: vec![(sold.name.clone(), -milli, amount_minor)],
        receipt: None,
    }
}
