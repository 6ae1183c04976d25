//! A copy of everything that is remembered.

use crate::asked::{Answered, Asked};
use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use tenure_engine::Backup;
use tokio_util::io::ReaderStream;

pub(crate) async fn make(asked: Asked) -> Answered {
    let Backup { file, bytes } = asked.door.engine.backup(&asked.call()?).await?;
    let mut response = Response::new(Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(file))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    Ok(response)
}
