use std::collections::BTreeSet;
use std::path::Path;

use secateur_encoders::architecture::{Architecture, NormKind, SubLayer};
use secateur_encoders::compute::cpu::Cpu;
use secateur_encoders::compute::{Backend, Spans};
use secateur_encoders::model::Transformer;
use secateur_encoders::prune::{Layout, ModelDirectory, Remaining};
use secateur_encoders::{Checkpoint, Encoder, LoadOptions, Tensors, TextKind};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Fixture, HIDDEN_SIZE, MODELS, deviation, id_texts, id_tokenizer, sequences, tiny};

/// What is left of the model in `directory` without these.
fn without(directory: &Path, attention: &[usize], mlp: &[usize]) -> Remaining {
    let mut remaining = Architecture::read(directory.join("config.json")).unwrap().remaining();
    for (sub_layer, layers) in [(SubLayer::Attention, attention), (SubLayer::Mlp, mlp)] {
        for layer in layers {
            // Some fixtures lack it already.
            if remaining.has(sub_layer, *layer) {
                remaining.drop(sub_layer, *layer).unwrap();
            }
        }
    }
    remaining
}

fn vectors(encoder: &Encoder) -> Vec<f32> {
    let texts = id_texts(&sequences());
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    encoder.encode(&texts, TextKind::Passage).unwrap()
}

fn load(directory: &Path) -> Encoder {
    Encoder::load(directory, &LoadOptions::default()).unwrap()
}

fn config(directory: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(directory.join("config.json")).unwrap()).unwrap()
}

fn names(directory: &Path) -> BTreeSet<String> {
    Checkpoint::open(directory).unwrap().iter().map(|tensor| tensor.name.to_owned()).collect()
}

/// The model without some sub-layers, written to a new folder of `parent`.
fn write(
    directory: &Path,
    [attention, mlp]: [&[usize]; 2],
    layout: Layout,
    parent: &TempDir,
) -> std::path::PathBuf {
    let out = parent.path().join(format!("out-{}", std::fs::read_dir(parent).unwrap().count()));
    let remaining = without(directory, attention, mlp);
    ModelDirectory::open(directory).unwrap().write_dropped(&remaining, layout, &out).unwrap();
    out
}

#[test]
fn dropping_nothing_changes_no_bit() {
    for name in MODELS {
        let directory = tiny(name);
        let out = write(directory.path(), [&[], &[]], Layout::Secateur, &directory);
        let (before, after) = (load(directory.path()), load(&out));
        assert_eq!(after.architecture(), before.architecture(), "{name}");
        assert!(vectors(&after) == vectors(&before), "{name}");
        assert_eq!(names(&out), names(directory.path()), "{name}");
        let everything = without(directory.path(), &[], &[]);
        let again = Encoder::load_dropped(directory.path(), &LoadOptions::default(), &everything).unwrap();
        assert_eq!(again.fingerprint(), before.fingerprint());
    }
}

#[test]
fn dropping_everything_leaves_embeddings_and_the_final_norm() {
    for name in ["bert", "xlm-roberta", "modernbert", "mistral", "llama", "qwen2", "qwen3", "gemma2"] {
        let directory = tiny(name);
        let read = |directory: &Path| Architecture::read(directory.join("config.json")).unwrap();
        let whole = read(directory.path());
        let all: Vec<usize> = (0..whole.layers.len()).collect();
        let out = write(directory.path(), [&all, &all], Layout::Secateur, &directory);
        let sequence = &sequences()[3];
        let spans = Spans::from_lengths([sequence.len()]);
        let ops = Cpu::serial();

        let model = Transformer::load(&ops, whole, &Checkpoint::open(directory.path()).unwrap()).unwrap();
        let mut embeddings = Vec::new();
        model
            .forward_observed(&ops, sequence, &spans, &mut |_, x| {
                if embeddings.is_empty() {
                    embeddings = ops.to_vec(x)?;
                }
                Ok(())
            })
            .unwrap();
        let checkpoint = Checkpoint::open(&out).unwrap();
        let empty = Transformer::load(&ops, read(&out), &checkpoint).unwrap();
        let got = ops.to_vec(&empty.forward(&ops, sequence, &spans).unwrap()).unwrap();
        let Some(weight) = ["norm.weight", "final_norm.weight"].into_iter().find(|n| checkpoint.contains(n))
        else {
            assert!(got == embeddings, "{name} has no final norm");
            continue;
        };
        let weight = checkpoint.vector(weight, HIDDEN_SIZE).unwrap();
        let eps = f64::from(empty.architecture().norm_eps);
        let want: Vec<f32> = embeddings
            .chunks_exact(HIDDEN_SIZE)
            .flat_map(|row| {
                let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
                let mean = |x: &[f64]| x.iter().sum::<f64>() / HIDDEN_SIZE as f64;
                let (center, offset) = match empty.architecture().norm {
                    NormKind::Rms { offset } => (0.0, f64::from(offset)),
                    NormKind::Layer { .. } => (mean(&row), 0.0),
                };
                let centered: Vec<f64> = row.iter().map(|x| x - center).collect();
                let square = mean(&centered.iter().map(|x| x * x).collect::<Vec<_>>());
                let scaled =
                    |(x, w): (&f64, &f32)| (x / (square + eps).sqrt() * (f64::from(*w) + offset)) as f32;
                centered.iter().zip(weight.iter()).map(scaled).collect::<Vec<f32>>()
            })
            .collect();
        // Values of a norm are below 10, and f32 sums of 48 terms round to some 1e-6 of that.
        assert!(deviation(&got, &want) < 2e-5, "{name}: {}", deviation(&got, &want));
    }
}

