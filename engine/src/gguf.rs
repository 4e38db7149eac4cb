//! The header of a GGUF file, read with bounds on everything before any library sees the file.
//!
//! llama.cpp refuses most broken files, but it aborts or divides by zero on some: a file from somewhere else must not end a
//! node that serves others. So the header is read here first, whole: its counts and sizes are bounded, its offsets lie in the
//! file, its numbers make sense together. What is read also tells how much memory the model will need.
//!
//! *Source*: the GGUF specification of ggml (`docs/gguf.md`), versions 2 and 3, little-endian.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::error::Error;

mod kind;
mod sense;

pub use kind::WeightKind;

/// The most pairs of metadata, and the most tensors.
const COUNT_MAX: u64 = 65_536;

/// The longest name. *Units*: bytes.
const NAME_BYTES_MAX: u64 = 65_535;

/// The longest text of the metadata, such as a chat template. *Units*: bytes.
const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The longest array, such as a vocabulary. *Units*: elements.
const ELEMENTS_MAX: u64 = 4 * 1024 * 1024;

/// Arrays up to this long are kept; longer ones are only counted. *Units*: elements.
const ELEMENTS_KEPT: u64 = 1024;

/// Texts up to this long are kept. *Units*: bytes.
const TEXT_KEPT: u64 = 256;

/// The longest header. *Units*: bytes.
const HEADER_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// What a tensor's name may have. *Units*: bytes.
const TENSOR_NAME_BYTES_MAX: usize = 63;

/// The kind of a token that stands for a byte. *Source*: `llama_token_type`.
const BYTE_TOKEN: i128 = 6;

/// Why a file is not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// It is another kind of file, or a version that is not read.
    #[error("it is no GGUF file of version 2 or 3")]
    NotGguf,
    /// It ends before its header does.
    #[error("it ends in the middle of its header")]
    Truncated,
    /// A count or a length beyond every real model.
    #[error("{what} is {found}, and at most {most} is read")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// What the file says.
        found: u64,
        /// What is read.
        most: u64,
    },
    /// A value that is none of the format's.
    #[error("{name} has no type or value of the format")]
    Malformed {
        /// Which key or tensor.
        name: String,
    },
    /// A name that stands there twice.
    #[error("{name} stands there twice")]
    Twice {
        /// Which key or tensor.
        name: String,
    },
    /// A number that no model can have, or not with the others.
    #[error("{key} cannot be {found}: {reason}")]
    Senseless {
        /// Which key.
        key: String,
        /// What the file says.
        found: String,
        /// Why not.
        reason: &'static str,
    },
    /// Something that every model has is not there.
    #[error("{name} is missing")]
    Missing {
        /// Which key or tensor.
        name: String,
    },
    /// A tensor's data lies outside the file, or not where it may.
    #[error("the data of {tensor} is not in the file")]
    Outside {
        /// Which tensor.
        tensor: String,
    },
}

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number of any width, or a truth value.
    Whole(i128),
    /// A fraction.
    Fraction(f64),
    /// A text; none when it is longer than what is kept.
    Text(Option<String>),
    /// Elements of one type; those of short arrays of numbers are kept.
    Array {
        /// The format's number of their type.
        of: u32,
        /// How many.
        len: u64,
        /// They, as whole numbers.
        kept: Vec<i128>,
    },
}

/// A tensor of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its extents, the first of them contiguous.
    pub shape: Vec<u64>,
    /// How its numbers are stored.
    pub kind: WeightKind,
    /// Its size. *Units*: bytes.
    pub bytes: u64,
    /// From where the data begins. *Units*: bytes.
    offset: u64,
}

/// A header that makes sense.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    metadata: BTreeMap<String, Value>,
    tensors: Vec<Tensor>,
    /// Tokens that are named as a byte, such as `<0x0A>`; and those that stand for one.
    byte_names: HashSet<u32>,
    bytes: Vec<u32>,
}

