//! What clients are told of the tools.

use std::sync::Arc;

use rmcp::ErrorData;
use rmcp::model::Tool;
use serde_json::Value;

use crate::app::App;

/// The tools: names, descriptions, schemas of arguments and results.
const TOOLS: &str = include_str!("tools.json");

/// The tools, as this server has them: within its limits, and with a cross-encoder only if it serves one.
pub fn tools(app: &App) -> Result<Vec<Tool>, ErrorData> {
    let read: Result<Vec<Tool>, _> = serde_json::from_str(TOOLS);
    let mut tools = read.map_err(|error| ErrorData::internal_error(format!("tools.json: {error}"), None))?;
    for tool in &mut tools {
        let schema = Arc::make_mut(&mut tool.input_schema);
        let Some(Value::Object(properties)) = schema.get_mut("properties") else { continue };
        if app.scoring().is_err() {
            properties.shift_remove("rerank");
        }
        for name in ["k", "limit", "rerank"] {
            if let Some(Value::Object(property)) = properties.get_mut(name) {
                property.insert("maximum".to_owned(), app.limits.hits.into());
            }
        }
    }
    Ok(tools)
}
