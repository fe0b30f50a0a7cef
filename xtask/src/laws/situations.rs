//! `docs/situations.md`: every situation is there once, and whatever is named to show it exists.

use std::path::Path;

use super::{Breach, read};

/// The document, from the root.
const FILE: &str = "docs/situations.md";
/// Situations are numbered from 1 to this.
const LAST: usize = 52;
/// Where the oracle's scripts are.
const SCRIPTS: &str = "proxy/tests/oracle";

/// Every breach in the table; tests are looked for below `root`.
pub(super) fn check(root: &Path) -> anyhow::Result<Vec<Breach>> {
    let table = read(&root.join(FILE))?;
    let mut scripts = String::new();
    for path in super::rust_files(&root.join(SCRIPTS))? {
        scripts += &read(&path)?;
    }
    let source = |file: &str| read(&root.join(file)).ok();
    Ok(check_text(&table, &scripts, source))
}

/// The same of a table's text; `source` gives a file's text by its path, if there is one.
fn check_text(table: &str, scripts: &str, source: impl Fn(&str) -> Option<String>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut seen = Vec::new();
    let breach = |line: usize, what: String| Breach {
        file: FILE.to_owned(),
        line,
        what,
    };
    for (index, line) in table.lines().enumerate() {
        let Some((number, shown)) = row(line) else {
            continue;
        };
        let objections = objections(shown, scripts, &source);
        breaches.extend(objections.into_iter().map(|what| breach(index + 1, what)));
        if seen.contains(&number) || !(1..=LAST).contains(&number) {
            breaches.push(breach(
                index + 1,
                format!("situation {number} is there twice, or is none of 1 to {LAST}"),
            ));
        }
        seen.push(number);
    }
    let missing = (1..=LAST).filter(|number| !seen.contains(number));
    breaches.extend(missing.map(|number| breach(0, format!("situation {number} is missing"))));
    breaches
}

/// Number and last cell of a row of the tables; heads and other lines are none.
fn row(line: &str) -> Option<(usize, &str)> {
    let cells = line.strip_prefix('|')?.trim_end().strip_suffix('|')?;
    let number = cells.split('|').next()?.trim().parse().ok()?;
    Some((number, cells.rsplit('|').next()?))
}

/// What is wrong with the tests and scripts that a cell names.
fn objections(cell: &str, scripts: &str, source: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut objections = Vec::new();
    let mut count = 0;
    // Every second piece stands between backticks.
    for named in cell.split('`').skip(1).step_by(2) {
        count += 1;
        let exists = named
            .split_once("::")
            .is_some_and(|(file, test)| source(file).is_some_and(|text| has_test(&text, test)));
        if !exists {
            objections.push(format!("there is no test {named}"));
        }
    }
    if count == 0 {
        objections.push("no test shows it".to_owned());
    }
    for rest in cell.split("(script \"").skip(1) {
        let name = rest.split('"').next().unwrap_or_default();
        if !has_script(scripts, name) {
            objections.push(format!("the oracle has no script {name:?}"));
        }
    }
    objections
}

/// A script is a pair, which begins with its name.
fn has_script(scripts: &str, name: &str) -> bool {
    let name = format!("\"{name}\",");
    let lines = scripts.lines().map(str::trim);
    let pairs = lines.clone().zip(lines.skip(1));
    pairs.into_iter().any(|pair| pair == ("(", name.as_str()))
}

/// Whether `text` has a function of this name with a `test` attribute.
fn has_test(text: &str, name: &str) -> bool {
    let function = format!("fn {name}(");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declared = lines.iter().position(|line| {
        line.strip_prefix("async ")
            .unwrap_or(line)
            .starts_with(&function)
    });
    let above = lines.iter().take(declared.unwrap_or_default()).rev();
    let mut attributes = above.take_while(|line| line.starts_with("#["));
    attributes.any(|line| ["#[test]", "#[tokio::test]"].contains(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "    #[test]\n    fn quick() {}\n\n#[tokio::test]\n#[ignore = \"long\"]\n\
                          async fn slow() {\n}\n\nasync fn no_test() {}\n";
    const SCRIPT: &str = "    (\n        \"copies\",\n        \"x\",\n    )\n";

    fn said(rows: &[&str]) -> Vec<String> {
        let others = (rows.len() + 1..=LAST).map(|n| format!("| {n} | x | `a.rs::quick` |"));
        let table: Vec<_> = rows.iter().map(ToString::to_string).chain(others).collect();
        let source = |file: &str| (file == "a.rs").then(|| SOURCE.to_owned());
        let breaches = check_text(&table.join("\n"), SCRIPT, source);
        breaches.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_table_of_tests_that_exist() {
        let good = [
            "| 1 | x | `a.rs::quick`, `a.rs::slow` |",
            "| 2 | x | `a.rs::slow` (script \"copies\") |",
        ];
        assert_eq!(said(&good), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_found() {
        for (row, wanted) in [
            ("| 1 | x | `a.rs::gone` |", "no test a.rs::gone"),
            ("| 1 | x | `a.rs::no_test` |", "no test a.rs::no_test"),
            ("| 1 | x | `b.rs::quick` |", "no test b.rs::quick"),
            ("| 1 | x | `quick` |", "no test quick"),
            ("| 1 | x | by thinking |", "no test shows it"),
            ("| 1 | x | `a.rs::slow` (script \"x\") |", "no script \"x\""),
            ("| 2 | x | `a.rs::slow` |", "situation 1 is missing"),
            (
                "| 53 | x | `a.rs::slow` |",
                "situation 53 is there twice, or is none",
            ),
        ] {
            let said = said(&[row]);
            assert!(
                said.iter().any(|line| line.contains(wanted)),
                "{row}: {said:?}"
            );
        }
    }
}
