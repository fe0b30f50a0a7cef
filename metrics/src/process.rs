//! The `process_*` families, under the names of Prometheus' standard process collector.
//!
//! Read from `/proc/self` at each scrape; a value that cannot be read (another system, a hidden
//! `/proc`) is absent, never 0.

use std::fs;
use std::path::{Path, PathBuf};

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use crate::catalogue;
use crate::family::Family;

/// Ticks per second of the times in `/proc`: USER_HZ, 100 on every Linux that Rust supports as
/// a server (proc(5)).
const TICKS: f64 = 100.0;

pub(crate) fn register(registry: &Registry) {
    // The reader has one descriptor per family; any family may carry the registration.
    let made = ProcessReader::new(Path::new("/proc"));
    catalogue::PROCESS_CPU.register(registry, made);
}

#[derive(Debug, Clone)]
struct ProcessReader {
    descs: Vec<Desc>,
    proc: PathBuf,
    /// Seconds since 1970; it does not change, so it is read once.
    start_time: Option<f64>,
}

impl ProcessReader {
    fn new(proc: &Path) -> prometheus::Result<Self> {
        let descs = catalogue::PROCESS
            .iter()
            .map(|family| family.desc())
            .collect::<prometheus::Result<_>>()?;
        Ok(Self {
            descs,
            start_time: start_time(proc),
            proc: proc.to_owned(),
        })
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.proc.join("self").join(file)).ok()
    }

    /// Without the descriptor that reads the directory.
    fn open_fds(&self) -> Option<f64> {
        let entries = fs::read_dir(self.proc.join("self/fd")).ok()?;
        Some(entries.count().saturating_sub(1) as f64)
    }
}

impl Collector for ProcessReader {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stat = self.read("stat").and_then(|text| Stat::parse(&text));
        let status = self.read("status");
        let memory = |field| status.as_deref().and_then(|text| kilobytes(text, field));
        let readings: [(&Family, Option<f64>); 7] = [
            (&catalogue::PROCESS_CPU, stat.map(|stat| stat.cpu_seconds)),
            (&catalogue::PROCESS_RESIDENT, memory("VmRSS:")),
            (&catalogue::PROCESS_VIRTUAL, memory("VmSize:")),
            (&catalogue::PROCESS_THREADS, stat.map(|stat| stat.threads)),
            (&catalogue::PROCESS_OPEN_FDS, self.open_fds()),
            (
                &catalogue::PROCESS_MAX_FDS,
                self.read("limits").and_then(|text| max_open_files(&text)),
            ),
            (&catalogue::PROCESS_START_TIME, self.start_time),
        ];
        readings
            .into_iter()
            .filter_map(|(family, value)| Some(family.sample(value?)))
            .collect()
    }
}

/// What `/proc/self/stat` has for us.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    threads: f64,
    /// Seconds after the machine's boot.
    started: f64,
}

impl Stat {
    /// proc_pid_stat(5). The second field, the command, is in parentheses and may hold anything,
    /// also spaces and parentheses; the numbers follow its last one.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        // Counted as in the manual: `rest` begins with field 3.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |n: usize| fields.get(n - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS,
            threads: field(20)?,
            started: field(22)? / TICKS,
        })
    }
}

/// A line `VmRSS:     1234 kB` of `/proc/self/status`, in bytes.
fn kilobytes(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let value: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(value * 1024.0)
}

/// The soft limit in `/proc/self/limits`.
fn max_open_files(limits: &str) -> Option<f64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX as f64),
        number => number.parse().ok(),
    }
}

fn start_time(proc: &Path) -> Option<f64> {
    let boot: f64 = fs::read_to_string(proc.join("stat"))
        .ok()?
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    let stat = Stat::parse(&fs::read_to_string(proc.join("self/stat")).ok()?)?;
    Some(boot + stat.started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_hostile_command_name() {
        let text = "42 (a) b (c) S 1 42 42 0 -1 4194304 5 6 7 8 250 50 9 9 20 0 3 0 12345 999 88 x";
        let stat = Stat::parse(text).expect("a stat line");
        assert_eq!(
            stat,
            Stat {
                cpu_seconds: 3.0,
                threads: 3.0,
                started: 123.45
            }
        );
    }

    #[test]
    fn short_or_strange_files_give_nothing() {
        assert_eq!(Stat::parse(""), None);
        assert_eq!(Stat::parse("42 (x) S 1 2 3"), None);
        assert_eq!(kilobytes("VmRSS: lots kB\n", "VmRSS:"), None);
        assert_eq!(kilobytes("VmSize: 1 kB\n", "VmRSS:"), None);
        assert_eq!(max_open_files("Max processes 1 2 processes\n"), None);
    }

    #[test]
    fn memory_and_limits() {
        let status = "Name:\tx\nVmSize:\t    4000 kB\nVmRSS:\t     123 kB\n";
        assert_eq!(kilobytes(status, "VmRSS:"), Some(125_952.0));
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 1048576              files     \n";
        assert_eq!(max_open_files(limits), Some(1024.0));
        let unlimited =
            "Max open files            unlimited            unlimited            files\n";
        assert_eq!(max_open_files(unlimited), Some(u64::MAX as f64));
    }

    #[test]
    fn absent_proc_gives_no_samples() {
        let reader = ProcessReader::new(Path::new("/nonexistent-proc")).expect("descriptors");
        assert!(reader.collect().is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process() {
        let reader = ProcessReader::new(Path::new("/proc")).expect("descriptors");
        let _files: Vec<fs::File> = (0..20)
            .map(|_| fs::File::open("/dev/null").expect("/dev/null"))
            .collect();
        let samples = reader.collect();
        let value = |name: &str| {
            let family = samples.iter().find(|family| family.name() == name);
            let metric = &family
                .unwrap_or_else(|| panic!("{name} is absent"))
                .get_metric()[0];
            metric.get_gauge().get_value()
        };
        assert!(value("process_resident_memory_bytes") > 500_000.0);
        assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
        assert!(value("process_open_fds") >= 23.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_threads") >= 1.0);
        let now = crate::late::unix_seconds(std::time::SystemTime::now());
        let age = now - value("process_start_time_seconds");
        assert!((-5.0..86_400.0).contains(&age), "{age}");
        assert_eq!(samples.len(), catalogue::PROCESS.len());
    }
}
