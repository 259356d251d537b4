//! The tokens that are looked for in a text before it is cut into words: special ones, and others that were added.
//!
//! Which they are, and whether they take the spaces around them, is decided as in transformers 5
//! (`PreTrainedTokenizerBase._from_pretrained` and `TokenizersBackend.__init__`). It matters little for usual texts,
//! and much for those that spell such a token out.

use std::collections::BTreeMap;

use tokenizers::{AddedToken, Tokenizer as HuggingFace};

use super::class::Class;
use super::config::{Config, NAMES};
use crate::error::Result;

/// Where tokens come from, and who decides about them.
pub(super) struct AddedTokens<'a> {
    pub(super) config: &'a Config,
    pub(super) class: Class,
    /// Those of tokenizer.json.
    pub(super) of_file: Vec<(u32, AddedToken)>,
    /// Whether the class made the tokenizer, without those of tokenizer.json.
    pub(super) is_made: bool,
    /// Ids of special tokens must be below this: others have no place in the model.
    pub(super) vocab_size: usize,
}

impl AddedTokens<'_> {
    /// Adds the tokens to a tokenizer that has none. The outer error is the library's.
    pub(super) fn add_to(self, inner: &mut HuggingFace) -> tokenizers::Result<Result<()>> {
        let AddedTokens { config, class, of_file, is_made, vocab_size } = self;
        if !is_made {
            inner.add_tokens(of_file.iter().map(|(_, token)| token.clone()))?;
        }
        let known: BTreeMap<u32, AddedToken> = inner.get_added_tokens_decoder().into_iter().collect();
        // What tokenizer_config.json lists holds, and no other list then.
        let listed = match &config.added_tokens {
            Some(listed) => listed.clone(),
            None => config.old_added_tokens.clone().into_iter().chain(of_file).collect(),
        };
        let named: Vec<AddedToken> = NAMES
            .iter()
            .filter_map(|name| match config.named.get(name) {
                Some(given) => given.clone(),
                None => class.token(config, name).map(|token| AddedToken::from(token, true)),
            })
            .collect();
        let is_special = |token: &AddedToken| named.iter().any(|named| named.content == token.content);
        let mut tokens: Vec<AddedToken> = Vec::new();
        for token in listed.values().filter(|token| !known.values().any(|known| known == *token)) {
            tokens.push(AddedToken { special: token.special || is_special(token), ..token.clone() });
        }
        // A token that the vocabulary lacks gets the next id.
        let whole = inner.get_vocab_size(false);
        let mut next = known.keys().max().map_or(whole, |max| whole.max(*max as usize + 1));
        next += tokens.iter().filter(|token| inner.token_to_id(&token.content).is_none()).count();
        for token in named.iter().chain(&config.extra) {
            let mut others = known.values().chain(&tokens);
            if others.any(|other| other.content == token.content) {
                continue;
            }
            let id = inner.token_to_id(&token.content);
            if id.map_or(next, |id| id as usize) < vocab_size {
                tokens.push(token.clone());
                next += usize::from(id.is_none());
            }
        }
        if !tokens.is_empty() {
            inner.add_tokens(tokens)?;
        }
        for (id, token) in listed.iter().filter(|(id, _)| !known.contains_key(*id)) {
            let got = inner.token_to_id(&token.content);
            if got != Some(*id) {
                let got = got.map_or_else(|| "no id".to_owned(), |got| format!("id {got}"));
                return Ok(Err(config.invalid(
                    &format!("added_tokens_decoder.{id}"),
                    format!("{:?}", token.content),
                    &format!("a token that tokenizer.json leaves that id to; it gives it {got}"),
                )));
            }
        }
        // The class adds its special tokens once more, as plain ones.
        if class == Class::Qwen2 {
            let is_there = |token: &&AddedToken| inner.token_to_id(&token.content).is_some();
            let special = named.iter().chain(&config.extra).filter(is_there);
            let plain: Vec<_> = special.map(|token| AddedToken::from(token.content.clone(), true)).collect();
            inner.add_tokens(plain)?;
        }
        Ok(Ok(()))
    }
}
