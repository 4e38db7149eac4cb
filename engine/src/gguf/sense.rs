//! Whether the numbers of a header can belong to a model: those that the library divides by, allocates by or counts to.

use super::{Fault, Header, Value};

/// *Units*: layers. *Source*: `LLAMA_MAX_LAYERS`.
const LAYERS_MAX: i128 = 512;
/// *Source*: `LLAMA_MAX_EXPERTS`.
const EXPERTS_MAX: i128 = 1_024;

/// A fault that names what is wrong.
pub fn senseless(key: &str, found: &str, reason: &'static str) -> Fault {
    Fault::Senseless { key: key.to_owned(), found: found.to_owned(), reason }
}

/// Checks what every architecture has, as far as this one has it.
pub fn check(header: &Header) -> Result<(), Fault> {
    let name = header.architecture();
    let letters = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_".contains(letter);
    if name.is_empty() || !name.chars().all(letters) {
        return Err(Fault::Missing { name: "general.architecture".into() });
    }
    let numbers = Numbers { header, name };
    numbers.check()?;
    vocabulary(header)?;
    tensors(header, numbers.needed("block_count")?)
}

struct Numbers<'a> {
    header: &'a Header,
    name: &'a str,
}

impl Numbers<'_> {
    fn check(&self) -> Result<(), Fault> {
        for (name, least, most) in [
            ("block_count", 1, LAYERS_MAX),
            ("embedding_length", 1, 1 << 20),
            ("context_length", 1, 1 << 30),
            ("attention.head_count", 1, 1 << 16),
        ] {
            self.needed(name)?;
            self.within(name, least, most)?;
        }
        for (name, least, most) in [
            ("vocab_size", 1, 1 << 24),
            ("feed_forward_length", 0, 1 << 24),
            ("attention.head_count_kv", 0, 1 << 16),
            ("attention.key_length", 1, 1 << 16),
            ("attention.value_length", 1, 1 << 16),
            ("attention.sliding_window", 0, 1 << 30),
            ("rope.dimension_count", 0, 1 << 16),
            ("expert_count", 0, EXPERTS_MAX),
            ("expert_used_count", 0, EXPERTS_MAX),
            ("expert_feed_forward_length", 0, 1 << 24),
            ("leading_dense_block_count", 0, LAYERS_MAX),
            ("nextn_predict_layers", 0, LAYERS_MAX),
            ("pooling_type", -1, 4),
        ] {
            self.within(name, least, most)?;
        }
        self.together()?;
        self.fractions()
    }

    /// What must fit each other.
    fn together(&self) -> Result<(), Fault> {
        let width = self.needed("embedding_length")?;
        let heads = self.needed("attention.head_count")?;
        let groups = self.header.number("attention.head_count_kv").unwrap_or(heads);
        let own_length = self.header.number("attention.key_length");
        let length = own_length.unwrap_or(width / heads);
        if length == 0 || own_length.is_none() && width % heads != 0 {
            return Err(self.wrong("attention.head_count", heads, "the width is no multiple of it"));
        }
        if groups > heads || groups > 0 && heads % groups != 0 {
            return Err(self.wrong("attention.head_count_kv", groups, "the heads are no multiple of it"));
        }
        let turned = self.header.number("rope.dimension_count").unwrap_or(0);
        if turned > length || turned % 2 != 0 {
            return Err(self.wrong("rope.dimension_count", turned, "it is even, and no more than a head has"));
        }
        let experts = self.header.number("expert_count").unwrap_or(0);
        let used = self.header.number("expert_used_count").unwrap_or(0);
        if used > experts || experts > 0 && used == 0 {
            return Err(self.wrong("expert_used_count", used, "it is 1 to the number of experts"));
        }
        Ok(())
    }

    fn fractions(&self) -> Result<(), Fault> {
        for name in ["attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon", "rope.freq_base"] {
            let key = format!("{}.{name}", self.name);
            match self.header.value(&key) {
                None => {}
                Some(Value::Fraction(value)) if value.is_finite() && *value > 0.0 => {}
                Some(other) => return Err(senseless(&key, &format!("{other:?}"), "it is a number above 0")),
            }
        }
        Ok(())
    }

    fn needed(&self, name: &str) -> Result<i128, Fault> {
        self.header.number(name).ok_or_else(|| Fault::Missing { name: format!("{}.{name}", self.name) })
    }

    /// A number, or each of an array of them with one for each layer, lies within bounds; what is there is whole.
    fn within(&self, name: &str, least: i128, most: i128) -> Result<(), Fault> {
        let key = format!("{}.{name}", self.name);
        let reason = "it is out of all bounds";
        match self.header.value(&key) {
            None => Ok(()),
            Some(Value::Whole(value)) if (least..=most).contains(value) => Ok(()),
            Some(Value::Array { len, kept, .. }) => {
                // A layer without attention or feed-forward has zero of it.
                let inside = kept.iter().all(|value| (least.min(0)..=most).contains(value));
                let all = kept.len() as u64 == *len && i128::from(*len) >= self.needed("block_count")?;
                if inside && all && kept.iter().any(|value| *value >= least) {
                    Ok(())
                } else {
                    Err(senseless(&key, "such an array", reason))
                }
            }
            Some(other) => Err(senseless(&key, &format!("{other:?}"), reason)),
        }
    }

    fn wrong(&self, name: &str, found: i128, reason: &'static str) -> Fault {
        senseless(&format!("{}.{name}", self.name), &found.to_string(), reason)
    }
}

