//! What a transformer looks like, apart from its weights.

use super::Rotary;

/// A transformer's shape: sizes, and what each layer keeps. Every family is a value of this type.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// `model_type` of the config.json.
    pub family: &'static str,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// D
    pub hidden_size: usize,
    /// How tokens learn where they are.
    pub positions: Positions,
    /// Multiplies the token embeddings.
    pub embedding_scale: f32,
    /// The attention of every layer that has one.
    pub attention: AttentionShape,
    /// The non-linearity of the MLPs.
    pub activation: Activation,
    /// The kind of the normalizations.
    pub norm: NormKind,
    /// eps of the normalizations.
    pub norm_eps: f32,
    /// Which linear layers add a bias.
    pub biases: Biases,
    /// What each layer keeps, in the checkpoint's numbering.
    pub layers: Vec<LayerShape>,
}

/// How tokens learn where they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Positions {
    /// A learned vector for each position, added to the token's embedding.
    Learned {
        /// Rows of the table.
        table_rows: usize,
        /// The row of the first token.
        first: usize,
        /// Rows of the table of token types. If there are two, the second text of a pair has type 1.
        token_types: usize,
    },
    /// Queries and keys are turned in each attention: [`LayerAttention::rotary`].
    Rotary {
        /// The longest text that the model is made for, in tokens.
        max_tokens: usize,
    },
}

/// The kind of a model's normalizations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NormKind {
    /// Mean and variance (Ba, Kiros & Hinton 2016).
    Layer {
        /// Whether a bias is added.
        bias: bool,
    },
    /// Mean square (Zhang & Sennrich 2019).
    Rms {
        /// Added to the stored weight: Gemma stores its difference from one.
        offset: f32,
    },
}

/// Which linear layers add a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Biases {
    /// The query, key and value projections.
    pub query_key_value: bool,
    /// The projection of the context.
    pub attention_output: bool,
    /// The layers of the MLP.
    pub mlp: bool,
}

/// What a layer keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerShape {
    /// Its attention sub-layer, or none if that is dropped.
    pub attention: Option<LayerAttention>,
    /// The width of its MLP, or none if the MLP is dropped.
    pub intermediate_size: Option<usize>,
}

/// What may differ between the attentions of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerAttention {
    /// w, if token i sees token j only where |i - j| <= w.
    pub window: Option<usize>,
    /// How queries and keys are turned.
    pub rotary: Option<Rotary>,
}

impl Architecture {
    /// How many types of tokens it tells apart.
    pub fn token_types(&self) -> usize {
        match self.positions {
            Positions::Learned { token_types, .. } => token_types,
            Positions::Rotary { .. } => 1,
        }
    }

    /// The most tokens a text may have, where the model sets a limit.
    pub fn max_tokens(&self) -> Option<usize> {
        match self.positions {
            Positions::Learned { table_rows, first, .. } => Some(table_rows - first),
            Positions::Rotary { max_tokens } => Some(max_tokens),
        }
    }
}

impl Architecture {
    /// The longest text whose angles are those of all shorter ones, where longer texts have others.
    pub(crate) fn angles_same_until(&self) -> Option<usize> {
        let rotaries = self.layers.iter().filter_map(|layer| layer.attention.as_ref()?.rotary.as_ref());
        rotaries.filter_map(Rotary::same_until).min()
    }
}

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

/// A sub-layer of a layer, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubLayer {
    /// The attention.
    Attention,
    /// The MLP.
    Mlp,
    /// Both: the whole block.
    Block,
}

impl SubLayer {
    /// All of them.
    pub const ALL: [SubLayer; 3] = [SubLayer::Attention, SubLayer::Mlp, SubLayer::Block];

    /// "attention", "MLP" or "block".
    pub fn name(self) -> &'static str {
        match self {
            SubLayer::Attention => "attention",
            SubLayer::Mlp => "MLP",
            SubLayer::Block => "block",
        }
    }
}
