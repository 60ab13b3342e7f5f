//! Temporary.
use std::sync::Arc;
use hyper::Method;
use super::answer::Answer;
use super::request::Request;
use super::route::later;
use crate::engine::Engine;
use crate::error::Result;
pub(super) async fn route(_: Arc<Engine>, _: Request, _: &Method, _: &[&str]) -> Result<Answer> { later("x") }
pub(super) async fn commit(_: Arc<Engine>, _: Request) -> Result<Answer> { later("x") }
pub(super) async fn distribution(_: Arc<Engine>, _: Request, _: &[&str]) -> Result<Answer> { later("x") }
