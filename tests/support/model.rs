//! Model directories that need no network: the tiny BERTs of `tests/fixtures/tiny_models` with a tokenizer that knows
//! letters and digits. Their vectors and scores mean nothing, but each of their files is read as those of a real
//! model are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::dataset::write;
use super::{Random, workspace_root};

/// The vectors' length.
pub const DIM: usize = 48;

/// A tensor of the checkpoint: name, shape, elements.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Writes the whole model directory.
pub fn tiny(folder: &Path) -> PathBuf {
    let module = |path: &str, name: &str| json!({"idx": 0, "name": "0", "path": path, "type": format!("sentence_transformers.models.{name}")});
    let modules = json!([
        module("", "Transformer"),
        module("1_Pooling", "Pooling"),
        module("2_Normalize", "Normalize")
    ]);
    write(folder, "modules.json", modules.to_string());
    write(folder, "1_Pooling/config.json", json!({"pooling_mode": "mean"}).to_string());
    untold(folder)
}

/// The same without the files that say how token vectors become one.
pub fn untold(folder: &Path) -> PathBuf {
    from_fixture(folder, "bert")
}

/// The same of a cross-encoder.
pub fn tiny_cross_encoder(folder: &Path) -> PathBuf {
    from_fixture(folder, "bert-cross-encoder")
}

fn from_fixture(folder: &Path, name: &str) -> PathBuf {
    let description = description(name);
    write(folder, "config.json", description["config"].to_string());
    write(folder, "tokenizer.json", tokenizer().to_string());
    write(folder, "model.safetensors", safetensors(&tensors(&description)));
    folder.to_owned()
}

/// Sets a field of a model's config.json.
pub fn set(folder: &Path, field: &str, value: Value) {
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    config[field] = value;
    write(folder, "config.json", config.to_string());
}

/// The checkpoint's tensors, for a test to spoil and write again.
pub fn tiny_tensors() -> Tensors {
    tensors(&description("bert"))
}

fn description(name: &str) -> Value {
    let path = workspace_root().join(format!("tests/fixtures/tiny_models/{name}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The weights by the formula of the fixtures' README.
fn tensors(description: &Value) -> Tensors {
    let mut tensors = Tensors::new();
    for tensor in description["tensors"].as_array().unwrap() {
        let name = tensor["name"].as_str().unwrap();
        let shape: Vec<usize> =
            tensor["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
        let (center, scale) = (tensor["center"].as_f64().unwrap(), tensor["scale"].as_f64().unwrap());
        let fnv = name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        let mut random = Random(fnv);
        let values = (0..shape.iter().product())
            .map(|_| {
                let u = (2 * (random.next() >> 59) as i64 - 31) as f64 / 32.0;
                (center + scale * u) as f32
            })
            .collect();
        tensors.insert(name.to_owned(), (shape, values));
    }
    tensors
}

/// A safetensors file: length of the header (u64), header (JSON), elements.
pub fn safetensors(tensors: &Tensors) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, (shape, values)) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// WordPiece over single characters: every text of letters and digits has tokens of its own.
fn tokenizer() -> Value {
    let characters = ('a'..='z').chain('0'..='9');
    let pieces = characters.flat_map(|c| [c.to_string(), format!("##{c}")]);
    let special = ["[UNK]", "[CLS]", "[SEP]"].map(str::to_owned);
    let vocab: serde_json::Map<String, Value> =
        special.into_iter().chain(pieces).enumerate().map(|(id, piece)| (piece, json!(id))).collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
        "decoder": null,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab
        }
    })
}
