//! The exposition: text format 0.0.4.

use prometheus::{Registry, TextEncoder};

use crate::catalogue;

/// The Content-Type of [`crate::Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn text(registry: &Registry) -> String {
    let gathered = registry.gather();
    let mut out = String::with_capacity(64 * 1024);
    if let Err(error) = TextEncoder::new().encode_utf8(&gathered, &mut out) {
        // A half-written page is worse than one that says so: scrapers reject the whole of it.
        return format!("entrapool could not render its metrics: {error}\n");
    }
    // A family without a series yet (no token so far, no route) still shows its name and meaning.
    for family in catalogue::families() {
        if gathered.iter().all(|present| present.name() != family.name) {
            let (name, help, kind) = (family.name, family.help, family.kind.word());
            out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        }
    }
    out
}
