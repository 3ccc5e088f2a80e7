//! The four kinds of text that identify things: [`Name`], [`JobName`], [`RunId`] and [`Namespace`]. Also
//! [`NameBuilder`], which joins parts to a name.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::spelling::{self, InvalidText};
use crate::text;

macro_rules! identifier {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            #[doc = concat!("Checks `text` and makes it a ", $what, ".")]
            pub fn parse(text: &str) -> Result<Self, InvalidText> {
                spelling::check($what, text)?;
                Ok(Self(text.into()))
            }
            /// Returns the text, byte for byte as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&text::escape(&self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidText;
            fn try_from(text: String) -> Result<Self, InvalidText> {
                Self::parse(&text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

identifier!(
    /// A resource's name: case-sensitive UTF-8 of 1 to 512 bytes in normal form C, compared byte by
    /// byte. Dots are a convention; slashes, colons, braces and spaces are ordinary characters, but a
    /// space is neither the first nor the last character.
    ///
    /// ```
    /// use flowlock::Name;
    /// assert_eq!(Name::parse("sales.2026-11-24").unwrap().as_str(), "sales.2026-11-24");
    /// assert!(Name::parse("a\nb").is_err());
    /// assert!(Name::parse("sales ").is_err());
    /// ```
    Name, "name"
);
identifier!(
    /// The user's name for the work, such as `reporting.daily`; the same rule as [`Name`].
    ///
    /// ```
    /// assert_eq!(flowlock::JobName::parse("reporting.daily").unwrap().to_string(), "reporting.daily");
    /// ```
    JobName, "job"
);
identifier!(
    /// The id of one execution of a job: `<job>.<48-bit random decimal>`, or any given text; the same
    /// rule as [`Name`].
    ///
    /// ```
    /// assert_eq!(flowlock::RunId::parse("nightly.17").unwrap().as_str(), "nightly.17");
    /// ```
    RunId, "run id"
);
identifier!(
    /// A separate set of names, runs and history, such as `prod`; the same rule as [`Name`].
    ///
    /// ```
    /// assert_eq!(flowlock::Namespace::default().as_str(), "default");
    /// assert_eq!(flowlock::Namespace::parse_or_default("").unwrap().as_str(), "default");
    /// ```
    Namespace, "namespace"
);

/// Joins parts to names, with dots between them: for many names with a common stem.
///
/// ```
/// use flowlock::{Flowlock, NameBuilder};
///
/// let sales = NameBuilder::new("sales").part("berlin");
/// assert_eq!(sales.part("2026-11-24").to_string(), "sales.berlin.2026-11-24");
///
/// let flowlock = Flowlock::open("memory:")?;
/// flowlock.job("import").output(sales.part(2026).part(11)).acquire()?.commit()?;
/// flowlock.job("report").input("sales.berlin.2026.11").acquire()?.commit()?;
/// # Ok::<(), flowlock::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[must_use]
pub struct NameBuilder(String);

impl NameBuilder {
    /// Begins with the first part.
    pub fn new(first: impl fmt::Display) -> Self {
        Self(first.to_string())
    }

    /// Returns a builder with one more part. This one stays as it is, for other names with the same
    /// stem.
    pub fn part(&self, part: impl fmt::Display) -> Self {
        Self(format!("{}.{part}", self.0))
    }

    /// Checks the text and makes it a name.
    pub fn build(&self) -> Result<Name, InvalidText> {
        Name::parse(&self.0)
    }
}

impl fmt::Display for NameBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::escape(&self.0))
    }
}

impl From<NameBuilder> for String {
    fn from(builder: NameBuilder) -> String {
        builder.0
    }
}

impl From<&NameBuilder> for String {
    fn from(builder: &NameBuilder) -> String {
        builder.0.clone()
    }
}

impl RunId {
    /// Returns a new id for a run of `job`: its name, a dot and a random decimal below 2^48.
    ///
    /// ```
    /// use flowlock::{JobName, RunId};
    /// let job = JobName::parse("etl").unwrap();
    /// assert!(RunId::fresh(&job).as_str().starts_with("etl."));
    /// ```
    pub fn fresh(job: &JobName) -> Self {
        let number = crate::world::random_u64() >> 16;
        let mut stem = job.as_str();
        while stem.len() + 16 > spelling::LONGEST_NAME {
            stem = &stem[..stem.floor_char_boundary(stem.len() - 1)];
        }
        Self(format!("{stem}.{number}").into())
    }
}

impl Namespace {
    /// Checks `text`; the empty text means `default`.
    pub fn parse_or_default(text: &str) -> Result<Self, InvalidText> {
        if text.is_empty() { Ok(Self::default()) } else { Self::parse(text) }
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self("default".into())
    }
}
