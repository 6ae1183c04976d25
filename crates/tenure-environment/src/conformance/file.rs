//! What every driver promises of files.

use super::{connect, soon};
use crate::driver::Environment;
use crate::error::AgentError;
use tenure_protocol::{ChangeKind, FailureCode, FileKind};

/// Tries every promise of this file.
pub async fn every_file(env: &dyn Environment) {
    file_of_three_mib_round_trips(env).await;
    file_is_read_in_part(env).await;
    file_that_is_missing_is_told(env).await;
    file_that_was_not_finished_never_appears(env).await;
    file_is_deleted(env).await;
    directory_is_listed(env).await;
    directory_is_no_file(env).await;
    file_is_renamed(env).await;
    watch_sees_a_change(env).await;
}

pub(super) async fn write(env: &dyn Environment, path: &str, bytes: &[u8]) {
    let mut writer = soon(connect(env).await.file_write(path, Some(0o640))).await.expect("a file can be written");
    soon(writer.write(bytes)).await.expect("a file can be written");
    let (size, _) = soon(writer.finish()).await.expect("a file can be written");
    assert_eq!(size, bytes.len() as u64);
}

pub(super) async fn read(
    env: &dyn Environment,
    path: &str,
    offset: u64,
    length: Option<u64>,
) -> Result<Vec<u8>, AgentError> {
    let (_, mut reader) = soon(connect(env).await.file_read(path, offset, length)).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = soon(reader.chunk()).await? {
        bytes.extend(chunk);
    }
    assert!(reader.into_client().is_some_and(|client| client.is_usable()));
    Ok(bytes)
}

fn failed_with<T: std::fmt::Debug>(result: Result<T, AgentError>, code: FailureCode) {
    assert!(
        matches!(&result, Err(AgentError::Failed { code: found, .. }) if *found == code),
        "{result:?}, not {code:?}"
    );
}

/// EN-5: three MiB of any bytes come back as they went; missing directories are made.
pub async fn file_of_three_mib_round_trips(env: &dyn Environment) {
    let bytes: Vec<u8> = (0..3u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    write(env, "/tmp/conformance/deep/large", &bytes).await;
    let stat = soon(connect(env).await.stat("/tmp/conformance/deep/large")).await.unwrap().expect("it is there");
    assert_eq!((stat.kind, stat.size, stat.mode), (FileKind::File, 3 << 20, 0o640));
    let back = read(env, "/tmp/conformance/deep/large", 0, None).await.unwrap();
    assert!(back == bytes, "what went in came out");
    write(env, "/tmp/conformance/deep/large", b"").await;
    assert_eq!(read(env, "/tmp/conformance/deep/large", 0, None).await.unwrap(), b"", "an empty file is one too");
}

/// EN-5: a part of a file.
pub async fn file_is_read_in_part(env: &dyn Environment) {
    write(env, "/tmp/conformance/part", b"0123456789").await;
    let part = |offset, length| read(env, "/tmp/conformance/part", offset, length);
    assert_eq!(part(3, Some(4)).await.unwrap(), b"3456");
    assert_eq!(part(8, Some(100)).await.unwrap(), b"89");
    assert_eq!(part(8, None).await.unwrap(), b"89");
    assert_eq!(part(100, None).await.unwrap(), b"");
    assert_eq!(part(0, Some(0)).await.unwrap(), b"");
}

/// EN-5: what is not there is told, and the connection goes on.
pub async fn file_that_is_missing_is_told(env: &dyn Environment) {
    let mut client = connect(env).await;
    assert_eq!(soon(client.stat("/tmp/conformance/missing")).await.unwrap(), None);
    failed_with(soon(client.list("/tmp/conformance/missing", 10)).await, FailureCode::NotFound);
    failed_with(soon(client.file_delete("/tmp/conformance/missing", false)).await, FailureCode::NotFound);
    soon(client.ping()).await.expect("the connection goes on after a failure");
    failed_with(read(env, "/tmp/conformance/missing", 0, None).await, FailureCode::NotFound);
}

/// EN-5: a file appears whole or not at all.
pub async fn file_that_was_not_finished_never_appears(env: &dyn Environment) {
    write(env, "/tmp/conformance/whole", b"old").await;
    for path in ["/tmp/conformance/whole", "/tmp/conformance/never"] {
        let mut writer = soon(connect(env).await.file_write(path, None)).await.unwrap();
        soon(writer.write(b"new")).await.unwrap();
        drop(writer);
    }
    assert_eq!(read(env, "/tmp/conformance/whole", 0, None).await.unwrap(), b"old");
    assert_eq!(soon(connect(env).await.stat("/tmp/conformance/never")).await.unwrap(), None);
}

/// EN-5: files and, where asked for, whole directories are removed.
pub async fn file_is_deleted(env: &dyn Environment) {
    write(env, "/tmp/conformance/gone/file", b"x").await;
    let mut client = connect(env).await;
    failed_with(soon(client.file_delete("/tmp/conformance/gone", false)).await, FailureCode::Exists);
    soon(client.file_delete("/tmp/conformance/gone/file", false)).await.unwrap();
    soon(client.file_delete("/tmp/conformance/gone", false)).await.unwrap();
    write(env, "/tmp/conformance/gone/deep/file", b"x").await;
    soon(client.file_delete("/tmp/conformance/gone", true)).await.unwrap();
    assert_eq!(soon(client.stat("/tmp/conformance/gone")).await.unwrap(), None);
}

/// EN-5: a directory's own entries, all of them, also where there are many.
pub async fn directory_is_listed(env: &dyn Environment) {
    let mut client = connect(env).await;
    soon(client.make_dir("/tmp/conformance/list/dir/below")).await.unwrap();
    soon(client.make_dir("/tmp/conformance/list/dir/below")).await.expect("one that exists is no error");
    write(env, "/tmp/conformance/list/file", b"abc").await;
    let mut entries = soon(client.list("/tmp/conformance/list", 10)).await.unwrap().entries;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let found: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.stat.kind)).collect();
    assert_eq!(found, [("dir", FileKind::Dir), ("file", FileKind::File)]);
    assert_eq!(entries[1].stat.size, 3);

    for n in 0..600 {
        soon(client.make_dir(&format!("/tmp/conformance/many/{n}"))).await.unwrap();
    }
    let listing = soon(client.list("/tmp/conformance/many", 1000)).await.unwrap();
    assert_eq!((listing.entries.len(), listing.truncated), (600, false));
    let listing = soon(client.list("/tmp/conformance/many", 599)).await.unwrap();
    assert_eq!((listing.entries.len(), listing.truncated), (599, true));
    soon(connect(env).await.file_delete("/tmp/conformance/many", true)).await.unwrap();
}

