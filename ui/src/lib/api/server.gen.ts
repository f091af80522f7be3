// Generated from sync-server/src/web_api.rs and the files below it. Do not edit.

export type SignInRequest = { name: string, password: string, };

export type SessionView = { name: string, };

export type EnrolmentCodeRequest = { store: string, name: string, };

export type EnrolmentCode = { link: string, expires_at_ms: number, };

export type WebError = { code: string, message: string, };

export type GroupBy = "day" | "hour" | "till" | "cashier" | "product" | "category" | "tender" | "tax_rate";

export type Basis = "business_day" | "clock";

export type SalesReport = { from: string, to: string, basis: Basis, time_zone: string, group_by: GroupBy, store: string | null, currency: string, exponent: number, rows: Array<SalesRow>, truncated: boolean, total: SalesRow, coverage: Coverage, };

export type SalesRow = { key: string, label: string, detail: string, sales: number, sales_minor: number, refunds: number, refunds_minor: number, net_minor: number, quantity_milli: number | null, tax_minor: number | null, };

export type Coverage = { asked_at_ms: number, complete: boolean, sentence: string, tills: Array<TillCoverage>, };

export type TillCoverage = { device: string, name: string, store: string, state: CoverageState, covers_to_ms: number | null, seen_at_ms: number | null, missing_commits: number, };

export type CoverageState = "current" | "behind" | "silent" | "never";

export type SalesPage = { rows: Array<SaleRow>, next: string | null, time_zone: string, coverage: Coverage, };

export type SaleRow = { store: string, order: string, kind: OrderKind, number: string, at_ms: number, business_day: string | null, device: string, till: string, cashier: string, lines: number, tenders: Array<string>, currency: string, exponent: number, total_minor: number, flagged: boolean, };

export type OrderKind = "sale" | "refund";

export type SaleDetail = { sale: SaleRow, original: SaleRow | null, refunds: Array<SaleRow>, receipt: ReceiptView, lines: Array<SaleLine>, exceptions: Array<ExceptionRow>, proof: Proof, };

export type SaleLine = { product: string, code: string, name: string, category: string, quantity_milli: number, unit_price_centi: number, tax_rate_bp: number, amount_minor: number, refunded_milli: number, };

export type ReceiptView = { store_name: string, address: Array<string>, header: Array<string>, is_refund: boolean, number: string, at: string, cashier: string, original_number: string | null, reason: string | null, lines: Array<ReceiptLineView>, total: string, taxes: Array<[string, string, string]>, tax_included: boolean, payments: Array<ReceiptPaymentView>, footer: Array<string>, };

export type ReceiptLineView = { name: string, detail: string | null, amount: string, };

export type ReceiptPaymentView = { method: string, handed_over: string, change: string | null, };

export type Proof = { device: string, incarnation: string, scope: string, seq: number, commit: number, hash: string, received_at_ms: number, };

export type StockPage = { rows: Array<StockRow>, next: string | null, coverage: Coverage, };

export type StockRow = { store: string, product: string, code: string, name: string, category: string, quantity_milli: number, moved_at_ms: number | null, };

export type MovementsPage = { row: StockRow, movements: Array<StockMovement>, next: string | null, coverage: Coverage, };

export type StockMovement = { at_ms: number, reason: string, quantity_milli: number, counted_milli: number | null, level_milli: number, order: string | null, number: string | null, till: string, cashier: string, note: string, };

export type DeviceView = { device: string, name: string, kind: string, store: string | null, series: string, software: string, enrolled_at_ms: number, state: CoverageState, connected: boolean, seen_at_ms: number | null, last_entry_at_ms: number | null, unsent_commits: number, clock_drift_ms: number | null, };

export type ExceptionsPage = { rows: Array<ExceptionRow>, open: number, next: string | null, };

export type ExceptionRow = { id: string, kind: string, title: string, detail: string, at_ms: number, store: string | null, till: string, order: string | null, number: string | null, product: ExceptionProduct | null, receipts: Array<SaleRow>, settled: Settlement | null, review: Review | null, };

export type ExceptionProduct = { product: string, code: string, name: string, };

export type Settlement = { at_ms: number, order: string | null, number: string | null, };

