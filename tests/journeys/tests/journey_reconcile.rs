//! The sample of real invoices goes through two tills while network, server and Postgres fail, and everyone agrees in the end.

use std::path::Path;

use journeys::reconcile::{self, Options, invoices, plan};

#[test]
fn the_sample_of_real_invoices_reconciles() -> anyhow::Result<()> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/online-retail/invoices-sample.csv.gz");
    let plan = reconcile::read_plan(&sample)?;
    // The sums of the sample as its own README states them.
    let whole = plan.whole();
    assert_eq!((whole.sums.lines, whole.sums.exact), (8_185, 260_026_020_000));
    assert_eq!(plan.counts.longest_invoice, 705);

    let outcome = reconcile::replay(&plan, &Options::default(), &|text| eprintln!("{text}"))?;
    eprintln!("{}", outcome.table);
    for line in outcome.flaws.iter().chain(&outcome.timing) {
        eprintln!("{line}");
    }
    assert!(outcome.agrees());
    assert_eq!(outcome.table.rows.len(), 8);
    Ok(())
}

#[test]
fn a_hundred_thousandth_of_a_penny_is_found() -> anyhow::Result<()> {
    let text = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n\
        536365,85123A,HEART,6,2010-12-01 08:26:00,2.55,,UK\n\
        536366,85123A,HEART,2,2010-12-01 08:28:00,0.001,,UK\n\
        C536367,85123A,HEART,-1,2010-12-02 09:00:00,2.55,,UK\n";
    let mut plan = plan::plan(&invoices::read(text.as_bytes())?);
    // The file is now said to come to a little more than it does, below what any rounding shows.
    plan.shares[1].sums.exact += 1;
    let outcome = reconcile::replay(&plan, &Options::default(), &|text| eprintln!("{text}"))?;
    eprintln!("{}", outcome.table);
    assert!(!outcome.agrees() && outcome.flaws.is_empty(), "{:?}", outcome.flaws);
    let differing: Vec<_> = outcome.table.rows.iter().filter(|row| !row.agrees()).map(|row| row.source.as_str()).collect();
    assert_eq!(differing, ["till 2", "whole store, at till 1", "whole store, at till 2", "central", "central, of till 2"]);
    Ok(())
}
