//! A database, as the server asks for it.

use std::sync::Arc;

use secateur::index::metadata;
use secateur::report::counted;
use secateur::search::Sides;
use secateur::{Database, Document, Hit, SearchParams};
use secateur_serve::{
    Change, Changed, Collection, Embedder, Fault, Listed, NewDocument, SearchAnswer, SearchRequest,
};
use secateur_wire::{ShardAnswer, ShardAsk, ShardReply, SnapshotId};
use serde_json::{Value, json};

use super::fault;
use super::search::{checked_filter, found, params};
use super::shard;
use super::state::{Current, State, failed};
use crate::cli::info;

/// A database that is served.
pub struct ServedDatabase(pub Current);

/// Searches that are answered together: of one database, with the same parameters.
struct Group<'r> {
    database: Arc<Database>,
    params: SearchParams,
    /// The place of each request in what is asked.
    requests: Vec<(usize, &'r SearchRequest)>,
}

impl Group<'_> {
    /// The hits of each request.
    fn hits(&self) -> secateur::Result<Vec<Vec<(Hit, Sides)>>> {
        let of_vector = |request: &SearchRequest| -> secateur::Result<_> {
            let vector = request.vector.as_deref().unwrap_or_default();
            let hits = self.database.search_vector(vector, &self.params)?;
            Ok(hits.into_iter().map(|hit| (hit, Sides::default())).collect())
        };
        let queries: Vec<&str> =
            self.requests.iter().filter_map(|(_, request)| request.query.as_deref()).collect();
        match queries.is_empty() {
            true => self.requests.iter().map(|(_, request)| of_vector(request)).collect(),
            false => self.database.search_sides(&queries, &self.params),
        }
    }
}

impl ServedDatabase {
    fn answer(&self, group: Group<'_>, answers: &mut [Option<Result<SearchAnswer, Fault>>]) {
        let hits = match group.hits() {
            Ok(hits) => hits,
            Err(error) if group.requests.len() == 1 => {
                answers[group.requests[0].0] = Some(Err(fault::of(&error)));
                return;
            }
            // One request may have spoilt it: each by itself says which.
            Err(_) => {
                for request in group.requests {
                    let (database, params) = (Arc::clone(&group.database), group.params.clone());
                    self.answer(Group { database, params, requests: vec![request] }, answers);
                }
                return;
            }
        };
        let Group { database, params, requests } = group;
        for ((place, request), hits) in requests.into_iter().zip(hits) {
            let answer = found(&database, request, &params, hits).map(|hits| SearchAnswer {
                query: request.query.clone(),
                mode: database.mode(&params).to_string(),
                generation: database.generation_name().map(str::to_owned),
                commit: database.commit_number(),
                hits,
            });
            answers[place] = Some(answer.map_err(|error| fault::of(&error)));
        }
    }

    fn asked(&self, state: &State, request: &SearchRequest) -> Result<(Arc<Database>, SearchParams), Fault> {
        let database = match &request.generation {
            Some(name) => self.0.generation(state, name)?,
            None => Arc::clone(&state.database),
        };
        let params = params(request, &database)?;
        Ok((database, params))
    }
}

impl Collection for ServedDatabase {
    fn embedder(&self) -> Option<Arc<dyn Embedder>> {
        Some(self.0.state().embedder.clone()?)
    }

    fn is_loaded(&self, generation: &str) -> bool {
        self.0.is_loaded(generation)
    }

    fn load(&self, generation: &str) -> Result<(), Fault> {
        self.0.load(generation)
    }

    fn search(&self, requests: &[SearchRequest]) -> Vec<Result<SearchAnswer, Fault>> {
        let state = self.0.state();
        let mut answers: Vec<Option<Result<SearchAnswer, Fault>>> = requests.iter().map(|_| None).collect();
        let mut groups: Vec<Group<'_>> = Vec::new();
        for (place, request) in requests.iter().enumerate() {
            let (database, params) = match self.asked(&state, request) {
                Ok(asked) => asked,
                Err(fault) => {
                    answers[place] = Some(Err(fault));
                    continue;
                }
            };
            let same = groups.iter_mut().find(|group| {
                Arc::ptr_eq(&group.database, &database)
                    && group.params == params
                    && group.requests[0].1.vector.is_some() == request.vector.is_some()
            });
            match same {
                Some(group) => group.requests.push((place, request)),
                None => groups.push(Group { database, params, requests: vec![(place, request)] }),
            }
        }
        for group in groups {
            self.answer(group, &mut answers);
        }
        let missing = || Err(Fault::internal("the database gave no answer"));
        answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect()
    }

    fn documents(&self, ids: &[String]) -> Result<Vec<Value>, Fault> {
        let state = self.0.state();
        let read = |id: &String| -> secateur::Result<Value> {
            state.database.document(id)?.map_or(Ok(Value::Null), |document| document_json(&document))
        };
        ids.iter().map(|id| read(id).map_err(|error| fault::of(&error))).collect()
    }

