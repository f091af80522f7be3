//! The shapes of the manager's HTTP API, `/api/v1`.
//!
//! Amounts are whole minor units, quantities thousandths, prices hundredths of a minor unit, rates basis points, times Unix
//! milliseconds, days `YYYY-MM-DD`, ids UUID text. Lists come in pages: what `next` says is the `after` of the next question.
//! Every table is a file, too, when asked with `format=csv`. The TypeScript in `ui/src/lib/api/server.gen.ts` is generated from
//! here (`tests::bindings_are_fresh`).
//!
//! * `reports`: figures, the sales behind them, stock, devices, exceptions.
//! * `catalogue`: products, tax classes, stores, and who changed them.
//! * `imports`: products from a file.
//! * `live`: what happens while one watches.

use serde::{Deserialize, Serialize};

pub use catalogue::*;
pub use imports::*;
pub use live::*;
pub use reports::*;

mod catalogue;
mod imports;
mod live;
mod reports;

/// The TypeScript declarations of some types.
#[cfg(test)]
macro_rules! declare {
    ($($type:ty),* $(,)?) => {
        pub(super) fn declarations(config: &ts_rs::Config) -> Vec<String> {
            use ts_rs::TS;
            vec![$(<$type>::decl(config)),*]
        }
    };
}
#[cfg(test)]
use declare;

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
    /// The stable code: `bad_request`, `not_signed_in`, `wrong_password`, `try_later`, `not_found`,
    /// `conflict`, `too_large`, `central_away`, `internal`.
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
        let mut types = vec![
            SignInRequest::decl(&config),
            SessionView::decl(&config),
            EnrolmentCodeRequest::decl(&config),
            EnrolmentCode::decl(&config),
            WebError::decl(&config),
        ];
        types.extend(reports::declarations(&config));
        types.extend(catalogue::declarations(&config));
        types.extend(imports::declarations(&config));
        types.extend(live::declarations(&config));
        let types: Vec<String> = types.iter().map(|decl| format!("export {}\n", without_comments(decl))).collect();
        format!("// Generated from sync-server/src/web_api.rs and the files below it. Do not edit.\n\n{}", types.join("\n"))
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