/// EN-5: a directory has no bytes, a file no entries.
pub async fn directory_is_no_file(env: &dyn Environment) {
    write(env, "/tmp/conformance/plain", b"x").await;
    failed_with(read(env, "/tmp/conformance", 0, None).await, FailureCode::NotAFile);
    failed_with(soon(connect(env).await.list("/tmp/conformance/plain", 10)).await, FailureCode::NotADirectory);
}

/// EN-5: a file moves, over another one if need be.
pub async fn file_is_renamed(env: &dyn Environment) {
    write(env, "/tmp/conformance/from", b"moved").await;
    write(env, "/tmp/conformance/to", b"replaced").await;
    let mut client = connect(env).await;
    soon(client.rename("/tmp/conformance/from", "/tmp/conformance/to")).await.unwrap();
    assert_eq!(soon(client.stat("/tmp/conformance/from")).await.unwrap(), None);
    assert_eq!(read(env, "/tmp/conformance/to", 0, None).await.unwrap(), b"moved");
}

/// EN-5: what changes below a watched directory is told.
pub async fn watch_sees_a_change(env: &dyn Environment) {
    soon(connect(env).await.make_dir("/tmp/conformance/watched")).await.unwrap();
    let mut watcher = soon(connect(env).await.watch("/tmp/conformance/watched", true)).await.unwrap();
    write(env, "/tmp/conformance/watched/file", b"x").await;
    soon(connect(env).await.file_delete("/tmp/conformance/watched/file", false)).await.unwrap();
    let mut appeared = false;
    loop {
        // The agent may write under another name first: only this name counts.
        let change = soon(watcher.next()).await.unwrap();
        if change.path == "/tmp/conformance/watched/file" {
            appeared |= change.kind == ChangeKind::Created;
            if change.kind == ChangeKind::Deleted {
                break;
            }
        }
    }
    assert!(appeared);
}
