//! The tags of a repository (distribution-spec "Listing Tags"), page after page.

use std::io::Read;

use serde::Deserialize;
use ureq::Body;
use ureq::http::header::LINK;
use ureq::http::{HeaderMap, Response, Uri};

use super::endpoint::{Endpoint, Site};
use super::exchange::Question;
use super::location::resolve;
use super::token::{Access, Scope};
use super::{Client, Credentials, Error};
use crate::Reference;

/// Bytes of one page.
const LARGEST_PAGE: u64 = 4 << 20;
/// A registry may go on for ever.
const MOST_TAGS: usize = 100_000;
const MOST_PAGES: usize = 1000;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Client {
    /// The tags of a repository, in the order of the registry, as references. The tag of `reference` says nothing.
    pub fn tags(&self, reference: &Reference, credentials: &Credentials) -> Result<Vec<Reference>, Error> {
        self.ask_all(reference, |site| self.tags_at(site, reference, credentials))
    }

    fn tags_at(
        &self,
        site: &Site,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<Vec<Reference>, Error> {
        let endpoint = self.endpoint(site)?;
        let broken = |defect| Error::Tags { name: reference.familiar_name(), defect };
        let mut path = format!("{}/tags/list", reference.repository());
        let mut found = Vec::new();
        for _ in 0..MOST_PAGES {
            let scope = Scope::new(reference.repository(), Access::Pull);
            let response = self.ask_site(site, &Question::get(path.clone(), scope), credentials)?;
            let next = next(&endpoint, &path, response.headers()).map_err(broken)?;
            for tag in read(response, reference)?.tags.unwrap_or_default() {
                let tagged = reference.without_suffix().with_tag(&tag);
                found.push(tagged.map_err(|_| broken("a tag is invalid"))?);
            }
            if found.len() > MOST_TAGS {
                return Err(broken("there are too many"));
            }
            match next {
                Some(next) => path = next,
                None => return Ok(found),
            }
        }
        Err(broken("there are too many pages"))
    }
}

fn read(response: Response<Body>, reference: &Reference) -> Result<Page, Error> {
    let broken = |defect| Error::Tags { name: reference.familiar_name(), defect };
    let mut bytes = Vec::new();
    let read = response.into_body().into_reader().take(LARGEST_PAGE + 1).read_to_end(&mut bytes);
    read.map_err(|source| Error::ReadTags { name: reference.familiar_name(), source })?;
    if bytes.len() as u64 > LARGEST_PAGE {
        return Err(broken("a page is too long"));
    }
    serde_json::from_slice(&bytes).map_err(|_| broken("a page is malformed"))
}

/// The path of the next page below `/v2/` (RFC 8288: `Link: <...>; rel="next"`), which must be on the registry's own host.
fn next(endpoint: &Endpoint, path: &str, headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    let Some(target) = headers.get(LINK).and_then(|link| link.to_str().ok()).and_then(target) else {
        return Ok(None);
    };
    let base: Uri = endpoint.uri("").map_err(|_| "the next page has no address")?;
    let page: Uri = endpoint.uri(path).map_err(|_| "the next page has no address")?;
    let next = resolve(&page, target).filter(|next| endpoint.is_own(next));
    let next = next.ok_or("the next page is elsewhere")?;
    let path = next.path_and_query().map_or("", ureq::http::uri::PathAndQuery::as_str);
    path.strip_prefix(base.path()).map(|path| Some(path.to_owned())).ok_or("the next page is elsewhere")
}

fn target(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|one| matches!(one.trim(), "rel=\"next\"" | "rel=next"));
    is_next.then_some(target)
}

#[cfg(test)]
mod tests {
    use super::target;

    #[test]
    fn a_link_leads_to_the_next_page() {
        assert_eq!(target(r#"</v2/a/tags/list?last=b&n=1>; rel="next""#), Some("/v2/a/tags/list?last=b&n=1"));
        assert_eq!(target("<x>; title=y; rel=next"), Some("x"));
        for link in ["", "<x", "x; rel=next", r#"<x>; rel="prev""#, "<x>"] {
            assert_eq!(target(link), None, "{link}");
        }
    }
}
