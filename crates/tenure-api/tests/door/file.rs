//! Files over HTTP (EN-5).

use crate::house::{As, House, said};
use serde_json::{Value, json};

/// EN-5
#[tokio::test]
async fn bytes_come_back_as_they_were_written() {
    let house = House::open().await;
    let id = house.session_id().await;
    let path = format!("/v1/sessions/{id}/files?path=data.bin");
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let written = house.request(As::Owner, "PUT", &path).body(bytes.clone()).send().await.unwrap();
    assert_eq!(said(written).await, "204");
    let read = house.get(As::Owner, &path).await;
    let headers = read.headers().clone();
    assert_eq!(headers["content-type"], "application/octet-stream");
    assert_eq!(headers["content-length"], "3000000");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["content-disposition"], "attachment; filename=\"data.bin\"");
    assert_eq!(headers["tenure-generation"], "1");
    assert_eq!(read.bytes().await.unwrap(), bytes);
    let part = house.get(As::Owner, &format!("{path}&offset=1000000&length=7")).await;
    assert_eq!(part.headers()["content-length"], "7");
    assert_eq!(part.bytes().await.unwrap(), bytes[1_000_000..1_000_007]);
}

/// EN-5
#[tokio::test]
async fn what_is_there_is_listed_and_what_is_not_is_said() {
    let house = House::open().await;
    let id = house.session_id().await;
    let base = format!("/v1/sessions/{id}");
    house.request(As::Owner, "PUT", &format!("{base}/files?path=a")).body("x").send().await.unwrap();
    let stat: Value = house.get(As::Owner, &format!("{base}/stat?path=a")).await.json().await.unwrap();
    assert_eq!(
        (&stat["path"], &stat["exists"], &stat["type"], &stat["size"]),
        (&json!("/workspace/a"), &json!(true), &json!("file"), &json!(1))
    );
    let none: Value = house.get(As::Owner, &format!("{base}/stat?path=b")).await.json().await.unwrap();
    assert_eq!((&none["exists"], &none["type"]), (&json!(false), &Value::Null));
    let dir: Value = house.get(As::Owner, &format!("{base}/dirs?path=/workspace")).await.json().await.unwrap();
    assert_eq!((&dir["entries"][0]["name"], &dir["entries"][0]["size"]), (&json!("a"), &json!(1)));
    assert_eq!(said(house.get(As::Owner, &format!("{base}/files?path=b")).await).await, "404 FILE_NOT_FOUND");
    assert_eq!(said(house.get(As::Owner, &format!("{base}/files")).await).await, "422 VALIDATION");
}
