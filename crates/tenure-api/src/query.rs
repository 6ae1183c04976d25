//! The query of a request: each parameter known, given once, and well formed.

use std::borrow::Cow;
use std::str::FromStr;
use tenure_engine::{EngineError, PageRequest};

/// Most items of a page, and how many where nothing is said.
pub(crate) const PAGE_MAX: u32 = 1000;
const PAGE: u32 = 100;

/// The parameters of a query, decoded.
#[derive(Debug, Default)]
pub(crate) struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Reads a query in which only these parameters may stand; those that end in `*` more than once.
    pub fn read(text: Option<&'a str>, known: &[&str]) -> Result<Query<'a>, EngineError> {
        let Some(text) = text else { return Ok(Query::default()) };
        let pairs: Vec<_> = form_urlencoded::parse(text.as_bytes()).collect();
        for (index, (name, _)) in pairs.iter().enumerate() {
            let once = known.contains(&name.as_ref());
            let often = known.iter().any(|known| known.strip_suffix('*') == Some(name.as_ref()));
            if !once && !often {
                return Err(EngineError::BadRequest(format!("the query has no parameter {name:?}")));
            }
            if once && pairs[..index].iter().any(|(other, _)| other == name) {
                return Err(EngineError::BadRequest(format!("the parameter {name:?} is given twice")));
            }
        }
        Ok(Query { pairs })
    }

    /// A parameter as it was given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    /// Every value of a parameter that may be given more than once.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    /// A parameter that is a number, an ID, or another thing that is read from text.
    pub fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, EngineError> {
        let cannot = |_| EngineError::BadRequest(format!("the parameter {name:?} is not what it should be"));
        self.text(name).map(|text| text.parse().map_err(cannot)).transpose()
    }

    /// A parameter that is true or false; alone it is true.
    pub fn flag(&self, name: &str) -> Result<bool, EngineError> {
        match self.text(name) {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(_) => Err(EngineError::BadRequest(format!("the parameter {name:?} is true or false"))),
        }
    }

    /// Which page is wanted.
    pub fn page(&self) -> Result<PageRequest, EngineError> {
        let limit = self.parsed::<u32>("limit")?.unwrap_or(PAGE);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(EngineError::BadRequest(format!("the parameter \"limit\" is 1 to {PAGE_MAX}")));
        }
        Ok(PageRequest { limit, cursor: self.text("cursor").map(str::to_owned) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AP-1
    #[test]
    fn a_query_is_known_given_once_and_well_formed() {
        let known = ["limit", "recursive", "metadata*"];
        let query = Query::read(Some("limit=7&metadata=a:b&metadata=c%3Ad&recursive"), &known).unwrap();
        assert_eq!(query.page().unwrap().limit, 7);
        assert_eq!(query.all("metadata").collect::<Vec<_>>(), ["a:b", "c:d"]);
        assert!(query.flag("recursive").unwrap());
        assert!(Query::read(Some("limit=1&limit=2"), &known).is_err());
        assert!(Query::read(Some("color=red"), &known).is_err());
        assert!(Query::read(Some("limit=x"), &known).unwrap().page().is_err());
        assert!(Query::read(Some("limit=0"), &known).unwrap().page().is_err());
    }
}
