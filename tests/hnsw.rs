//! Databases with an HNSW index beside databases with a flat one.

use serde_json::json;

use crate::support::{Sandbox, dataset, ids, model, tree};

/// A sandbox with `flat` and `hnsw`, databases of the same 1,500 documents: enough for a graph.
fn databases() -> Sandbox {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    dataset::generated(&sandbox.path("data"), 1500);
    for index in ["flat", "hnsw"] {
        sandbox.run(["index", "data", "--out", index, "--encoder", "tiny", "--index", index]).ok();
    }
    sandbox
}

/// The graph finds what the exact index finds, with the same scores. A small ef finds no more than that.
#[test]
fn graphs_find_what_the_exact_index_finds() {
    let sandbox = databases();
    assert!(sandbox.path("hnsw/segments/0000000001/graph").exists());
    assert!(!sandbox.path("flat/segments/0000000001/graph").exists());
    assert_eq!(sandbox.run(["verify", "flat"]).ok().lines().count(), 1);
    let verified = sandbox.run(["verify", "hnsw"]).ok();
    let recall = verified.lines().nth(1).unwrap();
    let mean =
        recall.strip_prefix("recall@10 of its own vectors at ef 100: ").unwrap().split(',').next().unwrap();
    assert!(mean.parse::<f64>().unwrap() >= 0.95, "{verified}");
    let (mut found, mut found_by_few, mut wanted) = (0, 0, 0);
    for query in ["rose winter", "honey bread oven", "wheel chain", "ash and lava", "rain on the hill"] {
        let exact = ids(&sandbox.run(["search", "flat", query, "--mode", "dense", "--json"]).json());
        let search = |database, ef| {
            ids(&sandbox.run(["search", database, query, "--mode", "dense", "--ef", ef, "--json"]).json())
        };
        let count = |hits: &[String]| hits.iter().filter(|hit| exact.contains(hit)).count();
        let (few, many) = (search("hnsw", "10"), search("hnsw", "120"));
        assert_eq!((few.len(), many.len()), (10, 10));
        wanted += exact.len();
        found += count(&many);
        found_by_few += count(&few);
        assert_eq!(
            search("hnsw", "1500"),
            exact,
            "with an ef as large as the number of rows all are compared"
        );
        let hybrid = sandbox.run(["search", "hnsw", query, "--mode", "hybrid", "--json"]).json();
        assert_eq!(ids(&hybrid).len(), 10);
    }
    assert!(found >= wanted * 95 / 100 && found_by_few <= found, "{found_by_few}, {found} of {wanted}");
}

/// 1-bit codes: the same commands, the same scores. The type of the codes is kept by generations and through a
/// compaction.
#[test]
fn one_bit_codes_are_walked() {
    let sandbox = databases();
    let index = ["index", "data", "--out", "bits", "--encoder", "tiny", "--index", "hnsw", "--codes", "1bit"];
    sandbox.run(index).ok();
    let files = |database: &str| tree(&sandbox.path(database).join("segments"));
    let graphs = |database: &str| -> Vec<Vec<u8>> {
        let graphs = files(database).into_iter().filter(|(name, _)| name.ends_with("graph"));
        graphs.map(|(_, bytes)| bytes).collect()
    };
    let versions = |database: &str| graphs(database).iter().map(|bytes| bytes[8]).collect::<Vec<_>>();
    // Some of the documents are equal, so both are of the version that has copies.
    assert_eq!((versions("hnsw"), versions("bits")), (vec![4], vec![4]));
    assert!(graphs("bits")[0].len() < graphs("hnsw")[0].len());
    let search = |database: &str, more: &[&str]| {
        let arguments = ["search", database, "honey bread oven", "--mode", "dense", "--json"];
        ids(&sandbox.run(arguments.iter().chain(more)).json())
    };
    let (found, exact, all) = (search("bits", &[]), search("flat", &[]), search("flat", &["-k", "1500"]));
    assert!(found.len() == 10 && found.iter().all(|hit| all.contains(hit)), "{found:?}");
    let whole = search("bits", &["--ef", "1500"]);
    assert_eq!(whole, exact, "with an ef as large as the number of rows all are compared");

    let verified = sandbox.run(["verify", "bits"]).ok();
    let (_, mean) = verified.split_once("recall@10 of its own vectors at ef 100 with 1bit codes: ").unwrap();
    assert!(mean.split(',').next().unwrap().parse::<f64>().unwrap() >= 0.8, "{verified}");
    dataset::write(&sandbox.path("data"), "queries.jsonl", "{\"_id\": \"q\", \"text\": \"lava\"}\n");
    let tuned = sandbox.run(["tune", "bits", "data", "--target-recall", "0.9"]).ok();
    assert!(tuned.ends_with("the least for a recall of 0.9\n"), "{tuned}");

    let generation = ["generation", "add", "bits", "again", "--encoder", "tiny", "--index", "hnsw"];
    sandbox.run(generation.into_iter().chain(["--codes", "1bit"])).ok();
    let list = sandbox.run(["generation", "list", "bits", "--json"]).json();
    assert!(list.as_array().unwrap().iter().all(|generation| generation["codes"] == "1bit"), "{list}");
    assert_eq!(search("bits", &["--generation", "again", "--ef", "1500"]), exact);
    let mut open = secateur::Database::open(sandbox.path("bits")).unwrap();
    for hit in exact.iter().step_by(2) {
        open.delete(hit.split(' ').next().unwrap().trim_matches('"')).unwrap();
    }
    open.commit().unwrap();
    drop(open);
    sandbox.run(["compact", "bits"]).ok();
    assert_eq!(versions("bits"), [4, 4]);
    sandbox.run(["verify", "bits"]).ok();
    let left: Vec<_> = all.iter().filter(|hit| !exact.iter().step_by(2).any(|gone| gone == *hit)).collect();
    assert_eq!(search("bits", &["-k", "1500"]).iter().collect::<Vec<_>>(), left);
}

