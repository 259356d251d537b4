//! The tiny models of `tests/fixtures/tiny_models`: checkpoints made from the README's formula, and recorded outputs.

#![allow(dead_code, reason = "the unit tests of training use a part")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use secateur_encoders::architecture::Architecture;
use secateur_testkit::workspace_root;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// Every model there is a fixture of, cross-encoders apart.
pub const MODELS: [&str; 15] = [
    "bert",
    "bert-pruned",
    "xlm-roberta",
    "modernbert",
    "modernbert-pruned",
    "mistral",
    "mistral-full-attention",
    "mistral-pruned",
    "llama",
    "llama-rope-scaling",
    "llama-pruned",
    "qwen2",
    "qwen3",
    "gemma2",
    "gemma2-pruned",
];

/// D of all of them.
pub const HIDDEN_SIZE: usize = 48;

/// NAME.json
#[derive(Deserialize)]
pub struct Fixture {
    pub config: Value,
    pub config_transformers_5: Value,
    pub pruned: Option<Pruned>,
    pub tensors: Vec<TensorFormula>,
    pub max_abs_deviation_of_transformers_f32: f64,
}

#[derive(Clone, Deserialize)]
pub struct Pruned {
    pub drop_attn: Vec<usize>,
    pub drop_mlp: Vec<usize>,
    pub intermediate_sizes: Vec<Option<usize>>,
}

#[derive(Clone, Deserialize)]
pub struct TensorFormula {
    pub name: String,
    pub shape: Vec<usize>,
    pub center: f64,
    pub scale: f64,
}

fn folder() -> PathBuf {
    workspace_root().join("tests/fixtures/tiny_models")
}

impl Fixture {
    pub fn read(name: &str) -> Fixture {
        let path = folder().join(format!("{name}.json"));
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
    }

    /// `config` with the key that says what a pruned model's layers keep.
    pub fn pruned_config(&self, config: &Value) -> Value {
        let mut config = config.clone();
        if let Some(pruned) = &self.pruned {
            let num_layers = pruned.intermediate_sizes.len();
            let attention: Vec<bool> =
                (0..num_layers).map(|layer| !pruned.drop_attn.contains(&layer)).collect();
            config["secateur"] =
                serde_json::json!({"attention": attention, "intermediate_sizes": pruned.intermediate_sizes});
        }
        config
    }

    /// The tensors by the formula, names changed by `rename`.
    pub fn tensors(&self, rename: impl Fn(&str) -> String) -> Vec<Tensor> {
        self.tensors
            .iter()
            .map(|tensor| Tensor {
                name: rename(&tensor.name),
                shape: tensor.shape.clone(),
                values: tensor.values(),
            })
            .collect()
    }

    /// A model directory: config.json and model.safetensors in f32.
    pub fn write(&self, config: &Value) -> TempDir {
        let directory = TempDir::new().unwrap();
        write_json(directory.path(), "config.json", config);
        write_tensors(&directory.path().join("model.safetensors"), &self.tensors(str::to_owned), Dtype::F32);
        directory
    }
}

/// A tensor in memory.
pub struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl TensorFormula {
    pub fn values(&self) -> Vec<f32> {
        let mut state = fnv1a64(&self.name);
        (0..self.shape.iter().product())
            .map(|_| {
                let u = (2.0 * (splitmix64(&mut state) >> 59) as f64 - 31.0) / 32.0;
                (self.center + self.scale * u) as f32
            })
            .collect()
    }
}

/// Fowler, Noll and Vo, variant 1a, 64 bits.
pub fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// Steele, Lea and Flood 2014.
pub fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

pub fn write_json(directory: &Path, file: &str, value: &Value) {
    std::fs::write(directory.join(file), serde_json::to_vec_pretty(value).unwrap()).unwrap();
}

