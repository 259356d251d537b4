//! How a set asks its shards: all of them at once, and what they answer becomes one answer.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use secateur_index::bm25::Bm25Statistics;

use super::set::ShardSet;
use super::shard::{MissingShard, Shard, in_shard};
use crate::database::encode;
use crate::error::{Error, Result, message_with_causes};
use crate::search::{Asked, Hit, Ranking, SearchMode, SearchParams, SearchTimes, Words};
use crate::shard_error::ShardError;

impl ShardSet {
    /// The merged rankings of each query, not fused yet, and how long they took.
    pub(super) fn rankings(
        &self,
        queries: &[&str],
        params: &SearchParams,
    ) -> Result<(Vec<Ranking>, SearchTimes)> {
        let mut times = SearchTimes::default();
        let mode = self.mode(params);
        let vectors = match mode {
            SearchMode::Bm25 => None,
            SearchMode::Dense | SearchMode::Hybrid => {
                Some(encode(self.query_encoder()?, queries, &mut times)?)
            }
        };
        let start = Instant::now();
        let statistics = match mode {
            SearchMode::Dense => None,
            SearchMode::Bm25 | SearchMode::Hybrid => Some(self.statistics(queries)?),
        };
        if statistics.is_some() {
            times.bm25 = start.elapsed();
        }
        let words = statistics.as_ref().map(|given| Words { queries, statistics: Some(given) });
        let completes = params.completes(mode, self.encoder().map(Arc::as_ref));
        let asked = Asked { vectors: vectors.as_deref(), words, k: params.depth_in(mode), completes, params };
        let rankings = self.asked(&asked, queries.len(), &mut times)?;
        Ok((rankings, times))
    }

    /// The statistics of all shards for the terms of queries. Shards are asked for those terms only that no query had
    /// before.
    fn statistics(&self, queries: &[&str]) -> Result<Bm25Statistics> {
        let analyzer = self.analyzer();
        let mut terms: Vec<String> = queries.iter().flat_map(|query| analyzer.analyze(query)).collect();
        terms.sort_unstable();
        terms.dedup();
        // Not locked while shards are asked: the pool's threads may take up another search while they wait.
        let known = self.known.of(&terms);
        let is_known =
            |term: &&str| known.as_ref().is_some_and(|known| known.document_frequencies.contains_key(*term));
        let all = || terms.iter().map(String::as_str);
        let missing: Vec<&str> = all().filter(|term| !is_known(term)).collect();
        if let Some(known) = known.clone().filter(|_| missing.is_empty()) {
            return Ok(known);
        }
        // What is known is of all shards. Where some may be left out, all that is summed up is of the same ones.
        let (asked, known) = match self.missing {
            Some(_) => (all().collect(), None),
            None => (missing, known),
        };
        let answers = self.each(|shard| {
            let found = shard.statistics(&asked)?;
            let got = asked.iter().filter(|term| found.document_frequencies.contains_key(**term)).count();
            check_count("term", asked.len(), got)?;
            Ok(found)
        })?;
        let mut sum = Bm25Statistics::default();
        answers.iter().for_each(|(_, statistics)| sum.add(statistics));
        if answers.len() == self.shards.len() {
            self.known.keep(&sum);
        }
        sum.document_frequencies.extend(known.map(|known| known.document_frequencies).unwrap_or_default());
        Ok(sum)
    }

    /// Asks all shards, and merges what they answer to each query.
    pub(super) fn asked(
        &self,
        asked: &Asked<'_>,
        num_queries: usize,
        times: &mut SearchTimes,
    ) -> Result<Vec<Ranking>> {
        let found = self.each(|shard| {
            let (rankings, took) = shard.search(asked)?;
            check_count("query", num_queries, rankings.len())?;
            let is_asked = [asked.vectors.is_some(), asked.words.is_some()];
            for ranking in &rankings {
                for (hits, is_asked) in [&ranking.dense, &ranking.bm25].into_iter().zip(is_asked) {
                    let most = if asked.completes { asked.k.saturating_mul(2) } else { asked.k };
                    check_hits(hits.as_deref(), is_asked, most)?;
                }
            }
            Ok((rankings, took))
        })?;
        let (mut answers, mut numbers) = (Vec::new(), Vec::new());
        let mut longest = SearchTimes::default();
        for (number, (rankings, took)) in found {
            longest.filter = longest.filter.max(took.filter);
            longest.dense = longest.dense.max(took.dense);
            longest.bm25 = longest.bm25.max(took.bm25);
            numbers.push(number);
            answers.push(rankings.into_iter());
        }
        // Shards that are elsewhere may say anything.
        times.filter = times.filter.saturating_add(longest.filter);
        times.dense = times.dense.saturating_add(longest.dense);
        times.bm25 = times.bm25.saturating_add(longest.bm25);
        let start = Instant::now();
        let merged = |_| {
            let rankings: Vec<Ranking> = answers.iter_mut().filter_map(Iterator::next).collect();
            if !self.is_compared {
                check_ids(&numbers, &rankings)?;
            }
            Ok::<_, Error>(Ranking::merged(rankings, asked.k, asked.completes))
        };
        let rankings = (0..num_queries).map(merged).collect();
        times.fuse += start.elapsed();
        rankings
    }

    /// Asks each shard about so many things, and gets an answer to each of them.
    pub(super) fn each_of<T: Send>(
        &self,
        what: &'static str,
        count: usize,
        ask: impl Fn(&dyn Shard) -> Result<Vec<T>> + Sync,
    ) -> Result<Vec<(usize, Vec<T>)>> {
        self.each(|shard| {
            let answers = ask(shard)?;
            check_count(what, count, answers.len())?;
            Ok(answers)
        })
    }

