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
