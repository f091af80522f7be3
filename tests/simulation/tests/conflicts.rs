//! What two people do at once while they are apart, and what both see when they are together again: to one open order, to one sale, to the stock of one
//! product. Two real tills; what a manager is told of it, `tests/journeys/tests/central` asks a real central database.

use std::collections::BTreeSet;

use anyhow::Result;
use domain::document::DocumentKind;
use domain::ids::{OpenOrderId, OrderId};
use domain::money::UnitPrice;
use domain::open_order::{OpenOrder, OpenOrderException, OpenOrderStatus};
use node::api::{ApiErrorCode, Command, CountedLine, Item, OpenOrderView, OrderView, Query, RefundLine, TillView};
use node::store::documents;
use node::till::Answer;
use simulation::crash_vfs::Disk;
use simulation::rig::{Folder, OpenTill};
use simulation::shop::{MORNING_MS, PIN, Shop};
use sync_proto::batch::Run;

/// Two tills of a shop that hear each other when they are told to.
struct Two {
    shop: Shop,
    tills: [OpenTill; 2],
    heard: [u64; 2],
    place: u64,
    _ground: Vec<(Folder, Disk)>,
}

impl Two {
    fn new() -> Result<Self> {
        let shop = Shop::new(2);
        let mut ground = Vec::new();
        let mut open = |number: u32| -> Result<OpenTill> {
            let (folder, disk) = (Folder::enrolled(&shop, number)?, Disk::new());
            let mut till = OpenTill::open(number, &folder, &disk, MORNING_MS + u64::from(number), u64::from(number))?;
            till.receive_founding(&shop)?;
            ground.push((folder, disk));
            Ok(till)
        };
        let tills = [open(1)?, open(2)?];
        let mut two = Self { tills, heard: [0; 2], place: 1, _ground: ground, shop };
        for at in 0..2 {
            let staff = two.shop.manager.id;
            two.must(at, Command::SignIn { staff, pin: PIN.to_owned() });
            two.must(at, Command::OpenShift { float_minor: 10_000, business_day: None });
        }
        Ok(two)
    }

    fn must(&mut self, at: usize, command: Command) -> TillView {
        self.tills[at].till.command(command.clone()).unwrap_or_else(|error| panic!("till {at}: {command:?}: {error:?}"))
    }

    fn refused(&mut self, at: usize, command: Command) -> ApiErrorCode {
        self.tills[at].till.command(command).expect_err("a refusal").code
    }

    fn scan(&mut self, at: usize, product: usize, pieces: i64) {
        let item = Item::Code { code: self.shop.products[product].barcodes[0].clone() };
        let quantity_milli = Some(pieces * 1_000);
        self.must(at, Command::AddLine { item, quantity_milli, unit_price: None, name: None, separate: None });
    }

    fn park(&mut self, at: usize, label: &str) {
        let order = self.tills[at].view().cart.order;
        self.must(at, Command::Park { order, label: label.to_owned(), note: None });
    }

    fn pay(&mut self, at: usize) -> TillView {
        let cart = self.tills[at].view().cart;
        self.must(at, Command::SettleCash { order: cart.order, tendered_minor: cart.total_minor })
    }

    /// A till hears what the server has written.
    fn hears_the_server(&mut self, at: usize, runs: Vec<Run>) -> Result<()> {
        self.place += 1;
        self.tills[at].till.receive(runs, self.place)?;
        Ok(())
    }

    /// Each hears what the other one has written since.
    fn meet(&mut self) -> Result<()> {
        for (from, to) in [(0, 1), (1, 0)] {
            while let Some(run) = self.tills[from].till.own_runs_after(self.heard[from], 64 * 1024, 50)? {
                self.heard[from] += run.commits.len() as u64;
                self.place += 1;
                self.tills[to].till.receive(vec![run], self.place)?;
            }
        }
        let [one, two] = self.tills.each_mut().map(|till| till.agreed().expect("a sound disk"));
        let (one, two): (BTreeSet<_>, BTreeSet<_>) = (one.lines().collect(), two.lines().collect());
        let differ: Vec<_> = one.symmetric_difference(&two).collect();
        assert!(differ.is_empty(), "the tills do not agree: {differ:#?}");
        for till in &mut self.tills {
            let shown = till.projections()?;
            assert_eq!(till.rebuilt_projections()?, shown, "a rebuild shows something else");
            assert!(!shown.lines().any(|line| line.starts_with("unread|")), "something is not shown: {shown}");
        }
        Ok(())
    }

