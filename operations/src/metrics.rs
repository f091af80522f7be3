//! Prometheus text from a registry, and the metric that says which build runs.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// The content type of [`text`]: OpenMetrics, which Prometheus reads.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Build {
    program: &'static str,
    version: &'static str,
}

/// A registry whose metrics all begin with `evertill_`, with the build of a program in it.
pub fn registry(program: &'static str, version: &'static str) -> Registry {
    let mut registry = Registry::with_prefix("evertill");
    registry.register("build", "Which program and version this is", Info::new(Build { program, version }));
    registry
}

/// All metrics of a registry as text.
pub fn text(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).expect("a string takes any text");
    text
}

/// Upper bounds of a histogram of times in seconds, from 0.1 ms to 10 s.
pub fn latency_buckets() -> impl Iterator<Item = f64> {
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0].into_iter()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_build_is_in_the_text() {
        expect![[r##"
            # HELP evertill_build Which program and version this is.
            # TYPE evertill_build info
            evertill_build_info{program="evertill-node",version="1.2.3"} 1
            # EOF
        "##]]
        .assert_eq(&text(&registry("evertill-node", "1.2.3")));
    }
}
