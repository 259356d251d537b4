use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use secateur_encoders::architecture::{Architecture, SubLayer};
use secateur_encoders::golden::Golden;
use secateur_encoders::prune::{Layout, ModelDirectory, Remaining};
use secateur_encoders::{
    Checkpoint, Encoder, ExportFormat, ExportOptions, Exported, LoadOptions, QuantizedFormat, Tensors,
    TextKind, write_exported, write_quantized,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Fixture, MODELS, deviation, id_texts, id_tokenizer, sequences, tiny, write_json, write_tensors,
};

const PRUNED: [&str; 5] =
    ["bert-pruned", "modernbert-pruned", "mistral-pruned", "llama-pruned", "gemma2-pruned"];
/// Those whose blocks `nemotron-nas` can say.
const LLAMAS: [&str; 7] = [
    "mistral",
    "mistral-full-attention",
    "mistral-pruned",
    "llama",
    "llama-rope-scaling",
    "llama-pruned",
    "qwen2",
];

fn vectors(directory: &Path) -> Vec<f32> {
    let encoder = Encoder::load(directory, &LoadOptions::default()).unwrap();
    let texts = id_texts(&sequences());
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    encoder.encode(&texts, TextKind::Passage).unwrap()
}

fn export(
    model: &Path,
    format: ExportFormat,
    pad: bool,
    out: &Path,
) -> secateur_encoders::Result<(PathBuf, Exported)> {
    let options = ExportOptions { pad, ..ExportOptions::default() };
    let out = out.join(format!("for-{format}"));
    let exported = write_exported(model, format, &options, &out)?;
    Ok((out, exported))
}

fn refused(model: &Path, format: ExportFormat, pad: bool) -> String {
    let parent = TempDir::new().unwrap();
    let message = export(model, format, pad, parent.path()).unwrap_err().to_string();
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0, "nothing is left behind: {message}");
    message
}

fn read(directory: &Path, file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(directory.join(file)).unwrap()).unwrap()
}

fn architecture(directory: &Path) -> Architecture {
    Architecture::read(directory.join("config.json")).unwrap()
}

fn names(directory: &Path) -> BTreeSet<String> {
    Checkpoint::open(directory).unwrap().iter().map(|tensor| tensor.name.to_owned()).collect()
}

/// The model without some sub-layers, in a new folder of the model's own.
fn dropped(model: &Path, sub_layers: &[(SubLayer, usize)]) -> PathBuf {
    let directory = ModelDirectory::open(model).unwrap();
    let mut remaining: Remaining = directory.architecture().remaining();
    for (sub_layer, layer) in sub_layers {
        remaining.drop(*sub_layer, *layer).unwrap();
    }
    let out = model.join(format!("dropped-{}", std::fs::read_dir(model).unwrap().count()));
    directory.write_dropped(&remaining, Layout::Secateur, &out).unwrap();
    out
}

/// Whether a model's layers are alike.
fn are_alike(architecture: &Architecture) -> bool {
    let widths: BTreeSet<_> = architecture.layers.iter().map(|layer| layer.intermediate_size).collect();
    architecture.layers.iter().all(|layer| layer.attention.is_some() && layer.intermediate_size.is_some())
        && widths.len() == 1
}

#[test]
fn whole_models_stay_as_they_are() {
    for name in MODELS.into_iter().filter(|name| !PRUNED.contains(name)) {
        let model = tiny(name);
        for format in [ExportFormat::Transformers, ExportFormat::SentenceTransformers] {
            let (out, exported) = export(model.path(), format, false, model.path()).unwrap();
            let layers = architecture(model.path()).layers.len();
            assert_eq!(exported.to_string(), format!("layers: {layers}"), "{name}");
            assert!(vectors(&out) == vectors(model.path()), "{name}");
            assert_eq!(names(&out), names(model.path()), "{name}");
            let is_said = format == ExportFormat::SentenceTransformers;
            assert_eq!(out.join("modules.json").exists(), is_said, "{name}");
            assert!(read(&out, "config.json").get("secateur").is_none());
        }
    }
}

