//! `secateur compare`.

use serde_json::Value;

use crate::support::Sandbox;

fn mini() -> String {
    crate::support::mini().display().to_string()
}

/// Two runs of the bundled collection: by words, and by words with the best hit of some queries taken out.
fn runs(sandbox: &Sandbox) -> String {
    sandbox.run(["index", &mini(), "--encoder", "none", "--out", "db"]).ok();
    sandbox.run(["eval", "db", &mini(), "--run", "words.run"]).ok();
    let text = std::fs::read_to_string(sandbox.path("words.run")).unwrap();
    let mut seen = std::collections::BTreeMap::<&str, usize>::new();
    let worse: Vec<&str> = text
        .lines()
        .filter(|line| {
            let query = line.split_whitespace().next().unwrap();
            let rank = seen.entry(query).or_insert(0);
            *rank += 1;
            *rank > 1 || query.ends_with(['1', '2', '3'])
        })
        .collect();
    std::fs::write(sandbox.path("worse.run"), worse.join("\n") + "\n").unwrap();
    text
}

#[test]
fn runs_are_compared() {
    let sandbox = Sandbox::new();
    runs(&sandbox);
    let command =
        ["compare", "words.run", "worse.run", "--qrels", &mini(), "--measures", "nDCG@10,MRR@10", "--json"];
    let json = sandbox.run(command).json();
    let by_measure = json["against_first"][0]["by_measure"].as_array().unwrap();
    for (at, measure) in ["nDCG@10", "MRR@10"].into_iter().enumerate() {
        // As the command that measures one run says it.
        let mean = |run: &str| {
            let measured = sandbox.run(["eval-run", run, &mini(), "--measures", measure, "--json"]).json();
            measured["means"][measure].as_f64().unwrap()
        };
        let [first, second] = ["words.run", "worse.run"].map(mean);
        assert_eq!(json["runs"][0]["means"][at].as_f64(), Some(first));
        assert_eq!(json["runs"][1]["means"][at].as_f64(), Some(second));
        let difference = &by_measure[at];
        assert!((difference["mean"].as_f64().unwrap() - (second - first)).abs() < 1e-12);
        let count = |name: &str| difference[name].as_u64().unwrap();
        assert_eq!(count("wins") + count("ties") + count("losses"), json["num_queries"].as_u64().unwrap());
        assert!(count("losses") > 0 && count("ties") > 0, "{difference}");
        for p in [&difference["t_test"]["p"], &difference["randomization"]] {
            assert!(p.as_f64().is_some_and(|p| p > 0.0 && p < 1.0), "{difference}");
        }
    }
    let moved = json["against_first"][0]["moved"].as_array().unwrap();
    let distance =
        |one: &Value| (one["values"][0].as_f64().unwrap() - one["values"][1].as_f64().unwrap()).abs();
    assert!(moved.windows(2).all(|pair| distance(&pair[0]) >= distance(&pair[1])));
    let best = &moved[0]["answers"][0][0];
    assert!(
        moved[0]["text"].is_string() && best["title"].is_string() && best["relevance"].is_i64(),
        "{best}"
    );

    let text = sandbox.run(["compare", "words.run", "worse.run", "words.run", "--qrels", &mini()]).ok();
    for part in ["worse.run against words.run", "randomization, Holm", "moved most by nDCG@10", "1  ["] {
        assert!(text.contains(part), "{text}");
    }
    // Against itself nothing differs, and no test says that it does.
    let last = text.rsplit("words.run against words.run").next().unwrap();
    assert!(last.contains("+0.0000") && last.contains("1.0000") && !last.contains("moved most"), "{last}");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let sandbox = Sandbox::new();
    runs(&sandbox);
    sandbox.run(["compare", "words.run", "--qrels", &mini()]).fails(2, ["2", "RUN"]);
    sandbox.run(["compare", "words.run", "absent.run", "--qrels", &mini()]).fails(3, ["absent.run"]);
    sandbox.run(["compare", &mini(), "words.run", "--qrels", &mini()]).fails(2, ["is a folder"]);
    sandbox.run(["compare", "words.run", "worse.run", "--qrels", "nothing"]).fails(3, ["nothing"]);
    std::fs::write(sandbox.path("other.run"), "other Q0 d 1 1.0 x\n").unwrap();
    sandbox
        .run(["compare", "words.run", "other.run", "--qrels", &mini()])
        .fails(3, ["other.run has none of the 12 judged queries"]);
}
