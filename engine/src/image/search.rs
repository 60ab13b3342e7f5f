//! `docker search`: what a registry's index finds, less what filters leave out.

use knarr_images::registry::{Credentials, Repository};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::wire::{Filters, SearchResult, atoi};

/// What is searched for.
pub(crate) struct Search {
    /// Words, behind the registry's host if it is not Docker Hub.
    pub(crate) term: String,
    /// 0: as many as Docker gives.
    pub(crate) limit: u64,
    pub(crate) filters: Filters,
    pub(crate) credentials: Credentials,
}

/// Filters, read.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    official: Option<bool>,
    stars: i64,
}

impl Engine {
    /// Asks the index and keeps its order.
    pub(crate) fn image_search(&self, search: &Search) -> Result<Vec<SearchResult>> {
        let Some(wanted) = Wanted::read(&search.filters)? else { return Ok(Vec::new()) };
        let found = self.puller.client().search(&search.term, search.limit, &search.credentials)?;
        Ok(found.into_iter().filter(|found| wanted.accepts(found)).map(SearchResult::from).collect())
    }
}

impl Wanted {
    /// None: nothing fits. Docker Hub builds nothing by itself any more.
    fn read(filters: &Filters) -> Result<Option<Self>> {
        filters.check(&["is-automated", "is-official", "stars"])?;
        if filters.flag("is-automated")? == Some(true) {
            return Ok(None);
        }
        let official = filters.flag("is-official")?;
        let mut stars = if filters.contains("stars") { 0 } else { i64::MIN };
        for value in filters.values("stars") {
            let number =
                atoi(value).map_err(|error| error.within(format!("invalid filter 'stars={value}'")))?;
            stars = stars.max(number);
        }
        Ok(Some(Self { official, stars }))
    }

    fn accepts(&self, found: &Repository) -> bool {
        found.stars >= self.stars && self.official.is_none_or(|official| official == found.is_official)
    }
}

impl From<Repository> for SearchResult {
    fn from(found: Repository) -> Self {
        let Repository { name, description, stars, is_official } = found;
        Self { star_count: stars, is_official, name, is_automated: false, description }
    }
}

/// A limit as clients write it; nothing is 0.
pub(crate) fn limit(text: Option<&str>) -> Result<u64> {
    const INVALID: &str = "invalid limit specified";
    let number = text.map_or(Ok(0), atoi).map_err(|error| error.within(INVALID))?;
    u64::try_from(number).map_err(|_| Error::invalid(INVALID))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(filters: &str) -> Result<Option<Wanted>, String> {
        Wanted::read(&Filters::parse(filters).unwrap()).map_err(|error| error.message)
    }

    #[test]
    fn filters_are_dockers() {
        let any = Wanted { official: None, stars: i64::MIN };
        assert_eq!(wanted(""), Ok(Some(any)));
        assert_eq!(wanted(r#"{"is-automated":["true"]}"#), Ok(None));
        let all = r#"{"is-automated":["0"],"is-official":["true"],"stars":["3","12","-1"]}"#;
        let wanted_all = Wanted { official: Some(true), stars: 12 };
        assert_eq!(wanted(all), Ok(Some(wanted_all)));
        for (filters, error) in [
            (r#"{"type":["x"]}"#, "invalid filter 'type'"),
            (r#"{"is-automated":["invalid"]}"#, "invalid filter 'is-automated=[invalid]'"),
            (r#"{"is-official":["true","false"]}"#, "invalid filter 'is-official=[false true]'"),
            (r#"{"stars":["x"]}"#, "invalid filter 'stars=x': strconv.Atoi: parsing \"x\": invalid syntax"),
        ] {
            assert_eq!(wanted(filters), Err(error.to_owned()));
        }
    }

    #[test]
    fn stars_and_officials() {
        let found = |stars, is_official| Repository {
            name: String::new(),
            description: String::new(),
            stars,
            is_official,
        };
        let official = Wanted { official: Some(false), stars: 2 };
        assert!(official.accepts(&found(2, false)));
        assert!(!official.accepts(&found(1, false)) && !official.accepts(&found(2, true)));
        assert!(Wanted { official: None, stars: i64::MIN }.accepts(&found(-1, true)));
    }

    #[test]
    fn limits() {
        assert_eq!(limit(None).unwrap(), 0);
        assert_eq!(limit(Some("100")).unwrap(), 100);
        for (text, error) in [
            ("x", "invalid limit specified: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("-1", "invalid limit specified"),
            (
                "99999999999999999999",
                "invalid limit specified: strconv.Atoi: parsing \"99999999999999999999\": value out of range",
            ),
        ] {
            assert_eq!(limit(Some(text)).unwrap_err().message, error);
        }
    }
}
