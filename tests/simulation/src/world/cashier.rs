//! A cashier at a till: scans, takes money, gives money back, counts the drawer, and signs in again whenever the screen comes back.

use std::sync::Arc;
use std::time::Duration;

use domain::ids::OpenOrderId;
use node::api::{ApiErrorCode, Command, Item, OrderSummary, Query, RefundLine, TillView};
use node::handle::Node;
use node::till::Answer;
use tokio::time::Instant;

use super::machine::TillMachine;
use super::oracle::{Fate, Opened, Oracle};
use crate::Dice;
use crate::day::{Paid, paid_of_cart, paid_of_refund};
use crate::shop::{PIN, Shop};

/// A cashier with what they need.
#[derive(Debug)]
pub struct Cashier {
    /// The till.
    pub till: Arc<TillMachine>,
    /// Where they work.
    pub shop: Shop,
    /// Who sees what they see.
    pub oracle: Oracle,
    /// What they do next.
    pub dice: Dice,
    /// How long they take between two actions at most, in milliseconds.
    pub think_ms: u64,
}

impl Cashier {
    /// Works until the shop closes.
    pub async fn work(mut self, until: Instant) {
        while Instant::now() < until {
            let think = Duration::from_millis(20 + self.dice.below(self.think_ms));
            tokio::time::sleep(think).await;
            let Some(node) = self.till.node() else { continue };
            self.act(&node).await;
        }
    }

    async fn act(&mut self, node: &Node) {
        let Ok(Answer::Till(view)) = node.query(Query::Till {}).await else { return };
        if view.signed_in.is_none() {
            let staff = self.shop.manager.id;
            if view.staff.iter().any(|member| member.id == staff) {
                let _ = node.command(Command::SignIn { staff, pin: PIN.to_owned() }).await;
            }
            return;
        }
        if view.shift.is_none() {
            self.open_shift(node).await;
            return;
        }
        let lines = view.cart.lines.len() as u64;
        match self.dice.below(20) {
            0 if lines == 0 => self.refund(node, &view).await,
            1 if lines == 0 => {
                let expected = view.shift.as_ref().map_or(0, |shift| shift.expected_minor);
                let _ = node.command(Command::CloseShift { counted_minor: expected }).await;
            }
            2 => drop(node.command(Command::OpenDrawer { reason: "change".to_owned() }).await),
            4 if lines > 0 && !view.cart.is_refund => self.park(node, &view).await,
            5 | 6 if lines == 0 && view.open_orders > 0 => self.recall(node).await,
            7 if view.cart.recalled.as_ref().is_some_and(|recalled| recalled.is_closed) => {
                let _ = node.command(Command::ClearCart {}).await;
            }
            3 if lines > 0 => {
                let line = self.dice.below(lines) as usize;
                let _ = node.command(Command::RemoveLine { line }).await;
            }
            _ if lines > 0 && self.dice.below(3) < lines => self.settle(&view).await,
            _ => self.scan(node).await,
        }
    }

    async fn open_shift(&mut self, node: &Node) {
        let by_the_clock = self.till.local_day();
        let opened = node.command(Command::OpenShift { float_minor: 10_000, business_day: None }).await;
        if let Some(shift) = opened.ok().and_then(|view| view.shift).filter(|_| self.till.is_on()) {
            self.oracle.opened(Opened { machine: self.till.index, day: shift.business_day, by_the_clock });
        }
    }

    async fn scan(&mut self, node: &Node) {
        let product = self.dice.below(self.shop.products.len() as u64) as usize;
        let quantity_milli = (self.dice.below(5) == 0).then(|| 100 + self.dice.below(3_000) as i64);
        let code = self.shop.products[product].barcodes[0].clone();
        let item = Item::Code { code };
        let line = Command::AddLine { item, quantity_milli, unit_price: None, name: None, separate: None };
        let _ = node.command(line).await;
    }

