//! Changes below a path of a session, as they happen (EN-5).

use crate::asked::{Answered, Asked};
use crate::sse;
use crate::wire::file::ChangeEvent;
use futures_util::stream;

pub(crate) async fn watch(asked: Asked) -> Answered {
    let wanted = asked
        .query(&["path", "recursive", "ticket"])
        .and_then(|query| Ok((query.text("path").unwrap_or_default().to_owned(), query.flag("recursive")?)));
    let (path, recursive) = match wanted {
        Ok(wanted) => wanted,
        Err(error) => return Err(asked.misread(error).await),
    };
    let changes = asked.door.engine.file_watch(&asked.call()?, asked.id(), &path, recursive).await?;
    let told = stream::unfold(Some(changes), |changes| async move {
        let mut changes = changes?;
        match changes.next().await {
            Ok(change) => {
                let event = ChangeEvent { kind: change.kind, path: &change.path };
                Some((sse::event("change", &event), Some(changes)))
            }
            Err(error) => Some((sse::failed(error), None)),
        }
    });
    Ok(sse::answer(&asked, told))
}
