//! `secateur train`, `prune slim --train` and `effir`, as users run them, on the tiny BERT and the bundled collection.

use std::time::Duration;

use secateur::encode::{Pooling, TextKind};
use secateur::train::{LogLine, read_log};
use secateur::train::{Lora, TrainSettings, Trained, Trainer};
use secateur::{Encoder, LoadOptions};

use crate::support::dataset::write;
use crate::support::{Outcome, Sandbox, mini, model, tree, workspace_root};

/// A sandbox with the tiny model and the judgments of the bundled collection as training data.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    let mini = mini().display().to_string();
    let convert = ["dataset", "triples", &mini, "--split", "test", "--allow-evaluation-split"];
    sandbox.run(convert.iter().chain(&["--out", "t.jsonl"])).ok();
    sandbox
}

const TRAIN: [&str; 11] =
    ["train", "tiny", "--data", "t.jsonl", "--batch-size", "4", "--steps", "12", "--negatives", "2", "--out"];

fn train(sandbox: &Sandbox, out: &str, rest: &[&str]) -> Outcome {
    sandbox.run([&TRAIN[..], &[out], rest].concat())
}

/// The losses of a run.
fn losses(sandbox: &Sandbox, run: &str) -> Vec<f64> {
    let lines = read_log(sandbox.path(run).join("log.jsonl")).unwrap();
    let of_step = |line: &LogLine| match line {
        LogLine::Step { loss, .. } => Some(*loss),
        LogLine::Dev { .. } => None,
    };
    lines.iter().filter_map(of_step).collect()
}

fn vectors(directory: &std::path::Path) -> Vec<f32> {
    let encoder = Encoder::load(directory, &LoadOptions::default()).unwrap();
    encoder.encode(&["a rose", "12 breads and a pond"], TextKind::Query).unwrap()
}

#[test]
fn adapters_are_trained_and_merged() {
    let sandbox = sandbox();
    let said = train(&sandbox, "run", &["--rank", "4", "--alpha", "8", "--learning-rate", "0.01"]).ok();
    // Six matrices in each of three layers: (48 + 48) * 4 four times, (48 + 80) * 4 twice.
    assert!(said.starts_with("run/model: 7,680 trained numbers, 12 steps, loss "), "{said}");
    assert_eq!(losses(&sandbox, "run").len(), 12);
    let drawing = std::fs::read_to_string(sandbox.path("run/loss.svg")).unwrap();
    assert!(drawing.contains("polyline"), "{drawing}");

    // The adapter finds its base, and merged it is the same.
    sandbox.run(["model", "merge", "run/model", "--out", "merged"]).ok();
    let [whole, adapted, merged] = ["tiny", "run/model", "merged"].map(|name| vectors(&sandbox.path(name)));
    let largest = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest(&adapted, &merged) < 1e-6);
    assert!(largest(&adapted, &whole) > 1e-3);

    // What differs from the model's own word on encoding goes with what was trained.
    for (run, rest) in [("prompted", &["--rank", "4"][..]), ("whole", &["--full"])] {
        let encoding = ["--query-prompt", "ask: ", "--pooling", "cls"];
        train(&sandbox, run, &[rest, &encoding].concat()).ok();
        let encoder = Encoder::load(sandbox.path(run).join("model"), &LoadOptions::default()).unwrap();
        let settings = encoder.settings();
        assert_eq!((&settings.query_prompt[..], &settings.passage_prompt[..]), ("ask: ", ""));
        assert_eq!(settings.pooling, Pooling::Cls);
        assert!(settings.normalize);
    }

    train(&sandbox, "run", &[]).fails(2, ["run is a run's", "--resume"]);
    train(&sandbox, "run", &["--resume"])
        .fails(2, ["run/checkpoint.safetensors is of a run with other options"]);
}

/// A model without layers has nothing for an adapter, which is found before its data and weights are read.
#[test]
fn adapters_need_layers() {
    let sandbox = sandbox();
    let default = workspace_root().join("encoders/default").display().to_string();
    for rest in [&[][..], &["--targets", "q_proj"]] {
        let arguments = ["train", &default, "--data", "nowhere.jsonl", "--out", "run"];
        sandbox.run([&arguments[..], rest].concat()).fails(3, ["has no linear layers", "--full"]);
    }
    let lora = Trained::Lora(Lora::default());
    let error = Trainer::load(&default, TrainSettings::new(lora, 1)).err().unwrap();
    assert!(error.to_string().contains("has no linear layers"), "{error}");

    write(&sandbox.path("."), "r.toml", format!("model = \"{default}\"\n[train]\ndata = [\"t.jsonl\"]\n"));
    sandbox.run(["effir", "r.toml", "--out", "effir"]).fails(3, ["has no linear layers", "full = true"]);
    assert!(!sandbox.path("run").exists() && !sandbox.path("effir").exists());
}