impl Header {
    /// Reads and checks the header of a file.
    ///
    /// # Errors
    /// When the file cannot be read, or is none that a model can be loaded from.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { path: path.into(), source };
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        Self::parse(BufReader::new(file), bytes).map_err(|fault| Error::Header { path: path.into(), fault })
    }

    /// Reads and checks a header; the whole file has so many bytes.
    ///
    /// # Errors
    /// See [`Fault`]. A reader that fails counts as one that ends.
    pub fn parse(reader: impl Read, file_bytes: u64) -> Result<Self, Fault> {
        let mut source =
            Source { reader: reader.take(HEADER_BYTES_MAX), read: 0, byte_names: HashSet::new(), bytes: Vec::new() };
        if source.bytes::<4>()? != *b"GGUF" || !(2..=3).contains(&source.u32()?) {
            return Err(Fault::NotGguf);
        }
        let tensors = bounded("the number of tensors", source.u64()?, COUNT_MAX)?;
        let pairs = bounded("the number of metadata pairs", source.u64()?, COUNT_MAX)?;
        let mut header = Self::default();
        for _ in 0..pairs {
            let name = source.text("a key's length", NAME_BYTES_MAX)?;
            let kind = source.u32()?;
            let value = source.value(&name, kind)?;
            if name.is_empty() {
                return Err(Fault::Malformed { name: "a key without a name".into() });
            }
            if header.metadata.insert(name.clone(), value).is_some() {
                return Err(Fault::Twice { name });
            }
        }
        for _ in 0..tensors {
            header.tensors.push(source.tensor()?);
        }
        (header.byte_names, header.bytes) = (std::mem::take(&mut source.byte_names), std::mem::take(&mut source.bytes));
        let mut names = BTreeSet::new();
        if let Some(twice) = header.tensors.iter().find(|tensor| !names.insert(tensor.name.as_str())) {
            return Err(Fault::Twice { name: twice.name.clone() });
        }
        header.check_places(source.read, file_bytes)?;
        sense::check(&header)?;
        Ok(header)
    }

    /// The kind of network, such as `llama`.
    pub fn architecture(&self) -> &str {
        self.text("general.architecture").unwrap_or_default()
    }

    /// A whole number of the metadata.
    pub fn whole(&self, key: &str) -> Option<i128> {
        match self.metadata.get(key)? {
            Value::Whole(value) => Some(*value),
            _ => None,
        }
    }

    /// A short text of the metadata.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key)? {
            Value::Text(text) => text.as_deref(),
            _ => None,
        }
    }

    /// Any value of the metadata.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// A number of the architecture: the same for all layers, or the largest of them.
    pub fn number(&self, name: &str) -> Option<i128> {
        match self.metadata.get(&format!("{}.{name}", self.architecture()))? {
            Value::Whole(value) => Some(*value),
            Value::Array { kept, .. } => kept.iter().max().copied(),
            _ => None,
        }
    }

    /// How many tokens the vocabulary has.
    pub fn vocabulary_len(&self) -> u64 {
        match self.metadata.get("tokenizer.ggml.tokens") {
            Some(Value::Array { len, .. }) => *len,
            _ => 0,
        }
    }

    /// All tensors.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Every tensor's data begins at a multiple of the alignment and ends before the file does.
    fn check_places(&self, header_bytes: u64, file_bytes: u64) -> Result<(), Fault> {
        let key = "general.alignment";
        let alignment = match self.metadata.get(key) {
            None => 32,
            Some(Value::Whole(value)) if matches!(value, 1..=1_048_576) && value.count_ones() == 1 => *value as u64,
            Some(_) => return Err(sense::senseless(key, "what it is", "it must be a power of two")),
        };
        let data = header_bytes.next_multiple_of(alignment);
        for tensor in &self.tensors {
            let end = data.checked_add(tensor.offset).and_then(|begin| begin.checked_add(tensor.bytes));
            if tensor.offset % alignment != 0 || end.is_none_or(|end| end > file_bytes) {
                return Err(Fault::Outside { tensor: tensor.name.clone() });
            }
        }
        Ok(())
    }
}

fn bounded(what: &'static str, found: u64, most: u64) -> Result<u64, Fault> {
    if found <= most { Ok(found) } else { Err(Fault::TooMuch { what, found, most }) }
}

struct Source<R> {
    reader: std::io::Take<R>,
    read: u64,
    byte_names: HashSet<u32>,
    bytes: Vec<u32>,
}

