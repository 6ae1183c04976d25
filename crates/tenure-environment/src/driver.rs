//! The port: what makes environments, and what can be done to one from outside.

use crate::adopt::{Adopt, Adopted};
use crate::agent::Client;
use crate::error::EnvironmentError;
use crate::id::{EnvironmentId, Generation};
use crate::limits::{Enforced, ResourceLimits};
use crate::observe::{EnvironmentEnd, HostReport, Observation};
use crate::spec::EnvironmentSpec;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// Makes environments on one kind of host.
///
/// Dropping a future of any of these methods must leave nothing half made behind for ever: a driver finishes or undoes what it began.
#[async_trait]
pub trait Driver: Send + Sync {
    /// What it is called in configuration and reports.
    fn name(&self) -> &'static str;

    /// Looks at the host and says what it can give. Changes nothing that stays.
    async fn host(&self) -> HostReport;

    /// Makes an environment whose agent is bound to the spec's generation and answers.
    ///
    /// Fails with [`EnvironmentError::InvalidSpec`], [`UnknownBase`](EnvironmentError::UnknownBase),
    /// [`Unenforced`](EnvironmentError::Unenforced) (before anything is made), [`Init`](EnvironmentError::Init) or
    /// [`Unavailable`](EnvironmentError::Unavailable); nothing is left behind then.
    async fn create(&self, spec: EnvironmentSpec) -> Result<Arc<dyn Environment>, EnvironmentError>;

    /// Takes over an environment that an earlier manager had made, with proof that it is the one. A frozen one stays frozen.
    ///
    /// An error says that nothing could be found out now ([`Unavailable`](EnvironmentError::Unavailable), say): ask again, and conclude nothing.
    /// Asked twice, it answers twice.
    async fn adopt(&self, adopt: Adopt) -> Result<Adopted, EnvironmentError>;

    /// Makes an environment again, over the files that an earlier life of it left: what [`Adopted::Survived`] was said of. The spec is that of a creation,
    /// with the same ID and a later generation; its processes are new, and so is everything but the files.
    ///
    /// Fails as [`Driver::create`] does, and with [`EnvironmentError::Gone`] where there are no such files (any more). Until it has succeeded the files
    /// stay, also where its future is dropped: ask again, or [`Driver::adopt`] what was made meanwhile.
    async fn remake(&self, spec: EnvironmentSpec) -> Result<Arc<dyn Environment>, EnvironmentError>;

    /// All that runs or is left over of environments which were bound to somebody, in no particular order: those of this manager, and those of
    /// managers before it, and those whose files survived the host's boot.
    async fn known(&self) -> Result<Vec<EnvironmentId>, EnvironmentError>;

    /// Ends whatever there is of an environment, without a grace, frees what it holds, and forgets it. Returns when nothing is left; one that is
    /// not there is no error.
    async fn discard(&self, id: &EnvironmentId) -> Result<(), EnvironmentError>;
}

/// One environment, from outside. All that happens inside goes through [`Environment::connect`].
///
/// Dropping the handle does not end the environment; [`Environment::destroy`] does.
#[async_trait]
pub trait Environment: Send + Sync {
    /// Which one.
    fn id(&self) -> &EnvironmentId;

    /// Which life of it. An answer from inside that proves another generation is refused by [`Environment::connect`].
    fn generation(&self) -> Generation;

    /// Which of its limits the kernel holds it to.
    fn enforced(&self) -> Enforced;

    /// A new connection to its agent, proven on both sides. Connections are independent: one operation at a time on each.
    ///
    /// While the environment is frozen this waits for ever; the caller sets the time. [`EnvironmentError::Gone`] once it has ended.
    async fn connect(&self) -> Result<Client, EnvironmentError>;

    /// What the kernel says of it now.
    async fn observe(&self) -> Result<Observation, EnvironmentError>;

    /// Stops every process in it, until [`Environment::thaw`]; returns once they stand still. Nothing to do where it is frozen.
    async fn freeze(&self) -> Result<(), EnvironmentError>;

    /// Lets it go on. Nothing to do where it is not frozen.
    async fn thaw(&self) -> Result<(), EnvironmentError>;

    /// Gives it other limits, all of them or none; [`EnvironmentError::InvalidSpec`] where they make no sense or cannot be had now.
    async fn set_limits(&self, limits: &ResourceLimits) -> Result<(), EnvironmentError>;

    /// Moves the instant, in milliseconds of the host's `CLOCK_BOOTTIME`, at which everything inside ends whoever is alive by then; or takes it away.
    async fn set_deadline(&self, deadline_boot_ms: Option<u64>) -> Result<(), EnvironmentError>;

    /// Waits until its first process, and so every other, has ended; returns at once if it has. May be awaited by many.
    async fn wait_end(&self) -> EnvironmentEnd;

    /// Ends it: SIGTERM to everything inside, after the grace SIGKILL (frozen: SIGKILL, then thaw), and gives back what it holds of the host.
    ///
    /// It is unreachable at once. Returns when it is gone; asked again, it answers the same.
    async fn destroy(&self, grace: Duration) -> Result<EnvironmentEnd, EnvironmentError>;
}
