//! How many tests passed and failed, read from the output of `cargo test`.

/// A count of tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) ignored: u32,
    /// A line for each test binary that ran something.
    pub(crate) groups: Vec<String>,
}

impl Tally {
    /// Reads what libtest says at the end of each binary. One that dies says nothing there:
    /// [`Tally::or_whole`] makes a failure of that.
    pub(crate) fn of_cargo_test(log: &str) -> Self {
        let mut tally = Self::default();
        let mut binary = "";
        for line in log.lines().map(str::trim) {
            if let Some(name) = binary_name(line) {
                binary = name;
            } else if let Some(result) = line.strip_prefix("test result: ") {
                tally.read_result(binary, result);
            }
        }
        tally
    }

    /// A step without counts of its own is one test.
    pub(crate) fn or_whole(mut self, success: bool) -> Self {
        if !success && self.failed == 0 {
            self.failed = 1;
        } else if self.passed + self.failed == 0 {
            self.passed = 1;
        }
        self
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }

    /// `ok. 6 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.12s`
    fn read_result(&mut self, binary: &str, result: &str) {
        let count = |word: &str| {
            let mut parts = result.split(['.', ';']).map(str::trim);
            let number = parts.find_map(|part| part.strip_suffix(word));
            number.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
        };
        let (passed, failed) = (count("passed"), count("failed"));
        self.passed += passed;
        self.failed += failed;
        self.ignored += count("ignored");
        if passed + failed > 0 {
            let took = result.rsplit(' ').next().unwrap_or_default();
            self.groups.push(format!(
                "{took:>8}  {binary}: {passed} passed, {failed} failed"
            ));
        }
    }
}

/// `Running unittests src/lib.rs (target/debug/deps/entrapool-1f)`, `Doc-tests entrapool`.
fn binary_name(line: &str) -> Option<&str> {
    if line.starts_with("Doc-tests ") {
        return Some(line);
    }
    let (_, path) = line.strip_prefix("Running ")?.rsplit_once('(')?;
    let (_, file) = path.strip_suffix(')')?.rsplit_once('/')?;
    file.rsplit_once('-').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
     Running unittests src/lib.rs (target/debug/deps/entrapool-1f2e)
test a ... ok
test result: ok. 6 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.12s
     Running tests/drivers.rs (target/debug/deps/drivers-33)
test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9.87s
   Doc-tests entrapool
test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn results_of_all_binaries_are_added() {
        let tally = Tally::of_cargo_test(LOG);
        assert_eq!((tally.passed, tally.failed, tally.ignored), (10, 2, 1));
        assert_eq!(
            tally.groups,
            [
                "   0.12s  entrapool: 6 passed, 0 failed",
                "   9.87s  drivers: 4 passed, 2 failed"
            ]
        );
    }

    #[test]
    fn a_failure_without_results_is_one() {
        let tally = Tally::of_cargo_test("error: could not compile").or_whole(false);
        assert_eq!((tally.passed, tally.failed), (0, 1));
        // A binary that dies after others have passed.
        let died = Tally::of_cargo_test(LOG.lines().nth(2).unwrap_or_default());
        assert_eq!(died.or_whole(false).failed, 1);
        assert_eq!(Tally::default().or_whole(true).passed, 1);
    }
}
