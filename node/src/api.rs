//! The one door to a node: what may be asked, what is answered, what is announced.
//!
//! The window, the loopback HTTP face and the tests all speak these types. They are the border's own shapes: amounts are
//! whole minor units, quantities thousandths, unit prices hundredths of a minor unit, ids are UUID text, and everything
//! arrives ready to draw. The TypeScript in `ui/src/lib/api/node.gen.ts` is generated from here (`bindings::bindings_are_fresh`).

mod ask;
#[cfg(test)]
mod bindings;
mod error;
mod view;

pub use ask::{AdjustLine, Command, CountedLine, Item, Query, RefundLine};
pub use error::{ApiError, ApiErrorCode};
pub use view::{
    AddendumView, CartLineView, CartView, ClosedShiftView, DrawerState, Durability, Event, LedgerRow, LedgerView, LinkState,
    LinkView, LinkWay, OpenOrderView, OrderLineView, OrderSummary, OrderView, PRINT_JOBS_SHOWN_MAX, PaidTwiceView, PrintJobView,
    PrintState, ProductView, RecalledView, RefundView, SettledView, ShiftView, SignedInView, StaffView, StoreView, TaxView,
    TillIdentity, TillView,
};
