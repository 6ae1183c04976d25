//! Why a store did not answer. None of it means "not found".

/// Why a store did not do what was asked. Nothing was changed then, as far as the store can know; what it cannot know it says with
/// [`StoreError::Unknown`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached or cannot write now; later it may.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    /// There is no room for more.
    #[error("the store's disk is full: {0}")]
    Full(String),
    /// Whether the change was made is not known: it failed while it was made durable.
    #[error("the store failed while it made a change durable: {0}")]
    Unknown(String),
    /// No page ended at this cursor: it is not one that this store gave.
    #[error("no page ended at the cursor {0:?}")]
    Cursor(String),
    /// What is stored cannot be read, or the schema refused a change that should never be asked for.
    #[error("the store holds or was asked for what cannot be: {0}")]
    Corrupt(String),
}
