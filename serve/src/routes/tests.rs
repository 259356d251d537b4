use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

/// The description has the paths of the table, and each of its methods answers there.
#[test]
fn the_description_has_the_routes() {
    let description: Value = serde_json::from_str(page::OPENAPI).unwrap();
    let described = description["paths"].as_object().unwrap();
    let described: BTreeSet<(String, String)> = described
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (path.clone(), method.to_uppercase()))
        })
        .collect();
    let mut answered = BTreeSet::new();
    for (path, methods) in table() {
        for method in methods_of(&methods) {
            answered.insert((path.replace("{*", "{"), method));
        }
    }
    assert_eq!(described, answered);
}

/// The methods that a route answers to; axum answers to HEAD wherever it does to GET.
fn methods_of(methods: &MethodRouter<Arc<App>>) -> Vec<String> {
    let shown = format!("{methods:?}");
    let of = |name: &str| {
        let field = format!("{name}: ");
        let start = shown.find(&field).unwrap_or_else(|| panic!("{name} is not in {shown}")) + field.len();
        !shown[start..].starts_with("None")
    };
    let all = ["get", "post", "put", "delete", "patch", "options", "trace", "connect"];
    all.into_iter().filter(|name| of(name)).map(str::to_uppercase).collect()
}

/// What a reference of the description points at is there.
#[test]
fn the_descriptions_references_lead_somewhere() {
    let description: Value = serde_json::from_str(page::OPENAPI).unwrap();
    let mut open = vec![&description];
    let mut count = 0;
    while let Some(value) = open.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            assert!(description.pointer(&reference[1..]).is_some(), "{reference} leads nowhere");
            count += 1;
        }
        match value {
            Value::Object(object) => open.extend(object.values()),
            Value::Array(list) => open.extend(list),
            _ => {}
        }
    }
    assert!(count > 20);
}
