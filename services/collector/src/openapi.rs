//! `GET /openapi.json`: what every path takes and answers, as OpenAPI 3.1. Written by hand beside the code; a test holds
//! its paths against the routes, and real requests are held against it.

use serde_json::{Value, json};

/// The document.
pub(crate) fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Rapport collector",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Takes CloudEvents in. An event is accepted once it is on all in-sync replicas of the log.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/": {"get": plain("getIndex", "What this is", "application/json", json!({"type": "object"}))},
            "/events": {"post": publish()},
            "/schemas": {"get": plain("listSchemas", "The catalogue of event types", "application/json", reference_to("Catalogue"))},
            "/schemas/{type}": {"get": schema()},
            "/openapi.json": {"get": plain("getOpenapi", "This document", "application/json", json!({"type": "object"}))},
        },
        "components": {"schemas": schemas(), "headers": headers()},
    })
}

fn reference_to(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn plain(id: &str, summary: &str, content_type: &str, schema: Value) -> Value {
    json!({
        "operationId": id,
        "summary": summary,
        "responses": {"200": {"description": summary, "content": {content_type: {"schema": schema}}}},
    })
}

fn schema() -> Value {
    let mut operation =
        plain("getSchema", "The JSON Schema of an event type", "application/schema+json", json!({"type": "object"}));
    operation["parameters"] = json!([{
        "name": "type", "in": "path", "required": true, "schema": {"type": "string", "minLength": 1},
        "description": "With or without io.rapport. in front.", "examples": {"order": {"value": "order.placed"}},
    }]);
    operation["responses"]["400"] = text("The path cannot be decoded.");
    operation["responses"]["404"] = problem("no-such-type: the catalogue has no type of this name.");
    operation
}

fn publish() -> Value {
    json!({
        "operationId": "publishEvents",
        "summary": "Publish events",
        "description": "CloudEvents 1.0: structured, batched, or binary (ce-* headers beside a body of any type). Sending an \
                        event again does no harm: copies of one id and source count once.",
        "parameters": [{
            "name": "validate_only", "in": "query", "schema": {"type": "boolean", "default": false},
            "description": "Checks the events and appends nothing.",
        }],
        "requestBody": {"required": true, "content": {
            "application/cloudevents+json": {"schema": reference_to("Event")},
            "application/cloudevents-batch+json": {"schema": {"type": "array", "items": reference_to("Event")}},
        }},
        "responses": {
            "200": receipt("Every event is on all in-sync replicas; or, with validate_only, would be accepted."),
            "207": receipt("Some are accepted, some rejected."),
            "400": problem("malformed-body, malformed-header, malformed-parameter or incomplete-body: nothing was taken."),
            "408": problem("slow-body: the body did not come in time."),
            "413": problem("request-too-large or too-many-events."),
            "415": problem("content-type-not-accepted or content-encoding-not-accepted."),
            "422": receipt("All are rejected."),
            "429": retry("Over a limit: events marked retry, or all of them, are to be sent again."),
            "503": retry("Kafka did not confirm in time: events marked retry are to be sent again."),
        },
    })
}

fn receipt(says: &str) -> Value {
    json!({
        "description": says,
        "headers": {"Rapport-Position": {"$ref": "#/components/headers/Rapport-Position"}},
        "content": {"application/json": {"schema": reference_to("Receipt")}},
    })
}

/// Either every event has its result, or the request was refused before it was read.
fn retry(says: &str) -> Value {
    let mut answer = receipt(says);
    answer["content"]["application/problem+json"] = json!({"schema": reference_to("Problem")});
    answer["headers"]["Retry-After"] = json!({"$ref": "#/components/headers/Retry-After"});
    answer
}

fn problem(says: &str) -> Value {
    json!({"description": says, "content": {"application/problem+json": {"schema": reference_to("Problem")}}})
}

fn text(says: &str) -> Value {
    json!({"description": says, "content": {"text/plain": {"schema": {"type": "string"}}}})
}

fn headers() -> Value {
    json!({
        "Rapport-Position": {"description": "The position to read at. Missing where nothing was appended.", "schema": {"type": "string"}},
        "Retry-After": {"description": "Seconds.", "required": true, "schema": {"type": "integer", "minimum": 1}},
    })
}

fn schemas() -> Value {
    let text = || json!({"type": "string"});
    let faults = json!({"type": "array", "items": {
        "type": "object", "required": ["code", "pointer", "detail"],
        "properties": {"code": text(), "pointer": text(), "detail": text()},
    }});
    json!({
        "Event": {
            "type": "object", "required": ["specversion", "id", "source", "type"],
            "description": "A CloudEvent. What its type requires in data, GET /schemas/{type} says; types of your own are kept as sent.",
            "properties": {
                "specversion": {"type": "string", "const": "1.0"},
                "id": {"type": "string", "minLength": 1}, "source": {"type": "string", "minLength": 1},
                "type": {"type": "string", "minLength": 1}, "time": {"type": ["string", "null"], "format": "date-time"},
                "subject": {"type": ["string", "null"], "description": "The strongest identifier, kind:value."},
            },
        },
        "Receipt": {
            "type": "object", "required": ["accepted", "rejected", "results"],
            "properties": {
                "accepted": {"type": "integer"}, "rejected": {"type": "integer"}, "retry": {"type": "integer"},
                "detail": text(), "position": text(),
                "results": {"type": "array", "description": "One entry an event, in order.", "items": {
                    "type": "object", "required": ["id", "status"],
                    "properties": {
                        "id": {"type": ["string", "null"]},
                        "status": {"type": "string", "enum": ["accepted", "rejected", "retry"]},
                        "rejection_id": text(), "errors": faults.clone(), "warnings": faults.clone(),
                    },
                }},
            },
        },
        "Catalogue": {
            "type": "object", "required": ["types"],
            "properties": {"types": {"type": "array", "items": {
                "type": "object", "required": ["type", "schema"], "properties": {"type": text(), "schema": text()},
            }}},
        },
        "Problem": {
            "type": "object", "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": {"type": "string", "pattern": "^urn:rapport:problem:"},
                "title": text(), "status": {"type": "integer"}, "detail": text(), "errors": faults,
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let routes: BTreeSet<(String, String)> =
            crate::routes::routes().into_iter().map(|(method, path, _)| (method.to_owned(), path.to_owned())).collect();
        let document = document();
        let paths = document["paths"].as_object().expect("paths");
        let described: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, operations)| {
                operations.as_object().expect("operations").keys().map(move |method| (method.clone(), path.clone()))
            })
            .collect();
        assert_eq!(routes, described);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        for reference in text.split(r##""$ref":"#"##).skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }
}
