//! What a text is: its prompt and its length go by that.

use serde::{Deserialize, Serialize};

/// Whether a text asks or answers: models may put different prompts before the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextKind {
    /// A query.
    Query,
    /// A document, or a part of one.
    Passage,
}
