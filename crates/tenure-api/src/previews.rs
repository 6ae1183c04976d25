//! The ports of a session that can be reached from outside: registered, listed, removed, asked after (EN-6).

use crate::asked::{Answered, Asked, Empty, Shared, no_content, ok};
use crate::preview;
use crate::wire::Listed;
use crate::wire::preview::{PreviewBody, PreviewHealthBody, PreviewRequest};
use tenure_engine::PreviewRecord;

pub(crate) async fn register(mut asked: Asked) -> Answered {
    let sent = asked.json::<PreviewRequest>(Empty::Refused).await?;
    let port = sent.body.map(|request| request.port);
    let record = asked.door.engine.preview_register(&asked.call()?, asked.id(), port).await?;
    ok(&told(&asked.door, &record))
}

pub(crate) async fn list(asked: Asked) -> Answered {
    let records = asked.door.engine.preview_list(&asked.call()?, asked.id()).await?;
    ok(&Listed { items: records.iter().map(|record| told(&asked.door, record)).collect(), next_cursor: None })
}

pub(crate) async fn remove(asked: Asked) -> Answered {
    let port = asked.name("port");
    asked.door.engine.preview_remove(&asked.call()?, asked.id(), port).await?;
    // The engine has read both before.
    if let (Ok(session), Ok(port)) = (asked.id().parse(), port.parse()) {
        asked.door.tickets.revoke_preview(&session, port);
    }
    Ok(no_content())
}

pub(crate) async fn health(asked: Asked) -> Answered {
    let health = preview::health(&asked.door, &asked.call()?, asked.id(), asked.name("port")).await?;
    ok(&PreviewHealthBody {
        healthy: health.healthy,
        port: health.port,
        status_code: health.status_code,
        error: health.error,
    })
}

fn told<'a>(door: &Shared, record: &'a PreviewRecord) -> PreviewBody<'a> {
    PreviewBody {
        session_id: &record.session_id,
        port: record.port,
        registered: true,
        url: url(door, record),
        created_at: record.created_at,
    }
}

/// Where a preview is reached: at its own host name where there is a domain for that, otherwise by path.
fn url(door: &Shared, record: &PreviewRecord) -> String {
    let settings = &door.previews;
    let Some(domain) = &settings.domain else {
        return format!("{}/", preview::path_of(record.session_id.as_str(), &record.port.to_string()));
    };
    let scheme = if settings.https { "https" } else { "http" };
    let host = preview::host_name(&record.session_id, record.port, domain);
    let port = settings.port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{host}{port}/")
}
