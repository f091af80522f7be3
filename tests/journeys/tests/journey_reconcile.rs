//! The sample of real invoices goes through two tills while network, server and Postgres fail, and everyone agrees in the end.

use std::path::Path;

use journeys::reconcile::{self, Options};

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
