//! A model: weights, vocabulary, and the manifest that pins them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::backend::llama::Weights;
use crate::error::Error;
use crate::words::Words;

/// The file that stands beside the weights.
const MANIFEST: &str = "manifest.json";

/// What a manifest says of a model; fields that the node does not need are passed over.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    /// The model's name in the catalogue.
    pub id: String,
    /// The weights' file.
    pub weights: Pinned,
    /// The tokenizer's file.
    pub tokenizer: Option<Pinned>,
    /// How the weights are stored, such as `F16`.
    pub quantisation: Option<String>,
    /// What it is for; the weights' file tells where this says nothing.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// Tokens that end the output, besides those that the weights' file names.
    #[serde(default)]
    pub eos_token_ids: Vec<u32>,
    /// Prompt and output together. *Units*: tokens.
    pub context_tokens: usize,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It goes on from a prompt.
    Generation,
    /// It tells texts' meanings as vectors.
    Embedding,
}

/// A file beside the manifest that must be exactly this one.
#[derive(Clone, Debug, Deserialize)]
pub struct Pinned {
    /// Its name.
    pub file: String,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
}

/// A model, ready to be served.
#[derive(Debug)]
pub struct Model {
    /// The name in the catalogue, or the file's name where no manifest stands beside it.
    pub id: String,
    /// What it is for.
    pub kind: Kind,
    /// SHA-256 of the weights' file, in hexadecimal.
    pub sha256: String,
    /// How the weights are stored, such as `F16`.
    pub quantisation: String,
    /// Prompt and output together, as the manifest or the weights' file has it. *Units*: tokens.
    pub context_tokens: usize,
    weights: Weights,
    words: Words,
}

impl Model {
    /// Loads a folder with a manifest, or a GGUF file; a manifest beside the file is believed if it names it.
    ///
    /// # Errors
    /// When a file is missing or broken, or when the weights are not those that the manifest pins.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let (path, manifest) = locate(path)?;
        let sha256 = sha256_of(&path)?;
        if let Some(manifest) = &manifest
            && !manifest.weights.sha256.eq_ignore_ascii_case(&sha256)
        {
            return Err(Error::WrongWeights { path, expected: manifest.weights.sha256.clone(), found: sha256 });
        }
        let weights = Weights::load(&path)?;
        let ids = || 0..weights.vocabulary_len() as u32;
        let pieces = ids().map(|id| weights.piece(id).into_boxed_slice()).collect();
        let mut ends: BTreeSet<u32> = ids().filter(|&id| weights.ends(id)).collect();
        let made = if weights.is_encoder() { Kind::Embedding } else { Kind::Generation };
        let kind = manifest.as_ref().and_then(|manifest| manifest.kind).unwrap_or(made);
        let (id, context_tokens) = match manifest {
            Some(manifest) => {
                ends.extend(manifest.eos_token_ids);
                (manifest.id, manifest.context_tokens)
            }
            None => (stem(&path), weights.context_trained()),
        };
        Ok(Self {
            id,
            kind,
            sha256,
            quantisation: weights.quantisation(),
            context_tokens,
            weights,
            words: Words::new(pieces, ends),
        })
    }

    /// The weights' file of a folder with a manifest; a file is its own.
    ///
    /// # Errors
    /// When the manifest cannot be read.
    pub fn locate(path: &Path) -> Result<PathBuf, Error> {
        locate(path).map(|(path, _)| path)
    }

    /// The model's name in the catalogue and the digest of its weights' file, without loading it.
    ///
    /// # Errors
    /// When a file is missing or broken.
    pub fn identify(path: &Path) -> Result<(String, String), Error> {
        let (path, manifest) = locate(path)?;
        let id = manifest.map_or_else(|| stem(&path), |manifest| manifest.id);
        Ok((id, sha256_of(&path)?))
    }

    /// How many tokens there are; ids run from 0.
    pub fn vocabulary_len(&self) -> usize {
        self.words.len()
    }

    /// The bytes that a token stands for; none for control tokens. Half a character is possible.
    pub fn piece(&self, id: u32) -> &[u8] {
        self.words.piece(id)
    }

    /// Whether this token ends the output.
    pub fn ends(&self, id: u32) -> bool {
        self.words.ends(id)
    }

    /// A text as tokens, nothing added; `special` reads control tokens' names as those tokens.
    pub fn tokenise(&self, text: &str, special: bool) -> Vec<u32> {
        self.weights.tokenise(text, special)
    }

    /// The chat template that its file holds.
    pub fn chat_template(&self) -> Option<String> {
        self.weights.metadata("tokenizer.chat_template")
    }

    /// The names of its control tokens, which only the template may write.
    pub fn control_texts(&self) -> Vec<String> {
        (0..self.vocabulary_len() as u32).filter_map(|id| self.weights.control_text(id)).collect()
    }

    /// What its tokens stand for.
    pub(crate) fn words(&self) -> &Words {
        &self.words
    }

    /// What computes.
    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }
}

/// What a manifest says of a model that another engine has loaded.
#[derive(Clone, Debug)]
pub struct Profile(Manifest);

impl Profile {
    /// Reads the manifest in a model's folder.
    ///
    /// # Errors
    /// When it is missing or broken.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        read_manifest(&folder.join(MANIFEST)).map(Self)
    }

    /// The `tokenizer.json` in the same folder, which must be the one that the manifest pins.
    ///
    /// # Errors
    /// When there is none, or another.
    pub fn tokenizer(&self, folder: &Path) -> Result<String, Error> {
        let Some(Pinned { file, sha256 }) = &self.0.tokenizer else {
            let source = std::io::Error::new(std::io::ErrorKind::NotFound, "it names no tokenizer");
            return Err(Error::File { path: folder.join(MANIFEST), source });
        };
        let path = folder.join(file);
        let found = sha256_of(&path)?;
        if !sha256.eq_ignore_ascii_case(&found) {
            return Err(Error::WrongWeights { path, expected: sha256.clone(), found });
        }
        std::fs::read_to_string(&path).map_err(|source| Error::File { path, source })
    }

    /// The model's name in the catalogue.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// SHA-256 of the weights' file, in hexadecimal.
    pub fn weights_sha256(&self) -> &str {
        &self.0.weights.sha256
    }

    /// How the weights are stored.
    pub fn quantisation(&self) -> &str {
        self.0.quantisation.as_deref().unwrap_or("unknown")
    }

    /// Prompt and output together. *Units*: tokens.
    pub fn context_tokens(&self) -> usize {
        self.0.context_tokens
    }

    /// Tokens that end the output.
    pub fn ends(&self) -> BTreeSet<u32> {
        self.0.eos_token_ids.iter().copied().collect()
    }
}

/// The weights' file and its manifest.
fn locate(path: &Path) -> Result<(PathBuf, Option<Manifest>), Error> {
    if path.is_dir() {
        let manifest = read_manifest(&path.join(MANIFEST))?;
        return Ok((path.join(&manifest.weights.file), Some(manifest)));
    }
    let beside = path.with_file_name(MANIFEST);
    let manifest = if beside.is_file() { Some(read_manifest(&beside)?) } else { None };
    let names_it = |manifest: &Manifest| path.file_name().is_some_and(|name| name == manifest.weights.file.as_str());
    Ok((path.into(), manifest.filter(names_it)))
}

/// What a model without a manifest is called.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn read_manifest(path: &Path) -> Result<Manifest, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::File { path: path.into(), source })?;
    serde_json::from_str(&text).map_err(|source| Error::Json { path: path.into(), source })
}

fn sha256_of(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::File { path: path.into(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}
