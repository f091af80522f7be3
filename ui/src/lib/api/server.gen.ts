// Generated from sync-server/src/web_api.rs. Do not edit.

export type SignInRequest = { name: string, password: string, };

export type SessionView = { name: string, };

export type GroupBy = "day" | "till";

export type SalesReport = { from: string, to: string, group_by: GroupBy, currency: string, exponent: number, rows: Array<SalesRow>, total: SalesRow, coverage: Coverage, };

export type SalesRow = { key: string, label: string, sales: number, sales_minor: number, refunds: number, refunds_minor: number, net_minor: number, tax_minor: number, };

export type Coverage = { asked_at_ms: number, complete: boolean, sentence: string, tills: Array<TillCoverage>, };

export type TillCoverage = { device: string, name: string, store: string, state: CoverageState, covers_to_ms: number | null, seen_at_ms: number | null, missing_commits: number, };

export type CoverageState = "current" | "behind" | "silent" | "never";

export type DeviceView = { device: string, name: string, kind: string, store: string | null, seen_at_ms: number | null, };

export type EnrolmentCodeRequest = { store: string, name: string, };

export type EnrolmentCode = { link: string, expires_at_ms: number, };

export type WebError = { code: string, message: string, };
