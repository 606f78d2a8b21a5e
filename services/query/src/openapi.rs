//! `GET /openapi.json`: what every path takes and answers, as OpenAPI 3.1. Written by hand beside the code; a test holds
//! its paths against the routes, and real requests are held against it.

use serde_json::{Map, Value, json};

use crate::{reports, search};

/// The document.
pub(crate) fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Rapport query",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Customers, timelines and reports over the read models sales, service and customer360, each answer \
                            read in one snapshot at a position.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths(),
        "components": {"schemas": schemas(), "headers": headers(), "parameters": parameters(), "responses": responses()},
    })
}

fn paths() -> Value {
    json!({
        "/api/v1/customers": {"get": get(
            "searchCustomers", "Customers by name, identifier, order or case number",
            &[query("q", json!({"type": "string", "minLength": 1, "maxLength": search::Q_CHARS_MAX}), "What is looked for; see POST /customers/search.").required(),
              cursor(), limit(search::LIMIT_MAX)],
            json_answer("One page of customers.", "Search"), &[],
        )},
        "/api/v1/customers/search": {"post": search_post()},
        "/api/v1/customers/{ref}": {"get": get(
            "getCustomer", "The 360-degree page of a customer", &[reference(), valid_at(), known_at()],
            json_answer("Who it is and what the three models know.", "Customer"), &["300", "404", "422"],
        )},
        "/api/v1/customers/{ref}/timeline": {"get": get(
            "getTimeline", "A customer's events, newest first",
            &[reference(),
              query("channel", text(), "Only events on this channel."),
              query("type", text(), "Only events of this type, with or without io.rapport. in front."),
              query("from", time(), "The earliest occurred_at, included."),
              query("to", time(), "The latest occurred_at, left out."),
              cursor(), limit(500), valid_at(), known_at()],
            json_answer("One page of events.", "Timeline"), &["300", "404", "422"],
        )},
        "/api/v1/reports": {"get": get(
            "listReports", "Every report: its parameters and columns", &[], json_answer("All reports, by name.", "Reports"), &[],
        )},
        "/api/v1/reports/{report}": {"get": get(
            "runReport", "The rows of a report",
            &[report(), query("format", json!({"type": "string", "enum": ["json", "csv"], "default": "json"}), "What the rows are written as."),
              limit(reports::LIMIT_MAX), at(), filters()],
            report_answer(), &["404"],
        )},
        "/api/v1/reports/{report}/sql": {"get": get(
            "showReportSql", "The SQL of a report, as it is run with these parameters",
            &[report(), query("format", json!({"type": "string", "enum": ["json", "csv"]}), "Taken and not used."),
              limit(reports::LIMIT_MAX), at(), filters()],
            json!({
                "description": "SQL, with its parameters and the view's definition in comments.",
                "headers": positioned(),
                "content": {"text/plain": {"schema": {"type": "string"}}},
            }),
            &["404"],
        )},
        "/api/v1/models": {"get": get(
            "listModels", "Where each read model stands", &[], json_answer("Each live generation.", "Models"), &[],
        )},
        "/api/v1/openapi.json": {"get": {
            "operationId": "getOpenapi",
            "summary": "This document",
            "responses": {
                "200": {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": {"type": "object"}}}},
                "503": {"$ref": "#/components/responses/Unavailable"},
            },
        }},
    })
}

/// A parameter being described.
struct Parameter(Value);

impl Parameter {
    fn required(mut self) -> Self {
        self.0["required"] = json!(true);
        self
    }
}

fn query(name: &str, schema: Value, says: &str) -> Parameter {
    Parameter(json!({"name": name, "in": "query", "description": says, "schema": schema}))
}

fn of_components(name: &str) -> Parameter {
    Parameter(json!({"$ref": format!("#/components/parameters/{name}")}))
}

fn reference() -> Parameter {
    of_components("Ref")
}

fn report() -> Parameter {
    of_components("Report")
}

fn cursor() -> Parameter {
    of_components("Cursor")
}

fn at() -> Parameter {
    of_components("At")
}

fn valid_at() -> Parameter {
    of_components("ValidAt")
}

fn known_at() -> Parameter {
    of_components("KnownAt")
}

fn filters() -> Parameter {
    of_components("Filters")
}

fn limit(max: u64) -> Parameter {
    query("limit", json!({"type": "integer", "minimum": 1, "maximum": max}), "How many at most.")
}

fn text() -> Value {
    json!({"type": "string"})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

/// An operation that reads at a position: what all of them share, and what this one adds.
fn get(id: &str, summary: &str, own: &[Parameter], ok: Value, further: &[&str]) -> Value {
    let shared = ["Position", "WaitMs", "PositionHeader"].map(of_components);
    let parameters: Vec<&Value> = own.iter().chain(&shared).map(|parameter| &parameter.0).collect();
    let mut answers = Map::new();
    answers.insert("200".into(), ok);
    for (status, name) in [
        ("300", "SeveralCustomers"),
        ("400", "Malformed"),
        ("404", "NotFound"),
        ("409", "OtherLog"),
        ("422", "NoSuchPast"),
        ("500", "Internal"),
        ("503", "Unavailable"),
    ] {
        if !["300", "404", "422"].contains(&status) || further.contains(&status) {
            answers.insert(status.into(), json!({"$ref": format!("#/components/responses/{name}")}));
        }
    }
    json!({"operationId": id, "summary": summary, "parameters": parameters, "responses": answers})
}

fn search_post() -> Value {
    let ok = json_answer("One page of customers.", "Search");
    let mut operation =
        get("searchCustomersByBody", "Customers by name, identifier, order or case number", &[], ok, &[]);
    operation["requestBody"] =
        json!({"required": true, "content": {"application/json": {"schema": reference_to("Question")}}});
    operation["responses"]["413"] = json!({"$ref": "#/components/responses/TooLong"});
    operation
}

fn reference_to(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn positioned() -> Value {
    json!({"Rapport-Position": {"$ref": "#/components/headers/Rapport-Position"}})
}

fn json_answer(says: &str, schema: &str) -> Value {
    json!({"description": says, "headers": positioned(), "content": {"application/json": {"schema": reference_to(schema)}}})
}

fn report_answer() -> Value {
    let mut answer = json_answer("The rows, in the order of their columns.", "Rows");
    answer["content"]["text/csv"] = json!({"schema": {
        "type": "string",
        "description": "A line of names, then a line a row (RFC 4180). Texts that begin with = + - @ have an apostrophe in front.",
    }});
    answer["headers"]["Rapport-Truncated"] = json!({"$ref": "#/components/headers/Rapport-Truncated"});
    answer
}

fn headers() -> Value {
    json!({
        "Rapport-Position": {"description": "The position the answer was read at. Missing before the first projector has started.", "schema": {"type": "string"}},
        "Rapport-Truncated": {"description": "Whether there are more rows than shown.", "schema": {"type": "string", "enum": ["true", "false"]}},
        "Retry-After": {"description": "After so many seconds asking again makes sense.", "required": true, "schema": {"type": "integer", "minimum": 1}},
    })
}

fn parameters() -> Value {
    json!({
        "Ref": {
            "name": "ref", "in": "path", "required": true, "schema": {"type": "string", "minLength": 1},
            "description": "A customer id, any subject id, or an identifier as kind:value.",
            "examples": {"identifier": {"value": "email:ann@example.com"}},
        },
        "Report": {
            "name": "report", "in": "path", "required": true, "schema": {"type": "string", "minLength": 1},
            "description": "model.view, as GET /reports names it.", "examples": {"orders": {"value": "sales.orders"}},
        },
        "Cursor": {
            "name": "cursor", "in": "query", "schema": {"type": "string"},
            "description": "next_cursor of an earlier page.",
        },
        "At": {
            "name": "at", "in": "query", "schema": {"type": "string", "format": "date-time"},
            "description": "The time it is asked for, where the report depends on now.",
        },
        "Filters": {
            "name": "filters", "in": "query", "style": "form", "explode": true,
            "schema": {"type": "object", "additionalProperties": {"type": "string"}},
            "description": "Columns and arguments of the report by name, as GET /reports lists them: only rows with these values.",
        },
        "ValidAt": {
            "name": "valid_at", "in": "query", "schema": time(),
            "description": "As of the events that had occurred by then, links included.",
        },
        "KnownAt": {
            "name": "known_at", "in": "query", "schema": {"type": "string", "minLength": 1},
            "description": "As it was known then: a time (what all models had committed by it, noted every second, after a day every minute), or a position as an answer's Rapport-Position gives it.",
        },
        "Position": {
            "name": "position", "in": "query", "schema": {"type": "string", "minLength": 1},
            "description": "Waits until all models have reached this position.",
        },
        "PositionHeader": {
            "name": "Rapport-Position", "in": "header", "schema": {"type": "string"},
            "description": "As position, which wins.",
        },
        "WaitMs": {
            "name": "wait_ms", "in": "query", "schema": {"type": "integer", "minimum": 0, "maximum": 60_000},
            "description": "Milliseconds to wait for the position at most.",
        },
    })
}

fn responses() -> Value {
    let problem = |says: &str| json!({"description": says, "headers": positioned(), "content": {"application/problem+json": {"schema": reference_to("Problem")}}});
    let mut unavailable = problem(
        "busy, unavailable, models-not-ready, past-not-foldable, report-too-slow, or position-not-reached (models says how far behind each is).",
    );
    unavailable["headers"]["Retry-After"] = json!({"$ref": "#/components/headers/Retry-After"});
    json!({
        "SeveralCustomers": problem("several-customers: candidates lists them, each with a path that means it alone."),
        "Malformed": problem("malformed-parameter, malformed-reference, malformed-position or malformed-body: errors names each fault."),
        "NotFound": problem("no-such-customer, no-such-report or no-such-path."),
        "OtherLog": problem("other-log: the position was given out for another log."),
        "NoSuchPast": problem("past-not-kept: known_at lies before what was noted. past-too-long: too many events would have to be folded."),
        "TooLong": problem("body-too-long."),
        "Internal": problem("internal: a mistake in the service; its log says more."),
        "Unavailable": unavailable,
    })
}

fn schemas() -> Value {
    let nullable = |kind: &str| json!({"type": [kind, "null"]});
    let list = |items: Value| json!({"type": "array", "items": items});
    json!({
        "Problem": {
            "type": "object", "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": {"type": "string", "pattern": "^urn:rapport:problem:"},
                "title": text(), "status": {"type": "integer"}, "detail": text(),
                "errors": list(json!({
                    "type": "object", "required": ["code", "pointer", "detail"],
                    "properties": {"code": text(), "pointer": text(), "detail": text()},
                })),
            },
        },
        "Question": {
            "type": "object", "required": ["q"], "additionalProperties": false,
            "properties": {
                "q": {"type": "string", "minLength": 1, "maxLength": search::Q_CHARS_MAX,
                      "description": "A name, an identifier (with or without its kind), an order or a case number, or its beginning."},
                "cursor": {"type": ["string", "null"], "description": "next_cursor of an earlier page."},
                "limit": {"type": ["integer", "null"], "minimum": 1, "maximum": search::LIMIT_MAX},
            },
        },
        "Search": {
            "type": "object", "required": ["items", "next_cursor", "positions"],
            "properties": {
                "items": list(json!({
                    "type": "object", "required": ["customer_id", "name", "identifiers", "ref", "href", "matched"],
                    "properties": {
                        "customer_id": {"type": "string", "format": "uuid"}, "name": nullable("string"),
                        "identifiers": list(text()), "ref": text(), "href": text(),
                        "matched": {"type": "object", "required": ["by", "value"], "properties": {
                            "by": {"type": "string", "enum": ["reference", "order", "case", "identifier", "name", "last_name"]},
                            "value": nullable("string"),
                        }},
                    },
                })),
                "next_cursor": nullable("string"), "positions": {"type": "object"}, "dead_letters": list(json!({"type": "object"})),
            },
        },
        "Customer": {
            "type": "object",
            "required": ["customer_id", "identifiers", "profile", "sales", "service", "last_touches", "affiliations", "conflicts", "positions"],
            "properties": {
                "customer_id": {"type": "string", "format": "uuid"},
                "mapped": {"type": "boolean", "description": "false: customer360 does not know this subject yet; else left out."},
                "identifiers": list(json!({"type": "object"})), "profile": {"type": "object"},
                "sales": {"type": "object", "required": ["totals", "orders"]},
                "service": {"type": "object", "required": ["counts", "cases", "calls"]},
                "last_touches": list(json!({"type": "object"})), "affiliations": list(json!({"type": "object"})),
                "conflicts": list(json!({"type": "object"})), "positions": {"type": "object"},
                "dead_letters": list(json!({"type": "object"})),
            },
        },
        "Timeline": {
            "type": "object", "required": ["customer_id", "items", "next_cursor", "positions"],
            "properties": {
                "customer_id": {"type": "string", "format": "uuid"}, "items": list(json!({"type": "object"})),
                "next_cursor": nullable("string"), "positions": {"type": "object"}, "dead_letters": list(json!({"type": "object"})),
            },
        },
        "Reports": {
            "type": "object", "required": ["reports", "positions"],
            "properties": {
                "reports": list(json!({
                    "type": "object", "required": ["name", "title", "comment", "parameters", "columns", "formats", "href", "sql"],
                    "properties": {
                        "name": text(), "title": text(), "comment": text(), "href": text(), "sql": text(), "formats": list(text()),
                        "parameters": list(json!({"type": "object", "required": ["name", "type", "default", "comment"]})),
                        "columns": list(json!({"type": "object", "required": ["name", "type", "comment"]})),
                    },
                })),
                "positions": {"type": "object"},
            },
        },
        "Rows": {
            "type": "object",
            "required": ["report", "title", "parameters", "columns", "row_count", "limit", "truncated", "positions", "rows"],
            "properties": {
                "report": text(), "title": text(), "parameters": {"type": "object"},
                "columns": list(json!({"type": "object", "required": ["name", "type"]})),
                "row_count": {"type": "integer"}, "limit": {"type": "integer"}, "truncated": {"type": "boolean"},
                "notice": {"type": "string", "description": "Where there are more rows: how to see them."},
                "positions": {"type": "object"}, "dead_letters": list(json!({"type": "object"})),
                "rows": list(json!({"type": "object"})),
            },
        },
        "Models": {
            "type": "object", "required": ["log_id", "log_end", "models", "missing"],
            "properties": {
                "log_id": nullable("string"), "log_end": nullable("object"), "log_end_unknown": text(),
                "models": list(json!({"type": "object", "required": ["model", "generation", "definition", "position", "partitions"]})),
                "missing": list(text()), "dead_letters": list(json!({"type": "object"})),
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
            crate::http::routes().into_iter().map(|(method, path, _)| (method.to_owned(), path.to_owned())).collect();
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
        fn check(document: &Value, value: &Value) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(reference)) = members.get("$ref") {
                        let pointer = reference.trim_start_matches('#');
                        assert!(document.pointer(pointer).is_some(), "{reference}");
                    }
                    members.values().for_each(|value| check(document, value));
                }
                Value::Array(items) => items.iter().for_each(|value| check(document, value)),
                _ => {}
            }
        }
        let document = document();
        check(&document, &document);
    }

    #[test]
    fn every_path_parameter_is_described() {
        let document = document();
        for (path, operations) in document["paths"].as_object().expect("paths") {
            for operation in operations.as_object().expect("operations").values() {
                let named = operation["parameters"].to_string();
                for name in path.split('{').skip(1).filter_map(|part| part.split('}').next()) {
                    let component = if name == "ref" { "Ref" } else { "Report" };
                    assert!(named.contains(&format!("#/components/parameters/{component}\"")), "{path}");
                }
            }
        }
    }
}
