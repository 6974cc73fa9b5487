//! Turns `errors.toml` into constants and embeds every language folder under `texts/`, so that a code that is not in
//! the table does not compile and a language is added by adding a folder.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=errors.toml");
    println!("cargo::rerun-if-changed=texts");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("codes.rs"), codes(&fs::read_to_string(root.join("errors.toml"))?)?)?;
    fs::write(out.join("texts.rs"), texts(&root.join("texts"))?)?;
    Ok(())
}

/// `pub const NO_READER: Code = …;` for each table, and `ALL`.
fn codes(source: &str) -> Result<String, Box<dyn Error>> {
    let table: toml::Table = source.parse()?;
    let mut constants = String::new();
    let mut all = String::new();
    for (message, entry) in &table {
        let field =
            |name: &str| entry.get(name).ok_or_else(|| format!("errors.toml: [{message}] has no `{name}`"));
        let number = field("code")?.as_integer().ok_or("errors.toml: `code` is a number")?;
        let party = variant(field("party")?.as_str().ok_or("errors.toml: `party` is a text")?);
        let exit = variant(field("exit")?.as_str().ok_or("errors.toml: `exit` is a text")?);
        let constant = message.replace('-', "_").to_uppercase();
        writeln!(
            constants,
            "/// TL-{number}: `{message}` in the Fluent files.\npub const {constant}: Code = Code {{ number: {number}, \
             message: {message:?}, party: Party::{party}, exit: Exit::{exit} }};"
        )?;
        writeln!(all, "    {constant},")?;
    }
    Ok(format!(
        "{constants}\n/// All of them, in the order of `errors.toml`'s names.\npub const ALL: &[Code] = &[\n{all}];\n"
    ))
}

/// `no-card` is the variant `NoCard`.
fn variant(kebab: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters
            .next()
            .map(|first| first.to_uppercase().chain(letters).collect::<String>())
            .unwrap_or_default()
    };
    kebab.split('-').map(capital).collect()
}

/// `(language, [(file, text)])` for each folder, English first.
fn texts(folder: &Path) -> Result<String, Box<dyn Error>> {
    let mut languages = sorted(folder)?;
    languages.sort_by_key(|path| path.file_name().is_none_or(|name| name != "en"));
    let mut out = String::from("&[\n");
    for language in &languages {
        writeln!(out, "    ({:?}, &[", language.file_name().unwrap_or_default().to_string_lossy())?;
        for file in sorted(language)? {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            writeln!(out, "        ({name:?}, include_str!({file:?})),")?;
        }
        writeln!(out, "    ]),")?;
    }
    out.push(']');
    Ok(out)
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut paths =
        fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}