/// Batches of one query are named where there were any.
#[test]
fn steps_without_a_gradient_are_told_with_their_reason() {
    let sandbox = sandbox();
    write(&sandbox.path("."), "lone.jsonl", "{\"query\": \"a rose\", \"pos\": [\"a pond\"], \"neg\": []}\n");
    for (data, rest, reason) in [
        ("lone.jsonl", &[][..], "compared with its own passage alone"),
        ("t.jsonl", &["--contrastive-weight", "0"], "its weights are 0"),
    ] {
        let arguments = ["train", "tiny", "--data", data, "--rank", "2", "--steps", "2", "--out", "run"];
        let arguments = [&arguments[..], rest].concat();
        let told = sandbox.run(&arguments);
        assert_eq!(told.status.code(), Some(0), "{told:?}");
        assert!(told.stderr.contains("warning: 2 steps had no gradient: "), "{told:?}");
        assert!(told.stderr.contains(reason), "{told:?}");
        assert_eq!(told.stderr.contains("more than one query"), data == "lone.jsonl", "{told:?}");
        std::fs::remove_dir_all(sandbox.path("run")).unwrap();
        let strict = [&arguments[..], &["--strict"]].concat();
        sandbox.run(strict).fails(3, ["step 1 has no gradient: ", reason]);
        std::fs::remove_dir_all(sandbox.path("run")).unwrap();
    }
}

#[test]
fn training_lowers_the_loss_and_keeps_the_best() {
    let sandbox = sandbox();
    let dataset = mini().display().to_string();
    let rest = ["--full", "--learning-rate", "0.003", "--dev", &dataset, "--dev-every", "5"];
    train(&sandbox, "run", &rest).fails(2, ["has no split dev", "--dev-split"]);
    let mut arguments = TRAIN.to_vec();
    arguments[7] = "40";
    let said = sandbox.run([&arguments[..], &["run"], &rest, &["--dev-split", "test"]].concat()).ok();
    assert!(said.contains("run/best: nDCG@10 0."), "{said}");
    let losses = losses(&sandbox, "run");
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&losses[30..]) < 0.8 * mean(&losses[..5]), "{losses:?}");
    let measured = read_log(sandbox.path("run/log.jsonl")).unwrap();
    let best = measured.iter().filter_map(|line| match line {
        LogLine::Dev { ndcg_at_10, .. } => Some(*ndcg_at_10),
        LogLine::Step { .. } => None,
    });
    let best = best.fold(0.0, f64::max);
    assert!(said.contains(&format!("nDCG@10 {best:.4} after step")), "{said} {best}");
    // A whole model, in the element types of the first.
    assert_eq!(vectors(&sandbox.path("run/best")).len(), 2 * model::DIM);
}