#[test]
fn layers_that_differ_are_filled_up_with_zeros() {
    for name in PRUNED {
        let model = tiny(name);
        let message = refused(model.path(), ExportFormat::Transformers, false);
        assert!(
            message.contains("its layers are not alike: layer") && message.contains("--pad"),
            "{message}"
        );
        assert!(message.contains("MLPs have 24 to"), "{message}");
        let (out, exported) = export(model.path(), ExportFormat::Transformers, true, model.path()).unwrap();
        let (before, after) = (architecture(model.path()), architecture(&out));
        assert!(are_alike(&after), "{name}: {after:?}");
        assert_eq!(after.layers.len() + exported.left_out.len(), before.layers.len(), "{name}");
        assert_eq!(exported.moved_norms, name == "bert-pruned");
        assert!(exported.zero_neurons > 0, "{name}");
        let difference = deviation(&vectors(&out), &vectors(model.path()));
        assert!(difference < if exported.moved_norms { 1e-5 } else { 2e-6 }, "{name}: {difference}");
        let wanted: BTreeSet<String> = after.tensors().into_iter().map(|tensor| tensor.name).collect();
        // Heads are kept, and nothing of layers that are not there.
        let others: Vec<String> = names(&out).difference(&wanted).cloned().collect();
        assert!(names(&out).is_superset(&wanted), "{name}");
        assert!(others.iter().all(|other| other.starts_with("pooler.")), "{name}: {others:?}");
        let told = exported.to_string();
        assert!(told.contains("of zeros in layer") && told.contains("neurons of zeros in MLPs: "), "{told}");
    }
}

/// Zeros that are added to hidden states leave their bits.
#[test]
fn a_sub_layer_of_zeros_changes_no_bit() {
    for name in ["mistral", "llama", "qwen2", "qwen3", "gemma2", "modernbert"] {
        let model = tiny(name);
        let small = dropped(model.path(), &[(SubLayer::Attention, 0), (SubLayer::Mlp, 1)]);
        let (out, exported) = export(&small, ExportFormat::Transformers, true, model.path()).unwrap();
        assert_eq!((&exported.zero_attentions[..], &exported.zero_mlps[..]), (&[0][..], &[1][..]), "{name}");
        assert_eq!((exported.zero_neurons, exported.moved_norms), (0, false), "{name}");
        assert!(vectors(&out) == vectors(&small), "{name}");
        assert!(vectors(&out) != vectors(model.path()), "{name}");
    }
}

/// Post-norm: whatever is dropped, also at the ends and several in a row.
#[test]
fn norms_take_the_places_of_dropped_ones() {
    use SubLayer::{Attention, Mlp};
    for name in ["bert", "xlm-roberta"] {
        let model = tiny(name);
        let cases: [&[(SubLayer, usize)]; 6] = [
            &[(Attention, 0)],
            &[(Mlp, 2)],
            &[(Mlp, 0), (Attention, 1)],
            &[(Attention, 0), (Attention, 1), (Attention, 2)],
            &[(Mlp, 0), (Mlp, 1), (Mlp, 2)],
            &[(Attention, 0), (Mlp, 1), (Attention, 2)],
        ];
        for (number, sub_layers) in cases.into_iter().enumerate() {
            let small = dropped(model.path(), sub_layers);
            let parent = model.path().join(number.to_string());
            std::fs::create_dir(&parent).unwrap();
            let (out, exported) = export(&small, ExportFormat::SentenceTransformers, true, &parent).unwrap();
            assert!(exported.moved_norms && exported.to_string().contains("up to rounding"), "{exported}");
            assert!(are_alike(&architecture(&out)), "{name}");
            let difference = deviation(&vectors(&out), &vectors(&small));
            assert!(difference < 1e-5, "{name} without {sub_layers:?}: {difference}");
            assert!(deviation(&vectors(&out), &vectors(model.path())) > 1e-3);
        }
    }
}

