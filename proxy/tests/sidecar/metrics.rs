//! A metrics page, read.

/// What `/metrics` said.
pub struct Metrics {
    text: String,
    samples: Vec<Sample>,
}

/// One series and its value.
#[derive(Debug)]
pub struct Sample {
    /// The family, or a histogram's `_bucket`, `_sum`, `_count`.
    pub name: String,
    /// Names and values.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
}

impl Metrics {
    /// Reads the Prometheus text format; nothing of it may be left over.
    pub fn read(text: &str) -> Self {
        let lines = text.lines();
        let samples = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = samples
            .map(|line| read_sample(line).unwrap_or_else(|| panic!("not a sample: {line}")))
            .collect();
        Self {
            text: text.to_owned(),
            samples,
        }
    }

    /// As it was sent.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All samples.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The sum over the series of `name` that have all of `labels`; there must be one.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| {
                    sample.labels.iter().any(|(l, v)| l == label && v == value)
                })
        };
        let values: Vec<f64> = self.samples.iter().filter(fits).map(|s| s.value).collect();
        assert!(
            !values.is_empty(),
            "no series {name} {labels:?}\n{}",
            self.text
        );
        values.into_iter().sum()
    }

    /// Backends that have logged in so far.
    pub fn logins(&self) -> f64 {
        let login = [("phase", "login")];
        self.value("entrapool_upstream_connect_seconds_count", &login)
    }

    /// Backends in this state.
    pub fn backends(&self, state: &str) -> f64 {
        self.value("entrapool_pool_connections", &[("state", state)])
    }

    /// Sessions that ended for this cause.
    pub fn ended(&self, cause: &str) -> f64 {
        self.value("entrapool_sessions_ended_total", &[("cause", cause)])
    }

    /// Cancel requests with this result.
    pub fn cancels(&self, result: &str) -> f64 {
        self.value("entrapool_cancel_requests_total", &[("result", result)])
    }

    /// Clients now.
    pub fn clients(&self) -> f64 {
        self.value("entrapool_clients", &[])
    }
}

fn read_sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let (name, labels) = match series.split_once('{') {
        None => (series, Vec::new()),
        Some((name, labels)) => (name, read_labels(labels.strip_suffix('}')?)?),
    };
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// `name="value",...`; none of our values has an escaped character.
fn read_labels(mut text: &str) -> Option<Vec<(String, String)>> {
    let mut labels = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"")?;
        let (value, rest) = rest.split_once('"')?;
        labels.push((name.to_owned(), value.to_owned()));
        text = rest.strip_prefix(',').unwrap_or(rest);
    }
    Some(labels)
}
