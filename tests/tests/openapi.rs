//! The OpenAPI document, held to the routes that there are.
#![allow(clippy::unwrap_used)]

use plumbline_tests::fixture::text;
use plumbline_tests::{Call, Http, Server, Site};
use serde_json::Value;

#[test]
fn every_route_is_documented_and_every_documented_path_answers() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::serve(folder.path());
    let visitor = server.http();
    let document = visitor.get("/api/openapi.json");
    assert!(text(&document["openapi"]).starts_with("3.1"));
    check_document(&document, &visitor);
}

/// What the document shows of bodies can be sent: the service may refuse it for what it says, and not for its form.
#[test]
fn examples_of_bodies_can_be_sent() {
    let site = Site::new();
    let document = site.operator.get("/api/openapi.json");
    let mut sent = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let body = &item["post"]["requestBody"]["content"]["application/json"];
        if body.is_null() {
            continue;
        }
        let id = "01961c5e-3f2a-7cc1-9d7e-2b1f6a0c4d11";
        let path = path
            .split('/')
            .map(|part| if part.starts_with('{') { id } else { part });
        let path = path.collect::<Vec<_>>().join("/");
        let answer = site.operator.send(&Call::post(&path, &body["example"]));
        let said = answer.text();
        let form = ["invalid-field", "unknown-field", "malformed-json"];
        let is_fine = answer.status < 500 && !form.iter().any(|code| said.contains(code));
        assert!(is_fine, "{path}: {} {said}", body["example"]);
        sent += 1;
    }
    assert!(sent > 35, "only {sent} bodies");
}

/// Every path of the source's table of contents is in the document, and every path of the document exists.
fn check_document(document: &Value, visitor: &Http) {
    let source =
        std::fs::read_to_string(plumbline_tests::program::root().join("web/src/routes.rs"))
            .unwrap();
    let documented = document["paths"].as_object().unwrap();
    let (api, pages) = source.split_once("fn page_routes").unwrap();
    assert!(pages.contains("resource("));
    let named = |path: &str| -> String {
        // A placeholder's name is the document's own business.
        path.split('/')
            .map(|part| if part.starts_with('{') { "{}" } else { part })
            .collect::<Vec<_>>()
            .join("/")
    };
    let known: Vec<String> = documented.keys().map(|path| named(path)).collect();
    let mut found = 0;
    for function in api.split("\nfn ").skip(1) {
        // Functions without a scope of their own are mounted inside the API's.
        let scope = match function {
            function if function.starts_with("operations") => continue,
            function if function.starts_with("openai") => "/v1",
            _ => "/api/v1",
        };
        for route in function.split("resource(\"").skip(1) {
            let path = named(&format!("{scope}{}", route.split('"').next().unwrap()));
            assert!(
                known.contains(&path),
                "{path} is not in the OpenAPI document"
            );
            found += 1;
        }
    }
    assert!(found > 30, "only {found} routes were found in the source");
    for (path, methods) in documented {
        let Some(get) = methods.get("get") else {
            continue;
        };
        // A stream has no end to wait for.
        if !get["responses"]["200"]["content"]["text/event-stream"].is_null() {
            continue;
        }
        let path = path.replace(['{', '}'], "");
        let answer = visitor.send(&Call::get(&path));
        assert_ne!(
            answer.status, 405,
            "{path} is documented and does not answer"
        );
        assert!(answer.status < 500, "{path}: {}", answer.text());
    }
}