    fn list(&self, filter: Option<&str>, start: usize, count: usize) -> Result<Listed, Fault> {
        let state = self.0.state();
        let database = &state.database;
        let filter = filter.map(|filter| checked_filter(database, filter)).transpose()?;
        let rows = database.rows(filter.as_ref()).map_err(|error| fault::of(&error))?;
        let part = rows.iter().skip(start).take(count);
        let documents: secateur::Result<Vec<Value>> =
            part.map(|row| document_json(&database.document_at(*row)?)).collect();
        Ok(Listed {
            documents: documents.map_err(|error| fault::of(&error))?,
            total: rows.len(),
            commit: database.commit_number(),
        })
    }

    fn generations(&self) -> Value {
        self.0.state().database.generation_infos().iter().map(info::generation_json).collect()
    }

    fn info(&self) -> Result<Value, Fault> {
        let state = self.0.state();
        if let Some(info) = state.info.get() {
            return Ok(info.clone());
        }
        let info = info::as_json(&state.database.info().map_err(|error| fault::of(&error))?);
        Ok(state.info.get_or_init(|| info).clone())
    }

    fn change(&self, change: Change) -> Result<Changed, Fault> {
        let _turn = self.0.begin();
        let mut database = self.0.latest()?;
        if matches!(change, Change::Add(_) | Change::Upsert(_)) {
            database = database.with_all_encoders(|_, record| self.0.encoder(record)).map_err(failed)?;
        }
        let before = database.len();
        // What fails is dropped with the database, and with it the right to write.
        let mut changed = applied(&mut database, change)?;
        database.commit().map_err(|error| fault::of(&error))?;
        changed.documents = database.len();
        changed.commit = database.commit_number();
        // An id that comes several times in one request is one document.
        changed.added = (changed.documents + changed.deleted).saturating_sub(before);
        self.0.put(database.reader());
        Ok(changed)
    }

    fn shard(
        &self,
        generation: Option<&str>,
        snapshot: Option<&SnapshotId>,
        ask: &ShardAsk,
    ) -> Result<ShardReply<ShardAnswer>, Fault> {
        shard::answered(&self.0, &|| self.refresh(), generation, snapshot, ask)
    }

    fn refresh(&self) -> Result<bool, Fault> {
        let _turn = self.0.begin();
        let latest = self.0.latest()?;
        let before = self.0.state();
        // The generation in use may have changed while encoders of the one before were loaded. Another database may be
        // at the path.
        if latest.sees_the_same(&before.database) {
            return Ok(false);
        }
        self.0.put(latest);
        Ok(true)
    }
}

fn applied(database: &mut Database, change: Change) -> Result<Changed, Fault> {
    let mut changed = Changed::default();
    match change {
        Change::Add(documents) => write(database, documents, false).map(drop)?,
        Change::Upsert(documents) => changed.replaced = write(database, documents, true)?,
        Change::Delete(ids) => {
            changed.deleted = database.delete_all(&ids, false).map_err(|error| fault::of(&error))?;
        }
        Change::DeleteMatching(filter) => {
            let filter = checked_filter(database, &filter)?;
            changed.deleted = database.delete_matching(&filter).map_err(|error| fault::of(&error))?;
        }
    }
    Ok(changed)
}

/// Adds documents, and returns how many replaced others.
fn write(database: &mut Database, documents: Vec<NewDocument>, replace: bool) -> Result<usize, Fault> {
    let dim = database.dim().unwrap_or_default();
    let has_vectors = documents.iter().any(|document| document.vector.is_some());
    let mut vectors = Vec::new();
    let mut taken = Vec::with_capacity(documents.len());
    for NewDocument { id, title, text, metadata, vector } in documents {
        let got = vector.as_ref().map_or(0, Vec::len);
        if has_vectors && database.dim().is_some() && got != dim {
            let got = counted(got, "number");
            let problem =
                format!("the vector of document {id:?} has {got}, those of the database have {dim}");
            return Err(Fault::invalid_field("documents", problem));
        }
        vectors.extend(vector.into_iter().flatten());
        taken.push(Document { id, title, text, metadata });
    }
    let written = match (has_vectors, replace) {
        (false, false) => database.add(&taken).map(|()| 0),
        (false, true) => database.upsert(&taken),
        (true, false) => database.add_with_vectors(&taken, &vectors).map(|()| 0),
        (true, true) => database.upsert_with_vectors(&taken, &vectors),
    };
    written.map_err(|error| fault::of(&error))
}

/// A document, in the shape in which it may come in.
fn document_json(document: &Document) -> secateur::Result<Value> {
    let metadata = metadata::read(&document.id, document.metadata.as_deref())?;
    Ok(json!({ "id": document.id, "title": document.title, "text": document.text, "metadata": metadata }))
}
