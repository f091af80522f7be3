//! The same types in TypeScript, for the screen.

use std::path::Path;

use ts_rs::{Config, TS};

use super::*;

/// The TypeScript of every type, in the order of the files.
fn bindings() -> String {
    let config = Config::new().with_large_int("number");
    let mut out = String::from("// Generated from node/src/api. Do not edit.\n");
    macro_rules! export {
        ($($name:ty),+ $(,)?) => { $( out.push_str(&format!("\nexport {}\n", without_comments(&<$name>::decl(&config)))); )+ };
    }
    export!(
        Command,
        Item,
        RefundLine,
        AdjustLine,
        CountedLine,
        Query,
        Event,
        TillView,
        StoreView,
        TillIdentity,
        StaffView,
        SignedInView,
        ShiftView,
        ClosedShiftView,
        AddendumView,
        CartView,
        RecalledView,
        CartLineView,
        TaxView,
        SettledView,
        Durability,
        DrawerState,
        LinkView,
        LinkState,
        LinkWay,
        PrintJobView,
        PrintState,
        ProductView,
        OpenOrderView,
        OrderSummary,
        OrderView,
        OrderLineView,
        RefundView,
        PaidTwiceView,
        LedgerView,
        LedgerRow,
        ApiError,
        ApiErrorCode,
    );
    out
}

/// The comments are in the Rust files; one place is enough.
fn without_comments(declaration: &str) -> String {
    let mut out = String::new();
    let mut rest = declaration;
    while let Some((before, comment)) = rest.split_once("/**") {
        out.push_str(before.trim_end());
        rest = comment.split_once("*/").map_or("", |(_, after)| after.trim_start());
        out.push(' ');
    }
    out.push_str(rest);
    out
}

#[test]
fn bindings_are_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/src/lib/api/node.gen.ts");
    let fresh = bindings();
    if std::env::var_os("UPDATE_BINDINGS").is_some() {
        std::fs::write(&path, &fresh).expect("writing the bindings");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, fresh, "run this test with UPDATE_BINDINGS=1 and commit {}", path.display());
}