/// The vocabulary's lists have one length, special tokens are in it, and what stands for a byte is named after it.
fn vocabulary(header: &Header) -> Result<(), Fault> {
    let model = "tokenizer.ggml.model";
    if header.text(model).is_none() {
        return Err(Fault::Missing { name: model.into() });
    }
    let array = |name: &str, kinds: &[u32]| {
        let key = format!("tokenizer.ggml.{name}");
        match header.value(&key) {
            None => Ok(None),
            Some(Value::Array { of, len, .. }) if kinds.contains(of) => Ok(Some(*len)),
            Some(_) => Err(senseless(&key, "what it is", "it is an array of another type")),
        }
    };
    let Some(tokens) = array("tokens", &[8])?.filter(|tokens| *tokens > 0) else {
        return Err(Fault::Missing { name: "tokenizer.ggml.tokens".into() });
    };
    for (name, kind) in [("scores", 6), ("token_type", 5)] {
        if array(name, &[kind])?.is_some_and(|length| length != tokens) {
            let key = format!("tokenizer.ggml.{name}");
            return Err(senseless(&key, "of that length", "there is one for each token"));
        }
    }
    array("merges", &[8])?;
    let named = |id: &u32| header.byte_names.contains(id);
    if header.bytes.iter().any(|id| !named(id)) || header.text(model) == Some("bert") && !header.bytes.is_empty() {
        return Err(senseless("tokenizer.ggml.token_type", "of a byte", "that token is not named as one"));
    }
    for (key, value) in &header.metadata {
        let special = key.strip_prefix("tokenizer.ggml.").is_some_and(|name| name.ends_with("_token_id"));
        // All bits set stand for none.
        let in_it = |id: &i128| (0..i128::from(tokens)).contains(id) || [-1, i128::from(u32::MAX)].contains(id);
        match value {
            Value::Whole(id) if special && !in_it(id) => {
                return Err(senseless(key, &id.to_string(), "there is no such token"));
            }
            Value::Array { kept, .. } if special && !kept.iter().all(in_it) => {
                return Err(senseless(key, "such an array", "there is no such token"));
            }
            _ => {}
        }
    }
    if header.number("vocab_size").is_some_and(|size| size != i128::from(tokens)) {
        let key = format!("{}.vocab_size", header.architecture());
        return Err(senseless(&key, "what it is", "there are more or fewer tokens"));
    }
    Ok(())
}

/// The embedding is there with the size that the numbers say, and no tensor belongs to a layer that there is not.
fn tensors(header: &Header, layers: i128) -> Result<(), Fault> {
    let name = "token_embd.weight";
    let embedding = header.tensors.iter().find(|tensor| tensor.name == name);
    let embedding = embedding.ok_or_else(|| Fault::Missing { name: name.into() })?;
    let width = header.number("embedding_length").unwrap_or_default();
    if embedding.shape.first().map(|&extent| i128::from(extent)) != Some(width) {
        return Err(senseless(name, &format!("{:?}", embedding.shape), "it is as wide as the network"));
    }
    for tensor in &header.tensors {
        // A table of experts by token holds indices.
        let fits = match tensor.shape.len() {
            0 | 1 => tensor.kind.is_plain(),
            _ => tensor.kind.multiplies() || tensor.name.contains("tid2eid"),
        };
        if !fits {
            return Err(senseless(&tensor.name, "stored so", "the library cannot compute with it"));
        }
        let Some(rest) = tensor.name.strip_prefix("blk.") else { continue };
        let layer: Option<i128> = rest.split('.').next().and_then(|layer| layer.parse().ok());
        if layer.is_none_or(|layer| !(0..layers).contains(&layer)) {
            return Err(senseless(&tensor.name, "there", "there is no such layer"));
        }
    }
    Ok(())
}