impl<R: Read> Source<R> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(|_| Fault::Truncated)?;
        self.read += N as u64;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// Takes memory only for what is there.
    fn long(&mut self, length: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(length).read_to_end(&mut bytes).map_err(|_| Fault::Truncated)?;
        self.read += length;
        if read as u64 == length { Ok(bytes) } else { Err(Fault::Truncated) }
    }

    fn text(&mut self, what: &'static str, most: u64) -> Result<String, Fault> {
        self.raw_text(what, most).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn raw_text(&mut self, what: &'static str, most: u64) -> Result<Vec<u8>, Fault> {
        let length = self.u64()?;
        self.long(bounded(what, length, most)?)
    }

    fn value(&mut self, name: &str, kind: u32) -> Result<Value, Fault> {
        match kind {
            8 => {
                let text = self.text("a text's length", TEXT_BYTES_MAX)?;
                Ok(Value::Text(Some(text).filter(|text| text.len() as u64 <= TEXT_KEPT)))
            }
            9 => {
                let of = self.u32()?;
                let length = self.u64()?;
                let len = bounded("an array's length", length, ELEMENTS_MAX)?;
                let mut kept = Vec::new();
                if (name, of) == ("tokenizer.ggml.tokens", 8) {
                    self.tokens(len)?;
                    return Ok(Value::Array { of, len, kept });
                }
                for index in 0..len {
                    // Arrays of arrays are not read by the library either.
                    let element = if of == 9 { return Err(malformed(name)) } else { self.value(name, of)? };
                    let Value::Whole(whole) = element else { continue };
                    if len <= ELEMENTS_KEPT {
                        kept.push(whole);
                    }
                    if (name, whole) == ("tokenizer.ggml.token_type", BYTE_TOKEN) {
                        self.bytes.push(index as u32);
                    }
                }
                if of > 12 { Err(malformed(name)) } else { Ok(Value::Array { of, len, kept }) }
            }
            _ => self.number(name, kind),
        }
    }

    /// Passes over a vocabulary, in which no text stands twice: the library ends the process over one that does. It reads texts
    /// up to a zero byte, and gives empty ones names of their own.
    fn tokens(&mut self, count: u64) -> Result<(), Fault> {
        let mut seen = HashSet::new();
        for index in 0..count {
            let mut token = self.raw_text("a token's length", NAME_BYTES_MAX)?;
            token.truncate(token.iter().position(|&byte| byte == 0).unwrap_or(token.len()));
            if token.len() == 6 && token.starts_with(b"<0x") && token.ends_with(b">") {
                self.byte_names.insert(index as u32);
            }
            if !token.is_empty() && !seen.insert(token) {
                return Err(Fault::Twice { name: "a token of the vocabulary".into() });
            }
        }
        Ok(())
    }

    fn number(&mut self, name: &str, kind: u32) -> Result<Value, Fault> {
        Ok(match kind {
            0 => Value::Whole(u8::from_le_bytes(self.bytes()?).into()),
            1 => Value::Whole(i8::from_le_bytes(self.bytes()?).into()),
            2 => Value::Whole(u16::from_le_bytes(self.bytes()?).into()),
            3 => Value::Whole(i16::from_le_bytes(self.bytes()?).into()),
            4 => Value::Whole(self.u32()?.into()),
            5 => Value::Whole(i32::from_le_bytes(self.bytes()?).into()),
            6 => Value::Fraction(f32::from_le_bytes(self.bytes()?).into()),
            7 => match self.bytes()? {
                [truth @ 0..=1] => Value::Whole(truth.into()),
                _ => return Err(malformed(name)),
            },
            10 => Value::Whole(self.u64()?.into()),
            11 => Value::Whole(i64::from_le_bytes(self.bytes()?).into()),
            12 => Value::Fraction(f64::from_le_bytes(self.bytes()?)),
            _ => return Err(malformed(name)),
        })
    }

    fn tensor(&mut self) -> Result<Tensor, Fault> {
        let name = self.text("a tensor's name", NAME_BYTES_MAX)?;
        if name.is_empty() || name.len() > TENSOR_NAME_BYTES_MAX {
            return Err(malformed(&name));
        }
        let dimensions = self.u32()?;
        let dimensions = bounded("the number of a tensor's dimensions", dimensions.into(), 4)?;
        let shape = (0..dimensions).map(|_| self.u64()).collect::<Result<Vec<u64>, Fault>>()?;
        let kind = WeightKind::of(self.u32()?).ok_or_else(|| malformed(&name))?;
        let offset = self.u64()?;
        let bytes = kind.bytes(&shape).ok_or_else(|| malformed(&name))?;
        Ok(Tensor { name, shape, kind, bytes, offset })
    }
}

fn malformed(name: &str) -> Fault {
    Fault::Malformed { name: name.chars().take(100).collect() }
}