#[test]
fn a_run_that_is_killed_ends_with_the_same_weights() {
    let sandbox = sandbox();
    let rest = ["--save-every", "2", "--dropout", "0.2", "--rank", "4"];
    train(&sandbox, "whole", &rest).ok();
    let weights =
        |run: &str| std::fs::read(sandbox.path(run).join("model/adapter_model.safetensors")).unwrap();
    for threads in ["1", "3"] {
        let run = format!("killed{threads}");
        let arguments = [&TRAIN[..], &[&run], &rest, &["--threads", threads, "--resume"]].concat();
        let mut kills = 0;
        let checkpoint = sandbox.path(&run).join("checkpoint.safetensors");
        while !sandbox.path(&run).join("model").exists() {
            let mut child = sandbox.start(&arguments);
            let before = std::fs::metadata(&checkpoint).and_then(|file| file.modified()).ok();
            // Until it has written another checkpoint, or has ended.
            while child.try_wait().unwrap().is_none()
                && std::fs::metadata(&checkpoint).and_then(|file| file.modified()).ok() == before
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            if child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                kills += 1;
            }
            child.wait().unwrap();
        }
        assert!(kills > 0, "it was never caught");
        assert!(weights(&run) == weights("whole"), "{threads} threads, {kills} kills");
        assert_eq!(losses(&sandbox, &run), losses(&sandbox, "whole"));
    }
    // A run that is finished is told as that, and is left as it is.
    let again = [&rest[..], &["--resume"]].concat();
    let kept =
        || (weights("killed1"), std::fs::read(sandbox.path("killed1/checkpoint.safetensors")).unwrap());
    let before = kept();
    let said = train(&sandbox, "killed1", &again).ok();
    assert!(said.starts_with("killed1/model: the run is finished, ") && said.contains("12 steps"), "{said}");
    train(&sandbox, "killed1", &["--resume", "--save-every", "2", "--rank", "4"])
        .fails(2, ["of a run with other options: ", "dropout is 0.2 there"]);
    train(&sandbox, "killed1", &rest).fails(2, ["killed1 is a run's: go on with it by --resume"]);
    std::fs::rename(sandbox.path("killed1/checkpoint.safetensors"), sandbox.path("kept")).unwrap();
    train(&sandbox, "killed1", &again).fails(2, ["killed1/model exists"]);
    std::fs::rename(sandbox.path("kept"), sandbox.path("killed1/checkpoint.safetensors")).unwrap();
    assert!(kept() == before);
    // Another run's checkpoint is not gone on from.
    std::fs::remove_dir_all(sandbox.path("killed1/model")).unwrap();
    train(&sandbox, "killed1", &["--resume", "--save-every", "2", "--rank", "4"])
        .fails(2, ["of a run with other options: ", "dropout is 0.2 there, 0.1 is given; go on with those"]);
    let other = [&rest[..], &["--resume", "--seed", "7"]].concat();
    train(&sandbox, "killed1", &other).fails(2, ["of a run with other options: seed is ", "7 is given"]);
    // A checkpoint that was cut off was not fetched from anywhere.
    let checkpoint = sandbox.path("killed1/checkpoint.safetensors");
    let whole = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, &whole[..whole.len() / 2]).unwrap();
    train(&sandbox, "killed1", &[&rest[..], &["--resume"]].concat())
        .fails(3, ["checkpoint.safetensors is no whole checkpoint", "remove it to begin the run anew"]);
}

/// Who interrupts a run is told of a checkpoint if there is one.
#[test]
#[cfg(unix)]
fn an_interrupted_run_says_what_is_kept() {
    let sandbox = sandbox();
    let interrupt = |run: &str, save_every: &str, file: &str| {
        let rest = ["--steps", "1000000", "--save-every", save_every, "--rank", "4", "--resume"];
        let file = sandbox.path(run).join(file);
        let written = || std::fs::metadata(&file).and_then(|file| Ok((file.len(), file.modified()?))).ok();
        let before = written();
        let mut child = sandbox.start([&TRAIN[..6], &rest, &["--out", run]].concat());
        // Written by this run: an interrupt that comes before is nobody's.
        while written().is_none_or(|now| now.0 == 0 || Some(now) == before) {
            assert!(child.try_wait().unwrap().is_none(), "{:?}", Outcome::wait(child));
            std::thread::sleep(Duration::from_millis(1));
        }
        let id = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let outcome = Outcome::wait(child);
        assert_eq!(outcome.status.code(), Some(130), "{outcome:?}");
        outcome.stderr
    };
    let begins = "there is no early/checkpoint.safetensors: the training begins with its first step";
    for _ in 0..2 {
        let told = interrupt("early", "1000000", "log.jsonl");
        assert!(told.contains(begins), "{told}");
        assert!(told.contains("before the first checkpoint: the same command begins anew"), "{told}");
    }
    for _ in 0..2 {
        let told = interrupt("late", "1", "checkpoint.safetensors");
        assert!(told.contains(": the last checkpoint is kept; run the same command with --resume"), "{told}");
    }
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let sandbox = sandbox();
    let refused = |rest: &[&str], code: i32, parts: &[&str]| train(&sandbox, "run", rest).fails(code, parts);
    refused(&["--targets", "q_proj"], 3, &["no linear layer's name ends in \"q_proj\"", "encoder.layer.0"]);
    refused(&["--temperature", "0"], 2, &["--temperature: it is 0; it must be above 0"]);
    refused(&["--dropout", "1"], 2, &["--dropout: it is 1; it must be 0 to below 1"]);
    refused(&["--batch-tokens", "0"], 2, &["--batch-tokens", "at least 1"]);
    refused(&["--precision", "int8"], 2, &["precision: ", "f32 or bf16"]);
    refused(&["--device", "gpu"], 2, &["--device", "cuda:N"]);
    refused(&["--device", "cuda:all"], 1, &["cuda:all cannot be used", "--device cuda:0"]);
    // No machine has so many, and most have none.
    refused(&["--device", "cuda:99"], 1, &["cuda:99 cannot be used", "--device cpu"]);
    write(&sandbox.path("."), "bad.jsonl", "{\"query\": \"q\", \"pos\": [\"p\"]}\n{\"query\": \"q\"}\n");
    sandbox.run(["train", "tiny", "--data", "bad.jsonl", "--out", "run"]).fails(3, ["bad.jsonl:2", "pos"]);
    write(
        &sandbox.path("."),
        "prompt.jsonl",
        "{\"query\": \"q\", \"pos\": [\"p\"], \"prompt\": \"find: \"}\n",
    );
    let prompted = ["train", "tiny", "--data", "prompt.jsonl", "--out", "prompted"];
    sandbox.run(prompted).fails(3, ["the query prompt \"find: \"", "the model has \"\""]);
    assert!(!sandbox.path("run/model").exists());

    // Numbers that overflow in the last step are found, too: no step comes after it.
    let last = ["--full", "--learning-rate", "1e30", "--warmup", "0", "--steps", "1"];
    let arguments = [&TRAIN[..6], &last, &["--out", "last"]].concat();
    sandbox.run(arguments).fails(3, ["training diverged at step 1: ", "lower learning rate"]);
    assert!(!sandbox.path("last/model").exists() && !sandbox.path("last/checkpoint.safetensors").exists());

    // The loss grows without end: the step is not kept, and the last checkpoint stays.
    let wild = ["--full", "--learning-rate", "1e30", "--warmup", "0", "--save-every", "1"];
    let message = train(&sandbox, "wild", &wild).fails(3, ["training diverged at step", "learning rate"]);
    assert!(!sandbox.path("wild/model").exists(), "{message}");
    if sandbox.path("wild/checkpoint.safetensors").exists() {
        let settings = TrainSettings::new(Trained::Full, 12);
        let mut trainer = Trainer::load(sandbox.path("tiny"), settings).unwrap();
        // It is whole: what is wrong with it is that these are other settings.
        let error = trainer.resume(sandbox.path("wild/checkpoint.safetensors")).unwrap_err();
        assert!(error.to_string().contains("learning_rate is 1e+30 there, 0.0001 is given"), "{error}");
    }
}