    async fn park(&mut self, node: &Node, view: &TillView) {
        let label = ["Bar", "Table 4", ""][self.dice.below(3) as usize].to_owned();
        let parked = view.cart.recalled.as_ref().map_or(OpenOrderId(view.cart.order.0), |recalled| recalled.open_order);
        if node.command(Command::Park { order: view.cart.order, label, note: None }).await.is_ok() && self.till.is_on() {
            self.oracle.parked(parked);
            if self.till.has_broken_page() {
                self.oracle.destroyed([*parked.as_bytes()]);
            }
        }
    }

    /// Takes up one of the first few: the same one, now and then, as the till next to it.
    async fn recall(&mut self, node: &Node) {
        let open = match node.query(Query::OpenOrders { text: String::new(), limit: 3 }).await {
            Ok(Answer::OpenOrders(open)) if !open.is_empty() => open,
            _ => return,
        };
        let open_order = open[self.dice.below(open.len() as u64) as usize].open_order;
        let command = match self.dice.below(8) {
            0 => Command::GiveUp { open_order },
            _ => Command::Recall { open_order },
        };
        if node.command(command).await.is_ok() {
            self.oracle.recalled();
        }
    }

    async fn settle(&mut self, view: &TillView) {
        let paid = paid_of_cart(&view.cart);
        let tendered_minor = view.cart.total_minor + self.dice.below(3) as i64 * 50;
        self.ask(Command::SettleCash { order: paid.order, tendered_minor }, paid, view).await;
    }

    async fn refund(&mut self, node: &Node, view: &TillView) {
        let orders = match node.query(Query::Orders { text: String::new(), limit: 20 }).await {
            Ok(Answer::Orders(orders)) => orders,
            _ => return,
        };
        let sales: Vec<&OrderSummary> = orders.iter().filter(|order| !order.is_refund).collect();
        if sales.is_empty() {
            return;
        }
        let (original, is_here) = {
            let chosen = sales[self.dice.below(sales.len() as u64) as usize];
            (chosen.order, chosen.is_here)
        };
        let Ok(Answer::Order(sale)) = node.query(Query::Order { order: original }).await else { return };
        if !is_here {
            self.oracle.told();
        }
        let Some(line) = sale.lines.iter().position(|line| line.refundable_milli > 0) else { return };
        let milli = 1 + self.dice.below(sale.lines[line].refundable_milli as u64) as i64;
        let paid = paid_of_refund(&sale, line, milli);
        let lines = vec![RefundLine { line, quantity_milli: milli }];
        let command = Command::RefundSale { refund: sale.next_refund, original, lines, reason: "broken".to_owned() };
        self.ask(command, paid, view).await;
    }

    /// Asks for an order, and sees what the screen says. A screen that says that it does not know is asked again.
    async fn ask(&self, command: Command, paid: Paid, view: &TillView) {
        let day = view.shift.as_ref().map(|shift| shift.business_day.clone()).unwrap_or_default();
        self.oracle.asked(self.till.index, paid.clone(), day);
        for _ in 0..3 {
            let Some(node) = self.till.node() else { return };
            let answer = node.command(command.clone()).await;
            drop(node);
            if !self.till.is_on() {
                // The screen went dark with it.
                return;
            }
            match answer {
                Ok(view) => {
                    let Some(shown) = view.last_order.filter(|shown| shown.order == paid.order) else { return };
                    assert_eq!(shown.total_minor, paid.total_minor, "another total is shown than the cart's");
                    let order = *paid.order.as_bytes();
                    self.oracle.answered(Paid { receipt: Some(shown.receipt), ..paid }, Fate::Shown);
                    if self.till.has_broken_page() {
                        self.oracle.destroyed([order]);
                    }
                    return;
                }
                Err(error) if error.code == ApiErrorCode::InDoubt => tokio::time::sleep(Duration::from_millis(300)).await,
                Err(_) => {
                    self.oracle.answered(paid, Fate::Refused);
                    return;
                }
            }
        }
    }
}