/// Writes a safetensors file with all elements of one type.
pub fn write_tensors(path: &Path, tensors: &[Tensor], dtype: Dtype) {
    let bytes = |values: &[f32]| -> Vec<u8> {
        match dtype {
            Dtype::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Dtype::F16 => values.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect(),
            Dtype::BF16 => values.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect(),
            other => panic!("no tiny model is {other:?}"),
        }
    };
    let data: Vec<Vec<u8>> = tensors.iter().map(|tensor| bytes(&tensor.values)).collect();
    let views = tensors.iter().zip(&data).map(|(tensor, data)| {
        let view = safetensors::tensor::TensorView::new(dtype, tensor.shape.clone(), data).unwrap();
        (tensor.name.clone(), view)
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// inputs.json: the token ids of every sequence.
pub fn sequences() -> Vec<Vec<u32>> {
    #[derive(Deserialize)]
    struct Inputs {
        sequences: Vec<Vec<u32>>,
    }
    let inputs: Inputs =
        serde_json::from_slice(&std::fs::read(folder().join("inputs.json")).unwrap()).unwrap();
    inputs.sequences
}

/// NAME.safetensors: the recorded outputs, by name.
pub fn outputs(name: &str) -> BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(folder().join(format!("{name}.safetensors"))).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensors()
        .into_iter()
        .map(|(name, view)| {
            assert_eq!(view.dtype(), Dtype::F32);
            let values =
                view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            (name, values)
        })
        .collect()
}

/// The largest difference between two arrays.
pub fn deviation(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len(), "arrays of different length are compared");
    got.iter()
        .zip(want)
        .map(|(a, b)| f64::from((a - b).abs()))
        .fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a })
}

/// Writes a tokenizer.json of whole words: `[UNK]`, `<s>`, `</s>`, then `words`. `template` is what a post-processor
/// puts around a text, such as "<s> $A </s>".
pub fn write_tokenizer(directory: &Path, words: &[&str], template: Option<&str>) {
    use tokenizers::models::wordlevel::WordLevel;
    use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
    use tokenizers::processors::template::TemplateProcessing;
    use tokenizers::{AddedToken, Tokenizer};

    let vocabulary = ["[UNK]", "<s>", "</s>"].iter().chain(words);
    let vocabulary = vocabulary.enumerate().map(|(id, word)| ((*word).to_owned(), id as u32)).collect();
    let model = WordLevel::builder().vocab(vocabulary).unk_token("[UNK]".to_owned()).build().unwrap();
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(WhitespaceSplit));
    tokenizer.add_special_tokens([AddedToken::from("<s>", true), AddedToken::from("</s>", true)]).unwrap();
    if let Some(template) = template {
        let processor = TemplateProcessing::builder()
            .try_single(template)
            .unwrap()
            .try_pair(format!("{template} {}", template.replace("$A", "$B")))
            .unwrap()
            .special_tokens(vec![("<s>", 1), ("</s>", 2)])
            .build()
            .unwrap();
        tokenizer.with_post_processor(Some(processor));
    }
    tokenizer.save(directory.join("tokenizer.json"), false).unwrap();
}

/// Writes a tokenizer that knows the ids of the tiny models by name: "t7 t9" has the ids 7 and 9. Ids 0 to 2 are
/// special and are not added to texts; `</s>`, 2, ends a text where texts are packed.
pub fn id_tokenizer(directory: &Path) {
    let words: Vec<String> = (3..200).map(|id| format!("t{id}")).collect();
    write_tokenizer(directory, &words.iter().map(String::as_str).collect::<Vec<_>>(), None);
    write_json(directory, "tokenizer_config.json", &serde_json::json!({"eos_token": "</s>"}));
}

/// A tiny model in a directory, whose tokenizer has a word for each id.
pub fn tiny(name: &str) -> TempDir {
    let fixture = Fixture::read(name);
    let directory = fixture.write(&fixture.pruned_config(&fixture.config));
    id_tokenizer(directory.path());
    directory
}

/// The texts that [`id_tokenizer`] gives these ids.
pub fn id_texts(sequences: &[Vec<u32>]) -> Vec<String> {
    let word = |id: &u32| format!("t{id}");
    sequences.iter().map(|ids| ids.iter().map(word).collect::<Vec<_>>().join(" ")).collect()
}

/// The model.safetensors of a random model in f32, written without ever being in memory. Returns the bytes of its
/// elements.
pub fn write_random_weights(directory: &Path, architecture: &Architecture) -> usize {
    let mut header = Map::new();
    let mut end = 0;
    for tensor in architecture.tensors() {
        let bytes = 4 * tensor.shape.iter().product::<usize>();
        let entry = json!({"dtype": "F32", "shape": tensor.shape, "data_offsets": [end, end + bytes]});
        header.insert(tensor.name.clone(), entry);
        end += bytes;
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = BufWriter::new(File::create(directory.join("model.safetensors")).unwrap());
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    let mut state = 1;
    for _ in 0..end / 4 {
        let value = (splitmix64(&mut state) >> 40) as f32 / (1 << 24) as f32 * 0.1 - 0.05;
        file.write_all(&value.to_le_bytes()).unwrap();
    }
    file.flush().unwrap();
    end
}
