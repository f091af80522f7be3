//! Two servers of one shop on one central database: what is edited at one reaches the other's tills, two edits at once agree everywhere, and a store moves from one to
//! the other without losing anything, be it that the first is lost for good.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::reconcile::central::Central;
use journeys::stack::central::CentralChoice;
use journeys::stack::client::TillClient;
use journeys::stack::manager::ManagerClient;
use journeys::stack::ports::{Ports, Protocol};
use journeys::stack::server::Server;
use journeys::stack::till::Till;
use journeys::stack::{self, MANAGER, Plan, STAFF, STORE, Stack, process};
use serde_json::{Value, json};
use sync_server::web_api::{EditOutcome, ProductView, ProductsPage};

/// The store of the second server.
const NORTH: &str = "N01";
/// How often an edit is made at one server and awaited at a till of the other.
const TRIES: usize = 5;

fn start(tills: usize) -> Result<Stack> {
    let plan = Plan { tills, printers: false, central: CentralChoice::Private, ..Plan::for_test()? };
    plan.start(&mut |text| eprintln!("{text}"))
}

fn address(protocol: Protocol) -> Result<SocketAddr> {
    Ports::Free.choose("the second server", protocol, 0, &mut |_| {})
}

/// A server of the same central database, of which only the configuration is there.
fn prepare(stack: &Stack) -> Result<Server> {
    let (folder, log) = (stack.folder().join("north"), stack.folder().join("logs/north.log"));
    let (sync, web) = (address(Protocol::Udp)?, address(Protocol::Tcp)?);
    Server::prepare(&Plan::for_test()?.binaries.sync_server(), &folder, &log, sync, web, &stack.central.url())
}

/// A second server of the shop, which does not run yet.
fn second_server(stack: &Stack) -> Result<Server> {
    let server = prepare(stack)?;
    server.command(&["init", "--authority", &stack.folder().join("server/data").to_string_lossy()], None)?;
    Ok(server)
}

/// A store at the second server, which does not run yet.
fn add_store(server: &Server) -> Result<()> {
    let facts = ["--code", NORTH, "--name", "Evertill North", "--currency", "GBP"];
    server.command(&[&["store", "add"][..], &facts].concat(), None)?;
    for (name, role, pin) in STAFF {
        server.command(&["staff", "add", "--store", NORTH, "--name", name, "--role", role], Some(pin))?;
    }
    Ok(())
}

/// Starts the second server, and a till of its store.
fn at_work(server: &mut Server, stack: &Stack) -> Result<Till> {
    let link = server.command(&["enrolment-code", "--store", NORTH, "--name", "Till north"], None)?;
    server.start()?;
    let till = till(stack, "Till north", server.sync_address(), link.trim())?;
    cashier::begin(till.client())?;
    Ok(till)
}

fn till(stack: &Stack, name: &str, server: SocketAddr, link: &str) -> Result<Till> {
    let file = name.to_lowercase().replace(' ', "-");
    let (data, log) = (stack.folder().join(&file), stack.folder().join("logs").join(format!("{file}.log")));
    let mut till = Till::prepare(name, &Plan::for_test()?.binaries.node(), &data, &log, address(Protocol::Tcp)?, server);
    till.enrol(link)?;
    till.start()?;
    Ok(till)
}

fn price_at(till: &TillClient) -> Result<Option<i64>> {
    Ok(till.search("85123A", 5)?.into_iter().find(|product| product.code == "85123A").map(|product| product.unit_price))
}

fn wait_for_price(till: &TillClient, price: i64) -> Result<()> {
    stack::until("a price at a till", PATIENCE, || Ok((price_at(till)? == Some(price)).then_some(())))
}

