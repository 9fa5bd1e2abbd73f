//! The OpenAPI 3.1 document, made from the list of routes: every operation with its gates, its types, samples, and
//! every error code it can answer with.

use std::collections::BTreeMap;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use seawall_domain::{Code, codes as domain_codes};
use serde_json::{Map, Value, json};

use crate::body::BodyRule;
use crate::codes;
use crate::origin::Surface;
use crate::problem;
use crate::route::{ANYWHERE, Auth, IdempotencyRule, Route, Wire};
use crate::routes::ROUTES;
use crate::trace::RequestId;
use crate::wire::Problem;

/// The document of the operations of `surfaces`.
#[must_use]
pub fn document(surfaces: &[Surface]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let _ = generator.subschema_for::<Problem>();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in ROUTES.iter().filter(|route| surfaces.contains(&route.surface)) {
        let operations = paths.entry(route.path).or_default();
        operations.insert(
            route.method().as_str().to_ascii_lowercase(),
            operation(route, &mut generator),
        );
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Seawall",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "JSON in snake_case. Ids are decimal strings; instants (`*_at`) are Unix milliseconds. \
                Every refusal is application/problem+json with a stable `code`. 401 means a proof was proven bad, 429 \
                the caller's own quota, 503 our own trouble; the last two always say when to try again.",
        },
        "tags": Surface::ALL.iter().filter(|s| surfaces.contains(s)).map(|s| tag(*s)).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "securitySchemes": security_schemes(),
            "examples": error_examples(),
            "schemas": generator.take_definitions(true),
        },
    })
}

fn tag(surface: Surface) -> Value {
    let description = match surface {
        Surface::Sdk => "Players' game clients.",
        Surface::Server => "Game servers; every call is signed.",
        Surface::Admin => "Operators, on the root-only Unix socket.",
        Surface::Ops => "Health and metrics.",
    };
    json!({ "name": surface.name(), "description": description })
}

fn security_schemes() -> Value {
    json!({
        "bearer": { "type": "http", "scheme": "bearer", "description": "A player's access token." },
        "signature": {
            "type": "apiKey",
            "in": "header",
            "name": "Seawall-Signature",
            "description": "Lower-case hex HMAC-SHA256 with the printed secret's UTF-8 bytes as key, over five fields \
                joined by single LF without a trailing one: method, path with query as sent (no `?` when empty), \
                Seawall-Timestamp, Seawall-Nonce, lower-case hex SHA-256 of the body's bytes.",
        },
    })
}

/// One sample per error code, referred to by the operations.
fn error_examples() -> Map<String, Value> {
    let own = codes::CODES.iter().map(|(code, _)| *code);
    let all = own.chain(domain_codes::CODES.iter().copied());
    all.map(|code| {
        let sample = problem::body(&code.error(), RequestId([0x5e; 16]), 1_767_225_600_000);
        (code.name.to_owned(), json!({ "summary": code.doc, "value": sample }))
    })
    .collect()
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": route.op,
        "summary": route.summary,
        "tags": [route.surface.name()],
        "parameters": parameters(route, generator),
        "responses": responses(route, generator),
    });
    let Some(fields) = operation.as_object_mut() else {
        return operation;
    };
    match route.auth {
        Auth::Bearer => fields.insert("security".into(), json!([{ "bearer": [] }])),
        Auth::Signed { .. } => fields.insert("security".into(), json!([{ "signature": [] }])),
        Auth::None | Auth::Socket => fields.insert("security".into(), json!([])),
    };
    if let Some(body) = request_body(route, generator) {
        fields.insert("requestBody".into(), body);
    }
    operation
}

fn request_body(route: &Route, generator: &mut SchemaGenerator) -> Option<Value> {
    match (route.body, route.request) {
        (BodyRule::Json | BodyRule::OptionalJson, Some(wire)) => Some(json!({
            "required": route.body == BodyRule::Json,
            "description": format!("At most {} bytes.", route.body_max_bytes),
            "content": { "application/json": content(wire, route.request_example, generator) },
        })),
        (BodyRule::Raw, _) => Some(json!({
            "required": true,
            "description": format!("At most {} bytes.", route.body_max_bytes),
            "content": { "application/octet-stream": {} },
        })),
        _ => None,
    }
}