    fn list(&self, at: usize) -> Vec<OpenOrderView> {
        match self.tills[at].till.query(Query::OpenOrders { text: String::new(), limit: 200 }).expect("a list") {
            Answer::OpenOrders(list) => list,
            other => panic!("{other:?}"),
        }
    }

    /// The one open order of the list of a till.
    fn only(&self, at: usize) -> OpenOrderId {
        let list = self.list(at);
        assert_eq!(list.len(), 1, "{list:?}");
        list[0].open_order
    }

    fn order(&self, at: usize, id: OpenOrderId) -> OpenOrder {
        let db = self.tills[at].till.db().expect("a database");
        documents::load(db, DocumentKind::OpenOrder, *id.as_bytes()).expect("a document").open_order().expect("an open order")
    }

    /// One sale of some pieces of a product.
    fn sell(&mut self, at: usize, product: usize, pieces: i64) -> OrderId {
        self.scan(at, product, pieces);
        self.pay(at).last_order.expect("a sale").order
    }

    fn count(&mut self, at: usize, product: usize, pieces: i64) {
        let lines = vec![CountedLine { code: self.shop.products[product].code.clone(), quantity_milli: pieces * 1_000 }];
        self.must(at, Command::CountStock { lines, reason: "stocktaking".to_owned() });
    }

    /// What a till believes that there is of a product, in pieces.
    fn stock(&self, at: usize, product: usize) -> i64 {
        let products = self.tills[at].products().expect("products");
        let found = products.into_iter().find(|found| found.id == self.shop.products[product].id).expect("the product");
        found.stock_milli / 1_000
    }

    fn look_up(&self, at: usize, order: OrderId) -> OrderView {
        self.tills[at].order(order).expect("an order")
    }

    fn refund(&mut self, at: usize, sale: OrderId, line: usize, pieces: i64) {
        let command = self.refund_command(at, sale, line, pieces);
        self.must(at, command);
    }

    fn refund_command(&self, at: usize, original: OrderId, line: usize, pieces: i64) -> Command {
        let refund = self.look_up(at, original).next_refund;
        let lines = vec![RefundLine { line, quantity_milli: pieces * 1_000 }];
        Command::RefundSale { refund, original, lines, reason: "changed their mind".to_owned() }
    }

    fn recall(&mut self, at: usize, id: OpenOrderId) -> TillView {
        self.must(at, Command::Recall { open_order: id })
    }

    /// An order of two pieces of one product, parked at the first till, known to both.
    fn parked() -> Result<(Self, OpenOrderId)> {
        let mut two = Self::new()?;
        two.scan(0, 0, 2);
        two.park(0, "Table 4");
        two.meet()?;
        let id = two.only(1);
        Ok((two, id))
    }
}

fn quantities(view: &TillView) -> Vec<(String, i64)> {
    view.cart.lines.iter().map(|line| (line.code.clone(), line.quantity_milli / 1_000)).collect()
}

#[test]
fn an_order_is_parked_at_one_till_and_paid_at_the_other() -> Result<()> {
    let (mut two, id) = Two::parked()?;
    let shown = two.list(1).remove(0);
    assert_eq!((shown.label.as_str(), shown.lines, shown.opened_by.as_str()), ("Table 4", 1, "Ada"), "{shown:?}");
    assert_eq!((two.tills[0].view().cart.lines.len(), two.tills[1].view().open_orders), (0, 1));

    let view = two.recall(1, id);
    let recalled = view.cart.recalled.as_ref().expect("a recalled order");
    assert_eq!((recalled.label.as_str(), recalled.is_closed, view.cart.total_minor), ("Table 4", false, shown.total_minor));
    two.scan(1, 1, 1);
    let paid = two.pay(1).last_order.expect("a sale");
    two.meet()?;

    let order = two.order(0, id);
    assert_eq!((order.lines.len(), order.exceptions()), (2, vec![]));
    assert!(matches!(order.status(), OpenOrderStatus::Paid { sales } if sales == [paid.order]));
    for at in 0..2 {
        assert_eq!((two.list(at), two.tills[at].view().open_orders), (vec![], 0));
    }
    assert_eq!(two.refused(0, Command::Recall { open_order: id }), ApiErrorCode::StaleOrder);
    Ok(())
}

/// Add lines to one parked order: all lines, and quantities of the same line add.
#[test]
fn lines_that_two_tills_add_are_all_there_and_quantities_add() -> Result<()> {
    let (mut two, id) = Two::parked()?;
    for at in 0..2 {
        two.recall(at, id);
        two.must(at, Command::SetQuantity { line: 0, quantity_milli: 3_000 + 1_000 * at as i64 });
        two.scan(at, 1 + at, 1);
        two.park(at, "Table 4");
    }
    two.meet()?;
    let view = two.recall(0, id);
    let pieces: Vec<i64> = quantities(&view).into_iter().map(|(_, pieces)| pieces).collect();
    // Two, and one more here, and two more there.
    assert_eq!(pieces, [5, 1, 1]);
    Ok(())
}

