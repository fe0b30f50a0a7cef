//! The last step: a query, and how long its round trip takes.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::cause::{self, Names};
use super::report::{Finding, Step, StepReport};
use super::trial::Session;

/// The first one may have to wake something; the quickest says how far the server is.
const TIMES: usize = 5;

/// Asks the server something that every server knows.
pub(super) async fn examine(
    mut session: Session,
    limit: Duration,
    names: &Names<'_>,
) -> StepReport {
    let began = Instant::now();
    let mut report = StepReport::new(Step::Query);
    let mut quickest = Duration::MAX;
    for _ in 0..TIMES {
        let asked = Instant::now();
        let finding = match timeout(limit, session.query()).await {
            Ok(Ok(())) => {
                quickest = quickest.min(asked.elapsed());
                continue;
            }
            Ok(Err(unanswered)) if unanswered.is_refused => {
                Finding::new(&cause::QUERY_REFUSED, unanswered.words, names)
            }
            Ok(Err(unanswered)) => Finding::new(&cause::QUERY_BROKEN, unanswered.words, names),
            Err(_) => {
                let words = format!("no answer within {limit:?}");
                Finding::new(&cause::QUERY_BROKEN, words, names)
            }
        };
        report.fail(finding);
        return report.since(began);
    }
    report.fact("query", "SELECT 1");
    let millis = quickest.as_secs_f64() * 1000.0;
    report.fact(
        "round trip",
        format!("{millis:.2} ms, the quickest of {TIMES}"),
    );
    report.since(began)
}
