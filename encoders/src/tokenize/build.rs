//! Tokenizers from the files that came before tokenizer.json, built as transformers 5 builds them.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::class::Class;
use super::config::Config;
use super::sentencepiece::{self, Piece, Pieces};
use crate::error::{Error, Result};
use crate::json as json_file;
use crate::weights::model_files::ModelFiles;

/// The files that hold the pieces of a sentencepiece model, by the names that classes give them.
const PIECE_FILES: [&str; 3] = ["tokenizer.model", "sentencepiece.bpe.model", "spiece.model"];

/// The JSON of a tokenizer that the library reads.
pub(super) fn build(files: &ModelFiles, class: Class, config: &Config) -> Result<Value> {
    let mut tokenizer = match class {
        Class::Bert => word_pieces(files, class, config)?,
        Class::Roberta | Class::Gpt2 | Class::Qwen2 => byte_pairs(files, class, config)?,
        Class::XlmRoberta | Class::Llama | Class::Gemma | Class::Backend => {
            sentence_pieces(files, class, config)?
        }
    };
    let ids = ids(&tokenizer["model"]["vocab"]);
    if let Some(around) = class.post_processor(config, |token| ids.get(token).copied()) {
        tokenizer["post_processor"] = around;
    }
    Ok(tokenizer)
}

fn ids(vocabulary: &Value) -> HashMap<String, u32> {
    match vocabulary {
        Value::Object(by_token) => by_token
            .iter()
            .filter_map(|(token, id)| Some((token.clone(), u32::try_from(id.as_u64()?).ok()?)))
            .collect(),
        Value::Array(list) => {
            let token = |(id, entry): (usize, &Value)| Some((entry[0].as_str()?.to_owned(), id as u32));
            list.iter().enumerate().filter_map(token).collect()
        }
        _ => HashMap::new(),
    }
}

fn whole(model: Value, normalizer: Option<Value>, pre_tokenizer: Option<Value>) -> Value {
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": null,
        "decoder": null,
        "model": model,
    })
}

fn text(files: &ModelFiles, file: &'static str, advice: &'static str) -> Result<String> {
    let Some(bytes) = files.read(file)? else {
        return Err(Error::MissingFile { directory: files.directory(), file, advice });
    };
    let path = files.path(file);
    json_file::refuse_pointer(&path, &bytes)?;
    String::from_utf8(bytes.into_owned()).map_err(|source| Error::Json { path, source: source.into() })
}

/// vocab.txt: a piece a line, whose number is its id.
fn word_pieces(files: &ModelFiles, class: Class, config: &Config) -> Result<Value> {
    let lines = text(files, "vocab.txt", "fetch vocab.txt or tokenizer.json from the model's repository")?;
    let mut vocabulary = Map::new();
    for (id, line) in lines.lines().enumerate() {
        vocabulary.insert(line.trim_end().to_owned(), id.into());
    }
    let model = json!({
        "type": "WordPiece",
        "unk_token": class.token(config, "unk_token"),
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": vocabulary,
    });
    Ok(whole(model, class.normalizer(config, None), class.pre_tokenizer(config)))
}

/// vocab.json, ids by piece, and merges.txt, two pieces a line in the order in which they are joined.
fn byte_pairs(files: &ModelFiles, class: Class, config: &Config) -> Result<Value> {
    let advice = "fetch vocab.json and merges.txt, or tokenizer.json, from the model's repository";
    let Some(vocabulary) = files.json::<Map<String, Value>>("vocab.json")? else {
        return Err(Error::MissingFile { directory: files.directory(), file: "vocab.json", advice });
    };
    let lines = text(files, "merges.txt", advice)?;
    let merges: Vec<Value> = lines
        .lines()
        .filter(|line| !line.starts_with("#version"))
        .filter_map(|line| line.split_once(' ').map(|(left, right)| json!([left, right])))
        .collect();
    let model = json!({
        "type": "BPE",
        "dropout": null,
        "unk_token": null,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": false,
        "byte_fallback": false,
        "vocab": vocabulary,
        "merges": merges,
    });
    Ok(whole(model, class.normalizer(config, None), class.pre_tokenizer(config)))
}

/// A sentencepiece model.
fn sentence_pieces(files: &ModelFiles, class: Class, config: &Config) -> Result<Value> {
    let found = PIECE_FILES.into_iter().find(|file| files.contains(file));
    let Some(file) = found else {
        return Err(Error::MissingFile {
            directory: files.directory(),
            file: "tokenizer.json",
            advice: "fetch it from the model's repository, or write it with transformers' save_pretrained",
        });
    };
    let path = files.path(file);
    let bytes = files.read(file)?.unwrap_or_default();
    json_file::refuse_pointer(&path, &bytes)?;
    let pieces =
        sentencepiece::read(&bytes).map_err(|source| Error::Tokenizer { path, source: source.into() })?;
    let token = |name: &str| class.token(config, name).unwrap_or_default().to_owned();
    match class {
        Class::XlmRoberta => {
            // fairseq's order of the special tokens, and the mask behind all others.
            let first =
                ["bos_token", "pad_token", "eos_token", "unk_token"].map(|name| json!([token(name), 0.0]));
            let others = pieces.list.iter().skip(3).map(|piece| json!([piece.text, piece.score]));
            let mask = json!([token("mask_token"), 0.0]);
            let vocabulary: Vec<Value> = first.into_iter().chain(others).chain([mask]).collect();
            let model = json!({"type": "Unigram", "unk_id": 3, "vocab": vocabulary, "byte_fallback": false});
            let map = pieces.charsmap.as_deref();
            Ok(whole(model, class.normalizer(config, map), class.pre_tokenizer(config)))
        }
        Class::Llama | Class::Gemma => {
            let vocabulary: Map<String, Value> =
                pieces.list.iter().enumerate().map(|(id, piece)| (piece.text.clone(), id.into())).collect();
            let model = json!({
                "type": "BPE",
                "dropout": null,
                "unk_token": if class == Class::Gemma { json!(token("unk_token")) } else { Value::Null },
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": true,
                "byte_fallback": true,
                "merges": merges_by_id(&pieces.list),
                "vocab": vocabulary,
            });
            let mut tokenizer = whole(model, class.normalizer(config, None), class.pre_tokenizer(config));
            tokenizer["added_tokens"] = marked(&pieces);
            Ok(tokenizer)
        }
        _ => {
            let mut tokenizer = as_it_says(&pieces, config);
            tokenizer["added_tokens"] = marked(&pieces);
            Ok(tokenizer)
        }
    }
}

