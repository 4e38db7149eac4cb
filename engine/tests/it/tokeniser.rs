//! The weights' file and `tokenizer.json` must mean the same tokens: the control plane counts and renders with the latter.

use std::sync::LazyLock;

use tokenizers::Tokenizer;

use crate::bundled::{folder, model};

fn check(text: &str) {
    static TOKENIZER: LazyLock<Tokenizer> =
        LazyLock::new(|| Tokenizer::from_file(folder().join("tokenizer.json")).unwrap());
    let expected = TOKENIZER.encode(text, false).unwrap();
    assert_eq!(model().tokenise(text, true), expected.get_ids(), "{text:?}");
}

#[test]
fn texts_of_every_kind_become_the_same_tokens() {
    for text in [
        "",
        " ",
        "  two  spaces\t\tand tabs \r\n and\n\n\nlines ",
        "What is 12 + 30? 1234567890 3.14159 1e-9",
        "I'll don't WE'VE it's 'quoted'",
        r#"{"name": "weather", "arguments": {"city": "Paris", "days": [1, 2, 3], "unit": ""}}"#,
        "fn main() { println!(\"{}\", a[0]->b::<C>()); } // ~`@#$%^&*_=|\\",
        "Zürich, naïve café, Ærøskøbing, Đà Nẵng, İstanbul, ΑΒΓ αβγ, Привет, мир",
        "你好，世界！今天天气怎么样？ 日本語のテキスト 한국어 문장 ไทย עברית العربية हिन्दी தமிழ்",
        "e\u{301} e\u{301}\u{323} \u{1f1e9}\u{1f1ea} 👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 \u{200b}zero\u{200d}width\u{feff}",
        "½ ² ³ ٣ ৩ Ⅷ 四 𝟘𝟙𝟚 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \u{10ffff}\u{0}\u{1}\u{7f}\u{85}\u{a0}\u{2028}\u{3000}x",
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<tool_call>{\"a\": 1}</tool_call><|endoftext|>",
        "<|im_start|> <tool_call <tool_call> user\nuser assistant\nsystem\n<|im_",
    ] {
        check(text);
    }
}

proptest::proptest! {
    #[test]
    fn any_text_becomes_the_same_tokens(text in r"\PC{0,40}|[ \ta-z0-9'!\r\n\u{e9}\u{4f60}\u{1f600}]{0,40}") {
        check(&text);
    }
}