/// `tune` finds an ef, sets it for searches that name none, and measures only when asked to.
#[test]
fn tuning_sets_the_ef_of_searches() {
    let sandbox = databases();
    let queries: Vec<String> = ["rose saw", "honey", "bread oven hill", "lava", "rain cloud ash"]
        .iter()
        .enumerate()
        .map(|(number, text)| format!("{{\"_id\": \"q{number}\", \"text\": \"{text}\"}}\n"))
        .collect();
    dataset::write(&sandbox.path("data"), "queries.jsonl", queries.concat());
    let ef_of = |answer: &serde_json::Value| answer["ef"].as_u64().unwrap();
    let before = tree(&sandbox.path("hnsw"));
    let tune = ["tune", "hnsw", "data", "--target-recall", "1", "--json"];
    let measured = sandbox.run(tune.into_iter().chain(["--dry-run"])).json();
    assert!(tree(&sandbox.path("hnsw")) == before, "a dry run changes nothing");
    let tuned = sandbox.run(tune).json();
    let points = tuned["points"].as_array().unwrap();
    let without_times = |answer: &serde_json::Value| -> Vec<serde_json::Value> {
        let points = answer["points"].as_array().unwrap();
        points.iter().map(|point| json!([point["ef"], point["mean"], point["percentile_5"]])).collect()
    };
    assert_eq!((without_times(&tuned), &tuned["ef"]), (without_times(&measured), &measured["ef"]));
    assert!(points.iter().all(|point| point["seconds"].as_f64().unwrap() > 0.0), "{tuned}");
    let found = points.iter().find(|point| point["ef"] == tuned["ef"]).unwrap();
    assert_eq!(found["mean"].as_f64().unwrap(), 1.0);
    let search = |ef: &[&str]| {
        let arguments = ["search", "hnsw", "honey", "--mode", "dense", "--json"];
        sandbox.run(arguments.iter().chain(ef)).ok()
    };
    assert_eq!(search(&[]), search(&["--ef", &ef_of(&tuned).to_string()]));
    let last = points.last().unwrap();
    let line = format!("{:>6}  {:.4}  ", last["ef"].as_u64().unwrap(), last["mean"].as_f64().unwrap());
    let verified = sandbox.run(["verify", "hnsw"]).ok();
    let (_, kept) = verified.split_once("\nwhen it was tuned: ").unwrap();
    assert_eq!(kept.lines().count(), points.len() + 3, "{kept}");
    assert!(kept.contains(&line), "{kept}");
    let text = sandbox.run(["tune", "hnsw", "data", "--target-recall", "0.1", "--num-queries", "2"]).ok();
    assert!(text.starts_with("2 queries, recall@10 against exact search\n"), "{text}");
    assert!(text.contains(" ms\n") && text.contains("taken once"), "{text}");
    assert!(text.ends_with("\nef 10 is set, the least for a recall of 0.1\n"), "{text}");
    assert_eq!(search(&[]), search(&["--ef", "10"]));
    sandbox.run(["verify", "hnsw"]).ok();

    sandbox.run(["tune", "flat", "data"]).fails(4, ["no HNSW index"]);
    // Without a graph an ef of 10 would find everything, and not after more documents.
    dataset::small(&sandbox.path("few"));
    sandbox.run(["index", "few", "--out", "small", "--encoder", "tiny", "--index", "hnsw"]).ok();
    let info = || sandbox.run(["info", "small", "--json"]).json();
    let before = info();
    sandbox.run(["tune", "small", "few"]).fails(4, ["there is no graph yet", "fewer than 1024 vectors"]);
    assert_eq!(info(), before);
    sandbox.run(["tune", "hnsw", "data", "--target-recall", "1.1"]).fails(2, ["--target-recall"]);
    dataset::write(&sandbox.path("data"), "queries.jsonl", "");
    sandbox.run(["tune", "hnsw", "data"]).fails(3, ["no queries"]);
}