export type Review = { by: string, at_ms: number, note: string, };

export type ReviewRequest = { note: string, };

export type OpenOrdersPage = { rows: Array<OpenOrderRow>, open: number, next: string | null, coverage: Coverage, };

export type OpenOrderRow = { store: string, open_order: string, label: string, note: string, lines: number, total_minor: number, currency: string, exponent: number, opened_at_ms: number, opened_by: string, changed_at_ms: number, changed_by: string, };

export type ShiftsPage = { rows: Array<ShiftRow>, next: string | null, coverage: Coverage, };

export type ShiftRow = { store: string, shift: string, till: string, business_day: string | null, opened_at_ms: number | null, opened_by: string, float_minor: number, currency: string, exponent: number, sales: number, refunds: number, sales_minor: number, refunds_minor: number, closing: ShiftClosingRow | null, addenda: Array<AddendumRow>, };

export type ShiftClosingRow = { at_ms: number, by: string, counted_minor: number, expected_minor: number, difference_minor: number, difference_with_addenda_minor: number, };

export type AddendumRow = { number: number, first_receipt: string, last_receipt: string, sales: number, refunds: number, sales_minor: number, refunds_minor: number, cash_minor: number, };

export type ProductsPage = { rows: Array<ProductRow>, next: string | null, total: number, categories: Array<string>, currency: string, exponent: number, };

export type ProductRow = { product: string, code: string, name: string, barcodes: Array<string>, category: string, price_centi: number, tax_class: string | null, tax_rate_bp: number, picture: string | null, active: boolean, };

export type ProductView = { product: ProductRow, seen: string, history: Array<FieldEdit>, };

export type ProductEdit = { seen: string | null, code: string | null, name: string | null, barcodes: Array<string> | null, category: string | null, price_centi: number | null, tax_class: string | null, tax_rate_bp: number | null, active: boolean | null, };

export type FieldEdit = { field: string, old: string | null, new: string, by: string, at_ms: number, outcome: EditOutcome, };

export type EditOutcome = "current" | "replaced" | "outvoted";

export type TaxClassView = { tax_class: string, name: string, rate_bp: number, active: boolean, products: number, seen: string, };

export type TaxClassEdit = { seen: string | null, name: string | null, rate_bp: number | null, active: boolean | null, };

export type StoreView = { store: string, code: string, name: string, address: Array<string>, receipt_header: Array<string>, receipt_footer: Array<string>, currency: string, tax_mode: string, languages: Array<string>, time_zone: string, seen: string, history: Array<FieldEdit>, };

export type StoreEdit = { seen: string | null, name: string | null, address: Array<string> | null, receipt_header: Array<string> | null, receipt_footer: Array<string> | null, currency: string | null, tax_mode: string | null, languages: Array<string> | null, time_zone: string | null, };

export type PictureAnswer = { picture: string | null, view: ProductView, };

export type ImportView = { id: string, name: string, by: string, at_ms: number, state: ImportState, done: number, rows: number, added: number, changed: number, unchanged: number, wrong: number, problems: Array<ImportProblem>, changes: Array<ImportChange>, can_be_undone: boolean, kept: number, message: string, };

export type ImportState = "reading" | "ready" | "refused" | "applying" | "applied" | "undoing" | "undone" | "failed";

export type ImportProblem = { row: number, column: string, value: string, message: string, };

export type ImportChange = { row: number, code: string, name: string, added: boolean, fields: Array<FieldChange>, };

export type FieldChange = { field: string, old: string | null, new: string, };

export type LiveEvent = { "type": "hello", at_ms: number, } | { "type": "sale", sale: LiveSale, } | { "type": "figures", central_seq: number, } | { "type": "device", device: string, connected: boolean, } | { "type": "document", kind: string, id: string | null, } | { "type": "import", id: string, state: ImportState, done: number, rows: number, } | { "type": "exceptions", open: number, } | { "type": "missed", };

export type LiveSale = { store: string, order: string, kind: OrderKind, number: string, device: string, till: string, cashier: string, at_ms: number, accepted_at_ms: number, currency: string, exponent: number, total_minor: number, lines: number, first_line: string, };