/// Void a line and change its quantity: void wins, the change stays in the history.
#[test]
fn a_line_that_one_takes_out_is_out_whatever_the_other_adds_to_it() -> Result<()> {
    let (mut two, id) = Two::parked()?;
    for at in 0..2 {
        two.recall(at, id);
        two.scan(at, 3, 1);
    }
    two.must(0, Command::RemoveLine { line: 0 });
    two.must(1, Command::SetQuantity { line: 0, quantity_milli: 9_000 });
    for at in 0..2 {
        two.park(at, "Table 4");
    }
    two.meet()?;
    let order = two.order(1, id);
    assert_eq!((order.lines[0].goods.quantity.0, order.lines[0].left().0), (9_000, 0));
    assert!(order.lines[0].voided.is_some());
    assert_eq!(quantities(&two.recall(1, id)).len(), 2, "what both added is there");
    Ok(())
}

/// Pay one order at two tills: both sales stand.
#[test]
fn an_order_that_two_tills_take_money_for_has_two_sales_and_says_so() -> Result<()> {
    let (mut two, id) = Two::parked()?;
    let mut sales = BTreeSet::new();
    for at in 0..2 {
        two.recall(at, id);
        sales.insert(two.pay(at).last_order.expect("a sale").order);
    }
    two.meet()?;
    let sales: Vec<_> = sales.into_iter().collect();
    for at in 0..2 {
        let found = two.order(at, id).exceptions();
        assert!(matches!(&found[..], [OpenOrderException::PaidTwice { sales: found, .. }] if *found == sales), "{found:?}");
        assert_eq!(two.tills[at].orders().expect("orders").len(), 2);
        assert_eq!(two.list(at), []);
    }
    Ok(())
}

#[test]
fn whoever_hears_in_time_that_an_order_was_paid_elsewhere_takes_no_money() -> Result<()> {
    let (mut two, id) = Two::parked()?;
    two.recall(0, id);
    two.recall(1, id);
    two.pay(0);
    two.meet()?;
    let cart = two.tills[1].view().cart;
    assert!(cart.recalled.is_some_and(|recalled| recalled.is_closed));
    let pay = Command::SettleCash { order: cart.order, tendered_minor: cart.total_minor };
    assert_eq!(two.refused(1, pay), ApiErrorCode::StaleOrder);
    two.must(1, Command::ClearCart {});
    assert_eq!(two.order(1, id).exceptions(), []);
    Ok(())
}

/// Pay and give up: paid stands.
#[test]
fn an_order_that_is_paid_here_and_given_up_there_is_paid() -> Result<()> {
    let (mut two, id) = Two::parked()?;
    two.recall(0, id);
    let sale = two.pay(0).last_order.expect("a sale").order;
    two.must(1, Command::GiveUp { open_order: id });
    assert_eq!(two.list(1), []);
    two.meet()?;
    let order = two.order(1, id);
    assert_eq!(order.status(), OpenOrderStatus::Paid { sales: vec![sale] });
    assert_eq!(order.exceptions(), [OpenOrderException::PaidAndCancelled { sales: vec![sale] }]);
    Ok(())
}

/// Add a line and pay at another till: paid stands; the line that the payment did not see is an open order of its own.
#[test]
fn what_is_added_while_an_order_is_paid_elsewhere_is_an_order_of_its_own() -> Result<()> {
    let (mut two, id) = Two::parked()?;
    two.recall(0, id);
    two.pay(0);
    two.recall(1, id);
    two.scan(1, 2, 3);
    two.park(1, "Table 4");
    two.meet()?;
    assert!(matches!(two.order(0, id).exceptions()[..], [OpenOrderException::UnpaidRemainder { .. }]));
    let rest = two.only(0);
    assert_ne!(rest, id);
    // Both take it up, which writes the same order, and one of them pays.
    for at in 0..2 {
        let view = two.recall(at, rest);
        assert_eq!(quantities(&view), [(two.shop.products[2].code.clone(), 3)]);
    }
    two.meet()?;
    assert_eq!(two.only(1), rest);
    two.pay(1);
    two.meet()?;
    assert_eq!((two.list(0), two.list(1)), (vec![], vec![]));
    assert_eq!(two.order(0, rest).exceptions(), []);
    Ok(())
}

