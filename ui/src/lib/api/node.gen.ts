// Generated from node/src/api.rs. Do not edit.

export type Command = { "type": "sign_in", 
/**
 * Who.
 */
staff: string, 
/**
 * 4 to 12 digits.
 */
pin: string, } | { "type": "sign_out", } | { "type": "open_shift", 
/**
 * The cash put into the drawer.
 */
float_minor: number, 
/**
 * The day it counts for, `YYYY-MM-DD`; today by the till's clock and time zone when absent.
 */
business_day: string | null, } | { "type": "close_shift", 
/**
 * The cash counted in the drawer.
 */
counted_minor: number, } | { "type": "add_line", 
/**
 * What.
 */
item: Item, 
/**
 * How much, in thousandths; one piece when absent.
 */
quantity_milli: number | null, 
/**
 * Another price than the catalogue's, in hundredths of a minor unit. Needs the permission to override prices.
 */
unit_price: number | null, 
/**
 * Another name than the catalogue's. Needs the same permission.
 */
name: string | null, 
/**
 * Whether it stays a line of its own; otherwise it joins a line with the same product, price and name.
 */
separate: boolean | null, } | { "type": "set_quantity", 
/**
 * The line's position, from 0.
 */
line: number, 
/**
 * How much, in thousandths.
 */
quantity_milli: number, } | { "type": "remove_line", 
/**
 * The line's position, from 0.
 */
line: number, } | { "type": "clear_cart", } | { "type": "start_refund", 
/**
 * Why.
 */
reason: string, } | { "type": "set_reference", 
/**
 * The number.
 */
reference: string, } | { "type": "settle_cash", 
/**
 * The cart's order, so that a second tap cannot pay for the next customer.
 */
order: string, 
/**
 * What was handed over; ignored in a refund.
 */
tendered_minor: number, } | { "type": "refund_sale", 
/**
 * The new refund's id, minted by [`Query::Order`] as `next_refund`: asking again changes nothing.
 */
refund: string, 
/**
 * The sale.
 */
original: string, 
/**
 * What comes back.
 */
lines: Array<RefundLine>, 
/**
 * Why.
 */
reason: string, } | { "type": "adjust_stock", 
/**
 * What changed.
 */
lines: Array<AdjustLine>, 
/**
 * Why.
 */
reason: string, 
/**
 * A number of another system.
 */
reference: string | null, } | { "type": "adjust_account", 
/**
 * What for.
 */
description: string, 
/**
 * How many, in thousandths.
 */
quantity_milli: number, 
/**
 * What one is, in hundredths of a minor unit; may be negative.
 */
unit_price: number, 
/**
 * A number of another system.
 */
reference: string | null, } | { "type": "open_drawer", 
/**
 * Why.
 */
reason: string, } | { "type": "reprint", 
/**
 * Of which order.
 */
order: string, } | { "type": "resolve_print", 
/**
 * The print job.
 */
job: string, 
/**
 * Whether it came out of the printer.
 */
came_out: boolean, };

export type Item = { "by": "code", 
/**
 * At most 64 bytes.
 */
code: string, } | { "by": "product", 
/**
 * Which.
 */
product: string, };

export type RefundLine = { 
/**
 * The line's position in the sale, from 0.
 */
line: number, 
/**
 * How much, in thousandths.
 */
quantity_milli: number, };

export type AdjustLine = { 
/**
 * The product's code.
 */
code: string, 
/**
 * How much more, or, negative, less, in thousandths.
 */
quantity_milli: number, 
/**
 * What one is valued at, in hundredths of a minor unit.
 */
unit_price: number, };

export type Query = { "type": "till", } | { "type": "search", 
/**
 * What was typed.
 */
text: string, 
/**
 * At most so many, up to 100.
 */
limit: number, } | { "type": "orders", 
/**
 * Part of a receipt number, or empty.
 */
text: string, 
/**
 * At most so many, up to 200.
 */
limit: number, } | { "type": "order", 
/**
 * Which.
 */
order: string, } | { "type": "ledger", };

export type Event = { "type": "till_changed", } | { "type": "link_changed", 
/**
 * How it is now.
 */
link: LinkView, } | { "type": "catalogue_changed", };

