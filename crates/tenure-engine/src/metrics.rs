//! The service's metrics, as text (MT-1).

use crate::call::Call;
use crate::engine::Engine;
use crate::error::EngineError;
use tenure_session::{Operation, State};

impl Engine {
    /// All metrics that were registered, in the OpenMetrics text format; the sessions by state are counted now.
    pub async fn metrics_text(&self, call: &Call) -> Result<String, EngineError> {
        self.admit_service(call, Operation::MetricsGet)?;
        let counts = self.store().session_count().await?;
        for state in State::ALL {
            let count = counts.iter().find(|(counted, _)| *counted == state).map_or(0, |(_, count)| *count);
            self.meters().sessions_in(state, count);
        }
        // Into the gauges, for whoever reads them now.
        self.host_low();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, self.registry())
            .map_err(|error| EngineError::Internal(error.to_string()))?;
        Ok(text)
    }
}
