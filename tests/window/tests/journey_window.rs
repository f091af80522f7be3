//! A cashier's first hour in the real window: enrol, sign in, open a shift, scan, take cash; then the paper and the manager's report. And
//! what the window does when it is started twice, or told to stop.
//!
//! Pictures go to `target/tmp/journey-window` (`CARGO_TARGET_TMPDIR`).

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use journeys::cashier::PATIENCE;
use journeys::stack::ports::{Ports, Protocol};
use journeys::stack::printer::Printer;
use journeys::stack::process::{Process, run};
use journeys::stack::{Plan, STORE, Stack, until};
use window::display::Display;
use window::driver::{Driver, Page, key};

const WINDOW: &str = env!("CARGO_BIN_EXE_evertill-automated");

/// A shop with a server and a printer, a screen that nobody sees, and a folder for the till.
struct World {
    stack: Stack,
    printer: Printer,
    display: Display,
    node: PathBuf,
    folder: tempfile::TempDir,
}

impl World {
    fn start() -> Result<Self> {
        let plan = Plan { tills: 0, printers: false, links: false, ..Plan::for_test()? };
        let (node, vprinter) = (plan.binaries.node(), plan.binaries.vprinter());
        let stack = plan.start(&mut |text| eprintln!("{text}"))?;
        let folder = tempfile::tempdir()?;
        let (paper, log) = (folder.path().join("paper"), folder.path().join("printer.log"));
        let port = |what| Ports::Free.choose(what, Protocol::Tcp, 0, &mut |_| {});
        let printer = Printer::start("the printer", &vprinter, &paper, &log, port("the printer")?, port("its paper")?)?;
        let display = Display::start(folder.path())?;
        Ok(Self { stack, printer, display, node, folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn till(&self) -> String {
        self.path().join("till").display().to_string()
    }

    fn driver(&self, name: &str) -> Result<Driver> {
        Driver::start(&self.display, self.path(), name)
    }

    fn link(&self) -> Result<String> {
        Ok(self.stack.manager()?.enrolment_code(STORE, "Till 1")?.link)
    }

    /// Makes the till's folder a device without a window.
    fn enrol(&self) -> Result<()> {
        let arguments = ["--data", &self.till(), "enrol", &self.link()?].map(str::to_owned);
        run("evertill-node enrol", &self.node, &arguments, None, &self.path().join("enrol.log")).map(drop)
    }

    /// Waits until the till's folder is in use, or free.
    fn wait_until_used(&self, is_used: bool) -> Result<()> {
        let path = self.path().join("till/lock");
        let what = if is_used { "the till to open" } else { "the till to let go of its folder" };
        until(what, PATIENCE, || {
            let lock = File::open(&path)?;
            Ok((lock.try_lock().is_err() == is_used).then_some(()))
        })
    }
}

#[test]
fn a_first_hour_in_the_window() -> Result<()> {
    let world = World::start()?;
    let driver = world.driver("driver")?;
    let (till, printer) = (world.till(), world.printer.address());
    let arguments = ["--data", &till, "--printer", &printer];
    let page = driver.open(Path::new(WINDOW), &arguments)?;

    // A link of nobody, half a link, and the right one.
    page.wait_for("[data-testid=first-run]")?;
    keep("1-first-run", &page)?;
    let link = world.link()?;
    enrol(&page, &link[..link.len() - 1])?;
    page.wait_for_text("[role=alert]", "not a whole enrolment link")?;
    enrol(&page, &link.replacen(&code_of(&link)?, "0000000000", 1))?;
    page.wait_for_text("[role=alert]", "did not accept the link: the code is wrong")?;
    keep("2-refused", &page)?;
    enrol(&page, &link)?;

    // The store, its staff and its catalogue arrive by themselves.
    page.wait_for_text("[data-testid=staff-tile]", "Ana")?;
    page.click("[data-testid=staff-tile]")?;
    page.press("1234")?;
    page.press(&key::ENTER.to_string())?;
    page.wait_for_text("h1", "Open a shift")?;
    page.press("100")?;
    page.press(&key::ENTER.to_string())?;
    page.wait_for("nav")?;
    for code in ["85123A", "22423", "22423"] {
        wait_for_product(&page, code)?;
        scan(&page, code)?;
    }
    page.wait_for_text("[data-testid=total]", "£28.45")?;
    keep("3-cart", &page)?;

    page.press(&key::F9.to_string())?;
    page.wait_for_text("label", "Cash received")?;
    page.press("30")?;
    page.wait_for_text("[data-testid=change-preview]", "£1.55")?;
    page.press(&key::ENTER.to_string())?;
    page.wait_for_text("[data-testid=change]", "£1.55")?;
    let receipt = page.wait_for_text("[data-testid=receipt]", "S01-T01a-")?.replace("Receipt ", "");
    page.wait_for("[data-testid=print-state][data-state=confirmed]")?;
    page.wait_for("[data-testid=link-badge][data-state=online]")?;
    keep("4-paid", &page)?;

    look_at_paper(&world.printer, &receipt)?;
    let day = ask_till(&page, "{type: 'till'}", "view.shift.business_day")?;
    let day = day.as_str().context("a shift has a day")?;
    let report = until("the report to be complete", PATIENCE, || sales(&world.stack, day))?;
    assert_eq!((report.sales, report.sales_minor), (1, 2_845));

    // Nothing was asked of the network by the page itself, and no port was opened for it.
    assert_eq!(page.run("return performance.getEntriesByType('resource').filter((r) => r.name.startsWith('http:')).length")?, 0);

    // Closed and opened again, it goes on where it was.
    page.close()?;
    world.wait_until_used(false)?;
    let page = driver.open(Path::new(WINDOW), &arguments)?;
    page.wait_for_text("[data-testid=staff-tile]", "Ana")?;
    page.close()
}

#[test]
fn a_second_window_on_the_same_folder_says_so() -> Result<()> {
    let world = World::start()?;
    world.enrol()?;
    // A screen each: where there is no window manager, the window behind is not painted.
    let other_display = Display::start(&world.path().join("other"))?;
    let (first, second) = (world.driver("first")?, Driver::start(&other_display, world.path(), "second")?);
    let till = world.till();
    let page = first.open(Path::new(WINDOW), &["--data", &till])?;
    page.wait_for("[data-testid=staff-tile]")?;

    let other = second.open(Path::new(WINDOW), &["--data", &till])?;
    other.wait_for_text("[data-testid=stuck] h1", "This till is open already")?;
    assert_eq!(other.attribute("[data-testid=stuck]", "data-code")?.as_deref(), Some("in_use"));
    keep("5-in-use", &other)?;
    assert!(second.said()?.contains("is in use by another"), "{}", second.said()?);
    // The first does not mind, and when it is gone the second opens the till.
    page.wait_for("[data-testid=staff-tile]")?;
    page.close()?;
    world.wait_until_used(false)?;
    other.click("[data-testid=try-again]")?;
    other.wait_for("[data-testid=staff-tile]")?;
    other.close()
}

#[test]
fn told_to_stop_it_lets_go_of_the_folder_and_ends_well() -> Result<()> {
    let world = World::start()?;
    world.enrol()?;
    let home = world.path().join("home");
    std::fs::create_dir(&home)?;
    let mut arguments = world.display.environment(&home);
    arguments.extend([WINDOW.to_owned(), "--data".to_owned(), world.till()]);
    let mut window = Process::start("the window", Path::new("env"), &arguments, &world.path().join("window.log"))?;
    world.wait_until_used(true)?;
    assert!(window.ended().is_none());
    assert!(window.stop(), "SIGTERM did not end it\n{}", window.tail());
    let status = window.ended().context("it has ended")?;
    assert!(status.success(), "{status}\n{}", window.tail());
    world.wait_until_used(false)
}

#[test]
fn without_a_screen_it_says_so_and_opens_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("till");
    let mut command = Command::new(WINDOW);
    command.arg("--data").arg(&data).env_remove("WAYLAND_DISPLAY");
    for display in ["", ":65535"] {
        let output = command.env("DISPLAY", display).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        ensure!(said.contains("there is no screen to show the window on"), "{said}");
        ensure!(!data.exists(), "a folder was made for nothing");
    }
    Ok(())
}

/// Pastes a link and sends it off.
fn enrol(page: &Page, link: &str) -> Result<()> {
    page.fill("[data-testid=enrolment-link]", link)?;
    page.click("[data-testid=enrol]")
}

/// The one-time code in a link, between the last slash and the fingerprint.
fn code_of(link: &str) -> Result<String> {
    let code = link.rsplit('/').next().and_then(|rest| rest.split('#').next());
    code.map(str::to_owned).context("a link has a code")
}

/// A wedge scanner: a burst of keys and Enter. On a machine that is busy the driver may let a pause slip in, which makes the burst two; then
/// the till finds no such product and says so, and the person scans again.
fn scan(page: &Page, code: &str) -> Result<()> {
    let before = page.text("[data-testid=total]")?;
    let burst = format!("{code}{}", key::ENTER);
    until(&format!("a scan of {code}"), PATIENCE, || {
        page.press(&burst)?;
        let outcome = until("what came of a scan", PATIENCE, || {
            let is_added = page.text("[data-testid=total]")? != before;
            Ok((is_added || page.text("[data-testid=notice]").is_ok()).then_some(is_added))
        })?;
        if outcome {
            return Ok(Some(()));
        }
        page.click("[data-testid=notice] button")?;
        page.fill("[data-testid=search]", "")?;
        Ok(None)
    })
}

/// Waits until the till knows a product.
fn wait_for_product(page: &Page, code: &str) -> Result<()> {
    let query = format!("{{type: 'search', text: '{code}', limit: 1}}");
    until("the catalogue", PATIENCE, || Ok((ask_till(page, &query, "view.length")? == 1).then_some(())))
}

/// Asks the till as the page would, and gives a part of the answer; both in JavaScript.
fn ask_till(page: &Page, query: &str, part: &str) -> Result<serde_json::Value> {
    page.run(&format!("return __TAURI_INTERNALS__.invoke('rpc', {{call: {{query: {query}}}}}).then((view) => {part})"))
}

/// The paper has the numbers that the screen showed, and the drawer was opened once.
fn look_at_paper(printer: &Printer, receipt: &str) -> Result<()> {
    let pictures = printer.receipts()?;
    let [picture] = &pictures[..] else { anyhow::bail!("not one receipt but {pictures:?}") };
    let text = std::fs::read_to_string(picture.with_extension("json"))?;
    for part in [receipt, "WHITE HANGING HEART", "28.45", "30.00", "1.55", "Ana"] {
        ensure!(text.contains(part), "the receipt has no {part}:\n{text}");
    }
    let log = std::fs::read_to_string(picture.with_file_name("paper.log"))?;
    assert_eq!(log.lines().filter(|line| line.contains("\"pulse\"")).count(), 1, "{log}");
    Ok(())
}

/// A day's business, once its coverage is complete.
fn sales(stack: &Stack, day: &str) -> Result<Option<sync_server::web_api::SalesRow>> {
    let report = stack.manager()?.sales(day, day, sync_server::web_api::GroupBy::Day)?;
    Ok(report.rows.into_iter().next().filter(|_| report.coverage.complete))
}

/// Keeps a picture of the page for people, once there is something on it.
fn keep(name: &str, page: &Page) -> Result<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("journey-window");
    std::fs::create_dir_all(&folder)?;
    let painted = || Ok(Some(page.picture()?).filter(|picture| colours(picture).is_ok_and(|colours| colours > 8)));
    let picture = until(&format!("a picture of {name} with more than one colour"), PATIENCE, painted)?;
    Ok(std::fs::write(folder.join(format!("{name}.png")), picture)?)
}

fn colours(picture: &[u8]) -> Result<usize> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(picture)).read_info()?;
    let mut pixels = vec![0; reader.output_buffer_size().context("a picture has a size")?];
    let info = reader.next_frame(&mut pixels)?;
    let width = info.color_type.samples() * (info.bit_depth as usize / 8);
    Ok(pixels[..info.buffer_size()].chunks(width).collect::<BTreeSet<_>>().len())
}
