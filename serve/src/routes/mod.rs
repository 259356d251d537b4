//! The routes, one file for what belongs together.

mod database;
mod embeddings;
mod page;
mod rerank;
mod search;
mod server;
mod shard;
mod text_embeddings;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};

use crate::app::App;
use crate::fault::Fault;
use crate::guard::guard;

pub use database::with_database;
pub use search::{answer, most_besides};

/// A path, and what answers there to each method.
pub type Route = (&'static str, MethodRouter<Arc<App>>);

/// Every path with what answers there. `openapi.json` describes the same.
fn table() -> Vec<Route> {
    vec![
        ("/", get(page::page).post(text_embeddings::embed)),
        ("/health", get(server::health)),
        ("/info", get(server::info)),
        ("/metrics", get(server::metrics)),
        ("/openapi.json", get(page::openapi)),
        ("/v1/models", get(server::models)),
        ("/v1/embeddings", post(embeddings::embeddings)),
        ("/embeddings", post(embeddings::embeddings)),
        ("/embed", post(text_embeddings::embed)),
        ("/rerank", post(rerank::either)),
        ("/v1/rerank", post(rerank::documents)),
        ("/v2/rerank", post(rerank::documents)),
        ("/search", post(search::search)),
        ("/database", get(database::info)),
        ("/generations", get(database::generations)),
        ("/documents", post(database::add).put(database::upsert)),
        // An id may have slashes in it.
        ("/documents/{*id}", get(database::get_one).delete(database::delete_one)),
        ("/get", post(database::get_many)),
        ("/delete", post(database::delete_many)),
        ("/shard/info", post(shard::info)),
        ("/shard/statistics", post(shard::statistics)),
        ("/shard/search", post(shard::search)),
        ("/shard/exact", post(shard::exact)),
        ("/shard/documents", post(shard::documents)),
        ("/shard/contains", post(shard::contains)),
        ("/shard/passages", post(shard::passages)),
        ("/shard/filter", post(shard::filter)),
        ("/shard/fields", post(shard::fields)),
    ]
}

/// All routes, and those of protocols that describe themselves, behind the guard.
pub fn router(app: Arc<App>, others: impl IntoIterator<Item = Route>) -> Router {
    let mut router = Router::new();
    for (path, methods) in table().into_iter().chain(others) {
        router = router.route(path, methods.fallback(other_method));
    }
    router.fallback(no_route).layer(from_fn_with_state(Arc::clone(&app), guard)).with_state(app)
}

async fn other_method() -> Fault {
    Fault::method("this path does not answer to this method: see the header Allow, and /openapi.json")
}

async fn no_route() -> Fault {
    Fault::not_found("there is nothing at this path: /openapi.json lists the paths")
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
