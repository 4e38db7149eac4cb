//! `GET /v1/models` and `GET /v1/models/{id}`: what can be asked for.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use broker::model::Model;
use serde_json::{Value, json};

use super::http;
use crate::error::Error;
use crate::services::Services;

/// Models listed at most; a catalogue is far smaller.
const MODELS_MAX: u32 = 1_000;

/// Lists the catalogue; `available` says whether a node serves the model now.
pub async fn list(http: HttpRequest, services: Data<Services>) -> Result<HttpResponse, Error> {
    http::caller(&services.auth, http.headers()).await?;
    let models = broker::model::list(&mut *services.pool.acquire().await?, None, MODELS_MAX).await?;
    let nodes = services.broker.models().await;
    let nodes_of =
        |id: &str| nodes.iter().find(|available| available.model == id).map_or(0, |available| available.nodes);
    let data: Vec<Value> = models.iter().map(|model| describe(model, nodes_of(&model.id) > 0)).collect();
    Ok(HttpResponse::Ok().json(json!({"object": "list", "data": data})))
}

/// Shows one model.
pub async fn get(http: HttpRequest, id: Path<String>, services: Data<Services>) -> Result<HttpResponse, Error> {
    http::caller(&services.auth, http.headers()).await?;
    let entry = services.catalogue.get(&id).await?;
    let nodes = services.broker.models().await;
    let available = nodes.iter().any(|available| available.model == *id && available.nodes > 0);
    Ok(HttpResponse::Ok().json(describe(&entry.model, available)))
}

fn describe(model: &Model, available: bool) -> Value {
    json!({
        "id": model.id, "object": "model", "created": model.created_at.timestamp(), "owned_by": "tokengrid",
        "kind": model.kind.as_str(),
        "context_window": model.context_tokens, "max_output_tokens": model.output_tokens_max, "available": available,
    })
}
