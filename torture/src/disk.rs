//! A disk of its own for the data, so that it can be full without harm to anybody: an image with a file system, mounted where only the harness sees it.

use anyhow::{Context as _, ensure};
use rustix::fs::FallocateFlags;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Room for the storage pool, the database, and something to fill.
const SIZE: u64 = 4 << 30;

/// Set where the harness runs in a mount namespace of its own.
pub const ALONE: &str = "TORTURE_ALONE";

/// A mounted file system.
pub struct Disk {
    mounted: PathBuf,
}

impl Disk {
    /// Makes one below this directory. Refused where others would see the mount.
    pub fn make(dir: &Path) -> anyhow::Result<Disk> {
        ensure!(std::env::var_os(ALONE).is_some(), "needs a mount namespace of its own, as the program gives itself");
        let (image, mounted) = (dir.join("disk.img"), dir.join("disk"));
        File::create(&image)?.set_len(SIZE)?;
        std::fs::create_dir_all(&mounted)?;
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).args([&image, &mounted]))?;
        Ok(Disk { mounted })
    }

    /// Where it is mounted.
    pub fn dir(&self) -> &Path {
        &self.mounted
    }

    /// Leaves no more than this many bytes of it free.
    pub fn fill(&self, left: u64) -> anyhow::Result<()> {
        let ballast = File::options().create(true).append(true).open(self.ballast())?;
        // Others write meanwhile: what was free a moment ago may not be.
        for _ in 0..20 {
            let free = rustix::fs::statvfs(&self.mounted)?;
            let free = free.f_bavail * free.f_frsize;
            if free <= left {
                return Ok(());
            }
            let size = ballast.metadata()?.len();
            match rustix::fs::fallocate(&ballast, FallocateFlags::empty(), size, free - left) {
                Ok(()) | Err(rustix::io::Errno::NOSPC | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("the disk cannot be filled"),
            }
        }
        Ok(())
    }

    /// Gives the room back.
    pub fn release(&self) -> std::io::Result<()> {
        match std::fs::remove_file(self.ballast()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.mounted.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Where somebody still has it open, it goes with the namespace.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.mounted));
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
