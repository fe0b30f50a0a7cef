//! The files that a route was made with: a reload makes it anew when their content has changed.
//! Credential files are not among them, since `identity` reads those again by itself.

use std::path::PathBuf;

use crate::config::{Dialect, Route};
use crate::upstream::content_digest;

/// Each with the digest of its content, or `None` if it could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files(Vec<(&'static str, PathBuf, Option<Vec<u8>>)>);

impl Files {
    /// As they are now.
    pub(super) fn of(route: &Route) -> Self {
        let ca_file = route.upstream.ca_file.as_ref();
        let mut named = Vec::from_iter(ca_file.map(|path| ("ca_file", path)));
        if let Dialect::Tds(options) = &route.dialect
            && let Some(files) = &options.client_certificate
        {
            named.push(("client_cert_file", &files.certificate));
            named.push(("client_key_file", &files.key));
        }
        let read =
            |(key, path): (&'static str, &PathBuf)| (key, path.clone(), content_digest(path));
        Self(named.into_iter().map(read).collect())
    }

    /// Those of `new` of which the content is another, by their keys.
    pub(super) fn changed(&self, new: &Self) -> Vec<(&'static str, PathBuf)> {
        let is_known = |file: &&(&'static str, PathBuf, Option<Vec<u8>>)| !self.0.contains(file);
        let changed = new.0.iter().filter(is_known);
        changed.map(|(key, path, _)| (*key, path.clone())).collect()
    }
}
