//! A model: weights, vocabulary, and the manifest that pins them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use primitives::grammar::{self, Vocabulary};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::backend::llama::Weights;
use crate::error::Error;

/// The file that stands beside the weights.
const MANIFEST: &str = "manifest.json";

/// What a manifest says of a model; fields that the node does not need are passed over.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    /// The model's name in the catalogue.
    pub id: String,
    /// The weights' file.
    pub weights: Pinned,
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
    pieces: Vec<Box<[u8]>>,
    ends: BTreeSet<u32>,
    vocabulary: OnceLock<Result<Vocabulary, grammar::Error>>,
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
            None => (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), weights.context_trained()),
        };
        Ok(Self {
            id,
            kind,
            sha256,
            quantisation: weights.quantisation(),
            context_tokens,
            weights,
            pieces,
            ends,
            vocabulary: OnceLock::new(),
        })
    }

    /// The weights' file of a folder with a manifest; a file is its own.
    ///
    /// # Errors
    /// When the manifest cannot be read.
    pub fn locate(path: &Path) -> Result<PathBuf, Error> {
        locate(path).map(|(path, _)| path)
    }

    /// How many tokens there are; ids run from 0.
    pub fn vocabulary_len(&self) -> usize {
        self.pieces.len()
    }

    /// The bytes that a token stands for; none for control tokens. Half a character is possible.
    pub fn piece(&self, id: u32) -> &[u8] {
        self.pieces.get(id as usize).map_or(&[], |piece| piece)
    }

    /// Whether this token ends the output.
    pub fn ends(&self, id: u32) -> bool {
        self.ends.contains(&id)
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

    /// Its tokens, ready for grammars; made when first asked for.
    pub fn vocabulary(&self) -> Result<&Vocabulary, grammar::Error> {
        let made = self.vocabulary.get_or_init(|| {
            let ends: Vec<u32> = self.ends.iter().copied().collect();
            Vocabulary::new(&self.pieces, &ends)
        });
        made.as_ref().map_err(Clone::clone)
    }

    /// What computes.
    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
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