fn content(wire: Wire, example: Option<&str>, generator: &mut SchemaGenerator) -> Value {
    let mut content = json!({ "schema": (wire.schema)(generator) });
    let sample = example.and_then(|text| serde_json::from_str::<Value>(text).ok());
    if let (Some(fields), Some(sample)) = (content.as_object_mut(), sample) {
        fields.insert("example".into(), sample);
    }
    content
}

fn parameters(route: &Route, generator: &mut SchemaGenerator) -> Vec<Value> {
    let names = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<Value> = names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    if let Some(query) = route.query {
        all.extend(query_parameters(query, generator));
    }
    if route.idempotency != IdempotencyRule::None {
        all.push(header(
            "Idempotency-Key",
            route.idempotency == IdempotencyRule::Required,
            "^[!-~]{1,255}$",
        ));
    }
    all.extend(hints(route));
    if matches!(route.auth, Auth::Signed { .. }) {
        all.push(header("Seawall-Key-Id", true, "^[1-9][0-9]{0,9}$"));
        all.push(header("Seawall-Timestamp", true, "^[0-9]{1,12}$"));
        all.push(header("Seawall-Nonce", true, "^[!-~]{8,64}$"));
    }
    all
}

/// Headers that order a caller among its like under overload. Malformed ones are ignored, so no pattern is given.
fn hints(route: &Route) -> Vec<Value> {
    let hint = |name: &str, text: &str| json!({ "name": name, "in": "header", "required": false, "description": text, "schema": { "type": "string" } });
    let attempt = hint(
        "X-Attempt",
        "Number of the attempt, from 1; first attempts are let in before repeated ones.",
    );
    let deadline = hint(
        "X-Deadline-Ms",
        "Time the client will still wait, 1-60000 milliseconds; work that cannot begin in it is not begun.",
    );
    match route.surface {
        Surface::Sdk => {
            let mut all = vec![
                attempt,
                deadline,
                hint(
                    "Seawall-Device",
                    "The install id, at most 128 visible ASCII characters.",
                ),
                hint("Seawall-Game", "The game's id."),
            ];
            if route.op == "session.create" {
                all.push(hint(
                    "Seawall-Ticket",
                    "`waiting.ticket` of the last 503 of this login; who has waited long enough is let in before others.",
                ));
            }
            all
        }
        Surface::Server => vec![attempt, deadline],
        Surface::Admin | Surface::Ops => Vec::new(),
    }
}

fn header(name: &str, required: bool, pattern: &str) -> Value {
    json!({ "name": name, "in": "header", "required": required, "schema": { "type": "string", "pattern": pattern } })
}

/// The fields of a query type, one parameter each.
fn query_parameters(wire: Wire, generator: &mut SchemaGenerator) -> Vec<Value> {
    let reference = (wire.schema)(generator);
    let name = reference
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|path| path.rsplit('/').next());
    let Some(schema) = name.and_then(|name| generator.definitions().get(name)) else {
        return Vec::new();
    };
    let required = |field: &str| {
        let list = schema.get("required").and_then(Value::as_array);
        list.is_some_and(|names| names.iter().any(|name| name == field))
    };
    let fields = schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let parameter = |(field, schema): (&String, &Value)| json!({ "name": field, "in": "query", "required": required(field), "schema": schema });
    fields.map(parameter).collect()
}

