//! Meters of requests: how many, and how long they took, by operation (MT-1).

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Duration;
use tenure_session::Operation;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    operation: &'static str,
    status: u16,
}

/// What is counted of requests. All clones count together.
#[derive(Clone)]
pub struct HttpMeters {
    requests: Family<RequestLabel, Counter>,
    seconds: Vec<Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

impl HttpMeters {
    /// Registers them; where the engine's are, so that one answer shows all.
    pub fn register(registry: &mut Registry) -> HttpMeters {
        let requests = Family::<RequestLabel, Counter>::default();
        let seconds = Family::<OperationLabel, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.000_25, 2.0, 18))
        });
        registry.register("tenure_requests", "Requests that were answered, by operation and status", requests.clone());
        registry.register("tenure_request_seconds", "From a request's header to its answer's header", seconds.clone());
        // Looked up once: the label of an operation is its place in the table.
        let looked_up = Operation::ALL.iter().map(|operation| {
            let label = OperationLabel { operation: operation.row().name };
            (*seconds.get_or_create(&label)).clone()
        });
        HttpMeters { requests, seconds: looked_up.collect() }
    }

    /// One request was answered.
    pub(crate) fn answered(&self, operation: Operation, status: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabel { operation: operation.row().name, status }).inc();
        if let Some(histogram) = self.seconds.get(operation as usize) {
            histogram.observe(took.as_secs_f64());
        }
    }
}
