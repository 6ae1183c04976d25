//! The API's own description covers what there is, and holds together.

use crate::house::{As, House};
use serde_json::Value;
use std::collections::BTreeSet;
use tenure_api::{RouteMethod, route};
use tenure_session::{Operation, Who};

async fn document() -> Value {
    let house = House::open().await;
    house.get(As::Nobody, "/openapi.json").await.json().await.unwrap()
}

/// AP-1
#[tokio::test]
async fn every_operation_is_described() {
    let document = document().await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut ids = BTreeSet::new();
    for operation in Operation::ALL {
        let row = operation.row();
        let found = route(*operation);
        let method = match found.method {
            RouteMethod::Get | RouteMethod::Any => "get",
            RouteMethod::Post => "post",
            RouteMethod::Put => "put",
            RouteMethod::Delete => "delete",
        };
        let described = &document["paths"][found.path.replace("{*", "{")][method];
        assert_eq!(described["operationId"], row.name, "{operation}");
        assert!(ids.insert(row.name), "{operation} twice");
        for field in ["summary", "description"] {
            assert!(described[field].as_str().is_some_and(|text| !text.is_empty()), "{operation} {field}");
        }
        assert_eq!(described["tags"].as_array().unwrap().len(), 1, "{operation}");
        let security = described["security"].as_array().unwrap();
        assert_eq!(security.is_empty(), row.who == Who::Anyone, "{operation}");
        let statuses: Vec<&String> = described["responses"].as_object().unwrap().keys().collect();
        let done = |status: &&String| status.starts_with('2') || *status == "101";
        assert!(statuses.iter().any(done), "{operation}");
        assert!(statuses.iter().any(|status| status.starts_with('4')), "{operation}");
    }
}

/// AP-1
#[tokio::test]
async fn every_reference_leads_somewhere_and_every_component_is_referred_to() {
    let document = document().await;
    let (mut references, text) = (BTreeSet::new(), document.to_string());
    for part in text.split("\"$ref\":\"").skip(1) {
        references.insert(part.split('"').next().unwrap().to_owned());
    }
    for reference in &references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for kind in ["schemas", "responses"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(references.contains(&format!("#/components/{kind}/{name}")), "{kind} {name} is referred to");
        }
    }
}

/// AP-1
#[tokio::test]
async fn requests_refuse_what_they_do_not_know() {
    let document = document().await;
    let mut seen = 0;
    for path in document["paths"].as_object().unwrap().values() {
        for operation in path.as_object().unwrap().values() {
            let Some(schema) = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str()
            else {
                continue;
            };
            let schema = document.pointer(schema.strip_prefix('#').unwrap()).unwrap();
            assert_eq!(schema["additionalProperties"], false, "{schema}");
            seen += 1;
        }
    }
    assert!(seen > 8, "{seen}");
}