#[test]
fn masks_are_learned_and_kept_in_training() {
    let sandbox = sandbox();
    let slim = [
        "prune",
        "slim",
        "tiny",
        "--sparsity",
        "0.3",
        "--train",
        "t.jsonl",
        "--steps",
        "10",
        "--batch-size",
        "4",
        "--pressure",
        "1",
        "--out",
        "masked",
        "--save-scores",
        "gates.json",
    ];
    let said = sandbox.run(slim).ok();
    assert!(said.starts_with("masked: tiny with 30.0 % of its MLP neurons zero\nmask: least 0.9"), "{said}");
    assert!(said.contains("0 of 240 closed"), "{said}");

    // After training under a mask, whole or by an adapter, masked neurons are still zero: removing them changes
    // nothing.
    for (run, rest) in [("full", &["--full"][..]), ("lora", &["--rank", "4"])] {
        let arguments = ["train", "masked", "--data", "t.jsonl", "--steps", "6", "--batch-size", "4"];
        let rate = ["--learning-rate", "0.01", "--out", run];
        sandbox.run([&arguments[..], &rate, rest].concat()).ok();
        let trained = format!("{run}/model");
        let merged = format!("{run}-merged");
        let whole = if run == "lora" {
            sandbox.run(["model", "merge", &trained, "--out", &merged]).ok();
            &merged
        } else {
            &trained
        };
        let compact = format!("{run}-compact");
        sandbox.run(["prune", "narrow", whole, "--mask", "masked/neuron_mask.json", "--out", &compact]).ok();
        let [before, after] = [whole, &compact].map(|name| vectors(&sandbox.path(name)));
        let largest = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest < 1e-6, "{run}: {largest}");
    }
    sandbox
        .run(["prune", "slim", "tiny", "--sparsity", "0.3", "--out", "other"])
        .fails(2, ["--calibration", "--scores", "--train"]);
}

