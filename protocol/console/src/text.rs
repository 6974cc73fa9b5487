//! Texts for people in their language: Fluent files under `texts/`, one folder per language, English and 简体中文
//! complete. A message that a language lacks is said in English.

use crate::code::{self, Code};
use crate::failure::{self, Failure};
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use std::error::Error;
use std::fmt;
use unic_langid::LanguageIdentifier;

/// Language folders and their files, made by the build script; English is the first.
static TEXTS: &[(&str, &[(&str, &str)])] = include!(concat!(env!("OUT_DIR"), "/texts.rs"));

/// What a message names: pairs of argument and value, in the order they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args(Vec<(&'static str, String)>);

impl Args {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.push((name, value.to_string()));
        self
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

/// A language that we have texts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Language(usize);

impl Language {
    /// English, the first folder.
    pub const ENGLISH: Self = Self(0);

    /// All languages, English first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TEXTS.len()).map(Self)
    }

    /// The language's tag: `en`, `zh-CN`.
    #[must_use]
    pub fn tag(self) -> &'static str {
        TEXTS.get(self.0).map_or("en", |row| row.0)
    }

    /// The language that `wanted` names (`zh-CN`, `zh_CN.UTF-8`, `zh`), if we have it or its family.
    #[must_use]
    pub fn named(wanted: &str) -> Option<Self> {
        let tag = wanted.split(['.', '@']).next()?.replace('_', "-");
        let exact = Self::all().find(|language| language.tag().eq_ignore_ascii_case(&tag));
        let family = |tag: &str| tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
        exact.or_else(|| Self::all().find(|language| family(language.tag()) == family(&tag)))
    }

    /// The language of `--lang`, else of `TAPLINE_LANG`, else of the first of `LC_ALL`, `LC_MESSAGES` and `LANG` that is
    /// set, else English.
    ///
    /// # Errors
    /// `--lang` or `TAPLINE_LANG` names a language we have no texts in (the system's variables may).
    pub fn choose(
        option: Option<&str>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        if let Some(wanted) = option.map(str::to_owned).or_else(|| set("TAPLINE_LANG")) {
            let known = || Self::all().map(Self::tag).collect::<Vec<_>>().join(", ");
            return Self::named(&wanted).ok_or_else(|| {
                Failure::new(code::UNKNOWN_LANGUAGE).with("language", &wanted).with("known", known())
            });
        }
        let system = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(set);
        Ok(system.and_then(|tag| Self::named(&tag)).unwrap_or(Self::ENGLISH))
    }

    fn bundle(self) -> FluentBundle<FluentResource> {
        let identifier: LanguageIdentifier = self.tag().parse().unwrap_or_default();
        let mut bundle = FluentBundle::new_concurrent(vec![identifier]);
        bundle.set_use_isolating(false);
        for (_, text) in TEXTS.get(self.0).map_or(&[][..], |row| row.1) {
            // A file with a mistake gives what could be read of it; the tests refuse such a file.
            let resource = FluentResource::try_new((*text).to_owned()).unwrap_or_else(|(partial, _)| partial);
            let _ = bundle.add_resource(resource);
        }
        bundle
    }
}

/// A failure in a person's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The stable code.
    pub code: Code,
    /// What happened, and to what.
    pub what: String,
    /// What to do next.
    pub next: String,
    /// What the layers below said (English), if anything.
    pub detail: Option<String>,
}

/// The texts of one language, with English behind it.
pub struct Texts {
    language: Language,
    bundle: FluentBundle<FluentResource>,
    english: Option<FluentBundle<FluentResource>>,
}

impl Texts {
    /// Texts in this language.
    #[must_use]
    pub fn new(language: Language) -> Self {
        let english = (language != Language::ENGLISH).then(|| Language::ENGLISH.bundle());
        Self { language, bundle: language.bundle(), english }
    }

    /// The language.
    #[must_use]
    pub const fn language(&self) -> Language {
        self.language
    }

    /// The message without arguments.
    #[must_use]
    pub fn say(&self, message: &str) -> String {
        self.say_with(message, &Args::new())
    }

    /// The message with its arguments. A message nobody wrote is shown by its name, so that it is seen.
    #[must_use]
    pub fn say_with(&self, message: &str, args: &Args) -> String {
        self.format(message, None, args).unwrap_or_else(|| message.to_owned())
    }

    /// A code's message and advice without a failure (documentation, refusals on receipts).
    #[must_use]
    pub fn explain(&self, code: Code, args: &Args) -> Explained {
        let what = self.say_with(code.message(), args);
        let next = self.format(code.message(), Some("next"), args).unwrap_or_default();
        Explained { code, what, next, detail: None }
    }

    /// What happened, to what, what to do next.
    #[must_use]
    pub fn failure(&self, failure: &Failure) -> Explained {
        let detail = Error::source(failure).map(failure::chain);
        Explained { detail, ..self.explain(failure.code(), failure.args()) }
    }

