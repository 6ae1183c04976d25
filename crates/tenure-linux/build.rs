//! Builds the agent as a static program, for the driver to carry inside itself.
//!
//! The agent runs in roots that have no C library of ours, so it is linked statically, which needs a compiler flag that must not
//! reach the rest of the workspace (procedural macros cannot be built with it). Hence a build of its own, in a directory of its own
//! that all profiles share.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let manifest = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let workspace = manifest.join("../..");
    for input in ["crates/tenure-agent", "crates/tenure-protocol", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={}", workspace.join(input).display());
    }
    // For those who build it by other means, a distribution say.
    println!("cargo:rerun-if-env-changed=TENURE_AGENT_PREBUILT");
    if let Some(prebuilt) = std::env::var_os("TENURE_AGENT_PREBUILT") {
        println!("cargo:rerun-if-changed={}", Path::new(&prebuilt).display());
        println!("cargo:rustc-env=TENURE_AGENT_IMAGE={}", Path::new(&prebuilt).display());
        return;
    }
    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let target = std::env::var("TARGET").expect("cargo sets it");
    // OUT_DIR is <target dir>/<profile>/build/<crate>/out: one agent serves every profile.
    let shared = out_dir.ancestors().nth(4).unwrap_or(&out_dir).join("agent");
    build_agent(&workspace, &shared, &target);
    let built = shared.join(&target).join("agent/tenure-agent");
    println!("cargo:rustc-env=TENURE_AGENT_IMAGE={}", built.display());
}

fn build_agent(workspace: &Path, target_dir: &Path, target: &str) {
    let cargo = std::env::var_os("CARGO").expect("cargo sets it");
    let status = Command::new(cargo)
        .args(["build", "--package", "tenure-agent", "--profile", "agent", "--target", target, "--target-dir"])
        .arg(target_dir)
        .current_dir(workspace)
        // What the outer build was told (coverage, clippy's wrapper) is not meant for the agent.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_WRAPPER")
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .status()
        .expect("cargo can be run: it runs this");
    assert!(status.success(), "the agent did not build");
}
