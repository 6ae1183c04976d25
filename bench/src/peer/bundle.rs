//! What the peers run: a root directory with busybox, and the OCI configuration around it.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const BUSYBOX: &str = "/bin/busybox";

/// Makes `dir/rootfs`: busybox with `true`, `sh` and `sleep`, and empty mount points.
///
/// # Errors
/// When busybox is not installed (it must be the static one), or those of the file system.
pub fn rootfs(dir: &Path) -> io::Result<PathBuf> {
    let root = dir.join("rootfs");
    for part in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(root.join(part))?;
    }
    fs::copy(BUSYBOX, root.join("bin/busybox"))?;
    ["true", "sh", "sleep"].iter().try_for_each(|name| symlink("busybox", root.join("bin").join(name)))?;
    Ok(root)
}

/// Writes the configuration of a container into `dir`: all namespaces, ids mapped, no capabilities, limits on memory,
/// processes and processor, a read-only root.
///
/// # Errors
/// Those of the file system.
pub fn config(dir: &Path, root: &Path, group: &str, args: &[&str]) -> io::Result<()> {
    let ids = serde_json::json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let kinds = ["pid", "mount", "ipc", "uts", "network", "cgroup", "user"];
    let namespaces: Vec<_> = kinds.iter().map(|kind| serde_json::json!({ "type": kind })).collect();
    let none: [&str; 0] = [];
    let config = serde_json::json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "user": { "uid": 0, "gid": 0 }, "args": args, "env": ["PATH=/bin"], "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": { "bounding": none, "effective": none, "permitted": none },
        },
        "root": { "path": root, "readonly": true },
        "hostname": "bench",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"] },
        ],
        "linux": {
            "uidMappings": ids, "gidMappings": ids, "cgroupsPath": format!("/{group}"), "namespaces": namespaces,
            "resources": {
                "memory": { "limit": 268_435_456 }, "pids": { "limit": 256 }, "cpu": { "quota": 100_000, "period": 100_000 },
            },
        },
    });
    fs::create_dir_all(dir)?;
    fs::write(dir.join("config.json"), config.to_string())
}