#[test]
fn an_edit_at_one_server_reaches_the_others_tills() -> Result<()> {
    let stack = start(1)?;
    cashier::begin(stack.tills[0].client())?;
    let mut north = second_server(&stack)?;
    // Its till can only begin to sell with the catalogue that was loaded at the first server.
    add_store(&north)?;
    let far = at_work(&mut north, &stack)?;
    let (near, far) = (stack.tills[0].client(), far.client());
    let here = stack.manager()?;
    let there = ManagerClient::sign_in(&north.web_url(), MANAGER.0, MANAGER.1)?;
    let page: ProductsPage = here.get("/api/v1/products?search=85123A")?;
    let path = format!("/api/v1/products/{}", page.rows.first().context("the product")?.product);

    let mut waits = Vec::new();
    for n in 0..TRIES as i64 {
        let (editor, till) = if n % 2 == 0 { (&here, far) } else { (&there, near) };
        let price = 30_000 + n * 100;
        let began = Instant::now();
        let _: ProductView = editor.ask("PATCH", &path, &json!({ "price_centi": price }))?;
        wait_for_price(till, price)?;
        waits.push(began.elapsed());
    }
    waits.sort();
    eprintln!("edited here, at the till there after {waits:?}");

    // Both have the product before their eyes as it is now; the later edit stands everywhere, and the other is in the history.
    let seen = |manager: &ManagerClient| -> Result<ProductView> {
        stack::until("the last price", PATIENCE, || {
            let view: ProductView = manager.get(&path)?;
            Ok((view.product.price_centi == 30_000 + (TRIES as i64 - 1) * 100).then_some(view))
        })
    };
    let (at_first, at_second) = (seen(&here)?.seen, seen(&there)?.seen);
    assert_eq!(at_first, at_second, "both servers have the same document");
    let _: ProductView = here.ask("PATCH", &path, &json!({ "seen": at_first, "price_centi": 41_000 }))?;
    let _: ProductView = there.ask("PATCH", &path, &json!({ "seen": at_second, "price_centi": 42_000 }))?;
    wait_for_price(near, 42_000)?;
    wait_for_price(far, 42_000)?;
    let views = stack::until("both edits at both servers", PATIENCE, || {
        let views = [here.get::<ProductView>(&path)?, there.get::<ProductView>(&path)?];
        let has_both = |view: &ProductView| view.history.iter().any(|e| e.new == "4.10") && view.product.price_centi == 42_000;
        Ok(views.iter().all(has_both).then_some(views))
    })?;
    assert_eq!(views[0].seen, views[1].seen);
    for view in &views {
        let outvoted = view.history.iter().find(|edit| edit.new == "4.10").context("the edit that lost")?;
        assert_eq!((outvoted.outcome, outvoted.by.as_str()), (EditOutcome::Outvoted, MANAGER.0));
    }
    let central = Central::connect(&stack.central.url())?;
    let said = || {
        let price =
            central.query("SELECT price_centi FROM products WHERE code = '85123A'")?.first().map(|row| row.get::<_, i64>(0));
        let told = central.query("SELECT 1 FROM exceptions WHERE kind = 'edited_at_once'")?.len();
        Ok((price == Some(42_000) && told == 1).then_some(()))
    };
    stack::until("the price and the note to the manager in central", PATIENCE, said)?;
    // Sales of each store are in central once; the other server's till does not follow them.
    cashier::sell(near, 1)?;
    cashier::sell(far, 1)?;
    cashier::wait_until_sent(near)?;
    cashier::wait_until_sent(far)?;
    assert_eq!((near.orders(10)?.len(), far.orders(10)?.len()), (1, 1));
    agree(&stack, &north, &central, 2)
}