#[test]
fn a_recipe_runs_to_its_report_and_is_not_run_twice() {
    let sandbox = sandbox();
    let dataset = mini().display().to_string();
    let recipe = format!(
        "model = \"tiny\"\n\
         [score]\ncalibration = \"{dataset}\"\nformat = \"texts\"\n\
         [drop]\nmlp = 1\n\
         [slim]\nsparsity = 0.25\ntrain = [\"t.jsonl\"]\nsteps = 4\nbatch_size = 4\n\
         [train]\ndata = [\"t.jsonl\"]\nsteps = 4\nbatch-size = 4\nrank = 4\nteacher = \"tiny\"\n\
         [evaluate]\ndatasets = [\"{dataset}\"]\nbaseline = true\n"
    );
    write(&sandbox.path("."), "recipe.toml", &recipe);
    let effir = ["effir", "recipe.toml", "--out", "effir"];
    let report = sandbox.run(effir).ok();
    for row in ["parameters", "without embeddings", "mini nDCG@10", "kept"] {
        assert!(report.contains(row), "{report}");
    }
    // 240 neurons less one MLP of 80, less a quarter.
    let inspected = sandbox.run(["model", "inspect", "effir/model", "--json"]).json();
    let widths: u64 =
        inspected["layers"].as_array().unwrap().iter().filter_map(|l| l["intermediate_size"].as_u64()).sum();
    assert_eq!(widths, 120, "{inspected}");
    let card = std::fs::read_to_string(sandbox.path("effir/model/README.md")).unwrap();
    assert!(card.contains("base_model: tiny") && card.contains("[slim]"), "{card}");
    let plain = |report: &str| -> Vec<String> {
        report.lines().filter(|line| !line.contains("documents/s")).map(str::to_owned).collect()
    };
    assert_eq!(plain(&sandbox.run(effir).ok()), plain(&report));

    // Nothing is kept of what was not measured.
    let alone = "model = \"tiny\"\n[evaluate]\ndatasets = [\"DIR\"]\n".replace("DIR", &dataset);
    write(&sandbox.path("."), "alone.toml", alone);
    let report = sandbox.run(["effir", "alone.toml", "--out", "alone"]).ok();
    assert!(report.contains("mini nDCG@10") && !report.contains("kept"), "{report}");

    write(&sandbox.path("."), "recipe.toml", recipe.replace("mlp = 1", "mlp = 2"));
    let before = tree(&sandbox.path("effir"));
    sandbox
        .run(effir)
        .fails(2, ["effir is of another recipe, effir/recipe.toml", "remove this one to begin anew"]);
    assert_eq!(tree(&sandbox.path("effir")), before);
    for (from, to, parts) in [
        ("mlp = 1", "mpl = 1", &["the recipe's [drop] has no key mpl"][..]),
        ("[drop]", "[drip]", &["bad.toml", "drip"]),
        ("mlp = 1", "mlp = {}", &["[drop]: mlp is table"]),
        ("[slim]", "[slim]\ndevice = \"gpu\"", &["[slim]: device is", "cuda:N"]),
    ] {
        write(&sandbox.path("."), "bad.toml", recipe.replace(from, to));
        sandbox.run(["effir", "bad.toml", "--out", "bad"]).fails(2, parts);
        assert!(!sandbox.path("bad").exists());
    }

    // All that is missing is told at once, before the first stage: a name of the hub is not looked up before that.
    let missing = recipe
        .replace("\"tiny\"", "\"no/such-model\"")
        .replace("\"t.jsonl\"", "\"a.jsonl\", \"t.jsonl\", \"b.jsonl\"")
        .replace(&format!("datasets = [\"{dataset}\""), "datasets = [\"nowhere\", \"scifact\"");
    write(&sandbox.path("."), "bad.toml", missing);
    let mut effir = sandbox.command(["effir", "bad.toml", "--out", "bad"]);
    Outcome::of(effir.env("SECATEUR_CACHE", sandbox.path("cache"))).fails(
        3,
        [
            "bad.toml: what it reads is missing",
            "\n  [slim] train: a.jsonl, b.jsonl\n  [train] data: a.jsonl, b.jsonl\n",
            "\n  [evaluate] datasets: nowhere, scifact is not downloaded",
        ],
    );
    assert!(!sandbox.path("bad").exists());
}

