use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secateur_encoders::{CrossEncoder, Encoder, Fingerprint, LoadOptions, TextKind};
use secateur_testkit::workspace_root;
use tempfile::TempDir;

use crate::support::{Fixture, write_tokenizer};

/// A model, its adapter if it has one, and a folder for fingerprints.
struct Place {
    folder: TempDir,
}

impl Place {
    fn of(name: &str) -> Place {
        let folder = TempDir::new().unwrap();
        copy(&workspace_root().join("tests/fixtures/checkpoints").join(name), folder.path());
        let place = Place { folder };
        settle();
        place
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("model").join(name)
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn load(&self) -> Fingerprint {
        let options = LoadOptions { cache: Some(self.cache()), ..LoadOptions::default() };
        *Encoder::load(self.file(""), &options).unwrap().fingerprint()
    }

    /// The fingerprint without any cache.
    fn computed(&self) -> Fingerprint {
        *Encoder::load(self.file(""), &LoadOptions::default()).unwrap().fingerprint()
    }

    /// The files with fingerprints.
    fn kept(&self) -> Vec<PathBuf> {
        self.cached().into_iter().filter(|path| path.extension().is_none()).collect()
    }

    /// The files with packed weights.
    fn panels(&self) -> Vec<PathBuf> {
        self.cached().into_iter().filter(|path| path.extension().is_some_and(|end| end == "panels")).collect()
    }

    fn cached(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.cache()) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// The bits of two vectors.
    fn vectors(&self, cache: Option<PathBuf>) -> Vec<u32> {
        let encoder = Encoder::load(self.file(""), &LoadOptions { cache, ..LoadOptions::default() }).unwrap();
        let vectors = encoder.encode(&["roses are pruned in march", "bread"], TextKind::Passage).unwrap();
        vectors.into_iter().map(f32::to_bits).collect()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// Files that were written just now may change again within a tick of the clock.
fn settle() {
    std::thread::sleep(Duration::from_millis(120));
}

/// Turns a bit of the last number of a file of weights. Length and time stay as they were.
fn change_secretly(path: &Path) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    // The lowest bit of the last number.
    let at = bytes.len() - 4;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
    settle();
}

#[test]
fn what_was_computed_is_kept_and_found_again() {
    let place = Place::of("rope-linear");
    let fingerprint = place.load();
    assert_eq!(fingerprint, place.computed());
    let kept = place.kept();
    assert_eq!(kept.len(), 1);
    assert_eq!(fs::read_to_string(&kept[0]).unwrap(), format!("{fingerprint}\n"));
    // That it is the file that is believed, and not the weights read again, shows by another one in its place.
    let other = "7".repeat(64);
    fs::write(&kept[0], &other).unwrap();
    assert_eq!(place.load().to_string(), other);
    // What is no fingerprint is as if it were not there.
    for damaged in ["", "77", "no fingerprint"] {
        fs::write(&kept[0], damaged).unwrap();
        assert_eq!(place.load(), fingerprint, "{damaged:?}");
        assert_eq!(fs::read_to_string(&kept[0]).unwrap(), format!("{fingerprint}\n"));
    }
}

/// Whatever file of a model changes, the fingerprint is that of what is there now.
#[test]
fn changed_files_are_noticed() {
    for (name, file) in [
        ("rope-linear", "model.safetensors"),
        ("adapter-dora", "adapter_model.safetensors"),
        ("adapter-dora", "../base/model.safetensors"),
        ("dense-and-norms", "3_Dense/model.safetensors"),
        ("pickle-of-old", "pytorch_model.bin"),
    ] {
        let place = Place::of(name);
        let before = place.load();
        assert_eq!(place.load(), before);
        assert_eq!(place.kept().len(), 1, "{name}");
        change_secretly(&place.file(file));
        let after = place.load();
        assert!(after != before && after == place.computed(), "{name}: a change of {file} is not noticed");
        assert_eq!(place.kept().len(), 2, "{name}");
    }
    let texts: &[(&str, &str, &str)] = &[
        ("config.json", "\"hidden_act\": \"silu\"", "\"hidden_act\": \"relu\""),
        ("tokenizer.json", "\"single_word\": false", "\"single_word\":  false"),
        ("tokenizer_config.json", "</s>", "<s>"),
        ("1_Pooling/config.json", "lasttoken", "mean"),
        ("sentence_bert_config.json", "200", "20"),
    ];
    for (file, from, to) in texts {
        let place = Place::of("rope-linear");
        let before = place.load();
        let path = place.file(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file}: {text}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let after = place.load();
        assert!(after != before && after == place.computed(), "a change of {file} is not noticed");
    }
}

#[test]
fn another_way_to_load_has_another_fingerprint() {
    let place = Place::of("rope-linear");
    let before = place.load();
    let load = |options: LoadOptions| {
        let options = LoadOptions { cache: Some(place.cache()), ..options };
        *Encoder::load(place.file(""), &options).unwrap().fingerprint()
    };
    let shorter = LoadOptions { max_length: Some(20), ..LoadOptions::default() };
    assert_ne!(load(shorter.clone()), before);
    assert_eq!(load(shorter), load(LoadOptions { max_length: Some(20), ..LoadOptions::default() }));
    assert_eq!(load(LoadOptions::default()), before);
}

/// A file that was written within the tick of a clock may change without another time, so nothing is kept for it.
#[test]
fn nothing_is_kept_of_files_that_were_written_just_now() {
    let place = Place::of("rope-linear");
    let path = place.file("model.safetensors");
    fs::write(&path, fs::read(&path).unwrap()).unwrap();
    let first = place.load();
    assert_eq!(first, place.computed());
    if !place.kept().is_empty() {
        // The machine was so slow that the tick was over.
        return;
    }
    settle();
    assert_eq!(place.load(), first);
    assert_eq!(place.kept().len(), 1);
}

/// A folder that cannot be written costs time and nothing else.
#[test]
fn a_file_in_place_of_the_folder() {
    let place = Place::of("rope-linear");
    fs::write(place.cache(), "a file").unwrap();
    assert_eq!(place.load(), place.computed());
}

/// Damage is found by the load that would keep the fingerprint, so that it is not kept.
#[test]
fn damaged_weights_are_not_kept() {
    let place = Place::of("rope-linear");
    let path = place.file("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    settle();
    let options = LoadOptions { cache: Some(place.cache()), ..LoadOptions::default() };
    for _ in 0..2 {
        assert!(Encoder::load(place.file(""), &options).is_err());
        assert!(place.kept().is_empty());
    }
}

/// An adapter that is merged, projections stacked, a gate beside its projection, and other weights in their file.
#[test]
fn packed_weights_are_kept_and_give_the_same_vectors() {
    for name in ["dense-and-norms", "rope-linear", "adapter-pissa"] {
        let place = Place::of(name);
        let without = place.vectors(None);
        assert_eq!(place.vectors(Some(place.cache())), without, "{name}");
        let panels = place.panels();
        assert_eq!(panels.len(), 1, "{name}");
        assert_eq!(place.vectors(Some(place.cache())), without, "{name}");
        damage_is_mended(&panels[0], &without, || place.vectors(Some(place.cache())));
    }
}

/// Checks with a file of packed weights: what was computed with it was read from it, and what is damaged is packed
/// again.
fn damage_is_mended(panels: &Path, right: &[u32], compute: impl Fn() -> Vec<u32>) {
    let name = panels.display();
    let whole = fs::read(panels).unwrap();
    // That they are read, and not packed again, shows by another number in their place.
    let mut other = whole.clone();
    let middle = 64 + 4 * 17;
    other[middle..middle + 4].copy_from_slice(&3.0f32.to_le_bytes());
    fs::write(panels, &other).unwrap();
    assert_ne!(compute(), right, "{name}");
    // What is no such file of these weights is packed again, and kept by the load after it.
    let mut others_weights = whole.clone();
    others_weights[64..68].copy_from_slice(&3.0f32.to_le_bytes());
    for damaged in [&b""[..], b"panels", &whole[..whole.len() - 64], &whole[64..], &others_weights] {
        fs::write(panels, damaged).unwrap();
        for _ in 0..2 {
            assert_eq!(compute(), right, "{name}, {} bytes", damaged.len());
        }
        assert_eq!(fs::read(panels).unwrap(), whole, "{name}, {} bytes", damaged.len());
    }
}

/// A cross-encoder keeps its fingerprint and its packed weights as an encoder does, in files of its own.
#[test]
fn packed_weights_of_cross_encoders_give_the_same_scores() {
    for name in ["bert-cross-encoder", "xlm-roberta-cross-encoder", "modernbert-cross-encoder"] {
        let fixture = Fixture::read(name);
        let model = fixture.write(&fixture.config);
        write_tokenizer(model.path(), &["red", "roses", "are", "pruned"], Some("<s> $A </s>"));
        // The cache lies beside the model's files.
        let place = Place { folder: TempDir::new().unwrap() };
        copy(model.path(), &place.file(""));
        settle();
        let load = |cache: Option<PathBuf>| {
            CrossEncoder::load(place.file(""), &LoadOptions { cache, ..LoadOptions::default() }).unwrap()
        };
        let scores = |cache: Option<PathBuf>| -> Vec<u32> {
            let scores = load(cache).score(&[("red roses", "roses are red"), ("red", "pruned")]).unwrap();
            scores.into_iter().map(f32::to_bits).collect()
        };
        let kept = || scores(Some(place.cache()));
        let without = scores(None);
        assert!(place.cached().is_empty(), "{name}");
        assert_eq!(kept(), without, "{name}");
        let panels = place.panels();
        assert_eq!((place.kept().len(), panels.len()), (1, 1), "{name}");
        assert_eq!(kept(), without, "{name}");
        assert_eq!(load(Some(place.cache())).fingerprint(), load(None).fingerprint(), "{name}");
        damage_is_mended(&panels[0], &without, kept);
        // The same directory as an encoder: neither takes the other's file.
        let vectors = place.vectors(None);
        for _ in 0..2 {
            assert_eq!(place.vectors(Some(place.cache())), vectors, "{name}");
            assert_eq!(kept(), without, "{name}");
            assert_eq!(place.panels().len(), 2, "{name}");
        }
        // Weights that change are noticed.
        change_secretly(&place.file("model.safetensors"));
        assert_eq!(load(Some(place.cache())).fingerprint(), load(None).fingerprint(), "{name}");
        assert_eq!(place.kept().len(), 3, "{name}");
    }
}

#[test]
fn changed_weights_are_packed_again() {
    let place = Place::of("rope-linear");
    let before = place.vectors(Some(place.cache()));
    let path = place.file("model.safetensors");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // Numbers from which all vectors depend.
    let half = bytes.len() / 8 * 4;
    bytes[half..].as_chunks_mut::<4>().0.iter_mut().for_each(|number| number[2] ^= 0x40);
    fs::write(&path, bytes).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    settle();
    let after = place.vectors(Some(place.cache()));
    assert_ne!(after, before);
    assert_eq!(after, place.vectors(None));
    assert_eq!(place.panels().len(), 2);
}