/// The same files whatever the number of threads; another seed gives another graph.
#[test]
fn databases_are_repeatable() {
    let sandbox = databases();
    let again = ["index", "data", "--encoder", "tiny", "--index", "hnsw", "--out"];
    for threads in ["1", "3"] {
        sandbox.run(["--threads", threads].into_iter().chain(again).chain([threads])).ok();
        let graph = |database: &str| tree(&sandbox.path(database).join("segments/0000000001"));
        let (first, second) = (graph("hnsw"), graph(threads));
        for name in ["graph", "vectors"] {
            assert!(
                first[std::path::Path::new(name)] == second[std::path::Path::new(name)],
                "{name}, {threads}"
            );
        }
    }
    sandbox.run(again.into_iter().chain(["seeded", "--hnsw-seed", "5", "--hnsw-m", "8"])).ok();
    let graph =
        |database: &str| std::fs::read(sandbox.path(database).join("segments/0000000001/graph")).unwrap();
    assert_ne!(graph("seeded"), graph("hnsw"));
}

#[test]
fn bad_parameters_are_refused() {
    let sandbox = Sandbox::new();
    dataset::small(&sandbox.path("data"));
    let index = ["index", "data", "--out", "db", "--index", "hnsw"];
    sandbox
        .run(index.into_iter().chain(["--encoder", "none"]))
        .fails(2, ["--index does nothing", "--encoder"]);
    sandbox.run(index.into_iter().chain(["--encoder", "none", "--max-length", "9"])).fails(2, ["do nothing"]);
    for (name, value) in [
        ("--hnsw-m", "1"),
        ("--hnsw-m", "257"),
        ("--hnsw-ef-construction", "0"),
        ("--hnsw-seed", "-"),
        ("--codes", "2bit"),
    ] {
        sandbox.run(index.into_iter().chain(["--encoder", "tiny", name, value])).fails(2, [name]);
    }
    sandbox.run(["search", "db", "roses", "--ef", "0"]).fails(2, ["--ef"]);
    assert_eq!(sandbox.names(), ["data"]);
}

/// What an index does not have is refused, and so is what only vectors have where there are none.
#[test]
fn options_that_would_do_nothing_are_refused() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    dataset::small(&sandbox.path("data"));
    let names = sandbox.names();
    let index = ["index", "data", "--out", "new"];
    let plan = ["shards", "plan", "data", "--shards", "2", "--out", "new"];
    let option = |command: &[&str], more: &[&str], parts: [&str; 2]| {
        sandbox.run([command, more].concat()).fails(2, parts);
    };
    for command in [&index[..], &plan] {
        for given in
            [["--hnsw-m", "8"], ["--hnsw-ef-construction", "50"], ["--hnsw-seed", "7"], ["--codes", "1bit"]]
        {
            let parts = [&*format!("{} does nothing with --index flat", given[0]), "such as hnsw"];
            option(command, &[&["--encoder", "tiny"], &given[..]].concat(), parts);
        }
        for given in [["--hnsw-seed", "7"], ["--codes", "1bit"]] {
            let parts = [&*format!("{} does nothing with --index hnsw-rs", given[0]), "such as hnsw"];
            option(command, &[&["--encoder", "tiny", "--index", "hnsw-rs"], &given[..]].concat(), parts);
        }
        for given in [["--vectors", "f16"], ["--metric", "l2"], ["--separator", ": "], ["--index", "hnsw"]] {
            let parts = [&*format!("{} does nothing without", given[0]), "--encoder"];
            option(command, &[&["--encoder", "none"], &given[..]].concat(), parts);
        }
    }
    assert_eq!(sandbox.names(), names);
    sandbox.run(["index", "data", "--encoder", "tiny", "--out", "db"]).ok();
    let generation = ["generation", "add", "db", "more", "--encoder", "tiny", "--max-length", "8"];
    option(&generation, &["--codes", "1bit"], ["--codes does nothing with --index flat", "such as hnsw"]);
}
