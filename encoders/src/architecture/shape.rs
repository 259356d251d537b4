//! What sub-layers look like, apart from their weights.

/// The non-linearity of an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x times the normal distribution function (exact, by erf).
    Gelu,
    /// The tanh form of the same.
    GeluTanh,
    /// x times the logistic function.
    Silu,
    /// max(x, 0)
    Relu,
    /// tanh(x), of the heads of cross-encoders.
    Tanh,
}

/// What an attention sub-layer looks like, apart from its weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// H
    pub num_heads: usize,
    /// G; query head h reads key-value head h / (H / G) (Ainslie et al. 2023).
    pub num_key_value_heads: usize,
    /// K
    pub head_dim: usize,
    /// The factor on query-key products, usually 1 / sqrt(K).
    pub scale: f32,
    /// Bounds the scores: c tanh(score / c), before masking and softmax (Gemma Team 2024).
    pub softcap: Option<f32>,
    /// Whether a token sees only itself and earlier ones.
    pub causal: bool,
}

impl AttentionShape {
    /// The heads that queries and keys have together; they come first among the joined columns.
    pub fn num_rotated_heads(&self) -> usize {
        self.num_heads + self.num_key_value_heads
    }

    /// Columns of the joined query, key and value projections: (H + 2 G) K.
    pub fn joined_columns(&self) -> usize {
        (self.num_heads + 2 * self.num_key_value_heads) * self.head_dim
    }
}

/// The linear layers of a layer, by what they read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinearInput {
    /// The projections to queries, keys and values, which read one input.
    QueryKeyValue,
    /// The projection of the context.
    AttentionOutput,
    /// The first layers of the MLP, which read one input.
    MlpInput,
    /// The output layer of the MLP.
    MlpOutput,
}
