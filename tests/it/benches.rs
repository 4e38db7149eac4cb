//! The benches still run: small, and without a word about speed.

use std::fs;

use serde_json::Value;
use tests::database::from_environment;
use tests::folder::Folder;
use tests::program::outcome_of;

#[tokio::test]
async fn the_ledgers_bench_measures_every_side_and_finds_all_books_right() {
    let folder = Folder::create();
    let (json, chart) = (folder.join("ledger.json"), folder.join("ledger.svg"));
    let database = ("DATABASE_URL".to_owned(), from_environment("DATABASE_URL"));
    let file = json.to_str().unwrap();
    let nowhere = folder.join("pgbench");
    let args = ["--tiny", "--json", file, "--pgbench", nowhere.to_str().unwrap()];
    let (status, printed, complaint) = outcome_of("bench_ledger", &args, &[database]).await;
    assert!(status.success(), "{printed}{complaint}");

    let figures: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(figures["faults"], Value::Array(vec![]), "{printed}");
    assert_eq!(figures["verified"]["passed"], true, "{printed}");
    for side in ["raw", "plain", "ours", "ours_filled"] {
        assert!(figures["cells"].as_array().unwrap().iter().any(|cell| cell["side"] == side), "no {side}:\n{printed}");
    }
    for absent in ["pgbench", "pgledger", "TigerBeetle"] {
        assert!(
            printed.contains(&format!("- Absent: {absent}")),
            "{absent} is not there, and that is said:\n{printed}"
        );
    }
    assert_eq!(figures["goals"].as_array().unwrap().len(), 13);
    assert!(fs::read_to_string(&chart).unwrap().trim_end().ends_with("</svg>"));
}

#[tokio::test]
async fn the_engines_bench_makes_its_models_measures_our_side_and_says_who_is_absent() {
    let folder = Folder::create();
    let json = folder.join("engine.json");
    // For Python, which makes the models.
    let path = ("PATH".to_owned(), from_environment("PATH"));
    let args = ["--tiny", "--json", json.to_str().unwrap()];
    let (status, printed, complaint) = outcome_of("bench_engine", &args, &[path]).await;
    assert!(status.success(), "{printed}{complaint}");

    let figures: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let sides =
        |side: &str| figures["figures"].as_array().unwrap().iter().filter(|figure| figure["side"] == side).count();
    assert!(sides("ours") > 8 && sides("unbatched") == 2 && sides("llama_server") == 0, "{printed}");
    let of =
        |verdict: &str| figures["goals"].as_array().unwrap().iter().filter(|goal| goal["verdict"] == verdict).count();
    assert_eq!(figures["goals"].as_array().unwrap().len(), 12);
    assert_eq!(of("not measured"), 7, "six beside the rival, and the alignment:\n{printed}");
    assert!(printed.contains("Absent: llama.cpp's server"), "{printed}");
    assert!(fs::read_to_string(json.with_extension("svg")).unwrap().trim_end().ends_with("</svg>"));
}

#[cfg(debug_assertions)]
#[tokio::test]
async fn an_unoptimised_build_of_a_bench_refuses_to_tell_figures() {
    let database = ("DATABASE_URL".to_owned(), from_environment("DATABASE_URL"));
    let (status, printed, complaint) = outcome_of("bench_ledger", &["--quick"], &[database]).await;
    assert!(!status.success() && complaint.contains("not optimised"), "{printed}{complaint}");
}

/// Six hundred requests in each of the two formats of traces, made up.
fn traces(folder: &Folder) -> [std::path::PathBuf; 2] {
    let mut azure = String::from("TIMESTAMP,ContextTokens,GeneratedTokens\n");
    let mut mooncake = String::new();
    for n in 0..600_u32 {
        let (input, output) = (100 + n * 611 % 2_400, 1 + n * 37 % 90);
        azure += &format!("2023-11-16 18:{:02}:{:02}.5,{input},{output}\n", n / 60, n % 60);
        let blocks: Vec<u32> =
            (0..=input / 512).map(|block| if block < 2 { n % 9 * 2 + block } else { 1_000 + n * 8 + block }).collect();
        mooncake += &format!(
            "{{\"timestamp\": {}, \"input_length\": {input}, \"output_length\": {output}, \"hash_ids\": {blocks:?}}}\n",
            n / 3 * 3_000
        );
    }
    let files = [folder.join("azure.csv"), folder.join("mooncake.jsonl")];
    fs::write(&files[0], azure).unwrap();
    fs::write(&files[1], mooncake).unwrap();
    files
}

#[tokio::test]
async fn the_brokers_simulator_says_the_same_twice_and_nothing_beyond_the_bound() {
    let folder = Folder::create();
    for (file, fleet) in traces(&folder).iter().zip(["mix5", "homo"]) {
        let run = async |name: &str| {
            let json = folder.join(name);
            let args =
                ["--trace", file.to_str().unwrap(), "--fleet", fleet, "--policy", "ours,lmetric-feasible,random"];
            let args = [&args[..], &["--json", json.to_str().unwrap()]].concat();
            let (status, printed, complaint) = outcome_of("sim_broker", &args, &[]).await;
            assert!(status.success(), "{printed}{complaint}");
            assert!(fs::read_to_string(json.with_extension("svg")).unwrap().trim_end().ends_with("</svg>"));
            (printed, fs::read_to_string(json).unwrap())
        };
        let (first, second) = (run("first.json").await, run("second.json").await);
        assert_eq!(first, second);
        let figures: Value = serde_json::from_str(&first.1).unwrap();
        let rate = |policy: &str| {
            let found = figures["policies"].as_array().unwrap().iter().find(|found| found["policy"] == policy).unwrap();
            found["best"]["rate"].as_f64().unwrap_or(0.0)
        };
        // So few requests at such a rate are over before ours has learnt its nodes, so which rule is better is not asked here.
        for policy in ["ours", "lmetric-feasible", "random"] {
            assert!(rate(policy) <= figures["bound_rate"].as_f64().unwrap(), "{}", first.0);
        }
        assert!(rate("ours") > 0.0, "{}", first.0);
    }
}

#[tokio::test]
async fn no_token_is_lost_doubled_or_billed_wrongly_when_much_goes_wrong() {
    let folder = Folder::create();
    for (file, seed) in traces(&folder).iter().zip(["1", "2"]) {
        let args = ["--trace", file.to_str().unwrap(), "--fleet", "mix3", "--faults", "--jobs", "3000", "--seed", seed];
        let (status, printed, complaint) = outcome_of("sim_broker", &args, &[]).await;
        assert!(status.success() && printed.contains("without one end = 0"), "{printed}{complaint}");
    }
}

#[tokio::test]
async fn the_brokers_bench_measures_and_judges() {
    let folder = Folder::create();
    let json = folder.join("broker.json");
    let (status, printed, complaint) =
        outcome_of("bench_broker", &["--tiny", "--json", json.to_str().unwrap()], &[]).await;
    assert!(status.success(), "{printed}{complaint}");
    let figures: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(figures["fleets"][0]["nodes"], 100);
    assert!(figures["fleets"][0]["heartbeats_per_s"].as_f64().unwrap() > 0.0);
}
