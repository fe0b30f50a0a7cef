//! How long a file may be: beyond it, nobody reads it whole any more.

use super::Breach;
use super::scan::Source;

/// Lines above the tests, comments and blank ones included.
const MOST_LINES: usize = 700;

pub(super) fn check(source: &Source<'_>) -> Option<Breach> {
    let code = source.code.get(..source.tests_at).unwrap_or_default();
    let lines = code.lines().count();
    (lines > MOST_LINES).then(|| Breach {
        file: source.file.to_owned(),
        line: 0,
        what: format!(
            "{lines} lines above the tests ({} in all), {MOST_LINES} at most: split it",
            source.text.lines().count()
        ),
    })
}
