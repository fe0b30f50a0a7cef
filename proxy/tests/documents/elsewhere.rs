//! Commands that this test does not run: because they take minutes, or change the machine.

/// A command, the file that runs it, and what stands there.
pub(crate) const BY_OTHERS: [(&str, &str, &str); 10] = [
    (
        "cargo xtask deploy",
        "xtask/src/deploy.rs",
        "pub(crate) fn run(",
    ),
    (
        "cargo xtask package",
        "xtask/src/test.rs",
        "deploy::package(report)?",
    ),
    ("cargo xtask test", ".ci/run", "cargo xtask test"),
    ("cargo xtask test --full", "xtask/src/test.rs", "fn slow("),
    (
        "cargo xtask check",
        "xtask/src/test.rs",
        "check::run(report)",
    ),
    (
        "cargo xtask --help",
        "xtask/src/main.rs",
        "fn the_help_is_sound()",
    ),
    (
        "cargo xtask bench",
        "xtask/src/bench.rs",
        "pub(crate) fn run(",
    ),
    (
        "cargo demo",
        "xtask/src/test.rs",
        "\"demo\", \"--\", \"--once\"",
    ),
    (
        "cargo demo -- --once",
        "xtask/src/test.rs",
        "\"demo\", \"--\", \"--once\"",
    ),
    (
        "cargo build --release",
        "emulator/src/bin/demo/proxy.rs",
        "\"build\", \"--release\"",
    ),
];

/// Programs of the system: what they do is the system's business, and would change this machine.
const OF_THE_SYSTEM: [&str; 11] = [
    "apt-get",
    "chmod",
    "cp",
    "install",
    "journalctl",
    "kill",
    "ls",
    "source",
    "ss",
    "sudo",
    "systemctl",
];

/// Whether something else than this test is known to run it.
pub(crate) fn is_known(command: &str) -> bool {
    let first = command.split_whitespace().next().unwrap_or_default();
    BY_OTHERS.iter().any(|(other, ..)| *other == command) || OF_THE_SYSTEM.contains(&first)
}