#[test]
fn one_code_given_at_both_servers_at_once_is_two_products_of_which_the_older_is_found() -> Result<()> {
    let stack = start(1)?;
    cashier::begin(stack.tills[0].client())?;
    let mut north = second_server(&stack)?;
    // The two have not met yet.
    add_store(&north)?;
    let file = stack.folder().join("both.csv");
    std::fs::write(&file, "code,name,price,tax_rate_bp\nTWICE,Given twice,5.00,2000\n")?;
    north.command(&["products", "import", &file.to_string_lossy()], None)?;
    let here = stack.manager()?;
    let _: ProductView = here.ask(
        "POST",
        "/api/v1/products",
        &json!({ "code": "TWICE", "name": "Given here", "price_centi": 60_000, "tax_rate_bp": 2_000 }),
    )?;
    let far = at_work(&mut north, &stack)?;
    let there = ManagerClient::sign_in(&north.web_url(), MANAGER.0, MANAGER.1)?;
    for till in [stack.tills[0].client(), far.client()] {
        let both = || Ok((till.search("TWICE", 5)?.len() == 2).then_some(()));
        stack::until("both products at both tills", PATIENCE, both)?;
        // A code is the older product's, here as there.
        assert_eq!(cashier::add(till, "TWICE", 1)?.cart.total_minor, 500);
    }
    // What a file says of the code is said of the same product at either server.
    let ask = |manager: &ManagerClient, price: &str| -> Result<()> {
        let begun: Value = manager
            .upload("/api/v1/imports?name=again.csv", format!("code,name,price\nTWICE,Given twice,{price}\n").as_bytes())?;
        let path = format!("/api/v1/imports/{}", begun["id"].as_str().context("an id")?);
        let state = |of: &str| stack::until(of, PATIENCE, || Ok((manager.get::<Value>(&path)?["state"] == of).then_some(())));
        state("ready")?;
        let _: Value = manager.ask("POST", &format!("{path}/apply"), &json!({}))?;
        state("applied")
    };
    for (manager, price, minor) in [(&here, "5.10", 510), (&there, "5.20", 520)] {
        ask(manager, price)?;
        for till in [stack.tills[0].client(), far.client()] {
            let repriced = || {
                till.command(&node::api::Command::ClearCart {})?;
                Ok((cashier::add(till, "TWICE", 1)?.cart.total_minor == minor).then_some(()))
            };
            stack::until("the new price of the older product", PATIENCE, repriced)?;
        }
    }
    Ok(())
}

#[test]
fn a_store_moves_to_another_region_and_nothing_is_lost() -> Result<()> {
    let mut stack = start(2)?;
    for till in &stack.tills {
        cashier::begin(till.client())?;
        cashier::sell(till.client(), 0)?;
        cashier::wait_until_sent(till.client())?;
    }
    let mut north = second_server(&stack)?;
    north.start()?;
    let central = Central::connect(&stack.central.url())?;
    let met = || Ok((central.query("SELECT 1 FROM devices WHERE kind = 'server'")?.len() == 2).then_some(()));
    stack::until("the servers to meet", PATIENCE, met)?;

    // The first till moves with two sales that nobody has heard of; the second one stays behind and goes on.
    stack.tills[0].cut();
    for number in 1..=2 {
        cashier::sell(stack.tills[0].client(), number)?;
    }
    move_to(&mut stack.tills[0], &north)?;
    cashier::wait_until_sent(stack.tills[0].client())?;
    cashier::sell(stack.tills[1].client(), 3)?;
    cashier::sell(stack.tills[0].client(), 4)?;
    for till in &stack.tills {
        wait_for_orders(&stack, till, 6)?;
    }
    agree(&stack, &north, &central, 6)?;

    // The first server is lost for good, with what its keys could do. The second till has sold meanwhile, and moves as well.
    stack.server.kill();
    std::fs::remove_dir_all(stack.folder().join("server/data"))?;
    cashier::sell(stack.tills[1].client(), 5)?;
    move_to(&mut stack.tills[1], &north)?;
    for till in &stack.tills {
        cashier::sell(till.client(), 6)?;
    }
    for till in &stack.tills {
        wait_for_orders(&stack, till, 9)?;
    }
    // The store lives on there: a till that is new hears of all that was.
    let manager = ManagerClient::sign_in(&north.web_url(), MANAGER.0, MANAGER.1)?;
    let code = manager.enrolment_code(STORE, "Till 3")?;
    let third = till(&stack, "Till 3", north.sync_address(), &code.link)?;
    cashier::begin(third.client())?;
    wait_for_orders(&stack, &third, 9)?;
    let sold = cashier::sell(third.client(), 7)?;
    ensure!(sold.receipt.starts_with("S01-T03a"), "{}", sold.receipt);
    cashier::wait_until_sent(third.client())?;
    north.stop();
    agree_on(&north, &central, 10)
}

