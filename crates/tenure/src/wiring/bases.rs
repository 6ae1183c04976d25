//! The roots that templates start from: the Linux driver's template directory, for the engine.

use async_trait::async_trait;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use tenure_engine::{BaseError, BaseSource, Bases};
use tenure_linux::LinuxDriver;
use tenure_linux::template::{Settings, Source, TemplateError, Templates};

/// Keeps roots where the driver looks for them.
pub struct LinuxBases {
    data_dir: PathBuf,
    driver: LinuxDriver,
}

impl LinuxBases {
    /// Below this data directory, for this driver.
    pub fn new(data_dir: PathBuf, driver: LinuxDriver) -> LinuxBases {
        LinuxBases { data_dir, driver }
    }

    async fn with_templates<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Templates) -> Result<T, TemplateError> + Send + 'static,
    ) -> Result<T, BaseError> {
        let data_dir = self.data_dir.clone();
        let worked = tokio::task::spawn_blocking(move || work(&Templates::open(&data_dir)?));
        worked.await.map_err(|error| BaseError::Unavailable(error.to_string()))?.map_err(base_error)
    }
}

#[async_trait]
impl Bases for LinuxBases {
    async fn base_add(&self, name: &str, source: BaseSource) -> Result<String, BaseError> {
        let source: Source = match source {
            BaseSource::Path(text) => text.parse().map_err(|error| BaseError::Invalid(format!("{error}")))?,
            BaseSource::Archive(path) => {
                let text = format!("oci-archive:{}", path.display());
                text.parse().map_err(|error| BaseError::Invalid(format!("{error}")))?
            }
        };
        let name = name.to_owned();
        let created_at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        self.with_templates(move |templates| {
            let settings = Settings { created_at_ms, ..Settings::default() };
            Ok(templates.add(&name, &source, settings)?.reference())
        })
        .await
    }

    async fn base_exists(&self, base: &str) -> bool {
        self.driver.template(base).is_ok()
    }

    async fn base_remove(&self, base: &str) -> Result<(), BaseError> {
        let name = base.split_once('@').map_or(base, |(name, _)| name);
        // What waits in the pool uses it, too.
        self.driver.pool_drain(name).await;
        let version = base.split_once('@').and_then(|(_, version)| version.parse().ok());
        let name = name.to_owned();
        match self.with_templates(move |templates| templates.remove(&name, version)).await {
            Err(BaseError::NotFound(_)) => Ok(()),
            other => other,
        }
    }
}

fn base_error(error: TemplateError) -> BaseError {
    let text = error.to_string();
    match error {
        TemplateError::NotFound { .. } => BaseError::NotFound(text),
        TemplateError::InUse { .. } => BaseError::InUse(text),
        TemplateError::Io { .. } => BaseError::Unavailable(text),
        _ => BaseError::Invalid(text),
    }
}