export type TillView = { 
/**
 * The store, once its settings have arrived.
 */
store: StoreView | null, 
/**
 * This till.
 */
till: TillIdentity, 
/**
 * Who may sign in here, by name.
 */
staff: Array<StaffView>, 
/**
 * Who is signed in.
 */
signed_in: SignedInView | null, 
/**
 * The open shift.
 */
shift: ShiftView | null, 
/**
 * The shift that was closed last, until the next one opens.
 */
last_closed_shift: ClosedShiftView | null, 
/**
 * The order being built.
 */
cart: CartView, 
/**
 * The order that was settled last, until the next line is added.
 */
last_order: SettledView | null, 
/**
 * How this till is connected.
 */
link: LinkView, 
/**
 * Receipts that wait for the printer or for a person's word.
 */
print_jobs: Array<PrintJobView>, };

export type StoreView = { 
/**
 * The short code, such as `S01`.
 */
code: string, 
/**
 * The name.
 */
name: string, 
/**
 * The currency's ISO 4217 letters.
 */
currency: string, 
/**
 * How many decimal digits a minor unit is.
 */
exponent: number, 
/**
 * Whether prices hold the tax.
 */
tax_included: boolean, };

export type TillIdentity = { 
/**
 * The name people call it by.
 */
name: string, 
/**
 * Its receipt series, such as `S01-T03b`.
 */
series: string, };

export type StaffView = { 
/**
 * Their id.
 */
id: string, 
/**
 * Their name.
 */
name: string, 
/**
 * Their role.
 */
role: "cashier" | "shift_lead" | "manager", };

export type SignedInView = { 
/**
 * Who.
 */
staff: StaffView, 
/**
 * May refund without the sale.
 */
may_refund_without_sale: boolean, 
/**
 * May sell at another price.
 */
may_override_price: boolean, 
/**
 * May correct stock.
 */
may_adjust_stock: boolean, 
/**
 * May open the drawer without a sale.
 */
may_open_drawer: boolean, };

export type ShiftView = { 
/**
 * Its id.
 */
id: string, 
/**
 * The day it counts for, `YYYY-MM-DD`.
 */
business_day: string, 
/**
 * When it was opened, Unix milliseconds.
 */
opened_at_ms: number, 
/**
 * The cash put into the drawer.
 */
float_minor: number, 
/**
 * The cash that should be in the drawer now.
 */
expected_minor: number, 
/**
 * How many sales it has.
 */
sales: number, 
/**
 * How many refunds it has.
 */
refunds: number, 
/**
 * What the sales come to.
 */
sales_minor: number, 
/**
 * What the refunds come to, as a positive sum.
 */
refunds_minor: number, };

export type ClosedShiftView = { 
/**
 * The shift with its final sums.
 */
shift: ShiftView, 
/**
 * The cash that was counted.
 */
counted_minor: number, 
/**
 * Counted less expected.
 */
difference_minor: number, };

export type CartView = { 
/**
 * The id that the order will have.
 */
order: string, 
/**
 * Whether it pays out.
 */
is_refund: boolean, 
/**
 * Why, in a refund.
 */
reason: string | null, 
/**
 * What is in it.
 */
lines: Array<CartLineView>, 
/**
 * The line that was touched last, from 0.
 */
touched: number | null, 
/**
 * Net and tax, one row a rate.
 */
taxes: Array<TaxView>, 
/**
 * What is owed, or in a refund paid out.
 */
total_minor: number, 
/**
 * Amounts of notes and coins that a customer is likely to hand over, smallest first; the exact amount leads.
 */
quick_cash_minor: Array<number>, };

export type CartLineView = { 
/**
 * The shop's code.
 */
code: string, 
/**
 * The name.
 */
name: string, 
/**
 * How much, in thousandths.
 */
quantity_milli: number, 
/**
 * What one costs, in hundredths of a minor unit.
 */
unit_price: number, 
/**
 * The tax rate in basis points.
 */
tax_rate_bp: number, 
/**
 * The amount.
 */
amount_minor: number, };

export type TaxView = { 
/**
 * The rate in basis points.
 */
rate_bp: number, 
/**
 * Without tax.
 */
net_minor: number, 
/**
 * The tax.
 */
tax_minor: number, };

export type SettledView = { 
/**
 * Its id.
 */
order: string, 
/**
 * Its receipt number.
 */
receipt: string, 
/**
 * Whether it paid out.
 */
is_refund: boolean, 
/**
 * What was owed (positive), or paid out (negative).
 */
total_minor: number, 
/**
 * What was handed over.
 */
tendered_minor: number, 
/**
 * What to give back.
 */
change_minor: number, 
/**
 * How safe it is by now.
 */
durability: Durability, 
/**
 * How its receipt is doing.
 */
print: PrintState | null, 
/**
 * Whether the drawer was told to open, once that is known.
 */
drawer: DrawerState | null, };

