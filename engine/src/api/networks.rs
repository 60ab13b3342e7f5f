//! `/networks/...`.

use std::sync::Arc;

use hyper::Method;

use super::answer::{self, Answer};
use super::request::Request;
use super::route::{later, unknown};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::wire::Filters;

const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

pub(super) async fn route(
    engine: Arc<Engine>,
    mut request: Request,
    method: &Method,
    path: &[&str],
) -> Result<Answer> {
    match (method, path) {
        (&Method::GET, []) => {
            let filters = Filters::parse(request.query.text("filters").unwrap_or_default())?;
            Ok(answer::ok(&engine.networks_matching(&filters)?))
        }
        (&Method::GET, [name]) => Ok(answer::ok(&engine.network(name)?)),
        (&Method::POST, ["create"]) => {
            let body = request.json().await?.unwrap_or_default();
            let name = body.get("Name").and_then(|name| name.as_str()).unwrap_or_default();
            if PREDEFINED.contains(&name) {
                let why = format!("operation is not permitted on predefined {name} network ");
                return Err(Error::forbidden(why));
            }
            later("creating networks")
        }
        (&Method::POST, ["prune"]) => Ok(answer::ok(&serde_json::json!({ "NetworksDeleted": null }))),
        (&Method::POST, [name, "connect" | "disconnect"]) => {
            // A client that is cut off while it writes would not see the answer.
            let _ = request.json().await?;
            engine.network(name)?;
            later("connecting containers to more networks")
        }
        (&Method::DELETE, [name]) => {
            let network = engine.network(name)?;
            let why = format!("{} is a pre-defined network and cannot be removed", network.name);
            Err(Error::forbidden(why))
        }
        _ => Err(unknown()),
    }
}