    /// Asks each shard the same, at once; the answers in their order with the numbers of the shards, or the first error
    /// in their order.
    pub(super) fn each<T: Send>(
        &self,
        ask: impl Fn(&dyn Shard) -> Result<T> + Sync,
    ) -> Result<Vec<(usize, T)>> {
        let missing = self.missing_now();
        let numbers: Vec<usize> =
            (0..self.shards.len()).filter(|number| !missing.contains_key(number)).collect();
        let answers: Vec<Mutex<Option<Result<T>>>> = numbers.iter().map(|_| Mutex::new(None)).collect();
        self.fan_out.each(numbers.len(), &|place| {
            let answer = ask(&*self.shards[numbers[place]]);
            *answers[place].lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        });
        let mut given = Vec::with_capacity(numbers.len());
        for (number, answer) in numbers.into_iter().zip(answers) {
            let answer = answer.into_inner().unwrap_or_else(PoisonError::into_inner);
            // Whoever fans out may have left it out.
            match answer.unwrap_or_else(|| ask(&*self.shards[number])) {
                Ok(answer) => given.push((number, answer)),
                Err(error) => self.not_answered(number, error)?,
            }
        }
        match self.missing_now().into_values().next().filter(|_| given.is_empty()) {
            None => Ok(given),
            Some(MissingShard { shard, place, problem }) => Err(ShardError::NoneAnswered {
                num_shards: self.shards.len(),
                first: format!("shard {shard} ({place}): {problem}"),
            }
            .into()),
        }
    }

    /// A shard gave no answer: it is left out from now on, or that is an error. What is wrong with the question is one
    /// in any case.
    fn not_answered(&self, number: usize, error: Error) -> Result<()> {
        use secateur_files::ErrorKind::{Database, System};
        let is_moved = matches!(&error, Error::Shards(error) if error.is_moved());
        match &self.missing {
            Some(missing) if !is_moved && matches!(error.kind(), System | Database) => {
                let (place, problem) = (self.shards[number].place(), message_with_causes(&error));
                let gone = MissingShard { shard: number, place, problem };
                missing.lock().unwrap_or_else(PoisonError::into_inner).insert(number, gone);
                Ok(())
            }
            _ => Err(self.failed(number, error)),
        }
    }

    /// The shards that are left out.
    pub(super) fn missing_now(&self) -> BTreeMap<usize, MissingShard> {
        let missing = self.missing.as_ref();
        missing.map(|list| list.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }

    pub(super) fn failed(&self, shard: usize, error: Error) -> Error {
        in_shard(shard, self.shards[shard].place(), error)
    }
}

fn check_count(what: &'static str, expected: usize, got: usize) -> Result<()> {
    match got == expected {
        true => Ok(()),
        false => Err(ShardError::Answers { what, expected, got }.into()),
    }
}

/// Refuses hits that were not asked for, more than were, and those out of order.
fn check_hits(hits: Option<&[Hit]>, is_asked: bool, k: usize) -> Result<()> {
    let problem = match hits {
        None if is_asked => "there are no hits of an index that was asked",
        Some(_) if !is_asked => "there are hits of an index that was not asked",
        Some(hits) if hits.len() > k => "there are more hits than were asked for",
        // NaN is in no order.
        Some(hits) if !hits.is_sorted_by(|a, b| a.score >= b.score) => "hits are not sorted by their scores",
        _ => return Ok(()),
    };
    Err(ShardError::WrongAnswer { problem: problem.to_owned() }.into())
}

/// Refuses hits of two shards with one id. `numbers` are those of the shards.
fn check_ids(numbers: &[usize], rankings: &[Ranking]) -> Result<()> {
    let mut shard_of: HashMap<&str, usize> = HashMap::new();
    for (number, ranking) in numbers.iter().zip(rankings) {
        for hit in ranking.dense.iter().chain(&ranking.bm25).flatten() {
            let first = *shard_of.entry(&hit.doc_id).or_insert(*number);
            if first != *number {
                let (id, second) = (hit.doc_id.clone(), *number);
                return Err(ShardError::SameDocument { id, first, second }.into());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(scores: &[f64]) -> Vec<Hit> {
        (0..)
            .zip(scores)
            .map(|(number, score): (usize, _)| Hit { doc_id: number.to_string(), score: *score })
            .collect()
    }

    #[test]
    fn hits_are_those_that_were_asked_for() {
        for (given, is_asked, k, is_right) in [
            (Some(&[2.0, 2.0, 1.0][..]), true, 3, true),
            (Some(&[]), true, 0, true),
            (Some(&[f64::INFINITY, 0.0, -0.0]), true, 5, true),
            (None, false, 3, true),
            (None, true, 3, false),
            (Some(&[]), false, 3, false),
            (Some(&[2.0, 1.0]), true, 1, false),
            (Some(&[1.0, 2.0]), true, 3, false),
            (Some(&[1.0, f64::NAN]), true, 3, false),
        ] {
            let given = given.map(hits);
            assert_eq!(check_hits(given.as_deref(), is_asked, k).is_ok(), is_right, "{given:?}");
        }
    }

    #[test]
    fn one_id_in_two_shards_is_refused() {
        let of = |ids: &[&str]| {
            let hit = |id: &&str| Hit { doc_id: (*id).to_owned(), score: 1.0 };
            Ranking { dense: None, bm25: Some(ids.iter().map(hit).collect()) }
        };
        check_ids(&[0, 2], &[of(&["a", "b"]), of(&["c"])]).unwrap();
        let error = check_ids(&[0, 2], &[of(&["a", "b"]), of(&["c", "b"])]).unwrap_err().to_string();
        assert!(error.contains("\"b\" is in shard 0 and in shard 2"), "{error}");
    }
}
