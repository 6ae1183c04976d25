//! Templates as an administrator meets them: real trees, real images, real archives, and hostile ones.

#[path = "template/host.rs"]
mod host;
#[path = "template/store.rs"]
mod store;
#[path = "template/workbench.rs"]
mod workbench;