export type Durability = "device" | "regional" | "central";

export type DrawerState = "kicked" | "open_by_key";

export type LinkView = { 
/**
 * The state of the link to the regional server.
 */
state: LinkState, 
/**
 * Commits that the server does not have yet.
 */
unsent: number, 
/**
 * Commits that the central database does not have yet.
 */
not_central: number, 
/**
 * When the server was last heard, Unix milliseconds.
 */
last_contact_ms: number | null, 
/**
 * Why there is no link, in a sentence.
 */
problem: string | null, };

export type LinkState = "offline" | "online";

export type PrintJobView = { 
/**
 * The job.
 */
id: string, 
/**
 * The receipt number it prints.
 */
title: string, 
/**
 * How it is doing.
 */
state: PrintState, 
/**
 * What the printer said last, in a sentence.
 */
problem: string | null, };

export type PrintState = "queued" | "sending" | "confirmed" | "sent_unconfirmed" | "uncertain" | "reprinted" | "accepted";

export type ProductView = { 
/**
 * Its id.
 */
id: string, 
/**
 * The shop's code.
 */
code: string, 
/**
 * The name.
 */
name: string, 
/**
 * What one costs, in hundredths of a minor unit.
 */
unit_price: number, 
/**
 * What this till believes is in stock, in thousandths.
 */
stock_milli: number, };

export type OrderSummary = { 
/**
 * Its id.
 */
order: string, 
/**
 * Its receipt number.
 */
receipt: string, 
/**
 * Whether it paid out.
 */
is_refund: boolean, 
/**
 * When, Unix milliseconds.
 */
at_ms: number, 
/**
 * What was owed; negative in a refund.
 */
total_minor: number, 
/**
 * How many lines.
 */
lines: number, 
/**
 * The till that took it.
 */
till: string, 
/**
 * How safe it is; for a neighbour's order at least `regional`.
 */
durability: Durability, };

export type OrderView = { 
/**
 * What the list shows.
 */
summary: OrderSummary, 
/**
 * Who served.
 */
cashier: string, 
/**
 * The lines.
 */
lines: Array<OrderLineView>, 
/**
 * Net and tax, one row a rate.
 */
taxes: Array<TaxView>, 
/**
 * The receipt number of the sale that this refund refers to.
 */
original: string | null, 
/**
 * Why money went back.
 */
reason: string | null, 
/**
 * The id to use for the next refund of this sale.
 */
next_refund: string, };

export type OrderLineView = { 
/**
 * The name at that moment.
 */
name: string, 
/**
 * How much, in thousandths.
 */
quantity_milli: number, 
/**
 * What one cost, in hundredths of a minor unit.
 */
unit_price: number, 
/**
 * The amount.
 */
amount_minor: number, 
/**
 * How much can still be refunded, in thousandths.
 */
refundable_milli: number, };

export type LedgerView = { 
/**
 * One row a device, by name.
 */
devices: Array<LedgerRow>, 
/**
 * Orders (sales and refunds) that this till holds.
 */
orders: number, };

export type LedgerRow = { 
/**
 * The device's name.
 */
device: string, 
/**
 * How many valued lines.
 */
lines: number, 
/**
 * The sum of rounded amounts, in minor units, as decimal text (it may exceed what a screen's number holds).
 */
rounded_minor: string, 
/**
 * The exact sum, in hundred-thousandths of a minor unit, as decimal text.
 */
exact: string, };

export type ApiError = { 
/**
 * The stable code.
 */
code: ApiErrorCode, 
/**
 * One sentence in English that says what to do; the screen may translate by code.
 */
message: string, 
/**
 * How long to wait before trying again, in milliseconds, where that helps.
 */
retry_after_ms: number | null, };

export type ApiErrorCode = "bad_request" | "not_authorised" | "not_signed_in" | "wrong_pin" | "pin_locked" | "forbidden" | "not_ready" | "no_shift" | "shift_open" | "unknown_code" | "inactive_product" | "cart_empty" | "cart_not_empty" | "cart_full" | "no_such_line" | "bad_quantity" | "bad_amount" | "tender_short" | "stale_order" | "no_such_order" | "nothing_to_refund" | "no_such_print_job" | "storage" | "in_doubt";
