//! A model in fewer bits than its original: what its node measures and tells before it comes.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::books;
use tests::model;
use tests::node::NodeSettings;
use tests::program::output_of;
use tests::system::TestSystem;

#[tokio::test]
async fn a_node_tells_at_joining_how_near_its_model_is_and_how_fast_and_neither_is_believed_for_a_grade() {
    let mut system = TestSystem::builder().start().await;
    let folder = system.path("eight-bits");
    std::fs::create_dir_all(&folder).unwrap();
    let manifest = std::fs::read_to_string(model::folder().join("manifest.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&manifest).unwrap();
    let original = model::folder().join(manifest["weights"]["file"].as_str().unwrap());
    let eight = folder.join("eight.gguf");
    let args = ["quantize", "--to", "q8_0", "--model", original.to_str().unwrap(), "--out", eight.to_str().unwrap()];
    output_of("tokengrid-node", &args, &[]).await;
    let sha256 = hex::encode(Sha256::digest(std::fs::read(&eight).unwrap()));
    manifest["weights"] = json!({ "file": "eight.gguf", "sha256": sha256 });
    std::fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();

    let token = system.join_token(TimeDelta::hours(1)).await;
    let settings = NodeSettings::default().model(folder).reference(model::folder()).slots(4);
    system.join_and_run(&token, &settings).await;
    let mut database = system.database().await;
    let looked = "SELECT count(*) FROM broker.cells
                  WHERE state = 'built' AND grade IS NULL AND reason LIKE 'Of % next tokens % at a first look.%'";
    assert_eq!(books::number(&mut database, looked).await, 1);
    let told = "SELECT jsonb_array_length(descriptor #> '{models,0,speed,steps}')::bigint FROM broker.nodes";
    assert_eq!(books::number(&mut database, told).await, 2, "steps of one sequence and of four");
    let pace = "SELECT (descriptor #> '{models,0,speed,prompt_token_us}')::bigint FROM broker.nodes";
    assert!(books::number(&mut database, pace).await > 0);
    drop(database);
    system.end().await;
}
