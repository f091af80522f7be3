//! Logs on standard error: lines for people, or one JSON object a line for programs.
//!
//! An event that an operator may wait for carries a field `event` whose value stays the same across releases, beside `timestamp`,
//! `level`, `message` and `target`. No log line holds a PIN, a password, a code, a key or a customer's details.

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// The variable that goes before `log.level`.
pub const VARIABLE: &str = "EVERTILL_LOG";
/// What is said when nothing else is asked for.
pub const LEVEL_DEFAULT: &str = "info";
/// Crates whose own words at a level are of no use to an operator; whoever asks for them by name gets them.
const QUIET: &str = "tokio_postgres=warn";

/// The `[log]` section.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// How lines look.
    pub format: Format,
    /// What is said: a level, or filters such as `info,quinn=debug`. [`LEVEL_DEFAULT`] when absent.
    pub level: Option<String>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether a text is what `log.level` may be.
pub fn is_level(text: &str) -> bool {
    // A bare word that is no level would be taken for the name of a module, and silence everything else.
    let known = |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word.to_ascii_lowercase().as_str());
    let level_of = |directive: &str| known(directive.rsplit('=').next().unwrap_or_default());
    !text.is_empty() && text.split(',').all(level_of) && EnvFilter::try_new(text).is_ok()
}

/// Begins to log as configured; the environment goes before the configuration. Once a process: later calls change nothing.
pub fn begin(config: &LogConfig) {
    let asked = std::env::var(VARIABLE).ok().filter(|text| is_level(text));
    let level = asked.as_deref().or(config.level.as_deref()).unwrap_or(LEVEL_DEFAULT);
    let filter = EnvFilter::try_new(format!("{QUIET},{level}")).unwrap_or_else(|_| EnvFilter::new(LEVEL_DEFAULT));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber is refused; the first one stays.
    let _ = match config.format {
        Format::Text => lines.try_init(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters() {
        for (text, fits) in [
            ("info", true),
            ("WARN", true),
            ("info,quinn=debug", true),
            ("info,sync_server::quic=trace", true),
            ("info, quinn=debug", false),
            ("", false),
            ("loud", false),
            ("info,", false),
            ("info,quinn=loud", false),
        ] {
            assert_eq!(is_level(text), fits, "{text:?}");
        }
        assert!(is_level(LEVEL_DEFAULT));
    }
}