/// What a late stage would refuse is refused before the first one, by stage and key. Mending it loses no work.
#[test]
fn mistakes_of_late_stages_are_found_first_and_mended_without_loss() {
    let sandbox = sandbox();
    let dataset = mini().display().to_string();
    write(&sandbox.path("."), "tiny.json", "[\n  {\"query\": \"q\", \"pos\": [\"p\"]}\n]\n");
    std::fs::create_dir(sandbox.path("datasets")).unwrap();
    let recipe = format!(
        "model = \"tiny\"\n\
         [score]\ncalibration = \"{dataset}\"\nformat = \"texts\"\n\
         [drop]\nmlp = 1\n\
         [train]\ndata = [\"t.jsonl\"]\nsteps = 2\nbatch-size = 4\nfull = true\n"
    );
    let run = |recipe: &str, out: &str| {
        write(&sandbox.path("."), "r.toml", recipe);
        sandbox.run(["effir", "r.toml", "--out", out])
    };
    let slim = "[slim]\nsparsity = 0.5\ntrain = [\"t.jsonl\"]\nsteps = 2\nbatch-size = 4\n[train]";
    for (from, to, code, part) in [
        ("steps = 2", "steps = 0", 2, "[train]: steps: it is 0; it must be at least 1"),
        ("full = true", "learning-rate = -1.0", 2, "[train]: learning-rate: it is -1; it must be above 0"),
        // The model has three layers.
        ("mlp = 1", "mlp = 9", 2, "[drop]: mlp: cannot drop 9 MLP sub-layers: the model has 3"),
        (
            "mlp = 1",
            "attention = 1\nblocks = 3",
            2,
            "[drop]: attention: cannot drop 1 attention sub-layers: the model has 0",
        ),
        ("mlp = 1", "layers = [\"mlp:3\"]", 2, "[drop]: layers: cannot drop MLP 3"),
        ("mlp = 1", "target-params = 1", 2, "[drop]: target-params: "),
        ("mlp = 1\n[train]", &format!("mlp = 3\n{slim}"), 2, "[slim]: sparsity: no MLP is left"),
        ("[train]", &slim.replace("0.5", "0.5\nfloor = 0.8"), 2, "[slim]: sparsity: cannot cut the MLPs by "),
        ("t.jsonl", &dataset, 3, "[train] data: "),
        ("t.jsonl", "tiny.json", 3, "[train] data: tiny.json:1: "),
        ("full = true", "teacher = \"datasets\"", 3, "[train] teacher: "),
        ("full = true", &format!("dev = [\"{dataset}\"]"), 2, "[train]: dev-split: "),
    ] {
        run(&recipe.replace(from, to), "out").fails(code, [part]);
        assert!(!sandbox.path("out").exists(), "{to}");
    }
    // What is found late all the same: a bad line further on. What was made before is kept.
    write(&sandbox.path("."), "late.jsonl", "{\"query\": \"q\", \"pos\": [\"p\"]}\n{\"query\": \"q\"}\n");
    run(&recipe.replace("t.jsonl", "late.jsonl"), "out").fails(3, ["late.jsonl:2"]);
    let made = |name: &str| std::fs::metadata(sandbox.path("out").join(name)).unwrap().modified().unwrap();
    let before = ["scores.json", "dropped/config.json"].map(made);
    run(&recipe.replace("mlp = 1", "mlp = 2"), "out")
        .fails(2, ["out is of another recipe", "[drop] is another"]);
    run(&recipe, "out").ok();
    assert_eq!(["scores.json", "dropped/config.json"].map(made), before);
}

/// A mistake is mended in the recipe, and the same command goes on. What is nobody's folder is left alone.
#[test]
fn a_recipe_by_which_nothing_was_computed_may_change() {
    let sandbox = sandbox();
    let sound = "{\"query\": \"q\", \"pos\": [\"p\"]}\n";
    write(&sandbox.path("."), "bad.jsonl", format!("{sound}{{\"query\": \"q\"}}\n"));
    let recipe = |data: &str| {
        let steps = "full = true\nsteps = 1\nbatch-size = 4";
        write(
            &sandbox.path("."),
            "r.toml",
            format!("model = \"tiny\"\n[train]\ndata = [\"{data}\"]\n{steps}\n"),
        );
    };
    let effir = |out: &str| sandbox.run(["effir", "r.toml", "--out", out]);
    recipe("absent.jsonl");
    effir("out").fails(3, ["r.toml: what it reads is missing", "[train] data: absent.jsonl"]);
    assert!(!sandbox.path("out").exists());
    // This one is found when the training has begun.
    recipe("bad.jsonl");
    effir("out").fails(3, ["bad.jsonl:2"]);
    recipe("t.jsonl");
    let before = tree(&sandbox.path("tiny"));
    effir("tiny").fails(2, ["--out: tiny is of no recipe and has other files in it", "choose a new folder"]);
    assert_eq!(tree(&sandbox.path("tiny")), before);
    effir("out").ok();
    recipe("bad.jsonl");
    effir("out").fails(2, ["out is of another recipe"]);
}
