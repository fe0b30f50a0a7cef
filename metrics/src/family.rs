//! What a family is: its name, type, labels and the words about it, in one value.
//!
//! The registry, the exposition and `docs/metrics.md` are all made from it, so that none of them
//! can say something else.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts};
use prometheus::{Registry, Result};

use crate::label::Label;

/// One metric family.
#[derive(Debug)]
pub(crate) struct Family {
    /// The full name, with prefix and unit.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) labels: &'static [LabelDoc],
    /// The HELP line.
    pub(crate) help: &'static str,
    /// For an operator: which value is a reason to act, and how to ask for it.
    pub(crate) look_for: &'static str,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    /// With the upper bounds of its buckets in seconds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The word of the TYPE line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// A label of a family.
#[derive(Debug)]
pub(crate) struct LabelDoc {
    pub(crate) name: &'static str,
    pub(crate) values: Values,
}

/// What values a label takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Values {
    /// Names from the configuration or the build, in words.
    Open(&'static str),
    /// A closed set: each value with its meaning.
    Closed(fn() -> Vec<(&'static str, &'static str)>),
}

impl LabelDoc {
    pub(crate) const fn open(name: &'static str, words: &'static str) -> Self {
        Self {
            name,
            values: Values::Open(words),
        }
    }

    pub(crate) const fn closed<L: Label>() -> Self {
        Self {
            name: L::NAME,
            values: Values::Closed(|| L::ALL.iter().map(|l| (l.value(), l.meaning())).collect()),
        }
    }
}

impl Family {
    pub(crate) fn counters(&self, registry: &Registry) -> IntCounterVec {
        self.register(
            registry,
            IntCounterVec::new(self.opts(), &self.label_names()),
        )
    }

    pub(crate) fn int_gauges(&self, registry: &Registry) -> IntGaugeVec {
        self.register(registry, IntGaugeVec::new(self.opts(), &self.label_names()))
    }

    pub(crate) fn gauges(&self, registry: &Registry) -> GaugeVec {
        self.register(registry, GaugeVec::new(self.opts(), &self.label_names()))
    }

    pub(crate) fn histograms(&self, registry: &Registry) -> HistogramVec {
        let bounds = match self.kind {
            Kind::Histogram(bounds) => bounds.to_vec(),
            Kind::Counter | Kind::Gauge => Vec::new(),
        };
        let opts = HistogramOpts::from(self.opts()).buckets(bounds);
        self.register(registry, HistogramVec::new(opts, &self.label_names()))
    }

    /// The descriptor, for a collector that makes its samples when it is asked.
    pub(crate) fn desc(&self) -> Result<Desc> {
        let labels = self.label_names().into_iter().map(str::to_owned).collect();
        Desc::new(
            self.name.to_owned(),
            self.help.to_owned(),
            labels,
            std::collections::HashMap::new(),
        )
    }

    /// The family with one sample and no labels, for the same kind of collector.
    pub(crate) fn sample(&self, value: f64) -> MetricFamily {
        let mut metric = Metric::default();
        let mut family = MetricFamily::default();
        match self.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
                family.set_field_type(MetricType::COUNTER);
            }
            Kind::Gauge | Kind::Histogram(_) => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
                family.set_field_type(MetricType::GAUGE);
            }
        }
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_metric(vec![metric]);
        family
    }

    #[expect(
        clippy::expect_used,
        reason = "fails only for a bad or doubled constant of the catalogue, and then always, at start; the tests register all of them"
    )]
    pub(crate) fn register<C>(&self, registry: &Registry, made: Result<C>) -> C
    where
        C: Collector + Clone + 'static,
    {
        made.and_then(|c| registry.register(Box::new(c.clone())).map(|()| c))
            .expect("the families of the catalogue are valid and distinct")
    }

    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }

    fn label_names(&self) -> Vec<&'static str> {
        self.labels.iter().map(|label| label.name).collect()
    }
}
