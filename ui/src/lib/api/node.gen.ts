// Generated from node/src/api. Do not edit.

export type Command = { "type": "sign_in", staff: string, pin: string, } | { "type": "sign_out", } | { "type": "open_shift", float_minor: number, business_day: string | null, } | { "type": "close_shift", counted_minor: number, } | { "type": "add_line", item: Item, quantity_milli: number | null, unit_price: number | null, name: string | null, separate?: boolean | null, } | { "type": "set_quantity", line: number, quantity_milli: number, } | { "type": "remove_line", line: number, } | { "type": "clear_cart", } | { "type": "start_refund", reason: string, } | { "type": "set_reference", reference: string, } | { "type": "park", order: string, label: string, note?: string | null, } | { "type": "recall", open_order: string, } | { "type": "give_up", open_order: string, } | { "type": "settle_cash", order: string, tendered_minor: number, } | { "type": "refund_sale", refund: string, original: string, lines: Array<RefundLine>, reason: string, } | { "type": "refund_second_payment", refund: string, sale: string, } | { "type": "adjust_stock", lines: Array<AdjustLine>, reason: string, reference: string | null, } | { "type": "count_stock", lines: Array<CountedLine>, reason: string, } | { "type": "adjust_account", description: string, quantity_milli: number, unit_price: number, reference: string | null, } | { "type": "open_drawer", reason: string, } | { "type": "reprint", order: string, } | { "type": "print_shift", shift: string, addendum: number | null, } | { "type": "resolve_print", job: string, came_out: boolean, };

export type Item = { "by": "code", code: string, } | { "by": "product", product: string, };

export type RefundLine = { line: number, quantity_milli: number, };

export type AdjustLine = { code: string, quantity_milli: number, unit_price: number, };

export type CountedLine = { code: string, quantity_milli: number, };

export type Query = { "type": "till", } | { "type": "search", text: string, limit: number, } | { "type": "orders", text: string, limit: number, } | { "type": "order", order: string, } | { "type": "find_order", receipt: string, } | { "type": "open_orders", text: string, limit: number, } | { "type": "shifts", limit: number, } | { "type": "ledger", };

export type Event = { "type": "till_changed", } | { "type": "link_changed", link: LinkView, } | { "type": "catalogue_changed", };

export type TillView = { store: StoreView | null, till: TillIdentity, staff: Array<StaffView>, signed_in: SignedInView | null, shift: ShiftView | null, last_closed_shift: ClosedShiftView | null, cart: CartView, open_orders: number, last_order: SettledView | null, link: LinkView, print_jobs: Array<PrintJobView>, print_jobs_more: number, };

export type StoreView = { code: string, name: string, currency: string, exponent: number, tax_included: boolean, languages: Array<string>, };

export type TillIdentity = { name: string, series: string, };

export type StaffView = { id: string, name: string, role: "cashier" | "shift_lead" | "manager", };

export type SignedInView = { staff: StaffView, may_refund_without_sale: boolean, may_override_price: boolean, may_refund_payment: boolean, may_adjust_stock: boolean, may_open_drawer: boolean, };

export type ShiftView = { id: string, business_day: string, opened_at_ms: number, float_minor: number, expected_minor: number, sales: number, refunds: number, sales_minor: number, refunds_minor: number, };

export type ClosedShiftView = { shift: ShiftView, till: string, title: string, closed_at_ms: number, counted_minor: number, difference_minor: number, addenda: Array<AddendumView>, difference_with_addenda_minor: number, };

export type AddendumView = { number: number, first_receipt: string, last_receipt: string, sales: number, refunds: number, sales_minor: number, refunds_minor: number, cash_minor: number, };

export type CartView = { order: string, is_refund: boolean, reason: string | null, lines: Array<CartLineView>, touched: number | null, taxes: Array<TaxView>, total_minor: number, recalled: RecalledView | null, quick_cash_minor: Array<number>, };

export type RecalledView = { open_order: string, label: string, note: string, is_closed: boolean, };

export type CartLineView = { code: string, name: string, quantity_milli: number, unit_price: number, tax_rate_bp: number, amount_minor: number, };

export type TaxView = { rate_bp: number, net_minor: number, tax_minor: number, };

export type SettledView = { order: string, receipt: string, is_refund: boolean, total_minor: number, tendered_minor: number, change_minor: number, durability: Durability, print: PrintState | null, drawer: DrawerState | null, };

export type Durability = "device" | "neighbour" | "regional" | "central";

export type DrawerState = "kicked" | "open_by_key";

export type LinkView = { state: LinkState, way: LinkWay | null, unsent: number, not_central: number, neighbours: number, last_contact_ms: number | null, problem: string | null, history_percent: number | null, };

export type LinkState = "offline" | "online" | "busy";

export type LinkWay = "quic" | "tcp";

export type PrintJobView = { id: string, title: string, state: PrintState, problem: string | null, };

export type PrintState = "queued" | "sending" | "confirmed" | "sent_unconfirmed" | "uncertain" | "reprinted" | "accepted";

export type ProductView = { id: string, code: string, name: string, unit_price: number, stock_milli: number, picture: string | null, };

export type OpenOrderView = { open_order: string, label: string, note: string, lines: number, total_minor: number, opened_at_ms: number, opened_by: string, changed_at_ms: number, changed_by: string, };

export type OrderSummary = { order: string, receipt: string, is_refund: boolean, at_ms: number, total_minor: number, lines: number, till: string, durability: Durability, is_here: boolean, is_paid_twice: boolean, };

export type OrderView = { summary: OrderSummary, cashier: string, lines: Array<OrderLineView>, taxes: Array<TaxView>, original: string | null, reason: string | null, refunds: Array<RefundView>, paid_twice: PaidTwiceView | null, next_refund: string, };

export type OrderLineView = { name: string, quantity_milli: number, unit_price: number, amount_minor: number, refundable_milli: number, };

export type RefundView = { receipt: string, till: string, cashier: string, at_ms: number, amount_minor: number, };

export type PaidTwiceView = { label: string, others: Array<string>, amount_minor: number, };

export type LedgerView = { devices: Array<LedgerRow>, orders: number, };

export type LedgerRow = { device: string, lines: number, rounded_minor: string, exact: string, };

export type ApiError = { code: ApiErrorCode, message: string, retry_after_ms: number | null, };

export type ApiErrorCode = "bad_request" | "not_authorised" | "not_signed_in" | "wrong_pin" | "pin_locked" | "forbidden" | "not_ready" | "no_shift" | "shift_open" | "unknown_code" | "inactive_product" | "cart_empty" | "cart_not_empty" | "cart_full" | "no_such_line" | "bad_quantity" | "bad_amount" | "tender_short" | "stale_order" | "no_such_order" | "nothing_to_refund" | "no_such_print_job" | "storage" | "not_kept" | "in_doubt";
