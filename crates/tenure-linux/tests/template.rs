//! Templates as an administrator meets them: real trees, real images, real archives, and hostile ones.

// What clippy lets tests do, it does not let their helpers do.
#![allow(clippy::unwrap_used)]

#[path = "template/debootstrap.rs"]
mod debootstrap;
#[path = "template/directory.rs"]
mod directory;
#[path = "template/host.rs"]
mod host;
#[path = "template/hostile.rs"]
mod hostile;
#[path = "template/image.rs"]
mod image;
#[path = "template/layers.rs"]
mod layers;
#[path = "template/layout.rs"]
mod layout;
#[path = "template/store.rs"]
mod store;
#[path = "template/workbench.rs"]
mod workbench;
