//! Models and a database that are none, but slow or wrong when told to be.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use secateur_serve::{
    Change, Changed, Collection, Embedder, EmbedderFacts, Fault, FoundHit, Kind, Listed, Scorer,
    SearchAnswer, SearchRequest, Span,
};
use secateur_wire::{ShardAnswer, ShardAsk, ShardContains, ShardReply, SnapshotId};
use serde_json::{Value, json};

/// Tokens are characters, and a vector says how many there are, which is the first and whether it is of a query.
pub struct Letters {
    facts: EmbedderFacts,
    /// Held to make it slow.
    pub gate: Mutex<()>,
}

impl Letters {
    pub fn new() -> Arc<Letters> {
        let facts = EmbedderFacts {
            name: "letters".to_owned(),
            fingerprint: "0".repeat(64),
            dim: 3,
            max_tokens: 8,
            vocabulary: 0x110000,
            normalizes: false,
            pooling: "mean".to_owned(),
            precision: "f32".to_owned(),
        };
        Arc::new(Letters { facts, gate: Mutex::new(()) })
    }
}

impl Embedder for Letters {
    fn facts(&self) -> &EmbedderFacts {
        &self.facts
    }

    fn tokenize(&self, texts: &[&str], _: Kind) -> Result<Vec<Vec<u32>>, Fault> {
        Ok(texts.iter().map(|text| text.chars().take(8).map(u32::from).collect()).collect())
    }

    fn is_cut(&self, text: &str, _: Kind, tokens: &[u32]) -> Result<bool, Fault> {
        Ok(text.chars().count() > tokens.len())
    }

    fn embed(&self, tokens: &[Vec<u32>], kind: Kind) -> Result<Vec<f32>, Fault> {
        drop(self.gate.lock());
        if tokens.iter().any(|text| text[0] == u32::from('!')) {
            return Err(Fault::internal("a text begins with !"));
        }
        let is_query = f32::from(u8::from(kind == Kind::Query));
        Ok(tokens.iter().flat_map(|text| [text.len() as f32, text[0] as f32, is_query]).collect())
    }
}

/// Longer passages are better.
pub struct Lengths;

impl Scorer for Lengths {
    fn name(&self) -> &str {
        "lengths"
    }

    fn max_tokens(&self) -> usize {
        100
    }

    fn score(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>, Fault> {
        Ok(pairs.iter().map(|(_, passage)| passage.len() as f32 / 10.0).collect())
    }
}

/// Documents that are found if the query is a part of them. Its generation "other" must be loaded before; "broken"
/// cannot be.
pub struct Shelf {
    documents: Mutex<(BTreeMap<String, String>, u64)>,
    /// Held to make loading slow.
    pub gate: Mutex<()>,
    /// How often "other" was loaded.
    pub loads: AtomicUsize,
}

impl Shelf {
    pub fn new() -> Arc<Shelf> {
        let documents = [("a", "one rose"), ("b", "two roses and more"), ("c/d", "bread")];
        let documents = documents.map(|(id, text)| (id.to_owned(), text.to_owned())).into();
        let documents = Mutex::new((documents, 1));
        Arc::new(Shelf { documents, gate: Mutex::new(()), loads: AtomicUsize::new(0) })
    }
}

impl Collection for Shelf {
    fn embedder(&self) -> Option<Arc<dyn Embedder>> {
        None
    }

    fn is_loaded(&self, generation: &str) -> bool {
        match generation {
            "other" => self.loads.load(Ordering::Relaxed) > 0,
            generation => generation != "broken",
        }
    }

