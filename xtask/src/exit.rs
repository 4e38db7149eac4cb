//! How a command ends when it does not succeed: each reason has its own exit code.

use std::fmt;

/// An ending with a code of its own; every other error ends with 1.
#[derive(Debug)]
pub struct Exit {
    code: u8,
    message: String,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Exit {}

/// The command line was wrong: 2.
pub fn misused(message: impl Into<String>) -> anyhow::Error {
    Exit { code: 2, message: message.into() }.into()
}

/// Something has to be installed by hand; the message says what and how: 3.
pub fn missing(message: impl Into<String>) -> anyhow::Error {
    Exit { code: 3, message: message.into() }.into()
}

/// The asked-for part does not exist in this checkout: 4.
pub fn not_built(message: impl Into<String>) -> anyhow::Error {
    Exit { code: 4, message: message.into() }.into()
}

/// Somebody asked the command to stop before it was done: 130.
pub fn interrupted() -> anyhow::Error {
    Exit { code: 130, message: "interrupted".into() }.into()
}

/// The exit code that belongs to `error`.
pub fn code_of(error: &anyhow::Error) -> u8 {
    if let Some(exit) = error.downcast_ref::<Exit>() {
        return exit.code;
    }
    if error.is::<lexopt::Error>() { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_keeps_its_code_through_context() {
        use anyhow::Context;
        let wrapped = Err::<(), _>(missing("cmake")).context("building").unwrap_err();
        assert_eq!(code_of(&wrapped), 3);
        assert_eq!(code_of(&anyhow::anyhow!("broken")), 1);
        assert_eq!(code_of(&lexopt::Error::from("unknown flag").into()), 2);
    }
}