#[test]
fn a_cart_whose_order_changed_elsewhere_is_looked_at_again_before_it_is_paid() -> Result<()> {
    let (mut two, id) = Two::parked()?;
    two.recall(0, id);
    two.scan(0, 1, 1);
    two.recall(1, id);
    two.scan(1, 2, 1);
    two.park(1, "Table 4, window");
    two.meet()?;
    let cart = two.tills[0].view().cart;
    let pay = Command::SettleCash { order: cart.order, tendered_minor: cart.total_minor };
    assert_eq!(two.refused(0, pay), ApiErrorCode::StaleOrder);
    let view = two.tills[0].view();
    assert_eq!(quantities(&view).len(), 3, "the line of the other till and the one of this: {view:?}");
    two.pay(0);
    two.meet()?;
    assert_eq!(two.order(1, id).exceptions(), []);
    assert_eq!(two.tills[1].orders().expect("orders")[0].lines, 3);
    Ok(())
}

/// Pay one order at two tills: either receipt says so, and gives back in one touch what was paid twice.
#[test]
fn what_was_paid_twice_is_given_back_in_one_touch_at_either_till() -> Result<()> {
    let (mut two, id) = Two::parked()?;
    let mut sales = Vec::new();
    for at in 0..2 {
        two.recall(at, id);
        // Something of one's own, that was paid once.
        two.scan(at, 4 + at, 1);
        sales.push(two.pay(at).last_order.expect("a sale"));
        assert_eq!(two.look_up(at, sales[at].order).paid_twice, None, "nobody has heard of it");
    }
    two.meet()?;
    for at in 0..2 {
        for (this, other) in [(0, 1), (1, 0)] {
            let shown = two.look_up(at, sales[this].order);
            let twice = shown.paid_twice.expect("paid twice");
            assert_eq!((twice.label.as_str(), &twice.others), ("Table 4", &vec![sales[other].receipt.clone()]));
            assert_eq!((twice.amount_minor, shown.summary.is_paid_twice), (shown.lines[0].amount_minor, true));
        }
    }
    // The first till gives the second one's payment back.
    let view = two.look_up(0, sales[1].order);
    let command = Command::RefundSecondPayment { refund: view.next_refund, sale: sales[1].order };
    let refund = two.must(0, command.clone()).last_order.expect("a refund");
    assert_eq!((refund.is_refund, -refund.total_minor), (true, view.lines[0].amount_minor));
    assert_eq!(two.must(0, command).last_order.expect("the same").receipt, refund.receipt, "asked again, it is done once");
    two.meet()?;
    for at in 0..2 {
        for sale in &sales {
            let shown = two.look_up(at, sale.order);
            assert_eq!((shown.paid_twice, shown.summary.is_paid_twice), (None, false));
            let again = Command::RefundSecondPayment { refund: shown.next_refund, sale: sale.order };
            assert_eq!(two.refused(at, again), ApiErrorCode::NothingToRefund);
        }
        assert_eq!(two.look_up(at, sales[1].order).refunds[0].receipt, refund.receipt);
        let order = two.order(at, id);
        assert_eq!(order.exceptions().len(), 1, "it happened, and is in the history");
    }
    Ok(())
}

/// Refund one line at two tills: whoever hears of the first is told where and when; of two that are apart both stand.
#[test]
fn a_line_that_two_tills_refund_came_back_twice_and_the_next_one_is_told() -> Result<()> {
    let mut two = Two::new()?;
    let sale = two.sell(0, 0, 2);
    two.meet()?;
    two.refund(0, sale, 0, 2);
    two.refund(1, sale, 0, 2);
    two.meet()?;
    for at in 0..2 {
        let shown = two.look_up(at, sale);
        assert_eq!((shown.lines[0].refundable_milli, shown.refunds.len()), (0, 2));
        assert_eq!(
            shown.refunds.iter().map(|refund| refund.till.as_str()).collect::<BTreeSet<_>>(),
            BTreeSet::from(["Device 1", "Device 2"])
        );
        assert_eq!(two.stock(at, 0), 2, "both stand");
        let error = two.tills[at].till.command(two.refund_command(at, sale, 0, 1)).expect_err("nothing is left");
        let last = shown.refunds.last().expect("two");
        assert_eq!(error.code, ApiErrorCode::NothingToRefund);
        let told =
            format!("0 of line 1 can still come back: look at the order again; it was already refunded at {}, ", last.till);
        assert!(
            error.message.starts_with(&told) && error.message.ends_with(&format!("with receipt {}", last.receipt)),
            "{}",
            error.message
        );
    }
    Ok(())
}