/// Layers that are left out take their numbers along, and others keep the windows and angles that followed from theirs.
#[test]
fn layers_without_anything_are_left_out() {
    for name in MODELS.into_iter().filter(|name| !PRUNED.contains(name) && *name != "modernbert") {
        let model = tiny(name);
        let small = dropped(model.path(), &[(SubLayer::Block, 0)]);
        let (out, exported) = export(&small, ExportFormat::Transformers, false, model.path()).unwrap();
        assert_eq!(exported.left_out, [0], "{name}");
        assert!(exported.to_string().contains("nothing remained of layer 0"), "{exported}");
        assert!(vectors(&out) == vectors(&small), "{name}");
        let config = read(&out, "config.json");
        assert_eq!(config["num_hidden_layers"], architecture(model.path()).layers.len() - 1, "{name}");
    }
    // Which of Gemma 2's layers have a window follows from their numbers.
    let model = tiny("gemma2");
    let small = dropped(model.path(), &[(SubLayer::Block, 0)]);
    let (out, _) = export(&small, ExportFormat::Transformers, false, model.path()).unwrap();
    let types = &read(&out, "config.json")["layer_types"];
    assert_eq!((&types[0], &types[1]), (&json!("full_attention"), &json!("sliding_attention")));

    // ModernBERT's first layer has no norm, so that the second cannot be the first.
    let model = tiny("modernbert");
    let small = dropped(model.path(), &[(SubLayer::Block, 0), (SubLayer::Block, 2)]);
    let message = refused(&small, ExportFormat::Transformers, false);
    assert!(message.contains("layer 0 has no attention; layer 0 has no MLP"), "{message}");
    let (out, exported) = export(&small, ExportFormat::Transformers, true, model.path()).unwrap();
    assert_eq!((&exported.left_out[..], &exported.zero_attentions[..]), (&[2][..], &[0][..]));
    assert!(vectors(&out) == vectors(&small));

    // All of them.
    let model = tiny("llama");
    let blocks: Vec<_> =
        (0..architecture(model.path()).layers.len()).map(|layer| (SubLayer::Block, layer)).collect();
    let small = dropped(model.path(), &blocks);
    assert!(refused(&small, ExportFormat::Transformers, false).contains("layer 0 has no MLP"));
    let (out, exported) = export(&small, ExportFormat::Transformers, true, model.path()).unwrap();
    assert_eq!(exported.layers, 1);
    assert!(vectors(&out) == vectors(&small));
}

#[test]
fn blocks_say_what_each_layer_has() {
    for name in LLAMAS {
        let model = tiny(name);
        let (out, exported) = export(model.path(), ExportFormat::NemotronNas, false, model.path()).unwrap();
        let (before, after) = (architecture(model.path()), architecture(&out));
        assert_eq!(after.family, "nemotron-nas");
        let config = read(&out, "config.json");
        let blocks = config["block_configs"].as_array().unwrap();
        assert_eq!(blocks.len(), before.layers.len(), "{name}");
        let mut added = Vec::new();
        for (number, (layer, block)) in before.layers.iter().zip(blocks).enumerate() {
            assert_eq!(block["ffn"]["no_op"], layer.intermediate_size.is_none(), "{name}: {number}");
            assert!(layer.attention.is_none() || block["attention"]["no_op"] == false, "{name}: {number}");
            if block["attention"]["no_op"] == false && layer.attention.is_none() {
                added.push(number);
            }
            let width = after.layers[number].intermediate_size;
            assert_eq!(width.is_some(), layer.intermediate_size.is_some(), "{name}");
            assert!(width.is_none_or(|width| width == 256), "{name}: {width:?}");
            let window = |layer: &secateur_encoders::architecture::LayerShape| {
                layer.attention.as_ref().map(|attention| attention.window)
            };
            assert!(layer.attention.is_none() || window(&after.layers[number]) == window(layer), "{name}");
        }
        // The first layer of this one has an MLP and no attention.
        let want: &[usize] = if name == "llama-pruned" { &[0] } else { &[] };
        assert_eq!((&added[..], &exported.zero_attentions[..]), (want, want), "{name}");
        assert_eq!(config["qkv_bias"].is_null(), name != "qwen2");
        assert!(names(&out).iter().all(|name| name.starts_with("model.")), "{name}");
        let difference = deviation(&vectors(&out), &vectors(model.path()));
        assert!(difference < 1e-6, "{name}: {difference}");
        assert!(out.join("configuration_decilm.py").exists() && out.join("1_Pooling/config.json").exists());

        // What was exported can be exported, and dropped from.
        let again = out.join("again");
        std::fs::create_dir(&again).unwrap();
        let (again, exported) = export(&out, ExportFormat::NemotronNas, false, &again).unwrap();
        assert_eq!((exported.zero_neurons, exported.zero_attentions.len()), (0, 0), "{name}");
        assert_eq!(read(&again, "config.json"), config, "{name}");
        assert!(vectors(&again) == vectors(&out), "{name}");
        let message = refused(&out, ExportFormat::Transformers, true);
        assert!(message.contains("export the model that it was made from"), "{message}");
        let smaller = dropped(&out, &[(SubLayer::Attention, 2 - 2 * usize::from(name == "mistral-pruned"))]);
        assert!(vectors(&smaller) != vectors(&out), "{name}");
    }
}