#[test]
fn the_directory_lacks_what_is_dropped_and_nothing_else() {
    for name in MODELS {
        let directory = tiny(name);
        let out = write(directory.path(), [&[1], &[0, 1]], Layout::Secateur, &directory);
        let architecture = Architecture::read(out.join("config.json")).unwrap();
        let asked: BTreeSet<String> = architecture.tensors().into_iter().map(|tensor| tensor.name).collect();
        let checkpoint = Checkpoint::open(&out).unwrap();
        // The fixtures have a pooler where transformers' BERT has one; it is not the transformer's.
        let stored: BTreeSet<String> =
            checkpoint.iter().map(|t| t.name.to_owned()).filter(|n| !n.starts_with("pooler.")).collect();
        assert_eq!(stored, asked, "{name}");
        let elements = |shape: &[usize]| shape.iter().product::<usize>();
        let in_file: usize =
            checkpoint.iter().filter(|t| !t.name.starts_with("pooler.")).map(|t| elements(t.shape)).sum();
        let counted: usize = architecture.tensors().iter().map(|tensor| elements(&tensor.shape)).sum();
        assert_eq!(in_file, counted, "{name}");
        // In memory and on disk it is the same model.
        let remaining = without(directory.path(), &[1], &[0, 1]);
        let in_memory = Encoder::load_dropped(directory.path(), &LoadOptions::default(), &remaining).unwrap();
        let written = load(&out);
        assert_eq!(in_memory.architecture(), written.architecture());
        assert!(vectors(&in_memory) == vectors(&written), "{name}");
        let whole = load(directory.path());
        assert_ne!(in_memory.fingerprint(), whole.fingerprint());
        assert!(vectors(&whole) != vectors(&written), "{name}: nothing was dropped");
    }
}

#[test]
fn a_pruned_model_pruned_again_composes() {
    for name in ["bert", "modernbert-pruned", "mistral", "gemma2"] {
        let directory = tiny(name);
        let both = write(directory.path(), [&[1, 2], &[0, 1]], Layout::Secateur, &directory);
        let layout = if name.ends_with("pruned") { Layout::Secateur } else { Layout::LlmDrop };
        let first = write(directory.path(), [&[1], &[0]], layout, &directory);
        let second = write(&first, [&[2], &[1]], Layout::Secateur, &directory);
        assert_eq!(config(&second), config(&both), "{name}");
        assert!(vectors(&load(&second)) == vectors(&load(&both)), "{name}");
        // The same bytes: fingerprints are over weights and configuration.
        assert_eq!(load(&second).fingerprint(), load(&both).fingerprint(), "{name}");
    }
}

#[test]
fn llm_drops_layout_is_read_back() {
    for name in ["mistral", "llama", "qwen2", "gemma2", "bert"] {
        let directory = tiny(name);
        let dropped: [&[usize]; 2] = [&[2], &[0, 1]];
        let out = write(directory.path(), dropped, Layout::LlmDrop, &directory);
        let written = config(&out);
        assert_eq!((&written["drop_attn_list"], &written["drop_mlp_list"]), (&json!([2]), &json!([0, 1])));
        let reserved: Value =
            serde_json::from_slice(&std::fs::read(out.join("reserved_layers.json")).unwrap()).unwrap();
        let layers = load(directory.path()).architecture().layers.len();
        let mut want: Vec<usize> = (0..layers).filter(|layer| *layer != 2).collect();
        want.extend(layers + 2..2 * layers);
        assert_eq!(reserved, json!(want));
        let ours = write(directory.path(), dropped, Layout::Secateur, &directory);
        assert_eq!(load(&out).architecture(), load(&ours).architecture(), "{name}");
        assert!(vectors(&load(&out)) == vectors(&load(&ours)), "{name}");
    }
    // Widths cannot be told.
    let directory = tiny("mistral-pruned");
    let out = directory.path().join("out");
    let source = ModelDirectory::open(directory.path()).unwrap();
    let everything = source.architecture().remaining();
    let message = source.write_dropped(&everything, Layout::LlmDrop, &out).unwrap_err().to_string();
    assert!(message.contains("widths") && !out.exists(), "{message}");
    // A folder that is there is not touched.
    std::fs::create_dir(&out).unwrap();
    assert!(source.write_dropped(&everything, Layout::Secateur, &out).is_err());
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0);
}

#[test]
fn weights_that_llm_drop_leaves_behind_are_not_copied() {
    let fixture = Fixture::read("mistral");
    let mut config = fixture.config.clone();
    config["drop_mlp_list"] = json!([false, true, false]);
    config["auto_map"] = json!({"AutoConfig": "configuration_dropped_mistral.MistralConfig"});
    let directory = fixture.write(&config);
    id_tokenizer(directory.path());
    let out = write(directory.path(), [&[0], &[]], Layout::Secateur, &directory);
    let gone: BTreeSet<String> = names(directory.path()).difference(&names(&out)).cloned().collect();
    let of_layer = |name: &String| {
        name.starts_with("layers.1.mlp.")
            || name == "layers.1.post_attention_layernorm.weight"
            || name.starts_with("layers.0.self_attn.")
            || name == "layers.0.input_layernorm.weight"
    };
    assert!(gone.iter().all(of_layer), "{gone:?}");
    assert_eq!(gone.len(), 4 + 5);
    assert!(self::config(&out).get("auto_map").is_none());
}