#[test]
fn a_server_with_another_authority_is_told_and_nothing_is_taken_from_it() -> Result<()> {
    let stack = start(1)?;
    cashier::begin(stack.tills[0].client())?;
    let mut strange = prepare(&stack)?;
    let said = strange.command(&["init"], None).expect_err("it would be another shop's").to_string();
    ensure!(said.contains("has another authority") && said.contains("init --authority DIR"), "{said}");
    let other = stack.folder().join("nowhere").display().to_string();
    let said = strange.command(&["init", "--authority", &other], None).expect_err("there is nothing").to_string();
    ensure!(said.contains("cannot use") && said.contains("authority.key"), "{said}");
    let first = stack.folder().join("server/data").display().to_string();
    let said = strange.command(&["init", "--authority", &first], None).expect_err("it has one already").to_string();
    ensure!(said.contains("holds another authority already"), "{said}");
    // Somebody runs it all the same.
    add_store(&strange)?;
    let file = stack.folder().join("strange.csv");
    std::fs::write(&file, "code,name,price,tax_rate_bp\nSTRANGE,Not ours,5.00,2000\n")?;
    strange.command(&["products", "import", &file.to_string_lossy()], None)?;
    strange.start()?;
    for log in ["sync-server.log", "north.log"] {
        let told =
            || Ok(std::fs::read_to_string(stack.folder().join("logs").join(log))?.contains("strange_server").then_some(()));
        stack::until("both servers to say so", PATIENCE, told)?;
    }
    // Its product has been read by now, and so has an edit here by the till.
    let central = Central::connect(&stack.central.url())?;
    let fed = || Ok((central.query("SELECT 1 FROM products WHERE code = 'STRANGE'")?.len() == 1).then_some(()));
    stack::until("its product in the central database", PATIENCE, fed)?;
    let here = stack.manager()?;
    let page: ProductsPage = here.get("/api/v1/products?search=85123A")?;
    let path = format!("/api/v1/products/{}", page.rows.first().context("the product")?.product);
    let _: ProductView = here.ask("PATCH", &path, &json!({ "price_centi": 31_000 }))?;
    wait_for_price(stack.tills[0].client(), 31_000)?;
    ensure!(stack.tills[0].client().search("STRANGE", 5)?.is_empty(), "a till sells what a stranger wrote");
    Ok(())
}

/// Brings a till to another server, as an operator does.
fn move_to(till: &mut Till, server: &Server) -> Result<()> {
    till.stop();
    till.set_server(server.sync_address());
    till.heal();
    till.start()?;
    cashier::sign_in(till.client())?;
    Ok(())
}

/// Waits until a till shows so many orders, its own and others', and all that it wrote is in the central database.
fn wait_for_orders(stack: &Stack, till: &Till, orders: usize) -> Result<()> {
    let all = || Ok((till.client().orders(50)?.len() == orders).then_some(()));
    let log = format!("{}.log", till.name.to_lowercase().replace(' ', "-"));
    stack::until("every sale at a till", PATIENCE, all)
        .with_context(|| format!("{} has {:?}", till.name, till.client().orders(50).map(|orders| orders.len())))
        .with_context(|| process::tail(&stack.folder().join("logs").join(log)))?;
    cashier::wait_until_sent(till.client())
}

/// Whether so many orders are in the central database, each once, and the figures are what the entries say.
fn agree(stack: &Stack, north: &Server, central: &Central, orders: i64) -> Result<()> {
    ensure!(stack.server.is_running() && north.is_running());
    agree_on(north, central, orders)
}

fn agree_on(server: &Server, central: &Central, orders: i64) -> Result<()> {
    let projected = || Ok((central.query("SELECT count(*) FROM orders")?[0].get::<_, i64>(0) == orders).then_some(()));
    stack::until("all orders in central", PATIENCE, projected)?;
    assert_eq!(central.flaws()?, Vec::<String>::new());
    server.command(&["reproject", "--check"], None)?;
    Ok(())
}