/// A head of the language model stays, and without one the table of embeddings is tied.
#[test]
fn heads_and_types_stay() {
    let fixture = Fixture::read("mistral-pruned");
    let model = fixture.write(&fixture.pruned_config(&fixture.config));
    id_tokenizer(model.path());
    let mut tensors = fixture.tensors(|name| format!("model.{name}"));
    let table = tensors.iter().find(|tensor| tensor.name.ends_with("embed_tokens.weight")).unwrap();
    let head = crate::support::Tensor {
        name: "lm_head.weight".to_owned(),
        shape: table.shape.clone(),
        values: table.values.clone(),
    };
    tensors.push(head);
    write_tensors(&model.path().join("model.safetensors"), &tensors, Dtype::BF16);
    for (format, pad) in [(ExportFormat::NemotronNas, false), (ExportFormat::Transformers, true)] {
        let (out, _) = export(model.path(), format, pad, model.path()).unwrap();
        let stored = Checkpoint::open(&out).unwrap();
        assert!(stored.contains("lm_head.weight") && stored.contains("model.norm.weight"));
        let bytes = std::fs::read(out.join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert!(file.tensors().iter().all(|(_, view)| view.dtype() == Dtype::BF16), "{format}");
        let difference = deviation(&vectors(&out), &vectors(model.path()));
        assert!(difference < 1e-6, "{format}: {difference}");
        if format == ExportFormat::NemotronNas {
            assert_eq!(read(&out, "config.json")["tie_word_embeddings"], false);
        }
    }
    let (out, _) = {
        let model = tiny("mistral");
        let parent = TempDir::new().unwrap();
        let exported = export(model.path(), ExportFormat::NemotronNas, false, parent.path()).unwrap();
        (read(&exported.0, "config.json"), parent)
    };
    assert_eq!(out["tie_word_embeddings"], true);
}

#[test]
fn what_a_directory_says_is_said_again() {
    let model = tiny("mistral-pruned");
    let settings = json!({"prompts": {"query": "t9 t8 ", "document": "t5 "}, "similarity_fn_name": "dot"});
    write_json(model.path(), "config_sentence_transformers.json", &settings);
    write_json(model.path(), "sentence_bert_config.json", &json!({"max_seq_length": 20}));
    let load = |path: &Path| Encoder::load(path, &LoadOptions::default()).unwrap();
    for format in [ExportFormat::SentenceTransformers, ExportFormat::NemotronNas] {
        let (out, _) = export(model.path(), format, true, model.path()).unwrap();
        assert_eq!(load(&out).settings(), load(model.path()).settings(), "{format}");
        // Nothing is left to assume.
        let strict = LoadOptions { strict: true, ..LoadOptions::default() };
        Encoder::load(&out, &strict).unwrap();
    }
    let strict = LoadOptions { strict: true, ..LoadOptions::default() };
    assert!(Encoder::load(model.path(), &strict).is_err(), "a model that leaves its pooling open");
}

#[test]
fn what_has_no_place_is_refused_with_a_reason() {
    let cases: [(&str, Value, ExportFormat, &str); 6] = [
        ("bert", json!({}), ExportFormat::NemotronNas, "it is a bert; export to transformers"),
        ("qwen3", json!({}), ExportFormat::NemotronNas, "it is a qwen3"),
        ("gemma2-pruned", json!({}), ExportFormat::NemotronNas, "it is a gemma2"),
        ("llama", json!({"is_causal": false}), ExportFormat::NemotronNas, "see those after them"),
        ("llama", json!({"hidden_act": "gelu"}), ExportFormat::NemotronNas, "activation is Gelu"),
        (
            "llama",
            json!({"architectures": ["LlamaForSequenceClassification"]}),
            ExportFormat::SentenceTransformers,
            "a cross-encoder gives scores",
        ),
    ];
    for (name, change, format, want) in cases {
        let model = tiny(name);
        let mut config = read(model.path(), "config.json");
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        write_json(model.path(), "config.json", &config);
        let message = refused(model.path(), format, true);
        assert!(message.contains(want) && message.contains(&format!("to {format}: ")), "{message}");
    }
    for format in [QuantizedFormat::Nf4, QuantizedFormat::Int8] {
        let model = tiny("llama");
        let quantized = model.path().join("quantized");
        write_quantized(model.path(), None, format, &quantized).unwrap();
        let message = refused(&quantized, ExportFormat::NemotronNas, false);
        assert!(message.contains("quantized; export the model that it was made from"), "{message}");
    }
    // A checkpoint that lacks a tensor, and one with another shape.
    let fixture = Fixture::read("llama");
    for (change, want) in [
        ((|tensors| drop(tensors.remove(3))) as fn(&mut Vec<_>), "has no tensor"),
        (
            |tensors: &mut Vec<crate::support::Tensor>| {
                let tensor = tensors.iter_mut().find(|tensor| tensor.shape.len() == 2).unwrap();
                tensor.shape.reverse();
            },
            "the configuration asks for",
        ),
    ] {
        let model = tiny("llama");
        let mut tensors = fixture.tensors(str::to_owned);
        change(&mut tensors);
        write_tensors(&model.path().join("model.safetensors"), &tensors, Dtype::F32);
        let message = refused(model.path(), ExportFormat::NemotronNas, false);
        assert!(message.contains(want), "{message}");
    }
    // What is there is not overwritten.
    let model = tiny("llama");
    let options = ExportOptions::default();
    let outcome = write_exported(model.path(), ExportFormat::Transformers, &options, model.path());
    assert!(outcome.unwrap_err().to_string().contains("exists: choose another output"));
}

/// Checkpoints as they are in the world: positions, tokenizers and prompts are those of the record.
#[test]
fn recorded_vectors_are_those_of_the_blocks() {
    let folder = secateur_testkit::workspace_root().join("tests/fixtures/checkpoints");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let (model, golden) = {
            let path = entry.unwrap().path();
            (path.join("model"), path.join("golden.jsonl"))
        };
        if !golden.exists() || !model.join("config.json").exists() {
            continue;
        }
        let config = read(&model, "config.json");
        let is_llama = ["llama", "mistral", "qwen2"].contains(&config["model_type"].as_str().unwrap());
        if !is_llama || config["is_causal"] == false {
            continue;
        }
        let parent = TempDir::new().unwrap();
        let (out, _) = export(&model, ExportFormat::NemotronNas, false, parent.path()).unwrap();
        let encoder = Encoder::load(&out, &LoadOptions::default()).unwrap();
        let compared = Golden::read(&golden).unwrap().compare(&encoder).unwrap();
        assert!(compared.least_cosine > 1.0 - 1e-6, "{}: {compared:?}", model.display());
        count += 1;
    }
    assert!(count >= 5, "{count} checkpoints are like Llama");
}
