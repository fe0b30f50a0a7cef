//! Languages: what SET LANGUAGE and the login set with them.

/// A language of `sys.syslanguages`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) struct Language {
    pub(in crate::tds) name: &'static str,
    alias: &'static str,
    /// 1 for Monday to 7 for Sunday.
    pub(super) date_first: u8,
    pub(super) date_format: &'static str,
}

const LANGUAGES: [Language; 6] = [
    Language {
        name: "us_english",
        alias: "English",
        date_first: 7,
        date_format: "mdy",
    },
    Language {
        name: "British",
        alias: "British English",
        date_first: 1,
        date_format: "dmy",
    },
    Language {
        name: "Deutsch",
        alias: "German",
        date_first: 1,
        date_format: "dmy",
    },
    Language {
        name: "Français",
        alias: "French",
        date_first: 1,
        date_format: "dmy",
    },
    Language {
        name: "Español",
        alias: "Spanish",
        date_first: 1,
        date_format: "dmy",
    },
    Language {
        name: "Italiano",
        alias: "Italian",
        date_first: 1,
        date_format: "dmy",
    },
];

impl Language {
    /// By either of its names.
    pub(in crate::tds) fn named(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        LANGUAGES
            .into_iter()
            .find(|known| known.name.to_lowercase() == name || known.alias.to_lowercase() == name)
    }
}

impl Default for Language {
    fn default() -> Self {
        LANGUAGES[0]
    }
}