/// Sell the last one twice, in hand: both sales stand, and one is missing.
#[test]
fn the_last_one_sold_at_two_tills_is_sold_twice() -> Result<()> {
    let mut two = Two::new()?;
    two.count(0, 0, 1);
    two.meet()?;
    for at in 0..2 {
        assert_eq!(two.stock(at, 0), 1);
        two.sell(at, 0, 1);
        assert_eq!(two.stock(at, 0), 0);
    }
    two.meet()?;
    for at in 0..2 {
        assert_eq!((two.stock(at, 0), two.tills[at].orders().expect("orders").len()), (-1, 2));
    }
    Ok(())
}

/// Count and sell during the count: what the count had not heard of still applies, and nothing that it had.
#[test]
fn what_is_sold_elsewhere_during_a_count_is_taken_off_it() -> Result<()> {
    let mut two = Two::new()?;
    two.sell(0, 0, 3);
    two.sell(1, 0, 2);
    two.meet()?;
    assert_eq!(two.stock(0, 0), -5);
    // Sold while the other one counts; the shelf has ten, and the customer walks out with one.
    two.sell(1, 0, 1);
    two.count(0, 0, 10);
    assert_eq!((two.stock(0, 0), two.stock(1, 0)), (10, -6));
    two.sell(0, 0, 4);
    two.meet()?;
    assert_eq!((two.stock(0, 0), two.stock(1, 0)), (5, 5));
    // A till that was off brings yesterday's sales.
    two.tills[0].till.tidy()?;
    two.sell(1, 0, 2);
    two.meet()?;
    assert_eq!((two.stock(0, 0), two.stock(1, 0)), (3, 3));
    Ok(())
}

/// Edit a price twice: the later stands, whichever came first.
#[test]
fn of_two_prices_set_at_once_tills_take_the_later() -> Result<()> {
    let mut two = Two::new()?;
    let mut region = two.shop.region();
    region.found(&two.shop);
    let runs = region.reprice_at_once(two.shop.products[0].id, UnitPrice(50_000), UnitPrice(40_000));
    for at in 0..2 {
        two.hears_the_server(at, runs.clone())?;
        two.scan(at, 0, 1);
        assert_eq!(two.tills[at].view().cart.lines[0].unit_price, 50_000);
        two.must(at, Command::ClearCart {});
    }
    Ok(())
}

/// Take a product off sale and sell it: the sale stands with its own name, price and tax.
#[test]
fn what_is_sold_while_it_is_taken_off_sale_is_sold_as_it_was() -> Result<()> {
    let mut two = Two::new()?;
    let mut region = two.shop.region();
    region.found(&two.shop);
    let product = two.shop.products[0].clone();
    let withdrawn = vec![region.withdraw(product.id).expect("it was on sale")];
    two.hears_the_server(0, withdrawn.clone())?;
    let item = Item::Code { code: product.code.clone() };
    let scan = Command::AddLine { item, quantity_milli: None, unit_price: None, name: None, separate: None };
    assert_eq!(two.refused(0, scan), ApiErrorCode::InactiveProduct);
    let sale = two.sell(1, 0, 2);
    two.hears_the_server(1, withdrawn)?;
    two.meet()?;
    for at in 0..2 {
        let shown = two.look_up(at, sale);
        assert_eq!((shown.lines[0].name.as_str(), shown.lines[0].unit_price), (product.name.as_str(), product.price.0));
        assert_eq!(shown.taxes[0].rate_bp, product.tax_rate_bp);
    }
    // It comes back at the price that was paid.
    two.refund(0, sale, 0, 2);
    two.meet()?;
    assert_eq!(two.look_up(1, sale).lines[0].refundable_milli, 0);
    Ok(())
}

/// Two counts at once: the later stands, with what neither had heard of; another one that has heard of both supersedes them.
#[test]
fn of_two_counts_at_once_the_later_stands_until_somebody_counts_again() -> Result<()> {
    let mut two = Two::new()?;
    two.count(0, 0, 10);
    two.sell(0, 0, 1);
    // The second till's clock is ahead, and it has not heard of the first one's count or sale.
    two.count(1, 0, 8);
    two.meet()?;
    let stands = two.stock(0, 0);
    assert_eq!(two.stock(1, 0), stands);
    assert!([9, 7].contains(&stands), "one of the counts less what it had not heard of: {stands}");
    two.count(0, 0, 6);
    two.meet()?;
    assert_eq!((two.stock(0, 0), two.stock(1, 0)), (6, 6));
    two.sell(1, 0, 1);
    two.meet()?;
    assert_eq!((two.stock(0, 0), two.stock(1, 0)), (5, 5));
    Ok(())
}
