//! What can go wrong in evaluation.

/// Why a run could not be evaluated, or a measure or rule set not be read.
///
/// ```
/// use secateur::eval::Measure;
///
/// let error = "accuracy".parse::<Measure>().unwrap_err();
/// assert!(error.to_string().contains("nDCG@k"), "{error}");
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A score that is not finite, so it has no place in a ranking.
    #[error(
        "query {query_id:?}: document {doc_id:?} has the score {score}, expected a finite number; \
         look for a division by zero in the system that wrote the run"
    )]
    NonFiniteScore {
        /// The query whose list holds the score.
        query_id: String,
        /// The document it was given to.
        doc_id: String,
        /// NaN or an infinity.
        score: f64,
    },

    /// A query's list holds a document twice, which would count its relevance twice.
    #[error(
        "query {query_id:?}: document {doc_id:?} is in the list more than once; keep its best score only"
    )]
    DuplicateDocument {
        /// The query whose list holds the document.
        query_id: String,
        /// The repeated document.
        doc_id: String,
    },

    /// A run names a document that the corpus lacks.
    #[error(
        "query {query_id:?}: the run names document {doc_id:?}, which the corpus does not hold; \
         check that the run was made on this data set"
    )]
    UnknownDocument {
        /// The query whose list holds the document.
        query_id: String,
        /// The document that is not in the corpus.
        doc_id: String,
    },

    /// A run names a query that the data set lacks.
    #[error(
        "the run names query {query_id:?}, which the data set does not hold; \
         check that the run was made on this data set"
    )]
    UnknownQuery {
        /// The query that is not in the data set.
        query_id: String,
    },

    /// There is nothing to evaluate against.
    #[error(
        "no query has a judgment; check that the split of the data set is the one that holds its judgments"
    )]
    NoJudgments,

    /// Run and judgments are about different queries.
    #[error(
        "the run has none of the judged queries: {judged} are judged (the first is {first_judged:?}), {in_run} are in \
         the run{}; check that both are of the same split",
        first(first_in_run)
    )]
    NoCommonQueries {
        /// How many queries have judgments.
        judged: usize,
        /// The first of them in byte order.
        first_judged: String,
        /// How many queries the run has.
        in_run: usize,
        /// The first of them in byte order.
        first_in_run: Option<String>,
    },

    /// No measure has this name.
    #[error(
        "unknown measure {text:?}: expected nDCG@k, Recall@k, P@k, MAP, MAP@k, MRR or MRR@k with a cutoff k, \
         such as nDCG@10"
    )]
    UnknownMeasure {
        /// What was given.
        text: String,
    },

    /// The measure exists only at a cutoff, and none was given.
    #[error("measure {text:?} needs a cutoff: write {text}@10, for instance")]
    MissingCutoff {
        /// What was given.
        text: String,
    },

    /// What follows the `@` of a measure is not a cutoff.
    #[error("measure {text:?}: the cutoff after @ must be a whole number, 1 or more")]
    InvalidCutoff {
        /// What was given.
        text: String,
    },

    /// No rule set has this name.
    #[error("unknown rule set {text:?}: expected trec_eval, trec_eval-9, beir or mteb")]
    UnknownRuleSet {
        /// What was given.
        text: String,
    },
}

fn first(query_id: &Option<String>) -> String {
    query_id.as_ref().map(|query_id| format!(" (the first is {query_id:?})")).unwrap_or_default()
}
