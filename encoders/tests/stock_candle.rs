use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use secateur_encoders::architecture::Architecture;
use secateur_encoders::compute::{Spans, cpu::Cpu};
use secateur_encoders::model::Transformer;
use secateur_encoders::{Checkpoint, Encoder, LoadOptions, TextKind};
use secateur_testkit::minilm;

#[test]
fn hidden_states_are_those_of_stock_candle() {
    let Some(model) = minilm("hidden_states_are_those_of_stock_candle") else { return };
    let texts = [
        "When are roses pruned?",
        "Bread",
        "A suspension bridge hangs its deck from cables that run over towers to anchors on both banks.",
    ];
    let encoder = Encoder::load(&model, &LoadOptions::default()).unwrap();
    let tokens = encoder.tokenize(&texts, TextKind::Passage).unwrap();

    let backend = Cpu::serial();
    let architecture = Architecture::read(model.join("config.json")).unwrap();
    let dim = architecture.hidden_size;
    let checkpoint = Checkpoint::open(&model).unwrap();
    let ours = Transformer::load(&backend, architecture, &checkpoint).unwrap();
    let spans = Spans::from_lengths(tokens.iter().map(Vec::len));
    let hidden = ours.forward(&backend, &tokens.concat(), &spans).unwrap();

    let device = Device::Cpu;
    let config: Config = serde_json::from_slice(&std::fs::read(model.join("config.json")).unwrap()).unwrap();
    let weights = std::fs::read(model.join("model.safetensors")).unwrap();
    let builder = VarBuilder::from_buffered_safetensors(weights, DType::F32, &device).unwrap();
    let stock = BertModel::load(builder, &config).unwrap();
    for (ids, span) in tokens.iter().zip(spans.iter()) {
        let ids = Tensor::from_slice(ids, (1, ids.len()), &device).unwrap();
        let types = ids.zeros_like().unwrap();
        let want: Vec<f32> =
            stock.forward(&ids, &types, None).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let got = &hidden.values()[span.start * dim..span.end * dim];
        // Both are within about 1e-6 of the exact states (values up to 2, sums of up to 1,536 products in f32, six
        // layers). An error in the forward would be as large as the states themselves.
        for (got, want) in got.iter().zip(&want) {
            assert!((got - want).abs() < 2e-5, "{got} against {want}");
        }
    }
}