    /// An attribute of a message, if it has it.
    #[must_use]
    pub fn attribute(&self, message: &str, attribute: &str, args: &Args) -> Option<String> {
        self.format(message, Some(attribute), args)
    }

    fn format(&self, message: &str, attribute: Option<&str>, args: &Args) -> Option<String> {
        let mut values = FluentArgs::new();
        for (name, value) in args.iter() {
            values.set(name, FluentValue::from(value.to_owned()));
        }
        [Some(&self.bundle), self.english.as_ref()].into_iter().flatten().find_map(|bundle| {
            let found = bundle.get_message(message)?;
            let pattern = match attribute {
                Some(name) => found.get_attribute(name)?.value(),
                None => found.value()?,
            };
            Some(bundle.format_pattern(pattern, Some(&values), &mut Vec::new()).into_owned())
        })
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Texts({})", self.language.tag())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// `message` or `message.attribute` with the variables it names, by our own reading of the files.
    fn keys(language: Language) -> BTreeMap<String, BTreeSet<String>> {
        let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let (mut message, mut key) = (String::new(), String::new());
        for (file, text) in TEXTS[language.0].1 {
            for line in text.lines() {
                let head = line.split_once('=').map_or("", |(head, _)| head.trim_end());
                let is_name = |name: &str| {
                    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                };
                if is_name(head) {
                    message = head.to_owned();
                    key = message.clone();
                    assert!(!keys.contains_key(&key), "{} {file}: {key} twice", language.tag());
                    keys.insert(key.clone(), BTreeSet::new());
                } else if let Some(name) = head.trim_start().strip_prefix('.').filter(|name| is_name(name)) {
                    key = format!("{message}.{name}");
                    keys.insert(key.clone(), BTreeSet::new());
                }
                for piece in line.split("{ $").skip(1) {
                    let name = piece.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap();
                    keys.get_mut(&key).unwrap().insert(name.to_owned());
                }
            }
        }
        keys
    }

    #[test]
    fn every_file_of_every_language_reads_without_a_mistake() {
        for (language, files) in TEXTS {
            for (file, text) in *files {
                if let Err((_, mistakes)) = FluentResource::try_new((*text).to_owned()) {
                    panic!("{language}/{file}: {mistakes:?}");
                }
            }
        }
    }

    #[test]
    fn all_languages_have_the_same_messages_with_the_same_arguments() {
        let english = keys(Language::ENGLISH);
        assert!(english.len() > 50);
        assert!(Language::named("zh-CN").is_some());
        for language in Language::all() {
            let theirs = keys(language);
            for (key, arguments) in &english {
                assert_eq!(Some(arguments), theirs.get(key), "{} of {key}", language.tag());
            }
            for key in theirs.keys() {
                assert!(english.contains_key(key), "{} has {key}, English has not", language.tag());
            }
        }
    }

    #[test]
    fn every_code_says_what_happened_and_what_to_do_and_every_exit_what_it_means() {
        for language in Language::all() {
            let texts = Texts { english: None, ..Texts::new(language) };
            for code in code::ALL {
                let explained = texts.explain(*code, &Args::new());
                assert_ne!(explained.what, code.message(), "{} lacks {code}", language.tag());
                assert!(
                    !explained.next.is_empty(),
                    "{} does not say what to do about {code}",
                    language.tag()
                );
            }
            for exit in code::Exit::ALL {
                assert_ne!(texts.say(exit.message()), exit.message());
            }
        }
    }

    #[test]
    fn the_language_comes_from_the_option_then_ours_then_the_systems() {
        let environment = |name: &str| match name {
            "TAPLINE_LANG" => Some("zh".to_owned()),
            "LANG" => Some("de_DE.UTF-8".to_owned()),
            _ => None,
        };
        let system = |name: &str| (name == "LANG").then(|| "zh_CN.UTF-8".to_owned());
        let chosen = |option, environment: &dyn Fn(&str) -> Option<String>| {
            Language::choose(option, environment).map(Language::tag)
        };
        assert_eq!(chosen(Some("en_GB"), &environment).unwrap(), "en");
        assert_eq!(chosen(None, &environment).unwrap(), "zh-CN");
        assert_eq!(chosen(None, &system).unwrap(), "zh-CN");
        assert_eq!(chosen(None, &|_| None).unwrap(), "en");
        let refused = Language::choose(Some("tlh"), system).unwrap_err();
        assert_eq!(refused.code(), code::UNKNOWN_LANGUAGE);
        assert!(Texts::new(Language::ENGLISH).failure(&refused).what.contains("tlh"));
    }

    #[test]
    fn arguments_stand_in_the_text_without_invisible_marks() {
        let texts = Texts::new(Language::ENGLISH);
        let args = Args::new().with("language", "tlh").with("known", "en, zh-CN");
        let what = texts.explain(code::UNKNOWN_LANGUAGE, &args).what;
        assert!(what.contains("“tlh”"), "{what:?}");
    }
}
