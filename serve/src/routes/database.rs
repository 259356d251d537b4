//! Documents and generations of the database.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json as value};

use crate::apart::apart;
use crate::app::App;
use crate::body::{Json, json, json_of_size};
use crate::budget::Share;
use crate::collection::{Change, Collection, NewDocument};
use crate::fault::Fault;
use crate::input::check_count;

/// Bytes of a document as JSON, about.
const BYTES_OF_DOCUMENT: usize = 1 << 10;

/// Documents that come in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Documents {
    documents: Vec<NewDocument>,
}

/// Ids of documents.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ids {
    ids: Vec<String>,
}

/// Documents that are to go.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    ids: Option<Vec<String>>,
    filter: Option<String>,
}

/// Calls the database on a thread that may wait.
pub async fn with_database<T: Send + 'static>(
    app: &App,
    call: impl FnOnce(&dyn Collection) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let database = app.database()?;
    apart(move || call(&*database)).await?
}

async fn change(app: &App, share: Share, change: Change) -> Result<Response, Fault> {
    let turn = Arc::clone(&app.changing).lock_owned();
    let Ok(turn) = tokio::time::timeout(app.limits.timeout, turn).await else {
        return Err(Fault::unavailable("other changes take long: try again later"));
    };
    // The turn and the share go along: they are taken until the change is made, even if the client goes away.
    let changed = with_database(app, move |database| {
        let _held = (turn, share);
        database.change(change)
    });
    Ok(json(&changed.await?))
}

/// That the database may be changed. It comes before the body in a route's arguments, which is not read otherwise.
pub struct Writable;

impl FromRequestParts<Arc<App>> for Writable {
    type Rejection = Fault;

    async fn from_request_parts(_: &mut Parts, app: &Arc<App>) -> Result<Writable, Fault> {
        app.database()?;
        match app.access.writable {
            true => Ok(Writable),
            false => Err(Fault::forbidden(
                "the database is served to be read: start the server with --writable to change it",
            )),
        }
    }
}

/// `GET /database`.
pub async fn info(State(app): State<Arc<App>>) -> Result<Response, Fault> {
    Ok(json(&with_database(&app, |database| database.info()).await?))
}

/// `GET /generations`.
pub async fn generations(State(app): State<Arc<App>>) -> Result<Response, Fault> {
    let generations = with_database(&app, |database| Ok(database.generations())).await?;
    Ok(json(&value!({ "generations": generations })))
}

/// `GET /documents/{id}`.
pub async fn get_one(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Fault> {
    let id = id_of(id)?;
    let ids = vec![id.clone()];
    match with_database(&app, move |database| database.documents(&ids)).await?.pop() {
        Some(document) if !document.is_null() => Ok(json(&document)),
        _ => Err(Fault::not_found(format!("no document has the id {id:?}"))),
    }
}

fn id_of(id: Result<Path<String>, PathRejection>) -> Result<String, Fault> {
    let Path(id) = id.map_err(|_| Fault::invalid_field("id", "it is no UTF-8"))?;
    Ok(id)
}

/// `POST /get`.
pub async fn get_many(State(app): State<Arc<App>>, Json(Ids { ids }): Json<Ids>) -> Result<Response, Fault> {
    check_count("ids", ids.len(), app.limits.items)?;
    let documents: Vec<Value> = with_database(&app, move |database| database.documents(&ids)).await?;
    // How large they are nobody knows, but large if they are many.
    let size = documents.len() * BYTES_OF_DOCUMENT;
    json_of_size(value!({ "documents": documents }), size).await
}

/// `POST /documents`.
pub async fn add(
    State(app): State<Arc<App>>,
    _: Writable,
    share: Share,
    Json(Documents { documents }): Json<Documents>,
) -> Result<Response, Fault> {
    check_count("documents", documents.len(), app.limits.items)?;
    change(&app, share, Change::Add(documents)).await
}

/// `PUT /documents`.
pub async fn upsert(
    State(app): State<Arc<App>>,
    _: Writable,
    share: Share,
    Json(Documents { documents }): Json<Documents>,
) -> Result<Response, Fault> {
    check_count("documents", documents.len(), app.limits.items)?;
    change(&app, share, Change::Upsert(documents)).await
}

/// `DELETE /documents/{id}`.
pub async fn delete_one(
    State(app): State<Arc<App>>,
    _: Writable,
    share: Share,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Fault> {
    change(&app, share, Change::Delete(vec![id_of(id)?])).await
}

/// `POST /delete`.
pub async fn delete_many(
    State(app): State<Arc<App>>,
    _: Writable,
    share: Share,
    Json(which): Json<Which>,
) -> Result<Response, Fault> {
    let asked = match (which.ids, which.filter) {
        (Some(ids), None) => {
            check_count("ids", ids.len(), app.limits.items)?;
            Change::Delete(ids)
        }
        (None, Some(filter)) => Change::DeleteMatching(filter),
        _ => return Err(Fault::invalid("send the list `ids` or the string `filter`, one of them")),
    };
    change(&app, share, asked).await
}
