//! The server side of the protocol: who we are, which tools there are, and calls of them.

use std::pin::pin;
use std::sync::Arc;

use axum::http::request::Parts;
use futures_util::future::{Either, select};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde::Deserialize;
use serde_json::Value;

use super::arguments::read;
use super::{described, fetch, list, search};
use crate::app::App;
use crate::event::Event;
use crate::fault::Fault;
use crate::request_id::RequestId;
use crate::routes::with_database;

const INSTRUCTIONS: &str = "\
A collection of documents that can be searched by meaning, by words, or by both. Call `search` with a question or with key words, and \
`fetch` with the id of a hit to read the whole document. `info` says how many documents there are and which metadata fields a filter \
may compare; `list` pages through documents, all or those that match a filter. Nothing can be changed. Cite documents by title, and by \
url where there is one.";

/// The tools, for one client.
#[derive(Clone)]
pub struct Tools {
    app: Arc<App>,
}

/// The arguments of a tool that has none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Tools {
    /// The tools of this server.
    pub fn new(app: Arc<App>) -> Tools {
        Tools { app }
    }

    /// What a tool answers; `None` if there is no such tool.
    async fn call(&self, name: &str, arguments: Value) -> Option<Result<Value, Fault>> {
        let app = &*self.app;
        Some(match name {
            "search" => search::call(app, arguments).await,
            "fetch" => fetch::call(app, arguments).await,
            "list" => list::call(app, arguments).await,
            "info" => match read::<Nothing>(arguments) {
                Ok(Nothing {}) => with_database(app, |database| database.info()).await,
                Err(fault) => Err(fault),
            },
            _ => return None,
        })
    }
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("secateur", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(described::tools(&self.app)?))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let (called, cancelled) = (pin!(self.call(&request.name, arguments)), pin!(context.ct.cancelled()));
        let called = match select(cancelled, called).await {
            // What waits in a queue is dropped. Nobody reads this.
            Either::Left(_) => return Err(ErrorData::internal_error("the call was cancelled", None)),
            Either::Right((called, _)) => called,
        };
        match called {
            Some(Ok(value)) => Ok(CallToolResult::structured(value).into()),
            // The model reads it, and may do better.
            Some(Err(fault)) => {
                let id = name_of(&context);
                let told = fault.told(&id);
                if fault.is_of_server() {
                    let what = format!("the tool {}", request.name);
                    (self.app.tell)(Event::Failed { request: id, what, fault });
                }
                Ok(CallToolResult::error(vec![ContentBlock::text(told)]).into())
            }
            None => {
                let names: Vec<String> =
                    described::tools(&self.app)?.into_iter().map(|tool| tool.name.into_owned()).collect();
                let problem = format!("there is no tool {:?}: there are {}", request.name, names.join(", "));
                Err(ErrorData::invalid_params(problem, None))
            }
        }
    }
}

/// What a call is named in the log: over HTTP as every request, otherwise by its number.
fn name_of(context: &RequestContext<RoleServer>) -> String {
    let parts = context.extensions.get::<Parts>();
    let id = parts.and_then(|parts| parts.extensions.get::<RequestId>());
    id.map_or_else(|| context.id.to_string(), |id| id.0.clone())
}
