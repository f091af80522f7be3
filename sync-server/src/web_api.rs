//! The shapes of the manager's HTTP API, `/api/v1`.
//!
//! Amounts are whole minor units, times Unix milliseconds, days `YYYY-MM-DD`, ids UUID text. The TypeScript in
//! `ui/src/lib/api/server.gen.ts` is generated from this file (`tests::bindings_are_fresh`).

use serde::{Deserialize, Serialize};

/// `POST /api/v1/session`: sign in. The answer sets a session cookie.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct SignInRequest {
    /// The manager's name.
    pub name: String,
    /// Their password.
    pub password: String,
}

/// `GET /api/v1/session`, and the answer to signing in: who is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SessionView {
    /// The manager's name.
    pub name: String,
}

/// How a sales report is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// One row a business day.
    Day,
    /// One row a till.
    Till,
}

/// `GET /api/v1/reports/sales?from=&to=&group_by=`: sales by business day or till, both days included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SalesReport {
    /// The first business day.
    pub from: String,
    /// The last business day.
    pub to: String,
    /// How it is cut.
    pub group_by: GroupBy,
    /// The currency's ISO 4217 letters.
    pub currency: String,
    /// How many decimal digits a minor unit is.
    pub exponent: u8,
    /// One row a day or till, in order; days without business are there with zeros.
    pub rows: Vec<SalesRow>,
    /// The sum of the rows.
    pub total: SalesRow,
    /// What the figures cover.
    pub coverage: Coverage,
}

/// One row of a sales report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SalesRow {
    /// The day or the device id; `total` in the last row.
    pub key: String,
    /// What people call it.
    pub label: String,
    /// How many sales.
    pub sales: i64,
    /// What they come to, tax included.
    pub sales_minor: i64,
    /// How many refunds.
    pub refunds: i64,
    /// What they come to, tax included, as a positive sum.
    pub refunds_minor: i64,
    /// Sales less refunds.
    pub net_minor: i64,
    /// The tax in `net_minor`.
    pub tax_minor: i64,
}

/// What a figure covers: which tills, up to when, what is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Coverage {
    /// When this was asked.
    pub asked_at_ms: u64,
    /// Whether everything that any till is known to have is in the figures, and every till was heard lately.
    pub complete: bool,
    /// One sentence that says it, such as "Covers 2 of 3 tills to 14:32 UTC; Till 3 silent for 47 min."
    pub sentence: String,
    /// One row a till, by name.
    pub tills: Vec<TillCoverage>,
}

/// One till's share of a [`Coverage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct TillCoverage {
    /// The device id.
    pub device: String,
    /// What people call it.
    pub name: String,
    /// The store's code.
    pub store: String,
    /// How it stands.
    pub state: CoverageState,
    /// The till's own time of the last entry in the figures; none when nothing has arrived.
    pub covers_to_ms: Option<u64>,
    /// When a server last heard it, even without news; none when never.
    pub seen_at_ms: Option<u64>,
    /// Commits that the till is known to have made and that are not in the figures.
    pub missing_commits: u64,
}

/// How a till stands in a coverage line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum CoverageState {
    /// Heard lately, nothing missing.
    Current,
    /// Heard lately, but something it has is still on its way.
    Behind,
    /// Not heard for more than two minutes.
    Silent,
    /// Never heard.
    Never,
}

/// `GET /api/v1/devices`: every device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct DeviceView {
    /// Its id.
    pub device: String,
    /// What people call it.
    pub name: String,
    /// `till`, `handheld` or `server`.
    pub kind: String,
    /// The store's code.
    pub store: Option<String>,
    /// When it was last heard.
    pub seen_at_ms: Option<u64>,
}

/// `POST /api/v1/enrolment-codes`: ask for a one-time code for a new device.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct EnrolmentCodeRequest {
    /// The store's code, such as `S01`.
    pub store: String,
    /// What people will call the device.
    pub name: String,
}

/// A one-time code for a new device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct EnrolmentCode {
    /// What `evertill-node enrol` takes: server address, code and the fingerprint of the server's authority in one.
    pub link: String,
    /// When it ends.
    pub expires_at_ms: u64,
}

/// Every error answer of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct WebError {
    /// The stable code: `bad_request`, `not_signed_in`, `wrong_password`, `try_later`, `not_found`, `central_away`, `internal`.
    pub code: String,
    /// One sentence that says what to do.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use ts_rs::{Config, TS};

    /// The TypeScript of every type above. Numbers stay below 2^53: a JSON reader in a browser has no larger ones.
    fn bindings() -> String {
        let config = Config::new().with_large_int("number");
        let types = [
            SignInRequest::decl(&config),
            SessionView::decl(&config),
            GroupBy::decl(&config),
            SalesReport::decl(&config),
            SalesRow::decl(&config),
            Coverage::decl(&config),
            TillCoverage::decl(&config),
            CoverageState::decl(&config),
            DeviceView::decl(&config),
            EnrolmentCodeRequest::decl(&config),
            EnrolmentCode::decl(&config),
            WebError::decl(&config),
        ];
        let types: Vec<String> = types.iter().map(|decl| format!("export {}\n", without_comments(decl))).collect();
        format!("// Generated from sync-server/src/web_api.rs. Do not edit.\n\n{}", types.join("\n"))
    }

    /// The Rust side has the comments; one place is enough.
    fn without_comments(decl: &str) -> String {
        let mut out = String::new();
        let mut rest = decl;
        while let Some((before, after)) = rest.split_once("/**") {
            out.push_str(before.trim_end());
            rest = after.split_once("*/").map_or("", |(_, after)| after);
            if !out.is_empty() && !out.ends_with(' ') {
                out.push(' ');
            }
            rest = rest.trim_start();
        }
        out.push_str(rest);
        out
    }

    #[test]
    fn bindings_are_fresh() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/src/lib/api/server.gen.ts");
        let fresh = bindings();
        if std::env::var_os("UPDATE_BINDINGS").is_some() {
            std::fs::write(&path, &fresh).expect("writing the bindings");
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(committed, fresh, "run this test with UPDATE_BINDINGS=1 and commit {}", path.display());
    }
}
