//! From `app` and key, as encoders send them, to a stream's name.

use crate::media::{NameError, StreamName};

/// What `rtmp://host/{app}/{key}` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishName {
    /// `{app}/{key}`, or either alone where the other is empty.
    pub name: StreamName,
    /// What stood behind `?` in either, joined by `&`: `token=…`. Not part of the name.
    pub query: Option<String>,
}

impl PublishName {
    /// Slashes at either end and doubled ones do not matter, nor does `_definst_`, Flash's name for no instance.
    pub fn new(app: &str, key: &str) -> Result<Self, NameError> {
        let (app, app_query) = app.split_once('?').unwrap_or((app, ""));
        let (key, key_query) = key.split_once('?').unwrap_or((key, ""));
        let parts: Vec<_> =
            app.split('/').chain(key.split('/')).filter(|part| !matches!(*part, "" | "_definst_")).collect();
        let queries: Vec<_> = [app_query, key_query].into_iter().filter(|query| !query.is_empty()).collect();
        let query = (!queries.is_empty()).then(|| queries.join("&"));
        Ok(Self { name: parts.join("/").parse()?, query })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_and_key_make_the_name_and_queries_do_not() {
        for (app, key, name, query) in [
            ("live", "cam1", "live/cam1", None),
            ("live/", "/cam1/", "live/cam1", None),
            ("live", "", "live", None),
            ("a/b", "c", "a/b/c", None),
            ("live/_definst_", "cam1", "live/cam1", None),
            ("live", "cam1?token=x", "live/cam1", Some("token=x")),
            ("live?user=u", "cam1?token=x", "live/cam1", Some("user=u&token=x")),
        ] {
            let found = PublishName::new(app, key).unwrap();
            assert_eq!((found.name.as_str(), found.query.as_deref()), (name, query), "{app} {key}");
        }
    }

    #[test]
    fn what_is_no_stream_name_is_refused() {
        assert_eq!(PublishName::new("", ""), Err(NameError::EmptyPart));
        assert_eq!(PublishName::new("live", "../x"), Err(NameError::ReservedStart('.')));
        assert_eq!(PublishName::new("live", "a b"), Err(NameError::Character(' ')));
    }
}