    fn load(&self, generation: &str) -> Result<(), Fault> {
        drop(self.gate.lock());
        if generation == "broken" {
            return Err(Fault::internal("/srv/secret/model.safetensors is damaged"));
        }
        self.loads.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn search(&self, requests: &[SearchRequest]) -> Vec<Result<SearchAnswer, Fault>> {
        let (documents, commit) = &*self.documents.lock().unwrap();
        let answer = |request: &SearchRequest| {
            if let Some(name) = request.generation.as_ref().filter(|name| !self.is_loaded(name)) {
                return Err(Fault::internal(format!("{name} is not loaded")));
            }
            let query = request.query.clone().unwrap_or_default();
            let found = documents.iter().filter(|(_, text)| text.contains(&query));
            let hit = |(id, text): (&String, &String)| FoundHit {
                doc_id: id.clone(),
                score: 1.0,
                title: String::new(),
                text: text.clone(),
                metadata: Value::Null,
                passage: None,
                title_spans: Vec::new(),
                snippet: vec![Span { text: text.clone(), marked: false }],
                dense: None,
                bm25: None,
                read: text.clone(),
            };
            Ok(SearchAnswer {
                hits: found.map(hit).take(request.k.unwrap()).collect(),
                query: Some(query),
                mode: "bm25".to_owned(),
                generation: request.generation.clone(),
                commit: *commit,
            })
        };
        requests.iter().map(answer).collect()
    }

    fn documents(&self, ids: &[String]) -> Result<Vec<Value>, Fault> {
        let (documents, _) = &*self.documents.lock().unwrap();
        Ok(ids
            .iter()
            .map(|id| documents.get(id).map_or(Value::Null, |text| json!({"id": id, "text": text})))
            .collect())
    }

    fn list(&self, filter: Option<&str>, start: usize, count: usize) -> Result<Listed, Fault> {
        if let Some(filter) = filter {
            return Err(Fault::invalid_field("filter", filter));
        }
        let (documents, commit) = &*self.documents.lock().unwrap();
        let part = documents.iter().skip(start).take(count);
        Ok(Listed {
            documents: part.map(|(id, text)| json!({"id": id, "text": text})).collect(),
            total: documents.len(),
            commit: *commit,
        })
    }

    fn generations(&self) -> Value {
        json!([])
    }

    fn info(&self) -> Result<Value, Fault> {
        Ok(json!({"documents": self.documents.lock().unwrap().0.len()}))
    }

    fn change(&self, change: Change) -> Result<Changed, Fault> {
        let (documents, commit) = &mut *self.documents.lock().unwrap();
        let mut changed = Changed::default();
        match change {
            Change::Add(new) => {
                if let Some(taken) = new.iter().find(|document| documents.contains_key(&document.id)) {
                    return Err(Fault::conflict(format!("{} is there", taken.id)));
                }
                changed.added = new.len();
                documents.extend(new.into_iter().map(|document| (document.id, document.text)));
            }
            Change::Upsert(new) => {
                for document in new {
                    changed.replaced += usize::from(documents.insert(document.id, document.text).is_some());
                }
            }
            Change::Delete(ids) => {
                for id in ids {
                    let gone = documents.remove(&id);
                    gone.ok_or_else(|| Fault::not_found(format!("no document has the id {id:?}")))?;
                    changed.deleted += 1;
                }
            }
            Change::DeleteMatching(filter) => return Err(Fault::invalid_field("filter", filter)),
        }
        *commit += 1;
        Ok(Changed { documents: documents.len(), commit: *commit, ..changed })
    }

    fn shard(
        &self,
        generation: Option<&str>,
        snapshot: Option<&SnapshotId>,
        ask: &ShardAsk,
    ) -> Result<ShardReply<ShardAnswer>, Fault> {
        let (documents, commit) = &*self.documents.lock().unwrap();
        let (checksum, generation) = ("01234567".to_owned(), generation.map(str::to_owned));
        let now = SnapshotId { commit: *commit, checksum, generation };
        if snapshot.is_some_and(|asked| *asked != now) {
            return Err(Fault::moved(format!("it is at commit {commit}")));
        }
        let answer = match ask {
            ShardAsk::Facts => ShardAnswer::Facts(json!({"documents": documents.len()})),
            ShardAsk::Contains(asked) => {
                let found = asked.ids.iter().map(|id| documents.contains_key(id)).collect();
                ShardAnswer::Contains(ShardContains { found })
            }
            other => return Err(Fault::invalid(format!("{other:?} came through"))),
        };
        Ok(ShardReply { snapshot: now, answer })
    }

    fn refresh(&self) -> Result<bool, Fault> {
        Ok(false)
    }
}
