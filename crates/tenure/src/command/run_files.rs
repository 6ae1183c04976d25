//! `--file HOST:INSIDE`: files and directories that are copied in before the program starts.

use crate::failure::{Code, Failure};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tenure_environment::Environment;
use tenure_protocol::DATA_MAX;
use tokio::io::AsyncReadExt;

/// One thing to copy.
#[derive(Debug, Clone)]
pub struct Copy {
    from: PathBuf,
    to: String,
}

/// Reads `HOST:INSIDE`. The last colon counts, since a path inside has none by habit.
pub fn parse(text: &str) -> Result<Copy, String> {
    match text.rsplit_once(':') {
        Some((from, to)) if !from.is_empty() && to.starts_with('/') => Ok(Copy { from: from.into(), to: to.into() }),
        _ => Err("must be HOST:INSIDE, with an absolute path inside".into()),
    }
}

/// Copies all of them. Links are followed, and what is neither file nor directory is refused.
pub async fn copy_in(environment: &dyn Environment, copies: &[Copy]) -> Result<(), Failure> {
    for copy in copies {
        let mut waiting = vec![(copy.from.clone(), copy.to.clone())];
        while let Some((from, to)) = waiting.pop() {
            let meta = std::fs::metadata(&from).map_err(|error| unreadable(&from, error))?;
            if meta.is_dir() {
                environment.connect().await?.make_dir(&to).await?;
                waiting.extend(entries(&from, &to)?);
            } else if meta.is_file() {
                copy_file(environment, &from, &to, meta.permissions().mode() & 0o777).await?;
            } else {
                return Err(Failure::new(
                    Code::Validation,
                    format!("{} is neither a file nor a directory", from.display()),
                ));
            }
        }
    }
    Ok(())
}

fn entries(from: &Path, to: &str) -> Result<Vec<(PathBuf, String)>, Failure> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(from).map_err(|error| unreadable(from, error))? {
        let name = entry.map_err(|error| unreadable(from, error))?.file_name();
        let Some(name) = name.to_str() else {
            return Err(Failure::new(Code::Validation, format!("{} holds a name that is not UTF-8", from.display())));
        };
        found.push((from.join(name), format!("{}/{name}", to.trim_end_matches('/'))));
    }
    Ok(found)
}

async fn copy_file(environment: &dyn Environment, from: &Path, to: &str, mode: u32) -> Result<(), Failure> {
    let mut file = tokio::fs::File::open(from).await.map_err(|error| unreadable(from, error))?;
    let mut writer = environment.connect().await?.file_write(to, Some(mode)).await?;
    let mut buffer = vec![0; DATA_MAX];
    loop {
        match file.read(&mut buffer).await.map_err(|error| unreadable(from, error))? {
            0 => break,
            count => writer.write(&buffer[..count]).await?,
        }
    }
    writer.finish().await?;
    Ok(())
}

fn unreadable(path: &Path, error: std::io::Error) -> Failure {
    Failure::new(Code::FileNotFound, format!("cannot read {}: {error}", path.display()))
}
