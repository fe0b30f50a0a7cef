//! Charts and manifests as JSON, by the scripts that check them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("a workspace around the crate")
}

/// The objects of a chart in `deploy/helm` with these values.
pub(crate) fn rendered(chart: &str, values: &Value) -> Vec<Value> {
    objects(&["--set-json", &values.to_string(), chart])
}

/// The objects of a file in `deploy/kubernetes`.
pub(crate) fn plain(file: &str) -> Vec<Value> {
    let path = root().join("deploy/kubernetes").join(file);
    objects(&[path.to_str().expect("a plain path")])
}

/// The one object of this kind.
pub(crate) fn the<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let one = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    one
}

fn objects(arguments: &[&str]) -> Vec<Value> {
    let python: PathBuf = root().join("target/test-env/deploy/bin/python");
    let output = Command::new(&python)
        .arg(root().join("deploy/checks/render.py"))
        .arg("--json")
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let output = output.unwrap_or_else(|error| {
        panic!(
            "cannot run {}: {error}; `cargo xtask deploy` makes it",
            python.display()
        )
    });
    assert!(
        output.status.success(),
        "render.py {arguments:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("render.py writes JSON")
}