/// Control pieces, which are special, and those that the user defined, which are not.
fn marked(pieces: &Pieces) -> Value {
    let tokens = pieces.list.iter().enumerate().filter(|(_, piece)| matches!(piece.kind, 3 | 4));
    tokens
        .map(|(id, piece)| {
            json!({"id": id, "content": piece.text, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": piece.kind == 3})
        })
        .collect()
}

/// All pairs of pieces that make a piece, in the order of what they make (`generate_merges`).
fn merges_by_id(pieces: &[Piece]) -> Vec<Value> {
    let ids: HashMap<&str, usize> =
        pieces.iter().enumerate().map(|(id, piece)| (piece.text.as_str(), id)).collect();
    let mut merges = Vec::new();
    for piece in pieces {
        let id = ids[piece.text.as_str()];
        let mut local = pairs(&piece.text, |part| ids.get(part).copied());
        local.sort_by_key(|(left, right)| (ids[left], ids[right]));
        merges.extend(
            local
                .into_iter()
                .map(|(left, right)| (id, left.chars().count(), right.chars().count(), left, right)),
        );
    }
    merges.sort_by_key(|(id, left, right, ..)| (*id, *left, *right));
    merges.into_iter().map(|(.., left, right)| json!([left, right])).collect()
}

/// The ways to divide a piece into two that are known.
fn pairs<T>(piece: &str, known: impl Fn(&str) -> Option<T>) -> Vec<(&str, &str)> {
    let cuts = piece.char_indices().skip(1).map(|(at, _)| piece.split_at(at));
    cuts.filter(|(left, right)| known(left).is_some() && known(right).is_some()).collect()
}

/// A tokenizer that encodes as the sentencepiece model says (`build_tokenizer_from_spm_proto`).
fn as_it_says(pieces: &Pieces, config: &Config) -> Value {
    let user: Vec<&str> =
        pieces.list.iter().filter(|piece| piece.kind == 4).map(|piece| piece.text.as_str()).collect();
    let model = if pieces.is_unigram {
        let vocabulary: Vec<Value> =
            pieces.list.iter().map(|piece| json!([piece.text, piece.score])).collect();
        json!({"type": "Unigram", "unk_id": pieces.unknown, "vocab": vocabulary, "byte_fallback": pieces.byte_fallback})
    } else {
        let vocabulary: Map<String, Value> =
            pieces.list.iter().enumerate().map(|(id, piece)| (piece.text.clone(), id.into())).collect();
        json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": pieces.unknown_piece,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": true,
            "byte_fallback": pieces.byte_fallback,
            "ignore_merges": !user.is_empty(),
            "merges": merges_by_score(&pieces.list),
            "vocab": vocabulary,
        })
    };
    let legacy = config.legacy.unwrap_or(true);
    let replace =
        |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
    let regex = |pattern: &str| json!({"Regex": pattern});
    let mut normalizers = Vec::new();
    if let Some(map) = &pieces.charsmap {
        normalizers.push(json!({"type": "Precompiled", "precompiled_charsmap": map}));
    }
    if pieces.removes_spaces {
        normalizers.push(replace(regex(r"\A +| +\z"), ""));
        normalizers.push(replace(regex(" {2,}"), " "));
    }
    if pieces.escapes_spaces {
        normalizers.push(replace(json!({"String": " "}), "▁"));
    }
    if pieces.begins_with_space && legacy {
        normalizers.push(replace(regex(r"\A▁"), "▁▁"));
    }
    let mut words = Vec::new();
    if pieces.begins_with_space {
        let scheme = if legacy { "always" } else { "first" };
        words
            .push(json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false}));
    }
    if !user.is_empty() {
        let mut user = user.clone();
        user.sort_by_key(|piece| std::cmp::Reverse(piece.chars().count()));
        let pattern = user.into_iter().map(regex::escape).collect::<Vec<_>>().join("|");
        words.push(
            json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false}),
        );
    }
    let words = (!words.is_empty()).then(|| json!({"type": "Sequence", "pretokenizers": words}));
    whole(model, Some(json!({"type": "Sequence", "normalizers": normalizers})), words)
}

/// The same in the order of the scores, among normal pieces alone.
fn merges_by_score(pieces: &[Piece]) -> Vec<Value> {
    let normal: HashMap<&str, (f32, usize)> = pieces
        .iter()
        .enumerate()
        .filter(|(_, piece)| piece.kind == 1)
        .map(|(id, piece)| (piece.text.as_str(), (piece.score, id)))
        .collect();
    let mut merges: Vec<(f32, usize, &str, &str)> = Vec::new();
    for (piece, (score, id)) in &normal {
        let local = pairs(piece, |part| normal.get(part));
        merges.extend(local.into_iter().map(|(left, right)| (-score, *id, left, right)));
    }
    merges.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(b.2)).then(a.3.cmp(b.3)));
    merges.into_iter().map(|(.., left, right)| json!([left, right])).collect()
}
