//! Secrets in the data directory: files that only their owner can read, whole or not at all.

use ed25519_dalek::SigningKey;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The server's first key, alone on one line.
pub const ADMIN_KEY: &str = "admin.key";
/// The key that signs the audit's heads: 64 hex digits.
pub const AUDIT_KEY: &str = "audit.key";
/// The key that checks those signatures: 64 hex digits, for everybody.
pub const AUDIT_PUBLIC_KEY: &str = "audit.pub";

/// Writes a secret to a file of mode 0600. The file is there whole or not at all, also after a crash.
pub fn write(path: &Path, secret: &str) -> io::Result<()> {
    write_with(path, secret, 0o600)
}

fn write_with(path: &Path, line: &str, mode: u32) -> io::Result<()> {
    let beside = path.with_extension("new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    writeln!(file, "{line}")?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// The key that signs the audit's heads; made where there is none.
pub fn audit_key(data_dir: &Path) -> io::Result<SigningKey> {
    let path = data_dir.join(AUDIT_KEY);
    let mut bytes = [0; 32];
    match std::fs::read_to_string(&path) {
        Ok(text) => hex::decode_to_slice(text.trim(), &mut bytes)
            .map_err(|_| io::Error::other(format!("{} is not 64 hex digits", path.display())))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            getrandom::fill(&mut bytes).map_err(io::Error::other)?;
            write(&path, &hex::encode(bytes))?;
        }
        Err(error) => return Err(error),
    }
    let key = SigningKey::from_bytes(&bytes);
    write_with(&data_dir.join(AUDIT_PUBLIC_KEY), &hex::encode(key.verifying_key().to_bytes()), 0o644)?;
    Ok(key)
}
