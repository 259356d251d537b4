use candle_core::Device;
use secateur_encoders::architecture::{Architecture, SubLayer};
use secateur_encoders::compute::candle::Candle;
use secateur_encoders::compute::{Backend, Spans};
use secateur_encoders::model::{Stage, Transformer};
use secateur_encoders::prune::trace;
use secateur_encoders::{Checkpoint, Encoder, LoadOptions, Pooling, TextKind};
use tempfile::TempDir;

use crate::support::{Fixture, HIDDEN_SIZE, MODELS, id_texts, id_tokenizer, sequences};

fn tiny(name: &str) -> TempDir {
    let fixture = Fixture::read(name);
    let directory = fixture.write(&fixture.pruned_config(&fixture.config));
    id_tokenizer(directory.path());
    directory
}

/// The vector of each place of one text's forward, by candle and a loop over tokens.
fn states(model: &Transformer<Candle>, backend: &Candle, ids: &[u32], pooling: Pooling) -> Vec<Vec<f64>> {
    let mut states = Vec::new();
    let mut pool = |x: &<Candle as Backend>::Activations| {
        let rows = backend.to_vec(x)?;
        let rows: Vec<&[f32]> = rows.chunks_exact(HIDDEN_SIZE).collect();
        let column = |k: usize| match pooling {
            Pooling::Cls => f64::from(rows[0][k]),
            Pooling::LastToken => f64::from(rows[rows.len() - 1][k]),
            Pooling::Mean => rows.iter().map(|row| f64::from(row[k])).sum::<f64>() / rows.len() as f64,
            other => panic!("no fixture pools by {other}"),
        };
        states.push((0..HIDDEN_SIZE).map(column).collect());
        Ok(())
    };
    let spans = Spans::from_lengths([ids.len()]);
    let last = model.forward_observed(backend, ids, &spans, &mut |stage, x| match stage {
        Stage::Embeddings | Stage::Layer(_) => pool(x),
        _ => Ok(()),
    });
    pool(&last.unwrap()).unwrap();
    states
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Hidden states are off by up to 2e-5 (tests/tiny_models.rs), which moves a cosine by no more.
#[test]
fn each_layer_is_that_of_a_plain_twin() {
    let texts = id_texts(&sequences());
    let documents = [texts[1].as_str(), texts[2].as_str(), texts[3].as_str()];
    for name in MODELS {
        let directory = tiny(name);
        for pooling in [Pooling::Mean, Pooling::LastToken, Pooling::Cls] {
            let options = LoadOptions { pooling: Some(pooling), ..LoadOptions::default() };
            let encoder = Encoder::load(directory.path(), &options).unwrap();
            let got = trace(&encoder, &texts[0], &documents).unwrap();

            let backend = Candle::new(Device::Cpu);
            let architecture = Architecture::read(directory.path().join("config.json")).unwrap();
            let layers = architecture.layers.len();
            let checkpoint = Checkpoint::open(directory.path()).unwrap();
            let model = Transformer::load(&backend, architecture, &checkpoint).unwrap();
            let of = |text: &str, kind| {
                let ids = encoder.tokenize(&[text], kind).unwrap();
                states(&model, &backend, &ids[0], pooling)
            };
            let query = of(&texts[0], TextKind::Query);
            let places: Vec<(&str, Option<usize>)> =
                got.iter().map(|point| (point.stage.as_str(), point.layer)).collect();
            let mut expected = vec![("embeddings", None)];
            expected.extend((0..layers).map(|layer| ("layer", Some(layer))));
            expected.push(("vector", None));
            assert_eq!(places, expected, "{name}");
            for (number, document) in documents.iter().enumerate() {
                let document = of(document, TextKind::Passage);
                for (place, point) in got.iter().enumerate() {
                    let want = cosine(&query[place], &document[place]);
                    let error = (point.cosines[number] - want).abs();
                    assert!(error < 5e-5, "{name}, {pooling}, {places:?}[{place}]: off by {error:.1e}");
                }
            }
        }
    }
}

#[test]
fn a_dropped_layer_changes_nothing() {
    let directory = tiny("bert");
    let texts = id_texts(&sequences());
    let mut remaining = Architecture::read(directory.path().join("config.json")).unwrap().remaining();
    remaining.drop(SubLayer::Block, 1).unwrap();
    let encoder = Encoder::load_dropped(directory.path(), &LoadOptions::default(), &remaining).unwrap();
    let points = trace(&encoder, &texts[0], &[&texts[1]]).unwrap();
    assert_eq!(points[1].cosines, points[2].cosines);
    assert!(points[2].cosines != points[3].cosines);
    // BERT has no final norm: the last layer's states make the vector.
    assert!((points[3].cosines[0] - points[4].cosines[0]).abs() < 1e-6);
}