/// Success, and every error by its status.
fn responses(route: &Route, generator: &mut SchemaGenerator) -> Map<String, Value> {
    let success = match route.response {
        Some(wire) => json!({ "application/json": content(wire, route.response_example, generator) }),
        None if route.op == "platform.metrics" => json!({ "application/openmetrics-text": {} }),
        None => json!({ "application/json": { "schema": { "type": "object" } } }),
    };
    let mut all = Map::new();
    all.insert(
        route.status.to_string(),
        json!({ "description": "Done.", "content": success.clone() }),
    );
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in route.all_errors().into_iter().chain(ANYWHERE.iter().copied()) {
        by_status.entry(codes::status(&code).as_u16()).or_default().push(code);
    }
    for (status, codes) in by_status {
        all.insert(status.to_string(), refusal(status, &codes));
    }
    // Health answers "no" in its own shape.
    let unwell = (route.surface == Surface::Ops).then(|| all.get_mut("503")).flatten();
    if let (Some(unwell), Value::Object(shapes)) = (
        unwell.and_then(|unwell| unwell.get_mut("content")?.as_object_mut()),
        success,
    ) {
        unwell.extend(shapes);
    }
    all
}

fn refusal(status: u16, codes: &[Code]) -> Value {
    let examples: Map<String, Value> = codes
        .iter()
        .map(|code| {
            (
                code.name.to_owned(),
                json!({ "$ref": format!("#/components/examples/{}", code.name) }),
            )
        })
        .collect();
    let names: Vec<&str> = codes.iter().map(|code| code.name).collect();
    let content = json!({
        "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" }, "examples": examples },
    });
    let mut refusal = Map::new();
    refusal.insert("description".into(), names.join(", ").into());
    refusal.insert("content".into(), content);
    if matches!(status, 429 | 503) {
        let headers = json!({
            "Retry-After": { "description": "Whole seconds.", "schema": { "type": "integer", "minimum": 1 } },
        });
        refusal.insert("headers".into(), headers);
    }
    refusal.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_and_every_error_code_is_described() {
        let document = document(&Surface::ALL);
        let mut used = BTreeSet::new();
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method().as_str().to_ascii_lowercase()];
            assert_eq!(operation["operationId"], route.op);
            assert!(!route.summary.is_empty(), "{}", route.op);
            for response in operation["responses"].as_object().unwrap().values() {
                let examples = response["content"]["application/problem+json"]["examples"].as_object();
                used.extend(examples.into_iter().flatten().map(|(name, _)| name.clone()));
            }
        }
        let own = codes::CODES.iter().map(|(code, _)| code.name);
        for name in own.chain(domain_codes::CODES.iter().map(|code| code.name)) {
            assert!(used.contains(name), "no route answers with {name}");
            assert!(document["components"]["examples"][name]["value"]["code"] == name);
        }
    }

    #[test]
    fn every_reference_of_the_document_leads_somewhere() {
        fn references(value: &Value, into: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    into.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    fields.values().for_each(|value| references(value, into));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, into)),
                _ => {}
            }
        }
        let document = document(&Surface::ALL);
        let mut all = Vec::new();
        references(&document, &mut all);
        assert!(all.len() > 100);
        for reference in all {
            assert!(
                document.pointer(reference.trim_start_matches('#')).is_some(),
                "{reference}"
            );
        }
    }

    #[test]
    fn every_sample_is_of_its_type_and_every_typed_body_has_one() {
        for route in ROUTES {
            for (wire, example) in [
                (route.request, route.request_example),
                (route.response, route.response_example),
            ] {
                let Some(wire) = wire else { continue };
                let accepted = (wire.accepts)(example.unwrap_or_else(|| panic!("{}: no sample", route.op)));
                accepted.unwrap_or_else(|e| panic!("{}: {e}", route.op));
            }
        }
    }

    #[test]
    fn a_listener_describes_its_own_surfaces_only() {
        let document = document(&[Surface::Sdk]);
        assert!(document["paths"]["/sdk/v1/sessions"].is_object());
        assert!(document["paths"]["/admin/v1/realms"].is_null());
        assert!(document["paths"]["/sdk/v1/account"]["get"]["security"] == json!([{ "bearer": [] }]));
    }
}
