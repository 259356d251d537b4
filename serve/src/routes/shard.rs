//! A database as a shard of a set, for who searches all of them. Nothing is changed here.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use secateur_wire::{
    ShardAnswer, ShardAsk, ShardExact, ShardFilter, ShardIds, ShardInfo, ShardLimits, ShardNearest,
    ShardNothing, ShardOpening, ShardQuestion, ShardReply, ShardSearch, ShardTerms,
};

use super::search::{load, most_besides};
use crate::app::{App, Question};
use crate::body::{Json, json_of_size};
use crate::budget::Share;
use crate::fault::Fault;
use crate::input::{check_count, check_query};

/// Queries times hits that are answered together: some megabytes of ids and scores.
const HITS: usize = 1 << 17;

/// Queries that are answered together. What is begun is ended even if nobody waits any more, so it is to be short.
const QUERIES: usize = 64;

type Asked<T> = Json<ShardQuestion<T>>;

/// `POST /shard/info`.
pub async fn info(
    State(app): State<Arc<App>>,
    share: Share,
    Json(ShardOpening { generation }): Json<ShardOpening>,
) -> Result<Response, Fault> {
    let question = Question { generation, snapshot: None, ask: ShardAsk::Facts };
    let ShardReply { snapshot, answer } = replied(&app, share, question).await?;
    let limits = ShardLimits {
        items: app.limits.items,
        queries: QUERIES.min(app.limits.items),
        hits_of_query: most_besides(app.limits.hits),
        hits: HITS,
        body_bytes: app.limits.body_bytes,
    };
    let answer = match answer {
        ShardAnswer::Facts(facts) => ShardAnswer::Info(ShardInfo { facts, limits }),
        other => other,
    };
    json_of_size(ShardReply { snapshot, answer }, 0).await
}

/// `POST /shard/statistics`.
pub async fn statistics(
    State(app): State<Arc<App>>,
    share: Share,
    Json(question): Asked<ShardTerms>,
) -> Result<Response, Fault> {
    check_count("terms", question.ask.terms.len(), app.limits.items)?;
    answered(&app, share, question.map(ShardAsk::Statistics)).await
}

/// `POST /shard/search`.
pub async fn search(
    State(app): State<Arc<App>>,
    share: Share,
    Json(question): Asked<ShardSearch>,
) -> Result<Response, Fault> {
    let ask = &question.ask;
    let counts = [ask.vectors.as_ref().map(Vec::len), ask.queries.as_ref().map(Vec::len)];
    let count = match counts {
        [None, None] => return Err(Fault::invalid_field("vectors", "send vectors, queries or both")),
        [Some(vectors), Some(queries)] if vectors != queries => {
            let problem =
                format!("their number is {vectors}, and that of queries {queries}: send one for each");
            return Err(Fault::invalid_field("vectors", problem));
        }
        [first, second] => first.or(second).unwrap_or_default(),
    };
    if ask.queries.is_some() != ask.statistics.is_some() {
        return Err(Fault::invalid_field("statistics", "they go with queries: send both, or neither"));
    }
    check(&app, count, ask.k)?;
    ask.queries.iter().flatten().try_for_each(|query| check_query(query))?;
    let most = most_besides(app.limits.hits);
    if let Some(ef) = ask.ef.filter(|ef| !(1..=most).contains(ef)) {
        let problem = format!(
            "{ef} is not in 1 to {most}: ask for fewer, or start the server with a larger --max-hits"
        );
        return Err(Fault::invalid_field("ef", problem));
    }
    answered(&app, share, question.map(ShardAsk::Search)).await
}

/// `POST /shard/exact`.
pub async fn exact(
    State(app): State<Arc<App>>,
    share: Share,
    Json(question): Asked<ShardExact>,
) -> Result<Response, Fault> {
    check(&app, question.ask.vectors.len(), question.ask.k)?;
    answered(&app, share, question.map(ShardAsk::Exact)).await
}

/// `POST /shard/documents`.
pub async fn documents(
    State(app): State<Arc<App>>,
    share: Share,
    Json(question): Asked<ShardIds>,
) -> Result<Response, Fault> {
    check_count("ids", question.ask.ids.len(), app.limits.items)?;
    answered(&app, share, question.map(ShardAsk::Documents)).await
}

/// `POST /shard/contains`.
pub async fn contains(
    State(app): State<Arc<App>>,
    share: Share,
    Json(question): Asked<ShardIds>,
) -> Result<Response, Fault> {
    check_count("ids", question.ask.ids.len(), app.limits.items)?;
    answered(&app, share, question.map(ShardAsk::Contains)).await
}

/// `POST /shard/passages`.
pub async fn passages(
    State(app): State<Arc<App>>,
    share: Share,
    Json(question): Asked<ShardNearest>,
) -> Result<Response, Fault> {
    check_count("ids", question.ask.ids.len(), app.limits.items)?;
    answered(&app, share, question.map(ShardAsk::Passages)).await
}

/// `POST /shard/filter`.
pub async fn filter(
    State(app): State<Arc<App>>,
    share: Share,
    Json(question): Asked<ShardFilter>,
) -> Result<Response, Fault> {
    answered(&app, share, question.map(ShardAsk::Filter)).await
}

/// `POST /shard/fields`.
pub async fn fields(
    State(app): State<Arc<App>>,
    share: Share,
    Json(question): Asked<ShardNothing>,
) -> Result<Response, Fault> {
    answered(&app, share, question.map(|ShardNothing {}| ShardAsk::Fields)).await
}

/// Refuses more queries, or more hits, than are answered together.
fn check(app: &App, count: usize, k: usize) -> Result<(), Fault> {
    check_count("vectors", count, app.limits.items.min(QUERIES))?;
    let most = most_besides(app.limits.hits);
    if k > most {
        let problem =
            format!("{k} is more than {most}: ask for fewer, or start the server with a larger --max-hits");
        return Err(Fault::invalid_field("k", problem));
    }
    if count > 1 && count.saturating_mul(k) > HITS {
        let problem = format!("{count} queries of {k} hits are more than {HITS} hits: send them in parts");
        return Err(Fault::invalid_field("k", problem));
    }
    Ok(())
}

async fn answered(app: &App, share: Share, question: ShardQuestion<ShardAsk>) -> Result<Response, Fault> {
    let ShardQuestion { snapshot, ask } = question;
    let question = Question { generation: snapshot.generation.clone(), snapshot: Some(snapshot), ask };
    let reply = replied(app, share, question).await?;
    let size = reply.answer.num_bytes();
    json_of_size(reply, size).await
}

async fn replied(app: &App, share: Share, question: Question) -> Result<ShardReply<ShardAnswer>, Fault> {
    let database = app.database()?;
    let Some(sharing) = &app.sharing else { return Err(Fault::internal("no thread answers for a shard")) };
    if let Some(name) = &question.generation {
        load(app, database, name).await?;
    }
    let room = sharing.admit(question.ask.num_items())?.with(share);
    let mut replies = sharing.compute(room, vec![question], app.limits.timeout).await?;
    replies.pop().ok_or_else(|| Fault::internal("the shard gave no answer"))
}
